"""Service moves: the new line starts, the old one ends, the bill moves along; by three systems, in any order."""

from __future__ import annotations

from random import Random

from pipeline.simulate.deeds import Intent, Teller
from pipeline.simulate.people import Customer
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time
from schemas.verdict import DropKind

INTENTS: dict[str, Intent] = {
    "old_line_runs_on": Intent(DropKind.INSIDE, "ordered", "old_line_ended"),
    "old_line_lost_in_transit": Intent(DropKind.IN_TRANSIT, "ordered", "old_line_ended"),
    "closed_without_old_line": Intent(DropKind.IN_TRANSIT, "ordered", "old_line_ended"),
    "new_line_failed": Intent(DropKind.FAILED, "ordered", "new_line_started"),
    "never_closed": Intent(DropKind.BETWEEN, "", "finished"),
}


def tell_move(teller: Teller, random: Random, at: int, customer: Customer) -> None:
    """One move, ordered at ``at`` µs; the lines are to be switched some days later."""
    fault, number = teller.case.fault, int(teller.case.id.removeprefix("M"))
    old, new = f"030-{550_000 + number}", f"030-{770_000 + number}"
    switch = at - at % DAY + random.randrange(4, 10) * DAY + 10 * HOUR
    due = switch + 2 * DAY
    known = {"contract": f"V{310_000 + 3 * number}", "customer": customer.number}
    teller.tell("ordered", at, keys={"line": old, **known}, switch_by=format_time(due), region=customer.region.name)
    if fault == "called_off":
        teller.tell("cancelled", at + random.randrange(HOUR, 3 * DAY), keys=known, reason="customer stays")
        return
    started = _start_new_line(teller, random, switch, new)
    ended = _end_old_line(teller, random, switch, old)
    billed = switch + random.randrange(HOUR, 2 * DAY)
    teller.tell("billing_transferred", billed, keys=known)
    closing = max(started or 0, ended or 0, billed) + random.randrange(MINUTE, 20 * HOUR)
    if fault == "closed_without_old_line" or (started and ended and fault != "never_closed"):
        teller.tell("finished", closing, keys=known, closed_by=random.choice(("desk-1", "desk-2", "desk-4")))


def _start_new_line(teller: Teller, random: Random, switch: int, line: str) -> int | None:
    fault, keys = teller.case.fault, {"line": line}
    at = switch + random.randrange(-DAY, DAY)
    if fault in ("technician_came_again", "new_line_failed"):
        teller.tell("new_line_started", at, "received", keys=keys)
        at += random.randrange(MINUTE, HOUR)
        teller.tell("new_line_started", at, "failed", keys=keys, error="nobody at home")
        if fault == "new_line_failed":
            return None
        at += random.randrange(4 * HOUR, 20 * HOUR)
    return teller.took("new_line_started", at, random.randrange(20 * SECOND, 20 * MINUTE), keys=keys)


def _end_old_line(teller: Teller, random: Random, switch: int, line: str) -> int | None:
    fault, keys = teller.case.fault, {"line": line}
    at = switch + random.randrange(HOUR, 30 * HOUR)
    if fault in ("old_line_lost_in_transit", "closed_without_old_line"):
        return None
    if fault == "old_line_runs_on":
        teller.tell("old_line_ended", at, "received", keys=keys)
        return None
    return teller.took("old_line_ended", at, random.randrange(MINUTE, HOUR), keys=keys)
