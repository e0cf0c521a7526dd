"""Verdicts written by hand, one for every status, drop and finding, under a flow whose ids nobody should ever read."""

from __future__ import annotations

from schemas.flow import Flow
from schemas.landscape import KeyType, Landscape, System
from schemas.times import DAY, HOUR, MINUTE, parse_time
from schemas.verdict import (
    Drop,
    DropKind,
    Evidence,
    Finding,
    FindingKind,
    Hop,
    Outcome,
    Status,
    Verdict,
    Wait,
    Witness,
)

NOW = parse_time("2026-03-05T12:00:00+01:00")
THEN = NOW - 2 * DAY
SYSTEMS = ("sys-shop-7", "sys-pay-7", "sys-wh-7", "sys-carrier-7")
SHOP, PAY, WAREHOUSE, CARRIER = SYSTEMS

LANDSCAPE = Landscape(
    zone="Europe/Berlin",
    keys={
        "order": KeyType(transaction=True, customer_knows=True, says="order number"),
        "parcel": KeyType(customer_knows=True),
        "crate": KeyType(),
    },
    systems={
        SHOP: System(says="the web shop", owner="Web team"),
        PAY: System(says="payment service"),
        WAREHOUSE: System(says="the warehouse", owner="Logistics"),
        # The carrier has no words: it is told by what it does.
    },
)
BARE = Flow.model_validate(
    {
        "flow": "order",
        "version": 1,
        "key": "order",
        "steps": {
            "placed": {"system": SHOP, "start": True},
            "paid": {"system": PAY, "after": "placed", "within": "15m", "reports": ["received", "completed", "failed"]},
            "picked": {"system": WAREHOUSE, "after": "paid", "within": "2d"},
            "packed": {"system": WAREHOUSE, "after": "picked", "per": "parcel", "count": 3, "within": "1d"},
            "crated": {"system": WAREHOUSE, "after": "picked", "per": "crate", "optional": True},
            "shipped": {"system": CARRIER, "after": "packed", "within": "1d", "end": "completed"},
            "cancelled": {"system": SHOP, "after": "placed", "end": "closed"},
            "left": {"system": SHOP, "after": "placed", "end": "closed", "lapses": "30m"},
        },
    }
)
SPOKEN = BARE.model_copy(
    update={
        "steps": {
            name: step.model_copy(
                update={
                    "says": {
                        "paid": {"name": "payment", "done": "was paid", "missing": "the payment did not arrive"},
                        "shipped": {"name": "hand-over", "done": "was handed over", "missing": "nothing was shipped"},
                        "cancelled": {"name": "cancellation", "done": "was cancelled", "advice": "It is cancelled."},
                    }.get(name, {})
                }
            )
            for name, step in BARE.steps.items()
        }
    }
)
SPOKEN = Flow.model_validate(SPOKEN.model_dump(mode="python", warnings=False))

HEARD = tuple(Witness(system, NOW - MINUTE) for system in (PAY, WAREHOUSE))
PLACED = Hop("placed", SHOP, "", 1, None, THEN, Outcome.DONE, None, ("ev-1",))
PAID = Hop("paid", PAY, "", 1, THEN, THEN + HOUR, Outcome.DONE, None, ("ev-2",))
EVIDENCE = (Evidence("ev-1", "src-shop-a", 17), Evidence("ev-2", "src-pay-b", 18))


def drop(kind: DropKind = DropKind.IN_TRANSIT, status: Status = Status.LOST, **more: object) -> Drop:
    values: dict[str, object] = {
        "status": status, "kind": kind, "from_step": "paid", "from_system": PAY, "to_step": "picked", "system": WAREHOUSE,
        "since": THEN + HOUR, "due": THEN + DAY,
    }  # fmt: skip
    return Drop(**{**values, **more})  # type: ignore[arg-type]


def verdict(status: Status, *drops: Drop, **more: object) -> Verdict:
    values: dict[str, object] = {
        "flow": "order", "version": 1, "status": status, "started_at": THEN, "last_at": THEN + HOUR, "drops": drops,
        "hops": (PLACED, PAID), "evidence": EVIDENCE, "completeness": HEARD,
    }  # fmt: skip
    return Verdict(**{**values, **more})  # type: ignore[arg-type]


def _dropped(status: Status) -> dict[str, Verdict]:
    kinds = [kind for kind in DropKind if (kind == DropKind.FAILED) == (status == Status.FAILED)]
    return {f"{status} {kind}": verdict(status, drop(kind, status)) for kind in kinds}


_SILENT = (Witness(WAREHOUSE, THEN, ((THEN, None),), 1.0, silent=True),)
_BLIND = (Witness(WAREHOUSE, NOW - MINUTE, ((THEN + 2 * HOUR, THEN + 5 * HOUR),), 0.2),)
_UNVOUCHED = (Witness(CARRIER, NOW - MINUTE, unvouched=True),)
_SHIPPED = Hop("shipped", CARRIER, "", 1, None, NOW - HOUR, Outcome.DONE, None, ("ev-9",))

