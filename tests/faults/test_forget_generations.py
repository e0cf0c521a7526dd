"""Faults 33 and 41 together: a number comes round, and one generation of it is forgotten or expires while another lives."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.times import DAY, MINUTE
from tests.faults.site import Crashing, Site
from tests.faults.stories import ORDER, START, Event, told
from tests.faults.test_forget import AMOUNT, by_alias, drained, forget, mentions, orders, send, untrimmed, with_keys
from tests.faults.test_retention import round_site, tables

AGAIN = START + 200 * DAY
OPEN = "placed 0m, paid 2m"


def generation(number: int, story: str, start: int, **keys: str) -> list[Event]:
    placed, *rest = [{**event, "id": f"g{number}/{event['id']}"} for event in told("order", "7", story, AMOUNT, start)]
    return [*with_keys([placed], **keys), *rest]


def first(who: str, **keys: str) -> list[Event]:
    return generation(1, ORDER, START, customer=who, **keys)


def second(who: str, **keys: str) -> list[Event]:
    return generation(2, OPEN, AGAIN, customer=who, **keys)


LATER = [{**told("order", "7", "confirmed 5m", {}, AGAIN)[0], "id": "g2/later"}]


def site_with(one: list[Event], two: list[Event], partitions: int = 1) -> Site:
    site = untrimmed(round_site(partitions, retention=None))
    send(site, one)
    site.hear(AGAIN)
    send(site, two, epoch=2)
    site.hear(AGAIN + DAY)
    drained(site)
    site.evict_all()
    assert orders(site) == {"7", "7↻2"}
    return site


def then(site: Site, events: list[Event], **worker: Any) -> None:
    """What comes on a later day, to a worker that has to read back what it knows."""
    site.evict_all()
    send(site, events, epoch=3)
    site.hear(AGAIN + 2 * DAY)
    site.worker("another", **worker).drain()


def ids(site: Site, id: str) -> set[str]:
    return {event.id for event in site.store.load_events([("order", id)])["order", id]}


def links(site: Site, value: str) -> list[str]:
    return [row.transaction_id for row in site.store.load_links([("payment", value)])["payment", value]]


@pytest.mark.parametrize("partitions", [1, 3])
def test_who_forgets_the_first_generations_customer_leaves_the_second_going(partitions: int) -> None:
    site = site_with(first("VINET", payment="PAY-1"), second("TOMSP", payment="PAY-2"), partitions)
    forget(site)
    drained(site)
    assert orders(site) == {"7↻2"}
    assert (links(site, "PAY-1"), links(site, "PAY-2")) == ([], ["7"])
    more = [*LATER, *with_keys(generation(2, OPEN, AGAIN)[1:], payment="PAY-3")]
    more[1]["id"] = "g2/again"
    then(site, more)
    assert ids(site, "7↻2") >= {"g2/later", "g2/again"}
    assert links(site, "PAY-3") == ["7"], "its claims are kept, although they name the number alone"


@pytest.mark.parametrize("partitions", [1, 3])
def test_who_forgets_the_second_generations_customer_refuses_what_comes_for_it(partitions: int) -> None:
    paid = by_alias(generation(3, "paid 2m", AGAIN), "payment", "PAY-2")
    site = site_with(first("TOMSP", payment="PAY-1"), [*second("VINET", payment="PAY-2"), *paid], partitions)
    assert mentions(site.store, "PAY-2")
    forget(site)
    drained(site)
    assert orders(site) == {"7"}
    assert mentions(site.store, "PAY-2") == []
    assert links(site, "PAY-1") == ["7"]
    then(site, [*LATER, *told("order", "7", "confirmed 5m", {})])
    assert mentions(site.store, "g2/") == []
    assert "7/0" in ids(site, "7"), "what comes for the first one is its own"
    assert {(row.how, row.first, row.last) for row in site.store.numbers("app", 3)} == {
        ("forgotten", 1, 1),
        ("stored", 2, 2),
    }


def cart_with(number: str, who: str, at: int) -> Event:
    """One event that names a cart first, and is read where that lives."""
    (placed,) = told("checkout", f"c-{number}", "placed 0m", {}, at)
    return {**placed, "id": f"{number}/cart", "keys": {"cart": f"c-{number}", "order": number, "customer": who}}


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("read", ["where it lives", "elsewhere"])
def test_a_customer_who_comes_back_under_a_number_that_came_round_takes_nobody_elses_order_along(
    read: str, partitions: int
) -> None:
    site = untrimmed(round_site(partitions, retention=None))
    send(site, first("TOMSP"))
    forget(site)  # VINET, who has nothing yet
    site.hear(START + 20 * DAY)
    drained(site)
    before = ids(site, "7")
    then(site, second("VINET") if read == "where it lives" else [cart_with("7", "VINET", AGAIN)])
    assert ids(site, "7") == before
    assert orders(site) == {"7"}
    then(site, LATER)
    assert mentions(site.store, "g2/") == []
    assert orders(site) == {"7"}


@pytest.mark.parametrize("partitions", [1, 3])
def test_the_name_of_a_forgotten_generation_is_not_taken_out_of_what_names_the_next(partitions: int) -> None:
    site = site_with(first("VINET"), second("TOMSP"), partitions)
    forget(site)
    drained(site)
    then(site, [cart_with("7", "TOMSP", AGAIN + MINUTE)])
    assert "7/cart" in ids(site, "7↻2")
    (placed,) = site.store.load_events([("cart", "c-7")])["cart", "c-7"]
    assert placed.keys["order"] == "7"
    then(site, [{**cart_with("7", "TOMSP", START + MINUTE), "id": "old"}])
    assert "old" not in ids(site, "7↻2"), "of the first one only the cart is left"
    assert [event.keys.get("order") for event in site.store.load_events([("cart", "c-7")])["cart", "c-7"]].count(
        "7"
    ) == 1


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("gone", [1, 2])
def test_the_name_of_a_forgotten_generation_goes_from_what_named_it_and_stays_in_what_named_the_other(
    gone: int, partitions: int
) -> None:
    who = ["VINET", "TOMSP"] if gone == 1 else ["TOMSP", "VINET"]
    carts = [{**cart_with("7", who[0], START), "id": "one"}, {**cart_with("7", who[1], AGAIN), "id": "two"}]
    for cart in carts:
        del cart["keys"]["customer"]
    site = site_with(first(who[0]), second(who[1]), partitions)
    then(site, carts)
    site.evict_all()
    forget(site)
    drained(site)
    assert orders(site) == {"7" if gone == 2 else "7↻2", "c-7"}
    left = site.store.load_events([("cart", "c-7")])["cart", "c-7"]
    named = {event.id: "order" in event.keys for event in left}
    assert len(named) == 2
    assert [id for id, there in named.items() if there] == ["two" if gone == 1 else "one"]
    assert ("cart", "c-7") in {row[2:4] for row in site.store.find_keys("7", "order")}


def test_one_that_was_forgotten_after_its_retention_is_known_again() -> None:
    site = untrimmed(round_site())
    send(site, first("VINET"))
    site.hear(START + 20 * DAY)
    worker = site.worker()
    worker.drain()
    site.hear(START + 150 * DAY)
    worker.drain()
    late = with_keys(told("order", "7", "delivered 4d", AMOUNT), customer="VINET")
    send(site, [{**late[0], "id": "late"}], epoch=2)
    worker.drain()
    assert site.store.count_late() == 1
    forget(site)
    worker.drain()
    assert site.store.count_late() == 0
    then(site, [{**told("order", "7", "delivered 5d", AMOUNT)[0], "id": "later"}, *second("TOMSP")])
    assert mentions(site.store, "later") == []
    assert orders(site) == {"7↻2"}


@pytest.mark.parametrize("after", range(1, 16))
def test_a_crash_between_any_two_steps_leaves_the_same(after: int) -> None:
    paid = by_alias(generation(3, "paid 2m", AGAIN), "payment", "PAY-2")
    site = site_with(first("TOMSP", payment="PAY-1"), [*second("VINET", payment="PAY-2"), *paid], 2)
    forget(site)
    plan = iter([after])
    drained(site, lambda: site.worker(checkpoint=Crashing(next(plan, 10**9))))
    assert orders(site) == {"7"}
    assert mentions(site.store, "PAY-2") == []
    assert links(site, "PAY-1") == ["7"]
    then(site, LATER)
    assert mentions(site.store, "g2/") == []


def test_a_replay_of_the_log_from_its_beginning_brings_back_the_one_that_lives_alone() -> None:
    site = site_with(first("VINET", payment="PAY-1"), second("TOMSP", payment="PAY-2"), 2)
    forget(site)
    drained(site)
    before = site.verdicts()
    site.log.groups.clear()
    drained(site)
    assert site.verdicts() == before
    assert (links(site, "PAY-1"), links(site, "PAY-2")) == ([], ["7"])
    assert mentions(site.store, "VINET'") == mentions(site.store, "PAY-1") == []


def test_what_the_first_claimed_goes_with_its_retention_and_what_the_second_claims_stays() -> None:
    site = untrimmed(round_site(retention=250 * DAY))
    send(site, generation(1, ORDER, START, payment="PAY-1"))
    site.hear(START + 20 * DAY)
    worker = site.worker()
    worker.drain()
    begin = START + 245 * DAY
    site.hear(START + 240 * DAY)
    send(site, generation(2, "placed 0m", begin, payment="PAY-2"), epoch=2)
    site.hear(begin + MINUTE)
    worker.drain()
    assert (links(site, "PAY-1"), links(site, "PAY-2")) == (["7"], ["7"])
    site.hear(START + 256 * DAY)
    worker.drain()
    assert orders(site) == {"7↻2"}
    assert (links(site, "PAY-1"), links(site, "PAY-2")) == ([], ["7"])
    site.evict_all()
    send(site, [{**by_alias(told("order", "x", "paid 2m", {}, begin), "payment", "PAY-2")[0], "id": "paid"}], epoch=3)
    site.hear(START + 257 * DAY)
    site.worker("another").drain()
    assert "paid" in ids(site, "7↻2")
    assert site.store.count_parked() == 0


def test_each_of_many_generations_is_an_order_and_leaves_nothing_but_its_tombstone() -> None:
    site = untrimmed(round_site(tombstones=3_000 * DAY))
    worker = site.worker()
    for number in range(6):
        at = START + number * 200 * DAY
        send(site, generation(number, ORDER, at, payment=f"PAY-{number}"), epoch=number + 1)
        site.hear(at + 10 * DAY)
        worker.drain()
        assert len(orders(site)) == 1
        site.hear(at + 150 * DAY)
        worker.drain()
        assert orders(site) == set()
        assert tables(site.store, f"PAY-{number}") == []
    assert site.store.count_late() == 0
    assert {row.digest for row in site.store.tombstones(["expired"])} == {"7", *(f"7↻{n}" for n in range(2, 7))}
