"""Decompression bombs in our own topics (fault 28), on a real Kafka. Proves: a batch that becomes more than it may is one row of
the quarantine, whatever its codec; events before and behind it are stored, the group's position goes on, and control is read on;
what a poll decompresses is bounded."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import kafka as untyped
import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from pipeline.log import open_log
from pipeline.log.kafka import KafkaLog
from pipeline.log.kafka_records import FastRecords
from pipeline.store.memory import MemoryStore
from pipeline.worker import Policy, Worker
from tests.faults.site import Site
from tests.faults.stories import definitions, flat, records_of, stories
from tracer.kafka_bounds import KEPT, MAX_BATCH_BYTES, Allowance
from tracer.record import CONTROL, EVENTS, Record

MIB = 1024 * 1024
BEYOND = MAX_BATCH_BYTES // MIB + 2
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
clients: Any = untyped


def bomb(log: KafkaLog, topic: str, codec: str) -> None:
    """One batch of 66 MiB of zeros, by a producer that is not ours."""
    room = (BEYOND + 1) * MIB
    options = {"max_request_size": room, "batch_size": room, "linger_ms": 60_000, "compression_type": codec}
    with contextlib.closing(clients.KafkaProducer(**log._address.client, **options)) as producer:
        for _ in range(BEYOND):
            producer.send(log._address.prefix + topic, key=b"zeros", value=bytes(MIB - 100), partition=0)
        producer.flush(60)


def make_room(log: KafkaLog, topic: str) -> None:
    """Snappy makes no less than 3 MiB of 64."""
    config = {"max.message.bytes": str(8 * MIB)}
    resource = ConfigResource(ConfigResourceType.TOPIC, log._address.prefix + topic, config)  # type: ignore[no-untyped-call]
    log._topics._admin().alter_configs([resource])


def test_28_a_worker_goes_on_behind_bombs(kafka: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "lastseen")
    flows, landscape = definitions()
    good = flat(stories())
    parts = [records_of(good[start :: len(CODECS) + 1]) for start in range(len(CODECS) + 1)]
    store = MemoryStore()
    with contextlib.closing(open_log(kafka)) as log:
        assert isinstance(log, KafkaLog)
        log.create(1)
        make_room(log, EVENTS)
        bomb(log, CONTROL, "zstd")
        with contextlib.closing(log.producer()) as sink:
            for part, codec in zip(parts, [*CODECS, None], strict=True):
                sink.produce([_here(record) for record in part])
                if codec:
                    bomb(log, EVENTS, codec)
        worker = Worker(log, store, flows=flows, landscape=landscape, policy=Policy())
        try:
            worker.drain()
            end = worker._consumer.end_offsets([0])
            assert worker._consumer.committed([0]) == end
        finally:
            worker.close()
    without = Site()
    without.produce(records_of(good))
    without.worker().drain()
    assert store.count_events() == without.store.count_events() >= len(good)
    rows = sorted(store.quarantine(), key=lambda row: int(row.id.split(":")[2]))
    assert len(rows) == len(CODECS)
    first = 0
    for row, part in zip(rows, parts, strict=False):
        first += len(part)
        last = first + BEYOND - 1
        assert row.id == f"{EVENTS}:0:{last}:0"
        assert f"[0], offsets {first} to {last}: a compressed batch that becomes more than" in row.reason
        assert 0 < len(row.payload) <= KEPT
        first = last + 1
    assert caplog.text.count("a batch is set aside") == len(CODECS) + 1
    assert "control record" in caplog.text


def _here(record: Record) -> Record:
    return record._replace(partition=0)


def written(values: list[bytes], codec: int, offset: int) -> bytes:
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)  # type: ignore[no-untyped-call]
    for value in values:
        builder.append(1_800_000_000_000, None, value)  # type: ignore[no-untyped-call]
    builder.close()  # type: ignore[no-untyped-call]
    return offset.to_bytes(8, "big") + bytes(builder.buffer()[8:])  # type: ignore[no-untyped-call]


def reader(data: bytes, offset: int = 0) -> FastRecords:
    kind = type("Records", (FastRecords,), {"topic": EVENTS, "allowance": Allowance()})
    made: FastRecords = kind(offset, TopicPartition(EVENTS, 0), MemoryRecords(data))  # type: ignore[no-untyped-call]
    return made


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_28_what_lies_around_a_bomb_is_read(codec: int) -> None:
    """From wherever reading begins: the bomb has one place."""
    bomb = written([bytes(MIB)] * BEYOND, codec, 5)
    data = written([b"a"] * 5, codec, 0) + bomb + written([b"b"], codec, 5 + BEYOND)
    last = 4 + BEYOND
    for offset, places in ((0, [0, 1, 2, 3, 4, last, last + 1]), (20, [last, last + 1])):
        part = reader(data, offset)
        records = [*part.take(3), *part.take(100)]
        assert [record.offset for record in records] == places
        assert records[-2].value == bomb[61 : 61 + KEPT]
        assert part.next_fetch_offset == last + 2
    alone = reader(bomb, 20)
    assert [record.offset for record in alone.take(100)] == [last]
    assert not alone.take(100)
    assert alone.next_fetch_offset == last + 1


def test_28_a_poll_decompresses_so_many_bytes_and_the_rest_is_fetched_again() -> None:
    data = b"".join(written([bytes(MIB)] * 20, 4, 20 * number) for number in range(6))
    part = reader(data)
    assert [record.offset for record in part.take(5_000)] == list(range(80))
    assert not part
    assert part.next_fetch_offset == 80
    assert len(reader(b"".join(written([bytes(MIB)] * 20, 0, 20 * n) for n in range(6))).take(5_000)) == 120
