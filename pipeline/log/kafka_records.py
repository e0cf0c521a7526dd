"""Reads the record batches of a fetch straight into `LogRecord`; the worker's speed hangs on it.

kafka-python makes each record three times (a `DefaultRecord`, a `ConsumerRecord`, then ours) and decodes every varint by
a call. `FastRecords` takes its place inside the client's fetcher: same laws (checksums are verified, control batches are
skipped, positions go on past what compaction removed), one object a record. Old formats (magic 0 and 1) go through kafka-python's
own reader. What is compressed is decompressed within bounds (`tracer.kafka_bounds`): of a batch that becomes too much comes one
record at its last offset, whose headers say why it makes no event, so that it is quarantined and the partition goes on.
"""

from __future__ import annotations

import logging
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch

from pipeline.log.contract import LogRecord
from tracer.kafka_bounds import Allowance, Refused, SetAside, unpack
from tracer.record import REASON, Headers

log = logging.getLogger("lastseen.log")
_HEADER_SIZE = DefaultRecordBatch.HEADER_STRUCT.size
_NO_HEADERS = b"\x00"
_new = tuple.__new__
_known_headers: dict[bytes, Headers] = {_NO_HEADERS: ()}


class FastRecords(Fetcher.PartitionRecords):
    """What the fetcher takes records from: one partition's part of one fetch response."""

    topic = ""
    """What `LogRecord.topic` says; set in a subclass per reader."""
    allowance = Allowance()
    """Of this reader's polls; set in a subclass per reader. What is not compressed is bounded by what is fetched at once."""

    def __init__(self, fetch_offset: int, tp: Any, records: Any, **options: Any):
        super().__init__(fetch_offset, tp, records, **options)  # type: ignore[no-untyped-call]
        self._batches = records
        self._ready: list[LogRecord] = []
        self._taken = 0
        self._after_batch = fetch_offset

    def take(self, n: int | None = None) -> list[LogRecord]:
        """Up to ``n`` records. What is wrong with a batch is raised once all before it was handed out; batches that a poll may not
        take any more are dropped here and fetched again."""
        out: list[LogRecord] = []
        while self.record_iterator is not None and (n is None or len(out) < n):
            if self._taken == len(self._ready) and not self._next_batch(out):
                break
            upto = len(self._ready) if n is None else min(len(self._ready), self._taken + n - len(out))
            out += self._ready[self._taken : upto]
            self._taken = upto
            if upto == len(self._ready):
                self.next_fetch_offset = max(self.next_fetch_offset, self._after_batch)
            else:
                self.next_fetch_offset = self._ready[upto].offset
        self.records_read += len(out)
        return out

    def _next_batch(self, out: list[LogRecord]) -> bool:
        """Make the next batch ready; False at the end, or where ``out`` must be handed over before an error is raised."""
        if self._next_inline_exception is not None:
            if out:
                return False
            self._maybe_raise_next_inline_exception()  # type: ignore[no-untyped-call]
        try:
            batch = self._batches.next_batch() if self.allowance.left > 0 else None
            if batch is None:
                self.drain()  # type: ignore[no-untyped-call]
                return False
            self._ready = self._read(batch)
            self._taken = 0
        except Exception as error:
            if not out:
                raise
            self._next_inline_exception = error
            return False
        return True

    def _read(self, batch: Any) -> list[LogRecord]:
        partition = self.topic_partition.partition
        if self.check_crcs and not batch.validate_crc():
            raise CorruptRecordError(f"checksum of {self.topic_partition} at offset {batch.base_offset}")
        if batch.compression_type:
            try:
                unpack(batch)
            except Refused as error:
                return [self._aside(batch, str(error))]
            self.allowance.left -= len(batch._buffer)
        if batch.magic != 2:
            records = [_plain(self.topic, partition, record) for record in batch]
            self._after_batch = records[-1].offset + 1 if records else self._after_batch
        else:
            self.leader_epoch = batch.leader_epoch
            self._after_batch = batch.next_offset
            self.bytes_read += batch.size_in_bytes
            records = [] if batch.is_control_batch else read_batch(batch, self.topic, partition)
        if records and records[0].offset < self.fetch_offset:
            records = [record for record in records if record.offset >= self.fetch_offset]
        return records

    def _aside(self, batch: Any, why: str) -> LogRecord:
        """What stands for a batch that is not decompressed; said aloud, since who produced it is not known."""
        aside = SetAside(batch, self.topic_partition, why)
        log.error("a batch is set aside: %s", aside.reason)
        self._after_batch = aside.last + 1
        self.bytes_read += batch.size_in_bytes
        headers = ((REASON, aside.reason.encode()),)
        return LogRecord(
            self.topic, self.topic_partition.partition, aside.last, aside.at * 1000, b"", aside.kept, headers
        )


