"""Ledger: the transactions of the partitions that a worker owns: their state, what was last said, what they wait for.

Memory is a cache (law 1): everything here can be read back from the store. Versions come from the owner's fence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from pipeline.core.correlate import Claim, Roles, claims_of, ways
from pipeline.core.generations import number_of
from pipeline.core.hearing import Knowledge
from pipeline.core.judge import judge, meets
from pipeline.core.plan import plan_of
from pipeline.core.state import Dispute, State
from pipeline.store.contract import UNJUDGED, DisputeRow, EventRow, FlipRow, KeyRow, Reader, Transaction, VerdictRow
from pipeline.store.takeover import OpenRow
from pipeline.work.agenda import Agenda
from pipeline.work.members import Members
from pipeline.work.numbers import numbered
from pipeline.work.packed import Claimed, Contents, Packed
from pipeline.work.rows import flip_of, row_of
from pipeline.work.runs import Arrived
from schemas.flow import Flows
from schemas.verdict import Wait
from schemas.wire import Observed

_LOAD_AT_ONCE = 1_000
# Of transactions let go: what they announced. Two that let go of each other's would announce to one another for ever.
_CLAIMS_KEPT = 100_000
_NONE: frozenset[str] = frozenset()
_new = tuple.__new__


@dataclass(slots=True)
class Entry:
    """One transaction in memory. ``rows``: flow to what the store's winning verdict row says.

    ``keys``: those that were written. Nothing is taken for written that was read back: a crash may have come between the
    events and what follows from them, so ``unsaid`` has it judged, and its keys written, once more. ``claimed``: (alias, way) to
    the state and the earliest time announced, once per assignment.
    """

    state: State
    partition: int
    rows: dict[str, VerdictRow] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    last_keys: dict[str, str] = field(default_factory=dict)
    latest: list[Observed] = field(default_factory=list)
    unsaid: bool = True
    claimed: dict[tuple[Transaction, str, int], tuple[str, int]] = field(default_factory=dict)
    claimed_by: dict[str, str] | None = None


class Merged(NamedTuple):
    """``touched``: transactions that may be judged differently. ``claims``: what their events say of the aliases they carry."""

    touched: list[Transaction]
    claims: list[tuple[Transaction, Claim]]


_NO_FACTS: Mapping[Transaction, list[DisputeRow]] = {}


@dataclass(slots=True)
class Said:
    """What judging a batch came to."""

    verdicts: list[VerdictRow] = field(default_factory=list)
    flips: list[FlipRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)

    def without(self, partitions: Iterable[int]) -> Said:
        """What is left where somebody else speaks for these partitions by now."""
        gone = frozenset(partitions)
        if not gone:
            return self
        lost = {row[:3] for row in self.verdicts if row.partition in gone}
        return Said(
            [row for row in self.verdicts if row.partition not in gone],
            [row for row in self.flips if row[:3] not in lost],
            self.keys,
        )


class Ledger:
    """``capacity``: events held in memory over all transactions, about; the least recently used go first. ``conflicts``: events
    that came with other content under an id that was known: somebody uses ids again. ``processed``: partition to µs of the log's
    append clock; what was appended before has been announced by whoever read it, and is not announced once more."""

    def __init__(self, store: Reader, flows: Flows, partitions: int, roles: Roles, capacity: int = 1_000_000):
        self._store = store
        self._partitions = partitions
        self._capacity = capacity
        self._entries: OrderedDict[Transaction, Entry] = OrderedDict()
        self._events = 0
        self.conflicts = 0
        self._members = Members()
        self._packed = Packed()
        self._claimed: OrderedDict[Transaction, Claimed] = OrderedDict()
        self.agenda = Agenda()
        self.troubled: dict[Transaction, int] = {}
        self.partition_of: dict[Transaction, int] = {}
        self.processed: dict[int, int] = {}
        self.use(flows, roles)

    def use(self, flows: Flows, roles: Roles) -> None:
        """Judge by these flows from now on, in which key types mean this."""
        self._flows, self._roles = flows, roles
        self._once = {
            kind: frozenset(name for name, role in found.items() if role.once) for kind, found in roles.of.items()
        }
        self._instances = {
            key_type: tuple(
                sorted(
                    {kind for name in names for flow in flows.versions[name] for kind in plan_of(flow).instance_types}
                )
            )
            for key_type, names in flows.by_key.items()
        }

    # Partitions ----------------------------------------------------------------------------------------------------

    def open(self, partitions: Sequence[int]) -> list[Transaction]:
        """Take partitions over: who is known, who waits for what. Returns those that today's flows may judge otherwise."""
        stale: list[Transaction] = []
        self._members.add_marks(self._store.known_marks(partitions, self._partitions))
        for transaction in self._store.unjudged(partitions, self._partitions):
            self._members.add(transaction)
            if transaction[0] in self._flows.by_key:
                self.partition_of[transaction] = self._home(transaction)
                stale.append(transaction)
        for row in self._store.open_waits(partitions, self._partitions):
            transaction = (row.key_type, row.transaction_id)
            partition = self.partition_of[transaction] = self._home(transaction)
            self.agenda.restore(transaction, row.waits)
            if row.troubled:
                self.troubled[transaction] = partition
            # What leans on silence was judged by what its last owner had heard; we may have heard otherwise from the start.
            if row.troubled or not self._in_force(row):
                stale.append(transaction)
        return stale

    def _home(self, transaction: Transaction) -> int:
        return crc32(f"{transaction[0]}:{number_of(transaction[1])}".encode()) % self._partitions

    def _in_force(self, row: OpenRow) -> bool:
        known = row.flow in self._flows.versions
        flow = self._flows.in_force(row.flow, row.started_at, ended=row.ended) if known else None
        return flow is None or flow.version == row.flow_version

    def close(self, partitions: Iterable[int]) -> None:
        """Give partitions up: nothing of them stays in memory."""
        gone = frozenset(partitions)
        for transaction in [t for t, entry in self._entries.items() if entry.partition in gone]:
            self._events -= len(self._entries.pop(transaction).state)
        lost = [transaction for transaction, partition in self.partition_of.items() if partition in gone]
        self.agenda.drop(lost)
        self._packed.drop(lost)
        self._claimed.clear()
        for transaction in lost:
            del self.partition_of[transaction]
            self.troubled.pop(transaction, None)

    def forget(self, transactions: Iterable[Transaction]) -> None:
        """Let go of transactions whose rows were deleted."""
        for transaction in transactions:
            entry = self._entries.pop(transaction, None)
            if entry is not None:
                self._events -= len(entry.state)
            self.agenda.drop([transaction])
            self._packed.drop([transaction])
            self.partition_of.pop(transaction, None)
            self.troubled.pop(transaction, None)

    def holds(self, transaction: Transaction) -> bool:
        """Whether it is open, or in memory: then it is there."""
        return transaction in self._entries or transaction in self.partition_of

    def knows(self, transaction: Transaction) -> bool:
        """Whether there may be rows of it; where not, it is certainly new."""
        return transaction in self._members

    def span(self, transaction: Transaction) -> tuple[int, int] | None:
        """Times of the first and the last event of one that is in memory, µs; None where it has none."""
        times = [event.time for event in self._entries[transaction].state.known.values()]
        return (min(times), max(times)) if times else None

    # Events --------------------------------------------------------------------------------------------------------

    def load(self, wanted: Mapping[Transaction, int]) -> None:
        """Bring these transactions (to partition) into memory."""
        missing: list[Transaction] = []
        for transaction, partition in wanted.items():
            if transaction in self._entries:
                self._entries.move_to_end(transaction)
            elif transaction in self._members:
                if not self._unpack(transaction, partition):
                    missing.append(transaction)
            else:
                self._members.add(transaction)
                self._entries[transaction] = self._fresh(transaction, partition)
        for start in range(0, len(missing), _LOAD_AT_ONCE):
            self._read_back(missing[start : start + _LOAD_AT_ONCE], wanted)

    def _fresh(self, transaction: Transaction, partition: int) -> Entry:
        return Entry(State(*transaction, self._instances.get(transaction[0], ())), partition)

    def _unpack(self, transaction: Transaction, partition: int) -> bool:
        """Whether it was packed; then it is in memory as it was."""
        contents = self._packed.take(transaction)
        if contents is None:
            return False
        entry = self._entries[transaction] = self._fresh(transaction, partition)
        entry.keys.add(transaction)
        for event in contents.events:
            entry.state.merge(event)
            entry.keys.update(event.keys.items())
        entry.rows = {row.flow: row for row in contents.rows}
        entry.claimed, entry.unsaid = contents.claimed, False
        self._events += len(entry.state)
        return True

    def _read_back(self, transactions: Sequence[Transaction], wanted: Mapping[Transaction, int]) -> None:
        rows = self._store.load_verdicts(transactions)
        claiming = [transaction for transaction in transactions if transaction[0] in self._roles.of]
        disputes = self._store.load_disputes(claiming) if claiming else {}
        found: dict[Transaction, Entry] = {}
        for transaction in transactions:
            entry = found[transaction] = self._fresh(transaction, wanted[transaction])
            for dispute in disputes.get(transaction, ()):
                _learn(entry.state, dispute)
            entry.rows = {row.flow: row for row in rows.get(transaction, ())}
            entry.claimed = self._claimed.pop(transaction, {})
        for transaction, event in self._store.stream_events(transactions):
            entry = found[transaction]
            entry.state.merge(event)
            if transaction[0] in self._roles.of:
                self._announced(transaction[0], entry, event)
        for transaction, entry in found.items():
            self._events += len(entry.state)
            self._entries[transaction] = entry

    def _announced(self, transaction_type: str, entry: Entry, stored: Observed) -> None:
        """Take note of what was surely announced: what lay before what the partition was processed to. Of an import that cannot be
        told, as it counts as recorded when it happened."""
        if stored.time != stored.recorded_at and stored.recorded_at < self.processed.get(entry.partition, 0):
            standings = entry.state.standings
            for claim in claims_of(transaction_type, self._roles, stored.keys, stored.via, stored.time, standings):
                _news_of(entry, claim)

    def unknown_events(self, arrivals: Mapping[Transaction, list[Arrived]]) -> list[EventRow]:
        """What of a batch has to be written: all that is not stored already in just this form."""
        rows: list[EventRow] = []
        for transaction, arrived in arrivals.items():
            entry = self._entries.get(transaction)
            known = entry.state.known if entry is not None else {}
            if known.keys().isdisjoint([event.id for event, _ in arrived]):
                rows += [_new(EventRow, (*transaction, event, body)) for event, body in arrived]
                continue
            for event, body in arrived:
                same = known.get(event.id)
                if same is None or (same is not event and _news(same, event)):
                    rows.append(EventRow(*transaction, event, body))
        return rows

    def repeated(self, arrivals: Mapping[Transaction, list[Arrived]]) -> Iterator[Observed]:
        """What of a batch is stored already, but under another running number: a file that is loaded again, a source that sends
        again what it is not sure of."""
        for transaction, arrived in arrivals.items():
            entry = self._entries.get(transaction)
            known = entry.state.known if entry is not None else {}
            for event, _ in arrived:
                same = known.get(event.id)
                if (
                    same is not None
                    and same is not event
                    and not _news(same, event)
                    and numbered(same) != numbered(event)
                ):
                    yield event

    def merge(
        self, arrivals: Mapping[Transaction, list[Arrived]], facts: Mapping[Transaction, list[DisputeRow]] = _NO_FACTS
    ) -> Merged:
        """Add a batch's events and facts, which are stored by now."""
        merged = Merged([], [])
        for transaction, arrived in arrivals.items():
            entry = self._entries[transaction]
            rows = facts.get(transaction, ()) if facts else ()
            again = bool(rows) and _read_again(entry.state, rows)
            changed = bool(rows) and _learn_all(entry.state, rows)
            if self._add(entry, arrived) or changed or entry.unsaid:
                merged.touched.append(transaction)
            if transaction[0] in self._roles.of:
                self._claim(transaction, entry, arrived, rows, merged, again=again)
        for transaction, rows in facts.items():
            if transaction not in arrivals:
                entry = self._entries[transaction]
                again = _read_again(entry.state, rows)
                if _learn_all(entry.state, rows) or entry.unsaid:
                    merged.touched.append(transaction)
                if transaction[0] in self._roles.of:
                    self._claim(transaction, entry, (), rows, merged, again=again)
        return merged

    def _add(self, entry: Entry, arrived: Sequence[Arrived]) -> bool:
        """Add events to what is known of a transaction; whether anything changed."""
        state = entry.state
        events = {event.id: event for event, _ in arrived}
        if len(events) == len(arrived) and state.add(events):
            entry.latest += events.values()
            self._events += len(events)
            return True
        before, changed = len(state), False
        for event, _ in arrived:
            known = state.known.get(event.id)
            if known is not None and known is not event and known.content() != event.content():
                self.conflicts += 1
            if state.merge(event):
                changed = True
                entry.latest.append(event)
        self._events += len(state) - before
        return changed

    def _claim(
        self,
        transaction: Transaction,
        entry: Entry,
        arrived: Sequence[Arrived],
        rows: Sequence[DisputeRow],
        merged: Merged,
        *,
        again: bool,
    ) -> None:
        """Announce what the events that were read claim, once. Where an alias is in dispute, what came by aliases claims anew:
        it may rest on another's now. ``again``: a fact is read a second time: somebody crashed before he announced."""
        once = self._once.get(transaction[0], _NONE)
        found: dict[tuple[Transaction, str, int], Claim] = {}
        standings, last = entry.state.standings, entry.claimed_by
        events = []
        for event, _ in arrived:
            # Most events of a transaction carry the same keys, and claim the same.
            if event.via or event.keys != last:
                events.append(event)
                last = event.keys if not event.via and once.isdisjoint(event.keys) else None
        if rows or standings:
            events += [event for event in entry.state.known.values() if event.via]
        for event in events:
            for claim in claims_of(transaction[0], self._roles, event.keys, event.via, event.time, standings):
                known = found.get(_name_of(claim))
                if known is None or (claim.state, claim.at) < (known.state, known.at):
                    found[_name_of(claim)] = claim
            if not event.via and once.isdisjoint(event.keys):
                entry.claimed_by = event.keys
        for claim in found.values():
            if _news_of(entry, claim) or again:
                merged.claims.append((transaction, claim))

    # Judging -------------------------------------------------------------------------------------------------------

    def judge(
        self, transactions: Iterable[Transaction], knowledge: Knowledge, versions: Mapping[int, VersionSource]
    ) -> Said:
        """Judge transactions that are in memory; remember what is said and what they wait for."""
        said = Said()
        for transaction in transactions:
            entry = self._entries[transaction]
            source = versions.get(entry.partition)
            if source is not None and len(entry.state):
                self._judge_one(transaction, entry, knowledge, source, said)
        return said

    def _judge_one(
        self, transaction: Transaction, entry: Entry, knowledge: Knowledge, source: VersionSource, said: Said
    ) -> None:
        waits: list[Wait] = []
        stays_open = leans = False
        earliest, now = entry.state.earliest, knowledge.control_time
        for name in self._flows.by_key.get(transaction[0], ()):
            before = entry.rows.get(name)
            ended = before is not None and bool(before.ended_at)
            flow = self._flows.in_force(name, earliest, ended=ended)
            if before is None and not meets(entry.state, flow, knowledge):
                continue
            verdict = judge(entry.state, flow, knowledge, detail=False)
            row, changed, speaks = row_of(transaction, verdict, entry.partition, now, before, source.upcoming)
            if changed:
                source.next()
                said.verdicts.append(row)
                if speaks:
                    said.flips.append(flip_of(row, before, now))
                entry.rows[name] = row
            waits.extend(verdict.waits)
            stays_open = stays_open or row.open
            leans = leans or bool(row.body)
        # What no flow judges yet stays open: one may be published that does.
        self._remember(transaction, entry.partition, stays_open or not entry.rows, leans)
        self.agenda.set(transaction, tuple(sorted(set(waits))) if waits else (), knowledge)
        self._find_by(transaction, entry, earliest, said)
        if not entry.rows:
            said.keys.append(KeyRow(UNJUDGED, UNJUDGED, *transaction, earliest))

    def _remember(self, transaction: Transaction, partition: int, stays_open: bool, leans: bool) -> None:
        if stays_open:
            self.partition_of[transaction] = partition
        else:
            self.partition_of.pop(transaction, None)
        if leans and stays_open:
            self.troubled[transaction] = partition
        else:
            self.troubled.pop(transaction, None)

    def _find_by(self, transaction: Transaction, entry: Entry, seen_at: int, said: Said) -> None:
        """Rows for the keys by which the transaction can be found and was not before."""
        known, last = entry.keys, entry.last_keys
        found = {} if known else {transaction: None}
        for event in entry.state.events.values() if entry.unsaid else entry.latest:
            # Most events of a transaction carry the same keys: one comparison instead of a set of pairs.
            if event.keys != last:
                last = event.keys
                found.update(dict.fromkeys(last.items()))
        entry.last_keys, entry.unsaid, entry.latest = last, False, []
        if found:
            new = [pair for pair in found if pair not in known] if known else found
            said.keys += [_new(KeyRow, (*pair, *transaction, seen_at)) for pair in new]
            known.update(found)

    def evict(self) -> None:
        """Let go of what was not used for longest."""
        while self._events > self._capacity and len(self._entries) > 1:
            transaction, entry = self._entries.popitem(last=False)
            self._events -= len(entry.state)
            if not self._pack(transaction, entry) and entry.claimed:
                self._claimed[transaction] = entry.claimed
                if len(self._claimed) > _CLAIMS_KEPT:
                    self._claimed.popitem(last=False)

    def _pack(self, transaction: Transaction, entry: Entry) -> bool:
        """Keep as bytes what is open and entirely said; anything out of the ordinary is read back when it is wanted."""
        state = entry.state
        if transaction not in self.partition_of or entry.unsaid or entry.latest:
            return False
        if state.bounded or state.reused or state.disputes:
            return False
        self._packed.put(transaction, Contents([*state.known.values()], [*entry.rows.values()], entry.claimed))
        return True


