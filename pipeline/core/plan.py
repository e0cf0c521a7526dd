"""Plan: a flow made ready for judging. What depends on the flow alone is worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.event import Phase
from schemas.flow import Flow, Role, Step


@dataclass(frozen=True, slots=True)
class StepPlan:
    """A step with what follows from its place in the flow.

    ``before``: predecessors without the back edges that close loops; ``loops``: the back edges' steps. ``successors``:
    steps that come after it (back edges not counted). ``witnesses``: its system first, then those that carry links
    between its keys and the flow's. ``visits``: how many completions are normal for an instance.
    """

    name: str
    spec: Step
    before: tuple[str, ...]
    loops: tuple[str, ...]
    successors: tuple[str, ...]
    ancestors: frozenset[str]
    witnesses: tuple[str, ...]
    done_phases: frozenset[str]
    visits: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``order``: steps, predecessors first. ``by_event``: (step, system) that the flow knows. ``closing``: the legitimate other
    ends; ``lapsing``: steps that time alone completes; ``ends``: steps that end the flow normally (its last ones, where none
    is declared). ``under``: a closing end to the steps that come after it, itself included."""

    flow: Flow
    steps: dict[str, StepPlan]
    order: tuple[StepPlan, ...]
    by_event: frozenset[tuple[str, str]]
    starts: tuple[str, ...]
    closing: tuple[StepPlan, ...]
    lapsing: tuple[StepPlan, ...]
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
    plan = _compile(flow)
    if len(_BY_IDENTITY) > 4096:
        _BY_IDENTITY.clear()
    _BY_IDENTITY[id(flow)] = (flow, plan)
    return plan


def topological(flow: Flow) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Steps with predecessors first, and for each step the back edges that close a loop at it.

    An edge P → S is a back edge where P comes after S without it: found by a walk from the starts in the file's order.
    """
    successors: dict[str, list[str]] = {name: [] for name in flow.steps}
    for name, step in flow.steps.items():
        for before in step.after.steps:
            if before in successors:
                successors[before].append(name)
    loops: dict[str, list[str]] = {}
    state: dict[str, int] = {}
    order: list[str] = []

    def visit(name: str) -> None:
        state[name] = 1
        for after in successors[name]:
            if state.get(after) == 1:
                loops.setdefault(after, []).append(name)
            elif after not in state:
                visit(after)
        state[name] = 2
        order.append(name)

    for name in [*(n for n, s in flow.steps.items() if s.start), *flow.steps]:
        if name not in state:
            visit(name)
    return tuple(reversed(order)), {name: tuple(back) for name, back in loops.items()}


def _carriers(flow: Flow, step: Step) -> tuple[str, ...]:
    """Systems that carry a link between a step's keys and the flow's (DESIGN.md §4, Witnesses)."""
    by = step.by or flow.by
    if by is None:
        return tuple(sorted({other.system for other in flow.steps.values()} - {step.system}))
    if flow.key in by:
        return ()
    edges = [(frozenset(other.by or flow.by or ()), other.system) for other in flow.steps.values()]
    reached, grown = set(by), True
    systems: set[str] = set()
    while grown:
        grown = False
        for keys, system in edges:
            if len(keys) > 1 and keys & reached and system not in systems:
                systems.add(system)
                reached |= keys
                grown = True
    # Where nothing declared connects the keys, any system may carry the link.
    if flow.key not in reached:
        systems = {other.system for other in flow.steps.values()}
    return tuple(sorted(systems - {step.system}))


def _done_phases(step: Step) -> frozenset[str]:
    done = step.satisfied_by
    early = done in (Phase.RECEIVED, Phase.STARTED)
    return frozenset({done.value, Phase.COMPLETED.value} if early else {done.value})


def _descendants(name: str, successors: dict[str, tuple[str, ...]]) -> frozenset[str]:
    found, todo = {name}, [name]
    while todo:
        for after in successors[todo.pop()]:
            if after not in found:
                found.add(after)
                todo.append(after)
    return frozenset(found)


def _compile(flow: Flow) -> Plan:
    order, loops = topological(flow)
    before = {
        name: tuple(b for b in step.after.steps if b in flow.steps and b not in loops.get(name, ()))
        for name, step in flow.steps.items()
    }
    successors = {name: tuple(s for s in order if name in before[s]) for name in order}
    ancestors: dict[str, frozenset[str]] = {}
    for name in order:
        ancestors[name] = (
            frozenset().union(*(ancestors[b] | {b} for b in before[name])) if before[name] else frozenset()
        )
    steps = {
        name: StepPlan(
            name=name,
            spec=(spec := flow.steps[name]),
            before=before[name],
            loops=loops.get(name, ()),
            successors=successors[name],
            ancestors=ancestors[name],
            witnesses=(spec.system, *_carriers(flow, spec)),
            done_phases=_done_phases(spec),
            visits=1 + (spec.again or 0),
        )
        for name in order
    }
    closing = tuple(steps[name] for name in order if flow.steps[name].end == "closed")
    ends = frozenset(name for name in order if flow.steps[name].end == "completed")
    under = {plan.name: _descendants(plan.name, successors) for plan in closing}
    if not ends:
        closed = frozenset().union(*under.values()) if under else frozenset()
        ends = frozenset(
            name for name in order if not successors[name] and name not in closed and flow.steps[name].owed
        )
    return Plan(
        flow=flow,
        steps=steps,
        order=tuple(steps[name] for name in order),
        by_event=frozenset((name, step.system) for name, step in flow.steps.items()),
        starts=tuple(name for name in order if flow.steps[name].start),
        closing=closing,
        lapsing=tuple(steps[name] for name in order if flow.steps[name].lapses is not None),
        ends=ends,
        under=under,
        instance_types=tuple(sorted({step.per for step in flow.steps.values() if step.per})),
        once=tuple((name, role.once or 0) for name, role in flow.keys.items() if role.role is Role.ONCE),
    )
