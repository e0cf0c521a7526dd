"""Fault 33, deletion reaches every copy: what a person wants forgotten goes from every table and stays away, whatever crashes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from pipeline.answers import erasure
from pipeline.log.sqlite import SqliteLog
from pipeline.store.clickhouse import ClickHouseStore
from pipeline.store.contract import Store, VerdictQuery
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from pipeline.store.rows import home
from pipeline.work.reading import Reading
from pipeline.worker import Policy, Worker
from schemas.flow import Flows
from schemas.joined import Forget, address, encode_lines
from schemas.times import DAY, MINUTE
from tests.contract.stores import TABLES
from tests.faults.site import Crash, Crashing, Site
from tests.faults.stories import ORDER, START, Event, records_of, told
from tests.faults.test_retention import round_site
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record

AMOUNT = {"parcels": 1, "amount": 20, "currency": "EUR"}
SALT = "00112233445566778899aabbccddeeff"
WHO = ("customer", "VINET")


def with_keys(events: list[Event], **keys: str) -> list[Event]:
    return [{**event, "keys": {**event["keys"], **keys}} for event in events]


def by_alias(events: list[Event], alias: str, value: str) -> list[Event]:
    """The same without the transaction's name."""
    return [{**event, "id": f"{event['id']}/alias", "keys": {alias: value}} for event in events]


def world() -> list[Event]:
    """o1 and o2 are VINET's, o1 with a payment and a cart of its own; o3 is somebody else's, with a parcel shared with o1."""
    o1 = told("order", "o1", ORDER, AMOUNT)
    o1 = [with_keys(o1[:1], customer="VINET")[0], with_keys(o1[1:2], payment="pay-1")[0], *o1[3:]]
    paid = by_alias(told("order", "o1", "paid 2m", {}), "payment", "pay-1")
    o2 = with_keys(told("order", "o2", "placed 0m, paid 2m", AMOUNT), customer="VINET")
    o3 = with_keys(told("order", "o3", ORDER.replace("#p1", "").replace("  ", " "), AMOUNT), parcel="SHARED")
    o3 = [with_keys(o3[:1], customer="TOMSP")[0], *o3[1:]]
    cart = told("checkout", "c1", "opened 0m", {}) + with_keys(told("checkout", "c1", "placed 8m", {}), order="o1")
    cart[1]["id"] = "c1/placed"
    return [*o1, *paid, *o2, *o3, *cart, *waiting()]


def waiting() -> list[Event]:
    """Events that nobody claims: VINET's under an unknown payment, and somebody else's."""
    (one,) = told("order", "x", "paid 2m", {})
    return [
        {**one, "id": "waits/1", "keys": {"payment": "pay-9", "customer": "VINET"}},
        {**one, "id": "waits/2", "keys": {"payment": "pay-8"}},
    ]


POISON = [
    b'{"id": "bad", "keys": {"customer": "VINET"}, "seq": 77, "time": "yesterday"}',
    b'{"bad": "TOMSP, not VINETA"}',
]


def send(site: Site, events: list[Event], epoch: int = 1) -> None:
    counted = [{**event, "source": "app", "epoch": epoch, "seq": number} for number, event in enumerate(events, 1)]
    site.send(counted, each=3, epoch=epoch)


def send_poison(site: Site) -> None:
    headers = ((KIND, b"event"), (SOURCE, b"bad"), (EPOCH, b"1"))
    site.produce([Record(EVENTS, b"k", body, headers, site.partitions - 1) for body in POISON])


def forget(site: Site, key: tuple[str, str] = WHO) -> None:
    """What ``lastseen forget`` writes: one record in each partition."""
    body = encode_lines([Forget(address(*key), SALT)])
    site.produce(
        [Record(EVENTS, address(*key).encode(), body, ((KIND, b"forget"),), n) for n in range(site.partitions)]
    )


def mentions(store: Store, value: str) -> list[str]:
    """Tables of a store in memory in which a value stands anywhere."""
    return [
        table
        for table, rows in vars(store).items()
        if isinstance(rows, dict) and value in repr([item for item in rows.items() if item[1]])
    ]


def orders(site: Site) -> set[str]:
    return {row.transaction_id for row in site.store.verdicts(VerdictQuery(excluded=None))}


def drained(site: Site, make: Callable[[], Worker] | None = None) -> Worker:
    make = make or site.worker
    worker = make()
    while True:
        try:
            worker.drain()
            return worker
        except Crash:
            site.evict_all()
            worker = make()


