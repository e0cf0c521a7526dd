"""The laws of a store, for every adapter: one suite."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import pytest

from pipeline.store.contract import (
    UNJUDGED,
    EventRow,
    FlipRow,
    HearingRow,
    KeyRow,
    ParkedRow,
    QuarantineRow,
    SourceRow,
    Store,
    VerdictQuery,
    VerdictRow,
)
from pipeline.store.queries import EVENTS_AT_ONCE
from schemas.verdict import Wait
from schemas.wire import encode
from tests.contract.stores import T, event, served_folder, shared_store, store

__all__ = ["served_folder", "shared_store", "store"]

ORDER = ("order", "1")
NASTY = [
    "'; DROP TABLE events; --",
    '"',
    "\\",
    "{ids:Array(String)}",
    "%s %(x)s",
    "☃ müß",
    "\\N",
    "`",
    "$1",
    "'",
    "NULL",
]


def verdict(order: str = "1", version: int = 1, **more: object) -> VerdictRow:
    base = VerdictRow(
        "order",
        order,
        "order",
        3,
        2,
        version,
        "in_progress",
        True,
        T,
        T + 1,
        0,
        T + 2,
        waits=(Wait("payments", T + 9),),
    )
    return base._replace(**more)  # type: ignore[arg-type]


def flip(number: int, status: str, at: int, order: str = "1", version: int = 1, **more: object) -> FlipRow:
    return FlipRow("order", order, "order", number, version, at, "", status)._replace(**more)  # type: ignore[arg-type]


class TestEvents:
    def test_what_was_written_is_read(self, store: Store) -> None:
        rich = event(
            "a", phase="sent", peer="payments", error="línea 1\nline 2\t\\", attributes={"amount": 12.5, "ok": True, "n": 3},
            keys={"order": "1", "customer": "☃ O'Neil"}, via="payment:p-1",
        )  # fmt: skip
        store.write_events([rich, event("b", time=T + 1), event("c", "2")])
        found = store.load_events([ORDER, ("order", "2"), ("order", "none"), ("cart", "1")])
        assert sorted(found[ORDER], key=lambda e: e.id) == [rich.event, event("b", time=T + 1).event]
        assert [e.id for e in found["order", "2"]] == ["c"]
        assert found["order", "none"] == found["cart", "1"] == []

    def test_columns_rule_where_the_body_names_no_source(self, store: Store) -> None:
        row = event("a", recorded_at=T + 77)
        store.write_events(
            [row._replace(body=b' {"id":"a","system":"shop","step":"placed","time":%d,"keys":{"order":"1"}}' % T)]
        )
        (found,) = store.load_events([ORDER])[ORDER]
        assert (found.source, found.epoch, found.recorded_at, found.seq) == ("shop-1", 7, T + 77, 0)

    def test_one_id_with_two_contents_is_both(self, store: Store) -> None:
        one, other = event("a", time=T + 9), event("a", time=T)
        for rows in ([one], [other], [one, one]):
            store.write_events(rows)
        found = store.load_events([ORDER])[ORDER]
        assert sorted(found, key=lambda e: e.time) == [other.event, one.event]
        assert store.count_events() == 1

    def test_of_several_records_the_first_counts_directly_and_by_each_alias(self, store: Store) -> None:
        direct, alias = event("a", recorded_at=T + 9), event("a", recorded_at=T + 1, via="payment:p")
        store.write_events([event("a", recorded_at=T + 10, epoch=1), alias, event("a", recorded_at=T + 11)])
        store.write_events([direct, event("a", recorded_at=T + 2, via="payment:p")])
        assert sorted(store.load_events([ORDER])[ORDER], key=lambda e: e.via) == [direct.event, alias.event]

    def test_distinct_events_are_counted(self, store: Store) -> None:
        store.write_events([event("a"), event("a"), event("a", "2"), event("b")])
        store.write_events([event("a", epoch=8)])
        assert store.count_events() == 3

    def test_twenty_thousand_rows_are_one_write(self, store: Store) -> None:
        rows = [event(f"e{i}", str(i % 2_000), time=T + i) for i in range(20_000)]
        store.write_events(rows)
        store.write_events(rows[5_000:6_000])
        assert store.count_events() == 20_000
        loaded = store.load_events([("order", str(i)) for i in range(2_000)])
        assert {e.id for events in loaded.values() for e in events} == {row.event.id for row in rows}

    def test_streamed_is_what_is_loaded(self, store: Store) -> None:
        store.write_events([event("a"), event("b", via="payment:p-1"), event("b", via="trace:z"), event("c", "2")])
        streamed = list(store.stream_events([ORDER, ("order", "2"), ("order", "none"), ORDER]))
        assert {(one, seen.id, seen.via) for one, seen in streamed} == {
            (ORDER, "a", ""), (ORDER, "b", "payment:p-1"), (ORDER, "b", "trace:z"), (("order", "2"), "c", ""),
        }  # fmt: skip

    def test_a_transaction_of_more_events_than_are_read_at_once(self, store: Store) -> None:
        numbers = range(2 * EVENTS_AT_ONCE + 10)
        store.write_events([event(f"{number:06d}") for number in numbers])
        store.write_events([event(f"{EVENTS_AT_ONCE - 1:06d}", via="payment:p-1"), event("a", "2")])
        found = [(one, seen.id, seen.via) for one, seen in store.stream_events([ORDER, ("order", "2")])]
        assert len(found) == len(set(found)) == len(numbers) + 2

    def test_the_largest_event_comes_back(self, store: Store) -> None:
        row = event("a", attributes={f"k{i}": "x" * 4_000 for i in range(60)})
        store.write_events([row] * 300)
        assert store.load_events([ORDER])[ORDER] == [row.event]

    @pytest.mark.parametrize("text", NASTY)
    def test_text_is_never_sql(self, store: Store, text: str) -> None:
        row = event(text, text)
        store.write_events([row])
        store.write_verdicts([verdict(text)])
        store.write_keys([KeyRow("customer", text, "order", text, T)])
        assert store.load_events([("order", text)])["order", text] == [row.event]
        assert store.load_verdicts([("order", text)])["order", text] == [verdict(text)]
        assert store.load_events([(text, text)])[text, text] == []
        assert [key.transaction_id for key in store.find_keys(text)] == [text]
        assert store.find_keys(text, text) == []
        assert len(store.keys_of([("order", text)])) == 1
        assert (
            list(store.verdicts(VerdictQuery(statuses=(text,), flows=(text,), drop_from=text, findings=(text,)))) == []
        )
        assert store.quarantine([text], source=text) == []
        assert store.flips((text, text)) == []


class TestVerdicts:
    def test_every_field_comes_back(self, store: Store) -> None:
        row = verdict(
            status="lost", open=False, ended_at=T + 3, flip=4, drop_kind="in_transit", drop_from="paid", drop_to="picked",
            drop_from_system="payments", drop_system="warehouse", drop_since=T + 4, drop_due=2**62, value=0.1, currency="EUR",
            findings=("late", "duplicate"), excluded=True, waits=(Wait("ünï", -(2**62)), Wait("b", 2**62)), body='{"a":"ü"}',
            started_at=-1,
        )  # fmt: skip
        store.write_verdicts([row, verdict("2")])
        assert store.load_verdicts([ORDER, ("order", "2"), ("order", "3")]) == {
            ORDER: [row],
            ("order", "2"): [verdict("2")],
            ("order", "3"): [],
        }

    def test_a_value_of_nothing_is_not_zero(self, store: Store) -> None:
        store.write_verdicts([verdict("1", value=None), verdict("2", value=0.0), verdict("3", value=1e300)])
        found = store.load_verdicts([("order", str(i)) for i in (1, 2, 3)])
        assert [rows[0].value for rows in found.values()] == [None, 0.0, 1e300]

    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
    def test_the_greatest_version_wins_before_any_merge(self, store: Store, order: tuple[int, ...]) -> None:
        zombie_last = {
            1: verdict(version=1),
            2: verdict(version=(7 << 32) | 1),
            3: verdict(version=9 << 32, status="lost"),
        }
        for which in order:
            store.write_verdicts([zombie_last[which]])
        assert store.load_verdicts([ORDER])[ORDER] == [zombie_last[3]]
        assert list(store.verdicts(VerdictQuery())) == [zombie_last[3]]
        assert list(store.verdicts(VerdictQuery(statuses=("in_progress",)))) == []
        assert store.count_verdicts() == {("order", "lost"): 1}

    def test_flows_of_one_transaction_stand_beside_each_other(self, store: Store) -> None:
        rows = [verdict(flow="order"), verdict(flow="invoice", version=9)]
        store.write_verdicts(rows)
        assert sorted(store.load_verdicts([ORDER])[ORDER]) == sorted(rows)

    def test_what_is_open_is_streamed_by_where_it_lives_today(self, store: Store) -> None:
        """The partition in the row is that of the day on which it was written."""
        ids = [f"{i}" + "☃ é 😀 '"[: i % 7] for i in range(300)]
        store.write_verdicts([verdict(id_, partition=i % 3) for i, id_ in enumerate(ids)])
        store.write_verdicts([verdict(ids[0], version=2, open=False), verdict(ids[1], version=2, partition=2)])
        for of in (1, 3, 16):
            for mine in ([0], [0, of - 1]):
                living = {id_ for id_ in ids if crc32(f"order:{id_}".encode()) % of in mine}
                assert {row.transaction_id for row in store.open_verdicts(mine, of)} == living - {ids[0]}
                assert {id_ for _, id_ in store.known_transactions(mine, of)} == living
        assert list(store.open_verdicts([], 3)) == list(store.open_verdicts([7], 3)) == []

    def test_what_no_flow_judged_is_known_by_its_key_row(self, store: Store) -> None:
        """Those of stores of before name a partition, whose number may be another's by now."""
        store.write_keys([KeyRow(UNJUDGED, UNJUDGED, "ünit", f"{i}", T) for i in range(20)])
        store.write_keys([KeyRow(UNJUDGED, f"partition {i}", "cart", f"{i}", T) for i in range(20)])
        store.write_keys([KeyRow("x", UNJUDGED, "cart", "99", T), KeyRow("x", "partition 1", "cart", "99", T)])
        store.write_verdicts([verdict("1")])
        found = {(kind, f"{i}") for kind in ("ünit", "cart") for i in range(20)}
        for partition in range(3):
            living = {key for key in found if crc32(f"{key[0]}:{key[1]}".encode()) % 3 == partition}
            assert set(store.unjudged([partition], 3)) == living
        assert set(store.known_transactions([0, 1, 2], 3)) == found | {ORDER}

    def test_a_stream_that_is_left_does_no_harm(self, store: Store) -> None:
        store.write_verdicts([verdict(str(i)) for i in range(5_000)])
        rows = store.open_verdicts([0], 1)
        next(rows)
        store.write_verdicts([verdict("x")])
        assert store.load_verdicts([("order", "x")])["order", "x"] == [verdict("x")]
        assert len(list(rows)) == 4_999
        abandoned = store.open_verdicts([0], 1)
        next(abandoned)
        del abandoned
        assert sum(store.count_verdicts().values()) == 5_001

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (VerdictQuery(), "dcb"),
            (VerdictQuery(excluded=None), "dcba"),
            (VerdictQuery(excluded=True), "a"),
            (VerdictQuery(limit=2), "dc"),
            (VerdictQuery(statuses=("lost", "failed")), "cb"),
            (VerdictQuery(flows=("login",)), "d"),
            (VerdictQuery(started_from=T + 2), "dc"),
            (VerdictQuery(started_from=T + 1, started_to=T + 2), "b"),
            (VerdictQuery(drop_from="paid"), "b"),
            (VerdictQuery(drop_from="payments"), "b"),
            (VerdictQuery(drop_to="picked"), "cb"),
            (VerdictQuery(drop_from="shop", drop_to="warehouse"), "c"),
            (VerdictQuery(findings=("late", "slow")), "dc"),
        ],
    )
    def test_listings_filter_what_wins(self, store: Store, query: VerdictQuery, expected: str) -> None:
        drop: dict[str, Any] = {"drop_to": "picked", "drop_system": "warehouse", "status": "lost"}
        rows = [
            verdict("a", excluded=True),
            verdict("b", started_at=T + 1, drop_from="paid", drop_from_system="payments", **drop),
            verdict("c", started_at=T + 2, drop_from="placed", drop_from_system="shop", findings=("late",), **drop),
            verdict("d", started_at=T + 3, flow="login", findings=("duplicate", "slow")),
        ]
        store.write_verdicts([row._replace(version=0, status="lost", findings=("late",)) for row in rows])
        store.write_verdicts(rows)
        assert "".join(row.transaction_id for row in store.verdicts(query)) == expected
        assert store.count(query) == (3 if query.limit else len(expected))

    def test_excluded_ones_are_counted_apart(self, store: Store) -> None:
        store.write_verdicts(
            [verdict("1"), verdict("2", excluded=True), verdict("3", status="lost"), verdict("4", status="lost")]
        )
        assert store.count_verdicts() == {("order", "in_progress"): 1, ("order", "excluded"): 1, ("order", "lost"): 2}


