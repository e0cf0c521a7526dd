"""From a verdict to what the store keeps of it: a slim row, and a flip where something else is said than before."""

from __future__ import annotations

from dataclasses import replace

from pipeline.store.contract import FlipRow, Transaction, VerdictRow
from schemas.verdict import VERDICT, FindingKind, Status, Verdict

_FINAL = (Status.COMPLETED, Status.CLOSED)
# Findings that rest on what was heard: another hearing may take them back without a new event.
_BY_HEARING = frozenset((FindingKind.SKIPPED, FindingKind.UNOBSERVED, FindingKind.NO_START, FindingKind.UNRESOLVED))


def troubled(verdict: Verdict) -> bool:
    """Whether the verdict leans on silence, so that a blind interval that opens or is lifted may change it."""
    return bool(verdict.drops) or any(finding.kind in _BY_HEARING for finding in verdict.findings)


def verdict_body(verdict: Verdict) -> str:
    """JSON of what a row's columns do not say; "" where there is nothing but progress."""
    if not verdict.drops and not verdict.findings:
        return ""
    return VERDICT.dump_json(replace(verdict, hops=(), edges=()), exclude_defaults=True).decode()


def row_of(
    transaction: Transaction, verdict: Verdict, partition: int, judged_at: int, before: VerdictRow | None
) -> tuple[VerdictRow, bool, bool]:
    """The row (version and flip as before), whether it differs from ``before``, and whether something else is *said*."""
    drop = verdict.drop
    row = VerdictRow(
        key_type=transaction[0],
        transaction_id=transaction[1],
        flow=verdict.flow,
        flow_version=verdict.version,
        partition=partition,
        version=before.version if before else 0,
        status=verdict.status.value,
        open=verdict.status not in _FINAL or bool(verdict.waits) or troubled(verdict),
        started_at=verdict.started_at,
        last_at=verdict.last_at,
        ended_at=verdict.ended_at or 0,
        judged_at=before.judged_at if before else judged_at,
        flip=before.flip if before else 0,
        drop_kind=drop.kind.value if drop else "",
        drop_from=(drop.from_step or "") if drop else "",
        drop_to=drop.to_step if drop else "",
        drop_from_system=(drop.from_system or "") if drop else "",
        drop_system=drop.system if drop else "",
        drop_since=drop.since if drop else 0,
        drop_due=drop.due if drop else 0,
        findings=tuple(sorted({finding.kind.value for finding in verdict.findings})) if verdict.findings else (),
        value=verdict.value,
        currency=verdict.currency,
        excluded=verdict.excluded,
        waits=verdict.waits,
        body=verdict_body(verdict),
    )
    if before is None:
        return row, True, _worth_saying(row)
    if row == before:
        return row, False, False
    return row._replace(judged_at=judged_at), True, _said(row) != _said(before)


def _worth_saying(row: VerdictRow) -> bool:
    """That a transaction has begun well is said by its first event; a flip for it would be one more row for each."""
    return row.status != Status.IN_PROGRESS or bool(row.findings)


def _said(row: VerdictRow) -> tuple[object, ...]:
    return (row.status, row.drop_kind, row.drop_from, row.drop_to, row.drop_system, row.findings, row.excluded)


def flip_of(row: VerdictRow, before: VerdictRow | None, at: int) -> FlipRow:
    """The change that ``row`` (already numbered) makes."""
    return FlipRow(
        key_type=row.key_type,
        transaction_id=row.transaction_id,
        flow=row.flow,
        number=row.flip,
        version=row.version,
        at=at,
        before=before.status if before else "",
        status=row.status,
        drop_kind=row.drop_kind,
        drop_from=row.drop_from,
        drop_to=row.drop_to,
        drop_system=row.drop_system,
        findings=row.findings,
        body=row.body,
    )