def untrimmed(site: Site) -> Site:
    """As Kafka, which keeps what was read."""
    site.log.trim = lambda positions, *, wipe=False: None  # type: ignore[method-assign]
    return site


def before_and_after(partitions: int = 2) -> tuple[Site, dict[Any, Any]]:
    site = untrimmed(Site(partitions))
    send(site, world())
    send_poison(site)
    site.hear(START + 20 * DAY)
    drained(site)
    assert orders(site) == {"o1", "o2", "o3", "c1"}
    site.evict_all()
    return site, site.verdicts()


@pytest.mark.parametrize("partitions", [1, 3])
def test_33_a_customer_goes_from_every_table_with_all_that_carries_the_number(partitions: int) -> None:
    site, _ = before_and_after(partitions)
    assert {"_events", "_keys", "_kept", "_quarantine"} <= set(mentions(site.store, "VINET"))
    forget(site)
    drained(site)
    for gone in ("VINET", "'o1'", "'o2'", '"o1"', '"o2"', "pay-1", "pay-9"):
        left = mentions(site.store, gone)
        # VINETA is somebody else, in somebody else's poison.
        assert left == (["_quarantine"] if gone == "VINET" else []), gone
    assert "VINETA" in repr(site.store.quarantine())
    assert len(site.store.quarantine()) == 1


@pytest.mark.parametrize("partitions", [1, 3])
def test_33_others_are_untouched(partitions: int) -> None:
    site, before = before_and_after(partitions)
    forget(site)
    drained(site)
    assert orders(site) == {"o3", "c1"}, "the cart carries order o1, not the customer"
    after = site.verdicts()
    assert after == {name: said for name, said in before.items() if name[1] in ("o3", "c1")}
    assert [row.event.id for row in site.store.parked()] == ["waits/2"]


def test_33_who_forgets_an_order_takes_its_name_out_of_the_cart_that_became_it() -> None:
    site, before = before_and_after()
    forget(site, ("order", "o1"))
    drained(site)
    assert orders(site) == {"o2", "o3", "c1"}
    for gone in ("'o1'", '"o1"', "pay-1"):
        assert mentions(site.store, gone) == [], gone
    assert site.verdicts() == {name: said for name, said in before.items() if name[1] in ("o2", "o3", "c1")}
    (placed,) = [event for event in site.store.load_events([("cart", "c1")])["cart", "c1"] if event.step == "placed"]
    assert placed.keys == {"cart": "c1"}


def test_33_a_short_number_takes_along_no_text_in_which_it_is_part_of_something_else() -> None:
    site, texts = untrimmed(Site(1)), {"promised_at": "2026-03-10T09:00:00Z", "note": "for 10, by order:10."}
    placed = {**with_keys(told("checkout", "c1", "placed 8m", {}), order="10")[0], "attributes": texts}
    send(site, [placed, *told("order", "10", "placed 0m", AMOUNT)])
    site.hear(START + DAY)
    drained(site)
    site.evict_all()
    forget(site, ("order", "10"))
    drained(site)
    (left,) = site.store.load_events([("cart", "c1")])["cart", "c1"]
    assert left.attributes == {"promised_at": "2026-03-10T09:00:00Z"}


def test_33_nothing_that_was_said_of_a_cart_rests_on_an_event_with_the_name_of_an_order() -> None:
    site = untrimmed(Site(2))
    placed = told("checkout", "c1", "placed 8m, placed 9m", {})
    placed = [{**event, "id": f"shop/o-4711/{n}"} for n, event in enumerate(with_keys(placed, order="o-4711"))]
    send(site, [*told("checkout", "c1", "opened 0m", {}), *placed, *told("order", "o-4711", "placed 0m", AMOUNT)])
    site.hear(START + 20 * DAY)
    drained(site)
    site.evict_all()
    assert {"_verdicts", "_flips"} <= set(mentions(site.store, "shop/o-4711/"))
    forget(site, ("order", "o-4711"))
    drained(site)
    assert mentions(site.store, "o-4711") == []
    (said,) = site.store.load_verdicts([("cart", "c1")])["cart", "c1"]
    assert (said.findings, "forgotten:" in said.body) == (("duplicate",), True), "it was judged again"


