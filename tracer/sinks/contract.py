"""`Sink`, the producing side of an event log.

Laws, held by one suite for every adapter:

- A record is acknowledged once it is durable (Kafka: by all in-sync replicas, idempotently; SQLite: committed), with
  the offset it got and the log's own append time. Neither is ever a guess of the producer.
- Within a partition, records land in the order in which they were handed over, retries included.
- A record is either acknowledged, or its error is reported; never both, never neither. After an error it may still
  have landed: whoever retries may double it, and readers tell by event id.
- Of several that became unavailable, the last that was handed over is reported first: put back in front of what waits, one by
  one, they stand in order again.
- Callbacks run on the caller's thread, inside a method of the sink, never on one of the client's own threads: neither
  the emitter nor the worker needs a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from tracer.errors import Unavailable
from tracer.record import Ack, Record, partition_of

MAX_VALUE = 1_000_000
"""Bytes that a record's value may have, on every log: Kafka's own limit for a message, less room for key and headers."""

OnAck = Callable[[Ack], None]
OnError = Callable[[Exception], None]


class Pending:
    """One record on its way. Done when exactly one of ``ack`` and ``error`` is set."""

    __slots__ = ("_on_ack", "_on_error", "ack", "error")

    def __init__(self, on_ack: OnAck | None = None, on_error: OnError | None = None):
        self.ack: Ack | None = None
        self.error: Exception | None = None
        self._on_ack = on_ack
        self._on_error = on_error

    @property
    def done(self) -> bool:
        return self.ack is not None or self.error is not None

    def settle(self, outcome: Ack | Exception) -> None:
        """For adapters: note the outcome and tell whoever asked to be told."""
        if isinstance(outcome, Ack):
            self.ack = outcome
            if self._on_ack is not None:
                self._on_ack(outcome)
        else:
            self.error = outcome
            if self._on_error is not None:
                self._on_error(outcome)


class Sink(Protocol):
    """Where records go."""

    @property
    def name(self) -> str:
        """The log, for messages to people; without secrets."""
        ...

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has (control: 1).

        Raises:
            Unavailable: the log cannot be asked, or does not have the topic yet.
        """
        ...

    def send(self, record: Record, on_ack: OnAck | None = None, on_error: OnError | None = None) -> Pending:
        """Hand one record over without waiting for the log. Outcomes are reported by later calls, `poll` at the latest.

        Raises:
            Unavailable: no room for it, or the log is known to be away; the record was not taken.
            ValueError: the record can never be taken (too large, no such topic or partition).
        """
        ...

    def send_many(
        self, records: Iterable[Record], on_ack: OnAck | None = None, on_error: OnError | None = None
    ) -> list[Pending]:
        """`send`, one after the other."""
        ...

    def poll(self) -> int:
        """Report what is known of records under way, without waiting. Returns how many are still under way."""
        ...

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until nothing is under way.

        Args:
            timeout: seconds.

        Raises:
            Unavailable: something still is, after that time.
        """
        ...

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        """Send and wait for every acknowledgement, in the order given.

        Raises:
            Unavailable: not all were acknowledged. Some may have landed: produce all again.
            ValueError: as for `send`.
        """
        ...

    def close(self) -> None:
        """Let go of the log. What is still under way is given a moment, then reported as an error."""
        ...


def place(record: Record, partitions: Mapping[str, int]) -> int:
    """The partition that a record goes to, given how many each topic has; raises ValueError where it can go nowhere."""
    count = partitions.get(record.topic)
    if count is None:
        raise ValueError(f"no topic {record.topic!r}")
    if len(record.value) > MAX_VALUE:
        raise ValueError(f"a record of {len(record.value)} bytes; at most {MAX_VALUE} are taken")
    partition = partition_of(record.key, count) if record.partition is None else record.partition
    if not 0 <= partition < count:
        raise ValueError(f"{record.topic} has no partition {partition}")
    return partition


def settled(pendings: Sequence[Pending], name: str) -> list[Ack]:
    """The acknowledgements, if all are there; else raises the first error, or `Unavailable` for those still open."""
    for pending in pendings:
        if pending.error is not None:
            raise pending.error
    acks = [pending.ack for pending in pendings if pending.ack is not None]
    if len(acks) != len(pendings):
        raise Unavailable(
            f"{name}: {len(pendings) - len(acks)} of {len(pendings)} records were not acknowledged in time"
        )
    return acks
