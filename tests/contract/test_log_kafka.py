"""What only Kafka can do wrong: restarts, topics made anew, settings, security."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from pipeline.errors import Invalid, Unavailable
from pipeline.log import Log, PositionLost, open_log
from pipeline.log.kafka import KafkaEventConsumer, KafkaLog
from pipeline.log.kafka_records import read_batch
from tests.contract.test_log import PARTITIONS, Reader, event, until
from tests.kafka_broker import PASSWORD, USER, Broker
from tracer.record import CONTROL, EVENTS, Record
from tracer.sinks import open_sink
from tracer.sinks.contract import Pending
from tracer.sinks.kafka import ANEW_EVERY, KafkaSink
from tracer.sinks.kafka_config import Secret, read_address
from tracer.sinks.kafka_topics import TIMESTAMPS


def test_kafka_broker_restarts_and_nothing_is_lost(tmp_path: Path, kafka_broker: dict[str, str]) -> None:
    """Fault 12, one broker: what is under way is acknowledged afterwards, once, in order."""
    if "sasl" not in kafka_broker:
        pytest.skip("LASTSEEN_TEST_KAFKA: not ours to restart")
    broker = Broker(tmp_path)
    broker.start()
    log = open_log(f"kafka://{broker.address}/")
    try:
        log.create(PARTITIONS)
        sink, reader = log.producer(), Reader(log.consumer())
        acks = sink.produce([event("order:1", b"%d" % i, 0) for i in range(10)])
        reader.until(lambda: reader.count() == 10)
        broker.stop()
        with pytest.raises(Unavailable):
            reader.consumer.end_offsets([0])
        with pytest.raises(Unavailable):
            log.partitions()
        pendings = [sink.send(event("order:1", b"%d" % i, 0)) for i in range(10, 20)]
        broker.start()
        assert log.partitions() == PARTITIONS, "asked at once, by a client that had found nobody"
        until(lambda: (sink.poll(), all(p.done for p in pendings))[1])
        assert [p.ack.offset for p in pendings if p.ack] == list(range(10, 20)), [p.error for p in pendings]
        reader.until(lambda: reader.count() >= 20)
        assert [record.offset for record in reader.got[0]][-10:] == list(range(10, 20))
        until(lambda: reader.poll() and reader.commit())
        assert len(acks) == 10
        reader.consumer.close()
        sink.close()
    finally:
        log.close()
        broker.stop()


@pytest.fixture
def sink(kafka: str) -> Iterator[KafkaSink]:
    """On topics of its own; one record is acknowledged."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        with contextlib.closing(log.producer()) as made:
            assert isinstance(made, KafkaSink)
            made.produce([event("order:1", b"first", 0)])
            yield made


def test_a_producer_that_gave_up_is_replaced(sink: KafkaSink) -> None:
    """kafka-python's can come to an error after which each send of it fails for ever."""
    under_way = sink.send(event("order:1", b"under way", 0))
    sink._producer._transaction_manager.transition_to_fatal_error(KafkaError("unknown reasons"))
    until(lambda: (sink.poll(), under_way.done)[1])
    (ack,) = sink.produce([event("order:1", b"next", 0)])
    assert ack.offset in (1, 2)
    assert sink.poll() == 0


