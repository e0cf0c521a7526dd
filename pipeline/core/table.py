"""Table: DESIGN.md §6's rows, for one obligation. The worst row that matches decides."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.ends import Ends
from pipeline.core.hearing import CONTROL, Knowledge
from pipeline.core.path import Key
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.point import Point
from pipeline.core.proof import Proof, Prover, Standing
from pipeline.core.seen import Seen
from pipeline.core.visits import SLACK, Visits
from schemas.errors import Invalid
from schemas.times import parse_time
from schemas.verdict import Drop, DropKind, Finding, FindingKind, Status, Wait


class Owed(NamedTuple):
    """One obligation: (``step``, ``instance``) since ``at``; ``due`` and ``lost_at`` in µs; ``missing`` of ``expected`` instances
    have no name."""

    step: StepPlan
    instance: str
    at: Point
    due: int
    lost_at: int
    missing: int = 0
    expected: int = 0


def deadline(seen: Seen, knowledge: Knowledge, step: StepPlan, instance: str, at: Point) -> tuple[int, int]:
    """When it is due and when it is lost, µs. Not lost before it is due: a promise in thirty days outlives a flow's fourteen."""
    spec = step.spec
    lost_at = at.time + seen.plan.flow.lost_after
    due: int | None = None
    if at.held:
        return lost_at, lost_at
    if spec.within is not None:
        due = knowledge.due(at.time, spec.within, spec.calendar)
    elif spec.due is not None:
        value = seen.attribute(spec.due, at.step, instance)
        try:
            due = None if value is None else parse_time(value)
        except Invalid:
            due = None
    return (lost_at, lost_at) if due is None else (due, max(due, lost_at))


