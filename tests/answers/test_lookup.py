"""Lookup finds by any number in any form, tells now from then, and answers in the documented form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import jsonschema
import pytest

from pipeline.answers.answer import (
    Answer,
    ArrivalAnswer,
    ChangeAnswer,
    ClaimAnswer,
    DropAnswer,
    DropDetail,
    EvidenceAnswer,
    FindingAnswer,
    HopAnswer,
    SaidAnswer,
    WitnessAnswer,
    schema,
)
from pipeline.answers.judging import Bench, joined
from pipeline.answers.lookup import list_answers, list_rows, lookup
from pipeline.answers.report import build
from pipeline.answers.sources import systems
from pipeline.errors import Invalid
from pipeline.store import MemoryStore
from pipeline.store.contract import VerdictQuery
from schemas.flow import Flow, Flows
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.verdict import Status
from tests.answers.world import BEGIN, DAY_D, NOW, event, fill, write_events, write_hearing

CONTRACT = [
    "flow", "key_type", "transaction_id", "status", "drop", "drops", "findings", "path", "explanation", "evidence",
    "completeness", "as_of",
]  # fmt: skip


@pytest.fixture
def bench() -> Bench:
    return fill(MemoryStore())


def named(bench: Bench, value: str, key_type: str = "", as_of: int = 0) -> list[tuple[str, str]]:
    return [one.transaction for one in lookup(bench, value, key_type, as_of)[0]]


@pytest.mark.parametrize("value", ["PAY-1", "pay-1", "  Pay-1 "])
def test_a_value_is_found_in_any_form_that_means_the_same(bench: Bench, value: str) -> None:
    assert named(bench, value) == [("order", "17")]


def test_leading_zeros_count_only_where_they_mean_something(bench: Bench) -> None:
    assert named(bench, "00017") == [("order", "17")]


def test_a_number_that_two_kinds_of_key_use_names_both(bench: Bench) -> None:
    assert named(bench, "17") == [("order", "17"), ("cart", "17")]
    assert named(bench, "17", "cart") == [("cart", "17")]


def test_a_customers_transactions_come_newest_first(bench: Bench) -> None:
    assert named(bench, "C7") == [("order", "17"), ("cart", "17"), ("order", "18")]
    found, total = lookup(bench, "C7", limit=1)
    assert ([one.transaction for one in found], total) == ([("order", "17")], 3)


def test_nothing_is_found_by_what_nobody_said(bench: Bench) -> None:
    assert named(bench, "nobody") == []
    with pytest.raises(Invalid, match="no key type 'shoe'; there are cart, customer, order, payment"):
        lookup(bench, "17", "shoe")


def test_what_is_said_is_the_stored_verdict_with_hops_from_the_events(bench: Bench) -> None:
    (one,) = lookup(bench, "PAY-1")[0]
    assert one.verdict.status == Status.LOST
    assert [(hop.step, hop.outcome.value) for hop in one.verdict.hops] == [("placed", "done"), ("paid", "open")]
    assert [flip.status for flip in one.flips] == ["in_progress", "stalled", "lost"]
    assert "Order 17 is lost" in one.answer.explanation
    assert one.answer.as_of == NOW


def test_a_good_one_names_its_evidence_too(bench: Bench) -> None:
    (one,) = lookup(bench, "PAY-2")[0]
    assert [item.event_id for item in one.answer.evidence] == ["f1", "f2", "f3"]
    (cart,) = lookup(bench, "17", "cart")[0]
    assert cart.verdict.findings == ()
    assert [item.event_id for item in cart.answer.evidence] == ["g1"]


def test_what_no_worker_judged_yet_is_judged_here(bench: Bench) -> None:
    (one,) = lookup(bench, "19")[0]
    assert one.verdict.status == Status.IN_PROGRESS
    assert [hop.step for hop in one.verdict.hops] == ["placed"]


def test_as_of_a_time_only_what_was_recorded_by_then_counts(bench: Bench) -> None:
    when = BEGIN + 9 * HOUR
    (early,) = lookup(bench, "PAY-1", as_of=when + 3 * HOUR)[0]
    assert [event.id for event in early.events] == ["e1"]
    assert early.answer.as_of == when + 3 * HOUR
    assert early.answer.said is not None
    assert (early.answer.said.status, early.answer.said.drop) == ("stalled", "in_transit placed..paid")
    (later,) = lookup(bench, "PAY-1", as_of=when + 6 * HOUR)[0]
    assert [event.id for event in later.events] == ["e1", "e2"]
    assert lookup(bench, "PAY-1", as_of=when - MINUTE)[0] == []


def test_as_of_a_time_hearing_counts_as_it_was_known_then(bench: Bench) -> None:
    """Before anything was heard nothing is called lost; by what is known now it is (received, and due since long)."""
    (then,) = lookup(bench, "PAY-1", as_of=NOW - SECOND)[0]
    (now,) = lookup(bench, "PAY-1", as_of=NOW)[0]
    assert then.verdict.status == Status.IN_PROGRESS
    assert now.verdict.status == Status.STALLED
    assert now.verdict.drops[0].kind == "inside"
    assert now.answer.said is not None
    assert now.answer.said.status == "lost"
    assert now.explanation.sentences[1].startswith("The payment service has had it since yesterday at 10:01")


def test_before_a_transaction_was_recorded_there_is_nothing(bench: Bench) -> None:
    write_events(bench.store, "order", "40", event("k1", "placed", BEGIN, {"order": "40"}, recorded_at=NOW))
    assert named(bench, "40", as_of=BEGIN + DAY - HOUR) == []


def test_answers_have_the_documented_form(bench: Bench) -> None:
    found = [one.answer.data() for one in lookup(bench, "C7")[0]]
    listed = [one.data() for one in list_answers(bench, list_rows(bench, VerdictQuery()))]
    then = [one.answer.data(with_said=True) for one in lookup(bench, "C7", as_of=NOW)[0]]
    assert all(list(one) == CONTRACT for one in (*found, *listed))
    assert all(list(one) == [*CONTRACT, "said"] for one in then)
    looked_up = [one.answer.data(looked_up=True) for one in lookup(bench, "C7")[0]]
    assert all(list(one) == [*CONTRACT, "history", "claims", "unread"] for one in looked_up)
    jsonschema.validate(looked_up, schema())
    for data in (found, listed, then):
        jsonschema.validate(data, schema(), format_checker=jsonschema.FormatChecker())
    lost = found[0]
    assert lost["drop"] == {
        "kind": "in_transit", "from_step": "placed", "to_step": "paid", "system": "payments",
        "since": "2026-03-08T14:00:00Z",
    }  # fmt: skip
    assert list(lost["path"][0]) == [
        "step",
        "instance",
        "system",
        "arrived_at",
        "left_at",
        "outcome",
        "attempt",
        "known_by",
    ]
    assert list(found[2]["findings"][0]) == ["kind", "step", "detail"]
    assert "5 minutes late" in found[2]["findings"][0]["detail"]
    assert "\nTell the customer: " in lost["explanation"]


def test_the_readme_lists_every_field() -> None:
    said = (
        (Path(__file__).parents[2] / "README.md").read_text().partition("## JSON of")[2].partition("## Production")[0]
    )
    parts = (
        Answer, DropAnswer, DropDetail, FindingAnswer, HopAnswer, EvidenceAnswer, WitnessAnswer, SaidAnswer, ChangeAnswer,
        ArrivalAnswer, ClaimAnswer,
    )  # fmt: skip
    fields = {name for part in parts for name in part.model_fields}
    assert {name for name in fields if f"`{name}`" not in said} == set()


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (VerdictQuery(), ["17", "17", "18"]),
        (VerdictQuery(statuses=("lost",)), ["17"]),
        (VerdictQuery(drop_from="shop", drop_to="paid"), ["17"]),
        (VerdictQuery(findings=("late",)), ["18"]),
    ],
)
def test_listings_say_the_same_as_lookups(bench: Bench, query: VerdictQuery, ids: list[str]) -> None:
    listed = list(list_answers(bench, list_rows(bench, query)))
    assert [one.transaction_id for one in listed] == ids
    known: Callable[[str], list[dict[str, object]]] = lambda id_: [one.answer.data() for one in lookup(bench, id_)[0]]  # noqa: E731
    assert all(one.data() in known(one.transaction_id) for one in listed)


def without_order(bench: Bench, published: Callable[[], Iterable[Flow]] = tuple) -> Bench:
    return Bench(bench.store, Flows([bench.flows.latest("checkout")]), bench.landscape, bench.clock, published)


def test_a_flow_that_was_published_need_not_be_given(bench: Bench) -> None:
    order, asked = bench.flows.latest("order"), []

    def published() -> list[Flow]:
        asked.append(1)
        return [order]

    other = without_order(bench, published)
    lookup(other, "17", "cart")
    assert asked == []
    for value, as_of in (("C7", 0), ("19", 0), ("PAY-1", NOW)):
        here, there = without_order(bench, published), lookup(bench, value, as_of=as_of)[0]
        assert [one.answer for one in lookup(here, value, as_of=as_of)[0]] == [one.answer for one in there]
    rows = list_rows(other, VerdictQuery())
    assert list(list_answers(other, rows)) == list(list_answers(bench, rows))
    assert {one.system for one in systems(without_order(bench, published), [])} == {"shop", "payments", "warehouse"}
    made = build(without_order(bench, published), DAY_D, "order")
    assert made == build(bench, DAY_D, "order")
    list(list_answers(other, rows))
    assert len(asked) == 6  # once a bench
    assert systems(Bench(MemoryStore(), bench.flows, bench.landscape, bench.clock), []) == []


def test_what_was_published_decides_over_what_is_given(bench: Bench) -> None:
    order = bench.flows.latest("order")
    given = Flows([order.model_copy(update={"lost_after": DAY}), order.model_copy(update={"version": 2})])
    found = joined(given, [order]).versions["order"]
    assert [(flow.version, flow.lost_after) for flow in found] == [(1, 2 * DAY), (2, 2 * DAY)]
    assert joined(given, [order.model_copy(update={"key": "cart"})]).latest("order").key == "cart"


def test_of_a_flow_that_nobody_knows_what_is_stored_is_shown(bench: Bench) -> None:
    other = without_order(bench)
    (one,) = lookup(other, "PAY-1")[0]
    assert "Flow order is not known here: give --flows" in one.answer.explanation
    assert (one.answer.status, one.answer.drop and one.answer.drop.to_step) == (Status.LOST, "paid")
    (then,) = lookup(other, "PAY-1", as_of=NOW - 2 * HOUR)[0]
    assert (then.answer.status, then.answer.said and then.answer.said.status) == (Status.STALLED, "stalled")
    (early,) = lookup(other, "PAY-1", as_of=BEGIN + 9 * HOUR + MINUTE)[0]
    assert (early.answer.status, early.answer.drop) == (Status.IN_PROGRESS, None)
    rows = list_rows(other, VerdictQuery())
    listed = [answer.data() for answer in list_answers(other, rows)]
    assert [one["transaction_id"] for one in listed] == ["17", "17", "18"]
    jsonschema.validate(listed, schema(), format_checker=jsonschema.FormatChecker())
    assert build(other, DAY_D).statuses["lost"] == 1
    other.require_flow("order")
    other.require_place("paid", "--drop")
    with pytest.raises(Invalid, match="no flow 'shoe'"):
        other.require_flow("shoe")


def test_a_place_of_no_flow_is_named(bench: Bench) -> None:
    for place in ("placed", "paid", "warehouse", "payments"):
        bench.require_place(place, "--drop")
    with pytest.raises(Invalid, match=r"--drop: no flow has a step or a system 'pay'.*did you mean paid or pay"):
        bench.require_place("pay", "--drop")


def test_how_far_a_system_was_heard_is_told_as_known_now(bench: Bench) -> None:
    before = [one.answer.completeness for one in lookup(bench, "PAY-1")[0]]
    write_hearing(bench.store, NOW + HOUR, clock=NOW + HOUR)
    after = [one.answer.completeness for one in lookup(bench, "PAY-1")[0]]
    assert [[one.heard_through for one in each] for each in before] == [[NOW]]
    assert [[one.heard_through for one in each] for each in after] == [[NOW + HOUR]]