def test_33_nothing_of_it_comes_back_and_what_tries_is_counted() -> None:
    site, _ = before_and_after()
    forget(site)
    worker = drained(site)
    later = [
        with_keys(told("order", "o4", "placed 0m", AMOUNT, START + 21 * DAY), customer="VINET")[0],
        {**told("order", "o4", "paid 2m", AMOUNT, START + 21 * DAY)[0], "id": "o4/paid"},
        {**told("order", "o1", "picked 2d", AMOUNT)[0], "id": "o1/again"},
        {**told("order", "x", "paid 2m", {})[0], "id": "pay/again", "keys": {"payment": "pay-1"}},
        with_keys(told("order", "o3", "delivered 4d", AMOUNT), parcel="SHARED")[0] | {"id": "o3/again"},
        {**with_keys(told("checkout", "c1", "placed 9m", {}), order="o1")[0], "id": "c1/again"},
    ]
    send(site, later, epoch=2)
    site.hear(START + 22 * DAY)
    worker.drain()
    assert orders(site) == {"o3", "c1"}
    for gone in ("'o1'", "'o4'", '"o4"', "pay-1"):
        assert mentions(site.store, gone) == [], gone
    counted = {(row.how, row.first, row.last) for row in site.store.numbers("app", 2)}
    assert counted == {("forgotten", 1, 4), ("stored", 5, 6)}


@pytest.mark.parametrize("first", [0, 1])
def test_33_one_event_with_the_key_takes_its_transaction_along_in_either_order(first: int) -> None:
    site, _ = before_and_after()
    forget(site)
    worker = drained(site)
    events = [
        {**told("order", "o5", "paid 2m", AMOUNT, START + 21 * DAY)[0], "id": "o5/paid"},
        with_keys(told("order", "o5", "placed 0m", AMOUNT, START + 21 * DAY), customer="VINET")[0],
    ]
    for event in (events[first], events[1 - first]):
        send(site, [event], epoch=int(event["id"] == "o5/paid") + 2)
        site.hear(START + 22 * DAY)
        worker.drain()
    assert "o5" not in orders(site)
    assert mentions(site.store, "'o5'") == []


def test_33_who_goes_along_with_an_event_that_was_read_elsewhere_leaves_nothing_under_its_aliases() -> None:
    site, _ = before_and_after(3)
    forget(site)
    worker = drained(site)
    start = START + 21 * DAY
    order = told("order", "o7", "placed 0m, paid 2m", AMOUNT, start)
    paid = by_alias(told("order", "o7", "paid 3m", {}, start), "payment", "pay-7")
    send(site, [order[0], *with_keys(order[1:], payment="pay-7"), *paid], epoch=2)
    site.hear(START + 22 * DAY)
    worker.drain()
    assert {"_events", "_links", "_kept"} <= set(mentions(site.store, "pay-7"))
    (cart,) = told("checkout", "c7", "placed 8m", {}, start)
    carried = {"cart": "c7", "order": "o7", "customer": "VINET"}
    assert len({home(key, 3) for key in [("cart", "c7"), ("order", "o7"), ("payment", "pay-7")]}) == 3
    cart |= {"keys": carried, "source": "app", "epoch": 3, "seq": 1}
    site.send([cart], epoch=3, at=home(("cart", "c7"), 3))
    worker.drain()
    assert orders(site) == {"o3", "c1"}
    for gone in ("'o7'", '"o7"', "pay-7"):
        assert mentions(site.store, gone) == [], gone


def test_33_a_replay_of_the_log_from_its_beginning_brings_nothing_back() -> None:
    site, _ = before_and_after()
    forget(site)
    drained(site)
    before = site.verdicts()
    site.log.groups.clear()
    drained(site)
    assert site.verdicts() == before
    assert mentions(site.store, "VINET'") == []
    assert mentions(site.store, "'o1'") == []


def test_33_into_an_empty_store_neither() -> None:
    """The store was lost and is filled again from the log: the word lies behind what it is about."""
    site, _ = before_and_after()
    forget(site)
    drained(site)
    before = site.verdicts()
    again = Site(site.partitions, MemoryStore())
    again.log, again.sink, again.time = site.log, site.sink, site.time
    again.log.groups.clear()
    drained(again)
    assert again.verdicts() == before
    assert mentions(again.store, "VINET'") == []
    assert mentions(again.store, "'o1'") == []


