"""What a partition's next owner reads of each transaction says the same as the whole rows do; for every adapter."""

from __future__ import annotations

from zlib import crc32

from pipeline.core.correlate import roles_of
from pipeline.store.contract import Store
from pipeline.store.rows import home
from pipeline.store.takeover import OpenRow
from pipeline.work.book import Book
from pipeline.work.ledger import Ledger
from pipeline.work.members import Members, Residents
from schemas.flow import Flows
from schemas.verdict import Wait
from tests.contract.stores import T, served_folder, shared_store, store
from tests.contract.test_store import NASTY, verdict
from tests.contract.test_store_links import kept

__all__ = ["served_folder", "shared_store", "store"]


def test_what_is_open_says_what_it_waits_for(store: Store) -> None:
    waits = (Wait("carrier", T + 7), Wait("ünit", T + 9))
    rows = [verdict(name, waits=waits[: place % 3]) for place, name in enumerate(NASTY)]
    rows += [
        verdict("failed", drop_kind="failed", drop_to="paid", body="{}"),
        verdict("late", findings=("late", "slow"), body="{}", ended_at=T + 5),
    ]
    store.write_verdicts([*rows, verdict("closed")])
    store.write_verdicts([verdict("closed", version=2, open=False), verdict("failed", version=0)])
    for of in (1, 3):
        for mine in ([0], [0, of - 1], []):
            living = [row for row in rows if crc32(f"order:{row.transaction_id}".encode()) % of in mine]
            said = [
                OpenRow(*row[:4], T, bool(row.ended_at), bool(row.body), row.waits)
                for row in living
            ]  # fmt: skip
            assert sorted(store.open_waits(mine, of)) == sorted(said)


def test_marks_know_everyone_and_hardly_anybody_else(store: Store) -> None:
    known = [("order", f"{number}") for number in range(2_000)] + [("order", name) for name in NASTY]
    store.write_verdicts([verdict(name, open=name != "3") for _, name in known])
    store.write_verdicts([verdict("1", version=2)])
    members = Members()
    for partition in range(3):
        marks = store.known_marks([partition], 3)
        assert list(marks) == sorted(set(marks))
        members.add_marks(marks)
    members.add(("order", "new"))
    assert all(transaction in members for transaction in (*known, ("order", "new")))
    assert sum(("order", f"x{number}") in members for number in range(2_000)) < 20
    assert not len(store.known_marks([], 3))


def test_partitions_that_come_and_go_leave_nobody_behind(store: Store) -> None:
    """After eight takeovers there is as much in memory as after one: all of those who live there, and each once."""
    known = [f"{number}" for number in range(600)]
    store.write_verdicts([verdict(name) for name in known])
    store.write_parked([kept(name, name) for name in known])
    flows = Flows([])
    ledger, book = Ledger(store, flows, 3, roles_of(flows)), Book(store, roles_of(flows), 3)
    for turn in range(8):
        for mine in ([0, 2], [1]):
            ledger.open(mine)
            book.open(mine)
        assert all(ledger.knows(("order", name)) and ("payment", name) in book._members for name in known)
        assert held(ledger._members) == (600, 0)
        assert held(book._members) == (0, 600)
        names = [(kind, f"{turn}/{number}") for number in range(9) for kind in ("order", "payment")]
        new = {one: home(one, 3) for one in names}
        assert not any(ledger.knows(one) or one in book._members for one in new)
        ledger.load(new)
        book.load(new)
        assert all(ledger.knows(one) and one in book._members for one in new)
        ledger.close([1])
        book.close([1])
        assert set(ledger.partitions) == book._members.homes.keys() == {0, 2}
        ledger.close([2, 0])
        book.close([0, 2])
    assert held(ledger._members) == held(book._members) == (0, 0)


def held(residents: Residents) -> tuple[int, int]:
    """How many marks are in memory, and how many were added one by one."""
    members = residents.homes.values()
    return (
        sum(len(marks) for one in members for marks in one._marks),
        sum(part.count for one in members for part in one._slices),
    )
