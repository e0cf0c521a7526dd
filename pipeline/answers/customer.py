"""What to tell the customer: one or two sentences that may be read out as they are."""

from __future__ import annotations

from pipeline.answers.case import Case, end_step, said_of_end
from schemas.verdict import FindingKind, Status


def advice(case: Case) -> str:
    verdict, noun = case.verdict, case.names.noun
    spec = case.spec(verdict.drop.to_step) if verdict.drop else None
    if verdict.status == Status.CLOSED:
        spec = case.spec(end_step(case))
    if verdict.status in (Status.LOST, Status.STALLED, Status.FAILED, Status.CLOSED):
        said = (spec.says.advice if spec else "") or ("" if verdict.status == Status.CLOSED else case.flow.says.advice)
        if said.strip():
            return said
    ended = case.clock.day(verdict.ended_at or verdict.last_at)
    match verdict.status:
        case Status.COMPLETED:
            late = [f for f in verdict.findings if f.kind == FindingKind.LATE]
            return f"your {noun} {said_of_end(case) or 'was completed'} {ended}" + (
                ", later than planned; we are sorry" if late else ""
            )
        case Status.CLOSED:
            return f"your {noun} was closed {ended}, and nothing more will happen"
        case Status.IN_PROGRESS:
            slow = any(finding.kind == FindingKind.AT_RISK for finding in verdict.findings)
            return f"your {noun} is being worked on" + (", but it may take longer than usual" if slow else "")
        case Status.FAILED:
            return f"something went wrong with your {noun}; we are looking into it and will come back to you"
        case Status.STALLED:
            return f"your {noun} is delayed; we are looking into it and will come back to you"
        case Status.LOST:
            return f"your {noun} got stuck on its way through our systems; we are looking into it and will come back to you"
    return (
        f"we cannot see the latest news of your {noun} just now, because a report is missing; "
        "this does not mean that anything is wrong with it. Please ask again later"
    )
