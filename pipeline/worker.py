"""The worker: from the event log to verdicts, in the numbered steps of law 3.

1. decode    2. write events, links    3. merge    4. judge    5. write flips    6. write verdicts, keys    7. produce copies,
links, facts and what belongs elsewhere, await their acknowledgement    8. announce progress    9. commit offsets

What is kept under an alias is not removed when it is released (§5 keeps it for claimants to come); it expires.

A crash between any two loses nothing and doubles nothing: rows have identity, and what is produced is decided by the records.
While a store outside this interpreter writes events, 3 and 4 go on in memory (``work.beside``); 5 waits for it.
Policy (limits, pauses) is frozen and read once; time and waiting are arguments.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing

from pipeline.core.control import ControlFold
from pipeline.core.correlate import roles_of
from pipeline.errors import Unavailable
from pipeline.log import Log, LogRecord
from pipeline.log.contract import GROUP
from pipeline.store.contract import Store, Transaction
from pipeline.work.batch import Batch, place_at
from pipeline.work.beside import Beside
from pipeline.work.book import Book
from pipeline.work.courier import Outbox
from pipeline.work.desk import Desk
from pipeline.work.diary import Diary
from pipeline.work.eraser import Eraser
from pipeline.work.forgotten import Forgotten
from pipeline.work.intake import Intake
from pipeline.work.knowing import Knowing
from pipeline.work.ledger import Ledger, Merged
from pipeline.work.membership import Membership
from pipeline.work.numbers import repeated
from pipeline.work.ownership import Ownership
from pipeline.work.patience import Patience
from pipeline.work.policy import Counters, Policy, Stopping, monotonic_micros
from pipeline.work.post import Post
from pipeline.work.pulse import Pulse
from pipeline.work.retention import Retention
from pipeline.work.saying import Said
from pipeline.work.trust import Trust
from schemas.flow import Flows
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
        self._log, self._store = log, store
        self._pacing, self._stop, self._checkpoint = pacing, stop or threading.Event(), checkpoint
        self._opened = ExitStack()
        try:
            self._sink = self._opened.enter_context(closing(log.producer()))
            self._consumer = self._opened.enter_context(closing(log.consumer(group)))
            self._ownership = Ownership(self.fold, self._consumer, self._sink, name)
            patience = Patience(self.policy, self.counters, self._stop, self._ownership.hold, self._ownership.go_on)
            self._insist = patience.insist
            beside = Beside(self._insist, thread=getattr(store, "beside", False))
            self._beside = self._opened.enter_context(closing(beside))
            self._desk = self._opened.enter_context(closing(Desk(log, self.fold, self._sink, patience)))
            self._desk.read()
            self._partitions = self._desk.agree_on_partitions(self._consumer)
            flows = self._desk.publish(flows)
        except BaseException:
            self.close()
            raise
        roles = roles_of(flows)
        self._ledger = Ledger(store, flows, self._partitions, roles, self.policy.capacity)
        self._book = Book(store, roles, self._partitions, self.policy.capacity)
        trust = Trust(self.policy.trust)
        forgotten = Forgotten(landscape.transaction_types(), landscape.reuse())
        self._intake = Intake(landscape, self._partitions, trust, roles, forgotten)
        self._retention = Retention(store, landscape, self._ledger, self._book, forgotten, self._partitions)
        self._eraser = Eraser(store, landscape, self._retention, self._book, self._partitions, checkpoint)
        self._diary = Diary(store)
        self._knowing = Knowing(self.fold, flows, self._partitions, self._ledger, self._book, self._intake, trust)
        self._membership = Membership(
            name, self.fold, self._consumer, self._ownership, self._desk, patience, self._knowing,
            self._ledger, self._book, self._retention,
        )  # fmt: skip
        self._post = Post(self._sink, self._ownership, patience, self.counters)
        self._pulse = Pulse(self.policy, self.fold, self._consumer, self._ownership, self._desk, self._diary, patience)

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
            if busy or not self._pulse.caught_up(ends, control_end):
                quiet = 0
                continue
            # Ticks tell everyone how far we are; what they bring about has to be seen as well.
            self._tick(force=True)
            self._desk.read()
            self._knowing.refresh()
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
        self._membership.follow()
        taken = self._insist(lambda: self._poll(poll_ms))
        self._membership.follow()
        self._membership.commit_left()
        self._knowing.refresh()
        polled = self._insist(lambda: self._ownership.read_on(taken))
        if polled:
            self._batch(polled)
        due = self._judge_due()
        swept = self._insist(lambda: self._retention.sweep(sorted(self._ownership.active), self.fold.now))
        self._tick()
        return bool(polled) or due or swept or bool(self._ownership.wanted)

    @property
    def flows(self) -> Flows:
        """What is judged by."""
        return self._knowing.flows

    @property
    def owned(self) -> frozenset[int]:
        """Partitions in work."""
        return frozenset(self._ownership.active)

    def close(self) -> None:
        """Leave the group at once; what was committed stays. Where a part cannot be closed, the others are."""
        self._opened.close()

    def _poll(self, poll_ms: int) -> dict[int, list[LogRecord]]:
        try:
            return self._consumer.poll(self.policy.max_records, poll_ms)
        except Unavailable:
            self._ownership.doubt()
            raise

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
        said = self._ledger.judge(transactions, self._knowing.knowledge, versions)
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
        self._post.put(batch, merged.claims, self._book, outbox)
        self._post.send(outbox)
        self._checkpoint("produce")

    def _erase(self, batch: Batch) -> None:
        """What was forgotten goes: others are told and have acknowledged before anything is deleted."""
        found = self._insist(lambda: self._eraser.find(batch.leaving, roles_of(self._knowing.flows)))
        self._post.deliver(self._insist(lambda: self._eraser.parcels(found)))
        outbox = Outbox(self._partitions)
        self._insist(lambda: self._eraser.tell_others(found, batch.versions, outbox))
        self._post.send(outbox)
        self._insist(lambda: self._eraser.erase(found, self.fold.now))
        stay = {one: partition for one, partition in found.stay.items() if partition in self._ownership.active}
        if stay:
            self._insist(lambda: self._ledger.load(stay))
            self._judge(list(stay))

    def _finish(self, batch: Batch) -> None:
        for number, position in batch.positions.items():
            owned = self._ownership.active.get(number)
            if owned is not None:
                owned.position = position
                owned.through = max(owned.through, batch.through[number])
                self._ledger.processed[number] = owned.through
        self._insist(lambda: self._ownership.announce(batch.positions))
        self._checkpoint("announce")
        self._membership.commit(batch.positions)
        self._checkpoint("commit")

    def _count(self, batch: Batch) -> None:
        self._ledger.evict()
        self._book.evict()
        self._insist(lambda: self._diary.write(self.fold))
        self.counters.records += batch.records
        self.counters.events += batch.events
        self.counters.quarantined += len(batch.quarantine)
        self.counters.batches += 1
        self.counters.conflicts = self._ledger.conflicts
        # Where the log keeps what was read, what was forgotten is in it still: that goes at once.
        if batch.leaving.erasing or self.counters.batches % self.policy.trim_every == 0:
            self._trim(wipe=batch.leaving.erasing)

    def _trim(self, *, wipe: bool = False) -> None:
        # By what is committed: a position of ours may have been refused, and whoever comes next reads on from the commit.
        committed = self._insist(lambda: self._consumer.committed(self._ownership.active))
        positions = {number: position for number, position in committed.items() if position is not None}
        self._insist(lambda: self._log.trim(positions, wipe=wipe))

    # What is due ---------------------------------------------------------------------------------------------------

    def _judge_due(self) -> bool:
        """Judge again, at a bounded rate, those whose wait is over and those whom a changed hearing concerns."""
        self._knowing.refresh()
        due = self._insist(lambda: self._knowing.due(self.policy.max_due))
        if not due:
            return False
        self._insist(lambda: self._ledger.load(due))
        self._announce_anew(due)
        self._judge(list(due))
        self._ledger.evict()
        return True

    def _announce_anew(self, due: Mapping[Transaction, int]) -> None:
        """What those claim that owe it, as of how far their partition was read; before they are judged: then none is owed."""
        claims = self._ledger.claims_owing(due)
        if claims:
            places = {
                n: place_at(owned.through, max(owned.position - 1, 0)) for n, owned in self._ownership.active.items()
            }
            batch = Batch(homes={one: due[one] for one, _ in claims}, versions=places)
            outbox = Outbox(self._partitions)
            self._post.put(batch, [one for one in claims if due[one[0]] in places], self._book, outbox)
            self._post.send(outbox)

    def _tick(self, *, force: bool = False) -> None:
        self._pulse.tick(self._pacing(), force=force)
