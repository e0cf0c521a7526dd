"""Between the contract's rows and what is stored: the laws of which row wins, shared by every adapter."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.store.contract import EventRow
from schemas.verdict import MISSING
from schemas.wire import Observed, decode

MISSING_STATUSES = tuple(status.value for status in MISSING)


def read_event(body: bytes, source: str, epoch: int, recorded_at: int, via: str) -> Observed:
    """The event of a stored body; columns rule. A body that was good when it was written and is not now is a bug."""
    events, _, bad = decode(body, source, epoch)
    if len(events) != 1 or bad:
        raise RuntimeError(
            f"a stored event of source {source!r} cannot be read back: {bad[0].reason if bad else 'empty'}"
        )
    event = events[0]
    event.source, event.epoch, event.recorded_at, event.via = source, epoch, recorded_at, via
    return event


def stored_event(row: EventRow) -> Observed:
    """The event as it will be read back."""
    event = row.event
    return read_event(row.body, event.source, event.epoch, event.recorded_at, event.via)


def winners(events: Iterable[Observed]) -> list[Observed]:
    """One per id: the least content; then one that named the transaction itself, then the first recorded."""
    best: dict[str, Observed] = {}
    for event in events:
        other = best.setdefault(event.id, event)
        if other is not event and _rank(event) < _rank(other):
            best[event.id] = event
    return list(best.values())


def _rank(event: Observed) -> tuple[object, ...]:
    return (event.content(), event.via, event.recorded_at, event.source, event.epoch, event.seq)
