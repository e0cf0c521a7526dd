"""What judge waits for is enough: whoever judges again only when told to misses nothing, and comes to rest.

The worker's way of waiting (a heap for each system, a silent one's on control time) is followed second by second and held
against judging at that very moment.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hearing import Baseline, Hearing, Knowledge
from pipeline.core.judge import judge
from pipeline.core.state import State
from schemas.flow import Flow
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.verdict import Verdict, Wait
from tests.laws.cases import FLOWS, T0, Cases, flow_of, knowledge, state_of, transactions


class World:
    """Time as it goes on: clocks follow control time at a distance, gaps stay where they are, the silent stay silent."""

    def __init__(self, flow: Flow, random: Random, start: int):
        self.flow = flow
        self.hearing = Cases(flow, random).hearing(start)
        self.lag = {system: random.choice((0, 10 * SECOND, HOUR)) for system in self.hearing}
        # What a closed source told ends where it ends: the clock of its system stands still, and nobody is silent.
        self.closed = {system: start - self.lag[system] for system in self.hearing if random.random() < 0.2}
        self.baselines = {
            (flow.flow, before, name): Baseline(random.choice((SECOND, 5 * MINUTE)))
            for name, step in flow.steps.items()
            for before in step.after.steps
            if random.random() < 0.3
        }

    def at(self, now: int) -> Knowledge:
        hearing = {
            system: heard
            if heard.silent
            else Hearing(system, self.closed.get(system, now - self.lag[system]), heard.deaf)
            for system, heard in self.hearing.items()
        }
        return replace(knowledge(self.flow, now, hearing), processed=now - MINUTE, baselines=self.baselines)

    def due(self, wait: Wait, now: int) -> int | None:
        """The control time at which a wait is over; None if it never is while the system keeps silent."""
        heard = self.at(now).of(wait.system)
        if heard.silent:
            return wait.time + 1 if wait.time >= now else None
        if wait.system in self.closed:
            return None
        return wait.time + now - heard.clock + 1


def follow(state: State, world: World, start: int, until: int) -> list[tuple[int, Verdict]]:
    """The verdicts of one who judges only when a wait is over."""
    now, said = start, [(start, judge(state, world.flow, world.at(start)))]
    while True:
        times = [time for wait in said[-1][1].waits if (time := world.due(wait, now)) is not None]
        assert all(time > now for time in times), "a wait that is over already: the worker would never come to rest"
        if not times or min(times) > until:
            return said
        assert len(said) < 200
        now = min(times)
        said.append((now, judge(state, world.flow, world.at(now))))


@pytest.mark.parametrize("name", FLOWS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_who_judges_only_when_told_to_misses_nothing(name: str, data: st.DataObject) -> None:
    flow = flow_of(name)
    state = state_of(flow, data.draw(transactions(flow, least=1)))
    random = Random(data.draw(st.integers(0, 2**32)))
    start = T0 + random.choice((0, MINUTE, HOUR, 3 * DAY))
    until = start + 100 * DAY
    world = World(flow, random, start)
    said = follow(state, world, start, until)
    probes = {
        start + 2 * DAY,
        until,
        *(time - 1 for time, _ in said[1:]),
        *(random.randint(start, until) for _ in range(3)),
    }
    for probe in sorted(probes):
        known = [verdict for time, verdict in said if time <= probe][-1]
        fresh = judge(state, flow, world.at(probe))
        assert (known.status, known.drops, known.findings) == (fresh.status, fresh.drops, fresh.findings), probe
        assert known.ended_at == fresh.ended_at


@pytest.mark.parametrize("name", FLOWS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_wait_has_passed_but_a_silent_systems(name: str, data: st.DataObject) -> None:
    flow = flow_of(name)
    events = data.draw(transactions(flow))
    random = Random(data.draw(st.integers(0, 2**32)))
    start = T0 + random.choice((0, HOUR, 20 * DAY))
    known = World(flow, random, start).at(start)
    for wait in judge(state_of(flow, events), flow, known).waits:
        heard = known.of(wait.system)
        assert wait.time >= heard.clock or heard.silent
