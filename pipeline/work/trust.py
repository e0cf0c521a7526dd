"""Trust: a source whose input is mostly bad is set aside as a whole; where everything is bad, the worker stops and says so.

Policy apart from state: the limits are a frozen value.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SourceKey = tuple[str, int]


class Flooded(Exception):  # noqa: N818  (a state of the world; what to do about it is for a person)
    """Nearly everything that comes in is bad: a bad deploy. Stopped before the quarantine floods; nothing was committed."""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A source is set aside once it has sent ``least`` bad ones and they are more than ``share`` of its last ``window`` events.
    All input is refused once there are ``least_overall`` bad ones and, the worst source left out, ``least`` bad ones make up more
    than ``share_overall`` of what the others sent."""

    least: int = 100
    share: float = 0.5
    window: int = 1_000
    least_overall: int = 2_000
    share_overall: float = 0.9


@dataclass(slots=True)
class _Count:
    good: int = 0
    bad: int = 0

    def add(self, good: int, bad: int, window: int) -> None:
        self.good += good
        self.bad += bad
        if self.good + self.bad > window:
            # Halving instead of a ring: what was long ago weighs less, in two integers.
            self.good, self.bad = self.good // 2, self.bad // 2


@dataclass(slots=True)
class Trust:
    """Counts per (source, epoch); records without a source count by their partition, under ``("", partition)``.

    ``aside``: whose input is mostly bad; ``follow`` takes it from control, where another worker may have said so.
    """

    policy: TrustPolicy = field(default_factory=TrustPolicy)
    aside: set[SourceKey] = field(default_factory=set)
    _told: set[SourceKey] = field(default_factory=set)
    _counts: dict[SourceKey, _Count] = field(default_factory=dict)
    _overall: _Count = field(default_factory=_Count)

    def follow(self, distrusted: set[SourceKey]) -> None:
        """What control says by now: who is set aside, and who is trusted again, from a count of nothing."""
        for source in self._told - distrusted:
            self.aside.discard(source)
            self._counts.pop(source, None)
        self.aside |= distrusted
        self._told = set(distrusted)

    def note(self, source: SourceKey, good: int, bad: int) -> bool:
        """Count one record's outcome; True when the source is set aside just now. Raises ``Flooded``."""
        if not bad and source not in self._counts:
            self._overall.good += good
            return False
        count = self._counts.setdefault(source, _Count())
        count.add(good, bad, self.policy.window)
        self._overall.add(good, bad, self.policy.least_overall * 3 // 2)
        if bad:
            self._check_flood()
        mostly = count.bad >= self.policy.least and count.bad > self.policy.share * (count.good + count.bad)
        if mostly and source not in self.aside:
            self.aside.add(source)
            return True
        return False

    def refused(self, source: SourceKey) -> None:
        """Count a record of a source that is set aside. Raises ``Flooded``."""
        self.note(source, 0, 1)

    def _check_flood(self) -> None:
        bad, good = self._overall.bad, self._overall.good
        if bad < self.policy.least_overall:
            return
        worst = max(self._counts.values(), key=lambda count: count.bad)
        # One source that sends nothing but poison is set aside, however much it sends; a bad deploy is many of them.
        rest_bad = sum(count.bad for count in self._counts.values()) - worst.bad
        rest_good = max(0, good - worst.good)
        if rest_bad >= self.policy.least and rest_bad > self.policy.share_overall * (rest_good + rest_bad):
            sources = [name or f"partition {number}" for (name, number), count in self._counts.items() if count.bad]
            raise Flooded(
                f"{bad} of the last {good + bad} events are bad, from {len(sources)} sources ({', '.join(sources[:5])}): "
                "stopped before the quarantine floods. Look at `lastseen quarantine list`, mend the senders, start again"
            )
