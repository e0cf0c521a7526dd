"""Faults 1, 3 and 5 for real: a worker is killed after every numbered step, on a real Kafka and a served chDB; another goes on.

I1: every acknowledged event is stored or quarantined. I2: it counts once. I3: the verdicts are the pure function of the set of
events. I4: what is committed is durable, and versions never go back.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.log import Log, open_log
from pipeline.store.contract import Store, VerdictQuery
from pipeline.store.embedded import open_embedded
from pipeline.worker import Worker
from schemas.control import Goodbye, Hello, encode_control
from schemas.times import DAY
from tests.contract.stores import database, served_folder
from tests.faults.doomed import POLICY
from tests.faults.site import judged, verdicts_of
from tests.faults.stories import START, Event, definitions, flat, records_of, stories, systems
from tracer.record import CONTROL, EVENTS, KIND, Record

__all__ = ["served_folder"]

ROOT = Path(__file__).parents[2]
STEPS = ("decode", "write events", "merge", "judge", "write flips", "write verdicts", "produce", "announce", "commit")
PARTITIONS = 2
STORED = flat(stories())
POISON = b'{"id": "torn'


def fill(log: Log) -> None:
    """All stories, some of them where they do not belong, one line of poison; then everybody says that this was all."""
    log.create(PARTITIONS)
    sink = log.producer()
    half = len(STORED) // 2
    sink.produce(records_of(STORED[:half], each=3, partitions=PARTITIONS))
    sink.produce([Record(EVENTS, b"order:x", POISON, ((KIND, b"event"),), 0)])
    acks = sink.produce(records_of(STORED[half:], each=3, at=1))
    ends = {ack.partition: ack.offset + 1 for ack in acks} | {0: log.consumer("ends").end_offsets([0])[0]}
    for system in systems():
        said = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
        hello = Hello.model_validate({**said, "boot": START, "since": START - 2 * DAY})
        goodbye = Goodbye.model_validate({**said, "through": START + 60 * DAY, "acked": ends, "state": "closed"})
        sink.produce([Record(CONTROL, record.key(), encode_control(record), (), 0) for record in (hello, goodbye)])
    sink.close()


def run_doomed(url: str, folder: Path, name: str, step: str, at: int) -> int:
    command = [sys.executable, "-m", "tests.faults.doomed", url, str(folder), name, step, str(at)]
    return subprocess.run(command, cwd=ROOT, check=False, timeout=120).returncode


def versions(store: Store) -> Mapping[tuple[str, str, str], int]:
    rows = store.verdicts(VerdictQuery(excluded=None))
    return {(row.key_type, row.transaction_id, row.flow): row.version for row in rows}


def transactions(events: list[Event]) -> int:
    """How often events are stored: once for every transaction that they name."""
    kinds = definitions()[1].transaction_types()
    return sum(kind in event["keys"] for event in events for kind in kinds)


@pytest.mark.parametrize("step", STEPS)
def test_1_a_worker_is_killed_after_a_step_and_another_goes_on(step: str, kafka: str, served_folder: Path) -> None:
    url = kafka.replace("session_timeout_ms=6000", "session_timeout_ms=1500")
    log, name = open_log(url), database()
    fill(log)
    store = open_embedded(served_folder, {}, name)
    store.migrate()
    assert run_doomed(url, served_folder, name, step, 2) == -signal.SIGKILL
    before = versions(store)
    flows, landscape = definitions()
    heir = Worker(log, store, flows=flows, landscape=landscape, name="heir", policy=POLICY)
    heir.drain()
    assert store.count_events() == transactions(STORED)
    assert sum(store.count_quarantine().values()) == 1
    assert verdicts_of(store) == judged(STORED, heir)
    after = versions(store)
    assert all(after[name] >= version for name, version in before.items())
    for row in store.verdicts(VerdictQuery(excluded=None)):
        assert all(flip.number <= row.flip for flip in store.flips(row[:2]) if flip.flow == row.flow)
    heir.close()