class TestFlips:
    def test_a_replay_overwrites_its_own(self, store: Store) -> None:
        store.write_flips([flip(1, "in_progress", T), flip(2, "lost", T + 5, findings=("late",), body="{}")])
        store.write_flips([flip(2, "completed", T + 6, version=2), flip(1, "in_progress", T, order="2")])
        store.write_flips([flip(2, "lost", T + 5)])
        assert store.flips(ORDER) == [flip(1, "in_progress", T), flip(2, "completed", T + 6, version=2)]

    def test_what_no_verdict_carries_was_never_said(self, store: Store) -> None:
        """A worker died between flip and verdict, or was a zombie; the verdict that counts has another history."""
        store.write_flips([
            flip(1, "lost", T), flip(2, "stalled", T + 5),
            flip(1, "completed", T, "2"), flip(2, "stalled", T + 1, "2"),
            flip(1, "stalled", T, "3"),
        ])  # fmt: skip
        store.write_verdicts([
            verdict("1", status="lost", flip=1, version=7), verdict("1", status="stalled", flip=2, version=6),
            verdict("2", status="completed", flip=1, version=7), verdict("3", flip=0, version=7),
        ])  # fmt: skip
        assert [row.number for row in store.flips(ORDER)] == [1]
        assert sorted((row.transaction_id, row.status) for row in store.missing_at(T + 9)) == [("1", "lost")]
        assert sorted((row.transaction_id, row.number) for row in store.flips_between(T, T + 9)) == [("1", 1), ("2", 1)]

    def test_between_is_half_open_and_by_time(self, store: Store) -> None:
        rows = [flip(i, "lost", T + 10 - i) for i in range(5)]
        store.write_flips(rows)
        store.write_flips([flip(3, "lost", T + 100, version=2)])
        assert [row.number for row in store.flips_between(T + 6, T + 10)] == [4, 2, 1]

    def test_missing_is_what_was_last_said(self, store: Store) -> None:
        store.write_flips([
            flip(1, "in_progress", T), flip(2, "unknown", T + 10), flip(3, "lost", T + 20), flip(4, "completed", T + 30),
            flip(1, "stalled", T + 5, "2"), flip(1, "completed", T, "3"), flip(1, "failed", T + 40, "4"),
            flip(1, "lost", T, "5"), flip(1, "closed", T + 1, "5", version=2),
        ])  # fmt: skip

        def missing(at: int) -> list[tuple[str, str]]:
            return sorted((row.transaction_id, row.status) for row in store.missing_at(at))

        assert missing(T) == []
        assert missing(T + 5) == [("2", "stalled")]
        assert missing(T + 19) == [("1", "unknown"), ("2", "stalled")]
        assert missing(T + 25) == [("1", "lost"), ("2", "stalled")]
        assert missing(T + 100) == [("2", "stalled"), ("4", "failed")]


