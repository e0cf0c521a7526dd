"""What only SQLite can do wrong: many producers at once, one consumer, trimming, and files that are something else."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Invalid, Unavailable
from pipeline.log import Assigned, Fenced, LogRecord, PositionLost, Revoked, open_log
from pipeline.log.sqlite import COMPACTION_LAG, SqliteLog
from pipeline.log.sqlite_lease import LEASE
from tests.contract.test_log import PARTITIONS, Reader, event, until
from tracer.emitter import Emitter, Limits
from tracer.record import CONTROL, EVENTS, Ack, Record
from tracer.sinks.sqlite import SqliteSink
from tracer.sinks.sqlite_file import path_of, synchronous_of

START = 1_700_000_000_000_000
REPOSITORY = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that is set by hand, microseconds."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "log.db", clock, lease_clock=clock)
    log.create(PARTITIONS)
    yield log
    log.close()


def run(code: str, path: Path) -> subprocess.Popen[bytes]:
    """Another process, with the log's path as its argument."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


PRODUCER = """
import os, sys
from pathlib import Path
from tracer.record import EVENTS, Record
from tracer.sinks.sqlite import SqliteSink
sink = SqliteSink(Path(sys.argv[1]))
for n in range(40):
    acks = sink.produce([Record(EVENTS, b"order:%d" % i, b"%d %d %d" % (os.getpid(), n, i)) for i in range(5)])
    assert len({ack.append_time for ack in acks}) == 1
"""


