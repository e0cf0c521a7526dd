"""The simulation: a seeded shop of seventeen systems, played onto a log, with the truth kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from pipeline.log.contract import Log
from pipeline.simulate.account import World
from pipeline.simulate.clock import SimulatedClock
from pipeline.simulate.deeds import Case, Deed
from pipeline.simulate.emission import Emission, heard
from pipeline.simulate.reckoning import reckon
from pipeline.simulate.rhythm import OpenHours
from pipeline.simulate.statements import SHIFTS, runs
from pipeline.simulate.stories import Size, Stories
from pipeline.simulate.telemetry import Disturbance, Ear, Interval, Pod, ears, listen, pods_of
from pipeline.simulate.truth import Truth
from pipeline.simulate.voices import READ
from schemas.flow import Flows
from schemas.landscape import Landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND

SHIPPED = ("order", "checkout", "login", "statement", "service-move")
SKEWED_POD, SKEW = "mailer-2", 47 * MINUTE


class Simulation:
    """Three weeks that end at ``end`` µs. Equal arguments give equal events, at equal times, in equal order.

    Args:
        seed: decides everything else.
        orders: how many; the other flows go with it.
        end: µs since 1970 UTC; the simulation knows no other clock.
        faults: with stories that go wrong. Without, everything goes well.
        disturbed: with a blackout, a delay and a skewed clock (by default where there are faults). Without, `blackout` and
            `delay` are the only disturbances.
        read: systems of which a collector reads what they write; all others emit. What is heard is the same, in three times the
            time.
        every: µs between a source's markers. ``tick``: µs between sendings. ``weeks``: of simulated time.
    """

    def __init__(
        self,
        seed: int,
        orders: int,
        end: int,
        flows: Flows,
        landscape: Landscape,
        *,
        faults: bool = True,
        disturbed: bool | None = None,
        size: Size | None = None,
        every: int = 30 * MINUTE,
        tick: int = 10 * MINUTE,
        weeks: int = 3,
        read: frozenset[str] = READ,
    ):
        missing = [name for name in SHIPPED if name not in flows.versions]
        if missing:
            raise ValueError(f"the simulated shop needs the flows that ship; there is no {', '.join(missing)}")
        self.seed, self.begin, self.end, self.every, self._tick = seed, end - weeks * 7 * DAY, end, every, tick
        self._read = read
        self.flows, self.landscape = flows, landscape
        self.clock = SimulatedClock(self.begin)
        systems = {step.system for name in SHIPPED for step in flows.latest(name).steps.values()}
        self._names = pods_of(systems)
        disturbed = faults if disturbed is None else disturbed
        self._skews = {SKEWED_POD: SKEW} if disturbed else {}
        self.disturbances: list[Disturbance] = self._usual() if disturbed else []
        writer = Stories(seed, size or Size.of(orders), self.begin, end, flows, landscape, self._names, faulty=faults)
        self.cases: list[Case] = writer.write()
        self.pods: dict[str, Pod] = {}

    def _usual(self) -> list[Disturbance]:
        """One system goes dark for half a day, another's telemetry comes hours late."""
        random = Random(f"{self.seed}/disturbances")
        dark = self.end - random.randrange(9 * 24, 11 * 24) * HOUR
        late = self.end - random.randrange(5 * 24, 7 * 24) * HOUR
        return [
            Disturbance(
                "blackout", random.choice(("carrier", "warehouse")), dark, dark + random.randrange(5, 15) * HOUR
            ),
            Disturbance("delay", "payments", late, late + random.randrange(3, 9) * HOUR),
        ]

    def blackout(self, system: str, start: int, length: int) -> None:
        """What ``system`` does in [start, start + length) µs is never heard of."""
        self.disturbances.append(Disturbance("blackout", system, start, start + length))

    def delay(self, system: str, start: int, length: int) -> None:
        """What ``system`` does in [start, start + length) µs is heard of at its end only."""
        self.disturbances.append(Disturbance("delay", system, start, start + length))

    @property
    def _latest(self) -> int:
        """What happens later is in nobody's log at the end: sources may say hello within a grace."""
        return self.end - self.landscape.grace - 2 * SECOND

    @property
    def happened(self) -> list[Deed]:
        """All deeds up to a grace before the end, earliest first."""
        deeds = {deed.id: deed for case in self.cases for deed in case.deeds if deed.time <= self._latest}
        return sorted(deeds.values(), key=lambda deed: (deed.time, deed.id))

    def run(self, log: Log, on_step: Callable[[int], None] | None = None, step: int = 12 * HOUR) -> None:
        """Play everything onto a log whose append clock is `clock`.

        ``on_step`` is called about every ``step`` µs of simulated time, and at the end: for the worker to take its turn.
        """
        pods = listen(self._names, self.begin, self._shifts(), self._skews, self.disturbances)
        self.pods = {pod.name: pod for pod in pods}
        sink = log.producer()
        emission = Emission(pods, sink, self.clock, self.landscape, every=self.every, tick=self._tick, read=self._read)
        due = self.begin + step

        def ticked(now: int) -> None:
            nonlocal due
            if on_step is not None and (now >= due or now == self.end):
                due = now + step
                on_step(now)

        try:
            emission.play(self.happened, self.begin, self.end, ticked)
        finally:
            sink.close()

    def _shifts(self) -> dict[str, list[Interval]]:
        """The night's systems introduce themselves on the first day, then come with each run."""
        nights = runs(self.begin, self.end)
        return {
            system: [(self.begin, self.begin + HOUR), *((n.midnight + a, n.midnight + b) for n in nights)]
            for system, (a, b) in SHIFTS.items()
        }

    def heard(self, case: Case) -> list[Deed]:
        """Of a case, what had reached the log at the end, earliest first. After `run`."""
        known = [deed for deed in case.deeds if deed.time <= self._latest and heard(deed, self.pods, self.end)]
        return sorted(known, key=lambda deed: (deed.time, deed.id))

    def truths(self) -> list[Truth]:
        """What a perfect judge could say of every case at the end. After `run`."""
        known: dict[str, set[tuple[str, str]]] = {}
        for flow in self.flows.all():
            known.setdefault(flow.key, set()).update((name, step.system) for name, step in flow.steps.items())
        world = World(
            ears=self.ears(),
            now=self.end,
            landscape=self.landscape,
            hours={name: OpenHours(calendar) for name, calendar in self.landscape.calendars.items()},
            known={kind: frozenset(steps) for kind, steps in known.items()},
            skewed=frozenset(name for name, skew in self._skews.items() if skew),
        )
        found = []
        for case in self.cases:
            heard = self.heard(case)
            truth = reckon(self.flows.latest(case.flow), case, heard, world)
            unheard = len(heard) < sum(deed.time <= self._latest for deed in case.deeds)
            found.append(replace(truth, blind=truth.blind or unheard))
        return found

    def ears(self) -> dict[str, Ear]:
        """How each system was heard, at the end. After `run`."""
        return ears(self.pods.values(), self.begin, self.end, 3 * self.every, self.landscape.grace)