def test_33_no_plain_value_is_left_to_refuse_it_by() -> None:
    site, _ = before_and_after()
    forget(site)
    drained(site)
    rows = list(site.store.tombstones(["forgotten"]))
    assert {row.key_type for row in rows} == {"customer", "order", "payment"}
    assert not any(value in row.digest for row in rows for value in ("VINET", "o1", "pay"))
    assert all(SALT in row.digest for row in rows)


def test_33_the_audit_balances() -> None:
    site, _ = before_and_after()
    forget(site)
    drained(site)
    numbers = {n for row in site.store.numbers("app", 1) for n in range(row.first, row.last + 1)}
    assert numbers == set(range(1, len(world()) + 1))


OPERATIONS = (
    "write_tombstones", "write_accounts", "delete_kept", "delete_quarantine", "delete_links", "unname", "unname_in",
    "delete_tombstones", "delete_transactions",
)  # fmt: skip


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_33_a_crash_before_any_write_of_it_is_made_good(operation: str, turn: int) -> None:
    calm, _ = before_and_after()
    forget(calm)
    drained(calm)
    count = 0

    def before(name: str) -> None:
        nonlocal count
        if name == operation and armed:
            count += 1
            if count == turn:
                raise Crash(name)

    armed = False
    site = Site(2, MemoryStore(before))
    send(site, world())
    send_poison(site)
    site.hear(START + 20 * DAY)
    drained(site)
    armed = True
    site.evict_all()
    forget(site)
    drained(site)
    assert site.verdicts() == calm.verdicts()
    for gone in ("VINET'", "'o1'", '"o1"', "pay-1", "pay-9"):
        assert mentions(site.store, gone) == [], gone
    assert [row.event.id for row in site.store.parked()] == ["waits/2"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.lists(st.integers(1, 40), max_size=4), st.integers(1, 30), st.integers(0, 3))
def test_33_whatever_crashes_and_wherever_the_word_lies_among_the_events(
    partitions: int, crashes: list[int], each: int, place: int
) -> None:
    """The word comes before, between or after the events; workers die after any step, also of its own."""
    events = world()
    site = Site(partitions)
    parts = [events[::3], events[1::3], events[2::3]]
    for number, part in enumerate(parts):
        if number == place:
            forget(site)
        send(site, part, epoch=number + 1)
    if place == 3:
        forget(site)
    site.hear(START + 20 * DAY)
    plan = iter([*crashes, 10**9])
    drained(site, lambda: site.worker(checkpoint=Crashing(next(plan)), max_records=each))
    assert orders(site) == {"o3", "c1"}
    for gone in ("VINET'", '"VINET"', "'o1'", '"o1"', "'o2'", "pay-9"):
        assert mentions(site.store, gone) == [], gone


def test_33_a_contested_alias_is_the_others_alone_when_one_is_forgotten() -> None:
    """Two orders claim one payment; one is forgotten: what was said of the conflict goes, and the payment is the other's."""
    site = Site(2)
    first = with_keys(told("order", "o1", "placed 0m, paid 2m", AMOUNT), payment="pay-1")
    second = with_keys(told("order", "o6", "placed 0m", AMOUNT), payment="pay-1")
    send(site, [*first, *second, *by_alias(told("order", "o6", "paid 2m", {}), "payment", "pay-1")])
    site.hear(START + 3 * DAY)
    drained(site)
    assert any("o1" in str(row.others) for rows in site.store.load_disputes([("order", "o6")]).values() for row in rows)
    site.evict_all()
    forget(site, ("order", "o1"))
    site.hear(START + 4 * DAY)
    drained(site)
    assert orders(site) == {"o6"}
    for gone in ("'o1'", '"o1"', "order:o1"):
        assert mentions(site.store, gone) == [], gone
    alone = Site(2)
    send(alone, [*second, *by_alias(told("order", "o6", "paid 2m", {}), "payment", "pay-1")])
    alone.hear(START + 4 * DAY)
    drained(alone)
    assert site.verdicts() == alone.verdicts()


