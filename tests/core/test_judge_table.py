"""DESIGN.md §6's table, row by row, on the page's own flow. Every status, kind of drop and finding is reached by a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.core.hearing import Baseline
from pipeline.core.judge import judge
from pipeline.core.state import Dispute, State
from schemas.landscape import Landscape
from schemas.times import MINUTE, format_time
from schemas.verdict import DropKind, FindingKind, Status, Verdict
from schemas.wire import Observed
from tests.core.build import ORDER, T0, at, drops, event, events, findings, flow, heard, state

FLOW = flow(ORDER)
PLACED = "placed@0"
PAID = f"{PLACED} paid.received@1m paid@2m"
CONFIRMED = f"{PAID} confirmed@3m"
PICKED = f"{CONFIRMED} picked@5h"
PACKED = f"{PICKED} packed[P1]@6h"
SHIPPED = f"{PACKED} shipped[P1]@8h"
WHOLE = f"{SHIPPED} delivered[P1]@30h"
PROMISE = format_time(at("4d"))


@dataclass(frozen=True)
class Row:
    """``row``: of the table. ``texts``: the events. ``now``: heard through; the rest is what ``heard`` takes."""

    name: str
    row: str
    texts: str
    now: str
    status: Status
    drops: tuple[str, ...] = ()
    findings: frozenset[str] = frozenset()
    parcels: Any = 1
    given: dict[str, Any] = field(default_factory=dict)
    extra: tuple[Observed, ...] = ()
    disputes: Mapping[str, Dispute] = field(default_factory=dict)


def row(name: str, of: str, texts: str, now: str, status: str, *said: str, **rest: Any) -> Row:
    """``said``: drops as ``build.drops`` writes them; findings with a leading ``!``."""
    parcels, extra = rest.pop("parcels", 1), rest.pop("extra", ())
    disputes = rest.pop("disputes", {})
    found = frozenset(text[1:] for text in said if text.startswith("!"))
    missing = tuple(text for text in said if not text.startswith("!"))
    return Row(name, of, texts, now, Status(status), missing, found, parcels, rest, extra, disputes)


def state_of(case: Row) -> State:
    placed = {"promised_at": PROMISE, "amount": 12.5, "currency": "EUR", "parcels": case.parcels}
    seen = [*events(FLOW, *case.texts.split(), attributes={"placed": placed}), *case.extra]
    found = state(FLOW, seen)
    for alias, dispute in case.disputes.items():
        found.learn(alias, dispute)
    return found


def verdict_of(case: Row) -> Verdict:
    return judge(state_of(case), FLOW, heard(FLOW, case.now, **case.given))


P99 = {("order", "placed", "paid"): Baseline(4 * MINUTE)}
TWIN = {"cart:K1": Dispute("clear", 1, holders=(("2", T0 + MINUTE), ("3", T0 + 11 * MINUTE)))}
A1, A2 = ({f"payment:{name}": Dispute("contested", 1, ("order:2",))} for name in ("A1", "A2"))
CART = Observed("c", "shop", "placed", T0, {"order": "1", "cart": "K1"}, source="shop-2")
BY_ALIAS = event(FLOW, "paid@2m", 99, via="payment:A1")
BY_ANOTHER = event(FLOW, "paid@2m", 99, via="payment:A3")
PARCEL_BY_ALIAS = event(FLOW, "packed[P9]@6h", 96, via="payment:A1")
STRANGE = event(FLOW, "gift_wrapped@5h", 98, system="warehouse")
WRONG_SYSTEM = event(FLOW, "paid@3m", 97, system="warehouse")

ROWS = [
    # its done_by phase was seen, uncontested: met
    row("all met", "met", WHOLE, "2d", "completed"),
    row("met long after is late", "met", f"{PLACED} paid@20m", "25m", "in_progress", "!late paid"),
    row("met just in time", "met", f"{PLACED} paid@15m", "25m", "in_progress"),
    row("one parcel late", "met", f"{SHIPPED} delivered[P1]@6d", "7d", "completed", "!late delivered[P1]"),
    row("late by the promise", "met", f"{PACKED} shipped[P1]@5d", "6d", "in_progress", "!late shipped[P1]"),
    # failed, no success since, and heard through failure + retry_within: failed in Y
    row("failed", "failed", f"{PLACED} paid.received@1m paid.failed@2m", "14m", "failed", "failed failed placed>paid"),
    row("cancelled at a step", "failed", f"{PLACED} paid.cancelled@2m", "14m", "failed", "failed failed placed>paid"),
    row("failed, a retry may come", "otherwise", f"{PLACED} paid.failed@2m", "11m", "in_progress"),
    row("failed, then a success", "met", f"{PLACED} paid.failed@2m paid@9m confirmed@10m", "20m", "in_progress"),
    row("failed again and again", "failed", f"{PLACED} paid.failed@2m paid.failed@9m", "20m", "failed",
        "failed failed placed>paid"),
    row("failed after a success", "failed", f"{PAID} confirmed@3m paid.failed@20m", "31m", "in_progress"),
    row("failed, and everything goes on without", "met", f"{PLACED} paid.failed@2m confirmed@20m picked@5h", "6h",
        "in_progress", "!skipped paid"),
    row("failed after it was done, and nothing since", "failed", f"{PAID} paid.failed@9m", "20m", "failed",
        "failed failed placed>paid"),
    row("overdue while a retry is still allowed", "stalled inside", f"{PLACED} paid.received@1m paid.failed@14m", "16m",
        "stalled", "stalled inside placed>paid"),
    row("failed, nobody heard whether it was tried again", "unknown", f"{PLACED} paid.failed@2m", "1h",
        "unknown", "unknown failed placed>paid", blind={"payments": [("5m", "30m")]}),
    # not done, heard through p + lost_after: lost
    row("lost in transit", "lost", PLACED, "15d", "lost", "lost in_transit placed>paid"),
    row("lost inside", "lost", f"{PLACED} paid.received@1m", "15d", "lost", "lost inside placed>paid"),
    row("lost between", "lost", f"{PAID} picked@5h packed[P1]@6h shipped[P1]@8h delivered[P1]@30h", "15d", "lost",
        "lost between paid>confirmed"),
    row("a promise that was over before", "stalled between", f"{PICKED} packed[P1]@13d", "18d", "stalled",
        "stalled between packed>shipped[P1]", "!late packed[P1]"),
    row("failed, and after all that time lost as far as the failure is unheard", "lost", f"{PLACED} paid.failed@2m", "15d",
        "lost", "lost inside placed>paid", blind={"payments": [("5m", "6m")]}, landscape=Landscape(tolerate=0.001)),
    # not arrived, heard through due: stalled
    row("stalled in transit", "stalled in transit", PLACED, "16m", "stalled", "stalled in_transit placed>paid"),
    row("due, and not yet past", "otherwise", PLACED, "15m10s", "in_progress"),
    row("stalled between, where no arrivals are reported", "stalled between", CONFIRMED, "3d", "stalled",
        "stalled between paid>picked"),
    row("both branches", "stalled between", PAID, "3d", "stalled", "stalled between paid>confirmed",
        "stalled between paid>picked"),
    # arrived, not done, heard through due: stalled inside
    row("stalled inside", "stalled inside", f"{PLACED} paid.received@1m", "16m", "stalled", "stalled inside placed>paid"),
    row("the retry is stuck", "stalled inside", f"{PLACED} paid.failed@2m paid.received@5m", "16m", "failed",
        "failed failed placed>paid"),
    # control time is past due, but a witness is silent, was blind before due, or the evidence is contested: unknown
    row("silent", "unknown", PLACED, "16m", "unknown", "unknown in_transit placed>paid", silent={"payments": "3m"}),
    row("silent, and known to have arrived", "unknown", f"{PLACED} paid.received@1m", "16m", "unknown",
        "unknown inside placed>paid", silent={"payments": "3m"}),
    row("silent since it was due", "stalled in transit", PLACED, "20m", "stalled", "stalled in_transit placed>paid",
        silent={"payments": "16m"}),
    row("blind", "unknown", PLACED, "16m", "unknown", "unknown in_transit placed>paid", blind={"payments": [("3m", "5m")]}),
    row("blind before, not during", "stalled in transit", PLACED, "16m", "stalled", "stalled in_transit placed>paid",
        blind={"payments": [("-1h", "-1m")]}),
    row("blind after due", "stalled in transit", PLACED, "30m", "stalled", "stalled in_transit placed>paid",
        blind={"payments": [("16m", "20m")]}),
    row("blind, not due yet", "otherwise", PLACED, "10m", "in_progress", blind={"payments": [("3m", "5m")]}),
    row("unknown past lost_after is unresolved", "unknown", PLACED, "15d", "unknown", "unknown in_transit placed>paid",
        "!unresolved paid", blind={"payments": [("3m", "5m")]}),
    row("contested", "unknown", PLACED, "16m", "unknown", "unknown in_transit placed>paid", "!alias_conflict paid",
        disputes=A1, extra=(BY_ALIAS,)),
    row("contested, not due yet", "otherwise", PLACED, "14m", "in_progress", "!alias_conflict paid",
        disputes=A1, extra=(BY_ALIAS,)),
    row("contested, and one is missing", "unknown", PICKED, "2d", "unknown", "unknown between picked>packed 1/1",
        "!alias_conflict packed[P9]", disputes=A1, extra=(PARCEL_BY_ALIAS,)),
    row("by an alias that nobody contests", "met", PLACED, "16m", "in_progress", extra=(BY_ALIAS,)),
    row("contested for another", "met", PAID, "16m", "in_progress", "!alias_conflict ", disputes=A2, extra=(BY_ALIAS,)),
    row("come by an alias that is another's", "otherwise", PLACED, "14m", "in_progress", extra=(BY_ALIAS,),
        disputes={"payment:A1": Dispute("foreign", 1)}),
    row("come by an alias that joins nothing", "otherwise", PLACED, "14m", "in_progress", extra=(BY_ALIAS,),
        disputes={"payment:A1": Dispute("void", 1)}),
    row("come by two, and one is certain", "met", PLACED, "14m", "in_progress", "!alias_conflict ", disputes=A1,
        extra=(BY_ALIAS, BY_ANOTHER)),
    # a carrier of links was not heard: what came by the parcel may be parked
    row("the link may be missing", "unknown", PACKED, "5d", "unknown", "unknown between packed>shipped[P1]",
        blind={"warehouse": [("7h", "8h")]}),
    row("links count from a day before", "unknown", PACKED, "5d", "unknown", "unknown between packed>shipped[P1]",
        blind={"warehouse": [("1h", "2h")]}),
    row("links older than that do not matter", "stalled between", f"{CONFIRMED} picked@2d packed[P1]@2d1h", "5d", "stalled",
        "stalled between packed>shipped[P1]", blind={"warehouse": [("1h", "2h")]}),
    # control time is past due, the witnesses are alive, their clocks not there yet: in progress
    row("they or we are behind", "behind", PLACED, "2h", "in_progress", behind={"payments": "10m"}),
    row("the carrier of links is behind", "behind", PACKED, "5d", "in_progress", behind={"warehouse": "3d"}),
    # otherwise
    row("in progress", "otherwise", PLACED, "5m", "in_progress"),
    row("at risk", "otherwise", PLACED, "6m", "in_progress", "!at_risk paid", baselines=P99),
    row("not at risk yet", "otherwise", PLACED, "4m", "in_progress", baselines=P99),
    row("no risk that nobody heard", "otherwise", PLACED, "6m", "in_progress", baselines=P99, behind={"payments": "2m"}),
    # findings
    row("slow", "met", f"{PLACED} paid@6m", "7m", "in_progress", "!slow paid", baselines=P99),
    row("twice", "met", f"{WHOLE} paid@9m", "2d", "completed", "!duplicate paid"),
    row("one charge seen by two", "met", f"{WHOLE} paid@2m3s/pos", "2d", "completed"),
    row("two charges seen by two", "met", f"{WHOLE} paid@2m3s/pos paid@4m paid@4m3s/pos", "2d", "completed",
        "!duplicate paid"),
    row("one source says it twice within seconds", "met", f"{WHOLE} paid@2m3s", "2d", "completed", "!duplicate paid"),
    row("tried again, and done once", "met", f"{PLACED} paid.failed@1m {PAID[9:]} {WHOLE[len(PAID):]}", "2d", "completed"),
    row("voided and charged again", "met", f"{PAID} paid.cancelled@5m paid@8m {WHOLE[len(PAID):]}", "2d", "completed"),
    row("out of order", "met", f"{PLACED} confirmed@1s {PAID[9:]} {WHOLE[len(CONFIRMED):]}", "2d", "completed",
        "!out_of_order confirmed"),
    row("out of order by less than clocks differ", "met", f"{PAID} confirmed@1m58s {WHOLE[len(CONFIRMED):]}", "2d", "completed"),
    row("arrived after it was done", "met", f"{PLACED} paid@1m paid.received@2m {WHOLE[len(PAID):]}", "2d", "completed",
        "!out_of_order paid"),
    row("skipped", "met", WHOLE.replace("picked@5h ", ""), "3d", "completed", "!skipped picked"),
    row("skipped, but it may still come", "met", WHOLE.replace("picked@5h ", ""), "31h", "completed"),
    row("unobserved", "met", WHOLE.replace("picked@5h ", ""), "3d", "completed", "!unobserved picked",
        blind={"warehouse": [("4h", "5h30m")]}),
    row("two in a row unobserved", "met", WHOLE.replace("picked@5h packed[P1]@6h ", ""), "4d", "completed",
        "!unobserved picked", "!unobserved packed[P1]", blind={"warehouse": [("4h", "7h")]}),
    row("two in a row, and only the first hidden", "met", f"{CONFIRMED} shipped[P1]@8h delivered[P1]@30h", "4d", "completed",
        "!unobserved picked", "!unobserved packed[P1]", blind={"warehouse": [("3m", "1h")]}),
    row("later steps make no noise before proof", "behind", f"{PLACED} picked@5h", "6h", "in_progress", "!skipped paid",
        behind={"mailer": "20m"}),
    row("a step that no flow knows", "met", WHOLE, "2d", "completed", "!unexpected gift_wrapped", extra=(STRANGE,)),
    row("a step of another system", "met", WHOLE, "2d", "completed", "!unexpected paid", extra=(WRONG_SYSTEM,)),
    row("no start", "met", "paid.received@1m paid@2m", "20m", "in_progress", "!no_start placed"),
    row("start unobserved", "met", "paid.received@1m paid@2m", "20m", "in_progress", "!unobserved placed",
        blind={"shop": [("-5m", "10s")]}),
    row("start not heard yet", "met", "paid.received@1m paid@2m", "20m", "in_progress", behind={"shop": "1m"}),
    row("no start, and stuck", "stalled inside", "paid.received@1m", "20m", "stalled", "stalled inside placed>paid",
        "!no_start placed"),
    row("doubled", "met", WHOLE, "2d", "completed", "!doubled ", disputes=TWIN, extra=(CART,)),
    row("a skewed clock, put right", "met", f"{PLACED} paid@-58m/pos {WHOLE[len(PAID):]}", "2d", "completed", "!clock_skew ",
        skews={("pos", 1): 60 * MINUTE}),
    row("a review may repeat", "met", f"{WHOLE} reviewed@1m reviewed@2m reviewed@3m reviewed@4m", "2d", "completed"),
    row("but not without end", "met", f"{WHOLE} reviewed@1m reviewed@2m reviewed@3m reviewed@4m reviewed@5m", "2d", "completed",
        "!unexpected reviewed"),
    row("optional, and failed", "met", f"{WHOLE} reviewed.failed@1m", "20d", "completed"),
    # instances
    row("one of three is missing", "stalled between", PACKED + " packed[P2]@6h", "5d", "stalled",
        "stalled between picked>packed 1/3", "stalled between packed>shipped[P1]", "stalled between packed>shipped[P2]",
        parcels=3),
    row("one of three is missing by name", "stalled between", f"{SHIPPED} packed[P2]@6h packed[P3]@6h shipped[P2]@7h", "5d",
        "stalled", "stalled between packed>shipped[P3]", parcels=3),
    row("a delivered parcel does not hide its sister", "otherwise", f"{WHOLE} packed[P2]@6h shipped[P2]@8h", "2d",
        "in_progress", parcels=2),
    row("nor one that was never seen", "otherwise", f"{SHIPPED} delivered[P1]@20h", "1d", "in_progress", parcels=2),
    row("one shipped thrice", "met", f"{WHOLE} shipped[P1]@9h shipped[P1]@10h", "2d", "completed", "!duplicate shipped[P1]"),
    row("more than there should be", "met", f"{WHOLE} packed[P2]@6h shipped[P2]@8h delivered[P2]@30h", "2d", "completed",
        "!unexpected packed"),
    row("a count as text", "otherwise", WHOLE, "2d", "stalled", "stalled between picked>packed 1/2", parcels="2"),
    row("a count that is none", "met", WHOLE, "2d", "completed", parcels="many"),
    row("no parcel at all", "stalled between", PICKED, "2d", "stalled", "stalled between picked>packed 1/1", parcels="many"),
    row("a parcel without a name", "met", f"{PICKED} packed@6h {WHOLE[len(PACKED):]}", "2d", "completed"),
    row("a parcel without a name is owed like any other", "stalled between", f"{PICKED} packed@6h", "5d", "stalled",
        "stalled between packed>shipped 1/1"),
    # ends with obligations, cancellations
    row("rejected", "met", f"{PLACED} rejected@2m", "20d", "closed"),
    row("cancelled before it was paid", "met", f"{PLACED} cancelled@5m", "20d", "closed"),
    row("cancelled, nothing to give back after a failure", "met", f"{PLACED} paid.failed@2m cancelled@5m", "20d", "closed"),
    row("cancelled, and refunded", "met", f"{PAID} cancelled@5m refunded@1d", "20d", "closed"),
    row("cancelled, to be refunded", "otherwise", f"{PAID} cancelled@5m", "1d", "in_progress"),
    row("cancelled, not refunded", "stalled between", f"{PAID} cancelled@5m", "6d", "stalled",
        "stalled between cancelled>refunded"),
    row("a race that the cancellation wins", "met", f"{PICKED} cancelled@4h refunded@1d", "20d", "closed",
        "!after_cancel picked"),
    row("a race that it loses", "met", f"{WHOLE} cancelled@6h", "20d", "completed"),
    row("too late, and stuck all the same", "stalled between", f"{PICKED} cancelled@6h", "2d", "stalled",
        "stalled between picked>packed 1/1"),
    row("too late, by what came after", "met", f"{WHOLE.replace('picked@5h ', '')} cancelled@7h", "3d", "completed",
        "!skipped picked"),
    row("refunded, the cancellation was not heard", "met", f"{PAID} refunded@1d", "2d", "closed", "!unobserved cancelled",
        blind={"shop": [("3m", "10m")]}),
    row("cancelled perhaps, while nobody listened", "unknown", CONFIRMED, "3d", "unknown", "unknown between paid>picked",
        blind={"shop": [("1h", "2h")]}),
    row("but not once there was no way back", "stalled between", PICKED, "3d", "stalled", "stalled between picked>packed 1/1",
        blind={"shop": [("6h", "7h")]}),
]  # fmt: skip


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_row(case: Row) -> None:
    verdict = verdict_of(case)
    assert (verdict.status, drops(verdict), findings(verdict)) == (case.status, list(case.drops), set(case.findings))


def test_the_rows_reach_everything() -> None:
    """Every row of the table, status, kind of drop and finding; but for what is on its own page of tests."""
    verdicts = [verdict_of(case) for case in ROWS]
    assert {case.row for case in ROWS} == {
        "met", "failed", "lost", "stalled in transit", "stalled between", "stalled inside", "unknown", "behind", "otherwise",
    }  # fmt: skip
    assert {verdict.status for verdict in verdicts} == set(Status)
    assert {drop.kind for verdict in verdicts for drop in verdict.drops} == set(DropKind)
    assert {finding.kind for verdict in verdicts for finding in verdict.findings} == set(FindingKind)
    names = [case.name for case in ROWS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_details_change_nothing_else(case: Row) -> None:
    whole = verdict_of(case)
    slim = judge(state_of(case), FLOW, heard(FLOW, case.now, **case.given), detail=False)
    assert (slim.status, slim.drops, slim.findings, slim.waits) == (
        whole.status,
        whole.drops,
        whole.findings,
        whole.waits,
    )
    assert (slim.started_at, slim.last_at, slim.ended_at) == (whole.started_at, whole.last_at, whole.ended_at)
    assert (slim.value, slim.completeness) == (whole.value, whole.completeness)
