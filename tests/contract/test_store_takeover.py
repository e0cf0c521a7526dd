"""What a partition's next owner reads of each transaction says the same as the whole rows do; for every adapter."""

from __future__ import annotations

from zlib import crc32

from pipeline.store.contract import Store
from pipeline.store.takeover import OpenRow
from pipeline.work.members import Members
from schemas.verdict import Wait
from tests.contract.stores import T, served_folder, shared_store, store
from tests.contract.test_store import NASTY, verdict

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
