"""The straight way answers what the whole of §6 would, wherever it answers at all."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hearing import FOREVER, Hearing, Interval, Knowledge
from pipeline.core.judge import judge
from pipeline.core.plan import plan_of
from pipeline.core.straight import straight
from pipeline.core.straight_way import way_of
from schemas.flow import Flow
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.verdict import Status
from schemas.wire import Observed
from tests.laws.cases import FLOWS, Cases, all_heard, flow_of, knowledge, state_of

WAYS = [name for name in FLOWS if way_of(plan_of(flow_of(name))) is not None]


def whole(flow: Flow, random: Random) -> list[Observed]:
    """A whole path, each step once and in time."""
    cases = Cases(flow, random)
    parcels = random.randint(1, 3)
    events: list[Observed] = []
    times: dict[tuple[str, str], int] = {}
    for step in cases.plan.order:
        if (
            step.closing
            or any(step.name in under for under in cases.plan.under.values())
            or not (step.owed or random.random() < 0.5)
        ):
            continue
        for instance in [f"P{n}" for n in range(parcels)] if step.per else [""]:
            at = max((time for (name, _), time in times.items() if name in step.before), default=0)
            time = times[step.name, instance] = at + random.choice((0, 1, SECOND))
            keys = {flow.key: "1", **({step.per: instance} if step.per else {})}
            worth: dict[str, Any] = (
                {flow.value: 12.5, flow.currency: "EUR", "parcels": parcels} if step.start and flow.value else {}
            )
            number = len(events)
            events.append(
                Observed(
                    f"e{number}",
                    step.system,
                    step.name,
                    HOUR + time,
                    keys,
                    step.spec.satisfied_by.value,
                    attributes=worth,
                )
            )
    return events


def bent(flow: Flow, events: list[Observed], random: Random) -> list[Observed]:
    """The path with something about it changed."""
    cases = Cases(flow, random)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        victim = random.randrange(len(events))
        event = events[victim]
        match random.randint(0, 7):
            case 0:
                events = [*events[:victim], *events[victim + 1 :]] or events
            case 1:
                events.append(cases.thrown(900 + len(events)))
            case 2:
                events[victim] = _with(
                    event, time=event.time + random.choice((-1, 1)) * random.choice((1, SECOND, HOUR, 20 * DAY))
                )
            case 3:
                events.append(_with(event, id="again", time=event.time + random.choice((0, SECOND, 9 * SECOND))))
            case 4:
                events[victim] = _with(event, attributes={**event.attributes, **cases.values()})
            case 5:
                events.append(
                    _with(
                        event, id="arrival", phase="received", time=event.time + random.choice((-SECOND, 0, 9 * SECOND))
                    )
                )
            case 6:
                events[victim] = _with(event, attributes={**event.attributes, "parcels": random.randint(1, 4)})
            case _:
                events[victim] = _with(event, keys={**event.keys, **dict.fromkeys(cases.plan.instance_types, "P9")})
    random.shuffle(events)
    return events


def _with(event: Observed, **changes: object) -> Observed:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return Observed(**{**fields, **changes})


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_the_straight_way_says_what_the_whole_table_says(name: str, seed: int) -> None:
    flow, random = flow_of(name), Random(seed)
    state = state_of(flow, bent(flow, whole(flow, random), random))
    knowledge = all_heard(flow, 60 * DAY)
    quick = straight(state, plan_of(flow), knowledge)
    if quick is not None:
        slow = judge(state, flow, knowledge)
        assert quick == replace(slow, hops=(), edges=(), evidence=())


def heard_somehow(flow: Flow, random: Random) -> Knowledge:
    """Clocks that lag, systems that were deaf, are silent, or were never heard of; most of the time all is well."""
    now = HOUR + random.choice((0, SECOND, MINUTE, 20 * MINUTE, 2 * HOUR, 3 * DAY, 8 * DAY, 40 * DAY))
    found: dict[str, Hearing] = {}
    for system in sorted({step.system for step in flow.steps.values()}):
        clock = now - random.choice((0, 10 * SECOND, 10 * SECOND, 10 * SECOND, HOUR, 5 * DAY))
        deaf: tuple[Interval, ...] = ()
        kind = random.randint(0, 19)
        if kind == 0:
            deaf = ((clock, FOREVER),)
        elif kind == 1:
            deaf = ((HOUR + random.choice((0, SECOND)), HOUR + random.choice((MINUTE, DAY))),)
        if kind != 2:
            found[system] = Hearing(system, clock, deaf, silent=kind == 0)
    return knowledge(flow, now, found)


@pytest.mark.parametrize("name", WAYS)
@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_who_is_under_way_waits_for_what_the_whole_table_says(name: str, seed: int) -> None:
    flow, random = flow_of(name), Random(seed)
    path = whole(flow, random)
    path = path[: random.randint(1, len(path))]
    state = state_of(flow, bent(flow, path, random))
    known = heard_somehow(flow, random)
    quick = straight(state, plan_of(flow), known)
    if quick is not None:
        slow = judge(state, flow, known)
        assert quick == replace(slow, hops=(), edges=(), evidence=())


@pytest.mark.parametrize("name", WAYS)
def test_most_who_are_under_way_are_seen_to(name: str) -> None:
    flow = flow_of(name)
    taken = total = 0
    for seed in range(200):
        path = whole(flow, Random(seed))
        parcels = {event.keys.get(kind, "") for event in path for kind in plan_of(flow).instance_types}
        for count in range(1, len(path)):
            known = all_heard(flow, HOUR)
            if (
                len(parcels - {""}) < 2
                and judge(state_of(flow, path[:count]), flow, known).status is Status.IN_PROGRESS
            ):
                total += 1
                taken += straight(state_of(flow, path[:count]), plan_of(flow), known) is not None
    assert taken > 0.8 * total > 0 or (plan_of(flow).closing and way_of(plan_of(flow)).lapsing)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", WAYS)
def test_most_who_go_straight_are_seen_to(name: str) -> None:
    flow = flow_of(name)
    taken = sum(
        straight(state_of(flow, whole(flow, Random(seed))), plan_of(flow), all_heard(flow, 60 * DAY)) is not None
        for seed in range(100)
    )
    assert taken > 90


def test_the_flow_that_most_orders_follow_has_a_straight_way() -> None:
    assert "order" in WAYS


def test_a_start_that_took_too_long_itself_is_left_to_the_judge() -> None:
    flow = flow_of("checkout")
    events = whole(flow, Random(1))
    start = next(event for event in events if flow.steps[event.step].start)
    early = _with(start, id="arrival", phase="received", time=start.time - 20 * DAY)
    knowledge = all_heard(flow, 60 * DAY)
    assert straight(state_of(flow, events), plan_of(flow), knowledge) is not None
    assert straight(state_of(flow, [*events, early]), plan_of(flow), knowledge) is None
    assert judge(state_of(flow, [*events, early]), flow, knowledge).findings
