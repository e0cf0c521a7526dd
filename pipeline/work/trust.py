"""Trust: a source whose input is mostly bad is set aside as a whole; where everything is bad, the worker stops and says so.

Policy apart from state: the limits are a frozen value.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

SourceKey = tuple[str, int]


class Flooded(Exception):  # noqa: N818  (a state of the world; what to do about it is for a person)
    """Nearly everything that comes in is bad: a bad deploy. Stopped before the quarantine floods; nothing was committed."""


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A source is set aside once it has sent ``least`` bad ones and they are more than ``share`` of its last ``window`` events.
    All input is refused once there are ``least_overall`` bad ones and, the worst source left out, ``least`` bad ones make up more
    than ``share_overall`` of what the others sent. Counts are kept of ``sources`` that sent anything bad, the latest."""

    least: int = 100
    share: float = 0.5
    window: int = 1_000
    least_overall: int = 2_000
    share_overall: float = 0.9
    sources: int = 10_000


@dataclass(slots=True)
class _Count:
    good: int = 0
    bad: int = 0

    def add(self, good: int, bad: int, window: int) -> bool:
        """Whether the window was full, and what was long ago weighs less now."""
        self.good += good
        self.bad += bad
        full = self.good + self.bad > window
        if full:
            self.halve()
        return full

    def halve(self) -> None:
        # Instead of a ring: two integers.
        self.good, self.bad = self.good // 2, self.bad // 2


@dataclass(slots=True)
class Trust:
    """Counts per (source, epoch); records without a source count by their partition, under ``("", partition)``.

    ``aside``: whose input is mostly bad; ``follow`` takes it from control, where another worker may have said so. ``_counts``: of
    each source's own latest events. ``_recent``: of the latest of all, ``_overall`` by source: what was bad weeks ago in a source
    that is over has no part in what comes in now.
    """

    policy: TrustPolicy = field(default_factory=TrustPolicy)
    aside: set[SourceKey] = field(default_factory=set)
    _told: set[SourceKey] = field(default_factory=set)
    _counts: OrderedDict[SourceKey, _Count] = field(default_factory=OrderedDict)
    _recent: dict[SourceKey, _Count] = field(default_factory=dict)
    _overall: _Count = field(default_factory=_Count)

    def follow(self, distrusted: set[SourceKey], partitions: Collection[int]) -> None:
        """What control says by now: who is set aside, and who is trusted again, from a count of nothing. What has no name is set
        aside as long as its partition is among ``partitions``, those in work."""
        left = {source for source in self.aside if not source[0] and source[1] not in partitions}
        for source in (self._told - distrusted) | left:
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
        self._counts.move_to_end(source)
        if len(self._counts) > self.policy.sources:
            self._counts.popitem(last=False)
        count.add(good, bad, self.policy.window)
        self._count_overall(source, good, bad)
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

    def _count_overall(self, source: SourceKey, good: int, bad: int) -> None:
        recent = self._recent.setdefault(source, _Count())
        recent.good += good
        recent.bad += bad
        if self._overall.add(good, bad, self.policy.least_overall * 3 // 2):
            for one in self._recent.values():
                one.halve()
            self._recent = {name: one for name, one in self._recent.items() if one.bad}

    def _check_flood(self) -> None:
        bad, good = self._overall.bad, self._overall.good
        if bad < self.policy.least_overall:
            return
        worst = max(self._recent.values(), key=lambda count: count.bad, default=_Count())
        # One source that sends nothing but poison is set aside, however much it sends; a bad deploy is many of them.
        rest_bad = bad - worst.bad
        rest_good = max(0, good - worst.good)
        if rest_bad >= self.policy.least and rest_bad > self.policy.share_overall * (rest_good + rest_bad):
            sources = [name or f"partition {number}" for (name, number), count in self._recent.items() if count.bad]
            raise Flooded(
                f"{bad} of the last {good + bad} events are bad, from {len(sources)} sources ({', '.join(sources[:5])}): "
                "stopped before the quarantine floods. Look at `lastseen quarantine list`, mend the senders, start again"
            )
