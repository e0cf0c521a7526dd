"""The spool's files: how records are framed, and what stands in them.

A record is its payload's length and CRC-32 (of kind and payload), each four bytes big-endian, one byte of kind, and the payload.
Reading ends at the first that is short or does not fit its checksum: a tail torn by a crash is no record, and nothing behind it is.

Kinds: ``H`` header of a segment (JSON: format, source, epoch, since, systems, first number, state), ``E`` event, ``A`` bytes set
aside, ``D`` numbers that were shed, ``T`` a time through which everything that became known stands before it, ``S`` state (the
content of a marker: what the log has acknowledged), ``B`` the application ended in an orderly way.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

FORMAT = 1
HEADER, EVENT, ASIDE, DROPPED, THROUGH, STATE, BYE = b"H", b"E", b"A", b"D", b"T", b"S", b"B"

_FRAME = struct.Struct(">IIc")
_NUMBERED = struct.Struct(">qqH")
_TIME = struct.Struct(">q")
MAX_PAYLOAD = 16 * 1024 * 1024


class Entry(NamedTuple):
    """What takes running numbers: an event, bytes that made none, or a count of events that were shed.

    Attributes:
        number: its running number, or the first of ``numbers``.
        known: when it became known, microseconds since 1970 UTC.
        key: ``type:value`` by which it is placed.
        line: JSON; empty where events were shed.
        reason: why the line makes no event; "" for an event.
    """

    number: int
    known: int
    key: str
    line: bytes
    reason: str = ""
    numbers: int = 1

    @property
    def last(self) -> int:
        return self.number + self.numbers - 1


def frame(kind: bytes, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), crc32(payload, crc32(kind)), kind) + payload


def framed(entry: Entry) -> bytes:
    """An entry as a record."""
    if not entry.line:
        return frame(DROPPED, _NUMBERED.pack(entry.number, entry.known, 0) + _TIME.pack(entry.numbers))
    key = entry.key.encode("utf-8", "surrogatepass")[:65_535]
    head = _NUMBERED.pack(entry.number, entry.known, len(key)) + key
    if entry.reason:
        return frame(ASIDE, head + json.dumps([entry.reason]).encode() + b"\n" + entry.line)
    return frame(EVENT, head + entry.line)


def framed_json(kind: bytes, content: Any) -> bytes:
    return frame(kind, json.dumps(content, separators=(",", ":")).encode())


def framed_time(kind: bytes, time: int) -> bytes:
    return frame(kind, _TIME.pack(time))


def records(data: bytes, offset: int = 0) -> Iterator[tuple[bytes, bytes, int]]:
    """(kind, payload, offset behind it) of each whole record from ``offset`` on."""
    while offset + _FRAME.size <= len(data):
        length, checksum, kind = _FRAME.unpack_from(data, offset)
        begin, end = offset + _FRAME.size, offset + _FRAME.size + length
        if length > MAX_PAYLOAD or end > len(data):
            return
        payload = data[begin:end]
        if crc32(payload, crc32(kind)) != checksum:
            return
        yield kind, payload, end
        offset = end


def entry_of(kind: bytes, payload: bytes) -> Entry | None:
    """The entry in a record; None where it is of another kind."""
    if kind not in (EVENT, ASIDE, DROPPED):
        return None
    number, known, length = _NUMBERED.unpack_from(payload)
    body = payload[_NUMBERED.size + length :]
    if kind == DROPPED:
        return Entry(number, known, "", b"", numbers=_TIME.unpack(body)[0])
    key = payload[_NUMBERED.size : _NUMBERED.size + length].decode("utf-8", "surrogatepass")
    if kind == EVENT:
        return Entry(number, known, key, body)
    reason, _, line = body.partition(b"\n")
    return Entry(number, known, key, line, json.loads(reason)[0])


def time_of(payload: bytes) -> int:
    return int(_TIME.unpack(payload)[0])
