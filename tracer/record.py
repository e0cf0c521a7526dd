"""What is handed to a log: one record, and how it is placed.

A record's body is a single JSON object, or NDJSON (one JSON object a line); with ``content-encoding: lz4`` either one
is an LZ4 frame. Header names are repeated in ``schemas.wire``, because an application must not need pydantic to send; a
test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

EVENTS = "lastseen.events"
CONTROL = "lastseen.control"
TOPICS = (EVENTS, CONTROL)

KIND = "ls-kind"
"""What the record is: one of `KINDS`."""
SOURCE = "ls-source"
EPOCH = "ls-epoch"
"""Boot of the source, microseconds since the Unix epoch, in decimal digits."""
DEPTH = "ls-depth"
"""How many workers' hands the record has gone through, in decimal digits; absent means 0."""
VIA = "ls-via"
"""The alias (``type:value``) by which a copy was forwarded."""
COUNT = "ls-count"
"""How many lines a batch has, in decimal digits; absent means 1."""
IMPORT = "ls-import"
"""``1``: what the record brings counts as recorded when it happened, not when it was appended."""
REASON = "ls-reason"
"""Why the body makes no event, as its sender knows already: it is quarantined as it is, and counted."""
SEQ = "ls-seq"
"""The running numbers of its lines, as `pack_numbers` writes them, so that what cannot be read can still be counted. Always the
last header: readers keep what the others say by their bytes, and this one is never twice the same."""
ENCODING = "content-encoding"
LZ4 = b"lz4"

KINDS = ("event", "copy", "link", "conflict", "decision", "rejudge", "forget")

Headers = tuple[tuple[str, bytes], ...]


def pack_numbers(numbers: Iterable[int]) -> bytes:
    """Ascending numbers as the steps from each to the next, equal steps counted: 7, 8, 9, 12 is ``7,1x2,3``.

    An emitter's numbers run over all partitions, so those of one record have gaps: 200 numbers in a row are 7 bytes, 200 that one
    of twelve partitions gets by chance are 495.
    """
    steps: list[list[int]] = []
    last = 0
    for number in numbers:
        if steps and steps[-1][0] == number - last:
            steps[-1][1] += 1
        else:
            steps.append([number - last, 1])
        last = number
    return ",".join(str(step) if times == 1 else f"{step}x{times}" for step, times in steps).encode()


class Record(NamedTuple):
    """One record to produce. ``partition`` None: by `partition_of` its key (control has a single partition, 0)."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()
    partition: int | None = None


class Ack(NamedTuple):
    """The log has the record: where, and when it was appended (microseconds since the Unix epoch, the log's clock)."""

    topic: str
    partition: int
    offset: int
    append_time: int


def partition_of(key: bytes, partitions: int) -> int:
    """Where a key belongs: ``crc32(key) mod partitions``, as librdkafka's partitioner ``consistent`` places it.

    An empty key goes to the partition that its checksum (0) names, never to a random one.
    """
    return crc32(key) % partitions
