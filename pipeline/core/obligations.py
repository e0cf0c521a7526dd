"""Obligations: what is owed since when, step by step, predecessors first. What an obligation amounts to is ``table``'s."""

from __future__ import annotations

from pipeline.core.ends import Ends
from pipeline.core.hearing import Knowledge
from pipeline.core.path import Key, Path
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.point import Point
from pipeline.core.proof import Asked, Prover
from pipeline.core.seen import Seen
from pipeline.core.since import Since
from pipeline.core.state import State
from pipeline.core.table import Owed, Table, deadline
from pipeline.core.visits import SLACK, Visits
from schemas.verdict import Edge, Finding, FindingKind


class Review:
    """One pass over a flow's steps for one state. ``run`` fills the fields that ``judge`` reads."""

    def __init__(self, state: State, plan: Plan, path: Path, knowledge: Knowledge, *, detail: bool):
        self.plan, self.path, self.knowledge, self.detail = plan, path, knowledge, detail
        self.prover = Prover(knowledge, state, plan.flow)
        self.seen = Seen(state, plan, path)
        self.ends = Ends(self.seen, self.prover)
        self.since = Since(self.seen, self.ends)
        self.points = self.since.points
        self.table = Table(plan, self.seen, self.ends, self.prover, self.points)
        self.findings: list[Finding] = []
        self.edges: list[Edge] = []
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
        if step.closing:
            if key in self.ends.reached:
                self._end(step, key, visits)
            return
        if (
            visits is None
            and not step.owed
            and key not in self.seen.implied
            and step.spec.lapses is None
            and not step.start
        ):
            return
        at = self.since.owed(step, instance) if step.before else self.since.origin(step, visits)
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
        visits.in_order = done >= at.time and not step.closers
        if self.detail and done >= at.time and at.step != step.name:
            self.edges.append(Edge(at.step, step.name, key[1], done - at.time))
        if step.owed and not self._in_time(step, at, done):
            due = deadline(self.seen, self.knowledge, step, key[1], at)[0]
            if done > due and self.seen.when(step, at.step):
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
        if passed is None or not step.closers or key not in self.path.visits:
            return passed
        if at is None:
            return None
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
        elif key in self.ends.gone:
            return
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

    def _end(self, step: StepPlan, key: Key, visits: Visits | None) -> None:
        """A legitimate other end that counts. What comes after it is owed then."""
        time = self.ends.reached[key]
        at = self.since.owed(step, key[1])
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
        at = None if before else self.since.owed(step, "") if step.before else self.since.origin(step, None)
        if at is None and own is None and not named and not (before and self.since.nameless.get(before[0])):
            return
        total = self.since.expected.get(before[0]) if before else None
        if total is None or step.spec.count is not None:
            total = self.seen.expected(step, at.step if at else None)
        self.since.expected[step.name] = total
        seen = len(named) + left
        if step.spec.count is not None and total is not None and seen > total:
            detail = f"{seen} where {total} were expected"
            self.findings.append(Finding(FindingKind.UNEXPECTED, step.name, step.system, "", seen - total, detail))
        here = [(left, Point(own.done[-1], step.name, own.done[-1], own.done[-1]))] if own is not None and left else []
        owed = list(self.since.nameless.get(before[0], ())) if before else []
        if at is not None:
            owed = [((1 if not seen else 0) if total is None else total - len(named), at)]
        for count, since in owed:
            done = max(0, min(left, count))
            left -= done
            if count > done:
                assumed = self._owe(step, "", since, own, count - done, total or len(named) + count)
                here += [(count - done, assumed)] if assumed is not None else []
        if here:
            self.since.nameless[step.name] = here

    # What judge asks ------------------------------------------------------------------------------------------------

    def ended_at(self) -> int | None:
        """When the transaction's end was reached, µs; None where it was not."""
        if self.ends.closed is not None:
            return self.ends.reached[self.ends.closed.name, ""]
        ends = self.plan.ends
        times = [point.time for (name, _), point in self.points.items() if name in ends and not point.assumed]
        return max(times, default=None) if times else max(self.ends.reached.values(), default=None)
