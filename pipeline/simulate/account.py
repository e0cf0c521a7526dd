"""Account: what was heard of one case, put in order by its flow: visits, instances, what must have been passed, when it is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.simulate.deeds import Case, Deed
from pipeline.simulate.rhythm import OpenHours
from pipeline.simulate.telemetry import Ear
from pipeline.simulate.truth import instant
from schemas.flow import Flow, Step
from schemas.landscape import Landscape

Key = tuple[str, str]


class World(NamedTuple):
    """What holds for all cases at the end. ``now``: control time, µs. ``known``: key type to the (step, system) of its flows."""

    ears: Mapping[str, Ear]
    now: int
    landscape: Landscape
    hours: Mapping[str, OpenHours]
    known: Mapping[str, frozenset[tuple[str, str]]]
    skewed: frozenset[str]


class Point(NamedTuple):
    """Something counts as done between ``low`` and ``high`` µs (equal where it was heard). ``seen``, ``last``: the last step that
    was truly heard of, and when. ``assumed``: it may not have been done at all."""

    low: int
    high: int
    seen: str
    last: int
    heard: bool = True
    assumed: bool = False


class Account:
    """Of one case under its flow, from the deeds that were ``heard``, earliest first.

    ``visits``: deeds by (step, instance). ``strangers``: those that no step of the flow has. ``implied``: what must have been
    passed, as something after it was heard, if only to arrive: the earliest time of that, µs.
    """

    def __init__(self, flow: Flow, case: Case, heard: Sequence[Deed], world: World):
        self.flow, self.case, self.world, self.heard = flow, case, world, heard
        self.visits: dict[Key, list[Deed]] = {}
        self.strangers: list[Deed] = []
        for deed in heard:
            spec = flow.steps.get(deed.step)
            if spec is not None and spec.system == deed.system:
                instance = deed.keys.get(spec.per, "") if spec.per else ""
                self.visits.setdefault((deed.step, instance), []).append(deed)
            else:
                self.strangers.append(deed)
        self.implied = self._imply()

    def done(self, step: str, instance: str = "") -> list[int]:
        """When it was done, µs, each time."""
        phase = self.flow.steps[step].satisfied_by
        return [deed.time for deed in self.visits.get((step, instance), ()) if deed.phase == phase]

    def instances(self, step: str) -> list[str]:
        """Those that were named at any step of the same ``per``; [""] for a step without instances."""
        per = self.flow.steps[step].per
        if per is None:
            return [""]
        steps = [name for name, spec in self.flow.steps.items() if spec.per == per]
        return sorted({instance for name, instance in self.visits if name in steps and instance})

    def _imply(self) -> dict[Key, int]:
        implied: dict[Key, int] = {}
        for name, spec in reversed(self.flow.steps.items()):
            for instance in self.instances(name):
                times = [deed.time for deed in self.visits.get((name, instance), ())]
                time = min([*times, *([implied[name, instance]] if (name, instance) in implied else [])], default=None)
                if time is None or (spec.after.mode == "any" and len(spec.after.steps) > 1):
                    continue
                for before in spec.after.steps:
                    same = self.flow.steps[before].per == spec.per
                    for other in [instance] if same else self.instances(before):
                        if not self.done(before, other):
                            implied[before, other] = min(time, implied.get((before, other), time))
        return implied

    def last(self, name: str, instance: str, at: Point | None) -> tuple[str, int] | None:
        """The last that was truly heard of it: at the step itself, or before."""
        deeds = self.visits.get((name, instance))
        if deeds:
            return name, deeds[-1].time
        return (at.seen, at.last) if at is not None else None

    def attribute(self, name: str, at: Point | None) -> object:
        """From the step before, else the latest there is."""
        for deeds in [d for (step, _), d in self.visits.items() if at is not None and step == at.seen]:
            for deed in reversed(deeds):
                if name in deed.attributes:
                    return deed.attributes[name]
        return next((deed.attributes[name] for deed in reversed(self.heard) if name in deed.attributes), None)

    def due(self, spec: Step, at: Point) -> int:
        """By when the step is due that is owed since ``at``, µs."""
        if spec.within is not None:
            hours = self.world.hours.get(spec.calendar or "")
            return hours.after(at.high, spec.within) if hours else at.high + spec.within
        promised = instant(self.attribute(spec.due, at)) if spec.due else None
        return at.high + self.flow.lost_after if promised is None else promised

    def reach(self, name: str) -> int:
        """How long before this step, going by the deadlines, the start may have been."""
        spec = self.flow.steps[name]
        if spec.start:
            return 0
        own = spec.within if spec.within is not None and spec.calendar is None else self.flow.lost_after
        return min(self.flow.lost_after, own + max(self.reach(prior) for prior in spec.after.steps))

    def when(self, spec: Step) -> bool:
        """Whether the step's condition holds; the flows that ship ask for a step seen, not for attributes."""
        return spec.when is None or spec.when.seen is None or any(step == spec.when.seen for step, _ in self.visits)
