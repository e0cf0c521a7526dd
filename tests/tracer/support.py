"""What the tests of the tracer share: reading a log back as a worker would, and holding events against the published schema."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema

import tracer
from pipeline.log import open_log
from pipeline.log.memory import MemoryLog
from schemas.control import Control, Goodbye, Hello, Marker, decode_control
from schemas.wire import decompress
from tracer.errors import Unavailable
from tracer.record import CONTROL, ENCODING, EPOCH, EVENTS, REASON, SEQ, SOURCE, Ack, Headers, Record
from tracer.reporter import Reporter
from tracer.sinks.contract import OnAck, OnError, Pending, settled
from tracer.sinks.memory import MemoryBroker, MemorySink
from tracer.transaction import Transaction

REPOSITORY = Path(__file__).parents[2]
SCHEMA = json.loads((REPOSITORY / "schemas" / "json" / "event.json").read_text())
_validator = jsonschema.Draft202012Validator(SCHEMA)
Event = dict[str, Any]


class Read(NamedTuple):
    """A log, read from its beginning. ``aside``: (reason, body) of what made no event."""

    events: list[Event]
    aside: list[tuple[str, bytes]]
    control: list[Control]

    @property
    def ids(self) -> set[str]:
        return {event["id"] for event in self.events}

    def of(self, kind: type[Any], source: str | None = None) -> list[Any]:
        return [said for said in self.control if isinstance(said, kind) and source in (None, said.source)]

    def last(self) -> dict[tuple[str, int], Marker | Goodbye]:
        """The last that each epoch said of how far it is."""
        return {(said.source, said.epoch): said for said in self.control if isinstance(said, Marker | Goodbye)}


def valid(event: Event) -> Event:
    """As the published schema has it; fails where it is not."""
    _validator.validate(event)
    return event


def _take(read: Read, topic: str, value: bytes, headers: Headers) -> None:
    if topic == CONTROL:
        read.control.append(decode_control(value))
        return
    said = dict(headers)
    if REASON in said:
        read.aside.append((said[REASON].decode(), value))
        return
    for line in decompress(value, said.get(ENCODING)).split(b"\n"):
        event = valid(json.loads(line))
        read.events.append({**event, "source": said[SOURCE].decode(), "epoch": int(said[EPOCH])})
    assert list(said)[-1] == SEQ


def read_memory(broker: MemoryBroker) -> Read:
    read = Read([], [], [])
    for topic in (EVENTS, CONTROL):
        for partition in broker.topics[topic]:
            for row in partition.rows:
                _take(read, topic, row.value, row.headers)
    return read


def read_log(url: str) -> Read:
    """Of any log that has an address."""
    read = Read([], [], [])
    with contextlib.closing(open_log(url)) as log:
        with contextlib.closing(log.control_reader()) as control:
            while control.position() < control.end_offset():
                for record in control.read(1000, 500):
                    _take(read, CONTROL, record.value, record.headers)
        with contextlib.closing(log.consumer("reading back")) as consumer:
            missing = set(range(log.partitions()))
            while missing:
                for records in consumer.poll(5000, 200).values():
                    for record in records:
                        _take(read, EVENTS, record.value, record.headers)
                consumer.take_changes()
                missing = {
                    number
                    for number, end in consumer.end_offsets(range(log.partitions())).items()
                    if number not in consumer.assignment() or consumer.position(number) < end
                }
    return read


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for it; fails when it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class LateSink(MemorySink):
    """As Kafka's: outcomes are heard of by `poll`, and not within ``delay`` µs of the broker's clock."""

    def __init__(self, broker: MemoryBroker, delay: int):
        super().__init__(broker)
        self._delay = delay
        self._late: deque[tuple[int, Pending, Ack | Unavailable]] = deque()

    def send(self, record: Record, on_ack: OnAck | None = None, on_error: OnError | None = None) -> Pending:
        pending = Pending(on_ack, on_error)
        ack = self.broker.append(record)
        lost = self.broker.lose_acks and record.topic in self.broker.only
        outcome = Unavailable("the acknowledgement was lost") if lost else ack
        self._late.append((self.broker.clock() + self._delay, pending, outcome))
        return pending

    def _tell(self, until: int) -> int:
        while self._late and self._late[0][0] <= until and not (self.broker.hold_acks or self.broker.down):
            _, pending, outcome = self._late.popleft()
            pending.settle(outcome)
        return len(self._late)

    def poll(self) -> int:
        return self._tell(self.broker.clock())

    def flush(self, timeout: float = 30.0) -> None:
        if self._tell(2**62):
            raise Unavailable("acknowledgements are held back")

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        pendings = self.send_many(records)
        with contextlib.suppress(Unavailable):
            self.flush(timeout)
        return settled(pendings, self.name)

    def close(self) -> None:
        while self._late:
            self._late.popleft()[1].settle(Unavailable("closed before the acknowledgement"))


class Shop:
    """A reporter whose events are kept in a list, as the JSON that would be sent."""

    def __init__(self, **options: Any):
        self.now = 1_750_000_000_000_000
        self.handed: list[tuple[str, Event]] = []
        self.aside: list[tuple[str, bytes]] = []
        self.reporter = Reporter(self._take, "shop", lambda: self.now, **options)

    def _take(self, handed: Any) -> None:
        if handed.reason:
            self.aside.append((handed.reason, handed.line(1)))
        else:
            event = valid(json.loads(handed.line(1)))
            assert event.pop("seq") == 1
            self.handed.append((handed.key, event))

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.handed]

    def said(self, *fields: str) -> list[tuple[Any, ...]]:
        """Of each event step, phase, and what else is asked."""
        return [(event["step"], event["phase"], *(event.get(field) for field in fields)) for event in self.events]

    def transaction(self, **keys: Any) -> Transaction:
        return Transaction(self.reporter, keys)


@contextlib.contextmanager
def instrumented(**options: Any) -> Iterator[MemoryBroker]:
    """A process that is instrumented, with a log in memory and no spool; closed at the end."""
    broker = MemoryLog(2).broker
    tracer.init("shop", lambda: MemorySink(broker), source="shop-1", **{"spool": "", **options})
    try:
        yield broker
    finally:
        tracer.close(5.0)


__all__ = ["Control", "Goodbye", "Hello", "Marker"]
