"""Batch: what the records of one poll come to, and what is read off a record beside its body."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from pipeline.core.correlate import Transaction
from pipeline.log import LogRecord
from pipeline.store.contract import Alias, DisputeRow, LinkRow, ParkedRow, QuarantineRow
from pipeline.work.book import row_id
from pipeline.work.leaving import Leaving
from pipeline.work.numbers import claimed
from pipeline.work.runs import Arrived, Meta
from pipeline.work.trust import SourceKey
from schemas import wire
from schemas.wire import Observed
from tracer.record import REASON, Headers

_PAYLOAD_KEPT = 256 * 1024
_OFFSET_BITS = 22


@dataclass(slots=True)
class Batch:
    """What one batch of records comes to.

    ``homes``: transaction to the partition it was read from, where it lives; ``pages``: the same for aliases. ``keeps``: events
    that are kept under an alias. ``links``: who claims it, and what people decided. ``facts``: what transactions are told of their
    aliases. ``depths``: the deepest record that brought anything for a transaction or an alias, where that is not 0. ``versions``:
    partition to the place of its last record. ``leaving``: what is not to stay.
    """

    arrivals: dict[Transaction, list[Arrived]] = field(default_factory=dict)
    homes: dict[Transaction, int] = field(default_factory=dict)
    rejudge: list[Transaction] = field(default_factory=list)
    parked: list[ParkedRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    pages: dict[Alias, int] = field(default_factory=dict)
    keeps: dict[Alias, list[ParkedRow]] = field(default_factory=dict)
    links: dict[Alias, list[LinkRow]] = field(default_factory=dict)
    facts: dict[Transaction, list[DisputeRow]] = field(default_factory=dict)
    depths: dict[tuple[str, str], int] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)
    leaving: Leaving = field(default_factory=Leaving)
    aside: list[SourceKey] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)
    through: dict[int, int] = field(default_factory=dict)
    events: int = 0
    records: int = 0

    def refuse(self, record: LogRecord, meta: Meta, place: int, reason: str, field_: str, payload: bytes) -> None:
        """Quarantine bytes of a record, with position and reason."""
        headers = {
            name: value.decode("utf-8", "backslashreplace") for name, value in record.headers if name != wire.SEQ
        }
        source, epoch, numbers = claimed(record, meta.source, meta.epoch, place, payload)
        self.quarantine.append(
            QuarantineRow(
                id=f"{record.topic}:{record.partition}:{record.offset}:{place}",
                at=record.append_time,
                source=source,
                epoch=epoch,
                reason=reason[:1000],
                field=field_[:200],
                payload=payload[:_PAYLOAD_KEPT] if payload is not record.value else payload,
                key=record.key[:1024],
                headers=json.dumps(headers)[:8192],
                numbers=numbers,
            )
        )

    def keep(self, alias: Alias, event: Observed, line: bytes, record: LogRecord) -> None:
        """Keep an event under an alias that lives in the record's partition."""
        row = ParkedRow(row_id(event, alias), *alias, record.partition, event, line, record.append_time)
        self.keeps.setdefault(alias, []).append(row)
        self.pages[alias] = record.partition

    def depth(self, one: tuple[str, str], depth: int) -> None:
        """Note the depth of a record that brought something for a transaction or an alias."""
        if depth:
            self.depths[one] = max(depth, self.depths.get(one, 0))


def read_headers(headers: Headers) -> Meta:
    """A record's headers; a later one of one name wins, as in Kafka."""
    found = {name: value for name, value in headers}  # noqa: C416
    text = {name: value.decode("utf-8", "replace") for name, value in found.items() if name.startswith("ls-")}
    source = text.get(wire.SOURCE, "")
    if len(source) > 100 or not source.isprintable():
        source = ""
    return Meta(
        kind=text.get(wire.KIND, "event"),
        source=source,
        epoch=_number(text.get(wire.EPOCH, "0")) if source else 0,
        depth=_number(text.get(wire.DEPTH, "0")),
        via=text.get(wire.VIA, "")[:400],
        imported=text.get(wire.IMPORT) == "1",
        encoding=found.get(wire.ENCODING, b"").decode("ascii", "replace"),
        reason=text.get(REASON, "")[:1000],
    )


def place_of(record: LogRecord) -> int:
    """A record's place in its partition as one number that outlasts a change of the partitions: milliseconds << 22 | offset."""
    return place_at(record.append_time, record.offset)


def place_at(append_time: int, offset: int) -> int:
    """The same of a record that was appended at ``append_time`` µs."""
    return max(append_time, 0) // 1_000 << _OFFSET_BITS | offset & ((1 << _OFFSET_BITS) - 1)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
