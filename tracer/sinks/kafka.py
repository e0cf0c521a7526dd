"""Produces to Kafka: acknowledged by all in-sync replicas, idempotent, bounded.

kafka-python runs its own thread and calls back on it; outcomes are queued here and reported on the caller's. A producer of its
that has given up for ever, or brings nothing through any more, is replaced, and what it owed is unavailable: whoever sent it sends
it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors
from kafka.producer.transaction_manager import TransactionState

from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS, Ack, Record
from tracer.sinks.contract import OnAck, OnError, Pending, place, settled
from tracer.sinks.kafka_config import read_address, unavailable
from tracer.sinks.kafka_topics import create_none, require_topics

log = logging.getLogger("lastseen")

MAX_PENDING = 20_000
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""kafka-python 3 bounds its buffer by nothing; these do. Beyond either, `KafkaSink.send` refuses."""
SILENT = 75.0
"""Seconds after which a producer is not waited for that has not said what became of a record, or has brought none through: more
than it may take to give one up (``delivery_timeout_ms`` and a request's own)."""
ANEW_EVERY = 30.0
"""Seconds between attempts to replace one; each may take ``bootstrap_timeout_ms``. One that has had an answer since it was made is
replaced at once."""
TOO_LARGE = kafka_errors.MessageSizeTooLargeError | kafka_errors.RecordListTooLargeError

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
        self._outcomes: deque[tuple[Pending, Ack | Exception]] = deque()
        self._underway: dict[Pending, tuple[int, float]] = {}
        self._underway_bytes = 0
        self._news = threading.Event()
        self._waiting_since: float | None = None
        self._tried = -ANEW_EVERY
        self._too_large: Exception | None = None
        self._handing = self._closed = False
        require_topics(self._address)
        self._producer = self._connected()

    def _connected(self) -> Any:
        try:
            producer = KafkaProducer(**self._address.client, **PRODUCER)  # type: ignore[no-untyped-call]
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from error
        create_none(producer._metadata)
        return producer

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
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._renew()
        self._handing = True
        try:
            future = self._producer.send(
                self._topics[record.topic],
                value=record.value,
                key=record.key,
                headers=list(record.headers),
                partition=partition,
            )
            self._underway[pending] = (size, time.monotonic())
            self._underway_bytes += size
            future.add_callback(self._acknowledged, pending, record.topic)
            future.add_errback(self._failed, pending, size)
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from error
        finally:
            self._handing = False
        return pending

    def _make_room(self, size: int) -> None:
        if self._full(size):
            self.poll()
            if self._full(size):
                raise Unavailable(f"{self.name}: {len(self._underway)} records are not acknowledged yet")

    def _full(self, size: int) -> bool:
        return len(self._underway) >= MAX_PENDING or self._underway_bytes + size > MAX_PENDING_BYTES

    def _acknowledged(self, pending: Pending, topic: str, metadata: Any) -> None:
        """On kafka-python's thread. An acknowledgement without an offset (of a doubled batch, long past) proves nothing."""
        outcome: Ack | Exception
        if metadata.offset < 0:
            outcome = Unavailable(f"{self.name}: acknowledged without saying where")
        else:
            outcome = Ack(topic, metadata.partition, metadata.offset, metadata.timestamp * 1000)
        self._outcomes.append((pending, outcome))
        self._news.set()

    def _failed(self, pending: Pending, size: int, error: Exception) -> None:
        """On kafka-python's thread.

        A record that the broker finds too large is split off from its batch, fails alone, and its error, the very same object, is
        what kafka-python then gives up all others with, those that are sent afterwards too: the first that has it is the large one.
        While a record is handed over that one may be it, and not have been told of yet: none is blamed, and all are sent again.
        """
        outcome: Exception = unavailable(self.name, error)
        if isinstance(error, TOO_LARGE) and error is not self._too_large:
            self._too_large = error
            if not self._handing:
                outcome = ValueError(f"{self.name}: the broker takes no record of {size} bytes")
        self._outcomes.append((pending, outcome))
        self._news.set()

    def _renew(self) -> None:
        """Replace a producer of which nothing more is to be expected. Nothing is done while no broker is there to connect to."""
        if self._closed:
            return
        now = time.monotonic()
        self._ask_for_an_id()
        gave_up = self._producer._transaction_manager.has_fatal_error()
        _, oldest = next(iter(self._underway.values()), (0, now))
        if not (gave_up or now - min(oldest, self._waiting_since or now) > SILENT) or now - self._tried < ANEW_EVERY:
            return
        self._tried = now
        try:
            fresh = self._connected()
        except Unavailable:
            return
        old, self._producer = self._producer, fresh
        self._let_go(old)
        self._take_outcomes()
        # Its thread ends by itself, and fails what it has: that is given back here, and said why.
        old._sender.force_close()
        self._waiting_since = None
        why = Unavailable(
            f"{self.name}: its client {'gave up' if gave_up else 'brought nothing through any more'} and was replaced"
        )
        log.warning("%s; records to send again: %d", why, len(self._underway))
        self._give_back(why)

    def _give_back(self, why: Unavailable) -> None:
        owed, self._underway, self._underway_bytes = list(self._underway), {}, 0
        for pending in reversed(owed):
            pending.settle(why)

    def _ask_for_an_id(self) -> None:
        """kafka-python 3.0.12 drops its producer id where a record that was sent once is given up, and asks for another only in the
        state that it begins in: without this it never sends again, and tells of nothing that waits."""
        manager = self._producer._transaction_manager
        if manager.has_producer_id():
            return  # The lock is taken for every record otherwise.
        with manager._lock:
            if manager._current_state is TransactionState.READY and not manager.has_producer_id():
                manager._current_state = TransactionState.UNINITIALIZED

    @staticmethod
    def _let_go(producer: Any) -> None:
        """Nothing of it flushes or closes at exit."""
        producer._unregister_cleanup()
        producer._closed = True

    def send_many(
        self, records: Iterable[Record], on_ack: OnAck | None = None, on_error: OnError | None = None
    ) -> list[Pending]:
        return [self.send(record, on_ack, on_error) for record in records]

    def poll(self) -> int:
        self._take_outcomes()
        if self._underway:
            self._renew()
        return len(self._underway)

    def _take_outcomes(self) -> None:
        """Those of a producer that was replaced are of nothing that is under way."""
        back: list[tuple[float, Pending, Unavailable]] = []
        try:
            while self._outcomes:
                pending, outcome = self._outcomes.popleft()
                size, handed = self._underway.pop(pending, (0, None))
                self._underway_bytes -= size
                if handed is None:
                    continue
                if isinstance(outcome, Unavailable):
                    back.append((handed, pending, outcome))
                    continue
                self._waiting_since = time.monotonic() if self._underway else None
                self._tried = -ANEW_EVERY
                pending.settle(outcome)
        finally:
            for _, pending, outcome in sorted(back, key=lambda one: one[0], reverse=True):
                pending.settle(outcome)

    def flush(self, timeout: float = 30.0) -> None:
        self._wait(timeout, lambda: not self._underway)

    def _wait(self, timeout: float, done: Callable[[], bool]) -> None:
        """Not kafka-python's own flush: its timeout runs anew for every batch."""
        deadline = time.monotonic() + timeout
        while True:
            self._news.clear()
            self.poll()
            if done():
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(f"{self.name}: {len(self._underway)} records were not acknowledged in {timeout:g} s")
            self._news.wait(min(left, 1.0))

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        pendings = self.send_many(records)
        self._wait(timeout, lambda: all(pending.done for pending in pendings))
        return settled(pendings, self.name)

    def abandon(self) -> None:
        """In a forked child: connections and threads are the parent's, so nothing here flushes or closes them at exit."""
        self._let_go(self._producer)

    def close(self) -> None:
        self._closed = True
        try:
            self._producer.close(timeout=5)
        except kafka_errors.KafkaTimeoutError:
            # Its flush gave up before anything was closed: without what is under way there is nothing to wait for.
            self._producer._sender.force_close()
            self._producer._sender.join(5)
            self._producer.close(timeout=0)
        self._take_outcomes()
        self._give_back(Unavailable(f"{self.name}: closed before the acknowledgement"))
