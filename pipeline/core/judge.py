"""judge: what has become of a transaction, under a flow, by what is known (DESIGN.md §6).

Laws: total (every state, flow and knowledge has a verdict), pure, and a function of the *set* of events. ``stalled``, ``lost``
and ``skipped`` need proof by every witness; without it the verdict is ``unknown``, a step ``unobserved``.
"""

from __future__ import annotations

from pipeline.core.hearing import Knowledge
from pipeline.core.obligations import Review, attribute_text
from pipeline.core.path import SLACK, Path, build
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from schemas.flow import Flow
from schemas.verdict import (
    Drop,
    Evidence,
    Finding,
    FindingKind,
    Hop,
    Status,
    Verdict,
    Wait,
    Witness,
)

_WORST = {Status.FAILED: 0, Status.LOST: 1, Status.STALLED: 2, Status.UNKNOWN: 3, Status.IN_PROGRESS: 4}
_MAX_EVIDENCE = 100


def judge(state: State, flow: Flow, knowledge: Knowledge) -> Verdict:
    """The verdict on ``state`` under ``flow``, from all that is known of time and hearing. Never raises for data."""
    plan = plan_of(flow)
    path = build(state, plan, knowledge)
    review = Review(state, plan, path, knowledge)
    if flow.exclude and _excluded(state, flow):
        return _verdict(review, Status.CLOSED, (), (), excluded=True)
    review.run()
    findings = [*review.findings, *_observations(review)]
    drops = sorted(review.drops, key=_severity)
    return _verdict(review, _status(review, drops), tuple(drops), tuple(sorted(findings, key=_finding_order)))


def meets(state: State, flow: Flow, knowledge: Knowledge) -> bool:
    """Whether the flow judges the transaction: one of its steps is met by an event."""
    known, renamed = plan_of(flow).by_event, knowledge.renamed
    return any((event.step, renamed.get(event.system, event.system)) in known for event in state)


def _excluded(state: State, flow: Flow) -> bool:
    return any(
        attribute_text(event.attributes[name]) == attribute_text(value)
        for event in state
        for name, value in flow.exclude.items()
        if name in event.attributes
    )


def _severity(drop: Drop) -> tuple[object, ...]:
    return (_WORST[drop.status], drop.due, drop.to_step, drop.instance)


def _finding_order(finding: Finding) -> tuple[object, ...]:
    return (finding.kind.value, finding.step, finding.instance, finding.system, finding.detail, finding.amount)


def _status(review: Review, drops: list[Drop]) -> Status:
    if drops:
        return drops[0].status
    if review.pending:
        return Status.IN_PROGRESS
    if review.closed is not None:
        return Status.CLOSED
    return Status.COMPLETED if review.end_reached() else Status.IN_PROGRESS


def _observations(review: Review) -> list[Finding]:
    """Findings that need no proof: they are what was seen."""
    found: list[Finding] = []
    path = review.path
    for (name, instance), visits in path.visits.items():
        step = review.plan.steps[name]
        extra = len(visits.done) - review.normal_visits(step)
        if extra > 0:
            again = step.spec.again is not None or step.loops
            kind = FindingKind.UNEXPECTED if again else FindingKind.DUPLICATE
            found.append(Finding(kind, name, step.spec.system, instance, extra, f"done {len(visits.done)} times"))
        disorder = max(visits.disordered and SLACK + 1, review.disorder(step, instance))
        if disorder > SLACK:
            found.append(Finding(FindingKind.OUT_OF_ORDER, name, step.spec.system, instance, disorder))
    found.extend(_unexpected(path))
    for (source, _epoch, system), skew in sorted(path.skewed.items()):
        found.append(Finding(FindingKind.CLOCK_SKEW, "", system, "", skew, source))
    found.extend(_doubled(review))
    if path.contested:
        for (name, instance), event in sorted(path.contested.items()):
            found.append(Finding(FindingKind.ALIAS_CONFLICT, name, event.system, instance, 1, event.via))
    if review.state.bounded:
        found.append(
            Finding(
                FindingKind.UNEXPECTED,
                "",
                "",
                "",
                len(review.state),
                "too many events; the first and last of each kind are kept",
            )
        )
    return list(dict.fromkeys(found))


