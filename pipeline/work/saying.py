"""Saying: from one transaction's state to the rows that say something else of it than was said before.

Law 4: a verdict's version is its owner's fence and a counter, so that of two who speak the later owner wins. What is said already,
under our fence, is not said again: a replay judges everything once more and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.hearing import Knowledge
from pipeline.core.judge import judge, meets
from pipeline.store.contract import UNJUDGED, FlipRow, KeyRow, Transaction, VerdictRow
from pipeline.work.entry import Entry
from pipeline.work.rows import flip_of, row_of
from schemas.flow import Flows
from schemas.verdict import Wait

_new = tuple.__new__


@dataclass(slots=True)
class Said:
    """What judging a batch came to."""

    verdicts: list[VerdictRow] = field(default_factory=list)
    flips: list[FlipRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)

    def without(self, partitions: Iterable[int]) -> Said:
        """What is left where somebody else speaks for these partitions by now."""
        gone = frozenset(partitions)
        if not gone:
            return self
        lost = {row[:3] for row in self.verdicts if row.partition in gone}
        return Said(
            [row for row in self.verdicts if row.partition not in gone],
            [row for row in self.flips if row[:3] not in lost],
            self.keys,
        )


class VersionSource:
    """Versions of verdict rows under one fence: ``fence << 32 | counter``, so that a zombie always loses."""

    __slots__ = ("_next", "fence")

    def __init__(self, fence: int):
        self.fence = fence
        self._next = fence << 32

    @property
    def upcoming(self) -> int:
        """What ``next`` will say."""
        return self._next + 1

    def next(self) -> int:
        self._next += 1
        return self._next


def say(
    transaction: Transaction, entry: Entry, flows: Flows, knowledge: Knowledge, source: VersionSource, said: Said
) -> tuple[bool, bool, tuple[Wait, ...]]:
    """Judge one by every flow that concerns it, and add to ``said`` what is said anew. Returns whether it stays open, whether it
    leans on silence, and what it waits for."""
    waits: list[Wait] = []
    stays_open = leans = False
    earliest, now = entry.state.earliest, knowledge.control_time
    for name in flows.by_key.get(transaction[0], ()):
        before = entry.rows.get(name)
        ended = before is not None and bool(before.ended_at)
        flow = flows.in_force(name, earliest, ended=ended)
        if before is None and not meets(entry.state, flow, knowledge):
            continue
        verdict = judge(entry.state, flow, knowledge, detail=False)
        row, changed, speaks = row_of(transaction, verdict, entry.partition, now, before, source.upcoming)
        if changed:
            source.next()
            said.verdicts.append(row)
            if speaks:
                said.flips.append(flip_of(row, before, now))
            entry.rows[name] = row
        waits.extend(verdict.waits)
        stays_open = stays_open or row.open
        leans = leans or bool(row.body)
    said.keys += _keys(transaction, entry, earliest)
    if not entry.rows:
        said.keys.append(KeyRow(UNJUDGED, UNJUDGED, *transaction, earliest))
    # What none of its type's flows judges yet stays open; of a type without any, the store knows until one is published.
    stays_open = stays_open or (not entry.rows and transaction[0] in flows.by_key)
    return stays_open, leans, tuple(sorted(set(waits))) if waits else ()


def _keys(transaction: Transaction, entry: Entry, seen_at: int) -> list[KeyRow]:
    """Rows for the keys by which the transaction can be found and was not before."""
    known, last = entry.keys, entry.last_keys
    found = {} if known else {transaction: None}
    for event in entry.state.events.values() if entry.unsaid else entry.latest:
        # Most events of a transaction carry the same keys: one comparison instead of a set of pairs.
        if event.keys != last:
            last = event.keys
            found.update(dict.fromkeys(last.items()))
    entry.last_keys, entry.unsaid, entry.latest = last, False, []
    if not found:
        return []
    new = [pair for pair in found if pair not in known] if known else list(found)
    known.update(found)
    return [_new(KeyRow, (*pair, *transaction, seen_at)) for pair in new]
