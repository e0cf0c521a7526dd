"""Events on their way into a record: those of one partition share one (100 to a record cost 1.5 µs each, alone 20)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable
from typing import Any

import lz4.frame

from tracer.record import COUNT, ENCODING, EVENTS, LZ4, REASON, SEQ, Headers, Record, pack_numbers

MAX_EVENT_BYTES = 256 * 1024
"""What the contract allows an event; a larger one would only be quarantined."""


def _stdlib_encode(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _encoder() -> Callable[[dict[str, Any]], bytes]:
    try:
        import orjson
    except ImportError:
        return _stdlib_encode
    return orjson.dumps


_encode = _encoder()


def encode_event(event: dict[str, Any]) -> bytes:
    """An event as one line of JSON.

    Raises:
        ValueError: it holds what JSON cannot say, or is larger than 256 KiB.
    """
    try:
        line = _encode(event)
    except (TypeError, ValueError) as error:
        raise ValueError(f"an event that cannot be written as JSON: {error}") from error
    if len(line) > MAX_EVENT_BYTES:
        raise ValueError(f"an event of {len(line)} bytes; at most {MAX_EVENT_BYTES} are taken")
    return line


def renumbered(line: bytes, number: int) -> bytes:
    """A line of `encode_event` with another running number."""
    return _encode({**json.loads(line), "seq": number})


class Batch:
    """Lines for one partition.

    Attributes:
        known: when the first of its events became known, microseconds on the emitter's clock.
        handed: when it was last handed to the sink, by the source's clock as it is.
        numbers: the running numbers of its lines, ascending.
        reason: why its only line makes no event; empty for events.
    """

    __slots__ = ("handed", "key", "known", "lines", "numbers", "partition", "reason", "size")

    def __init__(self, partition: int, key: bytes, known: int, reason: bytes = b""):
        self.partition = partition
        self.key = key
        self.known = known
        self.reason = reason
        self.handed = known
        self.lines: list[bytes] = []
        self.numbers = array("q")
        self.size = 0

    def add(self, line: bytes, number: int) -> None:
        self.lines.append(line)
        self.numbers.append(number)
        self.size += len(line) + 1

    def record(self, headers: Headers) -> Record:
        """A single event goes as it is, for whoever looks into the topic; several as compressed NDJSON."""
        if self.reason:
            headers = (*headers, (REASON, self.reason))
        numbered = (SEQ, pack_numbers(self.numbers))
        if len(self.lines) == 1:
            return Record(EVENTS, self.key, self.lines[0], (*headers, numbered), self.partition)
        value = lz4.frame.compress(b"\n".join(self.lines))  # type: ignore[attr-defined]
        more = ((COUNT, b"%d" % len(self.lines)), (ENCODING, LZ4), numbered)
        return Record(EVENTS, self.key, value, headers + more, self.partition)
