"""Path: from events to visits under a flow (DESIGN.md §2 and §6)."""

from __future__ import annotations

from pipeline.core.hearing import Knowledge
from pipeline.core.plan import Plan
from pipeline.core.state import State
from pipeline.core.visits import Seen, Visits
from schemas.verdict import Hop
from schemas.wire import Observed

Key = tuple[str, str]


class Path:
    """What of a state's events a flow knows.

    ``visits``: by (step, instance). ``instances``: of a step, as seen, unsorted. ``unexpected``: events that no flow knows.
    ``contested``: visits that would be, if it were certain whose the alias is. ``skewed``: (source, epoch, system) to the µs
    that its times were corrected by. ``first``, ``last``: µs, of the events that the flow knows; 0 where there is none.
    """

    __slots__ = ("contested", "first", "instances", "last", "skewed", "unexpected", "visits")

    def __init__(self) -> None:
        self.visits: dict[Key, Visits] = {}
        self.instances: dict[str, list[str]] = {}
        self.unexpected: list[Observed] = []
        self.contested: dict[Key, list[Observed]] = {}
        self.skewed: dict[tuple[str, int, str], int] = {}
        self.first = self.last = 0


def build(state: State, plan: Plan, knowledge: Knowledge) -> Path:
    """Group a state's events into visits under a flow."""
    path = Path()
    seen: dict[Key, list[Seen]] = {}
    skews, renamed, standings, steps = knowledge.skews, knowledge.renamed, state.standings, plan.steps
    first = last = None
    for event in state.events.values():
        step = steps.get(event.step)
        if step is None or (step.system != event.system and step.system != renamed.get(event.system)):
            if not _known_elsewhere(event, knowledge):
                path.unexpected.append(event)
            continue
        time = event.time
        if skews:
            skew = skews.get((event.source, event.epoch), 0)
            if skew:
                time += skew
                path.skewed[event.source, event.epoch, step.system] = skew
        if first is None or last is None:
            first = last = time
        elif time < first:
            first = time
        elif time > last:
            last = time
        key = (step.name, event.keys.get(step.per, "") if step.per is not None else "")
        if standings and event.via and state.doubtful(event):
            path.contested.setdefault(key, []).append(event)
            continue
        known = seen.get(key)
        if known is None:
            seen[key] = [(time, event)]
        else:
            known.append((time, event))
    path.first, path.last = first or 0, last or 0
    same_within = plan.flow.same_within
    for key, found in seen.items():
        path.visits[key] = Visits(steps[key[0]], key[1], found, same_within)
        path.instances.setdefault(key[0], []).append(key[1])
    return path


def _known_elsewhere(event: Observed, knowledge: Knowledge) -> bool:
    """Whether another flow knows it: of this transaction, or of another whose copy it is."""
    system = knowledge.renamed.get(event.system, event.system)
    known = knowledge.known_steps
    return any((event.step, system) in known[kind] for kind in event.keys if kind in known)


def hops_of(path: Path, plan: Plan) -> tuple[Hop, ...]:
    """All hops in order of time. Of those at one time (EDI tells minutes, lists tell days) a step stands before what comes after
    it, and then names break ties."""
    places = {step.name: place for place, step in enumerate(plan.order)}

    def order(hop: Hop) -> tuple[int, int, int, str, str, int]:
        left = hop.left_at or 0
        return (
            left if hop.arrived_at is None else hop.arrived_at, left, places[hop.step], hop.step, hop.instance, hop.attempt,
        )  # fmt: skip

    return tuple(sorted((hop for visits in path.visits.values() for hop in visits.hops()), key=order))
