"""Retention: what is too old goes, what comes after that is late, and what was forgotten does not come back (DESIGN.md §7, Store).

Retention counts from a transaction's *end*, on control time: one all of whose verdicts ended, and wait for nothing, longer ago than
``retention`` is deleted from every table. Open ones are exempt, however old. A tombstone stays for ``tombstones`` longer. What
arrives for it is recorded as late and never judged: one proof of delivery that comes after its order has gone would else be an
order without a start. Which generation of a number that comes round an event belongs to: ``pipeline.core.generations``.

The steps of a sweep are: accounts (so that the audit finds the numbers), tombstones, rows, memory. A crash between any two leaves
candidates that the next sweep finds again.

Where nothing has expired and nothing was forgotten, a batch pays for one look at whether that is so; else a transaction that is not
in memory pays for one look into a filter.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from pipeline.core.generations import AHEAD, Span, ids, nearest, next_id, number_of
from pipeline.core.hearing import NEVER
from pipeline.store.accounts import EXPIRED, FORGOTTEN
from pipeline.store.contract import DisputeRow, EventRow, KeyRow, ParkedRow, Store, Transaction
from pipeline.store.retention import TombstoneRow
from pipeline.store.rows import home
from pipeline.work.batch import Batch
from pipeline.work.book import Book, row_id
from pipeline.work.forgotten import TRANSACTION, Forgotten, tombstone_of, without
from pipeline.work.leaving import accounts_of, numbers_in
from pipeline.work.ledger import Ledger
from pipeline.work.members import Residents
from pipeline.work.runs import Arrived
from schemas import wire
from schemas.joined import address, parts
from schemas.landscape import Landscape
from schemas.times import DAY, HOUR
from schemas.wire import Observed

log = logging.getLogger("lastseen.worker")
SWEEP_EVERY = HOUR
AT_ONCE = 500
_NUMBERS_KEPT = 100_000


class Retention:
    """``forgotten``: whom people had deleted. ``partitions``: how many the events have. ``expired``, ``late``, ``refused``: how
    many transactions were deleted, events recorded as late, and events dropped, since the start."""

    def __init__(
        self, store: Store, landscape: Landscape, ledger: Ledger, book: Book, forgotten: Forgotten, partitions: int
    ):
        self._store, self._landscape, self._partitions = store, landscape, partitions
        self._ledger, self._book = ledger, book
        self.forgotten = forgotten
        self.expired = self.late = self.refused = 0
        self._gone = Residents(partitions, 1_000)
        self._any_gone = False
        self._swept = self._rest_swept = NEVER
        self._reuse = landscape.reuse()
        self._ids: OrderedDict[Transaction, list[str]] = OrderedDict()
        self._refused_at: dict[
            Transaction, int
        ] = {}  # of generations that go along with an event that is refused: its time

    def open(self, partitions: Sequence[int], now: int) -> None:
        """Take partitions over: who has gone, and who was forgotten."""
        self.forgotten.learn(row for row in self._store.tombstones([FORGOTTEN]) if row.until > now)
        self._gone.open(partitions)
        for row in self._store.tombstones([EXPIRED]):
            if home((row.key_type, number_of(row.digest)), self._partitions) in partitions:
                self._mark_gone((row.key_type, row.digest))

    def _mark_gone(self, transaction: Transaction) -> None:
        self._gone.add(transaction)
        if transaction[0] in self._reuse:
            # Who looks for its generations looks for the number: its first may have no tombstone any more.
            self._gone.add((transaction[0], number_of(transaction[1])))
        self._any_gone = True

    # What comes in -------------------------------------------------------------------------------------------------

    def admit(self, batch: Batch, now: int) -> None:
        """Take out of a batch what may not be stored or judged, and file the rest under its generation. Reads the store where it
        must; may be called again where that failed."""
        self._hear_of_forgotten(batch, now)
        if self._reuse:
            self._file(batch)
        # By the id under which it is filed: of a number that comes round one generation may be forgotten and another live.
        if self.forgotten:
            self._refuse_forgotten(batch)
        if self._any_gone:
            self._set_late_apart(batch)

    def write(self, batch: Batch, now: int) -> None:
        """What of a batch is recorded although it is not stored as events; and names of generations, before their events."""
        leaving = batch.leaving
        if leaving.keys:
            self._store.write_keys(leaving.keys)
        if leaving.late:
            self._store.write_late(leaving.late)
        accounts = accounts_of(numbers_in(leaving.refused), FORGOTTEN, now)
        accounts += accounts_of(numbers_in(row.event for row in leaving.late), EXPIRED, now)
        if accounts:
            self._store.write_accounts(accounts)
        self.late += len(leaving.late)
        self.refused += len(leaving.refused)

    def _hear_of_forgotten(self, batch: Batch, now: int) -> None:
        """Learn what is to go; whoever read an event elsewhere knows of its transaction the number and a time."""
        forgets = batch.leaving.forgets
        for place, (partition, forget) in enumerate(forgets):
            key = parts(forget.key)
            by_time = forget.mode == TRANSACTION and forget.at and key[0] in self._reuse
            if by_time and home(key, self._partitions) == partition:
                key = key[0], self._filed_under(key, partition, forget.at)
                forgets[place] = (partition, replace(forget, key=address(*key)))
            self.forgotten.learn([tombstone_of(forget.mode, key, forget.salt, now, now, forget.at)], heard=True)

    def _filed_under(self, one: Transaction, partition: int, time: int) -> str:
        if one[1] != number_of(one[1]):
            return one[1]
        spans = self._spans(one, partition)
        span = nearest(list(spans.values()), time, self._reuse[one[0]])
        return span.id if span else next_id(one[1], spans)

    def ended(self, transactions: Mapping[Transaction, int]) -> dict[Transaction, int]:
        """Of generations of numbers that come round (to partition): µs of the last known event, by which what comes for them is
        known."""
        mine = {one: partition for one, partition in transactions.items() if one[0] in self._reuse}
        if not mine:
            return {}
        expired = self._store.load_tombstones(list(mine))
        self._ledger.load(mine)
        found = {}
        for one in mine:
            span, row = self._ledger.span(one), expired.get(one)
            last = max(span[1] if span else 0, row.ended_at if row else 0)
            found[one] = max(last, self._refused_at.get(one, 0), self.forgotten.ended(one))
        return found

    def _refuse_forgotten(self, batch: Batch) -> None:
        """One event that carries a forgotten key takes its transaction along, in whatever order the others come."""
        leaving, forgotten = batch.leaving, self.forgotten
        for one, arrived in list(batch.arrivals.items()):
            known = forgotten.transaction(one)
            if known or one in leaving.tainted or any(forgotten.carried(event.keys) for event, _ in arrived):
                leaving.refused += [event for event, _ in arrived]
                leaving.tainted.setdefault(one, batch.homes[one])
                if one[0] in self._reuse and not known:
                    self._refused_at[one] = max(event.time for event, _ in arrived)
                _take_out(batch, one)
            else:
                batch.arrivals[one] = [self._redacted(event, line, one[0]) for event, line in arrived]
            if known:
                leaving.tainted.pop(one, None)
        for one in [one for one in batch.homes if one in leaving.tainted or forgotten.transaction(one)]:
            _take_out(batch, one)
        leaving.keys = [row for row in leaving.keys if row[2:4] in batch.homes]
        for one, rows in batch.facts.items():
            batch.facts[one] = [self._unnamed(row) for row in rows]
        self._refuse_aliases(batch)

    def _redacted(self, event: Observed, line: bytes, own: str) -> Arrived:
        names = self.forgotten.names(event.keys, event.time, own)
        if not names:
            return event, line
        plain = without(event, names)
        return plain, wire.encode([plain])

    def _unnamed(self, row: DisputeRow) -> DisputeRow:
        """What a transaction is told of an alias, without those who were forgotten."""
        meant = self.forgotten.meant
        others = tuple(other for other in row.others if not meant(parts(other), None))
        return row._replace(
            others=others, holders=tuple((id, at) for id, at in row.holders if not meant((row.key_type, id), at))
        )

    def _refuses(self, event: Observed) -> bool:
        names = self.forgotten.names(event.keys, event.time)
        return self.forgotten.carried(event.keys) or bool(names and self.forgotten.theirs(event.keys, names))

    def _plain(self, row: ParkedRow) -> ParkedRow:
        event, line = self._redacted(row.event, row.body, "")
        return row if event is row.event else row._replace(id=row_id(event, row[1:3]), event=event, body=line)

    def _refuse_aliases(self, batch: Batch) -> None:
        leaving, forgotten = batch.leaving, self.forgotten
        for alias, rows in list(batch.keeps.items()):
            gone = forgotten.alias(alias)
            batch.keeps[alias] = []
            for row in rows:
                if gone or self._refuses(row.event):
                    leaving.refused.append(row.event)
                else:
                    batch.keeps[alias].append(self._plain(row))
        for alias, links in list(batch.links.items()):
            kept = [row for row in links if not forgotten.link(row)]
            if len(kept) < len(links):
                leaving.aliases[alias] = batch.pages[alias]
            batch.links[alias] = kept
        for table in (batch.keeps, batch.links):
            for alias in [alias for alias, rows in table.items() if not rows]:
                del table[alias]
        for alias in [alias for alias in batch.pages if alias not in batch.keeps and alias not in batch.links]:
            del batch.pages[alias]

    def _set_late_apart(self, batch: Batch) -> None:
        asked = [one for one in batch.homes if one in self._gone and not self._ledger.holds(one)]
        if not asked:
            return
        found = self._store.load_tombstones(asked)
        for one in asked:
            if one in found and found[one].kind == EXPIRED:
                batch.leaving.late += [EventRow(*one, event, line) for event, line in batch.arrivals.get(one, ())]
                _take_out(batch, one)

    # Numbers that come round ---------------------------------------------------------------------------------------

    def _file(self, batch: Batch) -> None:
        for one in [one for one in batch.arrivals if one[0] in self._reuse and one[1] == number_of(one[1])]:
            spans = self._spans(one, batch.homes[one])
            filed: dict[str, list[Arrived]] = {}
            for event, line in sorted(batch.arrivals[one], key=lambda arrived: (arrived[0].time, arrived[0].id)):
                span = nearest(list(spans.values()), event.time, self._reuse[one[0]])
                id = span.id if span else next_id(one[1], spans)
                if span is None and id != one[1]:
                    batch.leaving.keys.append(KeyRow(one[0], one[1], one[0], id, event.time))
                    self._ids.pop(one, None)
                spans[id] = span.including(event.time) if span else Span(id, event.time, event.time)
                filed.setdefault(id, []).append((event, line))
            self._refile(batch, one, filed)
        for one in [one for one in batch.facts if one[0] in self._reuse and one[1] == number_of(one[1])]:
            for id in self._known_ids(one):
                if id != one[1]:
                    batch.facts[one[0], id] = [row._replace(transaction_id=id) for row in batch.facts[one]]
                    batch.homes[one[0], id] = batch.homes[one]

    def _refile(self, batch: Batch, one: Transaction, filed: dict[str, list[Arrived]]) -> None:
        partition, depth = batch.homes[one], batch.depths.get(one, 0)
        del batch.arrivals[one]
        if one[1] not in filed and one not in batch.facts and one not in batch.rejudge:
            del batch.homes[one]
        for id, arrived in filed.items():
            batch.arrivals[one[0], id] = arrived
            batch.homes[one[0], id] = partition
            if depth:
                batch.depths[one[0], id] = depth

    def _known_ids(self, one: Transaction) -> list[str]:
        """Under which ids the number's generations are filed, as far as there are rows; read once."""
        known = self._ids.get(one)
        if known is None:
            if not self._ledger.knows(one) and one not in self._gone:
                return []
            rows = self._store.find_keys(one[1], one[0])
            found = {row.transaction_id for row in rows if row.transaction_type == one[0]}
            known = self._ids[one] = sorted({one[1], *(id for id in found if number_of(id) == one[1])})
            if len(self._ids) > _NUMBERS_KEPT:
                self._ids.popitem(last=False)
        return known

    def _spans(self, one: Transaction, partition: int) -> dict[str, Span]:
        """Where the generations of a number lie in time; of those that have gone, where they ended."""
        known, forgotten = self._known_ids(one), self.forgotten.generations(one)
        if not known and not forgotten:
            return {}
        expired = self._expired_ids(one, {*known, *forgotten}) if self._any_gone else {}
        spans = {id: Span(id, ended, ended) for id, ended in expired.items()}
        spans.update({id: Span(id, ended, ended) for id, ended in forgotten.items()})
        there = {(one[0], id): partition for id in known if id not in spans}
        self._ledger.load(there)
        for transaction in there:
            span = self._ledger.span(transaction)
            if span is not None:
                spans[transaction[1]] = Span(transaction[1], *span)
        return spans

    def _expired_ids(self, one: Transaction, known: set[str]) -> dict[str, int]:
        """Of a number's generations those that retention deleted, to when they ended, µs; of others the ``known`` ids are taken."""
        ended: dict[str, int] = {}
        asked, count = 0, len(known) + 2 * AHEAD
        while True:
            part = ids(one[1], count)[asked:]
            found = self._store.load_tombstones([(one[0], id) for id in dict.fromkeys([*known, *part])])
            ended.update({id: row.ended_at for (_, id), row in found.items() if row.kind == EXPIRED})
            if not any(id in known or id in ended for id in part[-AHEAD:]):
                return ended
            asked, count = count, count + AHEAD

    # What goes -----------------------------------------------------------------------------------------------------

    def sweep(self, partitions: Sequence[int], now: int) -> bool:
        """Delete what has been over for too long: at most ``AT_ONCE`` transactions, so that what comes in does not wait. Whether
        there was anything to do; looks once an hour of control time."""
        if now == NEVER or now - self._swept < SWEEP_EVERY or not partitions:
            return False
        gone = self._expire(partitions, now) if self._landscape.retention is not None else 0
        if gone < AT_ONCE:
            self._swept = now
            # What others deleted, of claims and of what is kept, they don't tell.
            self._book.clear()
            if 0 in partitions and now - self._rest_swept >= DAY:
                self._rest_swept = now
                self._expire_rest(now)
        return gone > 0

    def _expire(self, partitions: Sequence[int], now: int) -> int:
        before = now - (self._landscape.retention or 0)
        rows = self._store.expired_candidates(partitions, self._partitions, before, AT_ONCE)
        ended: dict[Transaction, int] = {}
        for row in rows:
            ended[row[:2]] = max(row.ended_at, row.last_at, ended.get(row[:2], 0))
        ended = {one: at for one, at in ended.items() if one not in self._ledger.partition_of}
        if not ended:
            return 0
        gone = list(ended)
        until = now + self._landscape.tombstones
        self._store.write_accounts(accounts_of(self._store.numbers_of(gone), EXPIRED, now))
        self._store.write_tombstones([TombstoneRow(*one, EXPIRED, at, until, now, now) for one, at in ended.items()])
        self._store.delete_transactions(gone)
        for one in gone:
            self._mark_gone(one)
        self.drop(gone)
        self.expired += len(gone)
        log.info("%d transactions were deleted: they ended more than the retention ago", len(gone))
        return len(gone)

    def drop(self, transactions: Iterable[Transaction]) -> None:
        """Nothing of them stays in memory."""
        gone = list(transactions)
        self._ledger.forget(gone)
        for kind, id in gone:
            self._ids.pop((kind, number_of(id)), None)
            self._refused_at.pop((kind, id), None)

    def _expire_rest(self, now: int) -> None:
        """What nobody owns by itself: one does it for all, the owner of the first partition."""
        before = now - self._landscape.keep_for
        if self._store.account_kept(before, now):
            kept = self._store.expire_kept(before)
            log.warning(
                "%d events that waited for a transaction were given up: nobody claimed their aliases in time", kept
            )
        self._store.expire_tombstones(now)


def _take_out(batch: Batch, one: Transaction) -> None:
    batch.arrivals.pop(one, None)
    batch.facts.pop(one, None)
    batch.homes.pop(one, None)
    if one in batch.rejudge:
        batch.rejudge[:] = [other for other in batch.rejudge if other != one]
