"""Intake: from records to what the batch writes, judges and forwards. Decides by the records alone (law 3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from pipeline.errors import Invalid
from pipeline.log import LogRecord
from pipeline.store.contract import ParkedRow, QuarantineRow, Transaction
from pipeline.work.trust import SourceKey, Trust
from schemas import wire
from schemas.landscape import KeyType, Landscape
from schemas.wire import Observed
from tracer.record import EVENTS, LZ4, REASON, Headers, Record

MAX_DEPTH = 16
_HEADERS_KEPT = 50_000
_PLANS_KEPT = 10_000
_PAYLOAD_KEPT = 256 * 1024
_RECORD_BYTES = 384 * 1024


# An event and its JSON. A plain tuple: a named one takes 0.3 µs more, a tenth of the way through the worker.
Arrived = tuple[Observed, bytes]


class Meta(NamedTuple):
    """A record's headers, read once per distinct headers."""

    kind: str
    source: str
    epoch: int
    depth: int
    via: str
    imported: bool
    encoding: str
    reason: str


class KeyPlan(NamedTuple):
    """For a set of key types: how each value is normalised, and which of them name transactions."""

    normalise: tuple[tuple[str, Callable[[str], str]], ...]
    transactions: tuple[str, ...]


@dataclass(slots=True)
class Batch:
    """What one batch of records comes to. ``homes``: transaction to the partition it was read from, where it lives."""

    arrivals: dict[Transaction, list[Arrived]] = field(default_factory=dict)
    homes: dict[Transaction, int] = field(default_factory=dict)
    rejudge: list[Transaction] = field(default_factory=list)
    parked: list[ParkedRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    forwards: dict[tuple[int, int, int, bool], list[tuple[bytes, Observed]]] = field(default_factory=dict)
    aside: list[SourceKey] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)
    through: dict[int, int] = field(default_factory=dict)
    events: int = 0
    records: int = 0


def _meta(headers: Headers) -> Meta:
    found = {name: value for name, value in headers}  # noqa: C416  (a later header of one name wins, as in Kafka)
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


def _normaliser(kind: KeyType) -> Callable[[str], str]:
    """The type's own, or the built-in where it trims and nothing else."""
    return str.strip if kind.trim and kind.case == "keep" and kind.leading_zeros == "keep" else kind.normalise


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


