"""Between the contract's rows and what is stored: the laws of which row wins, shared by every adapter."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import msgspec

from pipeline.core.correlate import BROKEN
from pipeline.core.generations import number_of
from pipeline.store.contract import DisputeRow, EventRow, FlipRow, LinkRow, ParkedRow, Transaction, VerdictRow
from schemas.verdict import MISSING
from schemas.wire import Observed, decode

MISSING_STATUSES = tuple(status.value for status in MISSING)
# States of a link by which its alias is somebody's.
CLAIMING = ("claimed", "reclaimed", "accepted")


def claimed(rows: Iterable[LinkRow]) -> bool:
    """Whether an alias is anybody's, by its winning rows: whoever claims it by any, where no person said that it is not his."""
    rows = list(rows)
    broken = {(row.key_type, row.transaction_id) for row in rows if row.state == BROKEN}
    return any(row.state in CLAIMING and (row.key_type, row.transaction_id) not in broken for row in rows)


def said(flips: Iterable[FlipRow], rows: Iterable[VerdictRow]) -> list[FlipRow]:
    """The flips of a transaction that were truly said, by its winning verdicts: those whose number rides in them. One without a
    verdict was said (its verdict has left)."""
    last = {row.flow: row.flip for row in rows}
    return [flip for flip in flips if flip.number <= last.get(flip.flow, flip.number)]


def home(key: Transaction, of: int) -> int:
    """In which of ``of`` partitions a transaction, or an alias, lives. All generations of a number live in one."""
    return crc32(f"{key[0]}:{number_of(key[1])}".encode()) % of


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


def kept_rank(row: ParkedRow) -> tuple[object, ...]:
    """Of several rows of one kept event the least counts."""
    event = row.event
    origin = (event.recorded_at, event.source, event.epoch, event.seq)
    return (row.kept_at, *origin, row.body, event.via, row.partition)


def observed_once(rows: Iterable[ParkedRow]) -> list[ParkedRow]:
    """One per id, content and ``via``, the first recorded, as ``observations`` has it; by id."""
    first: dict[tuple[object, ...], ParkedRow] = {}
    for row in sorted(rows, key=lambda row: (row.id, _record(row.event), kept_rank(row))):
        first.setdefault((row.id, row.event.content(), row.event.via), row)
    return list(first.values())


def oldest(rows: Iterable[ParkedRow]) -> list[ParkedRow]:
    """One per id, the oldest first."""
    first: dict[str, ParkedRow] = {}
    for row in sorted(rows, key=lambda row: (row.kept_at, row.id, kept_rank(row))):
        first.setdefault(row.id, row)
    return list(first.values())


def link_rank(row: LinkRow) -> tuple[int, str, bool]:
    """Of several rows of one claim the greatest counts."""
    return (row.version, row.state, row.shared)


def holders_text(row: DisputeRow) -> str:
    return msgspec.json.encode(row.holders).decode() if row.holders else ""


def dispute_rank(row: DisputeRow) -> tuple[object, ...]:
    """Of several rows of one transaction and alias the greatest counts."""
    return (row.version, row.state, row.others, holders_text(row), row.way)


def late_rank(row: EventRow) -> tuple[object, ...]:
    """Of several records of one late event the greatest counts."""
    event = row.event
    return (event.recorded_at, event.source, event.epoch, event.seq, event.via, row.body)
