"""What a batch of a topic may become when it is decompressed: 10 KB of zstd can hold 300 MB, and kafka-python makes them all.

Whoever reads has `unpack` decompress a batch before kafka-python would. One that goes beyond, or that is no such data at all, is
`Refused`; a `SetAside` stands for it, and the reader goes on behind it. A broker does not keep such batches out: what it bounds is
their compressed size.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
from kafka.errors import UnsupportedCodecError

MAX_BATCH_BYTES = 64 * 1024 * 1024
"""A batch has up to 1 MiB, compressed, where a broker is left as it comes; text becomes ten times that."""
MAX_BATCH_RECORDS = 500_000
"""Of a compressed batch: 64 MiB of empty records would be nine million, and 2 GB of objects."""
MAX_POLL_BYTES = 64 * 1024 * 1024
"""What compressed batches of one poll may come to; a poll takes a whole one at the least."""
KEPT = 256 * 1024
"""Bytes of a batch that is set aside that are kept, as they came."""

_NAMES = {1: "gzip", 2: "snappy", 3: "LZ4", 4: "zstd"}
_XERIAL, _XERIAL_HEADER = b"\x82SNAPPY\0", 16
_MEMBERS = 100  # of gzip, each copies all behind it; producers write one
_PIECE = 256 * 1024
_LEGACY_OVERHEAD, _LEGACY_LEAST = 12, 14


class Refused(Exception):  # noqa: N818  (of the input, not of the program)
    """A batch is not decompressed; says why."""


class SetAside:
    """Stands for a batch, or for its end, that is not read. ``first``, ``last``: offsets. ``at``: ms, the batch's latest.
    ``kept``: its beginning as it came, or from where it could not be read on."""

    __slots__ = ("at", "first", "kept", "last", "reason")

    def __init__(self, batch: Any, tp: Any, why: str, first: int | None = None):
        """``first``: the first offset that is not read; of the batch where None. Formats 0 and 1 name only their last."""
        new = batch.magic == 2
        self.last = batch.last_offset if new else batch.base_offset
        self.first = min(batch.base_offset if first is None else first, self.last)
        self.at = (batch.max_timestamp if new else batch._timestamp) or 0
        at = batch._pos if new else 0
        self.kept = bytes(memoryview(batch._buffer)[at : at + KEPT])
        self.reason = f"{tp.topic}[{tp.partition}], offsets {self.first} to {self.last}: {why}"

    def __len__(self) -> int:
        return len(self.kept)


class Allowance:
    """What is left of a bound on the bytes of one poll. ``left``: may go below 0, since it is counted once they are there."""

    __slots__ = ("_whole", "left")

    def __init__(self, whole: int = MAX_POLL_BYTES):
        self._whole = self.left = whole

    def begin(self) -> None:
        self.left = self._whole


def unpack(batch: Any, limit: int = MAX_BATCH_BYTES, records: int = MAX_BATCH_RECORDS) -> None:
    """Decompress a batch of kafka-python in place. Does nothing to one that is not compressed. Its checksum was verified before.

    Raises:
        Refused: it becomes more than ``limit`` bytes or ``records`` records, or is damaged.
        UnsupportedCodecError: the library for its compression is not installed.
    """
    codec = batch.compression_type
    if not codec or batch._decompressed:
        return
    if batch.magic == 2:
        if not 0 <= batch.records_count <= records:
            raise Refused(f"{batch.records_count} records in one compressed batch; at most {records} are read")
        packed = bytes(memoryview(batch._buffer)[batch._pos :])
        batch._buffer, batch._pos = decompress(codec, packed, limit), 0
    else:
        if codec == 3 and batch.magic == 0:
            raise Refused("LZ4 in message format 0, whose header has a checksum that is no LZ4's")
        plain = decompress(codec, _message(batch), limit)
        _count(plain, records)
        batch._buffer = memoryview(plain)
    batch._decompressed = True


def _message(batch: Any) -> bytes:
    """The value of a message of formats 0 and 1, in which others are compressed."""
    at = batch.KEY_OFFSET_V1 if batch.magic == 1 else batch.KEY_OFFSET_V0
    try:
        (key,) = struct.unpack_from(">i", batch._buffer, at)
        at += 4 + max(key, 0)
        (size,) = struct.unpack_from(">i", batch._buffer, at)
    except struct.error:
        raise Refused("lengths that do not fit") from None
    if size < 0:
        raise Refused("a compressed message without a value")
    return bytes(batch._buffer[at + 4 : at + 4 + size])


def _count(plain: bytes, records: int) -> None:
    """Messages of formats 0 and 1: walked by their lengths before kafka-python does, which walks for ever by a negative one."""
    at = 0
    for _ in range(records):
        if at == len(plain):
            return
        size = int.from_bytes(plain[at + 8 : at + 12], "big", signed=True)
        if size < _LEGACY_LEAST or at + _LEGACY_OVERHEAD + size > len(plain):
            raise Refused("lengths that do not fit")
        at += _LEGACY_OVERHEAD + size
    if at < len(plain):
        raise Refused(f"more than {records} records in one compressed batch")


def decompress(codec: int, packed: bytes, limit: int = MAX_BATCH_BYTES) -> bytes:
    """``codec``: as Kafka numbers them, 1 gzip, 2 snappy (blocks of xerial, or a single one), 3 LZ4 (one frame), 4 zstd.

    Raises:
        Refused: more than ``limit`` bytes, of which no more than one is ever made; or damaged.
        UnsupportedCodecError: the library for it is not installed.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        raise Refused(f"compressed in a way that nobody knows ({codec})")
    try:
        return unpacker(packed, limit)
    except (Refused, MemoryError):
        raise
    except ImportError:
        raise UnsupportedCodecError(f"the library for {_NAMES[codec]} is not installed") from None
    except Exception as error:  # each library has errors of its own, and none is of our making
        raise Refused(f"damaged {_NAMES[codec]}: {str(error)[:200]}") from None


