"""Topics of others, read from a real Kafka. Proves: offsets are committed behind what our log acknowledged and never beyond; a
collector that is killed between the two reads the same places again; members that come and go lose nothing; what was given up comes
again; a group begins where it is told and is never moved silently; every form in which others write is read."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kafka as untyped
import kafka.admin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collectors.collecting import Collecting
from collectors.formats.cloudevents import CloudEventsFormat
from collectors.formats.contract import Format
from collectors.formats.json import JsonFormat
from collectors.formats.otlp import OtlpFormat
from collectors.formats.syslog import SyslogFormat
from collectors.inputs.kafka import KafkaInput
from collectors.inputs.kafka_live import KafkaLive
from collectors.inputs.kafka_offsets import Share
from collectors.inputs.live import Parcel
from schemas.errors import Invalid
from tests.collectors.receiving import context, event, fields, looping, until
from tests.collectors.site import Site
from tracer.errors import Unavailable

PARTITIONS = 3
clients: Any = untyped


class Topic:
    """A topic of this test's own, and who writes it."""

    def __init__(self, address: str, name: str = "") -> None:
        self.address = address
        self.name = name or f"shop-{uuid.uuid4().hex[:10]}"
        self.group = f"g-{self.name}"
        if not name:
            self._make(address)
        self._producer: Any = clients.KafkaProducer(bootstrap_servers=address)

    def _make(self, address: str) -> None:
        with contextlib.closing(clients.KafkaAdminClient(bootstrap_servers=address)) as admin:
            admin.create_topics([clients.admin.NewTopic(self.name, PARTITIONS, 1)])

    def write(self, count: int, begin: int = 0) -> None:
        for number in range(begin, begin + count):
            self.send(json.dumps({"order": number}).encode(), partition=number % PARTITIONS)
        self._producer.flush(20)

    def send(self, value: bytes | None, partition: int = 0, **options: Any) -> None:
        self._producer.send(self.name, value=value, partition=partition, **options)

    def flush(self) -> None:
        self._producer.flush(20)

    def spec(self, **options: Any) -> KafkaInput:
        url = f"kafka://{self.address}/?session_timeout_ms=6000"
        return KafkaInput(url=url, topics=(self.name,), group=self.group, **options)

    def open(self, layout: Format | None = None, once: bool = False, **options: Any) -> KafkaLive:
        return KafkaLive(self.spec(**options), context(layout or JsonFormat(), once=once))

    def committed(self) -> list[int | None]:
        with contextlib.closing(clients.KafkaConsumer(bootstrap_servers=self.address, group_id=self.group)) as asking:
            return [asking.committed(TopicPartition(self.name, partition)) for partition in range(PARTITIONS)]

    def close(self) -> None:
        self._producer.close(5)


@pytest.fixture
def topic(kafka_broker: dict[str, str]) -> Iterator[Topic]:
    made = Topic(kafka_broker["address"])
    yield made
    made.close()


def read(live: KafkaLive, count: int) -> list[Parcel]:
    """Parcels of at least so many items, none of them settled."""
    parcels: list[Parcel] = []

    def enough() -> bool:
        parcels.extend(live.poll(0.2))
        return sum(len(parcel.items) for parcel in parcels) >= count

    until(enough)
    return parcels


def places(parcels: list[Parcel]) -> set[str]:
    return {f"{parcel.stream}|{placed.place}" for parcel in parcels for placed in parcel.items}


def test_only_what_was_acknowledged_is_committed(topic: Topic) -> None:
    topic.write(30)
    live = topic.open()
    parcels = read(live, 30)
    live.poll(0)
    assert topic.committed() in ([0, 0, 0], [None, None, None])
    for parcel in parcels:
        if "[1]" in parcel.name:
            parcel.settle(None)
    live.poll(0)
    assert [offset or 0 for offset in topic.committed()] == [0, 10, 0]
    live.close()
    with contextlib.closing(topic.open()) as again:
        found = {place.removeprefix(topic.name).partition("/")[2] for place in places(read(again, 20))}
        assert found == {f"{partition}|{offset}" for partition in (0, 2) for offset in range(10)}


def test_killed_between_reading_and_committing(topic: Topic) -> None:
    """Really killed: another process reads everything, settles nothing, and ends without a word."""
    topic.write(12)
    script = (
        "import sys, os, signal\n"
        "from collectors.formats.json import JsonFormat\n"
        "from collectors.inputs.kafka import KafkaInput\n"
        "from collectors.inputs.kafka_live import KafkaLive\n"
        "from tests.collectors.receiving import context\n"
        "from tests.collectors.test_input_kafka import places, read\n"
        "spec = KafkaInput.model_validate_json(sys.argv[1])\n"
        "print('\\n'.join(sorted(places(read(KafkaLive(spec, context(JsonFormat())), 12)))), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    spec = topic.spec().model_copy(update={"url": f"kafka://{topic.address}/?session_timeout_ms=1000"})
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script, spec.model_dump_json()], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == -9, run.stderr[-500:]
    with contextlib.closing(KafkaLive(spec, context(JsonFormat()))) as live:
        assert sorted(places(read(live, 12))) == run.stdout.split()


