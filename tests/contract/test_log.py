"""The laws of an event log, for every adapter: one suite, inherited."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from kafka.admin import MemberToRemove

from pipeline.errors import Invalid, Unavailable
from pipeline.log import Assigned, Change, Consumer, Fenced, Log, LogRecord, PositionLost, Revoked, open_log
from pipeline.log.kafka import KafkaEventConsumer, KafkaLog
from pipeline.log.memory import MemoryConsumer, MemoryLog
from pipeline.log.sqlite import SqliteLog
from tracer.record import CONTROL, EPOCH, EVENTS, KIND, SOURCE, Record, partition_of
from tracer.sinks.contract import MAX_VALUE

PARTITIONS = 4
PATIENCE = 30.0
"""Seconds until a wait is given up; nothing here asserts how long something took."""


def event(key: str, value: bytes = b"{}", partition: int | None = None) -> Record:
    return Record(EVENTS, key.encode(), value, ((KIND, b"event"), (SOURCE, b"shop-1")), partition)


def until(what: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("gave up waiting")


class Reader:
    """Polls a consumer, takes its changes, and keeps all it was given."""

    def __init__(self, consumer: Consumer):
        self.consumer = consumer
        self.changes: list[Change] = []
        self.got: dict[int, list[LogRecord]] = {}

    def poll(self, max_records: int = 100) -> bool:
        for partition, records in self.consumer.poll(max_records, 50).items():
            assert records
            self.got.setdefault(partition, []).extend(records)
        self.changes += self.consumer.take_changes()
        return True

    def until(self, what: Callable[[], bool]) -> None:
        until(lambda: self.poll() and what())

    def owns_all(self) -> bool:
        return self.consumer.assignment() == frozenset(range(PARTITIONS))

    def owned(self) -> int:
        """How many partitions are ours, as the group says; none while it rebalances."""
        try:
            return sum(self.consumer.still_owns(p) for p in self.consumer.assignment())
        except Unavailable:
            return 0

    def count(self) -> int:
        return sum(map(len, self.got.values()))

    def places(self) -> set[tuple[int, int]]:
        """Partition and offset of all that came, however often: a slow machine is given up now and then, and reads again."""
        return {(record.partition, record.offset) for records in self.got.values() for record in records}

    def values(self) -> list[bytes]:
        return [record.value for partition in sorted(self.got) for record in self.got[partition]]

    def commit(self, positions: dict[int, int] | None = None) -> bool:
        """Whether it could be done now."""
        mine = {p: self.consumer.position(p) for p in self.consumer.assignment()}
        try:
            self.consumer.commit(mine if positions is None else positions)
        except Fenced:
            raise
        except Unavailable:
            return False
        return True


def share(*readers: Reader) -> None:
    """Until each has its half, and nobody waits for anybody any more."""
    until(lambda: [reader.poll() and reader.owned() for reader in readers] == [2, 2])


class LogLaws:
    """Inherited by each adapter's tests, which give `log` and `open_again` (the same log from another process)."""

    clock_is_ours: ClassVar[bool] = True

    @pytest.fixture
    def log(self) -> Iterator[Log]:
        raise NotImplementedError

    @pytest.fixture
    def reader(self, log: Log) -> Iterator[Reader]:
        consumer = log.consumer()
        yield Reader(consumer)
        consumer.close()

    # Producing

    def test_setup_is_idempotent_and_refuses_another_number(self, log: Log) -> None:
        log.create(PARTITIONS)
        log.create(None)
        assert log.partitions() == PARTITIONS
        assert log.check() == []
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1")])
        with pytest.raises(Invalid, match=f"{PARTITIONS} partitions"):
            log.create(PARTITIONS + 1)

    def test_partitions_are_added_and_never_taken(self, log: Log, reader: Reader) -> None:
        """Also to whoever reads already: what was there is read on from where it was, what comes has another place."""
        keys = [f"order:{i}" for i in range(40)]
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event(key) for key in keys])
        reader.until(lambda: reader.count() == len(keys))
        until(lambda: reader.poll() and reader.commit())
        log.extend(PARTITIONS)
        log.extend(PARTITIONS + 3)
        log.extend(PARTITIONS + 3)
        assert log.partitions() == PARTITIONS + 3
        assert log.check() == []
        for wrong in (log.extend, log.create):
            with pytest.raises(Invalid, match=f"{PARTITIONS + 3} partitions"):
                wrong(PARTITIONS)
        with contextlib.closing(log.producer()) as sink:
            assert sink.partitions(EVENTS) == PARTITIONS + 3
            acks = sink.produce([event(key, b"later") for key in keys])
            control = sink.produce([Record(CONTROL, b"k", b"v")])
        assert [ack.partition for ack in acks] == [partition_of(key.encode(), PARTITIONS + 3) for key in keys]
        assert max(ack.partition for ack in acks) >= PARTITIONS
        assert control[0].offset == 0
        reader.until(lambda: len(reader.places()) == 2 * len(keys))
        assert reader.consumer.assignment() == frozenset(range(PARTITIONS + 3))
        until(lambda: reader.poll() and reader.commit())
        ends = reader.consumer.end_offsets(range(PARTITIONS + 3))
        assert reader.consumer.committed(ends) == ends
        assert reader.places() == {(partition, offset) for partition, end in ends.items() for offset in range(end)}

    def test_who_reads_is_told(self, log: Log) -> None:
        assert log.members() == []
        reader = Reader(log.consumer())
        reader.until(reader.owns_all)
        assert len(log.members()) == 1
        assert log.members("others") == []
        reader.consumer.close()
        until(lambda: log.members() == [])

    def test_a_key_has_its_place(self, log: Log) -> None:
        keys = [f"order:{i}" for i in range(40)]
        with contextlib.closing(log.producer()) as sink:
            acks = sink.produce([event(key) for key in keys])
            there = sink.produce([event(keys[0], partition=3)])
            control = sink.produce([Record(CONTROL, b"hello:a:1", b"{}")])
            assert (sink.partitions(EVENTS), sink.partitions(CONTROL)) == (PARTITIONS, 1)
        assert [ack.partition for ack in acks] == [partition_of(key.encode(), PARTITIONS) for key in keys]
        assert len({ack.partition for ack in acks}) == PARTITIONS
        assert there[0].partition == 3
        assert control[0].partition == 0

    def test_acknowledgements_name_where_and_when(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as sink:
            acks = sink.produce([event(f"order:{i}", b'{"n":%d}' % i) for i in range(20)])
        reader.until(lambda: reader.count() == 20)
        found = {(r.partition, r.offset): (r.append_time, r.value) for records in reader.got.values() for r in records}
        assert [found[ack.partition, ack.offset] for ack in acks] == [
            (ack.append_time, b'{"n":%d}' % i) for i, ack in enumerate(acks)
        ]
        assert {ack.topic for ack in acks} == {EVENTS}

    def test_callbacks_run_within_the_sinks_methods(self, log: Log) -> None:
        heard: list[int] = []
        with contextlib.closing(log.producer()) as sink:
            inside = [False]

            def note(_: object) -> None:
                assert inside[0]
                heard.append(1)

            for i in range(10):
                inside[0] = True
                sink.send(event(f"order:{i}"), on_ack=note)
                inside[0] = False
            inside[0] = True
            sink.flush()
            assert sink.poll() == 0
        assert len(heard) == 10

    def test_what_can_go_nowhere_is_refused(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            for bad in (
                event("order:1", partition=PARTITIONS),
                event("order:1", b"x" * (MAX_VALUE + 1)),
                Record("orders", b"k", b"v"),
                Record(CONTROL, b"k", b"v", (), 1),
            ):
                with pytest.raises(ValueError, match=r"no topic|no partition|at most"):
                    sink.send(bad)
            assert sink.produce([event("order:1")])[0].offset == 0

    def test_the_largest_record(self, log: Log, reader: Reader) -> None:
        value = bytes(range(256)) * (MAX_VALUE // 256)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event(f"order:{i}", value) for i in range(5)])
        reader.until(lambda: reader.count() == 5)
        assert reader.values() == [value] * 5

    # Reading

    def test_order_within_a_key(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as one, contextlib.closing(log.producer()) as two:
            for i in range(30):
                for key in ("order:1", "order:2", "order:3"):
                    (one if i % 2 else two).produce([event(key, b"%s %d" % (key.encode(), i))])
        reader.until(lambda: reader.count() == 90)
        for name in (b"order:1", b"order:2", b"order:3"):
            values = [r.value for records in reader.got.values() for r in records if r.key == name]
            assert values == [b"%s %d" % (name, i) for i in range(30)]
        for records in reader.got.values():
            assert [record.offset for record in records] == list(range(len(records)))

    def test_append_time_is_the_logs_and_goes_forward(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as sink:
            for i in range(20):
                sink.produce([event("order:1", b"%d" % i)])
        reader.until(lambda: reader.count() == 20)
        times = [record.append_time for records in reader.got.values() for record in records]
        assert times == sorted(times)
        assert times[0] > 1_000_000_000_000_000

    def test_bytes_pass_untouched(self, log: Log, reader: Reader) -> None:
        headers = ((KIND, b"event"), (SOURCE, "größe".encode()), (EPOCH, b"1"), ("x", b""), ("y", b"\x00\xff\n"))
        poison = [b"", b"\x00", b"\xff\xfe{", b"[" * 5000, b'{"a":"\\ud800"}', b"not json\r\n", bytes(range(256))]
        records = [Record(EVENTS, b"order:\xff\x00", value, headers, 0) for value in poison]
        records += [Record(EVENTS, b"", b"no key", (), 0), event("order:2", b"plain", 0)]
        many = tuple((f"h{i}", b"%d" % i * i) for i in range(100))
        records.append(Record(EVENTS, b"k" * 300, b"v", many, 0))
        with contextlib.closing(log.producer()) as sink:
            sink.produce(records)
        reader.until(lambda: reader.count() == len(records))
        for read, sent in zip(reader.got[0], records, strict=True):
            assert (read.topic, read.key, read.value, read.headers) == (EVENTS, sent.key, sent.value, sent.headers)
            assert type(read.value) is bytes

    def test_both_topics_are_apart(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1"), Record(CONTROL, b"hello:a:1", b"c"), event("order:2")])
        reader.until(lambda: reader.count() == 2)
        control = log.control_reader()
        until(lambda: control.end_offset() == 1)
        records = control.read(10, int(PATIENCE * 1000))
        assert [(r.topic, r.partition, r.offset, r.key, r.value) for r in records] == [
            (CONTROL, 0, 0, b"hello:a:1", b"c")
        ]
        control.close()

    def test_control_is_read_whole_by_everyone(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([Record(CONTROL, b"k", b"%d" % i) for i in range(25)])
            first, second = log.control_reader(), log.control_reader()
            for control in (first, second):
                values: list[bytes] = []
                while control.position() < control.end_offset():
                    some = control.read(7, 50)
                    assert len(some) <= 7
                    values += [record.value for record in some]
                assert values == [b"%d" % i for i in range(25)]
                assert control.read(10) == []
            sink.produce([Record(CONTROL, b"k", b"more")])
        until(lambda: [record.value for record in first.read(10, 50)] == [b"more"])
        assert (first.position(), first.end_offset(), second.position()) == (26, 26, 25)
        first.close()
        second.close()

    # The group

    def test_nothing_comes_before_the_assignment_was_taken(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event(f"order:{i}") for i in range(8)])
        consumer = log.consumer()
        until(lambda: consumer.poll(10, 50) == {} and len(consumer.assignment()) == PARTITIONS)
        for _ in range(5):
            assert consumer.poll(10, 50) == {}
        assert consumer.take_changes() == [Assigned(frozenset(range(PARTITIONS)))]
        assert consumer.take_changes() == []
        reader = Reader(consumer)
        reader.until(lambda: reader.count() == 8)
        consumer.close()

    def test_a_pause_right_after_the_assignment_holds(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % p, p) for p in range(PARTITIONS)])
        consumer = log.consumer()
        until(lambda: consumer.poll(10, 50) == {} and bool(consumer.take_changes()))
        consumer.pause([0, 1])
        reader = Reader(consumer)
        reader.until(lambda: reader.count() == 2)
        for _ in range(5):
            reader.poll()
        assert sorted(reader.got) == [2, 3]
        assert consumer.position(0) == 0
        consumer.resume([0, 1])
        reader.until(lambda: reader.count() == 4)
        assert reader.values() == [b"0", b"1", b"2", b"3"]
        consumer.close()

    def test_positions_ride_with_the_batch(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(40)])
        reader.until(reader.owns_all)
        while reader.count() < 40:
            reader.poll(max_records=3)
            for partition, records in reader.got.items():
                assert reader.consumer.position(partition) == records[-1].offset + 1
        reader.consumer.seek(2, 4)
        assert reader.consumer.position(2) == 4
        reader.until(lambda: reader.count() == 46)
        assert [record.offset for record in reader.got[2]] == [*range(10), *range(4, 10)]

    def test_what_was_not_committed_is_read_again(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(20)])
        first = Reader(log.consumer())
        first.until(lambda: first.count() == 20)
        assert first.consumer.committed(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS))
        first.consumer.commit({0: 5, 1: 2})
        first.consumer.close()
        second = Reader(log.consumer())
        second.until(lambda: second.count() == 20 - 5 - 2)
        assert [record.offset for record in second.got.get(0, [])] == []
        assert [record.offset for record in second.got[1]] == [2, 3, 4]
        assert second.consumer.committed([0, 1, 2]) == {0: 5, 1: 2, 2: None}
        assert second.commit()
        second.consumer.close()
        third = Reader(log.consumer())
        third.until(third.owns_all)
        for _ in range(5):
            third.poll()
        assert third.got == {}
        assert third.consumer.committed(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 5)
        third.consumer.close()

    def test_a_new_group_starts_where_it_is_told(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"old", 0), event("order:1", b"old", 1)])
            late = Reader(log.consumer("late", from_beginning=False))
            late.until(late.owns_all)
            assert [late.consumer.position(p) for p in range(PARTITIONS)] == [1, 1, 0, 0]
            sink.produce([event("order:1", b"new", 0)])
        late.until(lambda: late.count() == 1)
        assert late.values() == [b"new"]
        late.consumer.close()

    def test_ends_are_asked_of_the_log(self, log: Log, reader: Reader) -> None:
        reader.until(reader.owns_all)
        assert reader.consumer.end_offsets(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 0)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"", 2)] * 3)
        assert reader.consumer.end_offsets([1, 2]) == {1: 0, 2: 3}
        assert reader.consumer.beginning_offsets([1, 2]) == {1: 0, 2: 0}

    def test_a_position_that_is_not_there_is_said_so(self, log: Log, reader: Reader) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"", 0)] * 3)
        reader.until(lambda: reader.owns_all() and reader.count() == 3)
        reader.consumer.seek(0, 1000)
        with pytest.raises(PositionLost):
            until(lambda: reader.poll() and False)
        with pytest.raises(PositionLost):
            until(lambda: reader.poll() and False)

    def test_a_member_still_owns_until_it_leaves(self, log: Log, reader: Reader) -> None:
        assert not reader.consumer.still_owns(0)
        reader.until(reader.owns_all)
        assert all(reader.consumer.still_owns(p) for p in range(PARTITIONS))

    def test_only_what_is_ours_can_be_committed(self, log: Log) -> None:
        consumer = log.consumer()
        with pytest.raises(Fenced):
            consumer.commit({0: 1})
        consumer.close()