class TestKeys:
    def test_by_value_and_by_transaction(self, store: Store) -> None:
        rows = [
            KeyRow("customer", "VINET", "order", "1", T), KeyRow("customer", "VINET", "order", "2", T),
            KeyRow("mail", "VINET", "order", "3", T), KeyRow("customer", "vinet", "order", "4", T),
            KeyRow("order", "1", "order", "1", T), KeyRow("customer", "VINET", "cart", "1", T),
        ]  # fmt: skip
        store.write_keys(rows)
        assert store.find_keys("VINET") == sorted([rows[0], rows[1], rows[2], rows[5]])
        assert store.find_keys("VINET", "mail") == [rows[2]]
        for other in ("VINE", "VINET ", "%", "a\tb\nc", ""):
            assert store.find_keys(other) == []
        assert store.keys_of([ORDER, ("order", "3")]) == sorted([rows[0], rows[4], rows[2]])
        assert store.keys_of([]) == []

    @pytest.mark.parametrize("times", [(5, 3, 9), (9, 5, 3), (3, 9, 5)])
    def test_the_earliest_sight_stays(self, store: Store, times: Sequence[int]) -> None:
        for seen_at in times:
            store.write_keys([KeyRow("customer", "C", "order", "1", T + seen_at)])
        assert store.find_keys("C") == store.keys_of([ORDER]) == [KeyRow("customer", "C", "order", "1", T + 3)]


