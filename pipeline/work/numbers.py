"""Running numbers of what is not stored as it came (refused, or known under another number), by which the audit finds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.errors import Invalid
from pipeline.log import LogRecord
from pipeline.store.accounts import REPEATED, AccountRow, Point
from schemas import wire
from schemas.event import MAX_INTEGER, MAX_NAME
from schemas.times import LATEST
from schemas.wire import Observed

Claimed = tuple[str, int, tuple[int, ...]]


def claimed(record: LogRecord, source: str, epoch: int, place: int, payload: bytes) -> Claimed:
    """Whose it is and which numbers it has: what is refused of a record, its ``place``-th line or (where that is its value, or all
    that the value unpacks to) the whole of it.

    ``source``, ``epoch``: as the record's headers name them. Its header of numbers counts where there is one; else what the lines
    say of themselves, as far as they can be read and are of one source.
    """
    headers = dict(record.headers)
    listed = wire.unpack_numbers(headers[wire.SEQ]) if source and wire.SEQ in headers else ()
    if listed:
        whole = payload is record.value or payload.count(b"\n") + 1 == len(listed)
        return source, epoch, listed if whole else listed[place : place + 1]
    found = list(_told(record, headers, payload)) if b"seq" in payload or wire.ENCODING in headers else []
    names = {(name, of) for name, of, _ in found if name} or {(source, epoch)}
    if len(names) > 1 or (source and names != {(source, epoch)}):
        return source, epoch, ()
    ((source, epoch),) = names
    return source, epoch, tuple(sorted({number for _, _, number in found})) if source else ()


def _told(record: LogRecord, headers: dict[str, bytes], payload: bytes) -> Iterator[Point]:
    """Source ("" where none is named), epoch and number of every line that has a number."""
    try:
        body = wire.decompress(payload, headers.get(wire.ENCODING)) if payload is record.value else payload
    except Invalid:
        return
    for line in body.split(b"\n", wire.MAX_RECORD_EVENTS):
        said = _object(line)
        if isinstance(said.get("event"), dict):  # a copy
            said = said["event"]
        name, epoch, number = said.get("source") or "", said.get("epoch", 0), said.get("seq")
        well = isinstance(name, str) and len(name) <= MAX_NAME and name.isprintable() and type(epoch) is int
        if well and 0 <= epoch <= LATEST and type(number) is int and 0 < number <= MAX_INTEGER:
            yield name, epoch if name else 0, number


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def numbered(event: Observed) -> Point:
    return event.source, event.epoch, event.seq


def repeated(events: Iterable[Observed], at: int) -> list[AccountRow]:
    """Account of events whose observation is stored under another number already. ``at``: µs."""
    rows: list[AccountRow] = []
    for source, epoch, number in sorted({numbered(event) for event in events if event.seq}):
        last = rows[-1] if rows else None
        if last and (last.source, last.epoch, last.last) == (source, epoch, number - 1):
            rows[-1] = last._replace(last=number)
        else:
            rows.append(AccountRow(source, epoch, number, number, REPEATED, at))
    return rows
