"""Unlinked events: counted by kind and age, shown, found by a lookup in plain words; and who claims a number."""

from __future__ import annotations

import pytest

from pipeline.answers import links, unlinked
from pipeline.answers.judging import Bench
from pipeline.core.correlate import ACCEPTED, BROKEN, CLAIMED, DECISION, WITHDRAWN
from pipeline.errors import Invalid
from pipeline.store import MemoryStore
from pipeline.store.contract import LinkRow
from schemas.joined import Decision, Lines
from schemas.times import DAY, HOUR, MINUTE
from tests.answers.world import NOW, fill, keep
from tracer.record import EVENTS

ORDER_17, ORDER_18 = ("order", "17"), ("order", "18")


@pytest.fixture
def bench() -> Bench:
    made = fill(MemoryStore())
    keep(made.store, "payment", "P1", NOW - 3 * DAY, "k1")
    keep(made.store, "payment", "P1", NOW - MINUTE, "k2")
    keep(made.store, "payment", "P2", NOW - 2 * HOUR, "k3")
    keep(made.store, "payment", "P3", NOW - 30 * DAY, "k4")
    keep(made.store, "shipment", "S1", NOW - MINUTE, "k5")
    claim(made, "payment", "P3", ORDER_18)
    return made


def claim(bench: Bench, kind: str, value: str, whose: tuple[str, str], **more: object) -> None:
    values = {"by": "", "at": 0, "shared": False, "state": CLAIMED, "version": 1, **more}
    bench.store.write_links([LinkRow(kind, value, *whose, **values)])  # type: ignore[arg-type, attr-defined]


def test_they_are_counted_by_kind_and_age(bench: Bench) -> None:
    payments, shipments = unlinked.unlinked(bench, samples=2)
    assert unlinked.data(payments) == {
        "alias_type": "payment", "events": 3, "aliases": 2, "under_1h": 1, "under_1d": 1, "under_7d": 1, "older": 0,
        "oldest": "2026-03-06T14:00:00Z", "newest": "2026-03-09T13:59:00Z",
    }  # fmt: skip
    assert [row.event.id for row in payments.samples] == ["k1", "k3"], (
        "the oldest first; what is claimed is not among them"
    )
    assert (shipments.alias_type, shipments.events, shipments.by_age) == ("shipment", 1, (1, 0, 0, 0))
    (only,) = unlinked.unlinked(bench, "shipment")
    assert only.alias_type == "shipment"
    assert unlinked.unlinked(bench, "customer") == []
    with pytest.raises(Invalid, match="no key type 'shoe'"):
        unlinked.unlinked(bench, "shoe")


@pytest.mark.parametrize(("age", "older"), [(0, True), (2 * DAY, True), (4 * DAY, False)])
def test_older_than(bench: Bench, age: int, older: bool) -> None:
    assert unlinked.older_than(unlinked.unlinked(bench), age, NOW) is older
    assert not unlinked.older_than([], 0, NOW)


def test_anything_is_anything_also_where_the_logs_clock_is_ahead(bench: Bench) -> None:
    (found, *_) = unlinked.unlinked(bench)
    ahead = found._replace(oldest=NOW + MINUTE, newest=NOW + MINUTE)
    assert unlinked.older_than([ahead], 0, NOW)
    assert not unlinked.older_than([ahead], 1, NOW)


def test_a_lookup_finds_what_nobody_claims(bench: Bench) -> None:
    """In the form in which the landscape keeps it: payments are upper case."""
    (found,) = unlinked.held(bench, " p1 ")
    assert [row.event.id for row in found.rows] == ["k1", "k2"]
    said = unlinked.held_words(found, "payment reference")
    assert said == "we hold 2 events under payment reference P1, which no order has claimed yet"
    assert unlinked.held(bench, "P3") == [], "it is claimed"
    assert unlinked.held(bench, "P1", "customer") == []
    (then,) = unlinked.held(bench, "P1", as_of=NOW - DAY)
    assert [row.event.id for row in then.rows] == ["k1"]
    assert unlinked.held_words(then, "payment").startswith("we hold 1 event under payment P1, which no order")


def test_what_no_flow_joins_by_is_said_so(bench: Bench) -> None:
    keep(bench.store, "customer", "C99", NOW - MINUTE, "k9")
    (found,) = unlinked.held(bench, "C99")
    assert unlinked.held_words(found, "customer").endswith("by which no flow joins anything")


