"""Since: since when a (step, instance) is owed, by when what it comes after was done."""

from __future__ import annotations

from pipeline.core.ends import Ends
from pipeline.core.path import Key
from pipeline.core.plan import StepPlan
from pipeline.core.point import Point, joined
from pipeline.core.seen import Seen
from pipeline.core.visits import Visits


class Since:
    """Filled as steps are judged, predecessors first.

    ``points``: (step, instance) to when it counts as done. ``nameless``: of a step with instances, how many that have no name
    count as done, and when. ``expected``: how many instances there should be, where somebody said.
    """

    __slots__ = ("ends", "expected", "nameless", "points", "seen")

    def __init__(self, seen: Seen, ends: Ends):
        self.seen, self.ends = seen, ends
        self.points: dict[Key, Point] = {}
        self.nameless: dict[str, list[tuple[int, Point]]] = {}
        self.expected: dict[str, int | None] = {}

    def origin(self, step: StepPlan, visits: Visits | None) -> Point | None:
        """A start is owed since it was first heard of."""
        if visits is not None:
            return Point(visits.first, step.name, visits.first, visits.first)
        first = min((found.first for found in self.seen.all_visits(step.name)), default=None)
        return None if first is None or step.per is None else Point(first, step.name, first, first)

    def owed(self, step: StepPlan, instance: str) -> Point | None:
        """Since when (step, instance) is owed; None while what it comes after is not done."""
        before, steps = step.before, self.seen.plan.steps
        if len(before) == 1:
            at = self._before(steps[before[0]], step, instance)
        elif step.any:
            found = [point for name in before if (point := self._before(steps[name], step, instance)) is not None]
            at = min([point for point in found if not point.assumed] or found, default=None)
        else:
            at = self._owed_after_all(step, instance)
        for name in step.loops if at is not None else ():
            visits = self.seen.path.visits.get((name, instance if steps[name].per is not None else ""))
            if at is not None and visits is not None and visits.done and visits.done[-1] > at.time:
                at = Point(visits.done[-1], name, visits.done[-1], visits.done[-1])
        return at

    def _owed_after_all(self, step: StepPlan, instance: str) -> Point | None:
        points: list[Point] = []
        held = None
        for name in step.before:
            prior = self.seen.plan.steps[name]
            point = self._before(prior, step, instance)
            if point is not None:
                points.append(point)
            elif prior.closing or (prior.owed and self.seen.when(prior, None)):
                return None
            else:
                # Nobody has to wait for it, but it may be under way: what comes after is not late, but may be lost.
                under_way = [visits.last for visits in self.seen.all_visits(name) if visits.arrived is not None]
                held = max([*under_way, held or 0]) if under_way else held
        return joined(points, held) if points else None

    def _before(self, prior: StepPlan, step: StepPlan, instance: str) -> Point | None:
        """When what a step comes after was done: its own parcel, or all of them."""
        if prior.per is None:
            return self.points.get((prior.name, ""))
        if prior.per == step.per:
            return self.points.get((prior.name, instance)) if instance else None
        points: list[Point] = []
        for other in self.seen.named(prior):
            point = self.points.get((prior.name, other))
            if point is not None:
                points.append(point)
            elif not self.ends.lifts(prior, other):
                return None
        nameless = self.nameless.get(prior.name, ())
        points += [point for _, point in nameless]
        expected = self.expected.get(prior.name)
        known = len(self.seen.named(prior)) + sum(count for count, _ in nameless)
        return None if not points or (expected is not None and known < expected) else joined(points)
