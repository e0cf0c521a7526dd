"""Plan: a flow made ready for judging. What depends on the flow alone is worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.order import carriers, descendants, reaches, topological
from schemas.event import Phase
from schemas.flow import Count, Flow, Role, Step


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step with what follows from its place in the flow. What ``spec`` also says is repeated where judge asks often.

    ``before``: predecessors without the back edges that close loops; ``loops``: the back edges' steps; ``closers``: those of
    all loops that it is part of. ``successors``: steps that come after it (back edges not counted). ``witnesses``: its system
    first, then those that carry links between its keys and the flow's. ``visits``: how many completions are normal for an
    instance, beside one for each time that a closer was done; ``repeats``: whether repeating it is normal. ``counted``: how
    many instances there are, by its own word or by that of a step of the same ``per`` before it. ``reach``: µs within which,
    going by the deadlines, a start precedes it. ``lifters``: the legitimate other ends, but those that time alone brings about,
    which would lift it. ``hush``: for a step that lapses, those whose events show that it did not.
    """

    name: str
    spec: Step
    system: str
    per: str | None
    start: bool
    owed: bool
    closing: bool
    any: bool
    arrivals: bool
    before: tuple[str, ...]
    loops: tuple[str, ...]
    closers: tuple[str, ...]
    successors: tuple[str, ...]
    ancestors: frozenset[str]
    witnesses: tuple[str, ...]
    done_phases: frozenset[str]
    visits: int
    repeats: bool
    counted: Count | None
    reach: int
    lifters: tuple[str, ...]
    hush: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """``order``: steps, predecessors first; ``backwards``: those that have any, last first. ``by_event``: (step, system) that the
    flow knows. ``closing``: the legitimate other ends; ``ends``: steps that end the flow normally (its last ones, where none is
    declared). ``under``: a closing end to the steps that come after it, itself included."""

    flow: Flow
    steps: dict[str, StepPlan]
    order: tuple[StepPlan, ...]
    backwards: tuple[StepPlan, ...]
    by_event: frozenset[tuple[str, str]]
    starts: tuple[str, ...]
    closing: tuple[StepPlan, ...]
    ends: frozenset[str]
    under: dict[str, frozenset[str]]
    instance_types: tuple[str, ...]
    once: tuple[tuple[str, int], ...]


_BY_IDENTITY: dict[int, tuple[Flow, Plan]] = {}


def plan_of(flow: Flow) -> Plan:
    """The plan of a flow; worked out once per flow object."""
    known = _BY_IDENTITY.get(id(flow))
    if known is not None and known[0] is flow:
        return known[1]
    plan = _Compiler(flow).plan()
    if len(_BY_IDENTITY) > 4096:
        _BY_IDENTITY.clear()
    _BY_IDENTITY[id(flow)] = (flow, plan)
    return plan


class _Compiler:
    def __init__(self, flow: Flow):
        self.flow = flow
        self.names, self.loops = topological(flow)
        specs = flow.steps
        self.before = {
            name: tuple(b for b in specs[name].after.steps if b in specs and b not in self.loops.get(name, ()))
            for name in self.names
        }
        self.successors = {name: tuple(s for s in self.names if name in self.before[s]) for name in self.names}
        self.ancestors: dict[str, frozenset[str]] = {}
        for name in self.names:
            near = self.before[name]
            self.ancestors[name] = frozenset(near).union(*(self.ancestors[b] for b in near))
        closing = [name for name in self.names if specs[name].end == "closed"]
        self.under = {name: descendants({name}, self.successors) for name in closing}
        self.counted: dict[str, Count | None] = {}
        self.closers: dict[str, tuple[str, ...]] = {}
        for name, back in self.loops.items():
            for last in back:
                for step in descendants({name}, self.successors) & (self.ancestors[last] | {last}):
                    self.closers[step] = (*self.closers.get(step, ()), last)

    def plan(self) -> Plan:
        flow, specs = self.flow, self.flow.steps
        reach = reaches(flow, self.names, self.before)
        steps = {name: self._step(name, specs[name], reach[name]) for name in self.names}
        order = tuple(steps[name] for name in self.names)
        return Plan(
            flow=flow,
            steps=steps,
            order=order,
            backwards=tuple(step for step in reversed(order) if step.before),
            by_event=frozenset((name, step.system) for name, step in specs.items()),
            starts=tuple(name for name in self.names if specs[name].start),
            closing=tuple(step for step in order if step.closing),
            ends=self._ends(),
            under=self.under,
            instance_types=tuple(sorted({step.per for step in specs.values() if step.per})),
            once=tuple((name, role.once or 0) for name, role in flow.keys.items() if role.role is Role.ONCE),
        )

    def _step(self, name: str, spec: Step, reach: int) -> StepPlan:
        return StepPlan(
            name=name,
            spec=spec,
            system=spec.system,
            per=spec.per,
            start=spec.start,
            owed=spec.owed,
            closing=spec.end == "closed",
            any=spec.after.mode == "any" and len(self.before[name]) > 1,
            arrivals=spec.reports_arrival,
            before=self.before[name],
            loops=self.loops.get(name, ()),
            closers=self.closers.get(name, ()),
            successors=self.successors[name],
            ancestors=self.ancestors[name],
            witnesses=(spec.system, *carriers(self.flow, spec)),
            done_phases=_done_phases(spec),
            visits=1 + self._again(name, spec),
            repeats=spec.again is not None or name in self.closers,
            counted=self._counted(name, spec),
            reach=reach,
            lifters=self._lifters(name),
            hush=self._hush(name, spec),
        )

    def _again(self, name: str, spec: Step) -> int:
        """A step that closes a loop may be the one that says ``again`` for it, or not."""
        if spec.again is not None or name not in self.closers.get(name, ()):
            return spec.again or 0
        return max(step.again or 0 for other, step in self.flow.steps.items() if name in self.closers.get(other, ()))

    def _counted(self, name: str, spec: Step) -> Count | None:
        """Its own count, else that of the steps before it which share its instances."""
        if spec.per is None:
            return None
        inherited = (self.counted[b] for b in self.before[name] if self.flow.steps[b].per == spec.per)
        self.counted[name] = spec.count or next((count for count in inherited if count), None)
        return self.counted[name]

    def _lifters(self, name: str) -> tuple[str, ...]:
        return tuple(
            end
            for end, under in self.under.items()
            if name not in under and name not in self.ancestors[end] and self.flow.steps[end].lapses is None
        )

    def _hush(self, name: str, spec: Step) -> frozenset[str]:
        """An abandoned cart is one that nothing at all came of; another step that lapses (accepted, where nobody
        complained) is prevented by what could have come in its place, not by a branch that has nothing to do with it."""
        if spec.lapses is None:
            return frozenset()
        others = frozenset(self.names) if spec.end else descendants(set(self.before[name]), self.successors)
        return others - self.ancestors[name] - {name}

    def _ends(self) -> frozenset[str]:
        specs = self.flow.steps
        declared = frozenset(name for name in self.names if specs[name].end == "completed")
        closed = frozenset[str]().union(*self.under.values())
        return declared or frozenset(
            name for name in self.names if not self.successors[name] and name not in closed and specs[name].owed
        )


def _done_phases(step: Step) -> frozenset[str]:
    """What says that the step is done. ``completed`` does where the flow does not say what else it would mean."""
    done = step.satisfied_by
    if done in (Phase.RECEIVED, Phase.STARTED) or Phase.COMPLETED not in step.reports:
        return frozenset({done.value, Phase.COMPLETED.value})
    return frozenset({done.value})
