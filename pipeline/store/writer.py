"""Writing to ClickHouse: one INSERT per call where it is of a sane size, as lists of columns.

Lists of columns with explicit types take 1.3 µs an event in Python and 3 with the engine's own work (rows, Arrow and
JSONEachRow took more). A retry needs no token: identity carries correctness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from pipeline.store import tables
from pipeline.store.client import Client
from pipeline.store.contract import (
    DisputeRow,
    EventRow,
    FlipRow,
    HearingRow,
    KeyRow,
    LinkRow,
    ParkedRow,
    QuarantineRow,
    SourceRow,
    VerdictRow,
)
from pipeline.store.rows import holders_text

MAX_ROWS = 50_000
# An event is at most 256 KiB: 50,000 of those would not fit.
MAX_BYTES = 64 * 1024 * 1024

Row = TypeVar("Row")
_encode = msgspec.json.encode


class ClickHouseWriter:
    """``Writer`` over a ``Client``."""

    def __init__(self, client: Client):
        self._client = client

    def write_events(self, rows: Sequence[EventRow]) -> None:
        self._insert_events(tables.EVENTS, rows)

    def _insert_events(self, table: tables.Table, rows: Sequence[EventRow]) -> None:
        for chunk in bounded(rows, [len(row.body) for row in rows]):
            events = [row.event for row in chunk]
            self._client.insert(
                table,
                (
                    [row.key_type for row in chunk], [row.transaction_id for row in chunk],
                    [event.id for event in events], [event.system for event in events],
                    [event.step for event in events], [event.phase for event in events],
                    [event.time for event in events], [event.recorded_at for event in events],
                    [event.source for event in events], [event.epoch for event in events],
                    [event.seq for event in events], [event.via for event in events], [row.body for row in chunk],
                ),
            )  # fmt: skip

    def write_verdicts(self, rows: Sequence[VerdictRow]) -> None:
        for chunk in bounded(rows, [len(row.body) for row in rows]):
            columns: list[Sequence[Any]] = list(zip(*chunk, strict=True))
            waits = tables.VERDICTS.columns.index("waits")
            columns[waits] = [_encode(row) if row else b"" for row in columns[waits]]
            self._client.insert(tables.VERDICTS, columns)

    def write_flips(self, rows: Sequence[FlipRow]) -> None:
        for chunk in bounded(rows, [len(row.body) for row in rows]):
            self._client.insert(tables.FLIPS, list(zip(*chunk, strict=True)))

    def write_keys(self, rows: Sequence[KeyRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(tables.KEYS, list(zip(*chunk, strict=True)))

    def write_parked(self, rows: Sequence[ParkedRow]) -> None:
        for chunk in bounded(rows, [len(row.body) for row in rows]):
            events = [row.event for row in chunk]
            self._client.insert(
                tables.KEPT,
                (
                    [row.id for row in chunk], [row.alias_type for row in chunk], [row.alias for row in chunk],
                    [row.partition for row in chunk], [event.source for event in events],
                    [event.epoch for event in events], [event.seq for event in events],
                    [event.recorded_at for event in events], [event.via for event in events],
                    [row.kept_at for row in chunk], [row.body for row in chunk],
                ),
            )  # fmt: skip

    def write_links(self, rows: Sequence[LinkRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(tables.LINKS, list(zip(*chunk, strict=True)))

    def write_disputes(self, rows: Sequence[DisputeRow]) -> None:
        for chunk in bounded(rows):
            columns = list(zip(*chunk, strict=True))
            self._client.insert(tables.DISPUTES, [*columns[:-2], [holders_text(row) for row in chunk], columns[-1]])

    def write_quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        for chunk in bounded(rows, [len(row.payload) for row in rows]):
            columns = list(zip(*chunk, strict=True))
            self._client.insert(tables.QUARANTINE, [_sayable(column) for column in columns])

    def write_sources(self, rows: Sequence[SourceRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(tables.SOURCES, list(zip(*chunk, strict=True)))

    def write_hearing(self, rows: Sequence[HearingRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(tables.HEARING, list(zip(*chunk, strict=True)))


def bounded(rows: Sequence[Row], sizes: Sequence[int] = ()) -> Iterator[Sequence[Row]]:
    """Chunks of at most ``MAX_ROWS`` rows and, by ``sizes``, about ``MAX_BYTES``."""
    if len(rows) <= MAX_ROWS and sum(sizes) <= MAX_BYTES:
        if rows:
            yield rows
        return
    begin, total = 0, 0
    for place in range(len(rows)):
        size = sizes[place] if sizes else 0
        if place > begin and (place - begin >= MAX_ROWS or total + size > MAX_BYTES):
            yield rows[begin:place]
            begin, total = place, 0
        total += size
    yield rows[begin:]


def _sayable(column: Sequence[Any]) -> Sequence[Any]:
    """Quarantine says what was wrong with bad input, in the input's words: a lone surrogate there must not fail the insert."""
    if column and isinstance(column[0], str):
        return [text.encode("utf-8", "replace") for text in column]
    return column