def _beyond(limit: int) -> Refused:
    return Refused(f"a compressed batch that becomes more than {limit} bytes")


def _gzip(packed: bytes, limit: int) -> bytes:
    out: list[bytes] = []
    left = limit
    for _ in range(_MEMBERS):
        unpacker = zlib.decompressobj(wbits=31)
        out.append(unpacker.decompress(packed, left + 1))
        left -= len(out[-1])
        if left < 0:
            raise _beyond(limit)
        if not unpacker.eof:
            raise Refused("damaged gzip: cut short")
        packed = unpacker.unused_data.lstrip(b"\0")
        if not packed:
            return b"".join(out)
    raise Refused(f"gzip of more than {_MEMBERS} members")


def _snappy(packed: bytes, limit: int) -> bytes:
    import snappy  # type: ignore[import-untyped]

    def block(data: bytes, left: int) -> bytes:
        if _declared(data) > left:
            raise _beyond(limit)
        return bytes(snappy.decompress(data))

    if not packed.startswith(_XERIAL) or len(packed) <= _XERIAL_HEADER:
        return block(packed, limit)
    out: list[bytes] = []
    at, left = _XERIAL_HEADER, limit
    while at < len(packed):
        (size,) = struct.unpack_from(">i", packed, at)
        if size < 0 or at + 4 + size > len(packed):
            raise Refused("damaged snappy: lengths that do not fit")
        out.append(block(packed[at + 4 : at + 4 + size], left))
        left -= len(out[-1])
        at += 4 + size
    return b"".join(out)


def _declared(data: bytes) -> int:
    """What a block of snappy says that it becomes; it cannot become more, and memory for it is taken at once."""
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 127) << 7 * place
        if byte < 128:
            return size
    raise Refused("damaged snappy: no length")


def _lz4(packed: bytes, limit: int) -> bytes:
    unpacker = lz4.frame.LZ4FrameDecompressor()  # type: ignore[no-untyped-call]
    plain = bytes(unpacker.decompress(packed, max_length=limit + 1))  # type: ignore[no-untyped-call]
    if len(plain) > limit:
        raise _beyond(limit)
    if not unpacker.eof:
        raise Refused("damaged LZ4: cut short")
    return plain


def _zstd(packed: bytes, limit: int) -> bytes:
    import zstandard

    out: list[bytes] = []
    left = limit
    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
        while piece := reader.read(min(_PIECE, left + 1)):
            out.append(piece)
            left -= len(piece)
            if left < 0:
                raise _beyond(limit)
    return b"".join(out)


_UNPACKERS: dict[int, Callable[[bytes, int], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