class TestHearing:
    def test_a_source_is_as_last_folded(self, store: Store) -> None:
        old = SourceRow("shop-1", 7, ("shop", "crm"), "live", -(2**62), -(2**62), -(2**62), T, 2, -3, 10, 1, T, 5)
        new = old._replace(state="silent", through=2**62, updated_at=T + 1, position=3)
        tie = new._replace(state="closed", position=4)
        for rows in ([tie], [new, old], [old._replace(epoch=8)], [tie, tie]):
            store.write_sources(rows)
        assert store.sources() == [tie, old._replace(epoch=8)]

    def test_what_was_known_then_can_be_asked(self, store: Store) -> None:
        first = HearingRow("shop", "deaf", "shop-1", 7, 1, T, 2**62, "", T + 10, 4)
        ended = first._replace(end=T + 50, known_at=T + 60, position=9)
        same_time = ended._replace(detail="later in control", position=10)
        other = HearingRow("shop", "deaf", "shop-1", 7, 2, -(2**62), T, "ü", T + 20, 5)
        store.write_hearing([same_time, other, ended])
        store.write_hearing([first, first])
        assert store.hearing() == [same_time, other]
        assert store.hearing(T + 20) == [first, other]
        assert store.hearing(T + 19) == [first]
        assert store.hearing(T) == []