def test_many_processes_produce_at_once(tmp_path: Path) -> None:
    """None is refused, no record is lost or doubled, offsets have no gaps, and each one's own order is kept."""
    path = tmp_path / "log.db"
    processes = [run(PRODUCER, path) for _ in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    log = open_log(f"sqlite:///{path}")
    reader = Reader(log.consumer())
    reader.until(lambda: reader.count() == 4 * 40 * 5)
    for records in reader.got.values():
        assert [record.offset for record in records] == list(range(len(records)))
        times = [record.append_time for record in records]
        assert times == sorted(times)
        for process in processes:
            own = [tuple(map(int, r.value.split())) for r in records if r.value.startswith(b"%d " % process.pid)]
            assert own == sorted(own)
            assert len(own) == len(set(own))
    reader.consumer.close()
    log.close()


CRASH = """
import os, sys
from pathlib import Path
from tracer.record import EVENTS, Record
from tracer.sinks.sqlite import SqliteSink
sink = SqliteSink(Path(sys.argv[1]))
n = 0
while True:
    for ack in sink.produce([Record(EVENTS, b"order:1", b"%d" % n, (), n % 4)]):
        os.write(1, b"%d %d\\n" % (ack.partition, ack.offset))
    n += 1
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    process = run(CRASH, path)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().splitlines(keepends=True)
    process.communicate()
    log = SqliteLog(path)
    reader = Reader(log.consumer())
    reader.until(lambda: reader.count() >= len(said))
    found = {(r.partition, r.offset) for records in reader.got.values() for r in records}
    assert {(int(p), int(o)) for p, o in (line.split() for line in said)} <= found
    assert log.check() == []
    reader.consumer.close()
    log.close()


def test_the_clock_is_an_argument_and_the_file_does_not_go_back(log: SqliteLog, clock: Clock) -> None:
    """Fault 17: a producer whose clock jumps back appends at the last time that the file has seen."""
    sink = log.producer()
    first = sink.produce([event("order:1")])[0]
    clock.now -= 3_600_000_000
    second = sink.produce([event("order:1")])[0]
    clock.now += 3_600_000_005
    third = SqliteSink(log.path, clock).produce([event("order:1")])[0]
    assert (first.append_time, second.append_time, third.append_time) == (START, START, START + 5)
    sink.close()


def test_durability_is_as_stated(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    levels = {"full": 2, "normal": 1}
    for stated, level in levels.items():
        sink = SqliteSink(path, synchronous=stated)
        assert sink.connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert sink.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        sink.close()
    assert synchronous_of("sqlite:///a.db") == "full"
    assert synchronous_of("sqlite:///a.db?synchronous=normal") == "normal"
    with pytest.raises(Invalid):
        open_log(f"sqlite:///{path}?synchronous=off")


def test_the_file_is_made_by_whoever_comes_first(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="at least one"):
        SqliteLog(tmp_path / "sub" / "log.db").create(0)
    sink = SqliteSink(tmp_path / "sub" / "log.db")
    assert sink.partitions(EVENTS) == 4
    log = SqliteLog(tmp_path / "sub" / "log.db")
    log.create(6)
    assert log.partitions() == 6
    assert SqliteSink(tmp_path / "sub" / "log.db").partitions(EVENTS) == 6
    sink.close()
    log.close()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(
        "no database, but long enough to be looked at by SQLite, which wants a hundred bytes" * 9
    )
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE orders (id)")
    other.commit()
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.commit()
    for name, reason in (("text", "not a usable"), ("other.db", "something else"), ("newer.db", "newer version")):
        with pytest.raises(Invalid, match=reason):
            open_log(f"sqlite:///{tmp_path}/{name}")
    with pytest.raises(Unavailable):
        open_log(f"sqlite:///{tmp_path}/text/log.db")


@pytest.mark.parametrize(
    ("url", "path"), [("sqlite:///log.db", "log.db"), ("sqlite:////var/log%20s.db?synchronous=full", "/var/log s.db")]
)
def test_addresses(url: str, path: str) -> None:
    assert path_of(url) == Path(path)
    for bad in ("sqlite://", "sqlite:///", "sqlite://host/a.db", "memory://", "redis://a/", "orders", ""):
        with pytest.raises(Invalid):
            open_log(bad)


def test_what_could_not_be_written_is_sent_again_in_order(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> list[Ack]:
        raise Unavailable("the disk is full")

    sink = log.producer()
    emitter = Emitter(sink, "shop-1", START, ["shop"], lambda: START, limits=Limits(batch_events=1))
    monkeypatch.setattr(sink, "_append", full)
    for number in range(5):
        emitter.emit({"id": str(number), "system": "shop", "step": "placed", "time": START, "keys": {"order": "1"}})
    emitter.tick()
    monkeypatch.undo()
    emitter.flush()
    reader = Reader(log.consumer())
    reader.until(lambda: reader.count() == 5)
    assert [json.loads(value)["seq"] for value in reader.values()] == [1, 2, 3, 4, 5]
    reader.consumer.close()


# The lease


def test_a_second_consumer_hears_who_has_it(log: SqliteLog) -> None:
    first, second = Reader(log.consumer()), Reader(log.consumer())
    first.until(first.owns_all)
    with pytest.raises(Unavailable, match=f"process {os.getpid()}"):
        second.poll()
    Reader(log.consumer("another group")).poll()
    first.consumer.close()
    second.until(second.owns_all)
    second.consumer.close()


def test_a_poll_that_fails_at_one_partition_hands_out_the_others_next_time(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(log.consumer())
    reader.until(reader.owns_all)
    log.producer().produce([event("order:1", b"%d" % n, p) for p in range(PARTITIONS) for n in range(5)])
    read, partitions = reader.consumer._records, list[int]()  # type: ignore[attr-defined]

    def busy(partition: int, start: int, count: int) -> list[LogRecord]:
        partitions.append(partition)
        if len(partitions) == PARTITIONS:
            raise sqlite3.OperationalError("database is locked")
        return list(read(partition, start, count))

    monkeypatch.setattr(reader.consumer, "_records", busy)
    with pytest.raises(Unavailable):
        reader.poll()
    reader.until(lambda: reader.count() >= 5 * PARTITIONS)
    assert {number: [record.offset for record in rows] for number, rows in reader.got.items()} == {
        number: list(range(5)) for number in range(PARTITIONS)
    }


def test_a_lease_is_renewed_and_ends(log: SqliteLog, clock: Clock) -> None:
    """A zombie is fenced: whoever took over is not overwritten."""
    log.producer().produce([event("order:1", b"", p) for p in range(PARTITIONS)] * 3)
    first, second = Reader(log.consumer()), Reader(log.consumer())
    first.until(lambda: first.count() == 12)
    for _ in range(5):
        clock.now += LEASE // 2
        first.poll()
    with pytest.raises(Unavailable):
        second.poll()
    clock.now += LEASE + 1
    assert first.consumer.still_owns(0), "an ended lease that nobody took is ours"
    assert first.commit({0: 1})
    clock.now += LEASE + 1
    second.until(lambda: second.count() == 11)
    assert not first.consumer.still_owns(0)
    with pytest.raises(Fenced):
        first.commit({0: 3})
    assert second.commit()
    with pytest.raises(Unavailable):
        first.poll()
    assert first.consumer.take_changes() == [Revoked(frozenset(range(PARTITIONS)))]
    second.consumer.close()
    first.changes.clear()
    first.poll()
    assert first.changes == [Assigned(frozenset(range(PARTITIONS)))]
    assert [first.consumer.position(p) for p in range(PARTITIONS)] == [3] * PARTITIONS
    first.consumer.close()


def test_a_lease_that_came_and_went_meanwhile(log: SqliteLog, clock: Clock) -> None:
    """Another consumer had it, committed, and left: what we know is stale, though nobody holds the lease now."""
    log.producer().produce([event("order:1", b"", 0)] * 3)
    first = Reader(log.consumer())
    first.until(lambda: first.count() == 3)
    clock.now += LEASE + 1
    second = Reader(log.consumer())
    second.until(lambda: second.count() == 3)
    assert second.commit()
    second.consumer.close()
    assert not first.consumer.still_owns(0)
    with pytest.raises(Fenced):
        first.commit({0: 1})
    with pytest.raises(Unavailable, match="meanwhile"):
        first.poll()
    first.until(first.owns_all)
    assert first.consumer.position(0) == 3
    first.consumer.close()


HOLDER = """
import sys, time
from pathlib import Path
from pipeline.log.sqlite import SqliteLog
consumer = SqliteLog(Path(sys.argv[1])).consumer()
consumer.poll(1, 0)
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_holder_keeps_nobody_waiting(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    process = run(HOLDER, tmp_path / "log.db")
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    reader = Reader(log.consumer())
    with pytest.raises(Unavailable, match=f"process {process.pid}"):
        reader.poll()
    process.kill()
    process.communicate()
    reader.poll()
    assert reader.owns_all()
    reader.consumer.close()
    log.close()


# Trimming


def test_what_is_committed_is_trimmed(log: SqliteLog) -> None:
    log.producer().produce([event("order:1", b"%d" % i, i % PARTITIONS) for i in range(40)])
    reader = Reader(log.consumer())
    reader.until(lambda: reader.count() == 40)
    reader.consumer.commit({0: 10, 1: 4})
    log.trim({0: 10, 1: 4})
    assert reader.consumer.beginning_offsets(range(4)) == {0: 10, 1: 4, 2: 0, 3: 0}
    assert reader.consumer.end_offsets(range(4)) == dict.fromkeys(range(4), 10)
    reader.consumer.seek(1, 3)
    with pytest.raises(PositionLost):
        reader.poll()
    reader.consumer.close()
    again = Reader(log.consumer())
    again.until(lambda: again.count() == 26)
    assert again.got[1][0].offset == 4
    ack = log.producer().produce([event("order:1", b"", 0)])[0]
    assert ack.offset == 10, "offsets go on although the partition is empty"
    log.trim({0: 1000})
    assert again.consumer.beginning_offsets([0]) == {0: 11}
    again.consumer.close()


def test_control_is_compacted_by_key_with_a_days_lag(log: SqliteLog, clock: Clock) -> None:
    sink = log.producer()
    sink.produce([Record(CONTROL, key, b"%d" % i) for i, key in enumerate([b"a", b"b", b"a", b"", b"", b"c"])])
    log.trim({})
    reader = log.control_reader()
    assert len(reader.read(100)) == 6, "nothing is a day old"
    clock.now += COMPACTION_LAG + 1
    sink.produce([Record(CONTROL, b"c", b"new"), Record(CONTROL, b"c", b"newer")])
    log.trim({})
    left = log.control_reader()
    records = left.read(100)
    assert [(r.offset, r.key, r.value) for r in records] == [
        (1, b"b", b"1"),
        (2, b"a", b"2"),
        (3, b"", b"3"),
        (4, b"", b"4"),
        (6, b"c", b"new"),
        (7, b"c", b"newer"),
    ]
    assert (left.position(), left.end_offset()) == (8, 8)
    until(lambda: len(reader.read(100)) == 2)
