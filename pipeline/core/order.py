"""Order: what follows from which steps come after which, for the plan of a flow."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.flow import Flow, Step


def topological(flow: Flow) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Steps with predecessors first, and for each step the back edges that close a loop at it.

    An edge P → S is a back edge where P comes after S: found by a walk from the starts in the file's order, and by a stack of
    our own, since a flow may be as long as the interpreter's is deep.
    """
    successors: dict[str, list[str]] = {name: [] for name in flow.steps}
    for name, step in flow.steps.items():
        for before in step.after.steps:
            if before in successors:
                successors[before].append(name)
    loops: dict[str, list[str]] = {}
    active: dict[str, bool] = {}
    finished: list[str] = []
    for root in [*(n for n, s in flow.steps.items() if s.start), *flow.steps]:
        if root in active:
            continue
        active[root] = True
        stack = [(root, iter(successors[root]))]
        while stack:
            name, rest = stack[-1]
            after = next(rest, None)
            if after is None:
                stack.pop()
                active[name] = False
                finished.append(name)
            elif after not in active:
                active[after] = True
                stack.append((after, iter(successors[after])))
            elif active[after]:
                loops.setdefault(after, []).append(name)
    return tuple(reversed(finished)), {name: tuple(back) for name, back in loops.items()}


def descendants(names: set[str], successors: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The steps and all that come after them, however far."""
    found, todo = set(names), list(names)
    while todo:
        for after in successors[todo.pop()]:
            if after not in found:
                found.add(after)
                todo.append(after)
    return frozenset(found)


def carriers(flow: Flow, step: Step) -> tuple[str, ...]:
    """Systems that carry a link between a step's keys and the flow's (DESIGN.md §4, Witnesses); its own may be among them."""
    by = step.by or flow.by
    if by is None:
        return tuple(sorted({other.system for other in flow.steps.values()}))
    if flow.key in by:
        return ()
    edges = [(frozenset(other.by or flow.by or ()), other.system) for other in flow.steps.values()]
    reached, grown = set(by), True
    # A step that does not say what its events carry may carry anything.
    systems = {system for keys, system in edges if not keys}
    while grown:
        grown = False
        for keys, system in edges:
            # Over the flow's own key nothing is joined: who names it and something else carries no link to these.
            if len(keys) > 1 and keys & (reached - {flow.key}) and system not in systems:
                systems.add(system)
                reached |= keys
                grown = True
    # Where nothing declared connects the keys, any system may carry the link.
    if flow.key not in reached:
        systems = {other.system for other in flow.steps.values()}
    return tuple(sorted(systems))


def reaches(flow: Flow, order: tuple[str, ...], before: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """For each step the µs within which, going by the deadlines, a start precedes it: their sum over the longest way there, and
    ``lost_after`` where one of them cannot be told beforehand (none, a calendar, a promise)."""
    reach: dict[str, int] = {}
    for name in order:
        step = flow.steps[name]
        own = 0 if step.start else flow.lost_after
        if step.within is not None and step.calendar is None:
            own = step.within
        reach[name] = min(flow.lost_after, own + max((reach[b] for b in before[name]), default=0))
    return reach
