"""Logins: a flow of seconds, over four systems."""

from __future__ import annotations

from random import Random
from typing import Any

from pipeline.simulate.deeds import Intent, Teller
from pipeline.simulate.people import Customer
from schemas.times import MILLISECOND, SECOND
from schemas.verdict import DropKind, FindingKind

INTENTS: dict[str, Intent] = {
    "login_failed": Intent(DropKind.FAILED, "requested", "password"),
    "check_lost_in_transit": Intent(DropKind.IN_TRANSIT, "password", "security_check"),
    "check_stuck": Intent(DropKind.INSIDE, "password", "security_check"),
    "session_never_opened": Intent(DropKind.BETWEEN, "security_check", "session"),
    "login_late": Intent(findings=((FindingKind.LATE, "security_check"),)),
}
_BROWSERS = ("Firefox 145", "Chrome 142", "Safari 19", "app 7.42", "app 7.43")


def tell_login(teller: Teller, random: Random, at: int, customer: Customer) -> None:
    """One attempt, requested at ``at`` µs."""
    fault = teller.case.fault
    known: dict[str, Any] = {"keys": {"customer": customer.number}}

    def moment(low: int = 20 * MILLISECOND, high: int = 900 * MILLISECOND) -> int:
        return random.randrange(low, high)

    probe: dict[str, Any] = {"probe": "true"} if fault == "probe" else {}
    teller.tell("requested", at, region=customer.region.name, browser=random.choice(_BROWSERS), **known, **probe)
    at += moment()
    if fault == "login_failed":
        teller.tell("password", at, "received", **known)
        teller.tell("password", at + moment(), "failed", error="directory replica not reachable", **known)
        return
    if fault == "denied":
        teller.tell("denied", at + moment(), reason="wrong password", **known)
        return
    at = teller.took("password", at, moment(), **known)
    if fault == "check_lost_in_transit":
        return
    at += moment()
    if fault == "check_stuck":
        teller.tell("security_check", at, "received")
        return
    if fault == "blocked":
        teller.tell("blocked", at + moment(), reason="unusual place")
        return
    at = teller.took("security_check", at, random.randrange(30, 120) * SECOND if fault == "login_late" else moment())
    if fault != "session_never_opened":
        teller.tell("session", at + moment(), **known)