class TestSetAside:
    def test_quarantine_keeps_bytes_as_they_were(self, store: Store) -> None:
        binary = bytes(range(1, 256)) * 3 + b"\x00'\n"
        row = QuarantineRow("e:0:1:0", T, "shop-1", 7, "not JSON", "", binary, b"\xff\x00", '{"a":"ü"}')
        store.write_quarantine([row, row])
        assert store.quarantine() == [row]
        assert store.quarantine([row.id]) == [row]

    def test_a_lone_surrogate_in_what_is_said_of_it_fails_nothing(self, store: Store) -> None:
        store.write_quarantine([QuarantineRow("e:0:1:0", T, "s", 0, "bad \ud800", "keys.\udfff", b"\xed\xa0\x80")])
        assert [row.payload for row in store.quarantine()] == [b"\xed\xa0\x80"]

    def test_what_was_retried_is_kept_but_not_listed(self, store: Store) -> None:
        rows = [QuarantineRow(f"e:0:{i}:0", T + i, "ab"[i % 2], 7, "why", "f", b"x") for i in range(4)]
        store.write_quarantine([rows[3]._replace(state="retried", version=1)])
        store.write_quarantine(rows)
        assert [row.id for row in store.quarantine()] == ["e:0:2:0", "e:0:1:0", "e:0:0:0"]
        assert [row.id for row in store.quarantine(source="a", limit=1)] == ["e:0:2:0"]
        assert [row.state for row in store.quarantine(["e:0:3:0", "e:0:0:0"])] == ["retried", "kept"]
        assert store.count_quarantine() == {("a", "why"): 2, ("b", "why"): 1}

    def test_parked_events_wait_once(self, store: Store) -> None:
        rows = [
            ParkedRow(f"{i}|payment:p", "payment", "p", i, event(str(i)).event, event(str(i)).body) for i in range(5)
        ]
        store.write_parked(rows)
        store.write_parked(rows[1:3])
        assert store.parked() == rows
        assert store.parked(2) == rows[:2]
        assert store.count_parked() == 5


