"""Ledger: the transactions of the partitions that a worker owns: their state, what was last said, what they wait for.

Memory is a cache (law 1): everything here can be read back from the store. Versions come from the owner's fence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.core.hearing import Knowledge
from pipeline.core.judge import judge, meets
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from pipeline.store.contract import UNJUDGED, EventRow, FlipRow, KeyRow, Reader, Transaction, VerdictRow
from pipeline.work.agenda import Agenda
from pipeline.work.intake import Arrived
from pipeline.work.members import Members
from pipeline.work.rows import flip_of, row_of
from schemas.flow import Flows
from schemas.verdict import Wait
from schemas.wire import Observed

_LOAD_AT_ONCE = 1_000


@dataclass(slots=True)
class Entry:
    """One transaction in memory. ``rows``: flow to what the store's winning verdict row says.

    ``keys``: those that were written. Nothing is taken for written that was read back: a crash may have come between the
    events and what follows from them, so ``unsaid`` has it judged, and its keys written, once more.
    """

    state: State
    partition: int
    rows: dict[str, VerdictRow] = field(default_factory=dict)
    keys: set[tuple[str, str]] = field(default_factory=set)
    last_keys: dict[str, str] = field(default_factory=dict)
    latest: list[Observed] = field(default_factory=list)
    unsaid: bool = True


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
    that came with other content under an id that was known: somebody uses ids again."""

    def __init__(self, store: Reader, flows: Flows, capacity: int = 1_000_000):
        self._store = store
        self._capacity = capacity
        self._entries: OrderedDict[Transaction, Entry] = OrderedDict()
        self._events = 0
        self.conflicts = 0
        self._members = Members()
        self.agenda = Agenda()
        self.troubled: dict[Transaction, int] = {}
        self.partition_of: dict[Transaction, int] = {}
        self.use(flows)

    def use(self, flows: Flows) -> None:
        """Judge by these flows from now on."""
        self._flows = flows
        self._instances = {
            key_type: tuple(
                sorted(
                    {kind for name in names for flow in flows.versions[name] for kind in plan_of(flow).instance_types}
                )
            )
            for key_type, names in flows.by_key.items()
        }

    # Partitions ----------------------------------------------------------------------------------------------------

    def open(self, partition: int) -> list[Transaction]:
        """Take over a partition: who is known, who waits for what. Returns those that today's flows may judge otherwise."""
        stale: list[Transaction] = []
        for transaction in self._store.known_transactions([partition]):
            self._members.add(transaction)
        for key in self._store.find_keys(f"partition {partition}", UNJUDGED):
            transaction = (key.transaction_type, key.transaction_id)
            self._members.add(transaction)
            if transaction[0] in self._flows.by_key:
                self.partition_of[transaction] = partition
                stale.append(transaction)
        waits: dict[Transaction, list[Wait]] = {}
        for row in self._store.open_verdicts([partition]):
            transaction = (row.key_type, row.transaction_id)
            waits.setdefault(transaction, []).extend(row.waits)
            self.partition_of[transaction] = partition
            if row.body:
                self.troubled[transaction] = partition
            if not self._in_force(row):
                stale.append(transaction)
        for transaction, found in waits.items():
            self.agenda.restore(transaction, sorted(set(found)))
        return stale

    def _in_force(self, row: VerdictRow) -> bool:
        known = row.flow in self._flows.versions
        flow = self._flows.in_force(row.flow, row.started_at, ended=bool(row.ended_at)) if known else None
        return flow is None or flow.version == row.flow_version

    def close(self, partitions: Iterable[int]) -> None:
        """Give partitions up: nothing of them stays in memory."""
        gone = frozenset(partitions)
        for transaction in [t for t, entry in self._entries.items() if entry.partition in gone]:
            self._events -= len(self._entries.pop(transaction).state)
        lost = [transaction for transaction, partition in self.partition_of.items() if partition in gone]
        self.agenda.drop(lost)
        for transaction in lost:
            del self.partition_of[transaction]
            self.troubled.pop(transaction, None)

    # Events --------------------------------------------------------------------------------------------------------

    def load(self, wanted: Mapping[Transaction, int]) -> None:
        """Bring these transactions (to partition) into memory."""
        missing: list[Transaction] = []
        for transaction, partition in wanted.items():
            if transaction in self._entries:
                self._entries.move_to_end(transaction)
            elif transaction in self._members:
                missing.append(transaction)
            else:
                self._members.add(transaction)
                self._entries[transaction] = self._fresh(transaction, partition)
        for start in range(0, len(missing), _LOAD_AT_ONCE):
            self._read_back(missing[start : start + _LOAD_AT_ONCE], wanted)

    def _fresh(self, transaction: Transaction, partition: int) -> Entry:
        return Entry(State(*transaction, self._instances.get(transaction[0], ())), partition)

    def _read_back(self, transactions: Sequence[Transaction], wanted: Mapping[Transaction, int]) -> None:
        events = self._store.load_events(transactions)
        rows = self._store.load_verdicts(transactions)
        for transaction in transactions:
            entry = self._fresh(transaction, wanted[transaction])
            for event in events.get(transaction, ()):
                entry.state.merge(event)
            entry.rows = {row.flow: row for row in rows.get(transaction, ())}
            self._events += len(entry.state)
            self._entries[transaction] = entry

    def unknown_events(self, arrivals: Mapping[Transaction, list[Arrived]]) -> list[EventRow]:
        """What of a batch has to be written: all that is not stored already in just this form."""
        rows: list[EventRow] = []
        for transaction, arrived in arrivals.items():
            entry = self._entries.get(transaction)
            known = entry.state.events if entry is not None else {}
            key_type, identity = transaction
            for event, body in arrived:
                same = known.get(event.id)
                if same is None or same.content() != event.content() or (same.via and not event.via):
                    rows.append(EventRow(key_type, identity, event, body))
        return rows

    def merge(self, arrivals: Mapping[Transaction, list[Arrived]]) -> list[Transaction]:
        """Add a batch's events, which are stored by now. Returns the transactions that may be judged differently."""
        touched: list[Transaction] = []
        for transaction, arrived in arrivals.items():
            entry = self._entries[transaction]
            before = len(entry.state)
            changed = False
            for event, _ in arrived:
                known = entry.state.events.get(event.id)
                if known is not None and known is not event and known.content() != event.content():
                    self.conflicts += 1
                if entry.state.merge(event):
                    changed = True
                    entry.latest.append(event)
            self._events += len(entry.state) - before
            if changed or entry.unsaid:
                touched.append(transaction)
        return touched

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
        earliest = entry.state.earliest
        for name in self._flows.by_key.get(transaction[0], ()):
            before = entry.rows.get(name)
            ended = before is not None and bool(before.ended_at)
            flow = self._flows.in_force(name, earliest, ended=ended)
            if not meets(entry.state, flow, knowledge):
                continue
            verdict = judge(entry.state, flow, knowledge, detail=False)
            row, changed, speaks = row_of(transaction, verdict, entry.partition, knowledge.control_time, before)
            # Said under an older fence: once more under ours, so that what a zombie may yet write of it loses.
            changed = changed or (before is not None and before.version >> 32 != source.fence)
            if changed:
                row = row._replace(version=source.next(), flip=row.flip + speaks)
                said.verdicts.append(row)
                if speaks:
                    said.flips.append(flip_of(row, before, knowledge.control_time))
                entry.rows[name] = row
            waits.extend(verdict.waits)
            stays_open = stays_open or row.open
            leans = leans or bool(row.body)
        # What no flow judges yet stays open: one may be published that does.
        self._remember(transaction, entry.partition, stays_open or not entry.rows, leans)
        self._wait(transaction, waits, knowledge)
        self._find_by(transaction, entry, said)
        if not entry.rows:
            said.keys.append(KeyRow(UNJUDGED, f"partition {entry.partition}", *transaction, earliest))

    def _remember(self, transaction: Transaction, partition: int, stays_open: bool, leans: bool) -> None:
        if stays_open:
            self.partition_of[transaction] = partition
        else:
            self.partition_of.pop(transaction, None)
        if leans and stays_open:
            self.troubled[transaction] = partition
        else:
            self.troubled.pop(transaction, None)

    def _wait(self, transaction: Transaction, waits: Sequence[Wait], knowledge: Knowledge) -> None:
        self.agenda.set(transaction, tuple(sorted(set(waits))), knowledge)

    def _find_by(self, transaction: Transaction, entry: Entry, said: Said) -> None:
        """Rows for the keys by which the transaction can be found and was not before."""
        known, last = entry.keys, entry.last_keys
        new = [] if transaction in known else [transaction]
        for event in entry.state if entry.unsaid else entry.latest:
            # Most events of a transaction carry the same keys: one comparison instead of a set of pairs.
            if event.keys != last:
                last = event.keys
                new.extend(pair for pair in last.items() if pair not in known)
        entry.last_keys, entry.unsaid, entry.latest = last, False, []
        if new:
            seen_at = entry.state.earliest
            for kind, value in sorted(set(new)):
                said.keys.append(KeyRow(kind, value, transaction[0], transaction[1], seen_at))
            known.update(new)

    def evict(self) -> None:
        """Let go of what was not used for longest."""
        while self._events > self._capacity and len(self._entries) > 1:
            _, entry = self._entries.popitem(last=False)
            self._events -= len(entry.state)


class VersionSource:
    """Versions of verdict rows under one fence: ``fence << 32 | counter``, so that a zombie always loses."""

    __slots__ = ("_next", "fence")

    def __init__(self, fence: int):
        self.fence = fence
        self._next = fence << 32

    def next(self) -> int:
        self._next += 1
        return self._next