def test_33_it_is_done_when_every_partition_has_read_the_word_and_what_others_were_told() -> None:
    site = untrimmed(Site(2))
    one, other = site.worker("a"), site.worker("b")
    for _ in range(12):
        one.step()
        other.step()
        site.time += MINUTE
    (mine,), (its,) = one.owned, other.owned
    reading = Reading(site.log, site.landscape, site.sink.produce(erasure.words(site.store, (WHO,), 2)))
    before = erasure.holdings(site.store, site.landscape, (WHO,))
    assert reading.unread() == [0, 1]
    for worker, left in ((one, [its]), (other, [])):
        for _ in range(5):
            worker.step()
        after = erasure.holdings(site.store, site.landscape, (WHO,))
        assert reading.unread() == left
        report = erasure.report(before, after, site.time, 0, left)
        assert (after.marked, report["done"], report["partitions_unread"]) == (True, not left, left)
    reading.close()
    assert mine != its


@pytest.mark.parametrize("ends", ["drain", "steps"])
def test_33_the_embedded_log_holds_nothing_of_it_as_soon_as_it_was_processed(tmp_path: Path, ends: str) -> None:
    site, log = Site(1), SqliteLog(tmp_path / "log.sqlite")
    partitions, sink = log.partitions(), log.producer()
    sink.produce(
        records_of(with_keys(told("order", "o1", "placed 0m", AMOUNT), customer="VINET"), partitions=partitions)
    )
    policy = Policy(poll_ms=0, patience=0.0)
    worker = Worker(log, site.store, flows=site.flows, landscape=site.landscape, policy=policy)
    worker.drain()
    sink.produce(erasure.words(site.store, (WHO,), partitions))
    if ends == "drain":
        worker.drain()
    for _ in range(30):
        worker.step()
    assert mentions(site.store, "VINET") == []
    worker.close()
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (0,)
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"VINET" not in left, "nor do the bytes of deleted rows hold it"
    log.close()


def test_33_packed_bytes_in_quarantine_are_looked_into() -> None:
    from schemas.wire import compress

    site = Site(1)
    headers = ((KIND, b"nonsense"), ("content-encoding", b"lz4"))
    site.produce(
        [
            Record(EVENTS, b"k", compress(json.dumps({"customer": who}).encode()), headers, 0)
            for who in ("VINET", "TOMSP")
        ]
    )
    site.hear(START)
    drained(site)
    assert len(site.store.quarantine()) == 2
    site.evict_all()
    forget(site)
    drained(site)
    assert len(site.store.quarantine()) == 1


@pytest.mark.parametrize("alias", ["trace", "batch", "session"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_33_what_is_kept_for_another_flow_names_no_order_that_went_along(partitions: int, alias: str) -> None:
    """An order's event that a cart may claim by a trace, a batch or an alias of the cart's own is kept under that as well."""
    site = untrimmed(Site(partitions, flows=with_session()))
    placed, paid = told("order", "o1", "placed 0m, paid 2m", AMOUNT)
    others = {**told("order", "o2", "paid 2m", {"street": "Oak 7"})[0], "id": "o2/paid"}
    paid = {**with_keys([paid], **{alias: "S1"})[0], "attributes": {"street": "Elm 5"}}
    send(site, [*with_keys([placed], customer="VINET"), paid, *with_keys([others], **{alias: "S1"})])
    site.hear(START + DAY)
    drained(site)
    site.evict_all()
    assert "_kept" in mentions(site.store, "Elm 5")
    before = erasure.holdings(site.store, site.landscape, (WHO,))
    assert before.rows["kept"] == 1
    forget(site)
    drained(site)
    assert [mentions(site.store, gone) for gone in ("Elm 5", '"o1"')] == [[], []]
    assert "_kept" in mentions(site.store, "Oak 7")
    assert erasure.holdings(site.store, site.landscape, (WHO,), before.transactions).total == 0


def with_session() -> Flows:
    """A cart is also known by its session, an order is not."""
    flows = Site(1).flows
    alias = flows.latest("order").keys["payment"]
    cart = flows.latest("checkout")
    cart = cart.model_copy(update={"keys": {**cart.keys, "session": alias}})
    return Flows([cart, *(flow for flow in flows.all() if flow.flow != "checkout")])


def second_round(site: Site) -> Worker:
    """Order 7 and, 200 days later, another of the same number."""
    worker = site.worker()
    for n in range(2):
        at = START + n * 200 * DAY
        send(site, [{**event, "id": f"g{n}/{event['id']}"} for event in told("order", "7", ORDER, AMOUNT, at)], n + 1)
        site.hear(at + 10 * DAY)
        worker.drain()
    return worker


def test_33_one_generation_is_forgotten_by_the_id_that_lookups_show() -> None:
    site, one = round_site(retention=None), ("order", "7↻2")
    worker = second_round(site)
    before = erasure.holdings(site.store, site.landscape, (one,))
    assert (before.transactions, before.naming) == ((one,), ())
    forget(site, one)
    worker.drain()
    assert erasure.holdings(site.store, site.landscape, (one,), before.transactions).total == 0
    assert orders(site) == {"7"}


def test_33_no_tombstone_of_any_generation_spells_the_number() -> None:
    site = round_site(tombstones=3000 * DAY)
    worker = second_round(site)
    site.hear(START + 350 * DAY)
    worker.drain()
    assert {row.digest for row in site.store.tombstones(["expired"])} == {"7", "7↻2"}
    assert erasure.holdings(site.store, site.landscape, (("order", "7"),)).rows["tombstones"] == 2
    forget(site, ("order", "7"))
    worker.drain()
    assert list(site.store.tombstones(["expired"])) == []


def test_33_what_another_generation_of_the_number_keeps_stays() -> None:
    site = round_site(retention=None)
    found: list[Event] = []
    for n, (who, street) in enumerate((("VINET", "Elm 5"), ("TOMSP", "Oak 7"))):
        placed, paid = told("order", "7", "placed 0m, paid 2m", AMOUNT, START + n * 200 * DAY)
        paid = {**with_keys([paid], trace=f"T{n}")[0], "attributes": {"street": street}}
        found += [{**event, "id": f"g{n}/{event['id']}"} for event in (*with_keys([placed], customer=who), paid)]
    send(site, found)
    drained(site)
    site.evict_all()
    assert {"7", "7↻2"} <= orders(site)
    both = {"_events", "_kept"}
    assert [set(mentions(site.store, street)) for street in ("Elm 5", "Oak 7")] == [both, both]
    forget(site)
    drained(site)
    assert [set(mentions(site.store, street)) for street in ("Elm 5", "Oak 7")] == [set(), both]


VALUES = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="↻"), min_size=1, max_size=12).map(
    "q{}q".format
)


