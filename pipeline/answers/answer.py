"""Answer: the documented JSON contract of ``lookup`` and ``list``, one object per transaction and flow.

Times are RFC 3339 in UTC. `schema` gives it as JSON Schema. Fields are added, never renamed or removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from pipeline.answers.changes import Change, Telling
from pipeline.answers.remarks import clause
from pipeline.answers.words import Names
from pipeline.core.correlate import CLEAR, alias_of, ways
from pipeline.store.contract import DisputeRow, FlipRow
from schemas import verdict as v
from schemas.flow import Flow
from schemas.joined import address
from schemas.landscape import Landscape
from schemas.times import EARLIEST, LATEST, format_time
from schemas.wire import Observed


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
    """One visit to a step; a time is null where the system did not report it. ``known_by``: of its events, as in the evidence."""

    step: str
    instance: str
    system: str
    arrived_at: Instant | None
    left_at: Instant | None
    outcome: v.Outcome
    attempt: int
    known_by: tuple[str, ...] = ()


class EvidenceAnswer(_Part):
    """An event that the verdict rests on, by its source. ``known_by``: the numbers (``type:value``) by which it came to the
    transaction, empty where it names it."""

    event_id: str
    source: str
    epoch: int
    known_by: tuple[str, ...] = ()


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


class ArrivalAnswer(_Part):
    """An event that came. ``known_by`` as in the evidence."""

    event_id: str
    step: str
    system: str
    phase: str
    known_by: tuple[str, ...] = ()


class ChangeAnswer(_Part):
    """What was said from ``at`` on, ``before`` ("" for nothing) until then; ``says``: the same in words. ``arrived``: events that
    had come since what was said before."""

    at: Instant
    before: str
    status: str
    drop: str
    findings: tuple[str, ...]
    arrived: tuple[ArrivalAnswer, ...]
    says: str


class ClaimAnswer(_Part):
    """What is known of a number of its (``type:value``). ``state``: clear; contested, by ``others`` (``type:value``); foreign (it
    is another's); void (several claim it, it joins nothing). ``holders``: others that have it too and may be the same business,
    by when they did."""

    alias: str
    state: str
    others: tuple[str, ...]
    holders: dict[str, Instant]


class Answer(_Part):
    """Where a transaction is, under one flow.

    ``explanation``: two to five sentences, then a line of what to tell the customer. ``as_of``: through when what is said
    here is known, or the time asked for. ``said``: only with ``--as-of``: what was said then (null: nothing was). ``history``,
    ``claims``: only of ``lookup``: what was said when, and why; whose its numbers are, where that is not plain. ``unread``: only
    of ``lookup``, where something is missing: ids in quarantine of records that name it and could not be read.
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
    history: Annotated[tuple[ChangeAnswer, ...], Field(description="only of lookup")] = ()
    claims: Annotated[tuple[ClaimAnswer, ...], Field(description="only of lookup")] = ()
    unread: Annotated[tuple[str, ...], Field(description="only of lookup")] = ()
    said: Annotated[SaidAnswer | None, Field(description="only with --as-of")] = None

    def data(self, *, with_said: bool = False, looked_up: bool = False) -> dict[str, Any]:
        """As JSON data."""
        without = (set() if with_said else {"said"}) | (set() if looked_up else {"history", "claims", "unread"})
        return self.model_dump(mode="json", exclude=without)


def schema() -> dict[str, Any]:
    """JSON Schema of what ``lookup --format json`` and ``list --format json`` print: an array of answers."""
    from pydantic import TypeAdapter

    return TypeAdapter(list[Answer]).json_schema(mode="serialization")


def answer(
    transaction: tuple[str, str],
    verdict: v.Verdict,
    flow: Flow,
    landscape: Landscape,
    explanation: str,
    as_of: int,
    by: Mapping[str, tuple[str, ...]] | None = None,
) -> Answer:
    """The contract's form of a verdict. ``by``: `known_by` of its events."""
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
        path=tuple(_hop(hop, by or {}) for hop in verdict.hops),
        explanation=explanation,
        evidence=tuple(_evidence(item, by or {}) for item in verdict.evidence),
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
    value = finding.detail.partition(":")[2] or finding.detail
    detail = f"{said} ({finding.detail})" if value and value not in said else said
    return FindingAnswer(kind=finding.kind, step=finding.step, detail=detail)


def _evidence(item: v.Evidence, by: Mapping[str, tuple[str, ...]]) -> EvidenceAnswer:
    return EvidenceAnswer(
        event_id=item.event_id, source=item.source, epoch=item.epoch, known_by=by.get(item.event_id, ())
    )


def known_by(events: Iterable[Observed]) -> dict[str, tuple[str, ...]]:
    """By event id, for those that do not name their transaction, the numbers by which they came to it."""
    found: dict[str, tuple[str, ...]] = {}
    for event in events:
        by = (*found.get(event.id, ()), *map(alias_of, ways(event.via)))
        if by:
            found[event.id] = tuple(dict.fromkeys(by))
    named = {event.id for event in events if not event.via}
    return {name: by for name, by in found.items() if name not in named}


def history(found: Iterable[Change], telling: Telling) -> tuple[ChangeAnswer, ...]:
    """What was said when, and why."""
    return tuple(
        ChangeAnswer(
            at=one.flip.at, before=one.flip.before, status=one.flip.status, drop=place(one.flip), findings=one.flip.findings,
            arrived=tuple(_arrival(event) for event in one.arrived), says=telling.change(one),
        )
        for one in found
    )  # fmt: skip


def _arrival(event: Observed) -> ArrivalAnswer:
    by = tuple(map(alias_of, ways(event.via)))
    return ArrivalAnswer(event_id=event.id, step=event.step, system=event.system, phase=event.phase, known_by=by)


def claims(disputes: Iterable[DisputeRow]) -> tuple[ClaimAnswer, ...]:
    """Of the numbers of which there is anything to say."""
    return tuple(
        ClaimAnswer(
            alias=address(row.alias_type, row.alias), state=row.state, others=row.others,
            holders={address(row.key_type, other): at for other, at in row.holders},
        )
        for row in disputes
        if row.state != CLEAR or row.holders
    )  # fmt: skip


def place(flip: FlipRow) -> str:
    """ "in_transit placed..paid", "" where there is no drop."""
    return f"{flip.drop_kind} {flip.drop_from or '?'}..{flip.drop_to}" if flip.drop_kind else ""


def _hop(hop: v.Hop, by: Mapping[str, tuple[str, ...]]) -> HopAnswer:
    numbers = dict.fromkeys(number for event in hop.events for number in by.get(event, ()))
    return HopAnswer(
        step=hop.step, instance=hop.instance, system=hop.system, arrived_at=hop.arrived_at, left_at=hop.left_at,
        outcome=hop.outcome, attempt=hop.attempt, known_by=tuple(numbers),
    )  # fmt: skip


def _witness(witness: v.Witness) -> WitnessAnswer:
    return WitnessAnswer(
        system=witness.system, heard_through=witness.heard_through, blind=witness.blind, share=witness.share,
        unvouched=witness.unvouched, silent=witness.silent,
    )  # fmt: skip
