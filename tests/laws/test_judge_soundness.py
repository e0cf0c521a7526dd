"""Silence is not loss (law 5), tried on the judge alone: what went on in the dark is never called missing.

A transaction runs as its flow says, in time, perhaps to another end, perhaps stopping on its way. Some systems are blind for a
while, and what they said then never comes. Whatever is said of the rest has to be true of the whole.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hearing import Hearing, Interval
from pipeline.core.judge import judge
from pipeline.core.plan import StepPlan, plan_of
from schemas.flow import Flow
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time
from schemas.verdict import FindingKind, Status
from schemas.wire import Observed
from tests.laws.cases import T0, all_heard, flow_of, knowledge, state_of

PROVEN = (Status.FAILED, Status.LOST, Status.STALLED)
RUNNABLE = ("order", "login", "statement", "service-move")
DUE = format_time(T0 + 20 * DAY)


class Run:
    """One transaction as it went: whole, left lying at some step, or to another end."""

    def __init__(self, flow: Flow, random: Random):
        self.flow, self.random, self.events = flow, random, list[Observed]()
        self.stop = random.random() < 0.4
        self.parcels = ("P1", "P2")[: random.randint(1, 2)]
        plan = plan_of(flow)
        closing = random.choice(plan.closing) if random.random() < 0.4 else None
        self.done: dict[tuple[str, str], int] = {}
        for step in plan.order:
            if step.closing or (step.spec.when and not closing):
                continue
            if closing and step.name in plan.under[closing.name]:
                continue
            for instance in self.parcels if step.per else ("",):
                if self._before(step, instance) is None or (not step.start and random.random() < 0.08 and self.stop):
                    continue
                if closing and (closing.before[0], "") in self.done and random.random() < 0.3:
                    self._close(closing)
                    return
                self._do(step, instance)

    def _before(self, step: StepPlan, instance: str) -> int | None:
        if step.start:
            return T0
        times = []
        for name in step.before:
            per = plan_of(self.flow).steps[name].per
            for other in (instance,) if per == step.per and per else self.parcels if per else ("",):
                if (name, other) not in self.done:
                    return None
                times.append(self.done[name, other])
        return max(times)

    def _do(self, step: StepPlan, instance: str) -> None:
        begin = self._before(step, instance)
        assert begin is not None
        within = step.spec.within if step.spec.within is not None else 2 * DAY
        if step.start:
            within = 0
        end = begin + int(within * self.random.random() ** 3)
        if step.arrivals:
            self._say(step, instance, begin + (end - begin) // 2, "received")
        self._say(step, instance, end, str(step.spec.satisfied_by))
        self.done[step.name, instance] = end

    def _close(self, closing: StepPlan) -> None:
        """At once: before anything that it lifts is due, and before there is no way back."""
        if closing.spec.until and any(name == closing.spec.until for name, _ in self.done):
            return
        owed = [time for (name, _), time in self.done.items() if self.flow.steps[name].owed]
        self._say(closing, "", max(owed) + SECOND, "completed")

    def _say(self, step: StepPlan, instance: str, time: int, phase: str) -> None:
        keys = {self.flow.key: "1", **({step.per: instance} if step.per else {})}
        says: dict[str, Any] = {}
        if step.start:
            says = {"parcels": len(self.parcels), **dict.fromkeys(("promised_at", "deadline", "switch_by"), DUE)}
        said: Any = phase
        number = len(self.events)
        self.events.append(
            Observed(f"e{number}", step.system, step.name, time, keys, said, None, step.system, 1, number, says)
        )


def dark_times(flow: Flow, random: Random) -> dict[str, Interval]:
    systems = sorted({step.system for step in flow.steps.values()})
    found = {}
    for system in random.sample(systems, random.randint(1, 2)):
        begin = T0 + random.choice(
            (-SECOND, random.randint(0, 30) * SECOND, random.randint(0, 60) * MINUTE, random.randint(0, 60) * HOUR)
        )
        found[system] = (begin, begin + random.choice((5 * SECOND, MINUTE, HOUR, DAY, 5 * DAY)))
    return found


@pytest.mark.parametrize("name", RUNNABLE)
@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nothing_is_called_missing_that_went_on_in_the_dark(name: str, seed: int) -> None:
    flow, random = flow_of(name), Random(seed)
    run, dark = Run(flow, random), dark_times(flow, random)
    now = T0 + random.choice((MINUTE, 10 * MINUTE, 3 * HOUR, 2 * DAY, 6 * DAY, 30 * DAY, 120 * DAY))
    happened = [event for event in run.events if event.time < now]
    heard = [event for event in happened if not _in(event.time, dark.get(event.system))]
    systems = {step.system for step in flow.steps.values()}
    hearing = {system: Hearing(system, now, (dark[system],) if system in dark else ()) for system in systems}
    said = judge(state_of(flow, heard), flow, knowledge(flow, now, hearing))
    true = judge(state_of(flow, happened), flow, all_heard(flow, now))
    if said.status in PROVEN:
        assert true.status in PROVEN
    done = {event.step for event in happened if event.phase == "completed"}
    assert not {f.step for f in said.findings if f.kind is FindingKind.SKIPPED} & done
    if not any(interval[0] < now for interval in dark.values()):
        assert (said.status, said.drops) == (true.status, true.drops)


def _in(time: int, interval: Interval | None) -> bool:
    return interval is not None and interval[0] <= time < interval[1]
