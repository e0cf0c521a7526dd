"""Letters: the records of ``lastseen.events`` that are no events: what workers and people write (``schemas.joined``)."""

from __future__ import annotations

from zlib import crc32

from pipeline.core.correlate import ACCEPTED, BROKEN, DECISION
from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.log import LogRecord
from pipeline.store.contract import DisputeRow, LinkRow
from pipeline.work.batch import Batch, place_of
from pipeline.work.courier import Outbox
from pipeline.work.runs import Meta
from schemas import wire
from schemas.joined import Copy, Decision, Fact, Forget, Lines, Link, address, encode_lines, parts
from schemas.landscape import Landscape

_COPIES, _LINKS, _FACTS, _DECISIONS, _FORGETS = Lines(Copy), Lines(Link), Lines(Fact), Lines(Decision), Lines(Forget)


class Letters:
    """Reads them into a ``Batch``; what lies in a partition where it does not belong is sent on. ``partitions``: of the events."""

    def __init__(self, landscape: Landscape, partitions: int):
        self._landscape = landscape
        self._partitions = partitions
        self._types = landscape.transaction_types()
        self._outbox = Outbox(partitions)
        self._kinds = {
            "rejudge": self._rejudge,
            "copy": self._copies,
            "link": self._links,
            "conflict": self._facts,
            "decision": self._decisions,
            "forget": self._forgets,
        }

    def read(self, record: LogRecord, meta: Meta, batch: Batch, outbox: Outbox) -> None:
        """A record that is no event. What cannot be read, or went round in circles, is quarantined whole."""
        self._outbox = outbox
        read = self._kinds.get(meta.kind)
        try:
            if read is None:
                raise Invalid(f"records of kind {meta.kind[:40]!r} are not read by this version")
            body = wire.decompress(record.value, meta.encoding) if meta.encoding else record.value
            read(body, record, meta, batch)
        except Invalid as error:
            batch.refuse(record, meta, 0, error.reason, error.field or "", record.value)

    def _elsewhere(self, to: str, line: bytes, record: LogRecord, meta: Meta) -> bool:
        """Whether it belongs into another partition; then it is sent on."""
        key = to.encode()
        if crc32(key) % self._partitions == record.partition:
            return False
        self._outbox.add(record.partition, meta.depth + 1, meta.kind, key, line, imported=meta.imported)
        return True

    def _copies(self, body: bytes, record: LogRecord, meta: Meta, batch: Batch) -> None:
        copies: list[Copy] = _COPIES.read(body)
        lines = [bytes(copy.event) for copy in copies]
        events, bodies, bad = wire.decode(b"\n".join(lines))
        if bad or len(events) != len(copies):
            raise Invalid(f"a copy that holds no event: {bad[0].reason if bad else 'several in one line'}")
        for copy, event, line in zip(copies, events, bodies, strict=True):
            if self._elsewhere(copy.to, encode_lines([copy]), record, meta):
                continue
            event.recorded_at = event.time if meta.imported else record.append_time
            to = parts(copy.to)
            batch.depth(to, meta.depth)
            if copy.via:
                event.via = copy.via
                batch.arrivals.setdefault(to, []).append((event, line))
                batch.homes[to] = record.partition
            else:
                batch.keep(to, event, line, record)

    def _links(self, body: bytes, record: LogRecord, meta: Meta, batch: Batch) -> None:
        for link in _LINKS.read(body):
            if not self._elsewhere(link.alias, encode_lines([link]), record, meta):
                alias = parts(link.alias)
                row = LinkRow(*alias, *parts(link.to), link.by, link.at, link.shared, link.state, link.version)
                self._link(row, record, meta, batch)

    def _link(self, row: LinkRow, record: LogRecord, meta: Meta, batch: Batch) -> None:
        alias = (row.alias_type, row.alias)
        batch.links.setdefault(alias, []).append(row)
        batch.pages[alias] = record.partition
        batch.depth(alias, meta.depth)

    def _facts(self, body: bytes, record: LogRecord, meta: Meta, batch: Batch) -> None:
        for fact in _FACTS.read(body):
            if self._elsewhere(fact.to, encode_lines([fact]), record, meta):
                continue
            to = parts(fact.to)
            row = DisputeRow(*to, *parts(fact.alias), fact.state, fact.version, fact.others, fact.holders, fact.way)
            batch.facts.setdefault(to, []).append(row)
            batch.homes[to] = record.partition
            batch.depth(to, meta.depth)

    def _forgets(self, body: bytes, record: LogRecord, _meta: Meta, batch: Batch) -> None:
        batch.leaving.forgets += [(record.partition, forget) for forget in _FORGETS.read(body)]

    def _decisions(self, body: bytes, record: LogRecord, meta: Meta, batch: Batch) -> None:
        for decision in _DECISIONS.read(body):
            alias, (kind, id) = self._normal(decision.alias), self._normal(decision.to)
            to = kind, number_of(id)
            decision.alias, decision.to = address(*alias), address(*to)
            if to[0] not in self._types:
                raise Invalid(f"{to[0]!r} is no key type of transactions", field="to")
            if not self._elsewhere(decision.alias, encode_lines([decision]), record, meta):
                state = ACCEPTED if decision.decision == "accept" else BROKEN
                row = LinkRow(*alias, *to, DECISION, 0, False, state, place_of(record))
                self._link(row._replace(who=decision.by, why=decision.why), record, meta, batch)

    def _normal(self, name: str) -> tuple[str, str]:
        kind, value = parts(name)
        return kind, self._landscape.normalise(kind, value)

    def _rejudge(self, _body: bytes, record: LogRecord, _meta: Meta, batch: Batch) -> None:
        kind, _, value = record.key.decode("utf-8", "replace").partition(":")
        if crc32(record.key) % self._partitions != record.partition:
            raise Invalid("a request to judge again that lies in a partition where its transaction does not live")
        batch.rejudge.append((kind, value))
        batch.homes.setdefault((kind, value), record.partition)
