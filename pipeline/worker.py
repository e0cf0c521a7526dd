"""The worker: from the event log to verdicts, in the numbered steps of law 3.

1. decode    2. write events, links    3. merge    4. judge    5. write flips    6. write verdicts, keys    7. produce copies,
links, facts and what belongs elsewhere, await their acknowledgement    8. announce progress    9. commit offsets

What is kept under an alias is not removed when it is released (§5 keeps it for claimants to come); it expires.

A crash between any two loses nothing and doubles nothing: rows have identity, and what is produced is decided by the records.
While a store outside this interpreter writes events, 3 and 4 go on in memory (``work.beside``); 5 waits for it.
Policy (limits, pauses) is frozen and read once; time and waiting are arguments.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from pipeline.core.control import ControlFold
from pipeline.core.correlate import roles_of
from pipeline.core.generations import number_of
from pipeline.core.hearing import NEVER, Knowledge
from pipeline.core.knowledge import knowledge_of
from pipeline.errors import Invalid, Unavailable
from pipeline.log import Assigned, Fenced, Log, LogRecord
from pipeline.log.contract import GROUP
from pipeline.store.contract import Store, Transaction
from pipeline.work.batch import Batch
from pipeline.work.beside import Beside
from pipeline.work.book import Book
from pipeline.work.courier import Outbox, Parcel
from pipeline.work.desk import Desk
from pipeline.work.diary import Diary
from pipeline.work.eraser import Eraser
from pipeline.work.forgotten import Forgotten
from pipeline.work.intake import Intake
from pipeline.work.ledger import Ledger, Merged, Said
from pipeline.work.numbers import repeated
from pipeline.work.ownership import Ownership
from pipeline.work.patience import Patience
from pipeline.work.policy import Counters, Policy, Stopping, monotonic_micros
from pipeline.work.retention import Retention
from pipeline.work.trust import Trust
from schemas.flow import Flows
from schemas.joined import Link, address, encode_lines
from schemas.landscape import Landscape
from schemas.wire import Observed

__all__ = ["Counters", "Policy", "Stopping", "Worker"]

log = logging.getLogger("lastseen.worker")


class Worker:
    """One member of the group. Owns partitions, judges their transactions, writes to the store.

    Args:
        log, store: adapters, chosen by ``pipeline.app``.
        flows, landscape: what this worker would publish; those in control decide.
        name: for *own* records and messages.
        group: the consumer group whose members share the partitions.
        policy: limits.
        pacing: µs of any clock that does not go backwards; spaces ticks out, decides nothing about transactions.
        stop: set to ask for a graceful end.
        checkpoint: called with the name of each numbered step when it is done.

    Raises (from its methods): ``Invalid`` for a flow that was published with other content or a store that is newer,
    ``Unavailable`` when a service stayed away for ``policy.patience``, ``Flooded`` where everything is poison.
    """

    def __init__(
        self,
        log: Log,
        store: Store,
        *,
        flows: Flows,
        landscape: Landscape,
        name: str = "worker",
        group: str = GROUP,
        policy: Policy | None = None,
        pacing: Callable[[], int] = monotonic_micros,
        stop: threading.Event | None = None,
        checkpoint: Callable[[str], None] = lambda _: None,
    ):
        self.policy = policy or Policy()
        self.counters = Counters()
        self.fold = ControlFold(landscape)
        self._log, self._store, self._name = log, store, name
        self._pacing, self._stop, self._checkpoint = pacing, stop or threading.Event(), checkpoint
        self._sink = log.producer()
        self._consumer = log.consumer(group)
        self._ownership = Ownership(self.fold, self._consumer, self._sink, name)
        patience = Patience(self.policy, self.counters, self._stop, self._hold, self._go_on)
        self._insist = patience.insist
        self._beside = Beside(self._insist, thread=getattr(store, "beside", False))
        self._desk = Desk(log, self.fold, self._sink, patience, self._stop)
        try:
            self._desk.read()
            self._partitions = self._desk.agree_on_partitions(self._consumer)
            self.flows = self._desk.publish(flows)
        except BaseException:
            self.close()
            raise
        roles = roles_of(self.flows)
        self._ledger = Ledger(store, self.flows, self._partitions, roles, self.policy.capacity)
        self._book = Book(store, roles, self._partitions, self.policy.capacity)
        self._trust = Trust(self.policy.trust)
        forgotten = Forgotten(landscape.transaction_types())
        self._intake = Intake(landscape, self._partitions, self._trust, roles, forgotten)
        self._retention = Retention(store, landscape, self._ledger, self._book, forgotten, self._partitions)
        self._eraser = Eraser(store, landscape, self._retention, self._book, self._partitions, checkpoint)
        self._diary = Diary(store)
        self._knowledge = knowledge_of(self.fold, self.flows)
        self._known_version = -1
        self._queue: dict[Transaction, None] = {}
        self._ticked = NEVER
        self._moved = (-1, NEVER)
        self._uncommitted: dict[int, int] = {}

    # The loop ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until asked to stop; finishes the batch in hand, commits, and leaves the group."""
        gc.collect()
        gc.freeze()
        # Merging took 3.2 µs an event with the collector as it is, 1.6 with a raised threshold.
        gc.set_threshold(50_000, 50, 50)
        try:
            while not self._stop.is_set():
                self.step(self.policy.poll_ms)
            self._insist(lambda: self._diary.write(self.fold, force=True))
        except Stopping:
            log.warning("stopped while a service was away; what was not committed is read again")
        finally:
            self.close()

    def drain(self) -> Counters:
        """Process all there is in both topics, and all it causes; then return. The worker stays usable."""
        ends: dict[int, int] | None = None
        control_end = self._desk.end()
        quiet = 0
        while not self._stop.is_set():
            busy = self.step(self.policy.poll_ms if ends is None or quiet else 0)
            if ends is None:
                ends = self._insist(lambda: self._consumer.end_offsets(range(self._partitions)))
            if busy or not self._caught_up(ends, control_end):
                quiet = 0
                continue
            # Ticks tell everyone how far we are; what they bring about has to be seen as well.
            self._tick(force=True)
            self._desk.read()
            self._refresh()
            if not self._judge_due():
                quiet += 1
            if quiet >= 2:
                break
        self._insist(lambda: self._diary.write(self.fold, force=True))
        self._trim()
        return self.counters

    def step(self, poll_ms: int = 0) -> bool:
        """One turn: control, ownership, one batch, what is due. Whether anything was done."""
        self._desk.read()
        self._follow_group()
        polled = self._insist(lambda: self._consumer.poll(self.policy.max_records, poll_ms))
        self._follow_group()
        self._commit_left()
        self._refresh()
        polled = {number: records for number, records in polled.items() if records and number in self._ownership.active}
        if polled:
            self._batch(polled)
        due = self._judge_due()
        swept = self._insist(lambda: self._retention.sweep(sorted(self._ownership.active), self.fold.now))
        if not polled:
            self._tick()
        return bool(polled) or due or swept or bool(self._ownership.wanted)

    @property
    def owned(self) -> frozenset[int]:
        """Partitions in work."""
        return frozenset(self._ownership.active)

    def close(self) -> None:
        """Leave the group at once; what was committed stays."""
        self._beside.close()
        self._consumer.close()
        self._desk.close()
        self._sink.close()

    # The group -----------------------------------------------------------------------------------------------------

    def _follow_group(self) -> None:
        """Take note of what the group assigned and revoked, prove what is ours, begin where it is proved."""
        for change in self._consumer.take_changes():
            if isinstance(change, Assigned):
                self._ownership.assigned(change.partitions)
            else:
                self._give_up(change.partitions)
        lost = self._ownership.fenced()
        if lost:
            log.warning("%s: partitions %s are in other hands", self._name, lost)
            self._give_up(lost)
            self._ownership.assigned(set(lost) & self._consumer.assignment())
        if not self._ownership.wanted:
            return
        self._desk.read()
        self._insist(lambda: self._ownership.claim(at_end=True))
        self._desk.read()
        proved = self._insist(lambda: self._ownership.claim(at_end=False))
        if proved:
            self._refresh()
        # Waiting for a service polls, and a poll may take back what was just proved; the change is taken next time.
        begun = []
        for partition in proved:
            if self._insist(lambda number=partition: self._rewind(number)):  # type: ignore[misc]
                self._ledger.processed[partition] = self._ownership.activate(partition).through
                begun.append(partition)
        if begun:
            self._insist(lambda: self._book.open(begun))
            self._insist(lambda: self._retention.open(begun, self.fold.now))
            self._queue.update(dict.fromkeys(self._insist(lambda: self._ledger.open(begun))))
        self._consumer.resume(self._consumer.assignment() & set(begun))

    def _give_up(self, partitions: Iterable[int]) -> None:
        lost = self._ownership.revoked(partitions)
        self._ledger.close(lost)
        self._book.close(lost)

    def _rewind(self, partition: int) -> bool:
        """Read on from what is committed: what was polled before ownership was proved was not worked on. False where the partition
        went away meanwhile."""
        committed = self._consumer.committed([partition])[partition]
        if committed is None:
            committed = self._consumer.beginning_offsets([partition])[partition]
        if partition not in self._consumer.assignment():
            return False
        if self._consumer.position(partition) != committed:
            self._consumer.seek(partition, committed)
        return True

    def _hold(self) -> None:
        """Poll with everything paused, so that the group does not give us up while a service is away."""
        with contextlib.suppress(Unavailable):
            self._consumer.pause(self._consumer.assignment())
            self._consumer.poll(1, 0)

    def _go_on(self) -> None:
        self._consumer.resume([number for number in self.owned if number in self._consumer.assignment()])

    def _refresh(self) -> None:
        """Make what control says by now the knowledge to judge by, and queue whom a changed hearing concerns."""
        if self.fold.version == self._known_version:
            return
        if self.fold.partition_count not in (0, self._partitions):
            raise Invalid(
                f"the events have {self.fold.partition_count} partitions now and had {self._partitions} when this worker started: "
                "start it again"
            )
        if len(self.fold.published) != len(self.flows.all()):
            self.flows = self.fold.flows()
            roles = roles_of(self.flows)
            self._ledger.use(self.flows, roles)
            self._book.use(roles)
            self._intake.use(roles)
            # A version that applies to open ones, or a flow for what none judged so far.
            self._queue.update(dict.fromkeys(self._ledger.partition_of))
        self._trust.follow(self.fold.distrusted())
        before, self._knowledge = self._knowledge, knowledge_of(self.fold, self.flows)
        self._known_version = self.fold.version
        if _heard_otherwise(before, self._knowledge):
            for transaction in self._ledger.troubled:
                self._queue[transaction] = None

    # Batches -------------------------------------------------------------------------------------------------------

    def _batch(self, polled: dict[int, list[LogRecord]]) -> None:
        outbox = Outbox(self._partitions)
        batch = self._intake.take(polled, outbox)
        self._checkpoint("decode")
        self._insist(lambda: self._retention.admit(batch, self.fold.now))
        stored = self._write_input(batch)
        if not self._beside.active:
            self._checkpoint("write events")
        merged = self._ledger.merge(batch.arrivals, batch.facts)
        self._book.merge(batch.keeps, batch.links)
        self._checkpoint("merge")
        self._judge([*merged.touched, *batch.rejudge], stored)
        self._produce(batch, merged, outbox)
        if batch.leaving.erasing:
            self._erase(batch)
        self._desk.set_aside(batch.aside)
        self._finish(batch)
        self._count(batch)

    def _write_input(self, batch: Batch) -> Callable[[], None]:
        """Everything that was read and is not stored yet. What is returned waits for the events."""
        self._insist(lambda: self._retention.write(batch, self.fold.now))
        self._insist(lambda: self._ledger.load(batch.homes))
        events = self._ledger.unknown_events(batch.arrivals)
        stored = self._beside.begin(lambda: self._store.write_events(events))
        again: list[Observed] = []
        if len(events) < sum(map(len, batch.arrivals.values())):
            again += self._ledger.repeated(batch.arrivals)
        if batch.pages:
            self._insist(lambda: self._book.load(batch.pages))
            again += self._book.repeated(batch.keeps)
            kept, links = self._book.unknown_kept(batch.keeps), self._book.unknown_links(batch.links)
            if kept:
                self._insist(lambda: self._store.write_parked(kept))
            if links:
                self._insist(lambda: self._store.write_links(links))
        if batch.facts:
            facts = [row for rows in batch.facts.values() for row in rows]
            self._insist(lambda: self._store.write_disputes(facts))
        if batch.quarantine:
            self._insist(lambda: self._store.write_quarantine(batch.quarantine))
        accounts = repeated(again, max(batch.through.values()))
        if accounts:
            self._insist(lambda: self._store.write_accounts(accounts))
        return stored

    def _judge(self, transactions: Sequence[Transaction], stored: Callable[[], None] | None = None) -> None:
        """``stored``: waits for the events that it rests on."""
        # Who knows that he was fenced judges no more: a row that says nothing new would go out without its flip.
        gone = frozenset(self._ownership.fenced())
        versions = {n: owned.versions for n, owned in self._ownership.active.items() if n not in gone}
        said = self._ledger.judge(transactions, self._knowledge, versions)
        if stored is not None and self._beside.active:
            stored()
            self._checkpoint("write events")
        self._checkpoint("judge")
        self._write(said)

    def _write(self, said: Said) -> None:
        if said.flips:
            # A verdict loses by its version; a flip is numbered by what we believe to be the last. So we look once more.
            self._desk.read()
            said = said.without(self._ownership.fenced())
        if any(flip.body for flip in said.flips):
            self._insist(lambda: self._diary.write(self.fold, force=True))
        flipped = self._beside.begin(lambda: self._store.write_flips(said.flips)) if said.flips else None
        if said.keys and self._beside.active:
            self._insist(lambda: self._store.write_keys(said.keys))
        if flipped is not None:
            flipped()
        self._checkpoint("write flips")
        if said.verdicts:
            self._insist(lambda: self._store.write_verdicts(said.verdicts))
        if said.keys and not self._beside.active:
            self._insist(lambda: self._store.write_keys(said.keys))
        self._checkpoint("write verdicts")
        self.counters.verdicts += len(said.verdicts)
        self.counters.flips += len(said.flips)

    def _produce(self, batch: Batch, merged: Merged, outbox: Outbox) -> None:
        """Send links, copies, facts and what belongs elsewhere, in chunks, and wait until the log has them."""
        for transaction, claim in merged.claims:
            origin = batch.homes[transaction]
            to, alias = address(transaction[0], number_of(transaction[1])), address(*claim.alias)
            link = Link(alias, to, batch.versions[origin], claim.at, claim.by, claim.shared, claim.state)  # type: ignore[arg-type]
            depth = batch.depths.get(transaction, 0) + 1
            self._post(outbox, origin, depth, "link", alias.encode(), encode_lines([link]))
        for sent in self._book.sent(batch.keeps, batch.links, batch.versions) if batch.pages else ():
            depth = batch.depths.get(sent.alias, 0) + 1
            self._post(outbox, batch.pages[sent.alias], depth, sent.kind, sent.key, sent.line, imported=sent.imported)
        self._send(outbox)
        self._checkpoint("produce")

    def _post(
        self, outbox: Outbox, origin: int, depth: int, kind: str, key: bytes, line: bytes, *, imported: bool = False
    ) -> None:
        try:
            outbox.add(origin, depth, kind, key, line, imported=imported)
        except Invalid as error:
            # What goes round in circles ends; the record that it began with is stored and judged.
            log.error("%s for %s: %s", kind, key.decode("utf-8", "replace"), error)
        if outbox.full:
            self._send(outbox)

    def _erase(self, batch: Batch) -> None:
        """What was forgotten goes: others are told and have acknowledged before anything is deleted."""
        found = self._insist(lambda: self._eraser.find(batch.leaving, roles_of(self.flows)))
        self._deliver(self._insist(lambda: self._eraser.parcels(found)))
        outbox = Outbox(self._partitions)
        self._insist(lambda: self._eraser.tell_others(found, batch.versions, outbox))
        self._send(outbox)
        self._insist(lambda: self._eraser.erase(found, self.fold.now))
        stay = {one: partition for one, partition in found.stay.items() if partition in self._ownership.active}
        if stay:
            self._insist(lambda: self._ledger.load(stay))
            self._judge(list(stay))

    def _send(self, outbox: Outbox) -> None:
        self._deliver(outbox.take())

    def _deliver(self, parcels: Sequence[Parcel]) -> None:
        if not parcels:
            return
        acks = self._insist(lambda: self._sink.produce([record for _, record in parcels]))
        for (to, _), ack in zip(parcels, acks, strict=True):
            owned = self._ownership.active.get(to.origin)
            if owned is not None:
                owned.forward(to.depth, to.home, ack.offset + 1)
        self.counters.forwarded += len(parcels)

    def _finish(self, batch: Batch) -> None:
        for number, position in batch.positions.items():
            owned = self._ownership.active.get(number)
            if owned is not None:
                owned.position = position
                owned.through = max(owned.through, batch.through[number])
                self._ledger.processed[number] = owned.through
        self._insist(lambda: self._ownership.announce(batch.positions))
        self._checkpoint("announce")
        self._uncommitted.update(batch.positions)
        self._commit(batch.positions)
        self._checkpoint("commit")

    def _commit(self, positions: dict[int, int]) -> None:
        try:
            self._insist(lambda: self._consumer.commit(positions))
        except Fenced:
            log.warning("%s: the group gave us up; what was not committed is read again by the next owner", self._name)
        else:
            for number in positions:
                self._uncommitted.pop(number, None)

    def _commit_left(self) -> None:
        """A commit is refused as a whole for the sake of one partition: what is still ours of it is committed now."""
        active = self._ownership.active
        left = {n: p for n, p in self._uncommitted.items() if n in active and active[n].position == p}
        self._uncommitted = dict(left)
        if left:
            self._commit(left)

    def _count(self, batch: Batch) -> None:
        self._ledger.evict()
        self._book.evict()
        self._insist(lambda: self._diary.write(self.fold))
        self.counters.records += batch.records
        self.counters.events += batch.events
        self.counters.quarantined += len(batch.quarantine)
        self.counters.batches += 1
        self.counters.conflicts = self._ledger.conflicts
        if self.counters.batches % self.policy.trim_every == 0:
            self._trim()

    def _trim(self) -> None:
        # By what is committed: a position of ours may have been refused, and whoever comes next reads on from the commit.
        committed = self._insist(lambda: self._consumer.committed(self._ownership.active))
        positions = {number: position for number, position in committed.items() if position is not None}
        self._insist(lambda: self._log.trim(positions))

    # What is due ---------------------------------------------------------------------------------------------------

    def _judge_due(self) -> bool:
        """Judge again, at a bounded rate, those whose wait is over and those whom a changed hearing concerns."""
        self._refresh()
        wanted = dict.fromkeys(self._ledger.agenda.due(self._knowledge, self.policy.max_due))
        while self._queue and len(wanted) < self.policy.max_due:
            wanted[self._queue.popitem()[0]] = None
        homes = self._ledger.partition_of
        due = {transaction: homes[transaction] for transaction in wanted if transaction in homes}
        if not due:
            return False
        self._insist(lambda: self._ledger.load(due))
        self._judge(list(due))
        self._ledger.evict()
        return True

    def _tick(self, *, force: bool = False) -> None:
        """Say how far we are while nothing comes in. What was asked of the log before is what we may vouch for."""
        now, active = self._pacing(), self._ownership.active
        still = self._stands_still(now)
        if force or not 0 <= now - self._ticked < self.policy.tick_every:
            self._ticked, speakers = now, list(active)
        elif still:
            speakers = list(active)[:1]
        else:
            return
        if not active:
            return
        read_to = self.fold.now
        ends = self._insist(lambda: self._consumer.end_offsets(active))
        ours = self._consumer.assignment()
        for number, owned in active.items():
            if (
                number in ours
                and self._consumer.position(number) == owned.position >= ends.get(number, 0)
                and read_to != NEVER
            ):
                owned.through = max(owned.through, read_to)
        self._insist(lambda: self._ownership.announce(speakers, always=True))
        self._desk.note_departed()
        self._insist(lambda: self._diary.write(self.fold))

    def _stands_still(self, now: int) -> bool:
        """Whether nobody moved control time for long. A clock of ours that jumped back is no reason to wait."""
        position, since = self._moved
        if position != self.fold.position:
            self._moved = (self.fold.position, now)
            return False
        return not 0 <= now - since < self.policy.pulse_every

    def _caught_up(self, ends: dict[int, int], control_end: int) -> bool:
        """Whether everyone together has processed both topics up to these ends, and what was forwarded on the way."""
        targets = dict(ends)
        for partition in self.fold.partitions.values():
            for offsets in partition.forwarded.values():
                for number, after in offsets.items():
                    targets[number] = max(after, targets.get(number, 0))
        done = self.fold.partitions
        return self.fold.position >= control_end and all(
            end == 0 or (number in done and (done[number].position >= end or self._empty_below(number, end)))
            for number, end in targets.items()
        )

    def _empty_below(self, number: int, end: int) -> bool:
        """Whether a partition of ours has nothing left below ``end``, though nothing was read up to it just now."""
        owned = self._ownership.active.get(number)
        return owned is not None and owned.position >= end


def _heard_otherwise(before: Knowledge, now: Knowledge) -> bool:
    """Whether a system was heard otherwise than we knew: an interval opened or was lifted, or it fell silent or spoke."""
    if before.hearing.keys() != now.hearing.keys():
        return True
    return any(
        (heard.deaf, heard.silent) != (now.hearing[system].deaf, now.hearing[system].silent)
        for system, heard in before.hearing.items()
    )
