"""Epoch: one boot of one source, as the fold of control knows it (DESIGN.md §4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.core.hearing import FOREVER, NEVER, SKEW_LIMIT, Interval, merge_intervals
from pipeline.core.ranges import Range, union

# A marker more than this many is thinned out: behind by hours, a source's clock moves in larger steps, and memory is bound.
MAX_PENDING = 512
# No source's lease is shorter: what a lease runs on is written by workers every two seconds where nobody else speaks.
SHORTEST_LEASE = 6_000_000
# Of the numbers that were shed; an emitter tells 500. What is beyond stays counted.
MAX_SHED_RANGES = 10_000

Offsets = dict[int, int]


class Mark(NamedTuple):
    """A marker that waits to be settled: what it vouches for, by the offsets that must have been processed. ``accounted``: up to
    which running number."""

    through: int
    acked: Offsets
    goodbye: bool = False
    accounted: int = 0


@dataclass(slots=True)
class Trust:
    """Whether a source's input is mostly bad. ``since``: from when on, µs, None while it is trusted; ``at``: control time of that
    decision; ``deaf``: what was not heard for it until it was lifted."""

    since: int | None = None
    at: int = NEVER
    deaf: list[Interval] = field(default_factory=list)

    def withdraw(self, since: int, at: int) -> None:
        if self.since is None:
            self.since, self.at = since, at
        self.since = min(self.since, since)

    def lift(self, since: int, at: int) -> None:
        """``since`` is told again: of the two records compaction keeps this one."""
        self.deaf.append((since if self.since is None else min(since, self.since), at))
        self.since = None


@dataclass(slots=True)
class Epoch:
    """Times in µs; ``boot``, ``since``, ``through`` and ``settled`` as the source says them, ``log_time`` corrects its clock.

    ``settled``: the greatest ``through`` that was settled, ``NEVER`` before. ``last_at``: control time of its last record or
    renewal. ``expired_at``: when its lease ended; ``ended_by``: a new epoch of its name; ``gone_at``, and ``gone_told`` where a
    record says so. ``shed`` is counted only: ``through`` never skips what was not sent; which they were is in ``shed_ranges``.
    ``owed``: every running number up to it must be found by the audit, as the last settled marker has it; ``numbered``: the
    source says so itself. ``goodbye_at``: control time of its goodbye. ``back_from``: what it had vouched for when it came back
    after one.
    """

    source: str
    epoch: int
    number: int
    systems: tuple[str, ...]
    boot: int
    since: int
    every: int
    first_at: int
    last_at: int
    skew: int | None = None
    sent: int = 0
    shed: int = 0
    shed_ranges: tuple[Range, ...] = ()
    numbered: bool = False
    owed: int = 0
    through: int = NEVER
    settled: int = NEVER
    acked: Offsets = field(default_factory=dict)
    pending: deque[Mark] = field(default_factory=deque)
    round: int | None = None
    targets: Offsets = field(default_factory=dict)
    goodbye: str = ""
    goodbye_settled: bool = False
    goodbye_at: int = NEVER
    expired_at: int | None = None
    ended_by: Epoch | None = None
    gone_at: int | None = None
    gone_told: bool = False
    trust: Trust = field(default_factory=Trust)
    hello_at: int | None = None
    back_from: int | None = None

    @property
    def lease(self) -> int:
        return max(3 * self.every, SHORTEST_LEASE)

    @property
    def ended_since(self) -> int:
        """From when the epoch that took its place vouches, in the log's time."""
        return FOREVER if self.ended_by is None else self.ended_by.log_time(self.ended_by.since)

    @property
    def distrusted(self) -> bool:
        return self.trust.since is not None

    @property
    def fell_at(self) -> int:
        """Control time at which it was no longer heard."""
        fell = FOREVER if self.expired_at is None else self.expired_at
        return min(fell, self.trust.at) if self.distrusted else fell

    @property
    def correction(self) -> int:
        """What is added to the source's times, µs: its skew, where it is off by more than two seconds."""
        return self.skew if self.skew is not None and abs(self.skew) > SKEW_LIMIT else 0

    def log_time(self, time: int) -> int:
        return time if time in (NEVER, FOREVER) else time + self.correction

    @property
    def live(self) -> bool:
        down = self.goodbye or self.expired_at is not None or self.ended_by is not None or self.gone_at is not None
        return not down and not self.distrusted

    @property
    def open(self) -> bool:
        """Said goodbye and may come back: it vouches on."""
        return self.goodbye == "open" and self.ended_by is None and not self.distrusted

    @property
    def leaving(self) -> bool:
        """Said goodbye, and not all that it sent is processed: until then the system's other sources wait for it.

        Not for an import, which vouches for the time before it began: until it is settled, that time is not covered; and what
        an import before it had covered stays so, however often the same is loaded.
        """
        return bool(self.goodbye) and not (self.goodbye_settled or self.distrusted) and self.since >= self.boot

    @property
    def begins(self) -> bool:
        """An import (or a collector of what was before it) that said hello and nothing else: it changes nothing yet. Its hello and
        goodbye come together, and who reads between them must not take back what an earlier one had covered."""
        return self.since < self.boot and self.through == NEVER and self.expired_at is None

    @property
    def state(self) -> str:
        """For people: live, silent, open, closed, gone, ended or distrusted."""
        if self.distrusted:
            return "distrusted"
        if self.goodbye == "closed":
            return "closed"
        if self.ended_by is not None:
            return "ended"
        if self.goodbye:
            return "open"
        if self.gone_at is not None:
            return "gone"
        return "silent" if self.expired_at is not None else "live"

    def clock(self, control_time: int, grace: int) -> int:
        """What a live source or an open goodbye contributes to its systems' clocks, in the log's time."""
        latest = control_time - grace
        if self.goodbye == "open" and self.goodbye_settled:
            return latest
        return min(self.vouched(), latest)

    def vouched(self) -> int:
        """Settled through, in the log's time; ``since`` while nothing is settled: before that it has nothing to say."""
        return self.log_time(max(self.settled, self.since))

    def covers(self) -> Interval:
        """The time that it vouches for as far as epochs go; what it was blind for is told apart."""
        start = self.log_time(self.since)
        if self.live or self.open:
            return start, FOREVER
        end = self.log_time(self.settled)
        if self.goodbye == "open" and self.goodbye_settled and self.ended_by is not None:
            # A nightly job: between its goodbye and the next run there was nothing to say.
            end = max(end, self.ended_since)
        return start, end

    def standing(self, grace: int) -> tuple[object, ...] | None:
        """All that its systems' hearing takes from it beside its clock while it is live and says more than hello; else None."""
        return (self.covers(), self.blind(grace)) if self.live and not self.begins else None

    def late(self, grace: int) -> list[Interval]:
        """A hello that came later than ``grace`` after the boot (or a return after a goodbye) found clocks that had passed: not
        heard back to then, until what it knows by now is settled."""
        settled = self.log_time(self.settled) >= (self.hello_at or NEVER) or self.goodbye_settled
        if self.hello_at is None or self.goodbye == "closed" or settled:
            return []
        begin = self.log_time(self.boot) if self.back_from is None else self.back_from
        return [(begin, self.hello_at)] if self.hello_at - begin > grace else []

    def cut(self) -> list[Interval]:
        """A goodbye does not vouch for what was shed: that became known after its ``through`` and before it was said, which by the
        source's clock was ``skew`` earlier. (What an import could not send may have happened at any time.)"""
        of_import = self.goodbye == "closed" and self.since < self.boot
        if not (self.goodbye and self.shed) or of_import:
            return []
        return [(self.vouched(), self.goodbye_at - (self.skew or 0) + self.correction)]

    def blind(self, grace: int) -> tuple[Interval, ...]:
        """When it was not heard itself, in the log's time. One that is gone is awaited no more. (In what follows for its systems
        others have a part: `ControlFold.hearing`.)"""
        found = [*self.trust.deaf, *self.late(grace), *self.cut()]
        if self.trust.since is not None:
            found.append((min(self.vouched(), self.trust.since), self.ended_since))
        elif not (self.live or self.goodbye or self.begins):
            gone = FOREVER if self.gone_at is None else self.gone_at
            found.append((self.vouched(), min(self.ended_since, gone)))
        return merge_intervals(found)

    def come_back(self, at: int) -> None:
        """It said goodbye and speaks again: until now its systems' clocks went on without it."""
        self.back_from, self.hello_at = self.vouched(), at
        self.goodbye, self.goodbye_settled = "", False

    def revive(self, at: int) -> None:
        """Any record of an epoch shows that it is there: an end that was only supposed is taken back."""
        self.last_at = at
        self.expired_at = self.gone_at = self.ended_by = None
        self.gone_told = False

    def count(self, sent: int, shed: int, shed_ranges: tuple[Range, ...]) -> None:
        """What a marker says it has sent and shed: cumulative, and a marker may come after one that says more."""
        self.sent, self.shed = max(self.sent, sent), max(self.shed, shed)
        if shed_ranges and shed_ranges != self.shed_ranges:
            self.shed_ranges = tuple(union(self.shed_ranges, shed_ranges)[:MAX_SHED_RANGES])

    def add(self, mark: Mark) -> None:
        self.through = max(self.through, mark.through)
        self.pending.append(mark)
        if len(self.pending) > MAX_PENDING:
            kept = list(self.pending)
            self.pending = deque([kept[0], *kept[2:-1:2], kept[-1]])

    def settle_first(self) -> None:
        """All that the first marker that waits vouches for is processed."""
        mark = self.pending.popleft()
        self.round, self.targets = None, {}
        self.settled, self.owed = max(self.settled, mark.through), max(self.owed, mark.accounted)
        if mark.goodbye and self.goodbye and not self.pending:
            self.goodbye_settled = True
