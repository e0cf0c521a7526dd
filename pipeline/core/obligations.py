"""Obligations: what is owed since when, step by step, predecessors first. What an obligation amounts to is ``table``'s."""

from __future__ import annotations

from pipeline.core.ends import Ends, Point, joined
from pipeline.core.hearing import Knowledge
from pipeline.core.path import Key, Path
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.proof import Asked, Prover
from pipeline.core.seen import Seen
from pipeline.core.state import State
from pipeline.core.table import Owed, Table, deadline
from pipeline.core.visits import SLACK, Visits
from schemas.verdict import Edge, Finding, FindingKind


class Review:
    """One pass over a flow's steps for one state. ``run`` fills the fields that ``judge`` reads.

    ``points``: (step, instance) to when it counts as done. ``nameless``: of a step with instances, how many that have no name
    count as done, and when. ``expected``: how many instances there should be, where somebody said.
    """

    def __init__(self, state: State, plan: Plan, path: Path, knowledge: Knowledge, *, detail: bool):
        self.plan, self.path, self.knowledge, self.detail = plan, path, knowledge, detail
        self.prover = Prover(knowledge)
        self.seen = Seen(state, plan, path)
        self.ends = Ends(self.seen, self.prover)
        self.points: dict[Key, Point] = {}
        self.table = Table(plan, self.seen, self.ends, self.prover, self.points)
        self.findings: list[Finding] = []
        self.edges: list[Edge] = []
        self.nameless: dict[str, list[tuple[int, Point]]] = {}
        self.expected: dict[str, int | None] = {}
        self._spent: dict[str, int] = {}

    def run(self) -> None:
        """Judge every step, predecessors first."""
        if not self.path.visits:
            return
        for step in self.plan.order:
            if step.per is None:
                self._judge(step, "")
            else:
                for instance in self.seen.named(step):
                    self._judge(step, instance)
                self._judge_nameless(step)
        for _, _, proof in self.ends.open:
            self.table.waits.update(proof.waits)
        if self.ends.closed is not None:
            self._after(self.ends.closed)

    # One step ------------------------------------------------------------------------------------------------------

    def _judge(self, step: StepPlan, instance: str) -> None:
        key = (step.name, instance)
        visits = self.path.visits.get(key)
        at = self._since(step, instance) if step.before else self._origin(step, visits)
        if step.closing:
            self._end(step, key, visits, at)
            return
        passed = self._passed(step, key, at)
        if visits is not None and visits.done:
            done = self._done_since(step, visits, at)
            if done is not None:
                self._met(step, key, at, done, visits)
                if visits.failed_at is None or passed is not None:
                    return
        elif visits is None and instance and self._spend(step, key):
            return
        if passed is not None:
            self._pass(step, key, at, passed, visits)
        elif at is not None and (step.spec.must or key not in self.seen.bypassed) and not self._lapsed(step, key):
            self._owe(step, instance, at, visits)

    def _owe(
        self, step: StepPlan, instance: str, at: Point, visits: Visits | None, missing: int = 0, expected: int = 0
    ) -> Point | None:
        """Judge what is owed, if it is; returns as if when it was done, where nobody heard."""
        if not step.owed or self.ends.lifts(step, instance) or not self.seen.when(step, at.step):
            return None
        key = (step.name, instance)
        assumed = self.table.judge(
            Owed(step, instance, at, *deadline(self.seen, self.knowledge, step, instance, at), missing, expected),
            visits,
        )
        if assumed is not None and not missing:
            self.points.setdefault(key, assumed)
        return assumed

    def _met(self, step: StepPlan, key: Key, at: Point | None, done: int, visits: Visits) -> None:
        last = visits.done[-1] if step.closers else done
        self.points[key] = Point(last, step.name, last, last)
        if at is None or not at.known:
            return
        if self.detail and done >= at.time and at.step != step.name:
            self.edges.append(Edge(at.step, step.name, key[1], done - at.time))
        if step.owed and not self._in_time(step, at, done):
            due = deadline(self.seen, self.knowledge, step, key[1], at)[0]
            if done > due:
                self._find(FindingKind.LATE, step, key[1], done - due)
        if self.knowledge.baselines:
            baseline = self.knowledge.baselines.get((self.plan.flow.flow, at.step, step.name))
            if baseline is not None and done - at.time > baseline.p99:
                self._find(FindingKind.SLOW, step, key[1], done - at.time)

    def _in_time(self, step: StepPlan, at: Point, done: int) -> bool:
        """Whether it is plain that it was. A calendar only adds to ``within``."""
        within = step.spec.within
        if within is None:
            return step.spec.due is None and done <= at.time + self.plan.flow.lost_after
        return done <= at.time + within

    def _done_since(self, step: StepPlan, visits: Visits, at: Point | None) -> int | None:
        """When it was done; within a loop, since it was owed again."""
        if not step.closers:
            return visits.done[0]
        if at is None:
            begun = any(self.path.instances.get(name) for name in step.before)
            return None if begun else visits.done[0]
        return next((time for time in visits.done if time >= at.time - SLACK), None)

    def _passed(self, step: StepPlan, key: Key, at: Point | None) -> int | None:
        """By when something that needs the step was seen; within a loop, since it was owed again."""
        if step.start and key not in self.path.visits and key == self._missing_start():
            return self.seen.implied.get(key, self.path.first)
        passed = self.seen.implied.get(key)
        if passed is None or at is None or not step.closers or key not in self.path.visits:
            return passed
        later = [
            time
            for name in step.successors
            for visits in self.seen.all_visits(name)
            for time in visits.done
            if time > at.time
        ]
        return min(later, default=None)

    def _missing_start(self) -> Key | None:
        """A transaction has a beginning: the first start is the one to miss, if none was seen or needed."""
        starts = self.plan.starts
        if any(name in self.path.instances for name in starts) or any(name in starts for name, _ in self.seen.implied):
            return None
        return (starts[0], "") if starts else None

    def _spend(self, step: StepPlan, key: Key) -> bool:
        """An event that names no parcel may be that of the parcel which lacks one: no parcel is missing for that."""
        unnamed = self.path.visits.get((step.name, ""))
        spent = self._spent.get(step.name, 0)
        if unnamed is None or spent >= len(unnamed.done):
            return False
        self._spent[step.name] = spent + 1
        time = unnamed.done[spent]
        self.points[key] = Point(time, step.name, time, time)
        return True

    def _lapsed(self, step: StepPlan, key: Key) -> bool:
        if step.spec.lapses is None:
            return False
        lapsed = self.ends.lapse(step, key[1])
        if lapsed is None:
            return False
        self.points[key] = lapsed
        return True

    # Passed over ----------------------------------------------------------------------------------------------------

    def _pass(self, step: StepPlan, key: Key, at: Point | None, passed: int, visits: Visits | None) -> None:
        """An unmet step of which a successor was seen: no obligation but a finding, unless it is a ``must``."""
        if step.start and visits is None:
            self._without_start(step, key, passed)
            return
        begin = passed - self.plan.flow.lost_after if at is None else at.begin
        name, last = (
            (step.name, visits.last) if visits is not None else (at.step, at.seen) if at else (step.name, passed)
        )
        self.points[key] = Point(max(passed, begin), name, last, min(begin, passed), known=False)
        if step.spec.must and at is not None:
            self._owe(step, key[1], at, visits)
        elif step.closing or step.start or (step.owed and self.seen.when(step, at.step if at else None)):
            end = passed + SLACK
            if at is not None and not step.closing:
                end = max(end, deadline(self.seen, self.knowledge, step, key[1], at)[0])
            self._prove(FindingKind.SKIPPED, step, key, min(begin, passed), end)

    def _without_start(self, step: StepPlan, key: Key, passed: int) -> None:
        """``no_start`` if its system was heard then: as long before the first that was seen as the deadlines allow."""
        first = self.path.first
        steps = self.plan.steps
        window = min(
            (steps[name].reach for name in self.path.instances if steps[name].reach), default=self.plan.flow.lost_after
        )
        self.points[key] = Point(passed, step.name, first, first - window, known=False)
        self._prove(FindingKind.NO_START, step, key, first - window, first + SLACK)

    def _prove(self, kind: FindingKind, step: StepPlan, key: Key, begin: int, end: int) -> None:
        """``kind``, if all who could tell otherwise were heard; ``unobserved`` if not."""
        asked = self.prover.witnesses(step, begin, end)
        others = self.seen.instead.get(key, ())
        if step.start:
            others = (*others, *(name for name in self.plan.starts if name not in self.path.instances))
        asked += [Asked(self.plan.steps[name].system, begin, end) for name in others if name != step.name]
        found = self.table.finding(kind, step, key[1], self.prover.heard(asked), end)
        if found is not None:
            self.findings.append(found)

    def _end(self, step: StepPlan, key: Key, visits: Visits | None, at: Point | None) -> None:
        """A legitimate other end, if it counts. What comes after it is owed then."""
        time = self.ends.reached.get(key)
        if time is None:
            return
        lapsed = self.ends.lapsed.get(key)
        if lapsed is not None:
            self.points[key] = lapsed
        elif visits is not None and visits.done:
            self._met(step, key, at, visits.done[0], visits)
        else:
            self._pass(step, key, at, time, visits)

    def _after(self, end: StepPlan) -> None:
        """Progress after a valid end."""
        time = self.ends.reached[end.name, ""]
        for (name, instance), visits in self.path.visits.items():
            if visits.progress > time + SLACK and self.ends.lifts(self.plan.steps[name], instance):
                self._find(FindingKind.AFTER_CANCEL, self.plan.steps[name], instance, visits.progress - time)

    def _find(self, kind: FindingKind, step: StepPlan, instance: str, amount: int) -> None:
        self.findings.append(Finding(kind, step.name, step.system, instance, amount))

    # Instances without a name ---------------------------------------------------------------------------------------

    def _judge_nameless(self, step: StepPlan) -> None:
        """Instances that were announced and not seen ("1 of 3"), and those that were seen and not named."""
        named, own = self.seen.named(step), self.path.visits.get((step.name, ""))
        left = len(own.done) - self._spent.get(step.name, 0) if own is not None else 0
        before = [name for name in step.before if self.plan.steps[name].per == step.per]
        at = None if before else self._since(step, "") if step.before else self._origin(step, None)
        total = self.expected.get(before[0]) if before else None
        if total is None or step.spec.count is not None:
            total = self.seen.expected(step, at.step if at else None)
        self.expected[step.name] = total
        seen = len(named) + left
        if step.spec.count is not None and total is not None and seen > total:
            detail = f"{seen} where {total} were expected"
            self.findings.append(Finding(FindingKind.UNEXPECTED, step.name, step.system, "", seen - total, detail))
        here = [(left, Point(own.done[-1], step.name, own.done[-1], own.done[-1]))] if own is not None and left else []
        owed = list(self.nameless.get(before[0], ())) if before else []
        if at is not None:
            owed = [((1 if not seen else 0) if total is None else total - len(named), at)]
        for count, since in owed:
            done = max(0, min(left, count))
            left -= done
            if count > done:
                assumed = self._owe(step, "", since, own, count - done, total or len(named) + count)
                here += [(count - done, assumed)] if assumed is not None else []
        if here:
            self.nameless[step.name] = here

    # Since when it is owed ------------------------------------------------------------------------------------------

    def _origin(self, step: StepPlan, visits: Visits | None) -> Point | None:
        """A start is owed since it was first heard of."""
        if visits is not None:
            return Point(visits.first, step.name, visits.first, visits.first)
        first = min((found.first for found in self.seen.all_visits(step.name)), default=None)
        return None if first is None or step.per is None else Point(first, step.name, first, first)

    def _since(self, step: StepPlan, instance: str) -> Point | None:
        """Since when (step, instance) is owed; None while what it comes after is not done."""
        before, steps = step.before, self.plan.steps
        if len(before) == 1:
            at = self._point(steps[before[0]], step, instance)
        elif step.any:
            found = [point for name in before if (point := self._point(steps[name], step, instance)) is not None]
            at = min([point for point in found if not point.assumed] or found, default=None)
        else:
            at = self._since_all(step, instance)
        for name in step.loops if at is not None else ():
            visits = self.path.visits.get((name, instance if steps[name].per is not None else ""))
            if at is not None and visits is not None and visits.done and visits.done[-1] > at.time:
                at = Point(visits.done[-1], name, visits.done[-1], visits.done[-1])
        return at

    def _since_all(self, step: StepPlan, instance: str) -> Point | None:
        points: list[Point] = []
        held = None
        for name in step.before:
            prior = self.plan.steps[name]
            point = self._point(prior, step, instance)
            if point is not None:
                points.append(point)
            elif prior.closing or (prior.owed and self.seen.when(prior, None)):
                return None
            else:
                # Nobody has to wait for it, but it may be under way: what comes after is not late, but may be lost.
                under_way = [visits.last for visits in self.seen.all_visits(name) if visits.arrived is not None]
                held = max([*under_way, held or 0]) if under_way else held
        return joined(points, held) if points else None

    def _point(self, prior: StepPlan, step: StepPlan, instance: str) -> Point | None:
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

    # What judge asks ------------------------------------------------------------------------------------------------

    def ended_at(self) -> int | None:
        """When the transaction's end was reached, µs; None where it was not."""
        if self.ends.closed is not None:
            return self.ends.reached[self.ends.closed.name, ""]
        ends = self.plan.ends
        times = [point.time for (name, _), point in self.points.items() if name in ends and not point.assumed]
        return max(times, default=None) if times else max(self.ends.reached.values(), default=None)