class Table:
    """Judges obligations one at a time. ``pending``: those that are neither met nor proven to be missing."""

    def __init__(self, plan: Plan, seen: Seen, ends: Ends, prover: Prover, points: dict[Key, Point]):
        self.plan, self.seen, self.ends, self.prover, self.points = plan, seen, ends, prover, points
        self.knowledge = prover.knowledge
        self.drops: list[Drop] = []
        self.findings: list[Finding] = []
        self.waits: set[Wait] = set()
        self.pending = 0

    def judge(self, owed: Owed, visits: Visits | None) -> Point | None:
        """Add what an obligation amounts to. Returns when it was done as far as anyone can tell, if nobody heard.

        It takes a moment of hearing at least: what was due before it was owed (a promise that was over) would else be proven
        by hearing nothing at all. Not so a failure that nobody may retry: it was heard itself.
        """
        step, instance, at, due, lost_at, _, _ = owed
        moment = at.begin + SLACK
        due, lost_at = max(due, moment), max(lost_at, moment)
        now, contested, unknown = self.knowledge.control_time, self._contested(owed), None
        if visits is not None and visits.failed_at is not None:
            retried = visits.failed_at + step.spec.retry_within
            proof = self._ask(step, instance, visits.failed_at, retried)
            if proof.standing is Standing.PROVEN and not contested:
                self._drop(owed, Status.FAILED, visits)
                return None
            self.waits.update(proof.waits)
            if contested or proof.standing is Standing.DEAF:
                if now > retried:
                    unknown = proof
                self._by_control(step, retried)
        proof = self._ask(step, instance, at.begin, due)
        self.waits.update(proof.waits)
        if proof.standing is not Standing.WAITING:
            lost = proof if due == lost_at else self._ask(step, instance, at.begin, lost_at)
            if lost.standing is Standing.PROVEN and not contested:
                self._drop(owed, Status.LOST, visits)
                return None
            self.waits.update(lost.waits)
            if proof.standing is Standing.PROVEN and not contested:
                self._drop(owed, Status.STALLED, visits)
                return None
            if now > due:
                unknown = proof
            self._by_control(step, due)
        if unknown is not None:
            return self._unknown(owed, visits, unknown)
        self.pending += 1
        self._at_risk(owed)
        return None

    def finding(self, kind: FindingKind, step: StepPlan, instance: str, proof: Proof, end: int) -> Finding | None:
        """``kind`` if it is proven, ``unobserved`` if that cannot be; nothing while clocks are not there yet."""
        self.waits.update(proof.waits)
        if proof.standing is Standing.DEAF and self.knowledge.control_time > end:
            kind = FindingKind.UNOBSERVED
        elif proof.standing is Standing.DEAF:
            self._by_control(step, end)
            return None
        elif proof.standing is not Standing.PROVEN:
            return None
        return Finding(kind, step.name, step.system, instance)

    def _by_control(self, step: StepPlan, time: int) -> None:
        """What was not heard is unknown once control time has passed ``time``, wherever clocks stand: a system that has closed
        sources only has one that stands still (seed 5721). Whoever waits on a silent one is judged on control time anyway."""
        if self.knowledge.control_time <= time and not self.prover.hearing(step.system).silent:
            self.waits.add(Wait(CONTROL, time))

    # Proof ----------------------------------------------------------------------------------------------------------

    def _ask(self, step: StepPlan, instance: str, begin: int, end: int) -> Proof:
        """Proof that the step was not done, and that nothing which nobody heard has lifted it."""
        own = self.prover.through(step, begin, end)
        if own.standing is Standing.WAITING:
            return own
        asked = self.ends.unheard(step, instance, self.points, end) if step.lifters else []
        others = [self.prover.heard(asked)] if asked else []
        for lapsing, until, proof in self.ends.open:
            if until <= end and step.name not in self.plan.under.get(lapsing.name, (step.name,)):
                others.append(proof)
        for other in others:
            own = _both(own, other)
        return own

    def _contested(self, owed: Owed) -> bool:
        contested = self.seen.path.contested
        if not contested:
            return False
        if owed.missing:
            return any(name == owed.step.name for name, _ in contested)
        return (owed.step.name, owed.instance) in contested

    # What it amounts to ---------------------------------------------------------------------------------------------

    def _unknown(self, owed: Owed, visits: Visits | None, proof: Proof) -> Point | None:
        """Not provable. The probable place is said, and judging goes on as if the step had been done unheard."""
        step, at = owed.step, owed.at
        if not at.assumed:
            self._drop(owed, Status.UNKNOWN, visits, proof.deaf)
        if self.knowledge.control_time <= owed.lost_at:
            self.waits.update(Wait(system, owed.lost_at) for system in (step.system, *proof.deaf))
            self._by_control(step, owed.lost_at)
        elif not at.assumed:
            self.findings.append(Finding(FindingKind.UNRESOLVED, step.name, step.system, owed.instance))
        if proof.resumed is None:
            return None
        name, last = (at.step, at.seen) if visits is None else (step.name, visits.last)
        begin = at.begin if visits is None else max(at.begin, visits.last)
        return Point(max(proof.resumed, begin), name, last, begin, known=False, assumed=True)

    def _drop(self, owed: Owed, status: Status, visits: Visits | None, silent: tuple[str, ...] = ()) -> None:
        step, at = owed.step, owed.at
        failed = visits is not None and visits.failed_at is not None
        arrived = visits is not None and visits.arrived is not None
        if failed and status in (Status.FAILED, Status.UNKNOWN):
            kind = DropKind.FAILED
        elif failed or arrived:
            kind = DropKind.INSIDE
        else:
            kind = DropKind.IN_TRANSIT if at.known and step.arrivals else DropKind.BETWEEN
        began = at.step == step.name
        self.drops.append(
            Drop(
                status=status,
                kind=kind,
                from_step=None if began else at.step,
                from_system=None if began else self.plan.steps[at.step].system,
                to_step=step.name,
                system=step.system,
                since=at.seen if visits is None else visits.last,
                due=owed.due,
                instance=owed.instance,
                missing=owed.missing,
                expected=owed.expected,
                error=visits.error if failed and visits is not None else None,
                silent=silent,
            )
        )

    def _at_risk(self, owed: Owed) -> None:
        step, at = owed.step, owed.at
        baseline = self.knowledge.baselines.get((self.plan.flow.flow, at.step, step.name))
        if baseline is None or not at.known:
            return
        risky = at.time + baseline.p99
        heard, slowest = self.prover.slowest(step, at.begin, risky)
        if heard > risky:
            # The amount stands still: one that grew with every marker would be another verdict every two seconds.
            found = Finding(FindingKind.AT_RISK, step.name, step.system, owed.instance, baseline.p99)
            self.findings.append(found)
        else:
            self.waits.add(Wait(slowest, risky))


def _both(own: Proof, other: Proof) -> Proof:
    """Proof by both. Where the step's own system was heard, nothing was done unheard: there is no "as if"."""
    waits = (*own.waits, *other.waits)
    deaf = tuple(dict.fromkeys((*own.deaf, *other.deaf)))
    if deaf:
        return Proof(Standing.DEAF, deaf, own.resumed, waits)
    waiting = Standing.WAITING in (own.standing, other.standing)
    return Proof(Standing.WAITING if waiting else Standing.PROVEN, waits=waits)