def _unexpected(path: Path) -> list[Finding]:
    counts: dict[tuple[str, str], int] = {}
    for event in path.unexpected:
        counts[event.step, event.system] = counts.get((event.step, event.system), 0) + 1
    return [
        Finding(FindingKind.UNEXPECTED, step, system, "", count) for (step, system), count in sorted(counts.items())
    ]


def _doubled(review: Review) -> list[Finding]:
    found: list[Finding] = []
    for kind, window in review.plan.once:
        held: dict[str, int] = {}
        for event in review.state:
            value = event.keys.get(kind)
            if value is not None:
                held[value] = min(event.time, held.get(value, event.time))
        for value, at in sorted(held.items()):
            others = [
                claim
                for claim in review.knowledge.claims.get((kind, value), ())
                if claim.transaction_id != review.state.id and abs(claim.at - at) <= window
            ]
            if others:
                twin = min(others, key=lambda claim: (abs(claim.at - at), claim.transaction_id))
                found.append(Finding(FindingKind.DOUBLED, "", "", "", len(others), twin.transaction_id))
    return found


def _verdict(
    review: Review, status: Status, drops: tuple[Drop, ...], findings: tuple[Finding, ...], *, excluded: bool = False
) -> Verdict:
    times = review.path.times
    flow = review.plan.flow
    started = min(times.values(), default=review.state.earliest)
    amount, currency = _money(review)
    ended = review.ended_at() if status in (Status.COMPLETED, Status.CLOSED) else None
    telling = bool(drops or findings)
    return Verdict(
        flow=flow.flow,
        version=flow.version,
        status=status,
        started_at=started,
        last_at=max(times.values(), default=started),
        ended_at=ended,
        drops=drops,
        findings=findings,
        evidence=_evidence(review, drops, findings) if telling else (),
        completeness=_completeness(review) if telling else (),
        waits=_waits(review.waits),
        hops=hops_of(review.path),
        edges=tuple(review.edges),
        excluded=excluded,
        value=amount,
        currency=currency,
    )


def hops_of(path: Path) -> tuple[Hop, ...]:
    """All hops in order of time; the order of cause breaks ties."""
    hops = [hop for visits in path.visits.values() for hop in visits.hops]
    if len(hops) > 1:
        hops.sort(key=lambda hop: (_hop_time(hop), hop.left_at or 0, hop.step, hop.instance, hop.attempt))
    return tuple(hops)


def _hop_time(hop: Hop) -> int:
    return hop.arrived_at if hop.arrived_at is not None else (hop.left_at or 0)


def _waits(waits: set[Wait]) -> tuple[Wait, ...]:
    """The earliest per system is enough: judging again then returns the next."""
    first: dict[str, Wait] = {}
    for wait in waits:
        known = first.get(wait.system)
        if known is None or wait.time < known.time:
            first[wait.system] = wait
    return tuple(sorted(first.values()))


def _evidence(review: Review, drops: tuple[Drop, ...], findings: tuple[Finding, ...]) -> tuple[Evidence, ...]:
    steps = {name for drop in drops for name in (drop.from_step, drop.to_step) if name}
    steps |= {finding.step for finding in findings if finding.step}
    ids = {i for (name, _), visits in review.path.visits.items() if name in steps for i in visits.events}
    ids |= {event.id for event in review.path.unexpected} | {event.id for event in review.path.contested.values()}
    events = sorted(
        (review.state.events[i] for i in ids if i in review.state.events), key=lambda event: (event.time, event.id)
    )
    return tuple(Evidence(event.id, event.source, event.epoch) for event in events[:_MAX_EVIDENCE])


def _completeness(review: Review) -> tuple[Witness, ...]:
    return tuple(review.knowledge.witness(system, *asked) for system, asked in sorted(review.prover.asked.items()))


def _money(review: Review) -> tuple[float | None, str]:
    flow = review.plan.flow
    if flow.value is None:
        return None, ""
    event = review.start_event(flow.value) or review.latest_event(flow.value)
    if event is None:
        return None, ""
    try:
        amount = float(event.attributes[flow.value])
    except (TypeError, ValueError, OverflowError):
        return None, ""
    holder = event if flow.currency in event.attributes else review.latest_event(flow.currency)
    code = str(holder.attributes[flow.currency]) if holder else ""
    if not code and len(flow.currency) == 3 and flow.currency.isupper():
        code = flow.currency
    return (amount if abs(amount) < 1e15 else None), code[:10]
