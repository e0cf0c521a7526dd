"""Workers that are really killed (SIGKILL) at every numbered step while what waits under aliases is released, on a log in a file
and a served store; what the last one says is what an undisturbed worker in memory says."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.worker import Policy, Worker
from schemas.control import Hello, Marker, encode_control
from schemas.times import DAY
from tests.contract.stores import database, served_folder
from tests.faults.site import Site, verdicts_of
from tests.faults.stories import START, Event, definitions, records_of, systems
from tests.faults.test_crash import STEPS
from tests.faults.test_kills import REPOSITORY
from tests.faults.test_partitions import joined_by_payment
from tracer.record import CONTROL, Record
from tracer.sinks.memory import wall_clock

__all__ = ["served_folder"]

PARTITIONS = 3


def undisturbed(events: list[Event]) -> Site:
    site = Site(PARTITIONS)
    site.send(events, each=2)
    site.hear(START + 30 * DAY)
    site.worker().drain()
    return site


def test_parked_events_survive_kills_at_every_step(served_folder: Path, tmp_path: Path) -> None:
    """A part of the events comes, a process dies at the next step of its second batch; forty payments find their orders."""
    events = joined_by_payment()
    random.Random(4).shuffle(events)
    log_url, store_url = f"sqlite:///{tmp_path}/log.sqlite", f"chdb://{served_folder}?database={database()}"
    log, store = open_log(log_url, os.environ), open_store(store_url, os.environ)
    log.create(PARTITIONS)
    store.migrate()
    sink = log.producer()
    share = len(events) // len(STEPS) + 1
    ends: dict[int, int] = {}
    for number, step in enumerate(STEPS):
        part = events[number * share : (number + 1) * share]
        for ack in sink.produce(records_of(part, each=2, partitions=PARTITIONS)):
            ends[ack.partition] = ack.offset + 1
        command = [sys.executable, "-m", "tests.faults.driver", log_url, store_url, step, "2", "KILL"]
        assert subprocess.run(command, cwd=REPOSITORY, check=False, timeout=120).returncode == -signal.SIGKILL, step
    said: list[Hello | Marker] = []
    for system in systems():
        who = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
        said.append(Hello.model_validate({**who, "boot": wall_clock(), "since": START - 2 * DAY, "every": DAY}))
        said.append(Marker.model_validate({**who, "through": START + 30 * DAY, "acked": ends}))
    sink.produce([Record(CONTROL, one.key(), encode_control(one), (), 0) for one in said])
    sink.close()
    flows, landscape = definitions()
    worker = Worker(
        log, store, flows=flows, landscape=landscape, name="last", policy=Policy(poll_ms=50, patience=30.0)
    )  # fmt: skip
    worker.drain()
    worker.close()
    expected = undisturbed(events)
    assert len(expected.verdicts()) == 40
    assert verdicts_of(store) == expected.verdicts()
    orders = [("order", f"p{number}") for number in range(40)]
    stored = store.load_events(orders)
    assert {one: {event.id for event in stored[one]} for one in orders} == {
        one: {event.id for event in found} for one, found in expected.store.load_events(orders).items()
    }
    assert store.count_parked() == 0
    assert store.count_quarantine() == {}
    store.close()
    log.close()
