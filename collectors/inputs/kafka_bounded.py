"""Records as kafka-python makes them, within bounds: batches that become too much are set aside, and a poll takes so many bytes.

It takes its place inside the client's fetcher, as the worker's reader does. What is damaged behind a good checksum came so from
its producer and will come so again: the rest of that batch is set aside too. A bad checksum stays an error, and is fetched anew.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError

from collectors.inputs.record import MAX_RAW, Unreadable
from tracer.kafka_bounds import Allowance, Refused, SetAside, unpack

MAX_POLL_BYTES = 16 * 1024 * 1024
"""Of records that one poll hands out; it hands out one at the least."""
MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of a message; a format may make ten times that of it. Brokers take 1 MiB where they are left as they come."""
_EACH = 200
"""Of a record beside its key, value and headers; each of these is -1 where there is none."""
_DAMAGE = (Refused, CorruptRecordError, ValueError, IndexError, AssertionError, struct.error)


class BoundedRecords(Fetcher.PartitionRecords):
    """One partition's part of one fetch response. Where a record's value is a `SetAside`, it stands for several."""

    allowance = Allowance(MAX_POLL_BYTES)
    """Of this reader's polls; set in a subclass per reader."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **options: Any):
        super().__init__(fetch_offset, tp, _Batches(records, tp), **options)  # type: ignore[no-untyped-call]

    def take(self, n: int | None = None) -> list[Any]:
        """Up to ``n`` records. What a poll may not take any more is dropped here and fetched again, as is what comes after
        an error: kafka-python would ask a generator that has ended, for ever."""
        out: list[Any] = []
        left = self.allowance.left
        try:
            if left > 0:
                for one in islice(self.record_iterator, n):
                    out.append(one)
                    left -= _EACH + one.serialized_key_size + one.serialized_value_size + one.serialized_header_size
                    if left <= 0:
                        break
        except Exception:
            self.drain()  # type: ignore[no-untyped-call]
            if not out:
                raise
        if left <= 0:
            self.drain()  # type: ignore[no-untyped-call]
        self.allowance.left = left
        return out


def read_within_bounds(client: Any) -> Allowance:
    """Have a `KafkaConsumer` read so; what to begin anew before each of its polls."""
    allowance = Allowance(MAX_POLL_BYTES)
    client._fetcher.PartitionRecords = type("Records", (BoundedRecords,), {"allowance": allowance})
    return allowance


def too_much(record: Any) -> tuple[str, Unreadable] | None:
    """Of a record that is not read: the place within its partition, and what is quarantined."""
    value = record.value
    if isinstance(value, SetAside):
        return f"{value.first}-{value.last}", Unreadable(1, value.reason, value.kept)
    if len(value) <= MAX_MESSAGE:
        return None
    why = f"{record.topic}[{record.partition}], offset {record.offset}: {len(value)} bytes; at most {MAX_MESSAGE} are read"
    return str(record.offset), Unreadable(1, why, value[:MAX_RAW])


class _Batches:
    """As much of `kafka.record.MemoryRecords` as is asked for there."""

    def __init__(self, records: Any, tp: Any) -> None:
        self._records, self._tp = records, tp

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        return None if batch is None else _Batch(batch, self._tp)


class _Batch:
    """A batch that is decompressed within bounds, when it is iterated; the rest of it is kafka-python's."""

    def __init__(self, batch: Any, tp: Any) -> None:
        self._batch, self._tp = batch, tp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        batch = self._batch
        after = None
        try:
            unpack(batch)
            for record in batch:
                yield record
                after = record.offset + 1
        except _DAMAGE as error:
            why = str(error) if isinstance(error, Refused) else f"damaged, with a good checksum: {str(error)[:200]}"
            yield _Stand(batch, SetAside(batch, self._tp, why, after))


class _Stand:
    """As much of a record as kafka-python's reader looks at."""

    key = checksum = None
    headers: tuple[()] = ()

    def __init__(self, batch: Any, aside: SetAside) -> None:
        self.value = aside
        self.offset = aside.last
        self.size_in_bytes = batch.size_in_bytes
        self.timestamp = aside.at
        self.timestamp_type = batch.timestamp_type

    def validate_crc(self) -> bool:
        return True
