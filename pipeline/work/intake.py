"""Intake: from records to what the batch writes, judges and forwards. Decides by the records alone (law 3)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple
from zlib import crc32

from msgspec import Raw

from pipeline.core.correlate import Roles, Transaction
from pipeline.errors import Invalid
from pipeline.log import LogRecord
from pipeline.work.batch import Batch, place_of, read_headers
from pipeline.work.courier import Outbox
from pipeline.work.forgotten import Forgotten, without
from pipeline.work.letters import Letters
from pipeline.work.runs import Arrived, Here, Known, Meta, runs, together
from pipeline.work.trust import SourceKey, Trust
from schemas import wire
from schemas.joined import Copy, Forget, address, encode_lines
from schemas.landscape import KeyType, Landscape
from schemas.wire import Observed
from tracer.record import Headers

log = logging.getLogger("lastseen.worker")
_HEADERS_KEPT = 50_000
_PLANS_KEPT = 10_000


class KeyPlan(NamedTuple):
    """For a set of key types: how each value is normalised, which of them name transactions, and by which of them an event may be
    joined to one that it doesn't name. ``here``: where one of them names a transaction and nothing is sought: those of this type
    that were seen in the partition at hand."""

    normalise: tuple[tuple[str, Callable[[str], str]], ...]
    transactions: tuple[str, ...]
    sought: tuple[str, ...]
    here: Known | None


def _normaliser(kind: KeyType) -> Callable[[str], str]:
    """The type's own, or the built-in where it trims and nothing else."""
    return str.strip if kind.trim and kind.case == "keep" and kind.leading_zeros == "keep" else kind.normalise


