"""Fault 33, what was forgotten does not come back: not with other keys, in a letter, or round in circles; and a word is heard."""

from __future__ import annotations

import json

import pytest

from schemas.times import DAY, MINUTE
from tests.faults.site import Site
from tests.faults.stories import START, told
from tests.faults.test_forget import (
    AMOUNT,
    before_and_after,
    drained,
    forget,
    mentions,
    orders,
    send,
    untrimmed,
    with_keys,
)
from tracer.record import EVENTS, KIND, Record

AGAIN = {**told("order", "o1", "picked 2d", {})[0], "id": "again", "attributes": {"street": "Elm 5"}}


@pytest.mark.parametrize("keys", [{}, {"payment": "pay-77"}, {"customer": "TOMSP"}, {"email": "a@b.example"}])
@pytest.mark.parametrize("partitions", [1, 3])
def test_33_what_names_a_forgotten_order_is_refused_whatever_else_it_carries(
    keys: dict[str, str], partitions: int
) -> None:
    site, _ = before_and_after(partitions)
    forget(site, ("order", "o1"))
    worker = drained(site)
    send(site, with_keys([AGAIN], **keys), epoch=2)
    site.hear(START + 22 * DAY)
    worker.drain()
    assert mentions(site.store, "Elm 5") == []
    assert {(row.how, row.first, row.last) for row in site.store.numbers("app", 2)} == {("forgotten", 1, 1)}


@pytest.mark.parametrize(("keys", "left"), [({}, []), ({"cart": "c1"}, [{"session": "S1", "cart": "c1"}])])
def test_33_a_copy_on_its_way_to_an_alias_brings_no_forgotten_order_back(
    keys: dict[str, str], left: list[dict[str, str]]
) -> None:
    site, _ = before_and_after(1)
    forget(site, ("order", "o1"))
    worker = drained(site)
    (event,) = with_keys([AGAIN], session="S1", **keys)
    copy = b'{"to":"session:S1","event":%s}' % json.dumps(event).encode()
    site.produce([Record(EVENTS, b"session:S1", copy, ((KIND, b"copy"),), 0)])
    worker.drain()
    assert [row.event.keys for row in site.store.load_kept([("session", "S1")])["session", "S1"]] == left
    assert mentions(site.store, '"o1"') == mentions(site.store, "'o1'") == []


@pytest.mark.parametrize("partitions", [2, 3, 4])
def test_33_a_replay_brings_no_holder_of_a_cart_back_not_even_for_a_while(partitions: int) -> None:
    site = untrimmed(Site(partitions))
    for number, who in enumerate(("VINET", "TOMSP", "TOMSP", "TOMSP")):
        send(
            site,
            with_keys(told("order", f"held-{number}", "placed 0m", AMOUNT), customer=who, cart="C9"),
            epoch=number + 1,
        )
    site.hear(START + DAY)
    drained(site)
    site.evict_all()
    assert "_disputes" in mentions(site.store, "held-0")
    forget(site)
    drained(site)
    site.evict_all()
    site.log.groups.clear()
    site.hear(START + DAY + MINUTE)
    worker = site.worker(max_records=1)
    for _ in range(60):
        worker.step()
        assert "_disputes" not in mentions(site.store, "held-0")
    worker.drain()
    assert mentions(site.store, "held-0") == []


def test_33_a_word_is_obeyed_where_anonymous_input_was_set_aside() -> None:
    site = untrimmed(Site(1))
    send(site, with_keys(told("order", "o1", "placed 0m", AMOUNT), customer="VINET"))
    site.produce([Record(EVENTS, b"k", b'{"bad": %d}' % number, (), 0) for number in range(300)])
    site.hear(START + DAY)
    worker = drained(site)
    forget(site)
    worker.drain()
    assert orders(site) == set()
    assert mentions(site.store, "VINET") == []


@pytest.mark.parametrize("keys", [{"order": "o5", "customer": "VINET"}, {"cart": "c1", "order": "o1"}])
def test_33_what_was_forwarded_too_often_does_not_stop_the_worker(keys: dict[str, str]) -> None:
    site, _ = before_and_after(3)
    forget(site)
    worker = drained(site)
    lines = [json.dumps({**AGAIN, "id": f"{n}", "keys": keys}).encode() for n in range(2)]
    headers = ((KIND, b"event"), ("ls-depth", b"64"))
    before = sum(site.store.count_quarantine().values())
    site.produce([Record(EVENTS, b"x", b"\n".join(lines), headers, number) for number in range(3)])
    worker.drain()
    for gone in ("VINET'", "'o5'", '"o5"', "'o1'", '"o1"'):
        assert mentions(site.store, gone) == [], gone
    assert sum(site.store.count_quarantine().values()) - before == (0 if "customer" in keys else 4), "each by its place"
