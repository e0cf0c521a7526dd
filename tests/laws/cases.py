"""Random transactions under the flows that ship, and random hearing: what the laws of a judge are tried on."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from pipeline.core.calendar import WorkingTime
from pipeline.core.hearing import FOREVER, NEVER, Hearing, Interval, Knowledge
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from schemas.flow import Flow
from schemas.flow_file import load_flows, parse_flow
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time, parse_time
from schemas.wire import Observed

SCHEMAS = Path(__file__).parents[2] / "schemas"
T0 = parse_time("2026-10-05T08:00:00Z")

# A loop, alternatives, several starts, a count announced, a parcel that goes back: what the flows that ship do without.
LOOPING = """
flow: looping
version: 1
key: order
by: [order]
keys: {parcel: {alias: shared}, line: search}
lost_after: 3d
steps:
  web:       {system: shop, start: true}
  phone:     {system: desk, start: true, reports: [received, completed]}
  line:      {system: shop, after: {any: [web, phone]}, per: line, optional: true}
  checked:   {system: fraud, after: {any: [web, phone, sent_back]}, within: 1h, reports: [received, completed, failed]}
  sent_back: {system: fraud, after: checked, optional: true, again: 2}
  insured:   {system: desk, after: checked, within: 2h, when: {insured: ["true"]}, must: true}
  packed:    {system: warehouse, after: [checked, insured], within: 1d, per: parcel, by: [order, parcel],
              count: {announced_by: line}}
  shipped:   {system: carrier, after: packed, within: 1d, per: parcel, by: [parcel], reports: [received, completed]}
  returned:  {system: carrier, after: shipped, per: parcel, end: closed}
  accepted:  {system: shop, after: shipped, per: parcel, lapses: 1d}
  billed:    {system: billing, after: accepted, within: 2d, end: completed}
"""


@cache
def landscape() -> Landscape:
    return load_landscape([SCHEMAS])


@cache
def flows() -> tuple[Flow, ...]:
    return (*load_flows([SCHEMAS / "flows"], landscape()).all(), parse_flow(LOOPING))


FLOWS = [flow.flow for flow in flows()]


def flow_of(name: str) -> Flow:
    return next(flow for flow in flows() if flow.flow == name)


PHASES = ("received", "started", "sent", "completed", "failed", "cancelled")
HOSTILE: tuple[Any, ...] = (
    "x", "", "-1", -1, 0, 1, 2, 3, 2**53 - 1, 1e308, -0.0, "9" * 4096, "nan", "inf", True, False,
    "2026-10-05T08:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
)  # fmt: skip


class Cases:
    """Draws from a seeded generator: a strategy for each field took twenty times as long as judging."""

    def __init__(self, flow: Flow, random: Random):
        self.flow, self.random = flow, random
        self.plan = plan_of(flow)
        self.names = list(flow.steps)
        self.attributes = {flow.value or "amount", flow.currency, *flow.exclude}
        for step in flow.steps.values():
            self.attributes |= {step.due or "amount", (step.count.attribute if step.count else None) or "amount"}
            self.attributes |= set(step.when.attributes) if step.when else set()

    def time(self) -> int:
        """When something happens, µs: of the order of the flows' deadlines, in no order."""
        random = self.random
        return random.choice(
            (
                random.randint(0, 90) * MINUTE,
                random.randint(-3, 60) * HOUR,
                random.randint(0, 30) * DAY,
                random.randint(0, 8) * SECOND,
            )
        )

    def values(self) -> dict[str, Any]:
        """Attributes that the flow reads, with values that it can and cannot use."""
        random = self.random
        if random.random() < 0.5:
            return {}
        return {
            name: random.choice((random.choice(HOSTILE), format_time(T0 + self.time()), "true", random.randint(1, 4)))
            for name in random.sample(sorted(self.attributes), min(3, len(self.attributes)))
        }

    def thrown(self, number: int) -> Observed:
        """Any event at any time."""
        random, name = self.random, self.random.choice(self.names)
        step = self.flow.steps[name]
        keys = {self.flow.key: "1"}
        for kind in self.plan.instance_types:
            if random.random() < 0.85:
                keys[kind] = random.choice(("P1", "P2", "P3"))
        system = step.system if random.random() < 0.92 else random.choice(("nobody", "shop"))
        done = str(step.satisfied_by)
        return Observed(
            id=f"e{number if random.random() < 0.9 else 0}",
            system=system,
            step=name,
            time=T0 + self.time(),
            keys=keys,
            phase=random.choice((done, done, *PHASES)),  # type: ignore[arg-type]
            source=random.choice((system, f"{system}-2")),
            epoch=1,
            seq=number,
            attributes=self.values(),
            error=random.choice((None, "broken")),
            via=random.choice(("", "", "", "payment:A1")),
        )

    def walk(self) -> list[Observed]:
        """A path as it should go, in order, as far as it goes."""
        found: list[Observed] = []
        time, number = T0, 100
        for step in self.plan.order:
            for instance in () if step.closing else ("P1", "P2") if step.per else ("",):
                number += 1
                time += self.random.choice((0, SECOND, MINUTE, 20 * MINUTE, HOUR, 20 * HOUR))
                keys = {self.flow.key: "1", **({step.per: instance} if step.per else {})}
                found.append(
                    Observed(f"e{number}", step.system, step.name, time, keys, str(step.spec.satisfied_by))  # type: ignore[arg-type]
                )
        return found[: self.random.randint(0, len(found))]

    def hearing(self, now: int) -> dict[str, Hearing]:
        """How each system was heard by ``now``: well, with gaps, not any more, or never."""
        random, found = self.random, {}
        for system in sorted({step.system for step in self.flow.steps.values()}):
            kind = random.randint(0, 9)
            if kind == 9:
                continue
            clock = now - random.choice((10 * SECOND, 10 * SECOND, MINUTE, 2 * HOUR, 3 * DAY))
            deaf: tuple[Interval, ...] = ()
            if kind in (6, 7):
                begin = T0 + self.time()
                deaf = ((begin, begin + random.choice((SECOND, MINUTE, HOUR, 4 * DAY))),)
            if kind == 8:
                clock = min(clock, T0 + self.time())
                deaf = ((clock, FOREVER),)
            found[system] = Hearing(system, clock, deaf, silent=kind == 8)
        return found


