"""What claims bring about, from end to end: under what an event is looked for, what a person's word frees, and whose a number is
that came round."""

from __future__ import annotations

import pytest

from pipeline.answers import links, unlinked
from pipeline.answers.judging import Bench
from pipeline.answers.lookup import lookup
from pipeline.errors import Invalid
from pipeline.worker import Worker
from schemas.flow import Flows
from schemas.flow_file import parse_flow
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.faults.site import Site
from tests.faults.stage import PAID, PLACED, decided, flows_of
from tests.faults.stories import START, Event

FLOWS = flows_of()
PAYMENT = ("payment", "P1")


def event(id: str, what: tuple[str, str], minute: int = 0, **keys: str) -> Event:
    return {"id": id, "system": what[0], "step": what[1], "time": START + minute * MINUTE, "keys": keys}


def read(site: Site, worker: Worker, *told: Event) -> None:
    for one in told:
        site.time += SECOND
        site.send([one])
    site.hear(START + HOUR)
    worker.drain()


def word(site: Site, worker: Worker, alias: str, order: str, said: str) -> None:
    site.time += SECOND
    site.produce([decided(alias, order, said, site.partitions)])
    site.hear(START + HOUR)
    worker.drain()


def bench(site: Site) -> Bench:
    return Bench(site.store, site.flows, site.landscape, site.clock)


def joined(site: Site, id: str, kind: str = "order") -> list[str]:
    return sorted({one.id for one in site.store.load_events([(kind, id)])[kind, id]})


def said(site: Site) -> dict[str, str]:
    return {name[1]: str(one.status) for name, one in site.verdicts().items()}


SHARING = """
flow: orders
version: 1
key: order
keys: {batch: {alias: shared}}
lost_after: 5d
steps:
  placed: {system: shop, start: true}
  paid: {system: payments, after: placed, within: 15m, end: completed}
"""
CARTS = """
flow: carts
version: 1
key: cart
keys: {payment: alias}
lost_after: 5d
steps:
  labelled: {system: warehouse, start: true}
  paid: {system: payments, after: labelled, within: 15m, end: completed}
"""


def test_an_event_with_anothers_own_alias_is_found_by_the_one_that_it_shares() -> None:
    site = Site(3, flows=Flows([parse_flow(SHARING), parse_flow(CARTS)]))
    worker = site.worker()
    read(site, worker, event("a", PLACED, order="1", batch="B1"), event("y", PAID, 5, payment="P1", batch="B1"))
    assert said(site) == {"1": "completed"}
    read(site, worker, event("c", ("warehouse", "labelled"), cart="9", payment="P1"))
    assert (joined(site, "1"), joined(site, "9", "cart")) == (["a", "y"], ["c", "y"])


def test_what_a_person_said_no_to_is_unlinked_again() -> None:
    site = Site(3, flows=FLOWS)
    worker = site.worker()
    read(site, worker, event("a", PLACED, order="1", payment="P1"), event("y", PAID, 5, payment="P1"))
    assert site.store.count_parked() == 0
    word(site, worker, "payment:P1", "1", "break")
    assert site.store.count_parked() == 1
    assert [one.alias for one in unlinked.held(bench(site), "P1")] == [PAYMENT]
    word(site, worker, "payment:P1", "1", "accept")
    assert site.store.count_parked() == 0
    assert unlinked.held(bench(site), "P1") == []


@pytest.fixture
def round_again() -> Site:
    """Order 7 of long ago, and another order 7 that contests a payment with order 8."""
    site = Site(4, flows=FLOWS)
    orders = site.landscape.keys["order"].model_copy(update={"reuse_after": 30 * DAY})
    site.landscape = site.landscape.model_copy(update={"keys": {**site.landscape.keys, "order": orders}})
    return site


@pytest.mark.parametrize("named", ["order:7", "order:7↻2"])
def test_a_word_on_a_number_that_came_round_is_of_the_number(round_again: Site, named: str) -> None:
    site, worker = round_again, round_again.worker()
    read(site, worker, {**event("o", PLACED, order="7"), "time": START - 100 * DAY})
    read(
        site, worker, event("a", PLACED, order="7", payment="P1"), event("b", PLACED, order="8", payment="P1"),
        event("y", PAID, 5, payment="P1"),
    )  # fmt: skip
    assert said(site)["7↻2"] == said(site)["8"] == "unknown"
    transaction = links.named(bench(site), named, "TRANSACTION")
    assert links.decide(bench(site), PAYMENT, transaction, accept=False)
    site.produce([links.decide(bench(site), PAYMENT, transaction, accept=True)])
    site.hear(START + 2 * HOUR)
    worker.drain()
    assert said(site)["7↻2"] == "completed"
    assert (joined(site, "7"), joined(site, "7↻2")) == (["o"], ["a", "y"])
    claims = {(one.transaction[1], one.decided) for one in links.page(bench(site), PAYMENT).claimants}
    assert claims == {("7", "accepted"), ("8", "")}


