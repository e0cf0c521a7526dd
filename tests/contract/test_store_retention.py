"""The laws of a store, for how rows leave and what stays of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.generations import number_of
from pipeline.store.contract import (
    EventRow,
    FlipRow,
    HearingRow,
    KeyRow,
    QuarantineRow,
    Store,
    Transaction,
    VerdictQuery,
    VerdictRow,
)
from pipeline.store.embedded import open_embedded
from pipeline.store.retention import TombstoneRow
from tests.contract.stores import T, client_of, event, served_folder, shared_store, store
from tests.contract.test_store_links import dispute, kept, link

__all__ = ["served_folder", "shared_store", "store"]


def ended(order: str, at: int = T, flow: str = "order", **more: object) -> VerdictRow:
    base = VerdictRow("order", order, flow, 1, 0, 1, "completed", False, T - 9, T - 1, at, T)
    return base._replace(**more)  # type: ignore[arg-type]


def write_all(store: Store, order: str) -> None:
    """Rows of every table that names a transaction."""
    store.write_events([event("a", order), event("b", order, via="payment:p")])
    store.write_late([event("late", order)])
    store.write_verdicts([ended(order, flip=1), ended(order, flow="invoice", version=3)])
    store.write_flips([FlipRow("order", order, "order", 1, 1, T, "", "lost", body="{}")])
    store.write_keys([KeyRow("customer", "VINET", "order", order, T), KeyRow("order", order, "order", order, T)])
    store.write_links([link(order), link(order, by="~batch:b", version=2)])
    store.write_disputes([dispute()._replace(transaction_id=order), dispute(version=2)._replace(transaction_id=order)])


def left(store: Store, order: str) -> dict[str, Any]:
    """What the store says of it, and how much there is."""
    one: Transaction = ("order", order)
    return {
        "events": store.load_events([one])[one],
        "verdicts": store.load_verdicts([one])[one],
        "listed": [row for row in store.verdicts(VerdictQuery()) if row.transaction_id == order],
        "flips": store.flips(one),
        "missing": [row for row in store.missing_at(T + 9) if row.transaction_id == order],
        "keys": [row for row in store.find_keys("VINET") if row.transaction_id == order],
        "keys of": store.keys_of([one]),
        "links": [row for row in store.load_links([("payment", "p")])["payment", "p"] if row.transaction_id == order],
        "disputes": store.load_disputes([one])[one],
        "known": [known for known in store.known_transactions([0], 1) if known == one],
    }


class TestDeleting:
    @pytest.mark.parametrize("erase", [False, True])
    def test_a_transaction_goes_from_everywhere_and_nobody_elses(self, store: Store, erase: bool) -> None:
        gone, stays = "1'ü", "2"
        for order in (gone, stays):
            write_all(store, order)
        store.write_events([EventRow("cart", gone, event("a").event, event("a").body)])
        before = left(store, stays)
        assert all(before.values())
        for _ in range(2):
            store.delete_transactions([("order", gone), ("order", "never"), ("order", gone)], erase=erase)
            assert not any(left(store, gone).values())
            assert left(store, stays) == before
            assert store.count_events() == 3
            assert [row.transaction_id for row in store.late()] == ([stays] if erase else [gone, stays])
        write_all(store, gone)
        assert [len(rows) for rows in left(store, gone).values()] == [len(rows) for rows in before.values()]

    @pytest.mark.parametrize("erase", [False, True])
    def test_with_a_generation_of_a_number_go_the_claims_that_were_its_own(self, store: Store, erase: bool) -> None:
        """Links say the number: those of aliases that another one carried stay, and with the last go all."""
        carried = {"1": ["p", "both"], "1↻2": ["q'", "both"], "2": ["p"]}
        store.write_keys([KeyRow("order", number_of(order), "order", order, T) for order in carried])
        store.write_keys([KeyRow("payment", a, "order", order, T) for order, own in carried.items() for a in own])
        names = [("p", "1"), ("q'", "1"), ("both", "1"), ("said", "1"), ("p", "2")]
        store.write_links([link(order, alias=alias) for alias, order in names])

        def there() -> list[tuple[str, str]]:
            return [(row.alias, row.transaction_id) for row in store.links_to([("order", "1"), ("order", "2")])]

        for _ in range(2):
            store.delete_transactions([("order", "1")], erase=erase)
            assert there() == [("both", "1"), ("p", "2"), ("q'", "1"), ("said", "1")]
        store.delete_transactions([("order", "1↻2")], erase=erase)
        assert there() == [("p", "2")]

    @pytest.mark.parametrize("erase", [False, True])
    def test_many_at_once(self, store: Store, erase: bool) -> None:
        ids = [f"{'ü' * (i % 9)}{i}" for i in range(2_500)]
        store.write_events([event("a", id_) for id_ in ids])
        store.delete_transactions([("order", id_) for id_ in ids[:2_400]], erase=erase)
        assert store.count_events() == 100

    @pytest.mark.parametrize("erase", [False, True])
    def test_what_was_kept_goes_by_alias_and_id(self, store: Store, erase: bool) -> None:
        rows = [kept("a"), kept("a", time=T + 1), kept("b"), kept("a", "q"), kept("a", "p", "parcel"), kept("ü'", "ü'")]
        store.write_parked(rows)
        wanted = [(("payment", "p"), rows[0].id), (("payment", "ü'"), rows[5].id), (("payment", "none"), "none")]
        for _ in range(2):
            store.delete_kept(wanted, erase=erase)
            assert {row.id for row in store.parked()} == {row.id for row in rows[2:5]}
        assert store.load_kept([("payment", "p")])["payment", "p"] == [rows[2]]

    @pytest.mark.parametrize("erase", [False, True])
    def test_quarantined_bytes_go_by_id(self, store: Store, erase: bool) -> None:
        rows = [QuarantineRow(f"e:0:{i}:0'ü", T + i, "s", 0, "why", "", b"x") for i in range(3)]
        store.write_quarantine([*rows, rows[0]._replace(state="retried", version=2)])
        for _ in range(2):
            store.delete_quarantine([rows[0].id, rows[1].id, "none"], erase=erase)
            assert store.quarantine([row.id for row in rows]) == [rows[2]]

    def test_what_was_deleted_can_be_purged_and_nothing_else_goes(self, store: Store) -> None:
        for order in ("1", "2"):
            write_all(store, order)
        store.write_hearing([HearingRow("shop", "deaf", "s", 1, 1, T, T, "", T)])
        store.delete_transactions([("order", "1")])
        before = left(store, "2")
        store.purge()
        assert not any(left(store, "1").values())
        assert left(store, "2") == before
        assert len(store.hearing()) == 1

    def test_nothing_to_delete(self, store: Store) -> None:
        store.delete_transactions([])
        store.delete_kept([])
        store.delete_quarantine([])
        store.write_tombstones([])
        store.write_late([])
        assert store.expire_kept(T) == store.expire_tombstones(T) == store.count_late() == 0
        assert not store.load_tombstones([])
        assert not store.expired_candidates([0], 1, T, 9)


class TestExpiry:
    def test_what_was_kept_long_enough_goes_and_is_counted(self, store: Store) -> None:
        rows = [kept(f"{i}", f"p{i % 2}", at=T + i) for i in range(6)]
        store.write_parked([*rows, kept("0", "p0", at=T + 1)])
        assert store.expire_kept(T + 3) == 3
        assert store.expire_kept(T + 3) == 0
        assert store.parked() == rows[3:]

    def test_candidates_are_those_of_which_everything_ended(self, store: Store) -> None:
        store.write_verdicts([
            ended("a", T + 5), ended("b", T + 4), ended("b", T + 6, "invoice"), ended("c", T + 9), ended("d", T, open=True),
            ended("e", 0), ended("f", T), ended("f", T, "invoice", open=True), ended("g", T), ended("g", 0, "invoice"),
            ended("h", T), ended("h", T + 99, version=2), ended("i", T, open=True), ended("i", T + 1, version=2),
            ended("j", T), ended("j", T + 9, "invoice"),
        ])  # fmt: skip

        def found(partitions: list[int], of: int, limit: int = 99) -> list[str]:
            return [row.transaction_id + row.flow[0] for row in store.expired_candidates(partitions, of, T + 9, limit)]

        assert found([0], 1) == ["io", "ao", "bi", "bo"]
        assert found([0], 1, 2) == ["io", "ao"]
        assert sorted(row for partition in range(3) for row in found([partition], 3)) == ["ao", "bi", "bo", "io"]
        assert found([0, 1, 2], 3) == found([0], 1)

    def test_one_that_was_deleted_is_no_candidate(self, store: Store) -> None:
        store.write_verdicts([ended("a"), ended("b")])
        store.delete_transactions([("order", "a")])
        assert [row.transaction_id for row in store.expired_candidates([0], 1, T + 1, 9)] == ["b"]


class TestWhatStays:
    def test_the_last_word_on_each_number(self, store: Store) -> None:
        rows = [
            TombstoneRow("order", "1", "expired", T, T + 9, T + 1, 1), TombstoneRow("order", "1", "recycled", T, T + 10, T + 2, 2),
            TombstoneRow("cart", "1", "expired", 0, T + 5, T, 1), TombstoneRow("order", "ü'☃", "forgotten", 0, T + 7, T, 5),
        ]  # fmt: skip
        for row in (rows[1], rows[0], rows[2], rows[3]):
            store.write_tombstones([row])
        store.write_tombstones(rows)
        keys = [("order", "1"), ("order", "ü'☃"), ("cart", "1"), ("order", "none"), ("", "")]
        assert store.load_tombstones(keys) == {keys[0]: rows[1], keys[1]: rows[3], keys[2]: rows[2]}
        assert store.expire_tombstones(T + 8) == 2
        assert store.expire_tombstones(T + 8) == 0
        assert store.load_tombstones(keys) == {keys[0]: rows[1]}

    def test_what_came_late_is_recorded_and_nothing_more(self, store: Store) -> None:
        rows = [event(f"{i}", "1", recorded_at=T + i % 4, attributes={"n": i}) for i in range(6)]
        store.write_late(rows)
        store.write_late([rows[0]._replace(), event("0", "1", recorded_at=T - 9), event("0", "2", recorded_at=T + 99)])
        assert store.count_late() == 7
        assert [row.event.id for row in store.late()] == ["0", "3", "2", "1", "5", "0", "4"]
        assert store.late(3)[1:] == [rows[3], rows[2]]
        assert store.count_events() == 0
        assert not store.load_events([("order", "1")])["order", "1"]


def test_what_was_erased_is_in_no_file_that_stays(tmp_path: Path) -> None:
    """Nor in the record of what was erased. The old files go when they are eight minutes old."""
    name = "Sgt-Zebedee"

    def files() -> set[str]:
        named = subprocess.run(["grep", "-rl", name, str(tmp_path)], capture_output=True, text=True).stdout.split()
        return {file for file in named if not any(f"/{part}/" in file for part in old)}

    store = open_embedded(tmp_path, {})
    store.migrate()
    write_all(store, name)
    write_all(store, "2")
    store.write_parked([kept("a", name)])
    store.write_quarantine([QuarantineRow(name, T, "s", 0, "why", "", name.encode())])
    old: set[str] = set()
    assert len(files()) >= 10
    store.delete_transactions([("order", name)], erase=True)
    store.delete_kept([(("payment", name), f"a|payment:{name}")], erase=True)
    store.delete_quarantine([name], erase=True)
    old |= {f"{row[0]}" for row in client_of(store).rows("SELECT name FROM system.parts WHERE NOT active")}
    assert files() == set()
    store.close()
