"""Real processes on a real folder: one serves and judges, others ask; signals, and who holds what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schemas import wire
from schemas.control import Hello, Marker, encode_control
from schemas.times import HOUR, SECOND
from schemas.wire import Observed
from tracer.record import CONTROL, EVENTS, Record
from tracer.sinks import open_sink
from tracer.sinks.memory import wall_clock

COMMAND = [sys.executable, "-c", "import pipeline; pipeline.main()"]
PATIENCE = 60.0


class Place:
    """A folder, and processes on it that end with the test."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "data").mkdir()
        self.running: list[subprocess.Popen[str]] = []
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}

    def start(self, *args: str) -> subprocess.Popen[str]:
        log = (self.folder / f"{len(self.running)}.out").open("w")
        process = subprocess.Popen(
            [*COMMAND, "--data", str(self.folder / "data"), *args], stdout=log, stderr=log, env=self.env, text=True
        )  # fmt: skip
        self.running.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"{self.running.index(process)}.out").read_text()

    def until_said(self, process: subprocess.Popen[str], text: str) -> None:
        until(lambda: text in self.said(process) or process.poll() is not None)
        assert text in self.said(process), self.said(process)

    def run(self, *args: str, code: int = 0) -> str:
        done = subprocess.run(
            [*COMMAND, "--data", str(self.folder / "data"), *args], env=self.env, capture_output=True, text=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    try:
        yield made
    finally:
        for process in made.running:
            if process.poll() is None:
                process.kill()
            process.wait()


def emit(place: Place, *ids: str, log: str = "") -> None:
    """Orders placed six hours ago by a shop that is heard until now; nobody speaks for the others."""
    now = wall_clock()
    sink = open_sink(log or f"sqlite:///{place.folder / 'data' / 'log.sqlite'}")
    events = [
        Observed(
            id=f"e-{id_}", system="shop", step="placed", time=now - 6 * HOUR, keys={"order": id_, "payment": f"P-{id_}"}
        )
        for id_ in ids
    ]
    acks = sink.produce(
        [Record(EVENTS, b"order:" + event.keys["order"].encode(), wire.encode([event])) for event in events]
    )
    offsets: dict[int, int] = {}
    for ack in acks:
        offsets[ack.partition] = max(ack.offset + 1, offsets.get(ack.partition, 0))
    said = (
        Hello(
            source="shop-1", epoch=1, systems=("shop",), boot=now - 9 * HOUR, since=now - 9 * HOUR, every=60 * SECOND
        ),
        Marker(source="shop-1", epoch=1, systems=("shop",), through=now, acked=offsets, sent=len(events)),
    )
    sink.produce([Record(CONTROL, record.key(), encode_control(record)) for record in said])
    sink.close()


def found(text: str) -> list[str]:
    return sorted(row["transaction_id"] for row in json.loads(text))


def test_up_judges_what_comes_in_while_others_ask(place: Place) -> None:
    place.run("setup")
    up = place.start("up")
    place.until_said(up, "ready")
    emit(place, "1", "2")
    until(lambda: len(json.loads(place.run("list", "--format", "json"))) == 2)
    (answer,) = json.loads(place.run("lookup", "P-2", "--format", "json"))
    assert (answer["transaction_id"], [hop["step"] for hop in answer["path"]]) == ("2", ["placed"])
    assert "shop-1" in place.run("sources")
    assert "serves the store at" in place.run("doctor")
    held = place.run("store", code=3)
    assert f"process {up.pid} " in held
    up.send_signal(signal.SIGTERM)
    assert up.wait(PATIENCE) == 0, place.said(up)
    assert "stopped" in place.said(up)
    assert found(place.run("list", "--format", "json")) == ["1", "2"]


def test_a_served_store_has_room_for_a_worker_and_readers(place: Place) -> None:
    store = place.start("store")
    place.until_said(store, "served at http://127.0.0.1:")
    worker = place.start("worker")
    place.until_said(worker, "working on")
    emit(place, "7")
    until(lambda: found(place.run("list", "--format", "json")) == ["7"])
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0, place.said(worker)
    store.send_signal(signal.SIGINT)
    assert store.wait(PATIENCE) == 0, place.said(store)


def test_drain_processes_all_there_is_and_ends(place: Place) -> None:
    emit(place, *map(str, range(50)))
    assert place.run("worker", "--drain") == ""
    assert len(json.loads(place.run("list", "--format", "json", "--limit", "0"))) == 50
    (answer,) = json.loads(place.run("lookup", "P-7", "--format", "json"))
    assert answer["evidence"] == [{"event_id": "e-7", "source": "", "epoch": 0, "known_by": []}]
    assert answer["completeness"] == [] or answer["status"] != "completed"


def test_quarantine_goes_round(place: Place) -> None:
    sink = open_sink(f"sqlite:///{place.folder / 'data' / 'log.sqlite'}")
    sink.produce([Record(EVENTS, b"order:1", b'{"id":"\xe2\x80\xaebad"}\n{"also":')])
    sink.close()
    place.run("worker", "--drain")
    listed = json.loads(place.run("quarantine", "list", "--format", "json"))
    assert len(listed) >= 1
    place.run("quarantine", "retry", "--all")
    # Nobody holds the folder, so it was judged at once and the list is true.
    again = json.loads(place.run("quarantine", "list", "--format", "json"))
    assert [row["reason"] for row in again] == [row["reason"] for row in listed]
    assert {row["id"] for row in again}.isdisjoint(row["id"] for row in listed)


def test_what_a_mapping_could_not_read_is_not_sent_again(place: Place) -> None:
    (place.folder / "mapping.yaml").write_text(
        "mapping: tills\nkey: id\nevents:\n  - {system: shop, step: placed, time: at, keys: {order: id}}\n"
    )
    (place.folder / "rows.csv").write_text("id,at\n1,2026-01-01T00:00:00Z\n2,soon\n")
    said = place.run("load", str(place.folder / "rows.csv"), "--mapping", str(place.folder / "mapping.yaml"))
    assert f"quarantine list --data {place.folder / 'data'}" in said
    (kept,) = json.loads(place.run("quarantine", "list", "--format", "json"))
    assert "rows.csv:3" in kept["reason"]
    for what in (kept["id"], "--all"):
        assert "mend the mapping and load again" in place.run("quarantine", "retry", what, code=1)
        assert json.loads(place.run("quarantine", "list", "--format", "json")) == [kept]


def test_a_drain_beside_a_worker_says_so(place: Place) -> None:
    up = place.start("up")
    place.until_said(up, "ready")
    said = place.run("worker", "--drain", code=3)
    assert f"being read by process {up.pid} " in said
    assert "nothing to drain beside it" in said
    assert "trying again" not in said


def test_a_second_signal_ends_it_at_once(place: Place) -> None:
    """Whatever it is busy with: here something that never looks at the event."""
    busy = (
        "import time\nfrom pipeline.cli.service import stopping, tell\n"
        "with stopping() as stop:\n    tell('busy')\n    while True:\n        time.sleep(1)\n"
    )
    log = (place.folder / "busy.out").open("w")
    process = subprocess.Popen([sys.executable, "-c", busy], stdout=log, stderr=log, text=True)
    place.running.append(process)
    read = (place.folder / "busy.out").read_text
    until(lambda: "busy" in read())
    process.send_signal(signal.SIGTERM)
    until(lambda: "once more ends it at once" in read())
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 128 + signal.SIGTERM


def test_services_that_are_away_are_told_in_a_sentence(place: Place) -> None:
    place.env |= {"LASTSEEN_STORE": "clickhouse://127.0.0.1:9"}
    for command in (["list"], ["lookup", "1"], ["doctor"]):
        assert "127.0.0.1:9 cannot be reached: connection refused" in place.run(*command, code=3)
    place.env |= {"LASTSEEN_STORE": "clickhouse://u:secret@127.0.0.1:9"}
    said = place.run("list", code=2)
    assert "LASTSEEN_CLICKHOUSE_PASSWORD" in said
    assert "secret" not in said


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    hide = (
        "import importlib.util as u; real = u.find_spec; u.find_spec = lambda n, *a: None if n == 'click' else real(n, *a); "
        "import pipeline; pipeline.main()"
    )
    done = subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert "pip install 'lastseen[embedded]'" in done.stderr


def test_the_same_commands_on_kafka(place: Place, kafka: str) -> None:
    """Two workers share the partitions through a served store; the one that is stopped leaves its part to the other."""
    place.env["LASTSEEN_LOG"] = kafka
    assert "lastseen setup" in place.run("doctor", code=1)
    place.run("setup")
    store = place.start("store")
    place.until_said(store, "served at")
    workers = [place.start("worker"), place.start("worker")]
    for worker in workers:
        place.until_said(worker, "working on")
    emit(place, *map(str, range(40)), log=kafka)
    until(lambda: len(json.loads(place.run("list", "--format", "json"))) == 40)
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(PATIENCE) == 0, place.said(workers[0])
    emit(place, *map(str, range(40, 80)), log=kafka)
    until(lambda: len(json.loads(place.run("list", "--format", "json"))) == 80)
    workers[1].send_signal(signal.SIGTERM)
    assert workers[1].wait(PATIENCE) == 0, place.said(workers[1])
    place.run("doctor")


def test_the_simulated_shop_runs_in_real_time_on_kafka(place: Place, kafka: str) -> None:
    """Asked to end, every source says goodbye; what it said is found again, number by number."""
    place.env["LASTSEEN_LOG"] = kafka
    place.run("setup")
    shop = place.start("simulate", "--rate", "3600", "--for", "1h")
    place.until_said(shop, "Ctrl-C ends it")
    until(lambda: len(json.loads(_judged(place))) >= 3)
    shop.send_signal(signal.SIGTERM)
    assert shop.wait(PATIENCE) == 0, place.said(shop)
    assert "orders begun" in place.said(shop)
    place.run("worker", "--drain")
    sources = json.loads(place.run("sources", "--format", "json"))["sources"]
    assert {source["state"] for source in sources} <= {"open", "closed"}
    assert "none of" in place.run("audit", "--fail-on", "missing")


def _judged(place: Place) -> str:
    place.run("worker", "--drain")
    return place.run("list", "--flow", "order", "--format", "json")