def _learn(state: State, row: DisputeRow) -> bool:
    alias = f"{row.alias_type}:{row.alias}"
    return state.learn(alias, Dispute(row.state, row.version, tuple(row.others), tuple(row.holders), row.way))


def _learn_all(state: State, rows: Sequence[DisputeRow]) -> bool:
    return any([_learn(state, row) for row in rows])  # noqa: C419  (all of them)


def _read_again(state: State, rows: Sequence[DisputeRow]) -> bool:
    """Whether one of these facts was stored before: by its version, which is the place of the record that brought it about."""
    for row in rows:
        known = state.disputes.get(f"{row.alias_type}:{row.alias}")
        if known is not None and known.version == row.version:
            return True
    return False


def _news_of(entry: Entry, claim: Claim) -> bool:
    """Whether a claim was not announced yet as it is."""
    known = entry.claimed.get(_name_of(claim))
    if known is not None and known[0] == claim.state and known[1] <= claim.at:
        return False
    at = claim.at if known is None else min(claim.at, known[1])
    entry.claimed[_name_of(claim)] = (claim.state, at)
    return True


def _name_of(claim: Claim) -> tuple[Transaction, str, int]:
    """What is announced once: of what names the transaction itself the earliest time is enough, as it is never withdrawn."""
    return (claim.alias, claim.by, claim.at if claim.by else 0)


def _news(known: Observed, event: Observed) -> bool:
    """Whether an event says what is not stored yet: other content, or a way by which it had not come."""
    if known.content() != event.content():
        return True
    return bool(known.via) and (not event.via or not {*ways(event.via)} <= {*ways(known.via)})


class VersionSource:
    """Versions of verdict rows under one fence: ``fence << 32 | counter``, so that a zombie always loses."""

    __slots__ = ("_next", "fence")

    def __init__(self, fence: int):
        self.fence = fence
        self._next = fence << 32

    @property
    def upcoming(self) -> int:
        """What ``next`` will say."""
        return self._next + 1

    def next(self) -> int:
        self._next += 1
        return self._next
