"""Produces to Kafka: acknowledged by all in-sync replicas, idempotent, bounded.

kafka-python runs its own thread and calls back on it; outcomes are queued here and reported on the caller's.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS, Ack, Record
from tracer.sinks.contract import OnAck, OnError, Pending, place, settled
from tracer.sinks.kafka_config import read_address, unavailable
from tracer.sinks.kafka_topics import create_none, require_topics

MAX_PENDING = 20_000
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""kafka-python 3 bounds its buffer by nothing; these do. Beyond either, `KafkaSink.send` refuses."""

PRODUCER = {
    "acks": "all",
    "enable_idempotence": True,
    "bootstrap_timeout_ms": 5_000,
    "max_block_ms": 10_000,
    "request_timeout_ms": 15_000,
    "delivery_timeout_ms": 30_000,
    "linger_ms": 2,
    "batch_size": 256 * 1024,
    "reconnect_backoff_max_ms": 1_000,
    "metrics_enabled": False,
}


class KafkaSink:
    """A producer for both topics, which must be there and right. See `tracer.sinks.kafka_config` for the address."""

    def __init__(self, url: str, env: Mapping[str, str] | None = None):
        self._address = read_address(url, env)
        self.name = self._address.name
        self._topics = {topic: self._address.prefix + topic for topic in (EVENTS, CONTROL)}
        self._partitions: dict[str, int] = {}
        self._outcomes: deque[tuple[Pending, Ack | Exception, int]] = deque()
        self._pending = 0
        self._pending_bytes = 0
        self._news = threading.Event()
        require_topics(self._address)
        try:
            self._producer: Any = KafkaProducer(**self._address.client, **PRODUCER)  # type: ignore[no-untyped-call]
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from error
        create_none(self._producer._metadata)

    def partitions(self, topic: str) -> int:
        if topic not in self._topics:
            raise ValueError(f"no topic {topic!r}")
        if topic not in self._partitions:
            try:
                self._partitions[topic] = len(self._producer.partitions_for(self._topics[topic]))
            except kafka_errors.KafkaTimeoutError as error:
                raise Unavailable(f"{self.name}: no answer, or no topic {self._topics[topic]}") from error
            except kafka_errors.KafkaError as error:
                raise unavailable(self.name, error) from error
        return self._partitions[topic]

    def send(self, record: Record, on_ack: OnAck | None = None, on_error: OnError | None = None) -> Pending:
        if record.topic in self._topics:
            self.partitions(record.topic)
        partition = place(record, self._partitions)
        size = len(record.value) + len(record.key) + 200
        self._make_room(size)
        pending = Pending(on_ack, on_error)
        try:
            future = self._producer.send(
                self._topics[record.topic],
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=partition,
            )
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from error
        self._pending += 1
        self._pending_bytes += size
        future.add_callback(self._acknowledged, pending, record.topic, size)
        future.add_errback(self._failed, pending, size)
        return pending

    def _make_room(self, size: int) -> None:
        if self._pending >= MAX_PENDING or self._pending_bytes + size > MAX_PENDING_BYTES:
            self.poll()
            if self._pending >= MAX_PENDING or self._pending_bytes + size > MAX_PENDING_BYTES:
                raise Unavailable(f"{self.name}: {self._pending} records are not acknowledged yet")

    def _acknowledged(self, pending: Pending, topic: str, size: int, metadata: Any) -> None:
        """On kafka-python's thread. An acknowledgement without an offset (of a doubled batch, long past) proves nothing."""
        outcome: Ack | Exception
        if metadata.offset < 0:
            outcome = Unavailable(f"{self.name}: acknowledged without saying where")
        else:
            outcome = Ack(topic, metadata.partition, metadata.offset, metadata.timestamp * 1000)
        self._outcomes.append((pending, outcome, size))
        self._news.set()

    def _failed(self, pending: Pending, size: int, error: Exception) -> None:
        """On kafka-python's thread."""
        if isinstance(error, kafka_errors.MessageSizeTooLargeError | kafka_errors.RecordListTooLargeError):
            outcome: Exception = ValueError(f"{self.name}: the broker takes no record of {size} bytes")
        else:
            outcome = unavailable(self.name, error)
        self._outcomes.append((pending, outcome, size))
        self._news.set()

    def send_many(
        self, records: Iterable[Record], on_ack: OnAck | None = None, on_error: OnError | None = None
    ) -> list[Pending]:
        return [self.send(record, on_ack, on_error) for record in records]

    def poll(self) -> int:
        outcomes = self._outcomes
        while outcomes:
            pending, outcome, size = outcomes.popleft()
            self._pending -= 1
            self._pending_bytes -= size
            pending.settle(outcome)
        return self._pending

    def flush(self, timeout: float = 30.0) -> None:
        self._wait(timeout, lambda: self._pending == 0)

    def _wait(self, timeout: float, done: Callable[[], bool]) -> None:
        """Not kafka-python's own flush: its timeout runs anew for every batch."""
        deadline = time.monotonic() + timeout
        while True:
            self._news.clear()
            self.poll()
            if done():
                return
            if not self._news.wait(max(0.0, deadline - time.monotonic())):
                raise Unavailable(f"{self.name}: {self._pending} records were not acknowledged in {timeout:g} s")

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        pendings = self.send_many(records)
        self._wait(timeout, lambda: all(pending.done for pending in pendings))
        return settled(pendings, self.name)

    def abandon(self) -> None:
        """In a forked child: connections and threads are the parent's, so nothing here flushes or closes them at exit."""
        self._producer._unregister_cleanup()
        self._producer._closed = True

    def close(self) -> None:
        try:
            self._producer.close(timeout=5)
        except kafka_errors.KafkaTimeoutError:
            # Its flush gave up before anything was closed: without what is under way there is nothing to wait for.
            self._producer._sender.force_close()
            self._producer._sender.join(5)
            self._producer.close(timeout=0)
        self.poll()
