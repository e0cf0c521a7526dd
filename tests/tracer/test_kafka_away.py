"""A real Kafka: not there at the start, then stopped for longer than a record may be on its way, and back again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracer
import tracer.sender
import tracer.sinks.kafka
from pipeline.log import open_log
from schemas.control import Goodbye
from tests.contract.test_log import event
from tests.kafka_broker import Broker, NoBroker
from tests.tracer.support import read_log, until
from tracer.errors import Unavailable
from tracer.record import Record
from tracer.sinks.kafka import KafkaSink

# Of half a minute each in real life: with these an outage of eight seconds is one of minutes.
SHORT = {
    "bootstrap_timeout_ms": 1_000,
    "max_block_ms": 1_000,
    "request_timeout_ms": 1_500,
    "delivery_timeout_ms": 3_000,
}


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    if os.environ.get("LASTSEEN_TEST_KAFKA"):
        pytest.skip("the broker is not ours to stop")
    monkeypatch.setattr(tracer.sinks.kafka, "PRODUCER", {**tracer.sinks.kafka.PRODUCER, **SHORT})
    monkeypatch.setattr(tracer.sender, "LONGEST_PAUSE", 0.5)
    made = Broker(tmp_path / "kafka", heap="256m")
    try:
        yield made
    finally:
        tracer.close(0.0)
        made.stop()


def start(broker: Broker) -> None:
    """Without Maven or Java: skipped on a laptop, failed in CI."""
    try:
        broker.start()
    except NoBroker as reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Kafka: {reason}")
        pytest.skip(f"no Kafka: {reason}")


def sent() -> bool:
    stats = tracer.stats()
    return not (stats["queued"] or stats["unacknowledged"])


def report(first: int, last: int) -> None:
    for number in range(first, last):
        with tracer.transaction(order=number), tracer.step("placed"):
            pass


def test_an_outage_costs_the_application_nothing_and_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    url = f"kafka://{broker.address}/"
    tracer.init("shop", url, source="shop-1", spool=tmp_path / "spool", transaction_types=["order"])
    report(0, 100)
    until(lambda: tracer.stats()["spooled"] > 0)
    start(broker)
    with contextlib.closing(open_log(url)) as log:
        log.create(3)
    until(sent, 60)
    broker.stop()
    report(100, 1100)
    until(lambda: tracer.stats()["unacknowledged"] == 2000)
    agent = tracer._agent
    assert agent is not None
    sender = agent._run.sender
    assert sender is not None
    until(lambda: bool(sender.relay and sender.relay._waiting), 30)
    assert list((tmp_path / "spool").rglob("*.spool")), "what is under way stands on disk until it is acknowledged"
    start(broker)
    assert tracer.close(60)
    found = read_log(url)
    assert {event["keys"]["order"] for event in found.events} == {str(number) for number in range(1100)}
    (goodbye,) = found.of(Goodbye)
    assert (goodbye.sent, goodbye.shed, goodbye.accounted) == (2200, 0, 2200)
    assert {event["seq"] for event in found.events} == set(range(1, 2201))
    assert not list((tmp_path / "spool").rglob("*.spool"))


def test_a_record_given_up_after_it_was_sent_does_not_end_all_sending(broker: Broker) -> None:
    """kafka-python then drops its producer id, since the broker may have the record or not, and asks for no other one."""
    start(broker)
    with contextlib.closing(open_log(f"kafka://{broker.address}/")) as log:
        log.create(1)
        with contextlib.closing(log.producer()) as sink:
            assert isinstance(sink, KafkaSink)
            sink.produce([event("order:1", b"first", 0)])
            assert broker.pid is not None
            os.kill(broker.pid, signal.SIGSTOP)
            under_way = sink.send(event("order:1", b"under way", 0))
            until(lambda: (sink.poll(), under_way.done)[1], 20)
            assert isinstance(under_way.error, Unavailable)
            os.kill(broker.pid, signal.SIGCONT)
            # Well before a client that brings nothing through is replaced.
            until(lambda: taken(sink, event("order:1", b"next", 0)), 50)


def taken(sink: KafkaSink, record: Record) -> bool:
    """Whether the broker has it by now; what an id was asked for while it stood still may fail once more."""
    with contextlib.suppress(Unavailable):
        return bool(sink.produce([record], timeout=20))
    return False
