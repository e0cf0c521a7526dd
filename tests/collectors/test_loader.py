"""Loading: everything read is accounted for, ids don't depend on order, and only a finished run is heard."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.inputs import open_input
from collectors.loader import Loader, Tally
from collectors.mapping_file import MappingFile, read_mapping
from schemas import wire
from schemas.control import Goodbye, Hello, decode_control
from schemas.errors import Invalid
from schemas.times import DAY, EARLIEST
from schemas.wire import Observed
from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS, REASON
from tracer.sinks.memory import MemoryBroker, MemorySink

MAPPING = """\
mapping: shop
key: id
zone: UTC
events:
  - {system: shop, step: placed, time: placed, keys: {order: id}, attributes: {amount: {field: total, as: number}}}
  - {system: dhl, step: shipped, time: shipped, when: shipped, keys: {order: id}}
"""
HEADER = "id,placed,shipped,total\n"


@pytest.fixture(scope="module")
def mapping(tmp_path_factory: pytest.TempPathFactory) -> MappingFile:
    path = tmp_path_factory.mktemp("mapping") / "shop.yaml"
    path.write_text(MAPPING)
    return read_mapping(path)


class Log:
    """A log in memory, and what came into it."""

    def __init__(self) -> None:
        ticks = itertools.count(1_800_000_000_000_000, 7)
        self.clock: Callable[[], int] = lambda: next(ticks)
        self.broker = MemoryBroker(4, self.clock)

    def load(self, file: MappingFile, path: Path, **told: Any) -> Tally:
        source = open_input(str(path), file.mapping, self.clock, env={})
        try:
            return Loader(file, MemorySink(self.broker), self.clock, ("order",)).load(source, **told)
        finally:
            source.close()

    def rows(self) -> Iterator[tuple[dict[str, bytes], bytes]]:
        for partition in self.broker.topics[EVENTS]:
            for stored in partition.rows:
                headers = dict(stored.headers)
                yield headers, wire.decompress(stored.value, headers.get("content-encoding"))

    def events(self) -> list[Observed]:
        found = []
        for headers, body in self.rows():
            if REASON not in headers:
                events, _, bad = wire.decode(body, headers["ls-source"].decode(), int(headers["ls-epoch"]))
                assert not bad
                assert headers["ls-import"] == b"1"
                found += events
        return found

    def set_aside(self) -> list[tuple[str, bytes]]:
        return [(headers[REASON].decode(), body) for headers, body in self.rows() if REASON in headers]

    def control(self) -> list[Any]:
        return [decode_control(stored.value) for stored in self.broker.topics[CONTROL][0].rows]


def csv_file(path: Path, rows: list[str]) -> Path:
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return path


GOOD = ["1,2026-01-01,2026-01-03,10", "2,2026-01-02,,20.5", "3,2026-01-02T10:00:00,2026-01-04,"]


def test_what_a_run_sends_and_vouches_for(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    path = csv_file(tmp_path / "shop.csv", [*GOOD, "4,soon,2026-01-05,1", ",2026-01-01,,"])
    tally = log.load(mapping, path, through=EARLIEST + DAY)
    assert (tally.read, tally.events, tally.quarantined, tally.without) == (5, 6, 2, 0)
    events = log.events()
    assert sorted(event.id for event in events) == [
        "shop:1:placed:completed:2026-01-01T00:00:00Z",
        "shop:1:shipped:completed:2026-01-03T00:00:00Z",
        "shop:2:placed:completed:2026-01-02T00:00:00Z",
        "shop:3:placed:completed:2026-01-02T10:00:00Z",
        "shop:3:shipped:completed:2026-01-04T00:00:00Z",
        "shop:4:shipped:completed:2026-01-05T00:00:00Z",
    ]
    assert sorted(log.set_aside()) == [
        (f"{path}:5: placed: placed: not a time as iso: 'soon'", b"4,soon,2026-01-05,1\n"),
        (f"{path}:6: id: the primary key is missing", b",2026-01-01,,\n"),
    ]
    hello, goodbye = log.control()
    assert isinstance(hello, Hello)
    assert isinstance(goodbye, Goodbye)
    assert (hello.source, hello.epoch, hello.systems, hello.since) == ("shop", tally.epoch, ("dhl", "shop"), EARLIEST)
    assert (goodbye.state, goodbye.through, goodbye.sent, goodbye.shed) == ("closed", EARLIEST + DAY, 8, 0)
    ends = {number: part.end for number, part in enumerate(log.broker.topics[EVENTS]) if part.end}
    assert goodbye.acked == ends


def test_events_of_one_order_share_a_partition(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    log.load(mapping, csv_file(tmp_path / "shop.csv", GOOD))
    for partition in log.broker.topics[EVENTS]:
        for stored in partition.rows:
            assert stored.key.startswith(b"order:")


def test_loading_twice_and_backwards_gives_the_same_events(tmp_path: Path, mapping: MappingFile) -> None:
    def content(path: Path, times: int = 1) -> set[tuple[object, ...]]:
        log = Log()
        for _ in range(times):
            log.load(mapping, path)
        return {(event.id, event.content()) for event in log.events()}

    once = content(csv_file(tmp_path / "a.csv", GOOD))
    assert len(once) == 5
    assert content(tmp_path / "a.csv", times=2) == once
    assert content(csv_file(tmp_path / "b.csv", GOOD[::-1])) == once


def test_a_file_is_complete_until_it_was_last_written(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    path = csv_file(tmp_path / "shop.csv", GOOD)
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert log.load(mapping, path).through == 1_500_000_000_000_000
    os.utime(path, (4_000_000_000, 4_000_000_000))
    assert log.load(mapping, path).through < 1_800_000_000_100_000
    os.utime(path, (0, 0))
    with pytest.raises(Invalid, match="use --complete-through"):
        log.load(mapping, path)
    with pytest.raises(Invalid, match="still to come"):
        log.load(mapping, path, through=1_900_000_000_000_000)


def test_a_column_that_is_missing_is_told_before_anything_is_sent(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    path = tmp_path / "shop.csv"
    path.write_text("id,placed,total\n1,2026-01-01,5\n")
    with pytest.raises(Invalid, match=r"shop\.yaml:6: events\.1\.time: the source has no field 'shipped'"):
        log.load(mapping, path)
    assert not list(log.rows())


def test_a_list_that_ends_in_the_middle_is_not_vouched_for(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    whole = gzip.compress((HEADER + "".join(f"{n},2026-01-01,,{n}\n" for n in range(5000))).encode())
    path = tmp_path / "shop.csv.gz"
    path.write_bytes(whole[:-9])
    with pytest.raises(Invalid, match="ends in the middle"):
        log.load(mapping, path)
    assert log.events()
    assert not log.control()


def test_a_mapping_that_does_not_fit_stops_before_the_quarantine_floods(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    path = csv_file(tmp_path / "shop.csv", [f"{n},01.02.2026,," for n in range(5000)])
    with pytest.raises(Invalid, match=r"stopped after 100 records: 100 faults and 0 events.*:2: placed: placed: not a"):
        log.load(mapping, path)
    assert len(log.set_aside()) == 100
    assert not log.control()


def test_a_log_that_is_away_leaves_no_hearing_and_the_run_can_be_repeated(tmp_path: Path, mapping: MappingFile) -> None:
    log = Log()
    path = csv_file(tmp_path / "shop.csv", GOOD)
    log.broker.down = True
    with pytest.raises(Unavailable):
        log.load(mapping, path)
    log.broker.down = False
    log.broker.lose_acks = True
    with pytest.raises(Unavailable):
        log.load(mapping, path)
    assert not log.control()
    log.broker.lose_acks = False
    log.load(mapping, path)
    assert len({event.id for event in log.events()}) == 5
    assert len(log.control()) == 2


def test_systems_that_only_the_records_name(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING.replace("system: dhl", "system: {field: total}"))
    log = Log()
    log.load(read_mapping(path), csv_file(tmp_path / "shop.csv", ["1,2026-01-01,2026-01-02,7", *GOOD[1:2]]))
    assert log.control()[0].systems == ("shop", "7")


def test_an_event_too_large_for_the_contract_is_set_aside(tmp_path: Path) -> None:
    fields = {f"f{n}": "x" * 4096 for n in range(64)}
    path = tmp_path / "m.yaml"
    spec = f"{{system: a, step: s, time: at, keys: {{order: id}}, attributes: {{{', '.join(f'{n}: {n}' for n in fields)}}}}}"
    path.write_text(f"mapping: big\nkey: id\nevents:\n  - {spec}\n")
    big = tmp_path / "a.jsonl"
    big.write_text(json.dumps({"id": 1, "at": "2026-01-01T00:00:00Z", **fields}))
    log = Log()
    tally = log.load(read_mapping(path), big)
    assert (tally.events, tally.quarantined) == (0, 1)
    assert "at most 262144 are taken" in log.set_aside()[0][0]


CELL = st.one_of(
    st.sampled_from(
        ["", "1", "2", "2026-01-01", "2026-03-29T02:30:00", "0001-01-01", "12.5", "x", "\ufeff", "a,b", 'q"']
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)


@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=5), max_size=30), seed=st.randoms(use_true_random=False))
def test_read_is_events_and_quarantined(
    mapping: MappingFile, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], seed: Any
) -> None:
    def load(rows: list[list[str]]) -> tuple[Log, Tally, Path]:
        text = io.StringIO(newline="")
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
        path = tmp_path_factory.getbasetemp() / f"rows{os.getpid()}.csv"
        path.write_bytes((HEADER + text.getvalue()).encode())
        log = Log()
        return log, log.load(mapping, path), path

    log, tally, _ = load(rows)
    assert tally.read == len(rows)
    assert len(log.events()) == tally.events
    assert len(log.set_aside()) == tally.quarantined
    # Every row is told of: its key is in an event, or its line in a reason.
    whole = [row for row in rows if len(row) == 4 and row[0].strip()]
    told = {int(reason.split(".csv:")[1].split(":")[0]) for reason, _ in log.set_aside()}
    placed = sum(event.step == "placed" for event in log.events())
    assert placed + len({fault for fault, _ in log.set_aside() if ": shipped: " not in fault}) >= len(whole)
    assert len(told) + placed >= len(rows)
    assert log.control()[1].sent == tally.events + tally.quarantined
    shuffled = rows[:]
    seed.shuffle(shuffled)
    again, _, _ = load(shuffled)
    assert {event.id for event in again.events()} == {event.id for event in log.events()}


CHILD = """
import sys
from pathlib import Path
from collectors.inputs.jsonl import JsonlInput
from collectors.loader import Loader
from collectors.mapping_file import read_mapping
from tracer.sinks.memory import wall_clock
from tracer.sinks.sqlite import SqliteSink