def _plain(topic: str, partition: int, record: Any) -> LogRecord:
    headers = tuple((name, value or b"") for name, value in record.headers)
    at = record.timestamp * 1000 if record.timestamp is not None else 0
    return LogRecord(topic, partition, record.offset, at, record.key or b"", record.value or b"", headers)


def read_batch(batch: Any, topic: str, partition: int) -> list[LogRecord]:
    """All records of a batch of format 2.

    Varints of one and two bytes, which is nearly all of them, are read in line: 1.3 µs a record, calls make it 3.

    Raises:
        CorruptRecordError: lengths that do not fit.
    """
    batch._maybe_uncompress()
    data = bytes(batch._buffer)
    pos = 0 if batch.compression_type else _HEADER_SIZE
    size = len(data)
    base, first = batch.base_offset, batch.first_timestamp * 1000
    appended = batch.max_timestamp * 1000 if batch.timestamp_type == 1 else None
    out: list[LogRecord] = []
    known, append, record = _known_headers, out.append, LogRecord
    try:
        for _ in range(batch.records_count):
            byte = data[pos]
            if byte < 128:
                length, pos = byte, pos + 1
            elif (more := data[pos + 1]) < 128:
                length, pos = byte & 127 | more << 7, pos + 2
            else:
                length, pos = _varint(data, pos)
            end = pos + (length >> 1)
            pos += 1  # attributes: one byte, unused
            if appended is None:
                delta, pos = _varint(data, pos)
                at = first + ((delta >> 1) ^ -(delta & 1)) * 1000
            else:
                at = appended
                while data[pos] > 127:
                    pos += 1
                pos += 1
            byte = data[pos]
            if byte < 128:
                delta, pos = byte, pos + 1
            else:
                delta, pos = _varint(data, pos)
            byte = data[pos]
            if byte < 128:
                length, pos = byte, pos + 1
            else:
                length, pos = _varint(data, pos)
            key = b"" if length & 1 else data[pos : pos + (length >> 1)]
            pos += len(key)
            byte = data[pos]
            if byte < 128:
                length, pos = byte, pos + 1
            elif (more := data[pos + 1]) < 128:
                length, pos = byte & 127 | more << 7, pos + 2
            else:
                length, pos = _varint(data, pos)
            value = b"" if length & 1 else data[pos : pos + (length >> 1)]
            pos += len(value)
            if not pos < end <= size:
                raise CorruptRecordError(f"a record of {topic}/{partition} after offset {base + len(out)}")
            packed = data[pos:end]
            headers = known.get(packed)
            if headers is None:
                headers = _headers(packed)
            append(_new(record, (topic, partition, base + (delta >> 1), at, key, value, headers)))
            pos = end
    except (IndexError, ValueError) as error:
        raise CorruptRecordError(f"a record of {topic}/{partition} after offset {base + len(out)}") from error
    return out


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """An unsigned varint and the position after it; callers undo the zigzag. Raises IndexError, ValueError."""
    value = shift = 0
    while True:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")


def _headers(packed: bytes) -> Headers:
    """A record's headers. A source sends the same ones time and again: equal bytes give the same object, once decoded."""
    count, pos = _varint(packed, 0)
    headers = []
    for _ in range(count >> 1):
        length, pos = _varint(packed, pos)
        name = packed[pos : pos + (length >> 1)].decode()
        pos += length >> 1
        length, pos = _varint(packed, pos)
        value = b"" if length & 1 else packed[pos : pos + (length >> 1)]
        pos += len(value)
        headers.append((name, value))
    if pos != len(packed):
        raise ValueError("headers that do not fit")
    if len(_known_headers) >= 4096:
        _known_headers.clear()
    return _known_headers.setdefault(packed, tuple(headers))
