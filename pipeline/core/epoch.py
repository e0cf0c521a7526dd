"""Epoch: one boot of one source, as the fold of control knows it (DESIGN.md §4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.core.hearing import FOREVER, NEVER, SKEW_LIMIT, Interval

# A marker more than this many is thinned out: behind by hours, a source's clock moves in larger steps, and memory is bound.
MAX_PENDING = 512
MAX_SHED = 64

Offsets = dict[int, int]


class Mark(NamedTuple):
    """A marker that waits to be settled: what it vouches for, by the offsets that must have been processed."""

    through: int
    acked: Offsets
    goodbye: bool = False


@dataclass(slots=True)
class Epoch:
    """Times in µs; ``boot``, ``since``, ``through`` and ``settled`` as the source says them, ``log_time`` corrects its clock.

    ``settled``: the greatest ``through`` that was settled, ``NEVER`` before. ``last_at``: control time of its last record or
    renewal. ``expired_at``: when its lease ended; ``ended_at``: from when a new epoch of its name vouches; ``gone_at``.
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
    through: int = NEVER
    settled: int = NEVER
    acked: Offsets = field(default_factory=dict)
    pending: deque[Mark] = field(default_factory=deque)
    round: int | None = None
    targets: Offsets = field(default_factory=dict)
    goodbye: str = ""
    goodbye_settled: bool = False
    expired_at: int | None = None
    ended_since: int | None = None
    gone_at: int | None = None
    distrusted_since: int | None = None
    deaf: list[Interval] = field(default_factory=list)
    late_hello: Interval | None = None

    @property
    def lease(self) -> int:
        return 3 * self.every

    @property
    def correction(self) -> int:
        """What is added to the source's times, µs: its skew, where it is off by more than two seconds."""
        return self.skew if self.skew is not None and abs(self.skew) > SKEW_LIMIT else 0

    def log_time(self, time: int) -> int:
        return time if time in (NEVER, FOREVER) else time + self.correction

    @property
    def live(self) -> bool:
        down = self.goodbye or self.expired_at is not None or self.ended_since is not None or self.gone_at is not None
        return not down and self.distrusted_since is None

    @property
    def open(self) -> bool:
        """Said goodbye and may come back: it vouches on."""
        return self.goodbye == "open" and self.ended_since is None and self.distrusted_since is None

    @property
    def state(self) -> str:
        """For people: live, silent, open, closed, gone, ended or distrusted."""
        if self.distrusted_since is not None:
            return "distrusted"
        if self.goodbye == "closed":
            return "closed"
        if self.ended_since is not None:
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
        return start, self.log_time(self.settled)

    def revive(self, at: int) -> None:
        """Any record of an epoch shows that it is there: an end that was only supposed is taken back."""
        self.last_at = at
        self.expired_at = self.gone_at = self.ended_since = None

    def add(self, mark: Mark) -> None:
        self.through = max(self.through, mark.through)
        self.pending.append(mark)
        if len(self.pending) > MAX_PENDING:
            kept = list(self.pending)
            self.pending = deque([kept[0], *kept[2:-1:2], kept[-1]])

    def note_shed(self, shed: int, through: int) -> None:
        """What it had to shed since its last marker was not heard."""
        if shed > self.shed:
            begin = self.since if self.through == NEVER else self.through
            self.deaf.append((self.log_time(begin), self.log_time(max(through, begin) + 1)))
            if len(self.deaf) > MAX_SHED:
                # The oldest two become one: never shorter, so nothing is called heard that was not.
                (begin, _), (_, end), *rest = sorted(self.deaf)
                self.deaf = [(begin, end), *rest]
            self.shed = shed
