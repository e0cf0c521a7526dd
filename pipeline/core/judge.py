"""judge: what has become of a transaction, under a flow, by what is known (DESIGN.md §6).

Laws: total (every state, flow and knowledge has a verdict), pure, and a function of the *set* of events. ``stalled``, ``lost``
and ``skipped`` need proof by every witness; without it the verdict is ``unknown``, a step ``unobserved``.
"""

from __future__ import annotations

from pipeline.core.findings import observed
from pipeline.core.hearing import Knowledge
from pipeline.core.obligations import Review
from pipeline.core.path import Path, build, hops_of
from pipeline.core.plan import plan_of
from pipeline.core.seen import Seen, attribute_text
from pipeline.core.state import State
from pipeline.core.straight import straight
from pipeline.core.straight_open import earliest
from schemas.flow import Flow
from schemas.verdict import Drop, Evidence, Finding, Status, Verdict

_WORST = {Status.FAILED: 0, Status.LOST: 1, Status.STALLED: 2, Status.UNKNOWN: 3}
_MAX_EVIDENCE = 100


def judge(state: State, flow: Flow, knowledge: Knowledge, *, detail: bool = True) -> Verdict:
    """The verdict on ``state`` under ``flow``, from all that is known of time and hearing. Never raises for data.

    ``detail``: with hops, edges, and the evidence also where nothing is wrong. They do not bear on the rest, and cost a third.
    """
    plan = plan_of(flow)
    if not detail and (verdict := straight(state, plan, knowledge)) is not None:
        return verdict
    path = build(state, plan, knowledge)
    review = Review(state, plan, path, knowledge, detail=detail)
    if flow.exclude and _excluded(state, flow):
        return _verdict(review, state, flow, Status.CLOSED, (), (), detail=detail, excluded=True)
    review.run()
    found = [*review.findings, *review.table.findings, *observed(review, state)]
    findings = tuple(sorted(dict.fromkeys(found), key=_finding_order)) if found else ()
    drops = tuple(sorted(review.table.drops, key=_severity)) if review.table.drops else ()
    return _verdict(review, state, flow, _status(review, drops), drops, findings, detail=detail)


def meets(state: State, flow: Flow, knowledge: Knowledge) -> bool:
    """Whether the flow judges the transaction: one of its steps is met by an event."""
    known, renamed = plan_of(flow).by_event, knowledge.renamed
    for event in state.events.values():
        if (event.step, event.system) in known or (renamed and (event.step, renamed.get(event.system)) in known):
            return True
    return False


def _excluded(state: State, flow: Flow) -> bool:
    return any(
        attribute_text(event.attributes[name]) == attribute_text(value)
        for event in state
        for name, value in flow.exclude.items()
        if name in event.attributes
    )


def _severity(drop: Drop) -> tuple[object, ...]:
    return (_WORST[drop.status], drop.due, drop.to_step, drop.instance, drop.missing)


def _finding_order(finding: Finding) -> tuple[object, ...]:
    return (finding.kind.value, finding.step, finding.instance, finding.system, finding.detail, finding.amount)


def _status(review: Review, drops: tuple[Drop, ...]) -> Status:
    if drops:
        return drops[0].status
    if review.table.pending:
        return Status.IN_PROGRESS
    if review.ends.closed is not None:
        return Status.CLOSED
    ends = review.plan.ends
    if any(name in ends for name, _ in review.points):
        return Status.COMPLETED
    return Status.CLOSED if review.ends.reached else Status.IN_PROGRESS


def _verdict(
    review: Review,
    state: State,
    flow: Flow,
    status: Status,
    drops: tuple[Drop, ...],
    findings: tuple[Finding, ...],
    *,
    detail: bool,
    excluded: bool = False,
) -> Verdict:
    path, table = review.path, review.table
    known = bool(path.visits or path.contested)
    ended = None
    if status is Status.COMPLETED or status is Status.CLOSED:
        ended = path.last if excluded else review.ended_at()
    amount, currency = _money(flow, review.seen)
    wrong = bool(drops or findings)
    return Verdict(
        flow=flow.flow,
        version=flow.version,
        status=status,
        started_at=path.first if known else state.earliest,
        last_at=path.last if known else state.earliest,
        ended_at=ended,
        drops=drops,
        findings=findings,
        evidence=_evidence(path, state, drops, findings) if wrong or detail else (),
        completeness=review.prover.completeness() if wrong else (),
        waits=earliest(table.waits, review.prover, review.knowledge.control_time) if table.waits else (),
        hops=hops_of(path, review.plan) if detail else (),
        edges=tuple(review.edges),
        excluded=excluded,
        value=amount,
        currency=currency,
    )


def _evidence(path: Path, state: State, drops: tuple[Drop, ...], findings: tuple[Finding, ...]) -> tuple[Evidence, ...]:
    """The events that it rests on: those at the steps that drops and findings name; all, where there are none."""
    steps = {name for drop in drops for name in (drop.from_step, drop.to_step) if name}
    steps |= {finding.step for finding in findings if finding.step}
    ids = {i for (name, _), visits in path.visits.items() if not steps or name in steps for i in visits.ids}
    ids |= {event.id for event in path.unexpected}
    ids |= {event.id for contested in path.contested.values() for event in contested}
    known = state.events
    events = sorted((known[i] for i in ids), key=lambda event: (event.time, event.id))
    return tuple([Evidence(event.id, event.source, event.epoch) for event in events[:_MAX_EVIDENCE]])


def _money(flow: Flow, seen: Seen) -> tuple[float | None, str]:
    """What the transaction is worth, by its start, else by the earliest event that says so."""
    event = None if flow.value is None else seen.earliest(flow.value)
    if event is None or flow.value is None:
        return None, ""
    amount = _number(event.attributes[flow.value])
    if amount is None:
        return None, ""
    code = event.attributes.get(flow.currency)
    if code is None:
        holder = seen.earliest(flow.currency)
        code = holder.attributes[flow.currency] if holder is not None else ""
    if not code and len(flow.currency) == 3 and flow.currency.isupper():
        code = flow.currency
    return amount, str(code)[:10]


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        amount = float(value) if isinstance(value, (int, float)) else float(str(value))
    except (ValueError, OverflowError):
        return None
    return amount if abs(amount) < 1e15 else None
