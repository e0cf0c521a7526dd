"""Case: what the words of an explanation are made of, and what they all ask of it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.answers.words import Clock, Names, plural
from schemas.flow import Flow, Step
from schemas.verdict import Drop, Hop, Outcome, Status, Verdict, Witness


@dataclass(frozen=True, slots=True)
class Case:
    """All that the words are made of. ``unread``: reports that name it and could not be read."""

    verdict: Verdict
    flow: Flow
    names: Names
    clock: Clock
    transaction_id: str
    known_through: int
    unread: int = 0

    @property
    def subject(self) -> str:
        return self.names.subject(self.transaction_id)

    def spec(self, step: str) -> Step | None:
        return self.flow.steps.get(step)

    def witness(self, system: str) -> Witness | None:
        return next((witness for witness in self.verdict.completeness if witness.system == system), None)


def part_of(case: Case, drop: Drop) -> str:
    """ "parcel 4711", "1 of 3 parcels", or "" where the whole transaction is meant."""
    if drop.instance:
        return case.names.instance(drop.to_step, drop.instance)
    if drop.missing and drop.expected > 1:
        spec = case.spec(drop.to_step)
        noun = (spec.per if spec and spec.per else "part").replace("_", " ").replace("-", " ")
        return f"{drop.missing} of {drop.expected} {plural(noun)}"
    return ""


def end_step(case: Case) -> str:
    """The end that was reached; "" where that is only the last of the flow's steps."""
    kind = "closed" if case.verdict.status == Status.CLOSED else "completed"
    ends = {name: spec for name, spec in case.flow.steps.items() if spec.end == kind}
    done = [hop for hop in case.verdict.hops if hop.outcome == Outcome.DONE and hop.step in ends]
    if done:
        # The first of several cancellations closed it; the last of several parcels completed it.
        return (min if kind == "closed" else max)(done, key=time_of).step
    seen = {hop.step: time_of(hop) for hop in case.verdict.hops if hop.outcome == Outcome.DONE}
    lapsed = [name for name, spec in ends.items() if spec.lapses and set(spec.after.steps) & set(seen)]
    return max(lapsed, key=lambda name: max(seen.get(step, 0) for step in ends[name].after.steps), default="")


def said_of_end(case: Case) -> str:
    """The flow's words for the end that was reached ("was delivered"), "" where it has none."""
    spec = case.spec(end_step(case))
    return spec.says.done.strip().rstrip(".") if spec else ""


def done_words(case: Case) -> str:
    """ "was delivered", else "ended with “delivered”"."""
    step = end_step(case)
    if step:
        return said_of_end(case) or f"ended with {case.names.step(step)}"
    if case.verdict.status == Status.CLOSED:
        return "ended early, as it may"
    return case.flow.says.done.strip().rstrip(".") or "was finished"


def time_of(hop: Hop) -> int:
    return hop.left_at if hop.left_at is not None else (hop.arrived_at or 0)