def test_members_come_and_go(topic: Topic) -> None:
    """Two members, then one: every record is acknowledged, and the group ends at every partition's end."""
    topic.write(150)
    with looping(topic.open()) as first:
        first.items(150)
        with looping(topic.open()) as second:
            until(lambda: bool(second.live._shares) and len(first.live._shares) < PARTITIONS)  # type: ignore[attr-defined]
            topic.write(150, begin=150)
            until(lambda: len({place for place, _ in first.accepted + second.accepted}) == 300)
            assert second.accepted
        topic.write(60, begin=300)
        until(lambda: len({place for place, _ in first.accepted + second.accepted}) == 360)
    assert topic.committed() == [120, 120, 120]
    values = {place: fields(item)["order"] for place, item in first.accepted + second.accepted}
    assert sorted(values.values()) == list(range(360))


def test_what_was_given_up_comes_again(topic: Topic) -> None:
    """Nothing behind it is committed meanwhile."""
    topic.write(30)
    failed: list[str] = []

    def settle(parcel: Parcel) -> Exception | None:
        if len(failed) < 3:
            failed.append(parcel.name)
            return Unavailable("the log is away")
        return None

    with looping(topic.open(), settle) as loop:
        loop.wait(lambda: len({place for place, _ in loop.accepted}) == 30)
        assert len(failed) == 3
    assert topic.committed() == [10, 10, 10]


def test_no_more_is_read_than_may_be_held(topic: Topic) -> None:
    topic.write(900)
    with contextlib.closing(topic.open(max_held=1024)) as live:
        parcels = read(live, 1)
        for _ in range(5):
            assert live.poll(0.05) == []
        for parcel in parcels:
            parcel.settle(None)
        assert not places(read(live, 1)) & places(parcels)


def test_once_ends_and_says_through_when(topic: Topic) -> None:
    topic.write(30)
    before = context(JsonFormat()).clock()
    with contextlib.closing(topic.open(once=True)) as live:
        assert live.through() is None
        found: list[Parcel] = []

        def ended() -> bool:
            found.extend(live.poll(0.2))
            return live.finished

        until(ended)
        assert len(places(found)) == 30
        assert (live.through() or 0) >= before


def test_a_new_group_may_begin_at_the_end(topic: Topic) -> None:
    """And once it began there, what comes while it is away is its own."""
    topic.write(9)
    with contextlib.closing(topic.open(begin="end")) as live:
        until(lambda: live.poll(0.1) == [] and live.through() is not None)
        live.poll(0)
    topic.write(3, begin=9)
    with contextlib.closing(topic.open(begin="end")) as live:
        items = [placed.item for parcel in read(live, 3) for placed in parcel.items]
        assert sorted(fields(item)["order"] for item in items) == [9, 10, 11]


def test_what_a_transaction_took_back_never_happened(topic: Topic) -> None:
    """And through is not said beyond a transaction that is still open: it may hold what happened long before."""
    orders = {"taken back": [1, 2], "open": [3], "committed": [4, 5]}
    with contextlib.ExitStack() as stack:
        writers: dict[str, Any] = {}
        for name in orders:
            made = clients.KafkaProducer(bootstrap_servers=topic.address, transactional_id=f"{topic.name}-{name}")
            stack.callback(made.close, 5)
            made.init_transactions()
            made.begin_transaction()
            writers[name] = made
        for _ in range(2):
            for name, numbers in orders.items():
                for number in numbers:
                    writers[name].send(topic.name, json.dumps({"order": number}).encode(), partition=0)
                writers[name].flush(20)
        writers["taken back"].abort_transaction()
        live = stack.enter_context(contextlib.closing(topic.open()))
        parcels: list[Parcel] = []

        def polled_until(condition: Callable[[], bool]) -> None:
            def over() -> bool:
                parcels.extend(live.poll(0.2))
                return condition()

            until(over)

        polled_until(lambda: len(live._shares) == PARTITIONS)
        writers["committed"].commit_transaction()
        for _ in range(15):
            parcels += live.poll(0.2)
        assert live.through() is None
        writers["open"].commit_transaction()
        polled_until(lambda: live.through() is not None)
        told = [fields(placed.item)["order"] for parcel in parcels for placed in parcel.items]
        assert told == [3, 4, 5, 3, 4, 5]


