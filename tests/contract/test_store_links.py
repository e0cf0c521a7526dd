"""The laws of a store, for what is kept under aliases, who claims them, and what transactions were told of it."""

from __future__ import annotations

import random
from typing import Any
from zlib import crc32

import pytest

from pipeline.store.contract import DECISION, DisputeRow, LinkRow, ParkedRow, Store
from tests.contract.stores import T, event, served_folder, shared_store, store

__all__ = ["served_folder", "shared_store", "store"]

ORDER = ("order", "1")
PAYMENT = ("payment", "p")
MS = 1_760_000_000_000


def kept(id_: str, alias: str = "p", alias_type: str = "payment", at: int = T, **more: Any) -> ParkedRow:
    found = event(id_, keys={alias_type: alias}, **more)
    return ParkedRow(f"{id_}|{alias_type}:{alias}", alias_type, alias, 3, found.event, found.body, at)


def link(order: str = "1", version: int = 1, alias: str = "p", **more: object) -> LinkRow:
    return LinkRow("payment", alias, "order", order, "", 0, False, "claimed", version)._replace(**more)  # type: ignore[arg-type]


def dispute(alias: str = "p", version: int = 1, **more: object) -> DisputeRow:
    return DisputeRow("order", "1", "payment", alias, "contested", version)._replace(**more)  # type: ignore[arg-type]


class TestKept:
    def test_what_was_kept_is_read_by_alias(self, store: Store) -> None:
        rows = [
            kept("b", seq=9, peer="bank", attributes={"amount": 12.5}), kept("a", at=T + 9, via="parcel:☃"), kept("c", "ü '☃"),
            kept("d", "p", "parcel"),
        ]  # fmt: skip
        store.write_parked(rows)
        store.write_parked(rows[1:3])
        aliases = [PAYMENT, ("payment", "ü '☃"), ("parcel", "p"), ("payment", "none"), ("", "")]
        assert store.load_kept(aliases) == dict(
            zip(aliases, [[rows[1], rows[0]], [rows[2]], [rows[3]], [], []], strict=True)
        )

    def test_one_id_with_two_contents_is_both_and_of_records_the_first(self, store: Store) -> None:
        """What is released must not depend on whether the link was there before: then both had been sent on."""
        first, again, other = kept("a", recorded_at=T + 1), kept("a", recorded_at=T + 2, epoch=8), kept("a", time=T + 7)
        for row in (again, other, first, again):
            store.write_parked([row])
        assert sorted(row.event.time for row in store.load_kept([PAYMENT])[PAYMENT]) == [T, T + 7]
        assert first in store.load_kept([PAYMENT])[PAYMENT]
        assert store.count_parked() == len(store.parked()) == 1

    def test_what_nobody_claims_waits_the_oldest_first(self, store: Store) -> None:
        rows = [kept(f"{i}", f"p{i}", at=T + 9 - i) for i in range(6)]
        store.write_parked(rows)
        store.write_links([
            link(alias="p5"), link(alias="p4", state="withdrawn", version=2), link(alias="p4"),
            link(alias="p3", state="broken", by=DECISION), link(alias="p2", state="accepted", by=DECISION),
            link(alias="p1", state="withdrawn"), link("2", alias="p1"), link(alias="p0", alias_type="parcel"),
        ])  # fmt: skip
        assert store.parked() == [rows[4], rows[3], rows[0]]
        assert store.parked(2) == [rows[4], rows[3]]
        assert store.count_parked() == 3

    def test_a_claim_of_which_a_person_said_no_is_none(self, store: Store) -> None:
        rows = [kept(f"{i}", f"p{i}", at=T + i) for i in range(4)]
        store.write_parked(rows)
        broken: dict[str, Any] = {"by": DECISION, "state": "broken", "version": 5}
        store.write_links([
            link(alias="p0"), link(alias="p0", **broken),
            link(alias="p1"), link(alias="p1", **broken), link("2", alias="p1"),
            link(alias="p2"), link(alias="p2", **broken), link(alias="p2", by=DECISION, state="accepted", version=6),
            link(alias="p3"), link(alias="p3", by="~batch:b", at=T), link(alias="p3", **broken),
        ])  # fmt: skip
        assert store.parked() == [rows[0], rows[3]]
        assert store.count_parked() == 2
        assert [one.events for one in store.unlinked()] == [2]

    def test_what_waits_is_told_by_alias_type(self, store: Store) -> None:
        rows = [kept(f"{i}", f"p{i % 3}", at=T + i) for i in range(7)]
        other = kept("x", "s", "parcel", at=T + 5)
        store.write_parked([*rows, other, kept("0", "p0", at=T + 50), kept("y", "claimed", at=T - 9)])
        store.write_links([link(alias="claimed")])
        parcel, payment = store.unlinked(2, [T + 6, T + 2])
        assert parcel == ("parcel", 1, 1, T + 5, T + 5, (other,), (0, 1, 0))
        assert payment == ("payment", 7, 3, T, T + 6, (rows[0], rows[1]), (1, 4, 2))
        assert [one.by_age for one in store.unlinked()] == [(), ()]
        assert [len(one.samples) for one in store.unlinked()] == [1, 3]

    def test_the_record_that_came_first_says_since_when_it_waits(self, store: Store) -> None:
        for at in (T + 5, T + 1, T + 9):
            store.write_parked([kept("a", at=at)])
        assert [row.kept_at for row in store.parked()] == [T + 1]
        assert [(one.oldest, one.newest) for one in store.unlinked()] == [(T + 1, T + 1)]


