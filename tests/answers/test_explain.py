"""What a support agent reads: for every status, drop and finding two to five plain sentences, and nothing else."""

from __future__ import annotations

import re

import pytest

from pipeline.answers.explain import explain
from schemas.flow import Flow
from schemas.landscape import KeyType
from schemas.times import HOUR
from schemas.verdict import Drop, DropKind, FindingKind, Hop, Outcome, Status
from tests.answers.cases import (
    BARE,
    CARRIER,
    LANDSCAPE,
    NOW,
    PAID,
    PLACED,
    SHOP,
    SPOKEN,
    SYSTEMS,
    THEN,
    VERDICTS,
    WAREHOUSE,
    drop,
    verdict,
)

JARGON = (
    "hop", "span", "transit", "witness", "verdict", "stalled", "unvouched", "obligation", "fold", "epoch", "marker", "instance",
    "none", "null", "event", "flow", "transaction", "telemetry", "blind", "alias", "unobserved", "None", "µs",
)  # fmt: skip
# Everything that exists only inside: no sentence may contain it.
INTERNAL = (
    *SYSTEMS,
    "ev-1",
    "ev-2",
    "ev-9",
    "src-shop-a",
    "src-pay-b",
    "cr-99",
    "step_x9",
    "10.0.0.7",
    "af31",
    "ECONNREFUSED",
)


def text_of(name: str, flow: Flow = BARE) -> str:
    return explain(VERDICTS[name], flow, LANDSCAPE, transaction_id="10248", now=NOW).text


@pytest.mark.parametrize("unread", [0, 1, 3])
@pytest.mark.parametrize("flow", [BARE, SPOKEN], ids=["without words", "with words"])
@pytest.mark.parametrize("name", VERDICTS)
def test_it_is_two_to_five_plain_sentences(name: str, flow: Flow, unread: int) -> None:
    said = explain(VERDICTS[name], flow, LANDSCAPE, transaction_id="10248", now=NOW, unread=unread)
    assert 2 <= len(said.sentences) <= 5
    assert all(sentence[0] in "“1" or sentence[0].isupper() for sentence in said.sentences)
    assert all(sentence.endswith(".") and "  " not in sentence and ".." not in sentence for sentence in said.sentences)
    words = set(re.findall(r"[\w-]+", said.text.lower()))
    assert not words & {word.lower() for word in JARGON}, said.text
    assert "_" not in said.text
    assert not [secret for secret in INTERNAL if secret in said.text], said.text
    assert said.tell_customer.endswith(".")


def test_every_status_drop_and_finding_is_in_the_table() -> None:
    said = list(VERDICTS.values())
    assert {v.status for v in said} == set(Status)
    drops = {(d.status, d.kind) for v in said for d in v.drops}
    assert {kind for _, kind in drops} == set(DropKind)
    assert {f.kind for v in said for f in v.findings} == set(FindingKind)