class TestAnyStore:
    def test_nothing_written_is_nothing_read(self, store: Store) -> None:
        for write in (
            store.write_events, store.write_verdicts, store.write_flips, store.write_keys, store.write_parked,
            store.write_quarantine, store.write_sources, store.write_hearing,
        ):  # fmt: skip
            write([])
        for mapping in (
            store.load_events([]),
            store.load_verdicts([]),
            store.count_verdicts(),
            store.count_quarantine(),
        ):
            assert not mapping
        assert store.count_events() == store.count_parked() == 0
        for rows in (store.sources(), store.hearing(), store.parked(), store.quarantine(), store.keys_of([])):
            assert not rows
        assert not [*store.missing_at(T), *store.flips_between(0, T), *store.known_transactions([0], 1)]

    def test_a_migrated_store_is_well_and_migrates_no_more(self, store: Store) -> None:
        assert store.check() == []
        assert store.migrate() == []

    def test_ten_thousand_transactions_are_asked_for_at_once(self, store: Store) -> None:
        ids = [f"{'ü' * (i % 40)}{i}" for i in range(10_000)]
        random.Random(1).shuffle(ids)
        store.write_events([event("a", id_) for id_ in ids[:100]])
        found = store.load_events([("order", id_) for id_ in ids])
        assert len(found) == 10_000
        assert math.fsum(len(events) for events in found.values()) == 100

    def test_threads_share_it(self, store: Store) -> None:
        wrong: list[str] = []

        def use(number: int) -> None:
            mine = ("order", str(number))
            for turn in range(6):
                store.write_events([event(f"{turn}-{i}", str(number)) for i in range(20)])
                store.write_verdicts([verdict(f"{number}-{turn}-{i}", partition=number) for i in range(200)])
                if len(store.load_events([mine])[mine]) != (turn + 1) * 20:
                    wrong.append(f"{number}/{turn}: events")
                if sum(row.partition == number for row in store.open_verdicts([0], 1)) != (turn + 1) * 200:
                    wrong.append(f"{number}/{turn}: stream")

        threads = [threading.Thread(target=use, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert store.count_events() == 5 * 6 * 20

    def test_forwarded_bodies_are_read_like_received_ones(self, store: Store) -> None:
        row = event("a", peer=None, attributes={"x": 1.5})
        store.write_events([EventRow("cart", "c", row.event, encode([row.event]))])
        assert store.load_events([("cart", "c")])["cart", "c"] == [row.event]