class Intake:
    """Turns polled records into a ``Batch``. ``partitions``: how many the events topic has."""

    def __init__(self, landscape: Landscape, partitions: int, trust: Trust):
        self._landscape = landscape
        self._partitions = partitions
        self._trust = trust
        self._types = landscape.transaction_types()
        self._plans: dict[tuple[str, ...], KeyPlan] = {}
        self._metas: dict[Headers, Meta] = {}

    def take(self, polled: dict[int, list[LogRecord]]) -> Batch:
        """Read whole records; what cannot be read goes to quarantine with its position and reason."""
        batch = Batch()
        for partition, records in polled.items():
            if not records:
                continue
            for record in records:
                self._record(record, batch)
            batch.positions[partition] = records[-1].offset + 1
            batch.through[partition] = records[-1].append_time
            batch.records += len(records)
        return batch

    def _record(self, record: LogRecord, batch: Batch) -> None:
        meta = self._metas.get(record.headers)
        if meta is None:
            meta = _meta(record.headers)
            if len(self._metas) >= _HEADERS_KEPT:
                self._metas.clear()
            self._metas[record.headers] = meta
        source = (meta.source, meta.epoch) if meta.source else ("", record.partition)
        if source in self._trust.aside:
            self._trust.refused(source)
            self._refuse(record, meta, 0, "its source was set aside: its input is mostly bad", "", record.value, batch)
            return
        if meta.reason:
            self._refuse(record, meta, 0, meta.reason, "", record.value, batch)
            self._judge_source(source, 0, 1, batch)
            return
        if meta.kind == "rejudge":
            self._rejudge(record, meta, batch)
            return
        if meta.kind != "event":
            self._refuse(
                record,
                meta,
                0,
                f"records of kind {meta.kind[:40]!r} are not read by this version",
                "",
                record.value,
                batch,
            )
            return
        try:
            body = wire.decompress(record.value, meta.encoding) if meta.encoding else record.value
            events, bodies, bad = wire.decode(body, meta.source, meta.epoch)
        except Invalid as error:
            events, bodies, bad = [], [], [wire.Bad(0, error.reason, "", record.value)]
        for fault in bad:
            self._refuse(record, meta, fault.place, fault.reason, fault.field, fault.payload, batch)
        self._judge_source(source, len(events), len(bad), batch)
        batch.events += len(events)
        for event, line in zip(events, bodies, strict=True):
            event.recorded_at = event.time if meta.imported else record.append_time
            event.via = meta.via
            refused = self._route(event, line, record, meta, batch)
            if refused:
                place = _place(line, bodies, bad)
                self._refuse(record, meta, place, *refused, line, batch)

    def _judge_source(self, source: SourceKey, good: int, bad: int, batch: Batch) -> None:
        if self._trust.note(source, good, bad) and source[0]:
            batch.aside.append(source)

    def _route(
        self, event: Observed, line: bytes, record: LogRecord, meta: Meta, batch: Batch
    ) -> tuple[str, str] | None:
        """To the transactions that live here, and on to where the others do. Returns reason and field where it is refused."""
        keys = event.keys
        names = tuple(keys)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plan(names)
        for name, normalise in plan.normalise:
            value = keys[name]
            plain = normalise(value)
            if plain != value:
                if not plain:
                    return "nothing is left of the key when normalised", f"keys.{name}"
                event.keys = {**event.keys, name: plain}
        if event.keys is not keys:
            # What is stored must read back under the key by which it was routed.
            keys, line = event.keys, wire.encode([event])
        owned: list[Transaction] = []
        elsewhere: dict[int, bytes] = {}
        for name in plan.transactions:
            identity = keys[name]
            key = f"{name}:{identity}".encode()
            home = crc32(key) % self._partitions
            if home == record.partition:
                owned.append((name, identity))
            else:
                elsewhere.setdefault(home, key)
        if not owned and not elsewhere:
            self._park(event, line, record, batch)
            return None
        for transaction in owned:
            found = batch.arrivals.get(transaction)
            if found is None:
                batch.arrivals[transaction] = [(event, line)]
                batch.homes[transaction] = record.partition
            else:
                found.append((event, line))
        # A copy was sent to this partition for the transactions that live here, and the original went to the others.
        if elsewhere and (meta.depth == 0 or not owned):
            if meta.depth >= MAX_DEPTH:
                return f"forwarded {MAX_DEPTH} times", ""
            for home, key in elsewhere.items():
                batch.forwards.setdefault((record.partition, meta.depth + 1, home, meta.imported), []).append(
                    (key, event)
                )
        return None

    def _plan(self, names: tuple[str, ...]) -> KeyPlan:
        """How events that carry just these key types are treated; there are few such sets."""
        known = self._landscape.keys
        plan = KeyPlan(
            tuple((name, _normaliser(known[name]) if name in known else str.strip) for name in names),
            tuple(name for name in self._types if name in names),
        )
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        self._plans[names] = plan
        return plan

    def _park(self, event: Observed, line: bytes, record: LogRecord, batch: Batch) -> None:
        for name, value in event.keys.items():
            batch.parked.append(ParkedRow(f"{event.id}|{name}:{value}", name, value, record.partition, event, line))

    def _rejudge(self, record: LogRecord, meta: Meta, batch: Batch) -> None:
        kind, _, value = record.key.decode("utf-8", "replace").partition(":")
        if crc32(record.key) % self._partitions != record.partition:
            fault = "a request to judge again that lies in a partition where its transaction does not live"
            self._refuse(record, meta, 0, fault, "", record.value, batch)
            return
        batch.rejudge.append((kind, value))
        batch.homes.setdefault((kind, value), record.partition)

    def _refuse(
        self, record: LogRecord, meta: Meta, place: int, reason: str, field_: str, payload: bytes, batch: Batch
    ) -> None:
        headers = {name: value.decode("utf-8", "backslashreplace") for name, value in record.headers}
        batch.quarantine.append(
            QuarantineRow(
                id=f"{record.topic}:{record.partition}:{record.offset}:{place}",
                at=record.append_time,
                source=meta.source,
                epoch=meta.epoch,
                reason=reason[:1000],
                field=field_[:200],
                payload=payload[:_PAYLOAD_KEPT] if payload is not record.value else payload,
                key=record.key[:1024],
                headers=json.dumps(headers)[:8192],
            )
        )


def _place(line: bytes, bodies: list[bytes], bad: list[wire.Bad]) -> int:
    """Where in its record an event that was good at first stood."""
    taken = {fault.place for fault in bad}
    places = (place for place in range(len(bodies) + len(taken)) if place not in taken)
    return next(place for place, body in zip(places, bodies, strict=False) if body is line)


def _portions(copies: list[tuple[bytes, Observed]]) -> Iterable[list[tuple[bytes, bytes]]]:
    """(key, JSON) in portions that one record can hold: the log takes a megabyte, an event may have a quarter of that."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for key, event in copies:
        line = wire.encode([event])
        if part and (len(part) >= 500 or size + len(line) > _RECORD_BYTES):
            yield part
            part, size = [], 0
        part.append((key, line))
        size += len(line) + 1
    yield part


def forward_records(batch: Batch) -> Iterable[tuple[int, int, int, Record]]:
    """Records to produce: (read from, depth, to, record). Copies for one partition share a record."""
    for (origin, depth, home, imported), copies in batch.forwards.items():
        for part in _portions(copies):
            headers: list[tuple[str, bytes]] = [(wire.KIND, b"event"), (wire.DEPTH, str(depth).encode())]
            if imported:
                headers.append((wire.IMPORT, b"1"))
            body = b"\n".join(line for _, line in part)
            if len(part) > 1:
                headers.append((wire.ENCODING, LZ4))
                body = wire.compress(body)
            yield origin, depth, home, Record(EVENTS, part[0][0], body, tuple(headers), home)