@pytest.fixture(scope="module")
def real_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseStore]:
    """chDB in a folder, migrated once."""
    store = open_embedded(tmp_path_factory.mktemp("forget"), {}, "lastseen")
    store.migrate()
    yield store
    store.close()


def rows_with(store: ClickHouseStore, value: str) -> dict[str, int]:
    """Tables in which a value stands anywhere, as text, or as JSON spells it."""
    text = (
        "SELECT count() FROM {} WHERE arrayExists(v -> position(toString(tuple(*)), v) > 0, {{values:Array(String)}})"
    )
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    # A tuple is told with quotes and backslashes escaped.
    told = {form.replace("\\", "\\\\").replace("'", "\\'") for form in forms}
    asked = {"values": sorted(forms | told)}
    return {table: n for table in TABLES if (n := store._client.rows(text.format(table), asked)[0][0])}


# Seconds each: what fails is not made smaller.
@settings(max_examples=3, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(who=VALUES, order=VALUES, payment=VALUES, partitions=st.integers(1, 3))
def test_33_no_table_of_a_real_store_holds_the_value_anywhere(
    real_store: ClickHouseStore, who: str, order: str, payment: str, partitions: int
) -> None:
    assume(len({who, order, payment}) == 3)
    for table in TABLES:
        real_store._client.command(f"TRUNCATE TABLE {table}")
    site = Site(partitions, real_store)
    placed, *rest = told("order", order, ORDER, AMOUNT)
    placed["keys"] |= {"customer": who, "payment": payment}
    placed["attributes"] = {**AMOUNT, "note": f"for {who}"}
    paid = by_alias(told("order", order, "paid 2m", {}), "payment", payment)
    torn = json.dumps({"keys": {"customer": who}}).encode()[:-2]
    send(site, [placed, *rest, *paid, *world()])
    site.produce([Record(EVENTS, b"k", torn, ((KIND, b"event"),), 0)])
    site.hear(START + 20 * DAY)
    drained(site)
    site.evict_all()
    before = {name: said for name, said in site.verdicts().items() if name[1] != order}
    held = rows_with(real_store, who)
    assert held.keys() >= {"events", "keys", "keys_by_transaction", "quarantine"}, held
    forget(site, ("customer", who))
    drained(site)
    assert rows_with(real_store, who) == rows_with(real_store, order) == rows_with(real_store, payment) == {}
    assert site.verdicts() == before