class Slow(JsonlInput):
    def __iter__(self):
        for number, row in enumerate(super().__iter__()):
            if number == 5000 and sys.argv[4] == "stop":
                print("in the middle", flush=True)
                sys.stdin.read()
            yield row

sink = SqliteSink(Path(sys.argv[1]))
tally = Loader(read_mapping(Path(sys.argv[2])), sink, wall_clock, ("order",)).load(Slow(Path(sys.argv[3])))
print(tally.events)
"""


def test_a_run_that_was_killed_changes_no_hearing(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MAPPING)
    (tmp_path / "child.py").write_text(CHILD)
    rows = ({"id": n, "placed": "2026-01-01"} for n in range(6000))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    root = Path(__file__).parents[2]

    def child(how: str) -> subprocess.Popen[str]:
        names = [str(tmp_path / name) for name in ("child.py", "log.sqlite", "m.yaml", "a.jsonl")]
        return subprocess.Popen(
            [sys.executable, *names, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip

    killed = child("stop")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "in the middle\n"
    killed.kill()
    killed.communicate()
    ids, control = written(tmp_path / "log.sqlite")
    assert len(ids) > 1000
    assert control == []
    again = child("go")
    assert again.communicate()[0] == "6000\n"
    ids, control = written(tmp_path / "log.sqlite")
    assert len(ids) > 6000
    assert len(set(ids)) == 6000
    assert [record.kind for record in control] == ["hello", "goodbye"]


def written(path: Path) -> tuple[list[str], list[Any]]:
    """Event ids and control records in a SQLite log."""
    from pipeline.log import open_log

    log = open_log(f"sqlite:///{path}")
    reader, consumer = log.control_reader(), log.consumer("test")
    control = [decode_control(record.value) for record in reader.read(1000)]
    consumer.poll(1, 0)
    consumer.take_changes()
    ids = []
    while records := [record for part in consumer.poll(10_000, 0).values() for record in part]:
        for record in records:
            headers = dict(record.headers)
            body = wire.decompress(record.value, headers.get("content-encoding"))
            ids += [event.id for event in wire.decode(body, "shop")[0]]
    for part in (reader, consumer, log):
        part.close()
    return ids, control
