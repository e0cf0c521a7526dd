"""The straight way: a transaction that did all it owes, once, in order and in time is completed, whatever was heard.

Most transactions end so, and judging one by the whole of §6 takes four times as long. Law: where this module answers, it
answers what ``judge`` would; whatever is the least unusual it leaves to it (None). A law test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.hearing import Knowledge
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.state import State
from schemas.errors import Invalid
from schemas.times import parse_time
from schemas.verdict import Status, Verdict

_MOST = 64
_ARRIVALS = frozenset(("received", "started"))
Done = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Straight:
    """What a flow's straight way asks. ``side``: steps whose mere presence is unusual. ``owed``: steps that must be done."""

    plan: Plan
    side: frozenset[str]
    owed: tuple[StepPlan, ...]
    steps: tuple[StepPlan, ...]
    start: str


_WAYS: dict[int, tuple[Plan, Straight | None]] = {}


def way_of(plan: Plan) -> Straight | None:
    """The straight way of a flow; None where it has loops, lapses, several starts or conditions on its main line."""
    known = _WAYS.get(id(plan))
    if known is not None and known[0] is plan:
        return known[1]
    if len(_WAYS) > 4096:
        _WAYS.clear()
    way = _work_out(plan)
    _WAYS[id(plan)] = (plan, way)
    return way


def _work_out(plan: Plan) -> Straight | None:
    side = frozenset[str]().union(*plan.under.values()) if plan.under else frozenset[str]()
    main = tuple(step for step in plan.order if step.name not in side)
    unusual = any(
        step.loops or step.closers or step.hush or step.spec.lapses is not None or step.spec.when is not None
        or (step.counted is not None and step.counted.announced_by is not None)
        for step in main
    )  # fmt: skip
    if unusual or len(plan.starts) != 1 or plan.steps[plan.starts[0]].per is not None or not plan.ends - side:
        return None
    return Straight(plan, side, tuple(step for step in main if step.owed), main, plan.starts[0])


def completed(state: State, plan: Plan, knowledge: Knowledge) -> Verdict | None:
    """The verdict without hops, edges and evidence, if the transaction went straight to its end."""
    way = way_of(plan)
    if way is None or state.bounded or len(state.events) > _MOST:
        return None
    if knowledge.contested or knowledge.baselines or knowledge.claims or knowledge.renamed:
        return None
    if not any(event.step in plan.ends for event in state.events.values()):
        return None
    done = _visits(state, way, knowledge)
    if done is None:
        return None
    named: dict[str, set[str]] = {}
    for step in way.steps:
        if step.per is not None:
            named.setdefault(step.per, set()).update(instance for name, instance in done if name == step.name)
    if not all(_settled(step, state, way, done, named) for step in way.steps):
        return None
    ends = [time for (name, _), time in done.items() if name in plan.ends]
    return _verdict(state, way, max(ends)) if ends else None


def _visits(state: State, way: Straight, knowledge: Knowledge) -> Done | None:
    """When each (step, instance) was done: each once, none failed, no arrival after its departure."""
    steps, side, skews, exclude = way.plan.steps, way.side, knowledge.skews, way.plan.flow.exclude
    done: Done = {}
    arrived: Done = {}
    for event in state.events.values():
        step = steps.get(event.step)
        if step is None or step.system != event.system or event.step in side:
            return None
        if skews and (event.source, event.epoch) in skews:
            return None
        if exclude and not exclude.keys().isdisjoint(event.attributes):
            return None
        instance = ""
        if step.per is not None:
            instance = event.keys.get(step.per, "")
            if not instance:
                return None
        key = (event.step, instance)
        if event.phase in step.done_phases:
            if key in done:
                return None
            done[key] = event.time
        elif event.phase in _ARRIVALS:
            arrived[key] = max(event.time, arrived.get(key, 0))
        else:
            return None
    if any(key not in done or time > done[key] for key, time in arrived.items()):
        return None
    return done


def _settled(step: StepPlan, state: State, way: Straight, done: Done, named: dict[str, set[str]]) -> bool:
    """Whether a step was done by all its instances, after what it comes after and in time; or is optional and was not seen."""
    instances = [instance for name, instance in done if name == step.name]
    if not instances:
        return not step.owed
    if step.per is not None and (len(instances) != len(named[step.per]) or not _as_many(step, state, len(instances))):
        return False
    if step.start:
        return True
    return all(_in_order(step, instance, state, way, done, named) for instance in instances)


def _as_many(step: StepPlan, state: State, found: int) -> bool:
    """Whether there are as many instances as were announced, by everyone who announced any."""
    count = step.counted
    if count is None:
        return True
    if count.number is not None:
        return count.number == found
    said = {str(event.attributes[count.attribute]) for event in state if count.attribute in event.attributes}
    return not said or said == {str(found)}


def _in_order(
    step: StepPlan, instance: str, state: State, way: Straight, done: Done, named: dict[str, set[str]]
) -> bool:
    before: list[int] = []
    for name in step.before:
        prior = way.plan.steps[name]
        if prior.per is None or prior.per == step.per:
            time = done.get((name, instance if prior.per else ""))
            if time is not None:
                before.append(time)
            elif prior.owed:
                return False
        else:
            times = [time for other in named[prior.per] if (time := done.get((name, other))) is not None]
            if len(times) != len(named[prior.per]):
                return False
            before += times
    if not before:
        return False
    at, time = max(before), done[step.name, instance]
    return time >= at and time <= _due(step, state, min(before), way)


def _due(step: StepPlan, state: State, at: int, way: Straight) -> int:
    """The earliest that the step may be due, µs: a calendar only adds, and of several promises the first is taken."""
    spec = step.spec
    if spec.within is not None:
        return at + spec.within
    due = at + way.plan.flow.lost_after
    if spec.due is None:
        return due
    try:
        return min([due, *(parse_time(event.attributes[spec.due]) for event in state if spec.due in event.attributes)])
    except Invalid:
        return 0


def _verdict(state: State, way: Straight, ended: int) -> Verdict | None:
    times = [event.time for event in state]
    flow = way.plan.flow
    amount, currency = None, ""
    if flow.value is not None:
        start = next((event for event in state if event.step == way.start and event.phase in _done(way)), None)
        if start is None or flow.value not in start.attributes or flow.currency not in start.attributes:
            return None
        worth = start.attributes[flow.value]
        if type(worth) not in (int, float) or abs(worth) >= 1e15:  # type: ignore[arg-type]
            return None
        amount, currency = float(worth), str(start.attributes[flow.currency])[:10]
        if not currency:
            return None
    return Verdict(
        flow=flow.flow,
        version=flow.version,
        status=Status.COMPLETED,
        started_at=min(times),
        last_at=max(times),
        ended_at=ended,
        value=amount,
        currency=currency,
    )


def _done(way: Straight) -> frozenset[str]:
    return way.plan.steps[way.start].done_phases