def test_a_producer_that_brings_nothing_through_is_replaced(sink: KafkaSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.sinks.kafka.SILENT", 1.0)
    sender = sink._producer._sender
    close = sender.force_close
    monkeypatch.setattr(sender, "run_once", lambda: time.sleep(0.01))
    # Its thread may be that quick: it fails what it has before anybody else does.
    monkeypatch.setattr(sender, "force_close", lambda: (close(), sender.join(5)))
    under_way = [sink.send(event("order:1", b"under way", 0)) for _ in range(3)]
    until(lambda: (sink.poll(), all(one.done for one in under_way))[1])
    assert all(
        str(one.error).endswith("its client brought nothing through any more and was replaced") for one in under_way
    )
    assert [ack.offset for ack in sink.produce([event("order:1", b"next", 0)])] == [1]


def test_a_record_that_is_never_told_of_is_not_waited_for(sink: KafkaSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though others are acknowledged, as a source's markers are while its events hang."""
    monkeypatch.setattr("tracer.sinks.kafka.SILENT", 1.0)
    forgotten = sink.send(event("order:1", b"forgotten", 0))
    monkeypatch.setattr(sink, "_outcomes", Without(forgotten))
    until(lambda: (sink.produce([event("order:1", b"next", 1)]), forgotten.done)[1])
    assert forgotten.error is not None
    assert sink.produce([event("order:1", b"again", 0)])
    assert sink.poll() == 0


def test_one_that_gives_up_again_and_again_is_replaced_once_in_a_while(
    sink: KafkaSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once where it has had an answer since it was made; otherwise each record would cost a connection."""
    made: list[object] = []
    real = sink._connected

    def connected() -> object:
        made.append(real())
        return made[-1]

    monkeypatch.setattr(sink, "_connected", connected)

    def give_up() -> int:
        sink._producer._transaction_manager.transition_to_fatal_error(KafkaError("unknown reasons"))
        sink._renew()
        return len(made)

    assert give_up() == 1
    sink.produce([event("order:1", b"an answer", 0)])
    assert [give_up() for _ in range(3)] == [2, 2, 2]


def test_what_is_given_back_is_given_back_from_the_last(sink: KafkaSink) -> None:
    back: list[bytes] = []
    sink._producer._transaction_manager.transition_to_fatal_error(KafkaError("unknown reasons"))
    sink._tried = time.monotonic()
    for number in range(50):
        value = b"%d" % number
        sink.send(event("order:1", value, 0), on_error=lambda _, value=value: back.append(value))  # type: ignore[misc]
    time.sleep(0.5)
    sink._tried = -ANEW_EVERY
    assert sink.poll() == 0
    assert back == sorted(back, key=int, reverse=True)
    assert len(back) == 50


def limit(log: Log, size: int) -> None:
    """Bytes that a batch of events may have."""
    assert isinstance(log, KafkaLog)
    setting = {"max.message.bytes": str(size)}
    name = log._address.prefix + EVENTS
    resource = ConfigResource(ConfigResourceType.TOPIC, name, setting)  # type: ignore[no-untyped-call]
    log._topics._admin().alter_configs([resource])
    until(lambda: log._topics._configs(EVENTS)["max.message.bytes"] == str(size))


def refused(sink: KafkaSink, size: int, beside: Callable[[], object]) -> Exception | None:
    """What becomes of a record that is sent until it is clear, and ``beside`` done meanwhile."""
    large = Pending()
    large.error = Unavailable("not sent yet")
    while isinstance(large.error, Unavailable):
        large = sink.send(event("order:1", b"x" * size, 0))
        until(lambda one=large: (beside(), sink.poll(), one.done)[2])  # type: ignore[misc]
    return large.error


@pytest.fixture
def narrow(kafka: str) -> Iterator[KafkaSink]:
    """To a broker that takes no record of more than 50,000 bytes."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        limit(log, 50_000)
        with contextlib.closing(log.producer()) as made:
            assert isinstance(made, KafkaSink)
            yield made


def test_a_record_that_the_broker_finds_too_large_takes_no_other_with_it(narrow: KafkaSink) -> None:
    """kafka-python gives up everything for it, until it is replaced; and the next one comes a moment later."""
    others: list[Pending] = []
    for _ in range(3):
        error = refused(narrow, 100_000, lambda: others.append(narrow.send(event("order:2", b"small", 1))))
        assert isinstance(error, ValueError)
        until(lambda: not narrow.poll())
        assert narrow.produce([event("order:2", b"small", 1)])
    assert {type(one.error) for one in others} <= {type(None), Unavailable}


def test_of_a_batch_that_is_too_large_the_record_is_refused_that_is(narrow: KafkaSink) -> None:
    """What is too large together is split, and arrives."""
    narrow.produce([event("order:1", b"x" * 30_000, 0) for _ in range(5)])
    around = [narrow.send(event("order:1", b"x" * 30_000, 0)) for _ in range(2)]
    assert isinstance(refused(narrow, 90_000, lambda: None), ValueError)
    assert not any(isinstance(one.error, ValueError) for one in around)


def test_nobody_is_blamed_while_a_record_is_being_handed_over(sink: KafkaSink) -> None:
    """It may be the large one, refused before we could ask to be told."""
    error = MessageSizeTooLargeError()
    for handing in (True, False):
        sink._handing = handing
        sink._failed(Pending(), 100, error)
    assert [type(outcome) for _, outcome in sink._outcomes] == [Unavailable, Unavailable]


def test_closing_replaces_no_producer(sink: KafkaSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would close the fresh one. What nobody told of is reported all the same."""
    forgotten = sink.send(event("order:1", b"forgotten", 0))
    monkeypatch.setattr(sink, "_outcomes", Without(forgotten))
    monkeypatch.setattr("tracer.sinks.kafka.SILENT", -1.0)
    made: list[int] = []
    monkeypatch.setattr(sink, "_connected", lambda: made.append(1))
    sink.close()
    assert isinstance(forgotten.error, Unavailable)
    assert not made


class Without(deque[Any]):
    """Outcomes, but for one record's."""

    def __init__(self, one: Pending):
        super().__init__()
        self.one = one

    def append(self, outcome: Any) -> None:
        if outcome[0] is not self.one:
            super().append(outcome)


def test_12_a_poll_that_fails_after_it_took_records_hands_them_out_next_time(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It brought records of what is kept, and a new assignment; of which topic its commit is, the moving coordinator cannot say."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        reader = Reader(log.consumer())
        consumer = reader.consumer
        assert isinstance(consumer, KafkaEventConsumer)
        reader.until(reader.owns_all)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"%d" % n, 0) for n in range(10)])
        poll, committed = consumer._client.poll, consumer._client.committed
        failures = [KafkaTimeoutError("it moves")] * 3

        def with_an_assignment(**how: Any) -> Any:
            records = poll(**how)
            if records and failures:
                consumer._notes.on_partitions_assigned([consumer._at(1)])
            return records

        def moving(*partitions: Any, **how: Any) -> Any:
            if failures:
                raise failures.pop()
            return committed(*partitions, **how)

        monkeypatch.setattr(consumer._client, "poll", with_an_assignment)
        monkeypatch.setattr(consumer._client, "committed", moving)
        refused = 0
        while failures:
            try:
                reader.poll(4)
            except Unavailable:
                refused += 1
        reader.until(lambda: reader.count() >= 10)
        assert refused == 3
        assert [record.offset for record in reader.got[0]] == list(range(10))
        consumer.close()


def remake(log: Log, topic: str = EVENTS) -> None:
    assert isinstance(log, KafkaLog)
    log._topics._admin().delete_topics([log._address.prefix + topic])
    until(lambda: topic not in log._topics._describe())
    log.create(PARTITIONS)
    with contextlib.closing(log.producer()) as sink:
        sink.produce([event("order:1", b"another", p) for p in range(PARTITIONS)] * 10)


def test_a_topic_made_anew_is_noticed_while_reading(kafka: str) -> None:
    """Fault 13: an alarm, though the new topic has the offset that comes next."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"one", p) for p in range(PARTITIONS)])
        reader = Reader(log.consumer())
        reader.until(lambda: reader.count() == PARTITIONS)
        remake(log)
        with pytest.raises(PositionLost, match="made anew"):
            until(lambda: reader.poll() and False)
        reader.consumer.close()


def test_13_control_made_anew_is_noticed_while_reading(kafka: str) -> None:
    """Though the new one has more records than were read of the old one."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([Record(CONTROL, b"one", b"{}", (), 0)])
        with contextlib.closing(log.control_reader()) as reader:
            until(lambda: bool(reader.read(10, 50)))
            assert reader.position() == reader.end_offset() == 1
            remake(log, CONTROL)
            with contextlib.closing(log.producer()) as sink:
                sink.produce([Record(CONTROL, b"another", b"{}", (), 0)] * 3)

            def ends() -> bool:
                with contextlib.suppress(Unavailable):
                    reader.end_offset()
                return False

            with pytest.raises(PositionLost, match=r"lastseen\.control was deleted and made anew"):
                until(ends)


def test_topics_hold_what_they_must(kafka: str) -> None:
    with contextlib.closing(open_log(kafka)) as log:
        assert isinstance(log, KafkaLog)
        with pytest.raises(Unavailable, match="lastseen setup"):
            log.partitions()
        assert [problem for problem in log.check() if "lastseen setup" in problem] == log.check()
        log._topics._admin().create_topics({log._address.prefix + EVENTS: {"num_partitions": 3}})
        until(lambda: EVENTS in log._topics._describe())
        assert any("message.timestamp.type=CreateTime" in problem for problem in log.check())
        with pytest.raises(Invalid, match="3 partitions already"):
            log.create(4)
        log.create(3)
        until(lambda: log.check() == [])
        assert log._topics._configs(CONTROL)["cleanup.policy"] == "compact"
        assert log._topics._configs(CONTROL)["min.compaction.lag.ms"] == "86400000"


def topics_there(log: KafkaLog) -> set[str]:
    """Of our two; asked without making any."""
    return set(log._topics._describe())


@pytest.fixture
def auto_creating(kafka: str, kafka_broker: dict[str, str]) -> Iterator[KafkaLog]:
    """A log without topics, on a broker that makes whatever topic a careless client names."""
    if "sasl" not in kafka_broker:
        pytest.skip("LASTSEEN_TEST_KAFKA: whether it makes topics by itself is not known")
    with contextlib.closing(open_log(kafka)) as log:
        assert isinstance(log, KafkaLog)
        careless = KafkaConsumer(log._address.prefix + "witness", bootstrap_servers=[kafka_broker["address"]])  # type: ignore[no-untyped-call]
        careless.poll(timeout_ms=100)  # type: ignore[no-untyped-call]
        with contextlib.closing(careless):
            made = log._topics._admin().describe_topics
            until(lambda: made([log._address.prefix + "witness"])[0]["error_code"] == 0)
        yield log


def test_nobody_but_setup_makes_topics(auto_creating: KafkaLog, kafka: str) -> None:
    log = auto_creating
    opened: list[Callable[[], object]] = [log.producer, log.consumer, log.control_reader, lambda: open_sink(kafka)]
    for connect in opened:
        with pytest.raises(Unavailable, match="has no topics yet: run `lastseen setup`"):
            connect()
    assert topics_there(log) == set()
    log._topics._admin().create_topics({log._address.prefix + EVENTS: {"configs": {TIMESTAMPS: "LogAppendTime"}}})
    until(lambda: topics_there(log) == {EVENTS})
    for connect in opened:
        with pytest.raises(Unavailable, match=r"has no topic t\w+\.lastseen\.control yet: run `lastseen setup`"):
            connect()
    assert topics_there(log) == {EVENTS}


def test_topics_that_go_while_they_are_used_stay_gone(auto_creating: KafkaLog) -> None:
    """Clients ask for metadata all the time: that makes no topic either."""
    log = auto_creating
    log.create(PARTITIONS)
    control, consumer, sink = log.control_reader(), log.consumer(), log.producer()
    clusters = [control._client._cluster, consumer._client._cluster, sink._producer._metadata]
    assert [sink.partitions(topic) for topic in (EVENTS, CONTROL)] == [PARTITIONS, 1]
    log._topics._admin().delete_topics(list(log._topics._names.values()))
    until(lambda: topics_there(log) == set())
    asked = [cluster.request_update() for cluster in clusters]
    for cluster in clusters:
        assert cluster.metadata_request().topics
    while not all(each.is_done for each in asked):
        with contextlib.suppress(PositionLost, Unavailable):
            consumer.poll(10, 50)
        with contextlib.suppress(PositionLost, Unavailable):
            control.read(10, 50)
    assert topics_there(log) == set()
    for client in (control, consumer, sink):
        client.close()


def test_wrong_topics_are_refused_with_the_remedy(auto_creating: KafkaLog, kafka: str) -> None:
    """As a careless client has the broker make them: control in several partitions, times of the producers."""
    log = auto_creating
    events, control = log._topics._names[EVENTS], log._topics._names[CONTROL]
    admin = log._topics._admin()
    remedy = re.escape(f"delete the topics {events} and {control}, then run `lastseen setup` again")
    several = {"num_partitions": 3, "configs": {TIMESTAMPS: "LogAppendTime"}}
    admin.create_topics({events: several, control: several}, wait_for_metadata=True)
    opened: list[Callable[[], object]] = [log.producer, log.consumer, log.control_reader, lambda: log.create(None)]
    for connect in opened:
        with pytest.raises(Invalid, match=f"control has 3 partitions and must have one.*{remedy}"):
            connect()
    with pytest.raises(ValueError, match=remedy):
        open_sink(kafka)
    assert [problem for problem in log.check() if re.search(remedy, problem)] == log.check() != []
    admin.delete_topics([events, control])
    until(lambda: topics_there(log) == set())
    log.create(PARTITIONS)
    until(lambda: log.check() == [])


def test_times_of_producers_are_refused(auto_creating: KafkaLog) -> None:
    """Setup sets an empty topic right; records keep the times that they were written with."""
    log = auto_creating
    events, control = log._topics._names[EVENTS], log._topics._names[CONTROL]
    log._topics._admin().create_topics({events: {"num_partitions": 3}, control: {"num_partitions": 1}})
    until(lambda: topics_there(log) == {EVENTS, CONTROL})
    for connect in (log.producer, log.consumer, log.control_reader):
        with pytest.raises(Invalid, match=r"events has .*=CreateTime instead of LogAppendTime: run `lastseen setup`"):
            connect()
    other = KafkaProducer(**log._address.client)  # type: ignore[no-untyped-call]
    other.send(control, value=b"written by somebody's clock", timestamp_ms=1).get(30)  # type: ignore[no-untyped-call]
    other.close()  # type: ignore[no-untyped-call]
    remedy = re.escape(f"delete the topics {events} and {control}, then run `lastseen setup` again")
    with pytest.raises(Invalid, match=f"control holds records with .*CreateTime.*{remedy}"):
        log.create(None)
    assert [problem for problem in log.check() if re.search(remedy, problem)] == log.check() != []
    log._topics._admin().delete_topics([control])
    until(lambda: topics_there(log) == {EVENTS})
    log.create(None)
    until(lambda: log.check() == [])
    log.producer().close()


def test_batches_of_other_producers_are_read(kafka: str) -> None:
    """Compressed by the producer, without keys or values, with the producer's own clock."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        assert isinstance(log, KafkaLog)
        topic = log._address.prefix + EVENTS
        sent = 0
        for compression in (None, "gzip", "lz4"):
            producer = KafkaProducer(  # type: ignore[no-untyped-call]
                **log._address.client, compression_type=compression, linger_ms=50
            )
            for i in range(50):
                producer.send(topic, value=b"%d" % i * 100, partition=0, timestamp_ms=1)  # type: ignore[no-untyped-call]
            producer.send(topic, key=b"order:1", value=None, partition=0)  # type: ignore[no-untyped-call]
            producer.close()  # type: ignore[no-untyped-call]
            sent += 51
        reader = Reader(log.consumer())
        reader.until(lambda: reader.count() == sent)
        reader.consumer.seek(0, 70)
        reader.until(lambda: reader.count() == sent + sent - 70)
        records = reader.got[0]
        assert [record.offset for record in records] == [*range(sent), *range(70, sent)]
        assert records[50][4:] == (b"order:1", b"", ())
        assert records[7][4:] == (b"", b"7" * 100, ())
        assert all(record.append_time > 1_000_000_000_000_000 for record in records), (
            "the log's time, not the producer's"
        )
        reader.consumer.close()


class _Batch:
    """As much of a batch as `read_batch` looks at."""

    base_offset = first_timestamp = max_timestamp = compression_type = 0
    timestamp_type = 1

    def __init__(self, data: bytes, count: int):
        self._buffer = b"\0" * 61 + data
        self.records_count = count

    def _maybe_uncompress(self) -> None:
        pass


def test_damaged_batches_raise_and_nothing_else() -> None:
    from kafka.errors import CorruptRecordError

    good = b"\x10\0\0\0\x02k\x02v\x00"
    assert read_batch(_Batch(good * 2, 2), EVENTS, 0)[1][4:] == (b"k", b"v", ())
    for cut in range(1, len(good)):
        with pytest.raises(CorruptRecordError):
            read_batch(_Batch(good[:cut], 1), EVENTS, 0)
    for place in range(len(good)):
        for value in (0x7F, 0x80, 0xFF):
            bad = good[:place] + bytes([value]) + good[place + 1 :]
            with contextlib.suppress(CorruptRecordError):
                read_batch(_Batch(bad, 1), EVENTS, 0)


# Security (fault 29)

SECRETS = {"LASTSEEN_KAFKA_USERNAME": USER, "LASTSEEN_KAFKA_PASSWORD": PASSWORD}


@pytest.mark.parametrize(
    ("url", "env", "expected"),
    [
        ("kafka://a:9092,b:9092/", {}, {"security_protocol": "PLAINTEXT", "bootstrap_servers": ["a:9092", "b:9092"]}),
        ("kafkas://a:9092/", {}, {"security_protocol": "SSL", "ssl_check_hostname": True}),
        (
            "kafkas://a:9092/?sasl_mechanism=PLAIN",
            SECRETS,
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"},
        ),
        (
            "kafka://a:9092/?security=SASL_PLAINTEXT&sasl_mechanism=scram-sha-256",
            SECRETS,
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_username": USER},
        ),
        (
            "kafka://a:9092/",
            {"LASTSEEN_KAFKA_SECURITY": "SSL", "LASTSEEN_KAFKA_SSL_CAFILE": __file__},
            {"security_protocol": "SSL", "ssl_cafile": __file__},
        ),
        ("kafkas://a:9092/", {"LASTSEEN_KAFKA_KEY_PASSWORD": "x"}, {"ssl_password": "x"}),
    ],
)
def test_settings_reach_the_client(url: str, env: dict[str, str], expected: dict[str, object]) -> None:
    client = read_address(url, env).client
    assert {name: client.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("url", "env"),
    [
        ("kafka://a:9092/", SECRETS),
        ("kafka://a:9092/?sasl_mechanism=PLAIN", SECRETS),
        (f"kafka://a:9092/?ssl_cafile={__file__}", {}),
        ("kafka://a:9092/", {"LASTSEEN_KAFKA_SSL_CHECK_HOSTNAME": "true"}),
        ("kafkas://a:9092/?security=PLAINTEXT", {}),
        ("kafkas://a:9092/?security=SASL_PLAINTEXT&sasl_mechanism=PLAIN", SECRETS),
        ("kafka://a:9092/?security=PLAINTEXT", SECRETS),
        ("kafka://a:9092/?security=SSL", SECRETS),
        ("kafkas://a:9092/?sasl_mechanism=PLAIN", {}),
        ("kafkas://a:9092/?sasl_mechanism=PLAIN", {"LASTSEEN_KAFKA_USERNAME": USER}),
        ("kafkas://a:9092/", SECRETS),
        ("kafkas://a:9092/?sasl_mechanism=MAGIC", SECRETS),
        ("kafkas://a:9092/?ssl_cafile=/nowhere.pem", {}),
        ("kafkas://a:9092/?ssl_check_hostname=maybe", {}),
        ("kafka://a:9092/?security=OFF", {}),
        ("kafka://a:9092/?acks=0", {}),
        ("kafka://a:9092/?prefix=a/b", {}),
        ("kafka://a:9092/topic", {}),
        ("kafka:///", {}),
        ("kafka://a b:1/", {}),
        ("kafka://a:9092/?session_timeout_ms=soon", {}),
        (f"kafka://{USER}:{PASSWORD.replace(' ', '')}@a:9092/", {}),
        (f"kafka://a:9092/?sasl_plain_password={PASSWORD.replace(' ', '')}", {}),
    ],
)
def test_closed_by_default(url: str, env: dict[str, str]) -> None:
    for opened in (open_sink, open_log):
        with pytest.raises(ValueError, match=r".") as refused:
            opened(url, env)
        assert PASSWORD.replace(" ", "") not in str(refused.value)
        assert PASSWORD not in str(refused.value)
    with pytest.raises(Invalid):
        open_log(url, env)


def test_a_secret_prints_as_nothing() -> None:
    secret = Secret(PASSWORD)
    shown = f"{secret} {secret!r} {[secret]} {{'a': {secret!s}}} %s" % secret
    assert PASSWORD not in shown
    assert secret == PASSWORD
    assert "\0".join([secret]).encode() == PASSWORD.encode()


@pytest.fixture
def ours(kafka_broker: dict[str, str]) -> dict[str, str]:
    if "sasl" not in kafka_broker:
        pytest.skip("LASTSEEN_TEST_KAFKA: its listeners are not known")
    if not kafka_broker["ca"]:
        pytest.skip("openssl is not installed")
    return kafka_broker


@pytest.mark.parametrize("tls", [False, True])
def test_real_credentials(ours: dict[str, str], tls: bool, caplog: pytest.LogCaptureFixture) -> None:
    """All three clients authenticate; a wrong password gets nowhere; no log line has the password in it."""
    caplog.set_level(logging.DEBUG)
    prefix = f"t{uuid.uuid4().hex[:12]}."
    url = f"kafka://{ours['sasl']}/?security=SASL_PLAINTEXT&sasl_mechanism=PLAIN&prefix={prefix}"
    if tls:
        url = f"kafkas://{ours['tls']}/?sasl_mechanism=PLAIN&ssl_cafile={ours['ca']}&prefix={prefix}"
    with contextlib.closing(open_log(url, SECRETS)) as log:
        log.create(PARTITIONS)
        with contextlib.closing(log.producer()) as sink:
            sink.produce([event("order:1", b"in secret"), Record(CONTROL, b"k", b"v")])
        reader = Reader(log.consumer())
        reader.until(lambda: reader.values() == [b"in secret"])
        reader.consumer.close()
        control = log.control_reader()
        assert [record.value for record in control.read(10, 10_000)] == [b"v"]
        control.close()
    with (
        contextlib.closing(open_log(url, SECRETS | {"LASTSEEN_KAFKA_PASSWORD": "wrong"})) as log,
        pytest.raises(Unavailable),
    ):
        log.producer()
    assert PASSWORD not in caplog.text


def test_no_certificate_no_connection(ours: dict[str, str]) -> None:
    """A broker that nobody we trust vouches for, one without TLS at all, and TLS spoken to in plaintext."""
    for url in (
        f"kafkas://{ours['tls']}/?sasl_mechanism=PLAIN",
        f"kafkas://{ours['sasl']}/?sasl_mechanism=PLAIN&ssl_cafile={ours['ca']}",
    ):
        with pytest.raises(Unavailable):
            open_sink(url, SECRETS)


def test_kafka_says_for_how_long_it_keeps_what_was_appended(kafka: str) -> None:
    """Retention, and the time for which a segment stays open; None where the topic keeps all for ever."""
    log = open_log(kafka)
    assert isinstance(log, KafkaLog)
    try:
        log.create(1)
        name = log._address.prefix + EVENTS
        for retention, kept in (("3600000", 3600 + 600 + 300), ("-1", None)):
            setting = {"retention.ms": retention, "segment.ms": "600000"}
            resource = ConfigResource(ConfigResourceType.TOPIC, name, setting)  # type: ignore[no-untyped-call]
            log._topics._admin().alter_configs([resource])
            wanted = None if kept is None else kept * 1_000_000
            until(lambda wanted=wanted: log.retention() == wanted)  # type: ignore[misc]
    finally:
        log.close()


def test_added_partitions_reach_who_hardly_waits(kafka: str) -> None:
    """The join ends between two polls; the leader's own assignment had taken away the reason for it."""
    with contextlib.closing(open_log(kafka)) as log:
        log.create(PARTITIONS)
        with contextlib.closing(log.consumer()) as consumer:
            until(lambda: (consumer.poll(100, 0), consumer.take_changes(), len(consumer.assignment()) == PARTITIONS)[2])
            log.extend(PARTITIONS + 3)
            until(lambda: (consumer.poll(100, 0), consumer.take_changes(), len(consumer.assignment()) > PARTITIONS)[2])
            assert consumer.assignment() == frozenset(range(PARTITIONS + 3))
