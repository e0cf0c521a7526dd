"""Fault 41: events after retention, and order numbers that come round, are recorded and never judged onto the old order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.generations import number_of
from pipeline.store.contract import VerdictQuery
from pipeline.store.memory import MemoryStore
from schemas.times import DAY
from tests.faults.site import Crash, Crashing, Name, Said, Site
from tests.faults.stories import ORDER, START, Event, told

AMOUNT = {"parcels": 1, "amount": 20, "currency": "EUR"}
DONE = told("order", "o1", ORDER, AMOUNT)
LOST = told("order", "o2", "placed 0m, paid 2m", AMOUNT)
FRESH = told("order", "o3", ORDER, AMOUNT, START + 95 * DAY)
LATE = [{**told("order", "o1", "delivered 3.2d #p2", {})[0], "id": "o1/late"}]


def site_of(partitions: int = 1, store: MemoryStore | None = None, **landscape: Any) -> Site:
    site = Site(partitions, store)
    site.landscape = site.landscape.model_copy(update={"retention": 90 * DAY, **landscape})
    site.log.trim = lambda positions, *, wipe=False: None  # type: ignore[method-assign]  # as Kafka, which keeps what was read
    return site


def numbered(events: list[Event]) -> list[Event]:
    """With the running numbers that the audit counts by."""
    return [{**event, "source": "app", "epoch": 1, "seq": number} for number, event in enumerate(events, 1)]


def orders(site: Site) -> set[str]:
    return {row.transaction_id for row in site.store.verdicts(VerdictQuery(excluded=None))}


def tables(store: object, id: str) -> list[str]:
    """Tables of a store in memory, but for tombstones, that name a transaction anywhere in a row."""
    found = []
    for table, rows in vars(store).items():
        if (
            isinstance(rows, dict)
            and table not in ("_tombstones", "_accounts", "_late")
            and f"'{id}'" in repr(_items(rows))
        ):
            found.append(table)
    return found


def _items(rows: dict[object, object]) -> list[object]:
    return [(key, value) for key, value in rows.items() if value]


def phases(site: Site, each: int = 4) -> Iterator[None]:
    site.send(numbered(DONE + LOST), each=each)
    site.hear(START + 20 * DAY)
    yield
    site.send(FRESH, each=each, source="app", epoch=2)
    site.hear(START + 101 * DAY)
    yield
    site.send(LATE, source="app", epoch=3)
    site.hear(START + 102 * DAY)
    yield


def play(site: Site, crash: Crashing | None = None) -> None:
    worker = site.worker(checkpoint=crash or (lambda _: None))
    for _ in phases(site):
        while True:
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = site.worker()


def test_what_ended_long_ago_goes_from_every_table_and_what_is_open_stays() -> None:
    site = site_of()
    play(site)
    assert orders(site) == {"o2", "o3"}, "o1 ended on the third day; o2 was lost, which is no end"
    assert tables(site.store, "o1") == []
    assert site.verdicts()["order", "o2", "order"].status == "lost"
    assert site.verdicts()["order", "o3", "order"].status == "completed"


def test_what_arrives_then_is_recorded_as_late_and_never_judged() -> None:
    site = site_of()
    play(site)
    assert site.store.count_late() == 1
    (late,) = site.store.late()
    assert (late.transaction_id, late.event.id) == ("o1", "o1/late")
    assert ("order", "o1", "order") not in site.verdicts()
    assert tables(site.store, "o1") == []


def test_the_audit_finds_the_numbers_of_what_went() -> None:
    site = site_of()
    play(site)
    found = {(row.first, row.last) for row in site.store.numbers("app", 1) if row.how == "expired"}
    assert found == {(1, len(DONE))}
    assert {row.how for row in site.store.numbers("app", 1)} == {"expired", "stored"}


def test_of_events_without_a_number_it_is_known_that_they_went() -> None:
    site = site_of()
    worker = site.worker()
    site.send(DONE, source="app", epoch=1)
    for days in (20, 101):
        site.hear(START + days * DAY)
        worker.drain()
    assert orders(site) == set()
    assert [tuple(row) for row in site.store.numbers()] == [("app", 1, "expired", 0, 0)]


def test_without_a_retention_nothing_goes() -> None:
    site = site_of(retention=None)
    play(site)
    assert orders(site) == {"o1", "o2", "o3"}
    assert site.store.count_late() == 0


def test_the_wall_says_nothing_about_retention() -> None:
    """Control time counts: while nobody writes to control, nothing grows old."""
    site = site_of()
    worker = site.worker()
    site.send(DONE)
    site.hear(START + 20 * DAY)
    worker.drain()
    site.time += 1_000 * DAY
    worker._retention.sweep([0], worker.fold.now)
    assert orders(site) == {"o1"}


STEPS = ("write_accounts", "write_tombstones", "delete_transactions")


@pytest.mark.parametrize("operation", STEPS)
def test_36_a_crash_before_any_step_of_a_sweep_is_made_good_by_the_next(operation: str) -> None:
    armed = [True]

    def before(name: str) -> None:
        if name == operation and armed[0] and site.time > START + 90 * DAY:
            armed[0] = False
            raise Crash(name)

    site = site_of(store=MemoryStore(before))
    worker = site.worker()
    for _ in phases(site):
        while True:
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = site.worker()
    assert not armed[0]
    calm = site_of()
    play(calm)
    assert site.verdicts() == calm.verdicts()
    assert tables(site.store, "o1") == []
    assert site.store.count_late() == 1
    assert list(site.store.numbers()) == list(calm.store.numbers())


def test_a_replay_of_the_log_brings_nothing_back() -> None:
    site = site_of()
    play(site)
    before = site.verdicts()
    site.log.groups.clear()
    worker = site.worker("another")
    worker.drain()
    assert site.verdicts() == before
    # A claim that is read again leads to what is late; nothing is judged.
    assert tables(site.store, "o1") in ([], ["_links"])


def test_a_tombstone_goes_too_and_then_the_number_is_new() -> None:
    site = site_of(tombstones=30 * DAY)
    play(site)
    worker = site.worker("another")
    site.evict_all()
    site.hear(START + 140 * DAY)
    worker.drain()
    site.send([{**LATE[0], "id": "o1/later"}])
    site.hear(START + 141 * DAY)
    worker.drain()
    assert site.store.count_late() == 1
    assert ("order", "o1", "order") in site.verdicts()


def test_events_that_nobody_claims_are_given_up_in_time_and_counted() -> None:
    site = site_of(keep_for=10 * DAY)
    worker = site.worker()
    site.send([{**LATE[0], "keys": {"parcel": "P9"}, "source": "app", "epoch": 1, "seq": 7}])
    site.hear(START + 5 * DAY)
    worker.drain()
    assert site.store.count_parked() == 1
    site.hear(START + 20 * DAY)
    worker.drain()
    assert site.store.count_parked() == 0
    assert [(row.first, row.last, row.how) for row in site.store.numbers("app", 1)] == [(7, 7, "expired")]


# Numbers that come round ---------------------------------------------------------------------------------------------

REUSE = 60 * DAY
OLD = told("order", "7", ORDER, AMOUNT)
NEW = [
    {**event, "id": f"new/{event['id']}"}
    for event in told("order", "7", "placed 0m, paid 2m, confirmed 4m", AMOUNT, START + 200 * DAY)
]


def round_site(partitions: int = 1, **landscape: Any) -> Site:
    site = site_of(partitions, **landscape)
    keys = dict(site.landscape.keys)
    keys["order"] = keys["order"].model_copy(update={"reuse_after": REUSE})
    site.landscape = site.landscape.model_copy(update={"keys": keys})
    return site


def by_start(site: Site) -> dict[int, Said]:
    """What is said of the generations of 7, by when they began."""
    found: dict[Name, Said] = site.verdicts()
    assert all(number_of(name[1]) == "7" for name in found)
    return {said.started_at: said for said in found.values()}


def alone(events: list[Event], until: int) -> Said:
    site = site_of(retention=None)
    site.send(events)
    site.hear(until)
    site.worker().drain()
    (said,) = site.verdicts().values()
    return said


def test_a_number_that_comes_round_is_another_order() -> None:
    site = round_site(retention=None)
    site.send(OLD + NEW)
    site.hear(START + 201 * DAY)
    site.worker().drain()
    assert orders(site) == {"7", "7↻2"}
    said = by_start(site)
    assert said[START] == alone(OLD, START + 201 * DAY)
    assert said[START + 200 * DAY] == alone(NEW, START + 201 * DAY)
    found = {row.transaction_id for row in site.store.find_keys("7", "order")}
    assert found == {"7", "7↻2"}, "who looks for 7 finds both"


@pytest.mark.parametrize("split", list(permutations(range(3))))
def test_in_any_order_of_arrival_with_a_new_worker_each_time(split: tuple[int, ...]) -> None:
    parts = [OLD[:4], OLD[4:], NEW]
    site = round_site(2, retention=None)
    for place in split:
        site.send(parts[place])
        worker = site.worker(f"w{place}")
        site.hear(START + 201 * DAY)
        worker.drain()
        site.evict_all()
    said = by_start(site)
    assert said[START] == alone(OLD, START + 201 * DAY)
    assert said[START + 200 * DAY] == alone(NEW, START + 201 * DAY)


@settings(max_examples=20, deadline=None)
@given(st.permutations(OLD[:5] + NEW), st.integers(1, 4))
def test_in_any_order_of_single_events(events: list[Event], each: int) -> None:
    site = round_site(retention=None)
    site.send(events, each=each)
    site.hear(START + 201 * DAY)
    site.worker(max_records=1).drain()
    said = by_start(site)
    assert said[START] == alone(OLD[:5], START + 201 * DAY)
    assert said[START + 200 * DAY] == alone(NEW, START + 201 * DAY)


def test_when_the_old_one_has_gone_what_is_late_is_its_own_and_the_new_one_is_new() -> None:
    site = round_site()
    site.send(OLD)
    site.hear(START + 20 * DAY)
    worker = site.worker()
    worker.drain()
    site.hear(START + 150 * DAY)
    worker.drain()
    assert orders(site) == set(), "ended, and gone"
    site.evict_all()
    worker = site.worker("another")
    site.send([{**OLD[-1], "id": "late", "time": START + 4 * DAY}])
    site.send(NEW)
    site.hear(START + 201 * DAY)
    worker.drain()
    assert site.store.count_late() == 1
    assert orders(site) == {"7↻2"}
    assert by_start(site)[START + 200 * DAY] == alone(NEW, START + 201 * DAY)


@pytest.mark.parametrize("step", ["decode", "write events", "merge", "write verdicts", "commit"])
def test_a_crash_while_a_number_comes_round(step: str) -> None:
    site = round_site(retention=None)
    crash = Crashing(2, step)
    worker = site.worker(checkpoint=crash, max_records=1)
    for part in (OLD, NEW):
        site.send(part, each=2)
        site.hear(START + 201 * DAY)
        while True:
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = site.worker()
    assert orders(site) == {"7", "7↻2"}
    said = by_start(site)
    assert said[START] == alone(OLD, START + 201 * DAY)
    assert said[START + 200 * DAY] == alone(NEW, START + 201 * DAY)


def test_a_crash_before_the_ids_of_two_generations_were_told_and_a_replay_in_other_batches() -> None:
    """Both new ones lie in one batch, the later one first; the events are stored, and the worker dies."""
    third = [
        {**event, "id": f"3rd/{event['id']}"} for event in told("order", "7", "placed 0m", AMOUNT, START + 400 * DAY)
    ]
    site = round_site(retention=None)
    site.send(OLD)
    site.hear(START + 401 * DAY)
    site.worker().drain()
    site.evict_all()
    site.send(third + NEW)
    with pytest.raises(Crash):
        site.worker(checkpoint=Crashing(1, "write events")).drain()
    site.evict_all()
    site.worker(max_records=1).drain()
    said = by_start(site)
    assert sorted(said) == [START, START + 200 * DAY, START + 400 * DAY]
    assert said[START + 200 * DAY] == alone(NEW, START + 401 * DAY)
    assert said[START + 400 * DAY] == alone(third, START + 401 * DAY)


def test_41_who_has_gone_is_in_memory_once_however_often_partitions_come_and_go() -> None:
    site = site_of(2)
    play(site)
    site.evict_all()
    worker = site.worker()
    for _ in range(4):
        worker.drain()
        assert set(worker.owned) == {0, 1}
        gone = worker._retention._gone
        assert ("order", "o1") in gone
        assert sum(part.count for members in gone.homes.values() for part in members._slices) == 1
        site.evict(worker)
