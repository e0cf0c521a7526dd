"""Answer: the documented JSON contract of ``lookup`` and ``list``, one object per transaction and flow.

Times are RFC 3339 in UTC. `schema` gives it as JSON Schema. Fields are added, never renamed or removed.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from pipeline.answers.remarks import clause
from pipeline.answers.words import Names
from schemas import verdict as v
from schemas.flow import Flow
from schemas.landscape import Landscape
from schemas.times import EARLIEST, LATEST, format_time


def _text(time: int) -> str:
    return format_time(min(max(time, EARLIEST), LATEST - 1))


Instant = Annotated[
    int,
    PlainSerializer(_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DropAnswer(_Part):
    """The worst drop: ``kind`` (in_transit, inside, between, failed), last step seen, step missing, its system, since when."""

    kind: v.DropKind
    from_step: str | None
    to_step: str
    system: str
    since: Instant


class DropDetail(DropAnswer):
    """Every drop, worst first, with what it alone amounts to. ``missing`` of ``expected``: instances without a name."""

    status: v.Status
    from_system: str | None = None
    due: Instant | None = None
    instance: str = ""
    missing: int = 0
    expected: int = 0
    error: str | None = None
    silent: tuple[str, ...] = ()


class FindingAnswer(_Part):
    """What is wrong beside the status. ``detail``: a sentence's worth, for people."""

    kind: v.FindingKind
    step: str
    detail: str


class HopAnswer(_Part):
    """One visit to a step; a time is null where the system did not report it."""

    step: str
    instance: str
    system: str
    arrived_at: Instant | None
    left_at: Instant | None
    outcome: v.Outcome
    attempt: int


class EvidenceAnswer(_Part):
    """An event that the verdict rests on, by its source."""

    event_id: str
    source: str
    epoch: int


class WitnessAnswer(_Part):
    """How a system was heard. ``blind``: pairs of times, the second null while it lasts."""

    system: str
    heard_through: Instant | None
    blind: tuple[tuple[Instant, Instant | None], ...]
    share: float
    unvouched: bool
    silent: bool


class SaidAnswer(_Part):
    """What was said at the time asked for: the last flip up to then."""

    status: str
    since: Instant
    drop: str = ""
    findings: tuple[str, ...] = ()


class Answer(_Part):
    """Where a transaction is, under one flow.

    ``explanation``: two to five sentences, then a line of what to tell the customer. ``as_of``: through when what is said
    here is known, or the time asked for. ``said``: only with ``--as-of``: what was said then (null: nothing was).
    """

    flow: str
    key_type: str
    transaction_id: str
    status: v.Status
    drop: DropAnswer | None
    drops: tuple[DropDetail, ...]
    findings: tuple[FindingAnswer, ...]
    path: tuple[HopAnswer, ...]
    explanation: str
    evidence: tuple[EvidenceAnswer, ...]
    completeness: tuple[WitnessAnswer, ...]
    as_of: Instant
    said: Annotated[SaidAnswer | None, Field(description="only with --as-of")] = None

    def data(self, *, with_said: bool = False) -> dict[str, Any]:
        """As JSON data."""
        return self.model_dump(mode="json", exclude=None if with_said else {"said"})


def schema() -> dict[str, Any]:
    """JSON Schema of what ``lookup --format json`` and ``list --format json`` print: an array of answers."""
    from pydantic import TypeAdapter

    return TypeAdapter(list[Answer]).json_schema(mode="serialization")


def answer(
    transaction: tuple[str, str], verdict: v.Verdict, flow: Flow, landscape: Landscape, explanation: str, as_of: int
) -> Answer:
    """The contract's form of a verdict."""
    names = Names(flow, landscape)
    drops = tuple(_drop(drop) for drop in verdict.drops)
    worst = drops[0] if drops else None
    return Answer(
        flow=verdict.flow,
        key_type=transaction[0],
        transaction_id=transaction[1],
        status=verdict.status,
        drop=DropAnswer(**{name: getattr(worst, name) for name in DropAnswer.model_fields}) if worst else None,
        drops=drops,
        findings=tuple(_finding(finding, names) for finding in verdict.findings),
        path=tuple(_hop(hop) for hop in verdict.hops),
        explanation=explanation,
        evidence=tuple(EvidenceAnswer(event_id=e.event_id, source=e.source, epoch=e.epoch) for e in verdict.evidence),
        completeness=tuple(_witness(witness) for witness in verdict.completeness),
        as_of=as_of,
    )


def _drop(drop: v.Drop) -> DropDetail:
    return DropDetail(
        kind=drop.kind, from_step=drop.from_step, to_step=drop.to_step, system=drop.system, since=drop.since,
        status=drop.status, from_system=drop.from_system, due=drop.due or None, instance=drop.instance,
        missing=drop.missing, expected=drop.expected, error=drop.error, silent=drop.silent,
    )  # fmt: skip


def _finding(finding: v.Finding, names: Names) -> FindingAnswer:
    said = clause(finding, names)
    if finding.instance:
        said += f" [{finding.instance}]"
    detail = f"{said} ({finding.detail})" if finding.detail else said
    return FindingAnswer(kind=finding.kind, step=finding.step, detail=detail)


def _hop(hop: v.Hop) -> HopAnswer:
    return HopAnswer(
        step=hop.step, instance=hop.instance, system=hop.system, arrived_at=hop.arrived_at, left_at=hop.left_at,
        outcome=hop.outcome, attempt=hop.attempt,
    )  # fmt: skip


def _witness(witness: v.Witness) -> WitnessAnswer:
    return WitnessAnswer(
        system=witness.system, heard_through=witness.heard_through, blind=witness.blind, share=witness.share,
        unvouched=witness.unvouched, silent=witness.silent,
    )  # fmt: skip
