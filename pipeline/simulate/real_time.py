"""The shop in real time: what happens now is heard now, by whichever log there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.log.contract import Log
from pipeline.simulate.deeds import Case, Deed
from pipeline.simulate.emission import Emission
from pipeline.simulate.simulation import SHIPPED
from pipeline.simulate.statements import SHIFTS, runs
from pipeline.simulate.stories import Size, Stories
from pipeline.simulate.telemetry import Interval, listen, pods_of
from schemas.flow import Flows
from schemas.landscape import Landscape
from schemas.times import DAY, HOUR, SECOND, parse_time

MOST = 3_600
"""Orders an hour: one a second has a number of its own, whoever simulated before."""
_EVERY, _TICK, _APART = 2 * SECOND, SECOND, 60 * SECOND
_EPOCH = parse_time("2026-01-01T00:00:00Z")


class WallClock:
    """A clock that goes by itself."""

    def __init__(self, clock: Callable[[], int]):
        self._clock = clock

    def __call__(self) -> int:
        return self._clock()

    def advance(self, _to: int) -> None:
        """Time does not wait."""


@dataclass(slots=True)
class Heard:
    """What happened so far: deeds, transactions that began by flow, and those with a fault by its name, the last one's id."""

    deeds: int = 0
    begun: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    last: dict[str, str] = field(default_factory=dict)


class RealTime:
    """From now on for ``length`` µs, at ``rate`` orders an hour.

    Equal arguments give equal stories, but for the time at which they begin. ``clock``: µs now.
    """

    def __init__(
        self, seed: int, rate: int, length: int, flows: Flows, landscape: Landscape, clock: Callable[[], int], *,
        faults: bool = True,
    ):  # fmt: skip
        missing = [name for name in SHIPPED if name not in flows.versions]
        if missing:
            raise ValueError(f"the simulated shop needs the flows that ship; there is no {', '.join(missing)}")
        self.begin = clock()
        self.end = self.begin + length
        self.heard = Heard()
        self._clock, self._landscape = WallClock(clock), landscape
        systems = {step.system for name in SHIPPED for step in flows.latest(name).steps.values()}
        self._names = pods_of(systems)
        size = Size.of(max(1, round(rate * length / HOUR)))
        first = (self.begin - _EPOCH) // SECOND
        # Real time has no end by which all must show.
        writer = Stories(
            seed, size, self.begin - HOUR, self.end, flows, landscape, self._names, faulty=faults, first=first,
            shown_by=self.end + 60 * DAY,
        )  # fmt: skip
        self._cases: dict[str, list[Case]] = {}
        self._deeds = self._ahead(writer.write())

    def _ahead(self, cases: list[Case]) -> list[Deed]:
        """What is still to come, earliest first."""
        found: dict[str, Deed] = {}
        for case in cases:
            for deed in case.deeds:
                if self.begin <= deed.time < self.end:
                    found[deed.id] = deed
            if case.deeds:
                self._cases.setdefault(min(case.deeds, key=lambda deed: deed.time).id, []).append(case)
        return sorted(found.values(), key=lambda deed: (deed.time, deed.id))

    def run(self, log: Log, wait: Callable[[float], bool], progress: Callable[[Heard], None] = lambda _: None) -> Heard:
        """Until the end, or until ``wait`` (so many seconds) says that it is to stop; then every source says goodbye.

        Raises:
            Unavailable: the log cannot be opened, or is away at the end.
        """
        sink = log.producer()
        pods = listen(self._names, self.begin, self._shifts(), {}, [])
        emission = Emission(pods, sink, self._clock, self._landscape, every=_EVERY, tick=_TICK, patient=True)
        told = 0

        def ticked(now: int) -> None:
            nonlocal told
            while told < len(self._deeds) and self._deeds[told].time <= now:
                self._note(self._deeds[told])
                told += 1
            progress(self.heard)

        try:
            emission.follow(self._deeds, self._instants(wait), ticked)
            emission.leave()
        finally:
            sink.close()
        return self.heard

    def _instants(self, wait: Callable[[float], bool]) -> Iterator[int]:
        while (now := self._clock()) < self.end:
            yield now
            if wait(_TICK / SECOND):
                return

    def _note(self, deed: Deed) -> None:
        heard = self.heard
        heard.deeds += 1
        for case in self._cases.get(deed.id, ()):
            heard.begun[case.flow] += 1
            if case.fault:
                heard.faults[f"{case.flow}: {case.fault.replace('_', ' ')}"] += 1
                heard.last[case.flow] = case.id

    def _shifts(self) -> dict[str, list[Interval]]:
        """The night's systems introduce themselves, then come with each run."""
        nights = runs(self.begin - DAY, self.end)
        return {
            system: [(self.begin, self.begin + 10 * SECOND)]
            + [(n.midnight + a, n.midnight + b) for n in nights if n.midnight + a > self.begin + _APART]
            for system, (a, b) in SHIFTS.items()
        }