def test_a_claim_that_was_broken_or_withdrawn_claims_nothing(bench: Bench) -> None:
    claim(bench, "payment", "P2", ORDER_17, by=DECISION, state=BROKEN)
    claim(bench, "payment", "P2", ORDER_18, state=WITHDRAWN)
    assert len(unlinked.held(bench, "P2")) == 1
    claim(bench, "payment", "P2", ORDER_17, by=DECISION, state=ACCEPTED, version=2)
    assert unlinked.held(bench, "P2") == []


# Who claims a number


def contest(bench: Bench) -> None:
    claim(bench, "payment", "P1", ORDER_17)
    claim(bench, "payment", "P1", ORDER_18, by="shipment:S1")
    claim(bench, "payment", "P1", ORDER_18, by="~batch:B1", state=WITHDRAWN)


def test_who_claims_a_number_and_by_what(bench: Bench) -> None:
    contest(bench)
    found = links.page(bench, links.named(bench, "payment: p1", "ALIAS"))
    assert found.contested
    assert [row.event.id for row in found.kept] == ["k1", "k2"]
    assert [(one.transaction, one.says, one.ways) for one in found.claimants] == [
        (ORDER_17, "contested", ("",)), (ORDER_18, "contested", ("shipment:S1",)),
    ]  # fmt: skip
    data = links.data(found)
    assert data["claims"][1] == {
        "key_type": "order", "transaction_id": "18", "joined": True, "shared": False, "state": "contested",
        "by": ["shipment:S1"], "withdrawn": ["batch:B1"], "decision": None, "decided_at": None, "decided_by": "", "why": "",
    }  # fmt: skip
    ways = [links.way_words(way) for way in ("", "shipment:S1", "~batch:B1")]
    assert ways == ["names both", "known by shipment S1", "known by batch B1, which others share"]


def test_what_was_decided_is_told(bench: Bench) -> None:
    contest(bench)
    version = NOW // 1_000 << 22 | 7
    claim(bench, "payment", "P1", ORDER_18, by=DECISION, state=BROKEN, version=version)
    found = links.page(bench, ("payment", "P1"))
    assert not found.contested
    first, second = found.claimants
    assert (first.says, second.says, second.decided, second.decided_at) == (
        "joined",
        "not its, a person said",
        BROKEN,
        NOW,
    )
    claim(bench, "payment", "P1", ORDER_18, by=DECISION, state=ACCEPTED, version=version + 1)
    first, second = links.page(bench, ("payment", "P1")).claimants
    assert [(one.transaction, one.says) for one in (first, second)] == [(ORDER_18, "joined"), (ORDER_17, "another's")]
    assert links.data(links.page(bench, ("payment", "P1")))["claims"][0]["decision"] == "accepted"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("P1", "write TYPE:NUMBER"), (":P1", "write TYPE:NUMBER"), ("payment: ", "write TYPE:NUMBER"),
        ("shoe:1", "no key type 'shoe'"),
    ],
)  # fmt: skip
def test_a_number_is_named_with_its_type(bench: Bench, text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        links.named(bench, text, "ALIAS")


def test_a_number_is_normalised_as_the_landscape_says(bench: Bench) -> None:
    assert links.named(bench, "order: 00017 ", "TRANSACTION") == ORDER_17
    assert links.named(bench, " payment:pay-1:x", "ALIAS") == ("payment", "PAY-1:X")


def test_a_decision_is_a_record_in_the_aliass_place(bench: Bench) -> None:
    record = links.decide(bench, ("payment", "P1"), ORDER_17, accept=True, by="kim", why="the bank says so")
    assert (record.topic, record.key, record.headers) == (EVENTS, b"payment:P1", (("ls-kind", b"decision"),))
    (said,) = Lines(Decision).read(record.value)
    assert said == Decision("payment:P1", "order:17", "accept", "kim", "the bank says so")
    claim(bench, "payment", "P1", ORDER_18)
    (said,) = Lines(Decision).read(links.decide(bench, ("payment", "P1"), ORDER_18, accept=False).value)
    assert said == Decision("payment:P1", "order:18", "break")


@pytest.mark.parametrize(
    ("alias", "whose", "accept", "reason"),
    [
        (("customer", "C7"), ORDER_17, True, "in no flow does a customer name the order; these do: payment"),
        (("payment", "P1"), ("customer", "C7"), True, "no flow follows transactions by their customer"),
        (("payment", "P1"), ("order", "404"), True, "nothing is known of order 404 yet"),
        (("payment", "P1"), ORDER_17, False, "order 17 does not claim payment P1, so there is nothing to break"),
        (("payment", "P\x07"), ORDER_17, True, "not what it should be"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(
    bench: Bench, alias: tuple[str, str], whose: tuple[str, str], accept: bool, reason: str
) -> None:
    with pytest.raises(Invalid, match=reason):
        links.decide(bench, alias, whose, accept=accept)
