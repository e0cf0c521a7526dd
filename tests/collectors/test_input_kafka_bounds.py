"""Decompression bombs in topics of others (fault 28). Proves: a batch that becomes more than it may is one item that says where it
stood and why, in each codec, and what lies before and behind it is read; so is a batch that is damaged behind a good checksum; the
reader's memory stays bounded, whatever a poll finds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kafka as untyped
import kafka.admin
import pytest
from kafka import TopicPartition
from kafka.errors import CorruptRecordError
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from collectors.inputs.kafka_bounded import MAX_MESSAGE, BoundedRecords, read_within_bounds, too_much
from collectors.inputs.record import MAX_RAW, Unreadable
from tests.collectors.receiving import fields, until
from tests.collectors.site import Site
from tests.collectors.test_input_kafka import PARTITIONS, Topic, read, stepped
from tracer.kafka_bounds import MAX_BATCH_BYTES, SetAside

MIB = 1024 * 1024
AT = TopicPartition("orders", 2)
BEYOND = MAX_BATCH_BYTES // MIB + 2
"""Records of 1 MiB of zeros that are too much for a batch."""
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
clients: Any = untyped


def written(values: list[bytes], codec: int, offset: int) -> bytes:
    builder = MemoryRecordsBuilder(2, codec, 1 << 30)  # type: ignore[no-untyped-call]
    for value in values:
        builder.append(1_800_000_000_000, None, value)  # type: ignore[no-untyped-call]
    builder.close()  # type: ignore[no-untyped-call]
    return offset.to_bytes(8, "big") + bytes(builder.buffer()[8:])  # type: ignore[no-untyped-call]


def sealed(batch: bytes) -> bytes:
    """With the checksum of what it holds now."""
    checksum: int = calc_crc32c(batch[21:])  # type: ignore[no-untyped-call]
    return batch[:17] + checksum.to_bytes(4, "big") + batch[21:]


def reader(data: bytes, offset: int = 0) -> BoundedRecords:
    client = SimpleNamespace(_fetcher=SimpleNamespace())
    read_within_bounds(client)
    return client._fetcher.PartitionRecords(offset, AT, MemoryRecords(data))  # type: ignore[no-any-return,no-untyped-call]


def said(records: list[Any]) -> list[tuple[int, bytes | str]]:
    return [(one.offset, one.value.reason if isinstance(one.value, SetAside) else one.value) for one in records]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_bomb_is_one_item_between_what_is_good(codec: int) -> None:
    zeros = bytes(MIB)
    bomb = written([zeros] * BEYOND, codec, 5)
    part = reader(
        written([b"a"] * 5, codec, 0) + bomb + written([b"b"], codec, 5 + BEYOND) + written([b"c"], 0, 6 + BEYOND)
    )
    records = part.take(500)
    reason = f"orders[2], offsets 5 to {4 + BEYOND}: a compressed batch that becomes more than {MAX_BATCH_BYTES} bytes"
    behind = [(5 + BEYOND, b"b"), (6 + BEYOND, b"c")]
    assert said(records) == [*((number, b"a") for number in range(5)), (4 + BEYOND, reason), *behind]
    place, item = too_much(records[5]) or ("", None)
    assert place == f"5-{4 + BEYOND}"
    assert item == Unreadable(1, reason, bomb[61:][:MAX_RAW])
    assert part.next_fetch_offset == 7 + BEYOND
    assert not part


def test_the_same_place_wherever_reading_begins() -> None:
    bomb = written([bytes(MIB)] * BEYOND, 4, 5)
    whole, middle = reader(bomb).take(9)[0], reader(bomb, offset=20).take(9)[0]
    assert too_much(whole) == too_much(middle) is not None


def test_damage_behind_a_good_checksum_is_set_aside() -> None:
    """Of a compressed batch, of a record's lengths, and of what lies behind the last record; the next batch is read."""
    torn = written([b"v" * 50] * 9, 1, 0)
    torn = sealed(torn[:-12] + bytes(12))
    lengths = bytearray(written([b"w"] * 3, 0, 9))
    lengths[61 + 8] ^= 0x7E
    longer = written([b"x"], 0, 12) + bytes(7)
    longer = sealed(longer[:8] + (len(longer) - 12).to_bytes(4, "big") + longer[12:])
    records = reader(torn + sealed(bytes(lengths)) + longer + written([b"y"], 0, 13)).take(500)
    places = [(one.offset, too_much(one)) for one in records]
    assert [(offset, found and found[0]) for offset, found in places] == [
        (8, "0-8"), (9, None), (11, "10-11"), (12, None), (12, "12-12"), (13, None),
    ]  # fmt: skip
    assert all("damaged" in found[1].reason and found[1].raw for _, found in places if found)


def test_a_bad_checksum_is_an_error_and_fetched_anew() -> None:
    """What lies before it is handed out; nothing of it is, and the position stays in front of it."""
    bad = bytearray(written([b"b"], 0, 3))
    bad[-1] ^= 1
    data = written([b"a"] * 3, 0, 0) + bytes(bad)
    part = reader(data)
    assert len(part.take(500)) == 3
    assert not part
    assert part.next_fetch_offset == 3
    again = reader(bytes(bad), offset=3)
    with pytest.raises(CorruptRecordError):
        again.take(500)
    assert not again


