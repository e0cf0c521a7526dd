"""Courier: what a batch sends on, to which partition, at what depth; in records that the log takes.

What is sent is decided by the records being read (law 3): a replay sends it again. Large fan-outs go in chunks: an outbox is
emptied whenever it is full, and the batch's position stands until the last chunk is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

from pipeline.errors import Invalid
from schemas import wire
from tracer.record import EVENTS, LZ4, Record

# Deep enough for a chain of thirty aliases; what goes round in circles ends.
MAX_DEPTH = 64
CHUNK_LINES = 20_000
_RECORD_LINES = 500
_RECORD_BYTES = 384 * 1024


class Address(NamedTuple):
    """``origin``: the partition whose record is the cause. ``depth``: of the record that is produced."""

    origin: int
    depth: int
    home: int
    kind: str
    imported: bool


class Parcel(NamedTuple):
    address: Address
    record: Record


class Outbox:
    """Lines waiting to be sent, by where they go. ``partitions``: how many the events have."""

    __slots__ = ("_lines", "_partitions", "waiting")

    def __init__(self, partitions: int):
        self._partitions = partitions
        self._lines: dict[Address, list[tuple[bytes, bytes]]] = {}
        self.waiting = 0

    def add(self, origin: int, depth: int, kind: str, key: bytes, line: bytes, *, imported: bool = False) -> None:
        """A line for whom ``key`` names. Raises ``Invalid`` past ``MAX_DEPTH``."""
        if depth > MAX_DEPTH:
            raise Invalid(f"forwarded {MAX_DEPTH} times")
        address = Address(origin, depth, crc32(key) % self._partitions, kind, imported)
        found = self._lines.get(address)
        if found is None:
            self._lines[address] = [(key, line)]
        else:
            found.append((key, line))
        self.waiting += 1

    @property
    def full(self) -> bool:
        return self.waiting >= CHUNK_LINES

    def take(self) -> list[Parcel]:
        """All that waits, as records; lines for one partition share them."""
        lines, self._lines, self.waiting = self._lines, {}, 0
        return [
            Parcel(address, _record(address, part)) for address, found in lines.items() for part in _portions(found)
        ]


def _record(address: Address, part: list[tuple[bytes, bytes]]) -> Record:
    headers: list[tuple[str, bytes]] = [(wire.KIND, address.kind.encode()), (wire.DEPTH, b"%d" % address.depth)]
    if address.imported:
        headers.append((wire.IMPORT, b"1"))
    body = b"\n".join([line for _, line in part])
    if len(part) > 1:
        headers.append((wire.ENCODING, LZ4))
        body = wire.compress(body)
    return Record(EVENTS, part[0][0], body, tuple(headers), address.home)


def _portions(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """What one record can hold: the log takes a megabyte, an event may have a quarter of that."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for key, line in lines:
        if part and (len(part) >= _RECORD_LINES or size + len(line) > _RECORD_BYTES):
            yield part
            part, size = [], 0
        part.append((key, line))
        size += len(line) + 1
    yield part
