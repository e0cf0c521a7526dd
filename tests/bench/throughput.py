"""From poll to commit: what kafka-python takes to read events, and what our whole job takes to store and judge them.

Every job returns figures by name; ``seconds`` and ``events`` where something was timed.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.store.contract import Store, VerdictQuery
from pipeline.worker import Policy, Worker
from schemas.flow import Flows
from schemas.flow_file import load_flows
from schemas.wire import compress
from tests.bench.database import PARTITIONS, ROOT, definitions
from tests.bench.workload import OPEN, OPEN_LONG, W1, W2, events, later
from tracer.record import ENCODING, EVENTS, KIND, LZ4, Record, partition_of
from tracer.sinks.kafka_config import read_address

Figures = dict[str, float]

BATCH = 100
MAX_RECORDS = 20_000
STORIES = {"w1": W1, "w2": W2, "open": OPEN, "open-long": OPEN_LONG}
# Turns without anything to do after which a worker is taken to be done: what it forwarded is read by then.
QUIET = 10


def produce(url: str, form: str, workload: str, count: str, opened: str = "0", start: str = "0") -> Figures:
    """Fill a fresh topic with ``count`` orders (for ``w3``: events for ``opened`` orders), single or in batched records."""
    if workload == "w3":
        source = later(int(count), int(opened), int(start), seed=1 if form == "single" else 2)
    elif workload in ("open", "open-long"):
        source = events(STORIES[workload], int(count), int(start))
    else:
        source = events(STORIES[workload], int(count))
    log = open_log(url)
    log.create(PARTITIONS)
    sink = log.producer()
    records = _single(source) if form == "single" else _batched(source)
    while portion := list(islice(records, 5_000 if form == "single" else 200)):
        sink.produce(portion)
    sink.close()
    return {}


def _single(source: Iterator[tuple[bytes, bytes]]) -> Iterator[Record]:
    return (Record(EVENTS, key, value) for key, value in source)


def _batched(source: Iterator[tuple[bytes, bytes]]) -> Iterator[Record]:
    waiting: dict[int, list[tuple[bytes, bytes]]] = {}
    for key, value in source:
        partition = partition_of(key, PARTITIONS)
        batch = waiting.setdefault(partition, [])
        batch.append((key, value))
        if len(batch) == BATCH:
            yield _record(waiting.pop(partition), partition)
    for partition, batch in waiting.items():
        yield _record(batch, partition)


def _record(batch: list[tuple[bytes, bytes]], partition: int) -> Record:
    body = compress(b"\n".join(value for _, value in batch))
    return Record(EVENTS, batch[0][0], body, ((KIND, b"event"), (ENCODING, LZ4)), partition)


def raw(url: str, count: str) -> Figures:
    """kafka-python as it comes, polling and nothing else. ``count``: events in the topic."""
    address = read_address(url)
    consumer: Any = KafkaConsumer(**address.client, enable_auto_commit=False, auto_offset_reset="earliest")  # type: ignore[no-untyped-call]
    partitions = [TopicPartition(f"{address.prefix}{EVENTS}", number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = sum(consumer.end_offsets(partitions).values())
    started, worked = time.perf_counter(), time.process_time()
    while left > 0:
        left -= sum(len(found) for found in consumer.poll(timeout_ms=1_000, max_records=10_000).values())
    took, worked = time.perf_counter() - started, time.process_time() - worked
    consumer.close()
    return {"seconds": took, "cpu": worked, "events": int(count)}


def worker(url: str, workload: str, count: str) -> Figures:
    """Our whole job on a fresh chDB: decode, join, store, judge, commit. ``count``: events produced."""
    with TemporaryDirectory(prefix="lastseen-bench-") as folder:
        store = open_store(f"chdb:///{folder}/store", {})
        store.migrate()
        flows, _ = definitions()
        if workload == "w2":
            flows = load_flows([Path(__file__).with_name("flows")])
        took, worked = run(_worker(url, store, flows))
        said = Counter(row.status for row in store.verdicts(VerdictQuery()))
        store.close()
    return {
        "seconds": took,
        "cpu": worked,
        "events": int(count),
        "completed": said["completed"],
        "transactions": said.total(),
    }


def standing(url: str, folder: str, count: str) -> Figures:
    """W3: our whole job on a store that holds the open orders already; state is read back. ``count``: events produced."""
    store = open_store(f"chdb:///{folder}", {})
    flows, _ = definitions()
    took, worked = run(_worker(url, store, flows))
    store.close()
    return {"seconds": took, "cpu": worked, "events": int(count)}


def _worker(url: str, store: Store, flows: Flows) -> Worker:
    policy = Policy(max_records=MAX_RECORDS)
    name = f"bench{time.time_ns()}"
    _, landscape = definitions()
    return Worker(open_log(url), store, flows=flows, landscape=landscape, name=name, group=name, policy=policy)


def run(job: Worker) -> tuple[float, float]:
    """Seconds from the first poll with all partitions in work to the end of the last turn that did something, by the wall and of
    processors (the database's threads in this process included)."""
    while len(job.owned) < PARTITIONS:
        job.step(0)
    tune()
    started = last = time.perf_counter()
    began = worked = time.process_time()
    quiet = 0
    while quiet < QUIET:
        if job.step(50):
            last, worked, quiet = time.perf_counter(), time.process_time(), 0
        else:
            quiet += 1
    job.close()
    return last - started, worked - began


def tune() -> None:
    """As ``Worker.run`` does."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


__all__ = ["PARTITIONS", "ROOT", "Figures", "produce", "raw", "run", "standing", "tune", "worker"]
