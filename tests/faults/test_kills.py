"""Workers that are really killed and really stopped, at every numbered step, against a real Kafka and a served store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.log import Log, open_log
from pipeline.log.sqlite import SqliteLog
from pipeline.store import Store, open_store
from pipeline.store.contract import VerdictQuery
from pipeline.worker import Policy, Worker
from schemas.control import Hello, Marker, encode_control
from schemas.times import DAY
from tests.contract.stores import database, served_folder, serving
from tests.faults.site import judged, verdicts_of
from tests.faults.stories import START, Event, definitions, flat, records_of, stories, systems
from tests.faults.test_crash import STEPS
from tracer.record import CONTROL, Ack, Record, partition_of
from tracer.sinks.memory import wall_clock

__all__ = ["served_folder"]

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 2
EVENTS = flat(stories(2))
POISON = [b'{"id": "broken-%d"}' % number for number in range(7)]


@dataclass
class Place:
    """A log and a store of their own, on the broker and the server that all tests share."""

    log_url: str
    store_url: str
    log: Log
    store: Store
    sent: list[tuple[Ack, list[Event]]] = field(default_factory=list)

    def start(self, step: str, number: int, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.faults.driver", self.log_url, self.store_url, step, str(number), name]
        return subprocess.Popen(command, cwd=REPOSITORY)

    def worker(self) -> Worker:
        flows, landscape = definitions()
        return Worker(
            self.log,
            self.store,
            flows=flows,
            landscape=landscape,
            name="test",
            policy=Policy(poll_ms=50, patience=30.0),
        )

    def committed(self) -> dict[int, int]:
        consumer = self.log.consumer()
        found = consumer.committed(range(PARTITIONS))
        consumer.close()
        return {number: position or 0 for number, position in found.items()}

    def versions(self) -> dict[tuple[str, str, str], int]:
        rows = self.store.verdicts(VerdictQuery(excluded=None))
        return {(row.key_type, row.transaction_id, row.flow): row.version for row in rows}


def prepare(broker: str, folder: Path) -> Place:
    """Events of every flow, some in a wrong partition, some twice, some poison; and every system heard through a month."""
    log_url = f"kafka://{broker}/?prefix=k{uuid.uuid4().hex[:12]}.&session_timeout_ms=1000"
    store_url = f"chdb://{folder}?database={database()}"
    place = Place(log_url, store_url, open_log(log_url, os.environ), open_store(store_url, os.environ))
    place.log.create(PARTITIONS)
    place.store.migrate()
    sink = place.log.producer()
    right = records_of(EVENTS[:170], each=6, partitions=PARTITIONS)
    wrong = records_of(EVENTS[170:], each=6, at=1)
    again = records_of(EVENTS[40:60], each=3, partitions=PARTITIONS)
    records = [*right, *wrong, *again]
    for number, body in enumerate(POISON):
        at = number * len(records) // len(POISON)
        records[at] = records[at]._replace(value=records[at].value + b"\n" + body)
    acks = sink.produce(records)
    place.sent = [(ack, events_in(record)) for ack, record in zip(acks, records, strict=True)]
    ends = {number: max(ack.offset + 1 for ack in acks if ack.partition == number) for number in range(PARTITIONS)}
    said: list[Hello | Marker] = []
    for system in systems():
        who = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
        begin = START - 2 * DAY
        said.append(Hello.model_validate({**who, "boot": wall_clock(), "since": begin, "every": DAY}))
        said.append(Marker.model_validate({**who, "through": START + 30 * DAY, "acked": ends}))
    sink.produce([Record(CONTROL, one.key(), encode_control(one), (), 0) for one in said])
    sink.close()
    return place


def events_in(record: Record) -> list[Event]:
    found = [json.loads(line) for line in record.value.split(b"\n")]
    return [event for event in found if "keys" in event]


def durable(place: Place) -> None:
    """I4: what is committed is in the store (what it sent on to other partitions is theirs to commit)."""
    committed = place.committed()
    wanted: dict[tuple[str, str], set[str]] = {}
    for ack, events in place.sent:
        for event in events if ack.offset < committed[ack.partition] else ():
            for name in definitions()[1].transaction_types():
                transaction = name, event["keys"].get(name, "")
                if name in event["keys"] and home(transaction) == ack.partition:
                    wanted.setdefault(transaction, set()).add(event["id"])
    stored = place.store.load_events(list(wanted))
    for transaction, ids in wanted.items():
        assert ids <= {event.id for event in stored[transaction]}


def home(transaction: tuple[str, str]) -> int:
    return partition_of(":".join(transaction).encode(), PARTITIONS)


def whole(place: Place, worker: Worker) -> None:
    """I1, I2, I3 when all is processed."""
    assert place.store.count_events() == len({event["id"] for event in EVENTS}) + 2, (
        "two carts' events count for two each"
    )
    kept = place.store.quarantine(limit=1_000)
    assert sorted(row.payload for row in kept) == POISON, "stored or quarantined, and once"
    assert verdicts_of(place.store) == judged(EVENTS, worker)
    ends = worker._consumer.end_offsets(range(PARTITIONS))
    assert worker._consumer.committed(range(PARTITIONS)) == ends
    for row in place.store.verdicts(VerdictQuery(excluded=None)):
        numbers = [flip.number for flip in place.store.flips(row[:2]) if flip.flow == row.flow]
        assert numbers == list(range(1, row.flip + 1)), "no flip is missing and none is said twice"


@contextlib.contextmanager
def finishing(place: Place) -> Iterator[Worker]:
    worker = place.worker()
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def places(kafka_broker: dict[str, str], served_folder: Path) -> Iterator[Callable[[], Place]]:
    made: list[Place] = []

    def make() -> Place:
        made.append(prepare(kafka_broker["address"], served_folder))
        return made[-1]

    yield make
    for place in made:
        place.store.close()
        place.log.close()


@pytest.fixture(scope="module")
def killed(places: Callable[[], Place]) -> dict[str, tuple[Place, int]]:
    """For each step a place at which a worker killed itself in its second batch; three at a time."""
    waiting = list(STEPS)
    running: dict[str, tuple[Place, subprocess.Popen[bytes]]] = {}
    done: dict[str, tuple[Place, int]] = {}
    while waiting or running:
        while waiting and len(running) < 3:
            step = waiting.pop(0)
            place = places()
            running[step] = place, place.start(step, 2, "KILL")
        step = next(iter(running))
        place, process = running.pop(step)
        done[step] = place, process.wait(60)
    return done


@pytest.mark.parametrize("step", STEPS)
def test_1_killed_at_a_step(killed: dict[str, tuple[Place, int]], step: str) -> None:
    place, code = killed[step]
    assert code == -signal.SIGKILL
    durable(place)
    before = place.versions()
    with finishing(place) as worker:
        worker.drain()
        whole(place, worker)
    after = place.versions()
    assert all(after[name] >= version for name, version in before.items()), "versions never go back"


def test_1_killed_again_and_again(places: Callable[[], Place]) -> None:
    """Each new process gets a step further than the last."""
    place = places()
    for step in ("write flips", "produce", "announce"):
        assert place.start(step, 1, "KILL").wait(60) == -signal.SIGKILL
        durable(place)
    with finishing(place) as worker:
        worker.drain()
        whole(place, worker)


def test_7_stopped_past_its_session_and_continued(places: Callable[[], Place]) -> None:
    """A real zombie: SIGSTOP in its second batch, another takes over and finishes, SIGCONT."""
    place = places()
    zombie = place.start("judge", 2, "STOP")
    try:
        stopped(zombie)
        with finishing(place) as worker:
            worker.drain()
            whole(place, worker)
            said = verdicts_of(place.store)
            zombie.send_signal(signal.SIGCONT)
            deadline = time.monotonic() + 60
            while zombie.poll() is None:
                assert time.monotonic() < deadline
                worker.step(50)
            assert zombie.returncode == 0
            worker.drain()
            whole(place, worker)
        assert verdicts_of(place.store) == said
    finally:
        zombie.kill()
        zombie.wait()


def stopped(process: subprocess.Popen[bytes]) -> None:
    """Wait until it is."""
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


# Asked to stop ----------------------------------------------------------------------------------------------------------


def lastseen(data: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}
    command = [sys.executable, "-c", "from pipeline import main; main()", *arguments, "--data", str(data)]
    return subprocess.Popen(command, cwd=REPOSITORY, env=env, stderr=subprocess.PIPE, text=True)


def embedded(data: Path) -> Log:
    """A folder as the command uses it, with events in its log."""
    data.mkdir()
    log = SqliteLog(data / "log.sqlite")
    log.create()
    sink = log.producer()
    sink.produce(records_of(EVENTS, each=3, partitions=log.partitions()))
    sink.close()
    return log


def committed(log: Log) -> int:
    consumer = log.consumer()
    numbers = consumer.committed(range(log.partitions()))
    return sum(position or 0 for position in numbers.values())


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigterm_finishes_the_batch_and_exits_with_0(tmp_path: Path) -> None:
    data = tmp_path / "data"
    log = embedded(data)
    process = lastseen(data, "worker")
    try:
        until(lambda: committed(log) > 0, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        ends = log.consumer().end_offsets(range(log.partitions()))
        assert committed(log) == sum(ends.values()), "all of it was in the batch in hand"
    finally:
        process.kill()
        process.communicate()
        log.close()


def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    """The store hangs in the middle of a write: the first signal waits for it, the second does not."""
    data = tmp_path / "data"
    log = embedded(data)
    (data / "store").mkdir()
    with serving(data / "store") as server:
        server.send_signal(signal.SIGSTOP)
        process = lastseen(data, "worker")
        try:
            assert process.stderr is not None
            until(lambda: "python" in Path(f"/proc/{process.pid}/cmdline").read_text(), process)
            handled = 1 << (signal.SIGTERM - 1)
            until(lambda: bool(caught(process.pid) & handled), process)
            process.send_signal(signal.SIGTERM)
            assert "once more ends it at once" in process.stderr.readline()
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 128 + signal.SIGTERM
        finally:
            server.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()
    assert committed(log) == 0
    log.close()


def caught(pid: int) -> int:
    """The signals that a process has handlers for."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)
