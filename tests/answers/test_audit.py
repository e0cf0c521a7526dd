"""The audit: whatever is shed, refused, doubled, replayed or lost on the way, it finds what is missing and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answers import quarantine
from pipeline.answers.audit import Balance, Gap, audit, data, flat
from pipeline.errors import Invalid
from pipeline.store import MemoryStore
from pipeline.store.accounts import AccountRow, NumberRange
from pipeline.store.contract import EventRow, QuarantineRow, SourceRow
from schemas import wire
from schemas.control import Marker
from schemas.times import DAY, HOUR, SECOND
from tests.answers.audit_world import World, numbers
from tests.faults.stories import START
from tracer.emitter import Limits
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record

T = START


def stored(*numbers_: int, source: str = "shop-1", epoch: int = T, at: int = T) -> list[EventRow]:
    found = []
    for number in numbers_:
        event = wire.Observed(
            id=f"{source}/{number}", system="shop", step="placed", time=at + number, keys={"order": "1"}, source=source,
            epoch=epoch, seq=number, recorded_at=at + number * SECOND,
        )  # fmt: skip
        found.append(EventRow("order", "1", event, wire.encode([event])))
    return found


def row(source: str = "shop-1", epoch: int = T, **more: object) -> SourceRow:
    made = SourceRow(
        source, epoch, ("shop",), "live", epoch, epoch, epoch, epoch, SECOND, 0, 0, 0, epoch, numbered=True
    )
    return made._replace(**more)  # type: ignore[arg-type]


def only(store: MemoryStore, **asked: Any) -> Balance:
    (one,) = audit(store, **asked).epochs
    return one


# By hand


def test_each_number_counts_once_by_what_became_of_it() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=20, sent=22, shed=5, shed_ranges=((15, 18), (22, 22)))])
    store.write_events(stored(1, 2, 3, 8, 21))
    store.write_quarantine([QuarantineRow("q", T, "shop-1", T, "bad", "", b"", numbers=(3, 4, 5))])
    accounts = [("repeated", 5, 6), ("expired", 1, 7), ("forgotten", 7, 9), ("expired", 20, 99)]
    store.write_accounts([AccountRow("shop-1", T, first, last, how, T) for how, first, last in accounts])
    one = only(store)
    assert one.found == {"stored": 4, "repeated": 2, "expired": 3, "forgotten": 1, "quarantined": 0, "shed": 4}
    assert (one.missing, one.in_flight, one.result) == (6, 2, "missing")
    assert [(gap.first, gap.last) for gap in one.gaps] == [(10, 14), (19, 19)]
    assert sum(one.found.values()) + one.missing == one.owed


def test_a_gap_says_between_which_times_it_lies() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=9, sent=9)])
    store.write_events(stored(3, 4, 8))
    store.write_quarantine([QuarantineRow("q", T + 60 * SECOND, "shop-1", T, "bad", "", b"", numbers=(6,))])
    assert only(store).gaps == (
        Gap(1, 2, None, T + 3 * SECOND),
        Gap(5, 5, T + 4 * SECOND, T + 60 * SECOND),
        Gap(7, 7, T + 60 * SECOND, T + 8 * SECOND),
        Gap(9, 9, T + 8 * SECOND, None),
    )


def test_numbers_after_the_last_settled_marker_are_in_flight() -> None:
    store = MemoryStore()
    store.write_sources(
        [row(owed=3, sent=9), row("new", owed=0, sent=4), row("idle"), row("dead", owed=2, sent=2, state="silent")]
    )
    store.write_events([*stored(1, 2, 3, 7), *stored(1, 2, 5, 6, source="dead")])
    found = {one.source: (one.result, one.in_flight, one.beyond) for one in audit(store).epochs}
    assert found == {
        "shop-1": ("balanced", 6, 0),
        "new": ("pending", 4, 0),
        "idle": ("balanced", 0, 0),
        "dead": ("balanced", 0, 2),
    }


def test_a_source_without_numbers_is_never_balanced() -> None:
    store = MemoryStore()
    (numbered,) = stored(1, source="old", epoch=5)
    numbered.event.seq = 0
    store.write_events([numbered._replace(body=wire.encode([numbered.event]))])
    store.write_quarantine([QuarantineRow("q", T, "old", 5, "bad", "", b"")])
    store.write_sources([row("old", 5, owed=7, sent=7, numbered=False)])
    one = only(store)
    assert (one.result, one.unnumbered, one.sent, one.missing) == ("not_numbered", (1, 1), 7, 0)


def test_a_source_that_says_how_many_and_of_which_nothing_came() -> None:
    store = MemoryStore()
    store.write_sources([row("old", 5, owed=7, sent=7, numbered=False)])
    assert (only(store).result, only(store).gaps) == ("missing", (Gap(1, 7),))


def test_numbers_that_no_marker_vouches_for() -> None:
    """An import that was killed: no hello, no goodbye."""
    store = MemoryStore()
    store.write_events(stored(1, 2, 9))
    assert (only(store).result, only(store).beyond, only(store).missing) == ("not_vouched", 3, 0)


def test_what_was_shed_and_could_not_be_told_is_not_called_missing() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=10, sent=10, shed=4, shed_ranges=((2, 3),))])
    store.write_events(stored(1, 4, 5, 6, 8, 10))
    one = only(store)
    assert (one.result, one.found["shed"], one.untold, one.gaps) == ("balanced", 4, 2, ())
    store.write_sources([row(owed=11, sent=11, shed=4, shed_ranges=((2, 3),), position=1)])
    one = only(store)
    assert (one.result, one.missing, one.untold) == ("missing", 1, 2)
    assert [gap[:2] for gap in one.gaps] == [(7, 7), (9, 9), (11, 11)]


def test_a_period_chooses_epochs_that_were_alive_in_it() -> None:
    store = MemoryStore()
    for number, (name, begin, end, state) in enumerate(
        [("a", 0, 2, "closed"), ("b", 1, 5, "gone"), ("c", 6, 7, "live"), ("d", 8, 9, "open")]
    ):
        told = {"owed": 1, "sent": 1, "last_record_at": T + end * HOUR, "state": state, "position": number}
        store.write_sources([row(name, T + begin * HOUR, **told)])
        store.write_events(stored(1, source=name, epoch=T + begin * HOUR))
    # An import vouches from the beginning of time; it lived when it ran.
    store.write_sources([row("import", T + 3 * HOUR, since=0, last_record_at=T + 3 * HOUR, state="closed")])

    def alive(begin: int, end: int) -> str:
        found = audit(store, T + begin * HOUR if begin else 0, T + end * HOUR if end else 0)
        return "".join(sorted(one.source[0] for one in found.epochs))

    assert alive(0, 0) == "abcdi"
    assert alive(3, 0) == "bcdi"
    assert alive(3, 4) == "bi"
    assert alive(6, 0) == "cd"
    assert alive(10, 0) == "c"  # it lives
    assert alive(0, 1) == "a"


def test_one_source() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=1, sent=1), row("other", owed=1, sent=1)])
    assert only(store, source="other").source == "other"
    with pytest.raises(Invalid, match="no source 'x'; there are other, shop-1"):
        audit(store, source="x")
    assert audit(MemoryStore()).epochs == ()


def test_a_row_on_its_way_to_another_table_is_not_missing() -> None:
    """Released from an alias, or deleted by retention, between two reads."""

    class Moving(MemoryStore):
        looks = 0

        def numbers(self, source: str = "", epoch: int = -1) -> Any:
            self.looks += 1
            hidden = 2 if self.looks == 1 else 3
            return iter([NumberRange("shop-1", T, "stored", n, n) for n in (1, 2, 3) if n != hidden])

    store = Moving()
    store.write_sources([row(owed=4, sent=4)])
    one = only(store)
    assert [gap[:2] for gap in one.gaps] == [(4, 4)]


def test_what_is_listed_is_bound_and_what_is_counted_is_not() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=1_000, sent=1_000)])
    store.write_events(stored(*range(2, 1_001, 2)))
    one = only(store)
    assert (one.missing, len(one.gaps), one.more_gaps) == (500, 100, 400)
    assert flat(one)["missing_ranges"].endswith("197;199;…")
    plain = json.loads(json.dumps(data(audit(store))))
    assert (plain["balanced"], plain["missing"], plain["epochs"][0]["more_missing_ranges"]) == (False, 500, 400)
    assert plain["epochs"][0]["missing_ranges"][1]["first"] == 3


# Through a worker


def test_a_file_that_is_loaded_again_balances() -> None:
    """The same rows make the same event ids, which are stored once, under the numbers of the first run."""
    world = World()
    for _ in range(2):
        emitter = world.source("northwind", load=True, limits=Limits())
        for number in range(50):
            keys = {"payment": str(number)} if number % 5 == 0 else {"order": str(number)}
            world.emit(emitter, keys, id=f"row{number}", time=T)
        emitter.set_aside(b"no row", "orders.csv:9: no date")
        emitter.goodbye("closed")
        world.emitters.clear()
        world.site.time += DAY
        world.worker.drain()
    first, second = sorted(world.settle().epochs, key=lambda one: one.epoch)
    assert (first.result, first.found["stored"], first.found["quarantined"]) == ("balanced", 50, 1)
    assert (second.result, second.owed, second.found["repeated"], second.found["quarantined"]) == (
        "balanced",
        51,
        50,
        1,
    )


def test_a_line_that_was_refused_balances_before_and_after_it_is_tried_again() -> None:
    world = World()
    emitter = world.source()
    for number in range(12):
        world.emit(emitter, phase="exploded" if number in (3, 7) else "completed")
    world.send(emitter, "kept")
    world.pass_time()
    (one,) = world.settle().epochs
    assert (one.result, one.owed, one.found["stored"], one.found["quarantined"]) == ("balanced", 12, 10, 2)
    rows = world.site.store.quarantine()
    assert sorted(row.numbers for row in rows) == [(4,), (8,)]
    again = quarantine.record_of(rows[0])
    assert wire.unpack_numbers(dict(again.headers)[wire.SEQ]) == rows[0].numbers
    quarantine.retry(world.site.store, world.site.sink.produce, [], everything=True)
    assert [one.result for one in world.settle().epochs] == ["balanced"]
    assert len(world.site.store.quarantine()) == 2


def test_a_source_that_is_set_aside_balances() -> None:
    """Its records are refused unread, as they are."""
    world = World()
    emitter = world.source(limits=Limits(linger=0, batch_events=30))
    for number in range(300):
        world.emit(emitter, phase="completed" if number % 7 == 0 else "exploded")
        if number % 60 == 0:
            world.pass_time()
            world.worker.drain()
    world.send(emitter, "kept")
    world.pass_time()
    one = world.settle().epochs[0]
    assert (one.state, one.result, one.owed) == ("distrusted", "balanced", 300)
    assert any(len(row.numbers) > 1 for row in world.site.store.quarantine(limit=999))


def test_what_others_spoil_in_a_partition_does_not_stop_what_is_sent_on_to_it() -> None:
    """Records without a source are judged by their partition; copies of good events have none either."""
    world = World(partitions=2)
    junk = [Record(EVENTS, b"x", b"{", (), number) for number in (0, 1) for _ in range(150)]
    world.site.produce(junk)
    world.worker.drain()
    emitter = world.source()
    for number in range(40):
        world.emit(emitter, {"order": str(number), "cart": f"c{number}"})
        world.emit(emitter, {"payment": str(number)})
        world.pass_time(1)
    world.pass_time()
    found = {one.source: one for one in world.settle().epochs}
    assert found[""].unnumbered[1] == 300
    one = found["shop-1"]
    assert (one.result, one.found["stored"], one.found["quarantined"]) == ("balanced", 80, 0)


def test_what_says_its_number_in_the_line_alone_is_counted_when_it_is_refused() -> None:
    """A foreign sender that numbers, in a record without a header for it; with and without a source in the headers."""
    world = World(partitions=1)
    good = {"id": "a", "system": "shop", "step": "placed", "time": T, "keys": {"order": "1"}}
    named = {"source": "till", "epoch": 5}
    lines = [
        ([(SOURCE, b"till"), (EPOCH, b"5")], [{**good, "seq": 1}, {**good, "seq": 2, "phase": "x"}]),
        ([(SOURCE, b"till"), (EPOCH, b"5")], [{**good, **named, "seq": 3, "step": ""}]),
        ([], [{**good, **named, "seq": 4, "keys": {}}]),
        ([(SOURCE, b"other")], [{**good, **named, "seq": 9, "keys": {}}]),
        ([], [{**good, "seq": 9}]),
    ]
    for headers, said in lines:
        body = b"\n".join(json.dumps(one).encode() for one in said)
        world.site.produce([Record(EVENTS, b"order:1", body, ((KIND, b"event"), *headers), 0)])
    marker = Marker(source="till", epoch=5, systems=("shop",), through=T, sent=5, acked=world.site.ends())
    world.site.write(marker)
    found = {one.source: one for one in world.settle().epochs}
    till = found["till"]
    assert [gap[:2] for gap in till.gaps] == [(5, 5)]
    assert (till.found["stored"], till.found["quarantined"]) == (1, 3)
    assert found["other"].unnumbered == (0, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("emit"),
            st.integers(1, 9),
            st.sampled_from(["order", "cart", "alias", "bad", "again"]),
            st.sampled_from(["", "", "kept", "lost", "damaged", "doubled", "refused"]),
        ),
        st.tuples(st.just("crash"), st.integers(1, 25)),
        st.sampled_from(["time", "work", "outage", "back", "kill", "leave", "aside", "replay", "lose acks", "control away"]),
    ),
    min_size=5,
    max_size=40,
)  # fmt: skip


def well(world: World) -> bool:
    broker = world.site.log.broker
    return not (broker.down or broker.away or broker.lose_acks)


def play(world: World, steps: list[Any]) -> None:
    emitter = world.source()
    broker = world.site.log.broker
    for step in steps:
        match step:
            case ("emit", how_many, kind, fate):
                world.wire.fate = fate or "kept"
                for _ in range(how_many):
                    keys = {
                        "cart": {"order": f"o{world.n}", "cart": f"c{world.n}"},
                        "alias": {"payment": f"p{world.n}"},
                    }.get(kind)
                    changed: dict[str, dict[str, Any]] = {
                        "bad": {"phase": "exploded"},
                        "again": {"id": f"again {world.n % 2}", "time": T},
                    }
                    world.emit(emitter, keys if kind != "again" else {"order": "twice"}, **changed.get(kind, {}))
                if fate:
                    world.send(emitter, fate)
                world.wire.fate = "kept"
            case ("crash", after) if well(world):
                world.crash(after)
            case "time":
                world.pass_time()
            case "work" if well(world):
                world.worker.step()
            case "outage" | "back":
                broker.down = step == "outage"
                broker.lose_acks = False
            case "lose acks":
                broker.lose_acks = True
            case "control away":
                broker.away = set() if broker.away else {EVENTS}
            case "kill":  # with what it has not sent
                world.emitters.clear()
                world.site.time += SECOND
                emitter = world.source()
            case "leave":
                broker.down = broker.lose_acks = False
                broker.away = set()
                emitter.goodbye("open")
                world.emitters.clear()
                world.site.time += SECOND
                emitter = world.source()
            case "aside" if well(world):
                emitter.set_aside(b"no row", "orders.csv:9: no date")
            case "replay" if world.wire.records and well(world):
                world.wire.append(world.wire.records[len(world.wire.records) // 2])
    broker.down = broker.lose_acks = False
    broker.away = set()
    for _ in range(4):
        world.send(emitter, "kept")
        world.pass_time(2 * SECOND)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, partitions=st.sampled_from([1, 3]))
def test_exactly_what_is_missing_is_found(steps: list[Any], partitions: int) -> None:
    world = World(partitions)
    play(world, steps)
    found = world.settle()
    expected, told = world.missing(), world.told()
    assert {(one.source, one.epoch) for one in found.epochs} >= set(told)
    for one in found.epochs:
        key = (one.source, one.epoch)
        said = told.get(key)
        assert one.owed == (said.accounted if said else 0), (one, said)
        assert numbers((gap.first, gap.last) for gap in one.gaps) == expected.get(key, set()), (one, said)
        assert one.missing == len(expected.get(key, set()))
        assert sum(one.found.values()) + one.missing == one.owed
        assert (one.result == "missing") == bool(expected.get(key))