def test_each_finding_has_its_own_words() -> None:
    texts = {kind: text_of(f"finding {kind}") for kind in FindingKind}
    assert len(set(texts.values())) == len(FindingKind)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lost in_transit", "Order 10248 is lost: it did not arrive at the warehouse for “picked”."),
        ("lost in_transit", "It was last seen at the payment service after “paid” on Tue 3 March at 13:00 (47 hours ago)"),
        ("lost in_transit", "“picked” was due yesterday at 12:00"),
        ("lost in_transit", "so this is not just a missing report"),
        ("stalled inside", "The warehouse has had it since Tue 3 March at 13:00"),
        ("lost between", "it either never reached the warehouse or is stuck there, and we cannot tell which"),
        ("failed, in plain words", "(“card declined”)"),
        ("lost, unvouched", "please check there first"),
        ("stalled, one parcel", "Parcel P-1 of order 10248 is stuck: it did not arrive"),
        ("stalled, one crate", "One crate of order 10248 is stuck"),
        ("stalled, one of three", "1 of 3 parcels of order 10248 is stuck"),
        ("stalled, one of three", "Still open as well: “shipped”."),
        ("unknown, silent", "The warehouse has told us nothing since Tue 3 March at 12:00; that does not mean that it is lost"),
        ("unknown, was blind", "told us nothing between Tue 3 March at 14:00 and Tue 3 March at 17:00"),
        ("unknown, never heard", "We have never heard from the system for “shipped”"),
        ("in progress", "next comes “picked” at the warehouse, by today at 13:00"),
        ("in progress, behind", "what we know ends today at 11:59"),
        ("completed", "Order 10248 is complete: it ended with “shipped” today at 11:00."),
        ("closed by time", "On Tue 3 March at 13:00, order 10248 ended with “left”."),
        ("finding late", "“picked” came 2 hours late"),
        ("finding duplicate", "“picked” happened twice"),
        ("too many findings", "and 11 remarks more"),
    ],
)  # fmt: skip
def test_it_says(name: str, said: str) -> None:
    assert said in text_of(name)


def test_what_is_missing_beside_an_order_that_went_on_is_not_called_a_lost_order() -> None:
    content = BARE.model_dump(mode="json")
    content["steps"]["mailed"] = {"system": SHOP, "after": "paid", "within": "30m"}
    flow = Flow.model_validate(content)
    mail = drop(DropKind.BETWEEN, to_step="mailed", system=SHOP)
    later = Hop("picked", WAREHOUSE, "", 1, None, THEN + 5 * HOUR, Outcome.DONE, None, ("ev-3",))
    said = explain(verdict(Status.LOST, mail, hops=(PLACED, PAID, later)), flow, LANDSCAPE, transaction_id="1", now=NOW)
    assert said.sentences[0].startswith("Order 1 itself went on, but something beside it is missing")
    alone = explain(verdict(Status.LOST, mail), flow, LANDSCAPE, transaction_id="1", now=NOW)
    assert alone.sentences[0].startswith("Order 1 is lost")


def test_the_flows_own_words_are_used() -> None:
    failed = verdict(Status.FAILED, drop(DropKind.FAILED, Status.FAILED, to_step="paid", system="sys-pay-7"))
    said = explain(failed, SPOKEN, LANDSCAPE, transaction_id="10248", now=NOW)
    assert said.sentences[0] == "Order 10248 has failed: the payment did not arrive."
    assert "On Tue 3 March at 13:00, order 10248 was cancelled." in text_of("closed", SPOKEN)
    assert text_of("closed", SPOKEN).endswith("Tell the customer: It is cancelled.")


def test_we_cannot_see_it_is_never_it_is_lost() -> None:
    for name, said in VERDICTS.items():
        if said.status == Status.UNKNOWN:
            text = text_of(name)
            assert "is lost:" not in text
            assert "cannot see" in text
            assert "does not mean that anything is wrong" in text


def test_a_number_that_the_customer_cannot_know_is_not_said() -> None:
    hidden = LANDSCAPE.model_copy(update={"keys": {"order": KeyType(transaction=True)}})
    for said in VERDICTS.values():
        text = explain(said, BARE, hidden, transaction_id="10248", now=NOW).text
        assert "10248" not in text
        assert "tx-detail-5" not in text


def test_times_are_the_businesss_not_utc() -> None:
    lost: Drop = drop(system=CARRIER, to_step="shipped", from_step="picked", from_system=WAREHOUSE)
    zones = {zone: LANDSCAPE.model_copy(update={"zone": zone}) for zone in ("UTC", "Asia/Tokyo")}
    said = {
        zone: explain(verdict(Status.LOST, lost), BARE, landscape, transaction_id="1", now=NOW).text
        for zone, landscape in zones.items()
    }
    assert "Tue 3 March at 12:00" in said["UTC"]
    assert "Tue 3 March at 21:00" in said["Asia/Tokyo"]
