"""The emitter: what it puts on the log, and what it vouches for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import schemas.wire
import tracer.record
from pipeline.core.control import ControlFold
from pipeline.errors import Unavailable
from pipeline.log import LogRecord
from pipeline.log.memory import MemoryLog
from schemas.control import Control, Goodbye, Hello, Marker, Own, Progress, decode_control
from schemas.landscape import Landscape
from schemas.wire import Observed, decode, decompress
from tests.tracer.support import LateSink
from tracer.batch import MAX_EVENT_BYTES
from tracer.emitter import SECOND, Emitter, Limits
from tracer.record import CONTROL, EVENTS, partition_of

BOOT = 1_700_000_000_000_000
PARTITIONS = 4


class World:
    """A log in memory, a clock set by hand, and an emitter."""

    def __init__(self, late: int | None = None, **options: Any):
        """``late``: µs after which acknowledgements come; None for at once."""
        self.now = BOOT
        self.lag = 0
        self.log = MemoryLog(PARTITIONS, clock=lambda: self.now + self.lag)
        self.emitter = Emitter(
            self.log.producer() if late is None else LateSink(self.log.broker, late),
            "shop-1",
            BOOT,
            ["shop"],
            lambda: self.now,
            transaction_types=("order", "cart"),
            **options,
        )
        self.n = 0

    def emit(self, keys: dict[str, str] | None = None, **more: Any) -> int:
        self.n += 1
        self.emitter.emit(
            {"id": f"e{self.n}", "system": "shop", "step": "placed", "phase": "completed", "time": self.now}
            | {"keys": keys or {"order": str(self.n)}, "attributes": {"amount": 12.5}}
            | more
        )
        return self.n

    def pass_time(self, micros: int = SECOND) -> None:
        self.now += micros
        self.emitter.tick()

    def records(self, topic: str = EVENTS) -> list[LogRecord]:
        return [
            LogRecord(topic, number, offset, row.append_time, row.key, row.value, row.headers)
            for number, partition in enumerate(self.log.broker.topics[topic])
            for offset, row in enumerate(partition.rows, partition.first)
        ]

    def control(self) -> list[Control]:
        return [decode_control(record.value) for record in self.records(CONTROL)]

    def markers(self) -> list[Marker]:
        return [record for record in self.control() if isinstance(record, Marker)]

    def events(self) -> dict[str, Observed]:
        """What a worker reads, by id."""
        return {event.id: event for record in self.records() for event in events_of(record)}


def events_of(record: LogRecord) -> list[Observed]:
    headers = dict(record.headers)
    body = decompress(record.value, headers.get(tracer.record.ENCODING))
    events, _, bad = decode(body, headers[tracer.record.SOURCE].decode(), int(headers[tracer.record.EPOCH]))
    assert not bad
    return events


def test_header_names_are_those_of_the_contract() -> None:
    for name in ("KIND", "SOURCE", "EPOCH", "DEPTH", "VIA", "COUNT", "IMPORT", "ENCODING", "SEQ"):
        assert getattr(tracer.record, name) == getattr(schemas.wire, name), name


def test_what_an_application_imports_is_small() -> None:
    """No pydantic, nothing of ours beside tracer, no client of a log that is not used; and it works without orjson."""
    code = (
        "import sys; sys.modules['orjson'] = None; import tracer.emitter, tracer.sinks, tracer.sinks.memory, tracer.batch as b;"
        "bad = {'pydantic', 'schemas', 'pipeline', 'collectors', 'kafka', 'sqlite3', 'msgspec'} & set(sys.modules);"
        "assert not bad, bad; assert b.encode_event({'a': 'ö', 'b': 1}) == '{\"a\":\"ö\",\"b\":1}'.encode()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# Events


def test_events_are_numbered_batched_and_placed() -> None:
    world = World()
    for _ in range(300):
        world.emit()
    world.emitter.flush()
    events = world.events()
    assert len(events) == 300
    assert sorted(event.seq for event in events.values()) == list(range(1, 301))
    assert {(event.source, event.epoch) for event in events.values()} == {("shop-1", BOOT)}
    records = world.records()
    assert len(records) == PARTITIONS, "one batch for each partition"
    for record in records:
        headers = dict(record.headers)
        inside = events_of(record)
        assert headers["ls-kind"] == b"event"
        assert int(headers["ls-count"]) == len(inside)
        assert headers["content-encoding"] == b"lz4"
        assert record.key == f"order:{inside[0].keys['order']}".encode()
        for event in inside:
            assert partition_of(f"order:{event.keys['order']}".encode(), PARTITIONS) == record.partition
        assert [event.seq for event in inside] == sorted(event.seq for event in inside)


def test_a_single_event_is_plain_json() -> None:
    world = World()
    world.emit(peer="payments", error="größer als erlaubt", phase="failed")
    world.emitter.flush()
    (record,) = world.records()
    assert json.loads(record.value)["error"] == "größer als erlaubt"
    assert [name for name, _ in record.headers] == ["ls-kind", "ls-source", "ls-epoch", "ls-seq"]


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"customer": "c1", "order": "7"}, b"order:7"),
        ({"cart": "3", "order": "7"}, b"order:7"),
        ({"customer": "c1", "cart": "3"}, b"cart:3"),
        ({"payment": "p1", "customer": "c1"}, b"payment:p1"),
    ],
)
def test_the_transaction_routes_else_the_first_key(keys: dict[str, str], key: bytes) -> None:
    world = World()
    world.emit(keys)
    world.emitter.flush()
    assert [(r.key, r.partition) for r in world.records()] == [(key, partition_of(key, PARTITIONS))]


def test_batches_are_bound_by_count_bytes_and_time() -> None:
    world = World(limits=Limits(batch_events=3, batch_bytes=2_000, linger=SECOND))
    for _ in range(4):
        world.emit({"order": "1"})
    assert [len(events_of(r)) for r in world.records()] == [3]
    world.emit({"order": "1"}, attributes={"note": "x" * 1900})
    assert [len(events_of(r)) for r in world.records()] == [3, 1]
    world.pass_time(SECOND - 1)
    assert len(world.records()) == 2
    world.pass_time(1)
    assert [len(events_of(r)) for r in world.records()] == [3, 1, 1]


def test_what_is_no_event_is_refused_and_takes_no_number() -> None:
    world = World()
    keys = {"order": "1"}
    refused: list[dict[str, Any]] = [
        {"keys": {}},
        {},
        {"keys": keys, "x": object()},
        {"keys": keys, "x": "y" * MAX_EVENT_BYTES},
    ]
    for bad in refused:
        with pytest.raises(ValueError, match=r"key|JSON|bytes"):
            world.emitter.emit(bad)
    world.emit()
    world.emitter.flush()
    assert [event.seq for event in world.events().values()] == [1]


# Hello, markers, goodbye


def test_hello_then_markers_then_goodbye() -> None:
    world = World(every=2 * SECOND)
    world.lag = 40
    world.emitter.tick()
    world.emit()
    for _ in range(8):
        world.pass_time(SECOND // 2)
    world.emitter.goodbye()
    said = world.control()
    assert said[0] == Hello(source="shop-1", epoch=BOOT, systems=("shop",), boot=BOOT, since=BOOT, every=2 * SECOND)
    assert [type(each) for each in said] == [Hello, Marker, Marker, Marker, Goodbye]
    markers = said[1:]
    assert [m.through for m in markers if isinstance(m, Marker | Goodbye)] == [
        BOOT, BOOT + 2 * SECOND, BOOT + 4 * SECOND, BOOT + 4 * SECOND
    ]  # fmt: skip
    last = markers[-1]
    assert isinstance(last, Goodbye)
    partition = partition_of(b"order:1", PARTITIONS)
    assert (last.acked, last.skew, last.sent, last.shed, last.state) == ({partition: 1}, 40, 1, 0, "open")
    assert {r.key for r in world.records(CONTROL)} == {
        f"{kind}:shop-1:{BOOT}".encode() for kind in ("hello", "marker", "goodbye")
    }
    with pytest.raises(ValueError, match="goodbye"):
        world.emit()


def test_a_marker_names_the_offset_after_the_last_acknowledged() -> None:
    world = World(limits=Limits(batch_events=1))
    for _ in range(50):
        world.emit()
    world.emitter.tick()
    marker = world.emitter.marker()
    ends = {str(n): p.end for n, p in enumerate(world.log.broker.topics[EVENTS]) if p.end}
    assert marker["acked"] == ends
    assert marker["sent"] == 50


def test_through_stands_at_the_oldest_event_under_way() -> None:
    world = World(limits=Limits(linger=0))
    world.pass_time()
    world.log.broker.hold_acks = True
    first = world.now
    world.emit()
    for _ in range(5):
        world.pass_time()
    world.emit()
    assert world.emitter.marker()["through"] == first
    assert world.emitter.marker()["sent"] == 0
    world.log.broker.hold_acks = False
    world.pass_time()
    assert world.emitter.marker()["through"] == world.now


def test_late_sources_take_their_delay_off() -> None:
    world = World(delay=30 * SECOND)
    world.pass_time()
    assert world.emitter.marker()["through"] == world.now - 30 * SECOND


def test_a_clock_that_jumps_back_takes_nothing_back() -> None:
    """Fault 17: what becomes known after a marker is not dated before it."""
    world = World(limits=Limits(linger=0))
    world.pass_time(100 * SECOND)
    said = world.emitter.marker()["through"]
    world.now -= 60 * SECOND
    world.log.broker.down = True
    world.emit()
    world.emitter.tick()
    assert world.emitter.marker()["through"] == said
    assert world.emitter.marker()["skew"] is not None


def test_skew_is_the_smallest_difference() -> None:
    world = World(limits=Limits(batch_events=1))
    for lag in (700, 300, 500):
        world.lag = lag
        world.now += SECOND
        world.emit()
    assert world.emitter.marker()["skew"] == 300


def test_no_marker_before_the_hello_is_heard() -> None:
    world = World()
    world.log.broker.lose_acks = True
    for _ in range(5):
        world.pass_time(3 * SECOND)
    assert {type(each) for each in world.control()} == {Hello}
    world.log.broker.lose_acks = False
    for _ in range(2):
        world.pass_time(3 * SECOND)
    assert isinstance(world.control()[-1], Marker)


# While the log is away


def test_a_log_that_is_away_raises_nothing_and_loses_nothing() -> None:
    world = World(limits=Limits(batch_events=7))
    world.log.broker.down = True
    for _ in range(100):
        world.emit()
        world.pass_time(10_000)
    with pytest.raises(Unavailable):
        world.emitter.flush()
    world.log.broker.down = False
    world.pass_time()
    assert len(world.events()) == 100
    assert world.emitter.marker()["sent"] == 100


def test_an_acknowledgement_that_was_lost_is_made_good() -> None:
    """Fault 14: sent again, doubled on the log, told apart by id; through waits for it."""
    world = World(limits=Limits(linger=0))
    world.log.broker.lose_acks = True
    start = world.now
    world.emit()
    world.pass_time()
    assert world.emitter.marker()["through"] == start
    world.log.broker.lose_acks = False
    world.pass_time()
    assert len(world.records()) == 2
    assert len(world.events()) == 1
    assert world.emitter.marker()["through"] == world.now
    assert world.emitter.marker()["sent"] == 1


def test_what_is_shed_is_counted_and_begins_a_new_epoch() -> None:
    world = World(limits=Limits(queue_events=10))
    world.pass_time()
    world.log.broker.down = True
    for _ in range(10):
        world.emit()
        world.pass_time()
    shed_at = world.now
    for _ in range(5):
        world.emit()
        world.pass_time()
    old = world.emitter.epoch
    assert world.emitter.marker() | {"through": 0} == world.emitter.marker() | {"through": 0, "sent": 5, "shed": 5}
    world.log.broker.down = False
    for _ in range(3):
        world.pass_time()
    after = world.emit()
    world.emitter.flush()
    world.pass_time(3 * SECOND)
    said = world.control()
    last_of_old = [m for m in said if isinstance(m, Marker) and m.epoch == old][-1]
    assert (last_of_old.through, last_of_old.sent, last_of_old.shed) == (shed_at, 15, 5)
    (renewed,) = [h for h in said if isinstance(h, Hello) and h.epoch != old]
    assert renewed.since > shed_at + 4 * SECOND
    assert renewed.since == renewed.epoch == renewed.boot
    events = world.events()
    assert len(events) == 11
    assert (events[f"e{after}"].epoch, events[f"e{after}"].seq) == (renewed.epoch, 1)
    newest = said[-1]
    assert isinstance(newest, Marker)
    assert (newest.epoch, newest.sent, newest.shed, newest.through) == (renewed.epoch, 1, 0, world.now)


@pytest.mark.parametrize("rate", [2, 10, 50, 200])
def test_a_source_that_always_has_something_under_way_begins_its_new_epoch(rate: int) -> None:
    """I6: acknowledgements come later than the next event."""
    world = World(late=5_000, limits=Limits(queue_events=50))
    world.pass_time()
    world.pass_time()
    world.log.broker.down = True
    for _ in range(60):
        world.emit()
    world.log.broker.down = False
    for beat in range(1_000):
        world.now += 5_000
        if beat % (200 // rate) == 0:
            world.emit()
        if beat % 10 == 0:
            world.emitter.tick()
        if world.emitter.epoch != BOOT:
            break
    began = world.now
    assert began < BOOT + 3 * SECOND
    for _ in range(3):
        world.emit()
        world.pass_time(3 * SECOND)
    last = {marker.epoch: marker for marker in world.markers()}
    old, new = last[BOOT], world.markers()[-1]
    assert old.through < BOOT + 3 * SECOND
    assert new.through >= world.now - 3 * SECOND
    assert (new.shed, len(world.events())) == (0, world.n - old.shed)
    assert sorted(event.seq for event in world.events().values() if event.epoch == new.epoch) == list(
        range(1, world.n - old.sent + 1)
    )


def test_what_came_early_is_numbered_all_the_same_when_the_log_is_away_again() -> None:
    """Under the old epoch, and kept in order; a pause is short, and takes no room that others need."""
    world = World(late=5_000, limits=Limits(queue_events=10, linger=0))
    world.pass_time()
    world.pass_time()
    world.log.broker.down = True
    for _ in range(11):
        world.emit()
    world.log.broker.down = False
    world.pass_time(10_000)
    assert not world.emitter.pausing, "nothing was acknowledged since"
    world.pass_time(10_000)
    world.log.broker.hold_acks = True
    taken = world.emitter.taken
    assert world.emitter.pausing
    world.emit()
    world.emit()
    assert world.emitter.taken == taken, "they are not numbered yet"
    world.pass_time(6 * SECOND)
    assert (world.emitter.pausing, world.emitter.taken) == (False, taken + 2)
    world.log.broker.hold_acks = False
    world.emitter.goodbye()
    assert len(world.events()) == world.n - 1
    assert sum(1 for said in world.control() if isinstance(said, Hello)) == 1


def test_with_block_there_is_no_room_until_the_new_epoch_has_begun() -> None:
    """So that a collector, which looks at it, gives the log the time."""
    world = World(late=5_000, block=True)
    world.pass_time()
    world.pass_time()
    world.emit()
    world.emitter._give_up((world.emitter.taken + 1,), world.now)
    world.emitter._seq += 1
    for _ in range(200):
        world.pass_time(10_000)
        if world.emitter.room:
            world.emit()
        if world.emitter.epoch != BOOT:
            break
    assert world.emitter.epoch != BOOT
    assert world.emitter.room


def test_blocking_raises_instead_of_shedding() -> None:
    world = World(limits=Limits(queue_events=10), block=True)
    world.log.broker.down = True
    for _ in range(10):
        world.emit()
    with pytest.raises(Unavailable):
        world.emit()
    world.log.broker.down = False
    world.emit()
    world.emitter.flush()
    assert sorted(event.seq for event in world.events().values()) == list(range(1, 12))
    assert world.emitter.marker()["shed"] == 0


def test_what_was_shed_before_the_end_is_blind() -> None:
    """An orderly end that comes before the new epoch: the goodbye vouches on, and not for that."""
    world = World(limits=Limits(queue_events=5))
    for _ in range(30):
        world.pass_time()
    world.log.broker.down = True
    for _ in range(10):
        world.emit()
    shed_at = world.now
    world.now += 5 * SECOND
    world.log.broker.down = False
    world.emitter.goodbye("open")
    assert world.emitter.shed == 5
    fold = ControlFold(Landscape())
    for record in world.records(CONTROL):
        fold.apply(record.offset, record.append_time, decode_control(record.value))
    for partition in range(PARTITIONS):
        fold.apply(fold.position, world.now, Own(partition=partition, after=-1, worker="w"))
        said = Progress(
            partition=partition, fence=fold.partitions[partition].fence, position=1_000, forwarded={}, through=0
        )
        fold.apply(fold.position, world.now + 300 * SECOND, said)
    hearing = fold.hearing("shop")
    assert hearing.clock == world.now + 290 * SECOND
    assert hearing.deaf[1:] == ((shed_at, world.now),)


def test_an_event_that_the_log_never_takes_is_shed() -> None:
    world = World()
    taken = world.log.broker.append
    world.emit()
    world.emitter.flush()

    def refuse(record: tracer.record.Record) -> tracer.record.Ack:
        if record.topic == EVENTS:
            raise ValueError("too large for this broker")
        return taken(record)

    world.log.broker.append = refuse  # type: ignore[method-assign]
    world.emit()
    world.pass_time()
    assert any(isinstance(m, Marker) and m.shed == 1 for m in world.control())


# Imports


def test_an_import_says_nothing_until_all_is_acknowledged() -> None:
    world = World(load=True)
    for _ in range(500):
        world.emit()
        world.pass_time()
    assert world.control() == []
    world.emitter.goodbye("closed", through=BOOT - 5 * SECOND)
    hello, goodbye = world.control()
    assert isinstance(hello, Hello)
    assert (hello.since, hello.boot) == (0, BOOT)
    assert isinstance(goodbye, Goodbye)
    assert (goodbye.state, goodbye.through, goodbye.sent) == ("closed", BOOT - 5 * SECOND, 500)
    assert goodbye.acked == {n: p.end for n, p in enumerate(world.log.broker.topics[EVENTS])}
    assert all(dict(record.headers)["ls-import"] == b"1" for record in world.records())
    assert len(world.events()) == 500


def test_an_import_that_fails_changes_no_hearing() -> None:
    world = World(load=True)
    world.emit()
    world.log.broker.down = True
    with pytest.raises(Unavailable):
        world.emitter.goodbye("closed")
    assert world.control() == []
    world.log.broker.down = False
    world.emitter.goodbye("closed")
    assert [type(each) for each in world.control()] == [Hello, Goodbye]
    assert len(world.events()) == 1


def test_a_since_that_is_told() -> None:
    world = World(load=True, since=BOOT - 9)
    world.emitter.goodbye("closed")
    assert [h.since for h in world.control() if isinstance(h, Hello)] == [BOOT - 9]


@pytest.mark.parametrize("make", [lambda path: f"sqlite:///{path}/log.db"])
def test_through_a_file(tmp_path: Path, make: Callable[[Path], str]) -> None:
    """The same through SQLite, opened by address."""
    from tracer.sinks import open_sink

    now = [BOOT]
    emitter = Emitter(open_sink(make(tmp_path)), "shop-1", BOOT, ["shop"], lambda: now[0], transaction_types=["order"])
    emitter.tick()
    for i in range(1000):
        now[0] += 1000
        emitter.emit({"id": str(i), "system": "shop", "step": "placed", "time": now[0], "keys": {"order": str(i)}})
        emitter.tick()
    emitter.goodbye()
    assert emitter.marker()["sent"] == 1000
    assert emitter.marker()["through"] == now[0]


def test_a_hold_is_not_passed_until_it_is_lifted() -> None:
    """For who reads what others wrote: what is written and not read yet cannot be vouched for."""
    world = World()
    world.emitter.hold = BOOT + 5
    for _ in range(3):
        world.pass_time(3 * SECOND)
    assert {marker.through for marker in world.markers()} == {BOOT + 5}
    assert world.emitter.told == BOOT + 5
    world.emitter.hold = world.now + SECOND  # of a clock that is ahead: never beyond now
    world.pass_time(3 * SECOND)
    assert world.markers()[-1].through <= world.now
    world.emitter.hold = None
    world.pass_time(3 * SECOND)
    assert world.markers()[-1].through == world.now == world.emitter.told


def test_a_source_that_vouches_for_nobody_is_counted() -> None:
    world = World()
    world.emitter.systems = ()
    world.emit()
    world.pass_time(3 * SECOND)
    world.pass_time(3 * SECOND)
    marker = world.markers()[-1]
    assert (marker.systems, marker.sent, marker.accounted) == ((), 1, 1)


def test_room_ends_before_anything_waits() -> None:
    world = World(limits=Limits(queue_events=2), block=True)
    world.log.broker.hold_acks = True
    world.emit()
    assert world.emitter.room
    world.emit()
    assert not world.emitter.room
    assert (world.emitter.taken, world.emitter.accounted) == (2, 0)