class TestLinks:
    def test_all_claims_of_an_alias(self, store: Store) -> None:
        rows = [
            link(), link("2", by="~batch:b☃"), link("2", by="~batch:b☃", at=T), link("1", by=DECISION, state="broken"),
            link(key_type="cart", shared=True), link(alias="ü"),
        ]  # fmt: skip
        store.write_links(rows)
        store.write_links(rows[2:])
        found = store.load_links([PAYMENT, ("payment", "ü"), ("parcel", "p")])
        assert found == {PAYMENT: sorted(rows[:5]), ("payment", "ü"): [rows[5]], ("parcel", "p"): []}

    def test_of_one_claim_the_greatest_version_counts_in_any_order(self, store: Store) -> None:
        said = [link(version=i, state=("claimed", "withdrawn")[i % 2], alias="p") for i in range(5)]
        # One record may say two things of one claim.
        said += [link(version=5, state="withdrawn"), link(version=5), link(version=5, shared=True)]
        random.Random(1).shuffle(said)
        for row in said:
            store.write_links([row])
        assert store.load_links([PAYMENT])[PAYMENT] == [link(version=5, state="withdrawn")]

    def test_aliases_are_known_where_they_live(self, store: Store) -> None:
        names = [f"{i}" + "☃ é 😀 '"[: i % 7] for i in range(60)]
        store.write_parked([kept(f"{i}", name) for i, name in enumerate(names[:40])])
        store.write_links([link(alias=name) for name in names[20:]])
        for of in (1, 7):
            for partition in range(of):
                living = {("payment", name) for name in names if crc32(f"payment:{name}".encode()) % of == partition}
                assert set(store.known_aliases([partition], of)) == living
        assert list(store.known_aliases([], 7)) == []


class TestDisputes:
    def test_the_latest_word_on_each_alias(self, store: Store) -> None:
        last = dispute(version=7, state="void", others=("order:2", "ü '☃"), holders=(("2", T), ("ü", -1)))
        rows = [
            dispute(version=3),
            last,
            dispute(version=5, state="foreign"),
            dispute("q"),
            dispute(alias_type="parcel"),
        ]
        for row in rows:
            store.write_disputes([row])
        store.write_disputes(rows)
        found = store.load_disputes([ORDER, ("order", "2"), ("cart", "1")])
        assert found == {ORDER: sorted([last, rows[3], rows[4]]), ("order", "2"): [], ("cart", "1"): []}

    @pytest.mark.parametrize(
        ("at", "state"), [(MS * 1_000 - 1, None), (MS * 1_000, "contested"), (MS * 1_000 + 1_999, "clear"), (0, "void")]
    )
    def test_what_was_known_then_can_be_asked(self, store: Store, at: int, state: str | None) -> None:
        store.write_disputes([
            dispute(version=MS << 22), dispute(version=(MS + 1) << 22 | 77, state="clear"),
            dispute(version=(MS + 2) << 22, state="void"),
        ])  # fmt: skip
        assert [row.state for row in store.load_disputes([ORDER], at)[ORDER]] == ([state] if state else [])


def test_nothing_written_is_nothing_read(store: Store) -> None:
    for write in (store.write_parked, store.write_links, store.write_disputes):
        write([])
    for found in (store.load_kept([]), store.load_links([]), store.load_disputes([])):
        assert not found
    assert not [*store.unlinked(), *store.parked(), *store.known_aliases([0], 1)]