class GroupLaws(LogLaws):
    """For logs that several workers share."""

    def test_partitions_move_to_a_second_member_and_back(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(40)])
            first = Reader(log.consumer())
            first.until(lambda: first.count() == 40)
            assert first.commit(dict.fromkeys(range(PARTITIONS), 7))
            second = Reader(log.consumer())
            share(first, second)
            kept, moved = first.consumer.assignment(), second.consumer.assignment()
            assert kept | moved == frozenset(range(PARTITIONS))
            assert first.changes[1:] == [Revoked(moved)]
            until(lambda: first.poll() and second.poll() and second.count() == 2 * 3)
            assert {p: [r.offset for r in rs] for p, rs in second.got.items()} == {p: [7, 8, 9] for p in moved}
            assert first.count() == 40, "what it kept, it reads on from where it was"
            with pytest.raises(Fenced):
                until(lambda: second.poll() and first.commit(dict.fromkeys(moved, 10)))
            until(lambda: first.poll() and second.poll() and first.commit(dict.fromkeys(kept, 10)))
            assert first.consumer.still_owns(min(kept))
            assert not first.consumer.still_owns(min(moved))
            second.consumer.close()
            first.until(first.owns_all)
            first.until(lambda: first.count() == 40 + 2 * 3)
        first.consumer.close()

    def test_a_pause_keeps_membership(self, log: Log) -> None:
        reader = Reader(log.consumer())
        reader.until(reader.owns_all)
        reader.consumer.pause(range(PARTITIONS))
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event(f"order:{i}") for i in range(10)])
        for _ in range(20):
            reader.poll()
        assert reader.got == {}
        assert all(reader.consumer.still_owns(p) for p in range(PARTITIONS))
        reader.consumer.resume(range(PARTITIONS))
        reader.until(lambda: reader.count() == 10)
        reader.consumer.close()

    def evict(self, log: Log, consumer: Consumer) -> None:
        raise NotImplementedError

    def test_a_member_that_was_given_up_is_fenced_and_comes_back(self, log: Log) -> None:
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(8)])
        zombie, other = Reader(log.consumer()), Reader(log.consumer())
        share(zombie, other)
        had = zombie.consumer.assignment()
        self.evict(log, zombie.consumer)
        other.until(other.owns_all)
        assert not any(zombie.consumer.still_owns(p) for p in had)
        with pytest.raises(Fenced):
            zombie.commit(dict.fromkeys(had, 1))
        other.until(lambda: other.count() == 8)
        assert other.commit()
        zombie.changes.clear()
        share(zombie, other)
        assert zombie.changes[0] == Revoked(had)
        assert not zombie.consumer.assignment() & other.consumer.assignment()
        assert other.consumer.committed(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 2)
        zombie.consumer.close()
        other.consumer.close()

    def test_what_was_read_before_a_partition_went_and_came_back_is_not_committed(self, log: Log) -> None:
        """A batch in hand, a poll to stay in the group, and the partition is ours anew: another went on from where it was."""
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(8)])
        late, other = Reader(log.consumer()), Reader(log.consumer())
        share(late, other)
        had = late.consumer.assignment()
        self.evict(log, late.consumer)
        other.until(lambda: other.owns_all() and other.count() == 8)
        assert other.commit()
        other.consumer.close()
        until(
            lambda: (
                late.consumer.poll(1, 100) is not None and late.consumer.assignment() == frozenset(range(PARTITIONS))
            )
        )
        assert not any(late.consumer.still_owns(p) for p in had)
        with pytest.raises(Fenced):
            late.commit(dict.fromkeys(had, 1))
        assert late.consumer.committed(range(PARTITIONS)) == dict.fromkeys(range(PARTITIONS), 2)
        late.until(late.owns_all)
        late.consumer.close()