def test_records_that_are_gone_are_an_alarm(topic: Topic) -> None:
    """Fault 13: never a silent jump."""
    topic.write(30)
    with contextlib.closing(topic.open()) as live:
        for parcel in read(live, 30):
            parcel.settle(None)
        live.poll(0)
    topic.write(30, begin=30)
    with contextlib.closing(clients.KafkaAdminClient(bootstrap_servers=topic.address)) as admin:
        admin.delete_records({TopicPartition(topic.name, partition): 15 for partition in range(PARTITIONS)})
    with contextlib.closing(topic.open()) as live, pytest.raises(Invalid, match="lost to us"):
        until(lambda: bool(live.poll(0.1)) and False)


def test_a_topic_made_anew_is_an_alarm(topic: Topic) -> None:
    """Fault 13, where the new one has the offset that comes next; and its records have places of their own."""
    topic.write(30)
    with contextlib.closing(topic.open()) as live:
        parcels = read(live, 30)
        for parcel in parcels:
            parcel.settle(None)
        live.poll(0)
        with contextlib.closing(clients.KafkaAdminClient(bootstrap_servers=topic.address)) as admin:
            admin.delete_topics([topic.name])
            until(lambda: topic.name not in admin.list_topics())
            until(lambda: made_again(admin, topic.name))
        again = Topic(topic.address, topic.name)
        again.write(60)
        with pytest.raises(Invalid, match="made anew"):
            until(lambda: polled(live) and False)
    with contextlib.closing(topic.open()) as live:
        found = places(read(live, 60))
        assert len(found) == 60
        assert not found & places(parcels)
    again.close()


def polled(live: KafkaLive) -> bool:
    """What a client is given before it knows better is settled by nobody here."""
    with contextlib.suppress(Unavailable):
        live.poll(0.1)
    return True


def made_again(admin: Any, name: str) -> bool:
    """A broker may still be deleting what it lists no more."""
    with contextlib.suppress(untyped.errors.TopicAlreadyExistsError):
        admin.create_topics([clients.admin.NewTopic(name, PARTITIONS, 1)])
        return True
    return False


def test_a_topic_that_is_not_there(kafka_broker: dict[str, str]) -> None:
    """It is waited for, and not made."""
    name = f"nobody-{uuid.uuid4().hex[:8]}"
    spec = KafkaInput(url=f"kafka://{kafka_broker['address']}/", topics=(name,), group="g")
    with contextlib.closing(KafkaLive(spec, context(JsonFormat()))) as live:
        for _ in range(5):
            with contextlib.suppress(Unavailable):
                assert live.poll(0.05) == []
    with contextlib.closing(clients.KafkaAdminClient(bootstrap_servers=kafka_broker["address"])) as admin:
        assert name not in admin.list_topics()


def test_forms_in_which_others_write(topic: Topic) -> None:
    """OTLP in protobuf and JSON, both modes of CloudEvents, syslog lines, JSON with a key, a tombstone, and what cannot be read."""
    request: Any = ExportTraceServiceRequest()
    span = Span(trace_id=b"t" * 16, span_id=b"s" * 8, name="pay", start_time_unix_nano=1, end_time_unix_nano=2)
    request.resource_spans.add().scope_spans.add().spans.append(span)
    attributes = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order"}
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    topic.send(request.SerializeToString(), 0)
    topic.send(b'{"data": 1}', 0, headers=[*headers, ("content-type", b"application/json")])
    topic.send(json.dumps(attributes).encode(), 0, headers=[("Content-Type", b"application/cloudevents+json")])
    topic.send(b"<14>Oct 11 22:14:15 shop app[7]: paid", 0, timestamp_ms=1_700_000_000_000)
    topic.send(b'{"total": 5}', 0, key=b"order-7")
    topic.send(None, 0, key=b"order-7")
    topic.send(b"\xff", 0)
    topic.flush()

    def items(layout: Format) -> list[Any]:
        group = f"g-{uuid.uuid4().hex[:8]}"
        live = KafkaLive(topic.spec().model_copy(update={"group": group}), context(layout))
        with contextlib.closing(live):
            return [placed for parcel in read(live, 6) for placed in parcel.items]

    spans, events, logs, rows = (
        items(layout)
        for layout in (
            OtlpFormat(read="events", system="shop", unnamed="all", trace_only="all"),
            CloudEventsFormat(),
            SyslogFormat(),
            JsonFormat(),
        )
    )
    assert event(spans[0].item)["step"] == "pay"
    assert spans[0].place == event(spans[0].item)["id"] == f"{b't'.hex() * 16}:{b's'.hex() * 8}:started"
    assert [fields(placed.item)["type"] for placed in events[1:3]] == ["order", "order"]
    assert events[1].place == events[2].place == "/shop 1"
    assert fields(logs[3].item)["time"] == "2023-10-11 22:14:15"
    row = next(fields(placed.item) for placed in rows if placed.place == "4")
    assert row == {
        "total": 5, "kafka.topic": topic.name, "kafka.partition": 0, "kafka.offset": 4, "kafka.key": "order-7",
        "kafka.time": row["kafka.time"],
    }  # fmt: skip
    assert {placed.place.partition(".")[0] for placed in rows} == {"0", "1", "2", "3", "4", "6"}
    assert len({placed.place for placed in rows}) == len(rows)


