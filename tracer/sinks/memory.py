"""A log in memory: for tests, simulation and the law suites. `MemoryBroker` is what producers and consumers share."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS, Ack, Headers, Record
from tracer.sinks.contract import OnAck, OnError, Pending, place, settled


class Stored(NamedTuple):
    """A record as the broker keeps it; its offset is its place in the partition."""

    append_time: int
    key: bytes
    value: bytes
    headers: Headers


def wall_clock() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class MemoryPartition:
    """Rows from offset ``first`` on; what was before is trimmed."""

    __slots__ = ("first", "rows")

    def __init__(self) -> None:
        self.first = 0
        self.rows: list[Stored] = []

    @property
    def end(self) -> int:
        return self.first + len(self.rows)

    def trim(self, before: int) -> None:
        gone = max(0, min(before, self.end) - self.first)
        del self.rows[:gone]
        self.first += gone


class MemoryBroker:
    """Both topics, an append clock, and switches for faults. Not for several threads.

    Attributes:
        down: nothing is taken and nothing can be asked (`Unavailable`), as when the network is cut.
        lose_acks: records are taken, but their producers hear an error: the acknowledgement was lost on its way.
        hold_acks: records are taken; producers hear of it only when the switch is off again and they poll.
        away: topics that take nothing and say nothing, as without a leader, while the others go on.
        only: where `lose_acks` and `hold_acks` apply.
    """

    def __init__(self, partitions: int = 4, clock: Callable[[], int] = wall_clock):
        self.clock = clock
        self.topics = {EVENTS: [MemoryPartition() for _ in range(partitions)], CONTROL: [MemoryPartition()]}
        self.down = False
        self.lose_acks = False
        self.hold_acks = False
        self.away: set[str] = set()
        self.only = {EVENTS, CONTROL}
        self._last = 0

    def require(self, topic: str = "") -> None:
        """Raises Unavailable while the broker, or the topic, is away."""
        if self.down or topic in self.away:
            raise Unavailable("the log in memory is switched off")

    def append(self, record: Record) -> Ack:
        """Take a record. Append time never goes backwards, whatever the clock does."""
        self.require(record.topic)
        sizes = {name: len(partitions) for name, partitions in self.topics.items()}
        partition = place(record, sizes)
        self._last = max(self._last, self.clock())
        there = self.topics[record.topic][partition]
        there.rows.append(Stored(self._last, bytes(record.key), bytes(record.value), tuple(record.headers)))
        return Ack(record.topic, partition, there.end - 1, self._last)


class MemorySink:
    """Produces to a `MemoryBroker`; acknowledged within `send`, unless the broker holds acknowledgements back."""

    name = "the log in memory"

    def __init__(self, broker: MemoryBroker):
        self.broker = broker
        self._held: deque[tuple[Pending, Ack]] = deque()

    def partitions(self, topic: str) -> int:
        self.broker.require(topic)
        return len(self.broker.topics[topic])

    def send(self, record: Record, on_ack: OnAck | None = None, on_error: OnError | None = None) -> Pending:
        pending = Pending(on_ack, on_error)
        ack = self.broker.append(record)
        faulty = record.topic in self.broker.only
        if self.broker.lose_acks and faulty:
            pending.settle(Unavailable("the acknowledgement was lost"))
        elif self.broker.hold_acks and faulty:
            self._held.append((pending, ack))
        else:
            pending.settle(ack)
        return pending

    def send_many(
        self, records: Iterable[Record], on_ack: OnAck | None = None, on_error: OnError | None = None
    ) -> list[Pending]:
        return [self.send(record, on_ack, on_error) for record in records]

    def poll(self) -> int:
        while self._held and not (self.broker.hold_acks or self.broker.down):
            pending, ack = self._held.popleft()
            pending.settle(ack)
        return len(self._held)

    def flush(self, timeout: float = 30.0) -> None:  # noqa: ARG002
        if self.poll():
            raise Unavailable("acknowledgements are held back")

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:  # noqa: ARG002
        pendings = self.send_many(records)
        self.poll()
        return settled(pendings, self.name)

    def close(self) -> None:
        self.poll()
        while self._held:
            self._held.pop()[0].settle(Unavailable("closed before the acknowledgement"))