def test_nobody_of_whom_nothing_is_known_is_accepted(round_again: Site) -> None:
    with pytest.raises(Invalid, match="nothing is known of order 7↻2 yet"):
        links.decide(bench(round_again), PAYMENT, ("order", "7↻2"), accept=True)


def test_a_number_that_came_with_anothers_event_finds_the_other_alone() -> None:
    """While the payment was contested its event was kept with both; of the one that it was taken from it says nothing."""
    site = Site(3, flows=FLOWS)
    worker = site.worker()
    read(
        site, worker, event("a", PLACED, order="1", payment="P1"), event("b", PLACED, order="2", payment="P1"),
        event("y", PAID, 5, payment="P1", customer="C9"),
    )  # fmt: skip
    assert [one.transaction[1] for one in lookup(bench(site), "C9")[0]] == ["1", "2"]
    word(site, worker, "payment:P1", "1", "accept")
    assert [one.transaction[1] for one in lookup(bench(site), "C9")[0]] == ["1"]
    assert [one.transaction[1] for one in lookup(bench(site), "2")[0]] == ["2"]


def later(one: Event, by: int) -> Event:
    return {**one, "time": one["time"] + by}


@pytest.mark.parametrize("restarted", [False, True])
def test_who_was_deleted_contests_nothing(restarted: bool) -> None:
    """A payment's number that comes round, of orders that retention took: what a worker remembers of them counts no more."""
    site = Site(1, flows=FLOWS)
    site.landscape = site.landscape.model_copy(update={"retention": 90 * DAY})
    worker = site.worker()
    read(site, worker, event("a", PLACED, order="1", payment="P1"), event("y", PAID, 5, payment="P1"))
    site.hear(START + 95 * DAY)
    worker.drain()
    site.time += 2 * HOUR
    worker.drain()
    assert said(site) == {}
    if restarted:
        worker.close()
        worker = site.worker("w2")
    site.time = START + 100 * DAY + HOUR
    site.send([
        later(event("b", PLACED, order="2", payment="P1"), 100 * DAY),
        later(event("z", PAID, 5, payment="P1"), 100 * DAY),
    ])  # fmt: skip
    site.hear(START + 101 * DAY)
    worker.drain()
    assert said(site) == {"2": "completed"}
    assert joined(site, "2") == ["b", "z"]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_given_up_joins_nothing_any_more(restarted: bool) -> None:
    """FAULTS.md 41: an event was kept until nobody waited for it; memory keeps it no longer than the store does."""
    site = Site(1, flows=FLOWS)
    worker = site.worker()
    read(site, worker, event("y", PAID, 5, payment="P1"))
    site.hear(START + 95 * DAY)
    worker.drain()
    site.time += 25 * HOUR
    worker.drain()
    assert site.store.load_kept([PAYMENT])[PAYMENT] == []
    if restarted:
        worker.close()
        worker = site.worker("w2")
    site.time = START + 100 * DAY
    site.send([event("b", PLACED, order="2", payment="P1")])
    site.hear(START + 101 * DAY)
    worker.drain()
    assert joined(site, "2") == ["b"]


LATER = """
flow: late
version: {version}
key: order
{more}keys: {{{keys}}}
lost_after: 5d
steps:
  placed: {{system: shop, start: true}}
  paid: {{system: payments, after: placed, within: 15m, end: completed}}
  labelled: {{system: warehouse, after: placed, optional: true, again: 9}}
"""


@pytest.mark.parametrize("other", ["customer: search", "tracking: alias"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_alias_that_a_later_version_knows_joins_the_orders_that_are_open(restarted: bool, other: str) -> None:
    """Under the old version nobody announced it; the payment that was kept is joined without any further event."""
    old = parse_flow(LATER.format(version=1, more="", keys=other))
    new = parse_flow(LATER.format(version=2, more="applies_to: open\n", keys=f"{other}, payment: alias"))
    site = Site(3, flows=Flows([old]))
    worker = site.worker()
    read(
        site, worker, event("a", PLACED, order="1", payment="P1", tracking="X1"), event("y", PAID, 5, payment="P1"),
        event("b", PLACED, order="2", payment="P2"),
    )  # fmt: skip
    assert said(site) == {"1": "stalled", "2": "stalled"}
    if restarted:
        worker.close()
        worker = site.worker("w2", flows=Flows([old, new]))
    else:
        site.worker("publisher", flows=Flows([old, new])).close()
    site.time += SECOND
    worker.drain()
    site.hear(START + 2 * HOUR)
    worker.drain()
    assert said(site) == {"1": "completed", "2": "stalled"}
    assert joined(site, "1") == ["a", "y"]
    # Announced once, not again at each assignment.
    links_before = site.store.load_links([PAYMENT])
    worker.close()
    site.worker("w3", flows=Flows([old, new])).drain()
    assert site.store.load_links([PAYMENT]) == links_before
