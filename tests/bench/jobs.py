"""One measurement in a process of its own; prints ``{"micros": …}`` per event as its last line."""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.worker import Policy, Worker
from schemas.flow_file import load_flows
from schemas.landscape_file import load_landscape
from schemas.wire import compress
from tests.bench.workload import events
from tracer.record import ENCODING, EVENTS, KIND, LZ4, Record, partition_of
from tracer.sinks.kafka_config import read_address

PARTITIONS = 4
BATCH = 100
MAX_RECORDS = 20_000
ROOT = Path(__file__).parents[2]


def produce(url: str, form: str, orders: int) -> float:
    """Fill a fresh topic with W1 as ``single`` records or in ``batched`` ones."""
    log = open_log(url)
    log.create(PARTITIONS)
    sink = log.producer()
    started = time.perf_counter()
    for record in _single(orders) if form == "single" else _batched(orders):
        while True:
            try:
                sink.send(record)
                break
            except Exception:
                sink.flush()
    sink.flush()
    return (time.perf_counter() - started) / orders / 10


def _single(orders: int) -> Iterator[Record]:
    return (Record(EVENTS, key, value) for key, value in events(orders))


def _batched(orders: int) -> Iterator[Record]:
    waiting: dict[int, list[tuple[bytes, bytes]]] = {}
    for key, value in events(orders):
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


def raw(url: str, group: str, orders: int) -> float:
    """kafka-python as it comes, polling and nothing else."""
    address = read_address(url)
    consumer: Any = KafkaConsumer(**address.client, enable_auto_commit=False, auto_offset_reset="earliest")  # type: ignore[no-untyped-call]
    partitions = [TopicPartition(f"{address.prefix}{EVENTS}", number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = sum(consumer.end_offsets(partitions).values())
    started = time.perf_counter()
    while left > 0:
        left -= sum(len(found) for found in consumer.poll(timeout_ms=1_000, max_records=10_000).values())
    took = time.perf_counter() - started
    consumer.close()
    return took / orders / 10


def worker(url: str, group: str, orders: int) -> float:
    """Our whole job on a fresh chDB: decode, store, judge, commit."""
    with tempfile.TemporaryDirectory(prefix="lastseen-bench-") as folder:
        store = open_store(f"chdb:///{folder}/store", {})
        store.migrate()
        flows, landscape = load_flows([ROOT / "schemas" / "flows"]), load_landscape([ROOT / "schemas"])
        policy = Policy(max_records=MAX_RECORDS)
        job = Worker(open_log(url), store, flows=flows, landscape=landscape, name=group, group=group, policy=policy)
        while len(job.owned) < PARTITIONS:
            job.step(50)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 50)
        before = job.counters.events
        started = time.perf_counter()
        while job.counters.events < orders * 10:
            job.step(100)
        took = time.perf_counter() - started
        measured = job.counters.events - before
        job.close()
        store.close()
    return took / max(measured, 1)


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    seconds = {"produce": produce, "raw": raw, "worker": worker}[job](arguments[0], arguments[1], int(arguments[2]))
    print(json.dumps({"micros": seconds * 1e6}))
