"""Statements: produced, printed and posted in one night, by systems that run at night only."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from pipeline.simulate.deeds import Intent, Teller
from pipeline.simulate.people import Customer
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time
from schemas.verdict import DropKind, FindingKind

INTENTS: dict[str, Intent] = {
    "composition_failed": Intent(DropKind.FAILED, "scheduled", "produced"),
    "not_composed": Intent(DropKind.IN_TRANSIT, "scheduled", "produced"),
    "not_printed": Intent(DropKind.BETWEEN, "produced", "printed"),
    "not_posted": Intent(DropKind.BETWEEN, "printed", "posted"),
    "posted_late": Intent(findings=((FindingKind.LATE, "posted"),)),
}
# When the night's systems work, µs after the midnight (UTC) before: from the evening's cut-off to the morning's post.
CUT_OFF = 20 * HOUR
SHIFTS: dict[str, tuple[int, int]] = {
    "composer": (22 * HOUR, 26 * HOUR + 30 * MINUTE),
    "printer": (25 * HOUR, 29 * HOUR),
    "post": (28 * HOUR, 33 * HOUR),
}
DEADLINE = 30 * HOUR


class Run(NamedTuple):
    """One night's statements. ``midnight``: µs, before the cut-off."""

    midnight: int
    number: int

    @property
    def name(self) -> str:
        return f"run-{format_time(self.midnight)[:10]}"


def runs(begin: int, end: int) -> list[Run]:
    """Every third night whose cut-off lies between ``begin`` and ``end`` (µs); the first whole one to the last begun."""
    first = begin - begin % DAY + DAY
    return [Run(midnight, i) for i, midnight in enumerate(range(first, end - CUT_OFF - HOUR, 3 * DAY))]


def tell_statement(teller: Teller, random: Random, run: Run, customer: Customer) -> None:
    """One statement of a run; printed in sheets of the same print file."""
    fault = teller.case.fault
    deadline = run.midnight + DEADLINE
    keys = {"batch": run.name}
    proof: dict[str, Any] = {"proof": "true"} if fault == "proof" else {}
    teller.tell(
        "scheduled",
        run.midnight + CUT_OFF + random.randrange(5 * MINUTE),
        keys={"account": customer.account, "customer": customer.number, **keys},
        deadline=format_time(deadline),
        region=customer.region.name,
        **proof,
    )
    if fault == "suppressed":
        teller.tell("suppressed", run.midnight + CUT_OFF + random.randrange(6, 40) * MINUTE, reason="nothing to bill")
        return
    if fault == "not_composed":
        return
    at = run.midnight + 22 * HOUR + random.randrange(2 * MINUTE, 150 * MINUTE)
    if fault in ("composition_failed", "composed_on_retry"):
        teller.tell("produced", at, "received", keys=keys)
        at += random.randrange(SECOND, 20 * SECOND)
        teller.tell("produced", at, "failed", keys=keys, error="template 14: field 'due' is empty")
        if fault == "composition_failed":
            return
        at += random.randrange(10 * MINUTE, 50 * MINUTE)
    at = teller.took("produced", at, random.randrange(SECOND, 15 * SECOND), keys=keys, pages=random.randrange(1, 7))
    if fault == "not_printed":
        return
    sheet = f"{run.name}-p{random.randrange(1, 9)}"
    printed = max(at + 5 * MINUTE, run.midnight + 25 * HOUR) + random.randrange(MINUTE, 80 * MINUTE)
    teller.tell("printed", printed, keys={"batch": sheet})
    if fault == "not_posted":
        return
    posted = run.midnight + 28 * HOUR + random.randrange(30 * MINUTE, 110 * MINUTE)
    if fault == "posted_late":
        posted = deadline + random.randrange(20 * MINUTE, 150 * MINUTE)
    teller.tell("posted", posted, keys={"batch": sheet})
