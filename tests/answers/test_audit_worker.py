"""The audit through emitters, a log and a worker: whatever is lost or doubled, it finds just what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answers import quarantine
from pipeline.answers.audit import Audit, audit, data
from pipeline.store.embedded import open_embedded
from schemas import wire
from schemas.control import Marker
from schemas.times import DAY, SECOND
from tests.answers.audit_world import World, numbers
from tests.faults.stories import START
from tracer.emitter import Limits
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record

T = START


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


def check(world: World) -> Audit:
    """The audit says what is missing by rights, epoch by epoch, and that nothing else is."""
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
    return found


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, partitions=st.sampled_from([1, 3]))
def test_exactly_what_is_missing_is_found(steps: list[Any], partitions: int) -> None:
    world = World(partitions)
    play(world, steps)
    check(world)


def test_the_same_through_a_database(tmp_path: Path) -> None:
    store = open_embedded(tmp_path / "store", {}, "lastseen")
    store.migrate()
    world = World(3, store)
    fates = ["", "lost", "", "damaged", "doubled", "refused", ""]
    kinds = ["order", "cart", "alias", "bad", "again"]
    steps: list[Any] = []
    for number in range(70):
        steps += [
            ("emit", 1 + number % 9, kinds[number % 5], fates[number % 7]),
            ["time", "work", "replay", "aside"][number % 4],
        ]
        if number % 10 == 0:
            steps += ["outage", ("emit", 40, "order", ""), "back", "time", "work"]
        if number % 17 == 0:
            steps += ["kill", ("crash", 5)]
    play(world, steps)
    found = check(world)
    totals = {
        how: sum(one.found.get(how, 0) for one in found.epochs) for how in ("stored", "repeated", "quarantined", "shed")
    }
    assert found.missing > 10
    assert all(totals.values()), totals
    assert data(found) == data(audit(store))
    store.close()