def test_within_a_collector(topic: Topic, tmp_path: Path) -> None:
    """Read twice, by another group: the same events under the same ids; committed is what the log has."""
    topic.write(30)
    text = (
        f"collector: shop\ninput: {{kafka: {{url: 'kafka://{topic.address}/', topics: {topic.name}, group: {topic.group}}}}}\n"
        "format: json\nevents:\n"
        "  - {system: shop, step: placed, time: kafka.time, keys: {order: order}}\n"
    )
    site = Site(tmp_path, text)
    site.begin()
    site.broker.hold_acks = True
    until(lambda: stepped(site, 30))
    assert [offset or 0 for offset in topic.committed()] == [0, 0, 0]
    first = set(site.events())
    site.kill()
    site.broker.hold_acks = False
    site.begin()
    until(lambda: stepped(site, 60))
    until(lambda: stepped(site, 60) and topic.committed() == [10, 10, 10])
    site.stop()
    site.path.write_text(text.replace(topic.group, "another"))
    site.begin()
    until(lambda: stepped(site, 90))
    site.kill()
    assert set(site.events()) == first
    assert len(first) == 30
    assert not site.quarantined()


def test_two_of_one_group_read_a_topic_once_between_them(topic: Topic, tmp_path: Path) -> None:
    """One that is done leaves the group: the other would wait for it for ever."""
    topic.write(30)
    text = (
        f"input: {{kafka: {{url: 'kafka://{topic.address}/', topics: {topic.name}, group: {topic.group}}}}}\n"
        "format: json\nevents:\n"
        "  - {system: shop, step: placed, time: kafka.time, keys: {order: order}}\n"
    )
    sites = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        sites.append(Site(tmp_path / name, f"collector: {name}\n{text}"))
    for site in sites:
        collecting = site.begin(once=True)

        def over(site: Site = site, collecting: Collecting = collecting) -> bool:
            site.steps(1, apart=100_000)
            return collecting.done

        until(over)
    assert len({order for site in sites for order in site.orders()}) == 30
    for site in sites:
        site.stop()


def stepped(site: Site, sent: int) -> bool:
    site.steps(1, apart=100_000)
    return len(site.observed()) >= sent


def test_addresses_are_closed_by_default() -> None:
    """Credentials of the named variables only, and never in plaintext."""
    spec = KafkaInput(url="kafka://h:1/", topics=("t",), group="g", secrets="SHOP_KAFKA_")
    assert spec.address({"LASTSEEN_KAFKA_USERNAME": "u"}).client["security_protocol"] == "PLAINTEXT"
    with pytest.raises(Invalid, match="plaintext"):
        spec.address({"SHOP_KAFKA_USERNAME": "u", "SHOP_KAFKA_PASSWORD": "p"})


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["settle", "give up", "commit"]), st.integers(0, 8))))
def test_an_offset_is_never_committed_past_what_is_not_settled(steps: list[tuple[int, str, int]]) -> None:
    """Of any order of handing out, settling and giving up; and in the end all of it is committed."""
    share, at, settled, out, committed = Share(), 0, set[int](), dict[int, range](), 0
    for count, what, choice in steps:
        out[share.handed_out(at, at + count, 1)] = range(at, at + count)
        at += count
        number = list(out)[choice % len(out)]
        if what == "settle":
            share.settled(number, given_up=False)
            settled |= set(out.pop(number))
        elif what == "give up":
            share.settled(number, given_up=True)
            at = share.take_rewind() or out[number].start
            out = {each: offsets for each, offsets in out.items() if each < number}
        ready = share.to_commit()
        if ready is not None:
            assert set(range(committed, ready)) <= settled
            committed = ready
            share.committed(ready)
    for number in list(out):
        share.settled(number, given_up=False)
    assert share.held == 0
    assert (share.to_commit() or committed) == at
