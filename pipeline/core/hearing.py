"""Hearing: for each system, through when it was heard, when it was not, and what follows for a judge (DESIGN.md §4).

``Hearing`` and ``Knowledge`` are values; ``control.ControlFold`` makes them from the control topic, ``knowledge_from_rows``
from what the store kept (law 7). Times in µs of the log's clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from pipeline.core.calendar import WorkingTime
from schemas.landscape import Landscape
from schemas.verdict import Witness

NEVER = -(2**62)
FOREVER = 2**62
# In a wait, in the place of a system: control time itself. No system has an empty name.
CONTROL = ""
# A source's clock is corrected, with a finding, where it is off by more than this.
SKEW_LIMIT = 2_000_000

Interval = tuple[int, int]
_BEGIN: itemgetter[int] = itemgetter(0)
_END: itemgetter[int] = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Hearing:
    """How one system was heard.

    ``clock``: everything it said up to then is processed; ``NEVER`` before anything is settled. ``deaf``: sorted, disjoint
    intervals in which it was not heard, for want of an epoch that covers them or because a source was blind; an open one ends at
    ``FOREVER``. ``silent``: none of its sources is live or has said goodbye. ``unvouched``: no source ever spoke for it.
    """

    system: str
    clock: int = NEVER
    deaf: tuple[Interval, ...] = ()
    silent: bool = False
    unvouched: bool = False

    def deaf_within(self, begin: int, end: int) -> tuple[Interval, ...]:
        """The parts of [begin, end] in which it was not heard."""
        return tuple((max(a, begin), min(b, end)) for a, b in self._touching(begin, end))

    def resumed(self, begin: int, end: int) -> int | None:
        """When it was heard again, µs, after the last interval that reaches into [begin, end]; None without one."""
        touching = self._touching(begin, end)
        return touching[-1][1] if touching else None

    def _touching(self, begin: int, end: int) -> tuple[Interval, ...]:
        if not self.deaf:
            return ()
        first = bisect_right(self.deaf, begin, key=_END)
        return self.deaf[first : bisect_left(self.deaf, end, first, key=_BEGIN)]

    def heard(self, begin: int, end: int, tolerate: float) -> bool:
        """Whether it was heard over [begin, end], but for a share of at most ``tolerate``."""
        if not self.deaf:
            return True
        missed = sum(b - a for a, b in self.deaf_within(begin, end))
        return missed <= tolerate * (end - begin)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is normal for an edge: ``p99`` µs from one step's end to the next one's, of version ``version``."""

    p99: int
    version: int = 1


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that a judge knows beside the transaction's state: time, hearing, calendars, baselines. A value.

    ``control_time``: µs. ``hearing``: by system; one that is missing there is unvouched, with ``processed`` (how far all
    partitions are processed, less the settling time) for its clock. ``skews``: (source, epoch) to µs that are added to
    its event times, only those over ``SKEW_LIMIT``. ``known_steps``: key type to the (step, system) pairs
    that any of its flows knows.
    ``baselines``: (flow, from step, to step). ``renamed``: former system names.
    """

    control_time: int
    hearing: Mapping[str, Hearing] = field(default_factory=dict)
    processed: int = NEVER
    landscape: Landscape = field(default_factory=Landscape)
    skews: Mapping[tuple[str, int], int] = field(default_factory=dict)
    calendars: Mapping[str, WorkingTime] = field(default_factory=dict)
    known_steps: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[tuple[str, str, str], Baseline] = field(default_factory=dict)

    def of(self, system: str) -> Hearing:
        """How a system was heard; one of which no source ever spoke by what the landscape assumes. ``CONTROL`` is control time."""
        found = self.hearing.get(system)
        if found is not None:
            return found
        if system == CONTROL:
            return Hearing(CONTROL, self.control_time)
        spec = self.landscape.systems.get(system)
        if spec is not None and spec.assume == "silent":
            return Hearing(system, NEVER, ((NEVER, FOREVER),), silent=True, unvouched=True)
        return Hearing(system, self.processed, (), silent=False, unvouched=True)

    def due(self, start: int, within: int, calendar: str | None) -> int:
        """``start`` plus ``within`` µs, on a calendar where one is named."""
        hours = self.calendars.get(calendar) if calendar else None
        return hours.add(start, within) if hours else start + within

    def witness(self, system: str, begin: int, end: int) -> Witness:
        """What a verdict says of how it heard ``system`` over [begin, end]."""
        hearing = self.of(system)
        deaf = hearing.deaf_within(begin, end)
        missed = sum(b - a for a, b in deaf)
        return Witness(
            system=system,
            heard_through=None if hearing.clock <= NEVER else hearing.clock,
            blind=tuple((a, None if b >= FOREVER else b) for a, b in deaf),
            share=round(missed / (end - begin), 6) if end > begin else 0.0,
            unvouched=hearing.unvouched,
            silent=hearing.silent,
        )


def merge_intervals(intervals: list[Interval]) -> tuple[Interval, ...]:
    """Sorted and disjoint; empty ones vanish."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if begin >= end:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def gaps(covered: list[Interval]) -> list[Interval]:
    """All of time but what is covered."""
    missing, at = [], NEVER
    for begin, end in merge_intervals(covered):
        if begin > at:
            missing.append((at, begin))
        at = max(at, end)
    if at < FOREVER:
        missing.append((at, FOREVER))
    return missing


class Covered:
    """Intervals that may overlap or be empty, sorted once to ask of each what the others cover."""

    def __init__(self, intervals: Sequence[Interval]):
        lasting = [(begin, end) for begin, end in intervals if begin < end]
        self._all_begin = sorted(begin for begin, _ in intervals)
        self._begin, self._end = sorted(map(_BEGIN, lasting)), sorted(map(_END, lasting))

    def by_another(self, own: Interval, time: int) -> int:
        """``time``, if another one than ``own`` covers it; else when the next of the others begins, ``FOREVER`` if none does."""
        begin, end = own
        if bisect_right(self._begin, time) - bisect_right(self._end, time) > (begin <= time < end):
            return time
        at = bisect_right(self._all_begin, time)
        if begin > time and self._all_begin[at] == begin:
            at += 1
        return self._all_begin[at] if at < len(self._all_begin) else FOREVER
