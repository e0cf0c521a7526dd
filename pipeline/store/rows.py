"""Between the contract's rows and what is stored: the laws of which row wins, shared by every adapter."""

from __future__ import annotations

from collections.abc import Iterable

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


def observations(events: Iterable[Observed]) -> list[Observed]:
    """One per id, content and alias it came by: of several records of it the first.

    No winner is taken among two contents of one id, nor among what came directly and by an alias: past its bound a state
    counts both, and what was known at an earlier time may be the other one (law 7).
    """
    by_id: dict[str, list[Observed]] = {}
    for event in events:
        by_id.setdefault(event.id, []).append(event)
    found: list[Observed] = []
    for same in by_id.values():
        if len(same) == 1:
            found += same
            continue
        first: dict[tuple[object, ...], Observed] = {}
        for event in same:
            known = first.setdefault((event.content(), event.via), event)
            if known is not event and _record(event) < _record(known):
                first[event.content(), event.via] = event
        found += first.values()
    return found


def _record(event: Observed) -> tuple[int, str, int, int]:
    return (event.recorded_at, event.source, event.epoch, event.seq)