VERDICTS: dict[str, Verdict] = {
    **_dropped(Status.LOST),
    **_dropped(Status.STALLED),
    **_dropped(Status.FAILED),
    "failed, in plain words": verdict(
        Status.FAILED, drop(DropKind.FAILED, Status.FAILED, to_step="paid", system=PAY, error="card declined")
    ),
    "failed, in code": verdict(
        Status.FAILED, drop(DropKind.FAILED, Status.FAILED, error="ECONNREFUSED 10.0.0.7:5432 tx=af31")
    ),
    "lost, unvouched": verdict(Status.LOST, drop(to_step="shipped", system=CARRIER), completeness=_UNVOUCHED),
    "stalled, a start that never ended": verdict(
        Status.STALLED,
        drop(DropKind.INSIDE, Status.STALLED, from_step=None, from_system=None, to_step="placed", system=SHOP),
    ),
    "stalled within one system": verdict(
        Status.STALLED, drop(DropKind.BETWEEN, Status.STALLED, from_step="picked", from_system=WAREHOUSE, to_step="packed")
    ),
    "stalled, one parcel": verdict(Status.STALLED, drop(status=Status.STALLED, to_step="packed", instance="P-1")),
    "stalled, one crate": verdict(Status.STALLED, drop(status=Status.STALLED, to_step="crated", instance="cr-99")),
    "stalled, one of three": verdict(
        Status.STALLED,
        drop(status=Status.STALLED, to_step="packed", missing=1, expected=3),
        drop(status=Status.STALLED, to_step="shipped", system=CARRIER),
    ),
    "unknown, silent": verdict(
        Status.UNKNOWN, drop(status=Status.UNKNOWN, silent=(WAREHOUSE,)), completeness=_SILENT
    ),
    "unknown, was blind": verdict(
        Status.UNKNOWN, drop(DropKind.BETWEEN, Status.UNKNOWN, silent=(WAREHOUSE,)), completeness=_BLIND
    ),
    "unknown inside": verdict(
        Status.UNKNOWN, drop(DropKind.INSIDE, Status.UNKNOWN, silent=(WAREHOUSE,)), completeness=_SILENT
    ),
    "unknown, failed before": verdict(
        Status.UNKNOWN, drop(DropKind.FAILED, Status.UNKNOWN, silent=(WAREHOUSE,)), completeness=_SILENT
    ),
    "unknown, never heard": verdict(
        Status.UNKNOWN,
        drop(status=Status.UNKNOWN, to_step="shipped", system=CARRIER, silent=(CARRIER,)),
        completeness=(Witness(CARRIER, None, unvouched=True, silent=True),),
    ),
    "unknown, contested": verdict(Status.UNKNOWN, drop(status=Status.UNKNOWN)),
    "in progress": verdict(Status.IN_PROGRESS, waits=(Wait(WAREHOUSE, NOW + DAY),), completeness=()),
    "in progress, behind": verdict(Status.IN_PROGRESS, waits=(Wait(WAREHOUSE, NOW - HOUR),)),
    "in progress, nothing but a word": verdict(Status.IN_PROGRESS, hops=(), completeness=()),
    "completed": verdict(Status.COMPLETED, hops=(PLACED, PAID, _SHIPPED), ended_at=NOW - HOUR, completeness=()),
    "closed": verdict(
        Status.CLOSED,
        hops=(PLACED, Hop("cancelled", SHOP, "", 1, None, THEN + HOUR, Outcome.DONE)),
        ended_at=THEN + HOUR,
        completeness=(),
    ),
    "closed by time": verdict(Status.CLOSED, hops=(PLACED,), ended_at=THEN + HOUR, completeness=()),
    "excluded": verdict(Status.CLOSED, excluded=True, completeness=()),
    **{
        f"finding {kind}": verdict(
            Status.COMPLETED,
            hops=(PLACED, PAID, _SHIPPED),
            ended_at=NOW - HOUR,
            findings=(Finding(kind, "picked", WAREHOUSE, "", 2 * HOUR if kind != "duplicate" else 1, "tx-detail-5"),),
        )
        for kind in FindingKind
    },
    "finding unexpected elsewhere": verdict(
        Status.COMPLETED, ended_at=NOW, findings=(Finding(FindingKind.UNEXPECTED, "step_x9", CARRIER, "", 1),)
    ),
    "too many findings": verdict(
        Status.LOST,
        drop(),
        drop(to_step="shipped", system=CARRIER),
        findings=tuple(Finding(kind, "picked", WAREHOUSE, "", 5) for kind in FindingKind),
    ),
}  # fmt: skip