class Intake:
    """Turns polled records into a ``Batch``. ``partitions``: how many the events topic has."""

    def __init__(
        self, landscape: Landscape, partitions: int, trust: Trust, roles: Roles, forgotten: Forgotten | None = None
    ):
        self._landscape = landscape
        self._forgotten = Forgotten() if forgotten is None else forgotten
        self._partitions = partitions
        self._trust = trust
        self._types = landscape.transaction_types()
        self._metas: dict[Headers, Meta] = {}
        self._here = Here()
        self._outbox = Outbox(partitions)
        self._letters = Letters(landscape, partitions)
        self.use(roles)

    def use(self, roles: Roles) -> None:
        """What key types mean from now on."""
        self._roles = roles
        self._plans: dict[tuple[str, ...], KeyPlan] = {}

    def take(self, polled: dict[int, list[LogRecord]], outbox: Outbox | None = None) -> Batch:
        """Read whole records; what cannot be read goes to quarantine with its position and reason. What belongs elsewhere is put
        into the outbox."""
        batch = Batch()
        self._outbox = outbox or Outbox(self._partitions)
        for partition, records in polled.items():
            if not records:
                continue
            self._here.clear()
            for run in runs(records, self._meta):
                if len(run) == 1 or not self._run(run, batch):
                    for record in run:
                        self._record(record, batch)
            batch.positions[partition] = records[-1].offset + 1
            batch.through[partition] = records[-1].append_time
            batch.versions[partition] = place_of(records[-1])
            batch.records += len(records)
        return batch

    def _meta(self, headers: Headers) -> Meta:
        if headers and headers[-1][0] == wire.SEQ:  # never twice the same
            headers = headers[:-1]
        meta = self._metas.get(headers)
        if meta is None:
            meta = read_headers(headers)
            if len(self._metas) >= _HEADERS_KEPT:
                self._metas.clear()
            self._metas[headers] = meta
        return meta

    def _run(self, run: Sequence[LogRecord], batch: Batch) -> bool:
        """Read records of one event each at once, if there is nothing the matter with any of them; whether it was done."""
        meta, partition = self._meta(run[0].headers), run[0].partition
        source = (meta.source, meta.epoch) if meta.source else ("", partition)
        if self._forgotten or source in self._trust.aside:
            return False
        found = together(run, meta.source, meta.epoch)
        if found is None:
            return False
        events, bodies = found
        self._judge_source(source, len(events), 0, batch)
        batch.events += len(events)
        for refused, line, record in self._admit(zip(events, bodies, strict=True), run, meta, batch):
            batch.refuse(record, meta, 0, *refused, line)
        return True

    def _record(self, record: LogRecord, batch: Batch) -> None:
        meta = self._meta(record.headers)
        source = (meta.source, meta.epoch) if meta.source else ("", record.partition)
        # What was sent on by a worker was read by one: it is not bad for what others bring here. Nor is a person's word.
        if meta.kind == "event" and source in self._trust.aside and (source[0] or not meta.depth):
            self._trust.refused(source)
            batch.refuse(record, meta, 0, "its source was set aside: its input is mostly bad", "", record.value)
            return
        if meta.reason:
            batch.refuse(record, meta, 0, meta.reason, "", record.value)
            self._judge_source(source, 0, 1, batch)
            return
        if meta.kind != "event":
            self._letters.read(record, meta, batch, self._outbox)
            return
        try:
            body = wire.decompress(record.value, meta.encoding) if meta.encoding else record.value
            events, bodies, bad = wire.decode(body, meta.source, meta.epoch)
        except Invalid as error:
            events, bodies, bad = [], [], [wire.Bad(0, error.reason, "", record.value)]
        for fault in bad:
            batch.refuse(record, meta, fault.place, fault.reason, fault.field, fault.payload)
        self._judge_source(source, len(events), len(bad), batch)
        batch.events += len(events)
        good: Iterable[Arrived] = zip(events, bodies, strict=True)
        if self._forgotten:
            good = self._without_forgotten(events, bodies, record, meta, batch)
        for refused, line, _ in self._admit(good, repeat(record), meta, batch):
            batch.refuse(record, meta, _place(line, bodies, bad), *refused, line)

    def _admit(
        self, good: Iterable[Arrived], records: Iterable[LogRecord], meta: Meta, batch: Batch
    ) -> list[tuple[tuple[str, str], bytes, LogRecord]]:
        """Bring events, each with its record, to their transactions. What is refused: (reason, field), its JSON, its record."""
        plans, imported, via, direct, refused = self._plans, meta.imported, meta.via, not meta.depth, []
        for arrived, record in zip(good, records, strict=False):
            event, line = arrived
            event.recorded_at = event.time if imported else record.append_time
            event.via = via
            keys = event.keys
            plan = plans.get(tuple(keys))
            if direct and plan is not None and plan.here is not None:
                known = plan.here.get(keys[plan.transactions[0]])
                # Most events carry the keys of the one before: what was found out of those holds for them, at a third of the cost.
                if known is not None and known[0] == keys:
                    known[1].append(arrived)
                    continue
            fault = self._route(event, line, record, meta, batch)
            if fault:
                refused.append((fault, line, record))
        return refused

    def _without_forgotten(
        self, events: Sequence[Observed], bodies: list[bytes], record: LogRecord, meta: Meta, batch: Batch
    ) -> Iterator[Arrived]:
        """Events that carry a forgotten key go no further: of the transactions that they name only the names are sent on. A body
        out of which a name was taken is replaced, so that its place in the record is found."""
        leaving, known = batch.leaving, self._landscape.keys
        for place, (event, line) in enumerate(zip(events, bodies, strict=True)):
            keys = {
                name: known[name].normalise(value) if name in known else value.strip()
                for name, value in event.keys.items()
            }
            if not self._forgotten.carried(keys):
                names = self._forgotten.names(keys, event.time)
                # An event that names no transaction but the forgotten is theirs, whatever else it carries.
                if names and self._forgotten.theirs(keys, names):
                    leaving.refused.append(event)
                    continue
                if names:
                    event.keys = keys
                    event = without(event, names)  # noqa: PLW2901
                    line = bodies[place] = wire.encode([event])  # noqa: PLW2901
                yield event, line
                continue
            event.keys = keys
            lives_here = False
            for one in [(name, keys[name]) for name in self._types if keys.get(name)]:
                home = crc32(address(*one).encode()) % self._partitions
                if home == record.partition:
                    # Refused when it is filed: which generation of its number goes along is known only then.
                    batch.arrivals.setdefault(one, []).append((event, line))
                    batch.homes[one] = home
                    lives_here = True
                elif not self._forgotten.meant(one, event.time):
                    at = event.time if one[0] in self._forgotten.reuse else 0
                    forget = Forget(address(*one), self._forgotten.salts[0], "transaction", at=at)
                    try:
                        self._outbox.add(
                            record.partition, meta.depth + 1, "forget", forget.key.encode(), encode_lines([forget])
                        )
                    except Invalid as error:
                        # Refused like any other, not quarantined: there its bytes would hold what is forgotten.
                        log.error("forget for a %s: %s", one[0], error)
            if not lives_here:
                leaving.refused.append(event)

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
        for transaction in owned:
            found = batch.arrivals.get(transaction)
            if found is None:
                found = batch.arrivals[transaction] = []
                batch.homes[transaction] = record.partition
            found.append((event, line))
            if plan.here is not None:
                plan.here[transaction[1]] = (keys, found)
        if meta.depth:
            batch.depths.update((one, max(meta.depth, batch.depths.get(one, 0))) for one in owned)
        try:
            # A copy was sent to this partition for the transactions that live here, and the original went to the others.
            if elsewhere and (meta.depth == 0 or not owned):
                line = wire.encode([event])
                for key in elsewhere.values():
                    self._outbox.add(record.partition, meta.depth + 1, "event", key, line, imported=meta.imported)
            if plan.sought and (meta.depth == 0 or not plan.transactions):
                self._seek(event, line, record, meta, plan.sought, batch)
        except Invalid as error:
            return error.reason, ""
        if not plan.transactions and not plan.sought:
            for alias in event.keys.items():
                batch.keep(alias, event, line, record)
        return None

    def _seek(
        self, event: Observed, line: bytes, record: LogRecord, meta: Meta, sought: tuple[str, ...], batch: Batch
    ) -> None:
        """To the partition of each alias by which it may be joined; kept at once where that is this one."""
        copy = b""
        for name in sought:
            alias = (name, event.keys[name])
            to = address(*alias)
            if crc32(to.encode()) % self._partitions == record.partition:
                batch.keep(alias, event, line, record)
                batch.depth(alias, meta.depth)
            else:
                copy = copy or wire.encode([event])
                body = encode_lines([Copy(to, Raw(copy))])
                self._outbox.add(record.partition, meta.depth + 1, "copy", to.encode(), body, imported=meta.imported)

    def _plan(self, names: tuple[str, ...]) -> KeyPlan:
        """How events that carry just these key types are treated; there are few such sets."""
        known, sought = self._landscape.keys, self._roles.sought(names)
        transactions = tuple(name for name in self._types if name in names)
        plan = KeyPlan(
            tuple((name, _normaliser(known[name]) if name in known else str.strip) for name in names),
            transactions,
            sought,
            self._here.of(transactions[0]) if len(transactions) == 1 and not sought else None,
        )
        if len(self._plans) >= _PLANS_KEPT:
            self._plans.clear()
        self._plans[names] = plan
        return plan


def _place(line: bytes, bodies: list[bytes], bad: list[wire.Bad]) -> int:
    """Where in its record an event that was good at first stood."""
    taken = {fault.place for fault in bad}
    places = (place for place in range(len(bodies) + len(taken)) if place not in taken)
    return next(place for place, body in zip(places, bodies, strict=False) if body is line)
