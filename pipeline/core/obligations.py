"""Obligations: what is owed, each judged alone by §6's table, predecessors first."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.hearing import Knowledge
from pipeline.core.path import SLACK, Path, Visits
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.proof import Proof, Prover, Standing
from pipeline.core.state import State
from schemas.errors import Invalid
from schemas.flow import Count
from schemas.times import parse_time
from schemas.verdict import Drop, DropKind, Edge, Finding, FindingKind, Status, Wait
from schemas.wire import Observed


class Point(NamedTuple):
    """That a step counts as done. ``time``: µs. ``step``: where it was truly last seen, ``seen``: when. ``known``: whether ``time``
    is an observation (or a lapse); otherwise the step was passed over or not heard, and ``time`` is the latest it can be."""

    time: int
    step: str
    seen: int
    known: bool = True
    assumed: bool = False


class Owed(NamedTuple):
    """One obligation: (``step``, ``instance``) since ``at``; ``missing`` of ``expected`` instances have no name."""

    step: StepPlan
    instance: str
    at: Point
    due: int
    lost_at: int
    missing: int = 0
    expected: int = 0


class Review:
    """One pass over a flow's steps for one state. ``run`` fills the fields that ``judge`` reads."""

    def __init__(self, state: State, plan: Plan, path: Path, knowledge: Knowledge):
        self.state, self.plan, self.path, self.knowledge = state, plan, path, knowledge
        self.prover = Prover(knowledge)
        self.drops: list[Drop] = []
        self.findings: list[Finding] = []
        self.waits: set[Wait] = set()
        self.edges: list[Edge] = []
        self.pending = 0
        self.closed: StepPlan | None = None
        self._points: dict[tuple[str, str], Point] = {}
        self._implied: dict[tuple[str, str], int] = {}
        self._latest: dict[str, Observed | None] = {}
        self._instances: dict[str, list[str]] = {}
        for name, found in path.instances.items():
            kind = plan.steps[name].spec.per
            if kind:
                known = self._instances.setdefault(kind, [])
                known.extend(instance for instance in found if instance and instance not in known)

    def run(self) -> None:
        """Judge every step, predecessors first."""
        if not self.path.visits and not self.path.contested:
            return
        self._imply()
        self._close()
        allowed = None if self.closed is None else self.plan.under[self.closed.name]
        for step in self.plan.order:
            self._step(step, lifted=allowed is not None and step.name not in allowed)
        if self.closed is not None:
            self._after_end(self.closed)

    # What follows from what was seen -------------------------------------------------------------------------------

    def _imply(self) -> None:
        """A step whose successor is done must have been passed: the earliest such successor's time, backwards."""
        for step in reversed(self.plan.order):
            for instance in self._known(step):
                visits = self.path.visits.get((step.name, instance))
                time = visits.done[0] if visits and visits.done else self._implied.get((step.name, instance))
                if time is None or not step.before:
                    continue
                befores = step.before
                if step.spec.after.mode == "any" and len(befores) > 1:
                    continue
                for before in befores:
                    self._imply_one(before, step, instance, time)

    def _imply_one(self, before: str, step: StepPlan, instance: str, time: int) -> None:
        prior = self.plan.steps[before]
        for other in self._instances_before(prior, step, instance):
            visits = self.path.visits.get((before, other))
            if not (visits and visits.done):
                known = self._implied.get((before, other))
                self._implied[before, other] = time if known is None else min(known, time)

    def _known(self, step: StepPlan) -> list[str]:
        """Instances of a step that are known by name, and "" where it has none or an event named none."""
        kind = step.spec.per
        if kind is None:
            return [""]
        named = self._instances.get(kind, [])
        return [*named, ""] if (step.name, "") in self.path.visits else list(named)

    def _instances_before(self, prior: StepPlan, step: StepPlan, instance: str) -> list[str]:
        if prior.spec.per is None:
            return [""]
        if prior.spec.per == step.spec.per:
            return [instance]
        return self._known(prior)

    def _close(self) -> None:
        """The legitimate end that lifts obligations: the earliest valid one. Lapses are decided here too."""
        best: tuple[int, StepPlan] | None = None
        for step in self.plan.lapsing:
            lapsed = self._lapse(step)
            if lapsed is not None:
                self._points[step.name, ""] = lapsed
        for step in self.plan.closing:
            time = self._closed_at(step)
            if time is not None and (best is None or time < best[0]):
                best = (time, step)
        if best is not None:
            self.closed = best[1]

    def _closed_at(self, step: StepPlan) -> int | None:
        visits = self.path.visits.get((step.name, ""))
        lapsed = self._points.get((step.name, ""))
        time = visits.done[0] if visits and visits.done else self._implied.get((step.name, ""))
        if time is None:
            time = lapsed.time if lapsed else None
        if time is None or step.spec.until is None:
            return time
        passed = [v.done[0] for (name, _), v in self.path.visits.items() if name == step.spec.until and v.done]
        return None if passed and min(passed) < time else time

    def _lapse(self, step: StepPlan) -> Point | None:
        """When time alone completed the step: heard past ``lapses`` with nothing else seen since its predecessor."""
        visits = self.path.visits.get((step.name, ""))
        if visits and visits.done:
            return None
        befores = [v for name in step.before for v in [self.path.visits.get((name, ""))] if v and v.done]
        if not befores or (step.spec.after.mode == "all" and len(befores) < len(step.before)):
            return None
        last = max(befores, key=lambda v: v.done[-1])
        start = last.done[-1]
        if any(v.last > start and name not in step.ancestors for (name, _), v in self.path.visits.items()):
            return None
        end = start + (step.spec.lapses or 0)
        siblings = {self.plan.steps[n].spec.system for b in step.before for n in self.plan.steps[b].successors}
        proof = self.prover.through(step, start, end, tuple(sorted(siblings - set(step.witnesses))))
        if proof.standing is Standing.PROVEN:
            return Point(end, last.step, start)
        self.waits.update(proof.waits)
        if step.spec.end == "closed" and proof.standing is Standing.WAITING:
            self.pending += 1
        return None

    def _after_end(self, end: StepPlan) -> None:
        time = self._closed_at(end)
        under = self.plan.under[end.name]
        for (name, instance), visits in self.path.visits.items():
            if time is not None and name not in under and visits.last > time + SLACK:
                system = self.plan.steps[name].spec.system
                self.findings.append(Finding(FindingKind.AFTER_CANCEL, name, system, instance, visits.last - time))

    # One step ------------------------------------------------------------------------------------------------------

    def _step(self, step: StepPlan, *, lifted: bool) -> None:
        if step.spec.start:
            self._start(step, lifted)
            return
        instances = self._known(step)
        for instance in instances:
            at = self._due_since(step, instance)
            self._instance(step, instance, at, lifted)
        if step.spec.per is not None:
            self._unnamed(step, [i for i in instances if i], lifted)

    def _instance(self, step: StepPlan, instance: str, at: Point | None, lifted: bool) -> None:
        visits = self.path.visits.get((step.name, instance))
        key = (step.name, instance)
        if visits and visits.done:
            done = self._done_since(step, visits, at)
            if done is not None:
                self._met(step, instance, at, done, visits)
                return
        if key in self._points:
            return
        implied = self._implied.get(key)
        if implied is not None and not (visits and visits.done):
            self._points[key] = Point(implied, at.step if at else step.name, at.seen if at else implied, known=False)
            if step.spec.end == "closed" or (step.spec.owed and self._when(step, at)):
                self._passed_over(step, instance, at, implied, lifted)
            return
        if at is None or lifted or not step.spec.owed or not self._when(step, at):
            return
        self._owe(self._obligation(step, instance, at), visits)

    def _done_since(self, step: StepPlan, visits: Visits, at: Point | None) -> int | None:
        """When it was done; in a loop, since its latest predecessor."""
        if not step.loops or at is None:
            return visits.done[0]
        later = [time for time in visits.done if time >= at.time - SLACK]
        return later[0] if later else None

    def _met(self, step: StepPlan, instance: str, at: Point | None, done: int, visits: Visits) -> None:
        last = visits.done[-1] if step.loops else done
        self._points[step.name, instance] = Point(last, step.name, last)
        if at is None or not at.known:
            return
        took = done - at.time
        self.edges.append(Edge(at.step, step.name, instance, took))
        owed = self._obligation(step, instance, at)
        if step.spec.owed and done > owed.due:
            self.findings.append(Finding(FindingKind.LATE, step.name, step.spec.system, instance, done - owed.due))
        baseline = self.knowledge.baselines.get((self.plan.flow.flow, at.step, step.name))
        if baseline is not None and took > baseline.p99:
            self.findings.append(Finding(FindingKind.SLOW, step.name, step.spec.system, instance, took))

    def _start(self, step: StepPlan, lifted: bool) -> None:
        visits = self.path.visits.get((step.name, ""))
        first = min(v.first for v in self.path.visits.values()) if self.path.visits else 0
        if visits and visits.done:
            self._points[step.name, ""] = Point(visits.done[0], step.name, visits.done[0])
        elif visits:
            at = Point(visits.first, step.name, visits.first)
            if not lifted and step.spec.owed:
                self._owe(self._obligation(step, "", at), visits)
        elif not self._other_start(step):
            self._points[step.name, ""] = Point(
                self._implied.get((step.name, ""), first), step.name, first, known=False
            )
            window = min(
                (s.spec.within for s in self._first_steps() if s.spec.within), default=self.plan.flow.lost_after
            )
            proof = self.prover.through(step, first - window, first)
            self._finding_by(proof, FindingKind.NO_START, step, "", first)

    def _other_start(self, step: StepPlan) -> bool:
        """Whether another start was seen, or is the one to miss: a transaction has one beginning."""
        starts = self.plan.starts
        if any(self.path.visits.get((name, "")) for name in starts):
            return True
        candidates = [name for name in starts if (name, "") in self._implied] or list(starts)
        return candidates[0] != step.name

    def _first_steps(self) -> list[StepPlan]:
        first = min(v.first for v in self.path.visits.values())
        return [self.plan.steps[name] for (name, _), v in self.path.visits.items() if v.first == first]

    def _passed_over(self, step: StepPlan, instance: str, at: Point | None, implied: int, lifted: bool) -> None:
        """An unmet step whose successor is done: no obligation but a finding, unless it is a ``must``."""
        if step.spec.must and at is not None:
            if not lifted:
                self._owe(self._obligation(step, instance, at), self.path.visits.get((step.name, instance)))
            return
        begin, end = (at.time if at else implied - self.plan.flow.lost_after), implied
        if at is not None and at.known and (step.spec.within is not None or step.spec.due is not None):
            end = max(end, self._obligation(step, instance, at).due)
        proof = self.prover.through(step, min(begin, end), end)
        self._finding_by(proof, FindingKind.SKIPPED, step, instance, end)

    def _finding_by(self, proof: Proof, kind: FindingKind, step: StepPlan, instance: str, end: int) -> None:
        if proof.standing is Standing.DEAF and self.knowledge.control_time > end:
            kind = FindingKind.UNOBSERVED
        elif proof.standing is not Standing.PROVEN:
            self.waits.update(proof.waits)
            return
        self.findings.append(Finding(kind, step.name, step.spec.system, instance))
        if kind is FindingKind.UNOBSERVED:
            self.waits.update(proof.waits)

    def _unnamed(self, step: StepPlan, named: list[str], lifted: bool) -> None:
        """Instances that were announced and not seen: obligations without a name ("1 of 3")."""
        at = self._due_since(step, "")
        expected = self._expected(step, at)
        if expected is None:
            follows = any(self.plan.steps[name].spec.per == step.spec.per for name in step.before)
            expected = 0 if follows else 1
            if follows or (named and step.spec.count is None):
                return
        seen = len(named) + ((step.name, "") in self.path.visits)
        if seen > expected:
            self.findings.append(
                Finding(
                    FindingKind.UNEXPECTED,
                    step.name,
                    step.spec.system,
                    "",
                    seen - expected,
                    f"{seen} where {expected} were expected",
                )
            )
        if seen >= expected or at is None or lifted or not step.spec.owed or not self._when(step, at):
            return
        owed = self._obligation(step, "", at)._replace(missing=expected - seen, expected=expected)
        self._owe(owed, None)

    def _expected(self, step: StepPlan, at: Point | None) -> int | None:
        count: Count | None = step.spec.count
        if count is None:
            return None
        if count.number is not None:
            return count.number
        if count.announced_by is not None:
            announced = [v for (name, _), v in self.path.visits.items() if name == count.announced_by]
            if not announced:
                return None
            per = self.plan.steps[count.announced_by].spec.per
            return len(announced) if per else sum(len(v.done) for v in announced)
        value = self._attribute(count.attribute or "", at)
        try:
            number = int(str(value))
        except ValueError:
            return None
        return number if 0 <= number <= 100_000 else None

    # When it is owed -----------------------------------------------------------------------------------------------

    def _due_since(self, step: StepPlan, instance: str) -> Point | None:
        """Since when (step, instance) is owed; None while what it comes after is not done."""
        found: list[Point] = []
        for before in step.before:
            point = self._before(self.plan.steps[before], step, instance)
            if point is not None:
                found.append(point)
            elif step.spec.after.mode == "all" and self._awaited(self.plan.steps[before]):
                return None
        if not found:
            return None
        at = min(found) if step.spec.after.mode == "any" else max(found)
        for name in step.loops:
            visits = self.path.visits.get((name, "" if self.plan.steps[name].spec.per is None else instance))
            if visits and visits.done and visits.done[-1] > at.time:
                at = Point(visits.done[-1], name, visits.done[-1])
        return at

    def _before(self, prior: StepPlan, step: StepPlan, instance: str) -> Point | None:
        if prior.spec.per is None or prior.spec.per == step.spec.per:
            point = self._points.get((prior.name, instance if prior.spec.per else ""))
        else:
            points = [self._points.get((prior.name, other)) for other in self._known(prior)]
            expected = self._expected(prior, None)
            if not points or None in points or (expected is not None and len(points) < expected):
                return None
            point = max(p for p in points if p is not None)
        if point is not None and prior.spec.end == "closed" and prior is not self.closed:
            return None
        return point

    def _awaited(self, prior: StepPlan) -> bool:
        """Whether a predecessor that is not done holds its successor back; one that is not owed and was not seen does not."""
        seen = any(name == prior.name for name, _ in self.path.visits)
        return seen or (prior.spec.owed and self._when(prior, None))

    def _when(self, step: StepPlan, at: Point | None) -> bool:
        when = step.spec.when
        if when is None:
            return True
        if when.seen is not None and not any(name == when.seen for name, _ in self.path.visits):
            return False
        return all(self._test(name, wanted, at) for name, wanted in when.attributes.items())

    def _test(self, name: str, wanted: tuple[object, ...], at: Point | None) -> bool:
        value = self._attribute(name, at)
        return value is not None and attribute_text(value) in [attribute_text(want) for want in wanted]

    def _obligation(self, step: StepPlan, instance: str, at: Point) -> Owed:
        flow, spec = self.plan.flow, step.spec
        if spec.within is not None:
            due = self.knowledge.due(at.time, spec.within, spec.calendar)
        else:
            due = (self._due_attribute(spec.due, at) if spec.due else None) or at.time + flow.lost_after
        # Not lost before it is due: a promise in thirty days outlives a flow's fourteen.
        return Owed(step, instance, at, due, max(due, at.time + flow.lost_after))

    def _due_attribute(self, name: str, at: Point) -> int | None:
        value = self._attribute(name, at)
        try:
            return None if value is None else parse_time(value)
        except Invalid:
            return None

    def _attribute(self, name: str, at: Point | None) -> object:
        """From the predecessor's event, else from the latest event that has it."""
        if at is not None:
            for (step, _), visits in self.path.visits.items():
                if step == at.step:
                    for event in reversed(visits.done_events):
                        if name in event.attributes:
                            return event.attributes[name]
        latest = self.latest_event(name)
        return None if latest is None else latest.attributes[name]

    def latest_event(self, attribute: str) -> Observed | None:
        """The latest event that has the attribute."""
        if attribute not in self._latest:
            having = [event for event in self.state if attribute in event.attributes]
            self._latest[attribute] = max(having, key=lambda event: (event.time, event.id)) if having else None
        return self._latest[attribute]

    def start_event(self, attribute: str) -> Observed | None:
        """The start's event, if it has the attribute."""
        for name in self.plan.starts:
            visits = self.path.visits.get((name, ""))
            for event in visits.done_events if visits else ():
                if attribute in event.attributes:
                    return event
        return None

    # §6's table ----------------------------------------------------------------------------------------------------

    def _owe(self, owed: Owed, visits: Visits | None) -> None:
        if visits is not None and visits.failed_at is not None and not visits.done:
            self._failed(owed, visits)
            return
        contested = (owed.step.name, owed.instance) in self.path.contested
        control, at = self.knowledge.control_time, owed.at
        lost = self.prover.through(owed.step, at.time, owed.lost_at)
        if lost.standing is Standing.PROVEN and not contested:
            self._drop(owed, Status.LOST, visits)
            return
        proof = lost if owed.due == owed.lost_at else self.prover.through(owed.step, at.time, owed.due)
        if proof.standing is Standing.PROVEN and not contested:
            self._drop(owed, Status.STALLED, visits)
            self.waits.update(lost.waits)
        elif control > owed.due and (contested or proof.standing is Standing.DEAF):
            self._unknown(owed, visits, proof, lost)
        else:
            self.pending += not at.assumed
            self.waits.update(proof.waits or (Wait(owed.step.spec.system, owed.due),))
            self._at_risk(owed)

    def _failed(self, owed: Owed, visits: Visits) -> None:
        failed_at = visits.failed_at or 0
        end = failed_at + owed.step.spec.retry_within
        proof = self.prover.through(owed.step, failed_at, end)
        if proof.standing is Standing.PROVEN:
            self._drop(owed, Status.FAILED, visits, failed=True)
        elif proof.standing is Standing.DEAF and self.knowledge.control_time > end:
            self._unknown(owed, visits, proof, proof, failed=True)
        else:
            self.pending += 1
            self.waits.update(proof.waits)

    def _unknown(self, owed: Owed, visits: Visits | None, proof: Proof, lost: Proof, *, failed: bool = False) -> None:
        """Not provable. The probable place is said, and judging goes on as if the step had been done unheard."""
        key = (owed.step.name, owed.instance)
        if not owed.at.assumed:
            self._drop(owed, Status.UNKNOWN, visits, failed=failed, silent=proof.deaf)
        self.waits.update((*proof.waits, *lost.waits))
        if self.knowledge.control_time > owed.lost_at:
            if not owed.at.assumed:
                self.findings.append(
                    Finding(FindingKind.UNRESOLVED, owed.step.name, owed.step.spec.system, owed.instance)
                )
        else:
            self.waits.add(Wait(owed.step.spec.system, owed.lost_at))
        if proof.resumed is not None and proof.deaf and not owed.missing and not failed:
            self._points[key] = Point(proof.resumed, owed.at.step, owed.at.seen, known=False, assumed=True)

    def _drop(
        self, owed: Owed, status: Status, visits: Visits | None, *, failed: bool = False, silent: tuple[str, ...] = ()
    ) -> None:
        spec, at = owed.step.spec, owed.at
        arrived = visits is not None and visits.arrived is not None
        if failed:
            kind = DropKind.FAILED
        elif at.assumed or not (arrived or spec.reports_arrival):
            kind = DropKind.BETWEEN
        else:
            kind = DropKind.INSIDE if arrived else DropKind.IN_TRANSIT
        own_start = at.step == owed.step.name
        self.drops.append(
            Drop(
                status=status,
                kind=kind,
                from_step=None if own_start else at.step,
                from_system=None if own_start else self.plan.steps[at.step].spec.system,
                to_step=owed.step.name,
                system=spec.system,
                since=visits.last if visits is not None else at.seen,
                due=owed.due,
                instance=owed.instance,
                missing=owed.missing,
                expected=owed.expected,
                error=visits.error if failed and visits is not None else None,
                silent=silent,
            )
        )

    def _at_risk(self, owed: Owed) -> None:
        baseline = self.knowledge.baselines.get((self.plan.flow.flow, owed.at.step, owed.step.name))
        if baseline is None or not owed.at.known:
            return
        heard = self.prover.slowest(owed.step)
        if heard > owed.at.time + baseline.p99:
            finding = Finding(
                FindingKind.AT_RISK, owed.step.name, owed.step.spec.system, owed.instance, heard - owed.at.time
            )
            # The amount grows with every marker; a finding that never stands still would be a flip a second.
            self.findings.append(Finding(finding.kind, finding.step, finding.system, finding.instance, baseline.p99))
        else:
            self.waits.add(Wait(owed.step.spec.system, owed.at.time + baseline.p99))

    # What judge asks ------------------------------------------------------------------------------------------------

    def normal_visits(self, step: StepPlan) -> int:
        """How many completions of an instance are normal."""
        loops = sum(len(v.done) for (name, _), v in self.path.visits.items() if name in step.loops)
        return step.visits + loops

    def disorder(self, step: StepPlan, instance: str) -> int:
        """By how much it was done before what it comes after, µs; 0 if in order."""
        visits = self.path.visits.get((step.name, instance))
        if not visits or not visits.done:
            return 0
        befores = []
        for name in step.before:
            for other in self._instances_before(self.plan.steps[name], step, instance):
                prior = self.path.visits.get((name, other))
                if prior and prior.done:
                    befores.append(prior.done[0])
        if not befores:
            return 0
        least = min(befores) if step.spec.after.mode == "any" else max(befores)
        return max(0, least - visits.done[-1 if step.loops else 0])

    def end_reached(self) -> bool:
        """Whether one of the flow's normal ends is done."""
        return any(name in self.plan.ends for (name, _), point in self._points.items() if point.known)

    def ended_at(self) -> int | None:
        """When the end was reached, µs."""
        if self.closed is not None:
            return self._closed_at(self.closed)
        times = [point.time for (name, _), point in self._points.items() if name in self.plan.ends and point.known]
        return max(times, default=None)


def attribute_text(value: object) -> str:
    """How attributes are compared: True is "true", 3.0 is "3"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