class TestMemoryLog(GroupLaws):
    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog(PARTITIONS)

    def evict(self, log: Log, consumer: Consumer) -> None:
        assert isinstance(log, MemoryLog)
        assert isinstance(consumer, MemoryConsumer)
        log.evict(consumer)

    def test_cut_off_nothing_is_known(self) -> None:
        log = MemoryLog(PARTITIONS)
        reader = Reader(log.consumer())
        reader.until(reader.owns_all)
        log.broker.down = True
        for ask in (
            lambda: reader.consumer.end_offsets([0]),
            lambda: reader.consumer.still_owns(0),
            lambda: reader.consumer.commit({0: 0}),
            lambda: log.producer().produce([event("order:1")]),
            lambda: log.control_reader().end_offset(),
        ):
            with pytest.raises(Unavailable):
                ask()

    def test_trimmed_records_are_gone(self) -> None:
        log = MemoryLog(PARTITIONS)
        log.producer().produce([event("order:1", b"%d" % i, 0) for i in range(5)])
        log.trim({0: 3})
        reader = Reader(log.consumer())
        reader.until(lambda: reader.count() == 2)
        assert [record.offset for record in reader.got[0]] == [3, 4]
        reader.consumer.seek(0, 1)
        with pytest.raises(PositionLost):
            reader.poll()


class TestSqliteLog(LogLaws):
    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        log = open_log(f"sqlite:///{tmp_path}/log.db")
        assert isinstance(log, SqliteLog)
        log.create(PARTITIONS)
        yield log
        log.close()


class TestKafkaLog(GroupLaws):
    @pytest.fixture
    def log(self, kafka: str) -> Iterator[Log]:
        log = open_log(kafka)
        log.create(PARTITIONS)
        yield log
        log.close()

    def evict(self, log: Log, consumer: Consumer) -> None:
        """The broker gives it up, and it does not know, as after its process was stopped for too long."""
        assert isinstance(log, KafkaLog)
        assert isinstance(consumer, KafkaEventConsumer)
        coordinator = consumer._client._coordinator
        member = MemberToRemove(member_id=coordinator._generation.member_id)  # type: ignore[no-untyped-call]
        log._topics._admin().remove_group_members(coordinator.group_id, [member])
