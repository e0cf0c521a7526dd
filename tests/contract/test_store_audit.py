"""Running numbers: every store makes the same ranges of what it has, whatever the copies, the order and the gaps."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pipeline.store.accounts import AccountRow, NumberRange
from pipeline.store.contract import EventRow, ParkedRow, QuarantineRow, SourceRow, Store
from tests.contract.stores import T, client_of, event, served_folder, shared_store, store

__all__ = ["served_folder", "shared_store", "store"]


def numbered(number: int, source: str = "shop-1", epoch: int = 7, order: str = "1", **more: Any) -> EventRow:
    return event(f"{source}/{epoch}/{number}", order, seq=number, source=source, epoch=epoch, **more)


def parked(row: EventRow, alias: str = "p1") -> ParkedRow:
    return ParkedRow(f"{row.event.id}|payment:{alias}", "payment", alias, 0, row.event, row.body)


def refused(id_: str, *numbers: int, source: str = "shop-1", at: int = T, **more: object) -> QuarantineRow:
    return QuarantineRow(id_, at, source, 7, "bad", "", b"{", numbers=numbers)._replace(**more)  # type: ignore[arg-type]


def account(first: int, last: int, how: str = "expired", at: int = T, source: str = "shop-1") -> AccountRow:
    return AccountRow(source, 7, first, last, how, at)


def found(store: Store, **asked: Any) -> list[tuple[Any, ...]]:
    """Without source and epoch, where there is one of them."""
    rows = list(store.numbers(**asked))
    assert rows == sorted(rows)
    return [tuple(row) if len({row[:2] for row in rows}) > 1 else tuple(row[2:]) for row in rows]


def test_numbers_are_ranges_by_source_and_epoch(store: Store) -> None:
    store.write_events([numbered(n) for n in (3, 1, 2, 7)])
    store.write_events([numbered(2, epoch=8), numbered(4, source="carrier-1"), numbered(5, source="carrier-1")])
    assert list(store.numbers()) == [
        NumberRange("carrier-1", 7, "stored", 4, 5),
        NumberRange("shop-1", 7, "stored", 1, 3),
        NumberRange("shop-1", 7, "stored", 7, 7),
        NumberRange("shop-1", 8, "stored", 2, 2),
    ]
    assert found(store, source="carrier-1") == [("stored", 4, 5)]
    assert found(store, source="shop-1", epoch=8) == [("stored", 2, 2)]
    assert found(store, source="nobody") == []


def test_copies_count_once(store: Store) -> None:
    """To several transactions, by several aliases, kept under one beside, sent twice under one number, written again."""
    copies = [numbered(1), numbered(1, order="2"), numbered(1, via="payment:p1"), numbered(1, recorded_at=T + 9)]
    for _ in range(2):
        store.write_events(copies)
        store.write_parked([parked(copies[0]), parked(copies[0], "p2")])
    assert found(store) == [("stored", 1, 1)]


def test_zero_stands_for_events_without_a_number_that_are_gone(store: Store) -> None:
    store.write_events([numbered(2)])
    store.write_accounts([account(0, 0), account(1, 3, "repeated"), account(0, 0, source="shop-2")])
    assert found(store, source="shop-1") == [("expired", 0, 0), ("repeated", 1, 3), ("stored", 2, 2)]
    assert found(store, source="shop-2") == [("expired", 0, 0)]


def test_what_is_kept_under_an_alias_is_stored(store: Store) -> None:
    store.write_events([numbered(1), numbered(4)])
    store.write_parked([parked(numbered(2)), parked(numbered(3))])
    assert found(store) == [("stored", 1, 4)]


def test_what_came_after_retention_is_stored(store: Store) -> None:
    store.write_late([numbered(1), event("bare", seq=0)])
    assert found(store) == [("stored", 1, 1)]
    assert store.unnumbered() == {("shop-1", 7): (1, 0)}


def test_ranges_do_not_end_where_blocks_do(store: Store) -> None:
    """Numbers are gathered by 65,536."""
    edges = [65_534, 65_535, 65_536, 65_537, 131_071, 131_073, 2**53 - 1]
    store.write_events([numbered(n) for n in edges])
    assert found(store) == [
        ("stored", 65_534, 65_537),
        ("stored", 131_071, 131_071),
        ("stored", 131_073, 131_073),
        ("stored", 2**53 - 1, 2**53 - 1),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_any_set_of_numbers_comes_back(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    numbers = rng.sample(range(1, 2_000 * (seed + 1)), 1_500)
    for start in range(0, len(numbers), 400):
        store.write_events([numbered(n) for n in numbers[start : start + 500]])
    ranges = found(store)
    assert {n for _, first, last in ranges for n in range(first, last + 1)} == set(numbers)
    assert len(ranges) == sum(n - 1 not in numbers for n in numbers)


def test_what_made_no_event_counts_by_its_numbers_whatever_became_of_it(store: Store) -> None:
    rows = [refused("a", 4), refused("b", 5, 6, 9), refused("c"), refused("d", 2, source="carrier-1")]
    store.write_quarantine(rows)
    store.write_quarantine([rows[0]._replace(state="retried", version=1)])
    assert list(store.numbers()) == [
        NumberRange("carrier-1", 7, "quarantined", 2, 2),
        NumberRange("shop-1", 7, "quarantined", 4, 6),
        NumberRange("shop-1", 7, "quarantined", 9, 9),
    ]
    assert [row.numbers for row in store.quarantine(["a", "b", "c"], limit=9)] == [(4,), (5, 6, 9), ()]


def test_why_numbers_are_gone(store: Store) -> None:
    rows = [account(10, 20), account(15, 30), account(12, 13), account(31, 40), account(50, 10**12), account(60, 61)]
    rows += [account(3, 3, "forgotten"), account(1, 2, "forgotten"), account(9, 8)]
    for row in rows:
        store.write_accounts([row])
    store.write_accounts([row._replace(at=T + 1) for row in rows])
    store.write_events([numbered(9), numbered(41)])
    assert found(store) == [
        ("expired", 10, 40),
        ("expired", 50, 10**12),
        ("forgotten", 1, 3),
        ("stored", 9, 9),
        ("stored", 41, 41),
    ]


def test_events_without_a_number_are_counted(store: Store) -> None:
    store.write_events([event("a", seq=0), event("a", "2", seq=0), event("b", seq=0, source="", epoch=0), numbered(1)])
    late = event("c", seq=0, recorded_at=T + 50)
    store.write_parked([parked(event("d", seq=0)), parked(event("d", seq=0), "p2"), parked(numbered(2))])
    store.write_events([late])
    store.write_quarantine([refused("q", at=T), refused("r", 3)])
    store.write_quarantine([refused("q", at=T, state="retried", version=1)])
    assert store.unnumbered() == {("shop-1", 7): (3, 1), ("", 0): (1, 0)}
    assert store.unnumbered("shop-1", T + 50, T + 5_000) == {("shop-1", 7): (1, 0)}
    assert store.unnumbered("shop-1", T + 51) == {("shop-1", 7): (2, 0)}
    assert store.unnumbered(begin=T + 6_000) == {}
    assert store.unnumbered(end=T + 1) == {("shop-1", 7): (0, 1)}


def test_when_a_number_was_first_recorded(store: Store) -> None:
    store.write_events([numbered(1, recorded_at=T + 9), numbered(1, order="2", recorded_at=T + 8)])
    store.write_parked([parked(numbered(2, recorded_at=T + 4))])
    store.write_quarantine([refused("a", 3, 4, at=T + 7)])
    asked = [("shop-1", 7, n) for n in (1, 2, 4, 5)] + [("shop-2", 7, 1), ("shop-1", 8, 1)]
    assert store.number_times(asked) == {("shop-1", 7, 1): T + 8, ("shop-1", 7, 2): T + 4, ("shop-1", 7, 4): T + 7}
    assert store.number_times([]) == {}
    store.write_events([numbered(n, recorded_at=T + n) for n in range(100, 1_300)])
    times = store.number_times([("shop-1", 7, n) for n in range(100, 1_300)])
    assert times == {("shop-1", 7, n): T + n for n in range(100, 1_300)}


@pytest.mark.parametrize("text", ["'; DROP TABLE accounts; --", "{source:String}", "\\", "ü☃", "%s"])
def test_the_name_of_a_source_is_never_sql(store: Store, text: str) -> None:
    store.write_events([numbered(1, source=text)])
    store.write_accounts([account(2, 3, source=text)])
    store.write_quarantine([refused("a", 4, source=text)])
    assert [row[3:] for row in store.numbers(text)] == [(2, 3), (4, 4), (1, 1)]
    assert store.number_times([(text, 7, 1)]) == {(text, 7, 1): T + 5_000}
    assert store.unnumbered(text) == {}


def test_what_a_source_says_of_its_numbers_comes_back(store: Store) -> None:
    row = SourceRow("a", 7, ("shop",), "live", T, T, T, T, 1, 0, 90, 12, T)
    told = row._replace(owed=80, numbered=True, shed_ranges=((3, 9), (20, 24)), blind=((T, 2**62),), position=1)
    store.write_sources([row])
    assert store.sources() == [row]
    store.write_sources([told])
    assert store.sources() == [told]


def test_what_was_parked_before_it_had_a_column_for_its_number(store: Store) -> None:
    if not hasattr(store, "_client"):
        pytest.skip("the store in memory has no past")
    body = json.dumps({"id": "x", "seq": 5}).encode()
    client_of(store).command(
        "INSERT INTO parked (id, alias_type, alias, `partition`, source, epoch, recorded_at, via, body) VALUES"
        f" ('x|p:1', 'p', '1', 0, 'shop-1', 7, '2026-01-01 00:00:00', '', '{body.decode()}')"
    )
    assert found(store) == [("stored", 5, 5)]
    client_of(store).command("TRUNCATE TABLE parked")
