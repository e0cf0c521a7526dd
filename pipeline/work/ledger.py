"""Ledger: the transactions of the partitions that a worker owns: their state, what was last said, what they wait for.

Memory is a cache (law 1): everything here can be read back from the store. Versions come from the owner's fence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.core.correlate import Claim, Roles
from pipeline.core.hearing import Knowledge
from pipeline.core.plan import plan_of
from pipeline.core.state import State
from pipeline.store.contract import DisputeRow, EventRow, Reader, Transaction
from pipeline.store.rows import home
from pipeline.store.takeover import OpenRow
from pipeline.work.agenda import Agenda
from pipeline.work.announcing import Announcer
from pipeline.work.entry import Entry, is_news, learn, learn_all, read_again
from pipeline.work.members import Residents
from pipeline.work.numbers import numbered
from pipeline.work.packed import Packed
from pipeline.work.runs import Arrived
from pipeline.work.saying import Said, VersionSource, say
from schemas.flow import Flows
from schemas.wire import Observed

_LOAD_AT_ONCE = 1_000
_new = tuple.__new__


class Merged(NamedTuple):
    """``touched``: transactions that may be judged differently. ``claims``: what their events say of the aliases they carry."""

    touched: list[Transaction]
    claims: list[tuple[Transaction, Claim]]


_NO_FACTS: Mapping[Transaction, list[DisputeRow]] = {}


class Ledger:
    """``capacity``: events held in memory over all transactions, about; the least recently used go first. ``conflicts``: events
    that came with other content under an id that was known: somebody uses ids again. ``processed``: partition to µs of the log's
    append clock; what was appended before has been announced by whoever read it, and is not announced once more. ``owing``: open
    ones to which key types mean something else by now, so that their claims are announced anew, when they are judged again."""

    def __init__(self, store: Reader, flows: Flows, partitions: int, roles: Roles, capacity: int = 1_000_000):
        self._store = store
        self._partitions = partitions
        self._capacity = capacity
        self._entries: OrderedDict[Transaction, Entry] = OrderedDict()
        self._events = 0
        self.conflicts = 0
        self._members = Residents(partitions)
        self._packed = Packed()
        self._announcer = Announcer(roles)
        self.agenda = Agenda()
        self.troubled: dict[Transaction, int] = {}
        self.partition_of: dict[Transaction, int] = {}
        self.owing: set[Transaction] = set()
        self.processed: dict[int, int] = {}
        self.use(flows, roles)

    def use(self, flows: Flows, roles: Roles) -> None:
        """Judge by these flows from now on, in which key types mean this."""
        self._flows = flows
        changed = self._announcer.use(roles)
        if changed:
            self.owing.update(one for one in self.partition_of if one[0] in changed)
            for entry in self._entries.values():
                entry.claimed_by = None
        self._instances = {
            key_type: tuple(
                sorted(
                    {kind for name in names for flow in flows.versions[name] for kind in plan_of(flow).instance_types}
                )
            )
            for key_type, names in flows.by_key.items()
        }
        for transaction, entry in list(self._entries.items()):
            types = self._instances.get(transaction[0], ())
            if entry.state.instance_types != types and entry.state.bounded:
                # What it left out was chosen by the old ones; the store has all of it.
                self._let_go(transaction, self._entries.pop(transaction))
            else:
                entry.state.instance_types = types

    # Partitions ----------------------------------------------------------------------------------------------------

    def open(self, partitions: Sequence[int]) -> list[Transaction]:
        """Take partitions over: who is known, who waits for what. Returns those that today's flows may judge otherwise."""
        stale: list[Transaction] = []
        self._members.open(partitions, self._store.known_marks(partitions, self._partitions))
        for transaction in self._store.unjudged(partitions, self._partitions):
            self._members.add(transaction)
            if transaction[0] in self._flows.by_key:
                self.partition_of[transaction] = home(transaction, self._partitions)
                self.owing.add(transaction)
                stale.append(transaction)
        for row in self._store.open_waits(partitions, self._partitions):
            transaction = (row.key_type, row.transaction_id)
            partition = self.partition_of[transaction] = home(transaction, self._partitions)
            self.agenda.restore(transaction, row.waits)
            if row.troubled:
                self.troubled[transaction] = partition
            # What leans on silence was judged by what its last owner had heard; we may have heard otherwise from the start.
            in_force = self._in_force(row)
            if not in_force:
                self.owing.add(transaction)
            if row.troubled or not in_force:
                stale.append(transaction)
        return stale

    def adopt(self, key_types: Collection[str]) -> list[Transaction]:
        """Those that came when no flow judged their key type, which is one of these: they are open from now on. Reads the store."""
        rows = self._store.unjudged(list(self.partitions), self._partitions)
        found = [transaction for transaction in rows if transaction[0] in key_types]
        self.partition_of.update((transaction, home(transaction, self._partitions)) for transaction in found)
        self.owing.update(found)
        return found

    @property
    def partitions(self) -> Collection[int]:
        """Those that were taken over and not given up."""
        return self._members.homes.keys()

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
        self._members.close(gone)
        self._announcer.clear()
        self.owing.difference_update(lost)
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
            self.owing.discard(transaction)
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
        homes = self._members.homes
        for transaction, partition in wanted.items():
            if transaction in self._entries:
                self._entries.move_to_end(transaction)
            elif (members := homes.get(partition)) is None or transaction in members:
                if not self._unpack(transaction, partition):
                    missing.append(transaction)
            else:
                members.add(transaction)
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
        entry.fill(contents)
        self._events += len(entry.state)
        return True

    def _read_back(self, transactions: Sequence[Transaction], wanted: Mapping[Transaction, int]) -> None:
        rows = self._store.load_verdicts(transactions)
        claims = self._announcer.claiming
        claiming = [transaction for transaction in transactions if claims(transaction[0])]
        disputes = self._store.load_disputes(claiming) if claiming else {}
        found: dict[Transaction, Entry] = {}
        for transaction in transactions:
            entry = found[transaction] = self._fresh(transaction, wanted[transaction])
            for dispute in disputes.get(transaction, ()):
                learn(entry.state, dispute)
            entry.rows = {row.flow: row for row in rows.get(transaction, ())}
            entry.claimed = self._announcer.take(transaction)
        for transaction, event in self._store.stream_events(transactions):
            entry = found[transaction]
            entry.state.merge(event)
            if claims(transaction[0]):
                self._announcer.note(transaction[0], entry, event, self.processed.get(entry.partition, 0))
        for transaction, entry in found.items():
            self._events += len(entry.state)
            self._entries[transaction] = entry

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
                if same is None or (same is not event and is_news(same, event)):
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
                    and not is_news(same, event)
                    and numbered(same) != numbered(event)
                ):
                    yield event

    def merge(
        self, arrivals: Mapping[Transaction, list[Arrived]], facts: Mapping[Transaction, list[DisputeRow]] = _NO_FACTS
    ) -> Merged:
        """Add a batch's events and facts, which are stored by now."""
        merged = Merged([], [])
        for transaction, arrived in arrivals.items():
            self._merge_one(transaction, arrived, facts.get(transaction, ()) if facts else (), merged)
        for transaction, rows in facts.items():
            if transaction not in arrivals:
                self._merge_one(transaction, (), rows, merged)
        return merged

    def _merge_one(
        self, transaction: Transaction, arrived: Sequence[Arrived], rows: Sequence[DisputeRow], merged: Merged
    ) -> None:
        entry = self._entries[transaction]
        again = bool(rows) and read_again(entry.state, rows)
        changed = bool(rows) and learn_all(entry.state, rows)
        added = bool(arrived) and self._add(entry, arrived)
        if added or changed or entry.unsaid:
            merged.touched.append(transaction)
        if self._announcer.claiming(transaction[0]):
            self._announcer.claim(transaction, entry, arrived, rows, merged.claims, again=again)

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

    def claims_owing(self, transactions: Iterable[Transaction]) -> list[tuple[Transaction, Claim]]:
        """What those of them claim that are in memory and owe it: key types came to mean something else to them."""
        owing = [one for one in transactions if one in self.owing and one in self._entries]
        self.owing.difference_update(owing)
        claiming = [one for one in owing if self._announcer.claiming(one[0])]
        return [claim for one in claiming for claim in self._announcer.anew(one, self._entries[one])]

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
                stays_open, leans, waits = say(transaction, entry, self._flows, knowledge, source, said)
                self._remember(transaction, entry.partition, stays_open, leans)
                self.agenda.set(transaction, waits, knowledge)
        return said

    def _remember(self, transaction: Transaction, partition: int, stays_open: bool, leans: bool) -> None:
        if stays_open:
            self.partition_of[transaction] = partition
        else:
            self.partition_of.pop(transaction, None)
        if leans and stays_open:
            self.troubled[transaction] = partition
        else:
            self.troubled.pop(transaction, None)

    def evict(self) -> None:
        """Let go of what was not used for longest."""
        while self._events > self._capacity and len(self._entries) > 1:
            self._let_go(*self._entries.popitem(last=False))

    def _let_go(self, transaction: Transaction, entry: Entry) -> None:
        self._events -= len(entry.state)
        if not self._pack(transaction, entry) and entry.claimed:
            self._announcer.keep(transaction, entry.claimed)

    def _pack(self, transaction: Transaction, entry: Entry) -> bool:
        """Keep as bytes what is open and entirely said; whether it was."""
        contents = entry.contents() if transaction in self.partition_of else None
        if contents is None:
            return False
        self._packed.put(transaction, contents)
        return True