def test_a_poll_takes_so_many_bytes_and_the_rest_is_fetched_again() -> None:
    data = b"".join(written([bytes(MIB)] * 20, 4, 20 * number) for number in range(5))
    seen: list[int] = []
    while len(seen) < 100:
        part = reader(data, offset=len(seen))  # a poll of its own; brokers answer with whole batches
        records = part.take(500)
        assert 0 < len(records) <= 16
        assert not part
        seen += [one.offset for one in records]
        assert part.next_fetch_offset == len(seen)
    assert seen == list(range(100))


def test_a_message_that_is_too_long_is_set_aside() -> None:
    (fits, beyond) = reader(written([bytes(MAX_MESSAGE - 300)], 4, 7) + written([bytes(MAX_MESSAGE + 1)], 4, 8)).take(2)
    assert too_much(fits) is None
    place, item = too_much(beyond) or ("", None)
    assert place == "8"
    assert item is not None
    assert item.reason == f"orders[2], offset 8: {MAX_MESSAGE + 1} bytes; at most {MAX_MESSAGE} are read"
    assert len(item.raw) == MAX_RAW


class Roomy(Topic):
    """A topic that takes 8 MiB at once: snappy makes no less than 3 of 64."""

    def _make(self, address: str) -> None:
        with contextlib.closing(clients.KafkaAdminClient(bootstrap_servers=address)) as admin:
            config = {"max.message.bytes": str(8 * MIB)}
            admin.create_topics([clients.admin.NewTopic(self.name, PARTITIONS, 1, topic_configs=config)])

    def bomb(self, codec: str, records: int = BEYOND) -> None:
        """One batch."""
        room = (records + 1) * MIB
        options = {"max_request_size": room, "batch_size": room, "linger_ms": 60_000}
        producer = clients.KafkaProducer(bootstrap_servers=self.address, compression_type=codec, **options)
        with contextlib.closing(producer):
            zeros = bytes(MIB - 100)
            for _ in range(records):
                producer.send(self.name, value=zeros, partition=0)
            producer.flush(60)


@pytest.fixture
def topic(kafka_broker: dict[str, str]) -> Iterator[Roomy]:
    made = Roomy(kafka_broker["address"])
    yield made
    made.close()


def test_bombs_in_a_real_topic(topic: Roomy) -> None:
    """Of each codec, with good records around them; all of it is acknowledged and committed."""
    topic.write(3)
    expected = []
    for number, codec in enumerate(CODECS, 1):
        topic.bomb(codec)
        last = number * (BEYOND + 1) - 1
        expected.append(f"{last - BEYOND + 1}-{last}")
        topic.write(3, begin=3 * number)
    with contextlib.closing(topic.open()) as live:
        parcels = read(live, 15 + 4)
        placed = [one for parcel in parcels for one in parcel.items]
        refused = [one for one in placed if isinstance(one.item, Unreadable)]
        orders = sorted(fields(one.item)["order"] for one in placed if not isinstance(one.item, Unreadable))
        assert orders == list(range(15))
        assert [one.place for one in refused] == expected
        for one in refused:
            assert isinstance(one.item, Unreadable)
            offsets = one.place.replace("-", " to ")
            assert one.item.reason.startswith(f"{topic.name}[0], offsets {offsets}: a compressed batch that becomes")
            assert 0 < len(one.item.raw) <= MAX_RAW
        for parcel in parcels:
            parcel.settle(None)
        live.poll(0)
    assert topic.committed() == [5 + 4 * BEYOND, 5, 5]


def test_within_a_collector_it_is_quarantined_and_counted(topic: Roomy, tmp_path: Path) -> None:
    topic.write(3)
    topic.bomb("zstd")
    topic.write(3, begin=3)
    text = (
        f"collector: shop\ninput: {{kafka: {{url: 'kafka://{topic.address}/', topics: {topic.name}, group: {topic.group}}}}}\n"
        "format: json\nevents:\n"
        "  - {system: shop, step: placed, time: kafka.time, keys: {order: order}}\n"
    )
    site = Site(tmp_path, text)
    collecting = site.begin()
    until(lambda: stepped(site, 6) and bool(site.quarantined()))
    until(lambda: stepped(site, 6) and topic.committed() == [2 + BEYOND, 2, 2])
    assert (collecting.counts.events, collecting.counts.quarantined) == (6, 1)
    site.kill()
    ((reason, body),) = site.quarantined()
    assert f"{topic.name}[0], offsets 1 to {BEYOND}: a compressed batch that becomes more than" in reason
    assert 0 < len(body) <= MAX_RAW
    assert site.orders() == [str(number) for number in range(6)]


def test_memory_of_a_reader_stays_bounded(topic: Roomy) -> None:
    """A process of its own reads a batch of 160 MiB, which kafka-python makes twice; 64 MiB of it are made once."""
    topic.bomb("zstd", 160)
    topic.write(3)
    script = (
        "import sys, resource\n"
        "from collectors.formats.json import JsonFormat\n"
        "from collectors.inputs.kafka import KafkaInput\n"
        "from collectors.inputs.kafka_live import KafkaLive\n"
        "from tests.collectors.receiving import context\n"
        "from tests.collectors.test_input_kafka import read\n"
        "live = KafkaLive(KafkaInput.model_validate_json(sys.argv[1]), context(JsonFormat()))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = read(live, 4)\n"
        "print(sum(len(p.items) for p in found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script, topic.spec().model_dump_json(by_alias=True)],
        cwd=root, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-800:]
    items, kib = map(int, run.stdout.split())
    assert items == 4
    assert kib < 128 * 1024
