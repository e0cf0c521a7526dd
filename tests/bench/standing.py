"""With a million open: how long a worker takes to take them over, what they weigh, and when a proved deadline is visible."""

from __future__ import annotations

import gc
import os
import random
import statistics
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from pipeline.log import Log, open_log
from pipeline.store import MemoryStore, open_store
from pipeline.store.contract import Transaction
from pipeline.work.ownership import control_record
from pipeline.worker import Policy, Worker
from schemas.control import Hello, Marker
from schemas.times import HOUR, MINUTE, SECOND, format_time
from tests.bench.database import PARTITIONS, definitions, fill, model
from tests.bench.throughput import Figures, tune
from tests.bench.workload import MOVE, OPEN, line
from tracer.record import EVENTS, Record

SYSTEMS = ("crm", "provisioning", "network", "billing")
TURNS = 5


def now() -> int:
    return time.time_ns() // 1_000


def resident() -> int:
    """Bytes of this process in memory."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("VmRSS:"):
            return int(text.split()[1]) * 1024
    raise RuntimeError("no VmRSS here")


def prepare(folder: str, opened: str) -> Figures:
    """A store with so many open orders, begun within the last nine hours."""
    store = open_store(f"chdb:///{folder}", {})
    store.migrate()
    client: Any = store._client  # type: ignore[attr-defined]
    started, moment, count = time.perf_counter(), now(), int(opened)
    fill(client, model(OPEN, moment - 10 * HOUR, moment), count, every=9 * HOUR // max(count, 1))
    store.close()
    return {"prepared": time.perf_counter() - started}


def restart(url: str, folder: str, opened: str) -> Figures:
    """From a worker's start to its first judged event, and what it weighs then. The store is served by another process."""
    store = open_store(f"chdb:///{folder}", {})
    log = open_log(url)
    log.create(PARTITIONS)
    sink = log.producer()
    order = random.Random(int(opened)).randrange(int(opened))
    gc.collect()
    before, begun = resident(), time.perf_counter()
    job = _worker(log, store)
    while len(job.owned) < PARTITIONS:
        job.step(0)
    opened_after = time.perf_counter() - begun
    sink.produce([Record(EVENTS, f"order:{order:09d}".encode(), line(OPEN[0], order, now(), now() % 10**9))])
    while not job.counters.verdicts:
        job.step(50)
    judged_after = time.perf_counter() - begun
    gc.collect()
    weight = resident() - before
    job.close()
    return {"opened": opened_after, "seconds": judged_after, "bytes": weight / int(opened), "megabytes": weight / 1e6}


class Forgetful(MemoryStore):
    """Keeps nothing: what a worker holds is all that is weighed."""

    def _nothing(self, rows: object) -> None:
        pass

    write_events = write_verdicts = write_flips = write_keys = write_parked = _nothing
    write_quarantine = write_sources = write_hearing = _nothing

    def load_events(self, transactions: Any) -> dict[Transaction, list[Any]]:
        return {transaction: [] for transaction in transactions}

    def load_verdicts(self, transactions: Any) -> dict[Transaction, list[Any]]:
        return {transaction: [] for transaction in transactions}


def weigh(url: str, count: str, each: str, capacity: str) -> Figures:
    """Bytes of each of ``count`` open orders, of ``each`` events, with ``capacity`` events as objects and all others packed."""
    # Small batches, and a fifth of it unweighed: what a large batch takes for a moment, and the client's buffers, are not given
    # back to the system.
    job = _worker(open_log(url), Forgetful(), Policy(capacity=int(capacity), max_records=20))
    total = int(count)
    while len(job.owned) < PARTITIONS or job.counters.events < total * int(each) // 5:
        job.step(50)
    tune()
    before, begun = resident(), job.counters.events
    while job.counters.events < total * int(each):
        job.step(50)
    gc.collect()
    weighed = (job.counters.events - begun) / int(each)
    return {"bytes": (resident() - before) / max(weighed, 1), "megabytes": resident() / 1e6}


def deadline(url: str, folder: str, opened: str, due: str) -> Figures:
    """From the append of a marker that proves ``due`` deadlines to the last of their verdicts in the store, in seconds."""
    store = open_store(f"chdb:///{folder}", {})
    log = open_log(url)
    log.create(PARTITIONS)
    sink = log.producer()
    count, base = int(due), now() - 10 * MINUTE
    source = f"lines-{uuid.uuid4().hex[:6]}"
    first = random.randrange(10**8, 9 * 10**8)
    for turn in range(TURNS):
        moment = base + turn * MINUTE
        moves = model(MOVE, moment - HOUR, moment - MINUTE, {"switch_by": format_time(moment)})
        fill(store._client, moves, count, first=first + turn * count)  # type: ignore[attr-defined]
    hello = Hello(source=source, epoch=1, systems=SYSTEMS, boot=0, since=0, every=600 * SECOND)
    sink.produce([control_record(hello), control_record(_marker(source, base - MINUTE))])
    job = _worker(log, store)
    while len(job.owned) < PARTITIONS:
        job.step(0)
    while job.step(0):
        pass
    tune()
    took = []
    for turn in range(TURNS):
        took.append(_prove(job, log, _marker(source, base + turn * MINUTE + SECOND), count))
    job.close()
    store.close()
    return {"seconds": statistics.median(took), "worst": max(took), "opened": int(opened)}


def _marker(source: str, through: int) -> Marker:
    return Marker(source=source, epoch=1, systems=SYSTEMS, through=through, every=600 * SECOND)


def _prove(job: Worker, log: Log, marker: Marker, count: int) -> float:
    """The marker comes while the worker waits for events, as it would."""
    appended: list[int] = []

    def prove() -> None:
        time.sleep(random.random() / 5)
        sink = log.producer()
        appended.append(sink.produce([control_record(marker)])[0].append_time)
        sink.close()

    before = job.counters.verdicts
    thread = threading.Thread(target=prove)
    thread.start()
    limit = time.monotonic() + 60
    while job.counters.verdicts < before + count and time.monotonic() < limit:
        job.step(job.policy.poll_ms)
    seen = now()
    thread.join()
    if job.counters.verdicts < before + count:
        raise RuntimeError(f"of {count} deadlines {job.counters.verdicts - before} were judged within a minute")
    return (seen - appended[0]) / 1e6


def _worker(log: Log, store: Any, policy: Policy | None = None) -> Worker:
    flows, landscape = definitions()
    name = f"bench{os.getpid()}"
    return Worker(log, store, flows=flows, landscape=landscape, name=name, group=name, policy=policy)


__all__ = ["deadline", "prepare", "restart", "weigh"]