@st.composite
def transactions(draw: st.DrawFn, flow: Flow, least: int = 0) -> list[Observed]:
    """Events of one transaction: a path with steps left out, events thrown in at random, or both."""
    cases = Cases(flow, Random(draw(st.integers(0, 2**32))))
    thrown = [cases.thrown(number) for number in range(cases.random.randint(least, 6))]
    events = [*thrown, *cases.walk()] if cases.random.random() < 0.7 else thrown
    # Leaving out is what hypothesis shrinks by.
    left_out = draw(st.sets(st.integers(least, 20), max_size=8))
    return [event for place, event in enumerate(events) if place not in left_out]


@st.composite
def knowledges(draw: st.DrawFn, flow: Flow, tolerate: float = 0) -> Knowledge:
    """What is known at some time after the transaction began."""
    cases = Cases(flow, Random(draw(st.integers(0, 2**32))))
    now = T0 + cases.time() + cases.random.choice((MINUTE, HOUR, 2 * DAY, 40 * DAY))
    return knowledge(flow, now, cases.hearing(now), tolerate, cases.random.choice(("heard", "silent")))


@cache
def _landscape(tolerate: float, assume: str) -> Landscape:
    land = landscape()
    systems = {name: spec.model_copy(update={"assume": assume}) for name, spec in land.systems.items()}
    return land.model_copy(update={"tolerate": tolerate, "systems": systems})


@cache
def _calendars() -> dict[str, WorkingTime]:
    return {name: WorkingTime(calendar) for name, calendar in landscape().calendars.items()}


def knowledge(
    flow: Flow, now: int, hearing: dict[str, Hearing], tolerate: float = 0, assume: str = "heard", **rest: Any
) -> Knowledge:
    return Knowledge(
        control_time=now,
        hearing=hearing,
        processed=now - MINUTE,
        landscape=_landscape(tolerate, assume),
        calendars=_calendars(),
        known_steps={flow.key: plan_of(flow).by_event},
        **rest,
    )


def all_heard(flow: Flow, now: int) -> Knowledge:
    """Everybody was heard all the while, and everything is processed."""
    systems = {step.system for step in flow.steps.values()}
    return knowledge(flow, now, {system: Hearing(system, now) for system in systems})


def none_heard(flow: Flow, now: int) -> Knowledge:
    systems = {step.system for step in flow.steps.values()}
    return knowledge(
        flow, now, {system: Hearing(system, NEVER, ((NEVER, FOREVER),), silent=True) for system in systems}
    )


def state_of(flow: Flow, events: list[Observed]) -> State:
    return State.of(flow.key, "1", events, plan_of(flow).instance_types)
