"""Eraser: deletes what was forgotten from every table of the partitions that a worker owns (``lastseen forget``).

A person's word is one record in every partition. In each the owner finds what lives there: transactions of which any event
carries the key (a customer's orders: they go whole, or what is left of them would look lost), events kept under aliases,
quarantined bytes. Of each transaction that goes its owner tells every partition, with its aliases, so that claims of it, and
what is kept for it alone, go where they lie. Where the key is a transaction's own, or a transaction went along, others that
carry its name stay: the name is taken out of their events, and they are judged again (a cart that became a forgotten order, a
file with a thousand of them). A later event that carries the key takes its transaction along as well: what is left depends on
the set of events, not on which came first.

Steps: 1. find; 2. tell the other partitions, and other claimants of its aliases; await their acknowledgement; 3. tombstones
(salted digests), accounts; 4. delete; 5. memory. All before the offsets are committed. A crash before 3 finds all of it again,
one after 3 what is left: nothing is deleted of which the others were not told, and nothing can come back in between.

What is left behind knowingly: the running numbers (no personal data), that *something* of this key type was forgotten, and the
log's own copy until its retention. A replay of the log brings nothing back: the digests refuse it, and the word itself is in the
log behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.core.correlate import ACCEPTED, BROKEN, CLAIMED, DECISION, RECLAIMED, WITHDRAWN, Roles
from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.store.accounts import FORGOTTEN
from pipeline.store.claims import links_going
from pipeline.store.contract import Alias, EventRow, LinkRow, ParkedRow, QuarantineRow, Store, Transaction
from pipeline.store.erasing import Key, kept_of, pattern_for, quarantined, tombstoned
from pipeline.store.rows import home
from pipeline.work.book import Book
from pipeline.work.courier import Address, Outbox, Parcel
from pipeline.work.forgotten import ALIAS, KEY, TRANSACTION, Forgotten, new_salt, tombstone_of, without
from pipeline.work.leaving import Leaving, accounts_of, numbers_in
from pipeline.work.retention import Retention
from schemas import wire
from schemas.joined import Forget, Lines, address, encode_lines, parts
from schemas.landscape import Landscape
from schemas.wire import Observed
from tracer.record import EVENTS, Record

log = logging.getLogger("lastseen.worker")
_ALIASES_TOLD = 500
_ALL = 1_000_000


@dataclass(slots=True)
class Found:
    """What of one batch's words lives here. ``transactions``: to the partition; ``naming``: others that carry the name of one
    that goes. ``claims``: alias to the forgotten ones that claimed it, and to its partition in ``pages``."""

    keys: list[tuple[Key, str]] = field(default_factory=list)
    transactions: dict[Transaction, int] = field(default_factory=dict)
    naming: dict[Transaction, dict[Key, int]] = field(default_factory=dict)
    claims: dict[Alias, set[Transaction]] = field(default_factory=dict)
    pages: dict[Alias, int] = field(default_factory=dict)
    ownerless: dict[Alias, None] = field(default_factory=dict)
    kept: list[ParkedRow] = field(default_factory=list)
    quarantine: dict[str, QuarantineRow] = field(default_factory=dict)

    @property
    def stay(self) -> dict[Transaction, int]:
        """Those of which only a name goes, to the partition."""
        return {one: max(keys.values()) for one, keys in self.naming.items() if one not in self.transactions}


class Eraser:
    """``checkpoint``: called with the name of each step when it is done. ``erased``: how many transactions, since the start."""

    def __init__(
        self, store: Store, landscape: Landscape, retention: Retention, book: Book, partitions: int,
        checkpoint: Callable[[str], None] = lambda _: None,
    ):  # fmt: skip
        self._store, self._landscape, self._retention, self._book = store, landscape, retention, book
        self._partitions, self._checkpoint = partitions, checkpoint
        self.erased = 0

    @property
    def _forgotten(self) -> Forgotten:
        return self._retention.forgotten

    # 1 -------------------------------------------------------------------------------------------------------------

    def find(self, leaving: Leaving, roles: Roles) -> Found:
        """What is to go. Raises ``Unavailable``."""
        found = Found()
        found.transactions.update(leaving.tainted)
        for partition, forget in leaving.forgets:
            key = parts(forget.key)
            if forget.mode == KEY:
                self._find_key(key, forget.salt, partition, found)
            else:
                self._find_claims(key, forget.aliases, partition, found)
                self._find_named(key, partition, found, generations=False)
        for alias, partition in leaving.aliases.items():
            found.pages[alias] = partition
            found.claims.setdefault(alias, set())
        self._find_kept(found, roles)
        self._find_kept_with(leaving, found)
        self._find_quarantine(leaving, found)
        return found

    def _home(self, key: Key) -> int:
        return home(key, self._partitions)

    def _find_key(self, key: Key, salt: str, partition: int, found: Found) -> None:
        found.keys.append((key, salt))
        self._find_named(key, partition, found, generations=True)
        if self._home(key) == partition:
            found.pages[key] = partition
            found.ownerless[key] = None

    def _find_named(self, key: Key, partition: int, found: Found, *, generations: bool) -> None:
        """Transactions that live here and carry the key: those that go (all generations of a number that a person meant), and
        those of which only the name goes: they carry the number, whichever generation they mean."""
        number = key[0], number_of(key[1])
        generations = generations and key == number
        named = {(row.transaction_type, row.transaction_id) for row in self._store.find_keys(number[1], key[0])}
        named.update(self._store.late_with(number))
        own = key[0] in self._landscape.transaction_types()
        if own:
            named.add(key)
        if own and generations:
            named.update(tombstoned(self._store, key))
        for one in sorted(named):
            if self._home(one) != partition:
                continue
            if own and (one[0], number_of(one[1])) != number:
                found.naming.setdefault(one, {})[number] = partition
            elif not own or generations or one == key:
                found.transactions.setdefault(one, partition)

    def _find_claims(self, one: Transaction, aliases: Iterable[str], partition: int, found: Found) -> None:
        for alias in map(parts, aliases):
            if self._home(alias) == partition:
                found.pages[alias] = partition
                found.claims.setdefault(alias, set()).add((one[0], number_of(one[1])))

    def _find_kept(self, found: Found, roles: Roles) -> None:
        """What is kept under aliases that named a forgotten one and nobody else is its own."""
        links = self._store.load_links(list(found.claims)) if found.claims else {}
        for alias, rows in links.items():
            found.claims[alias].update(
                row[2:4] for row in rows if self._goes(row[2:4], found) or self._forgotten.link(row)
            )
            others = [
                row
                for row in rows
                if row[2:4] not in found.claims[alias] and row.state in (CLAIMED, RECLAIMED, ACCEPTED)
            ]
            joins = {roles.role(kind, alias[0]).joins for kind in roles.of} - {""}
            if joins == {"alias"} and not others:
                found.ownerless[alias] = None
        if found.ownerless:
            for kept in self._store.load_kept(list(found.ownerless)).values():
                found.kept += kept

    def _find_kept_with(self, leaving: Leaving, found: Found) -> None:
        """What is kept here, under whatever alias, and carries a word's key or names a transaction that goes along: another type of
        transaction may claim it yet."""
        asked: dict[Key, set[int]] = {}
        for partition, forget in leaving.forgets:
            kind, value = parts(forget.key)
            asked.setdefault((kind, number_of(value)), set()).add(partition)
        if not asked:
            return
        for row in kept_of(self._store, list(asked), lambda one: self._goes(one, found)):
            home = self._home(_alias(row))
            if any(home in asked[key] for key in asked.keys() & row.event.keys.items()):
                found.kept.append(row)

    def _goes(self, one: Transaction, found: Found) -> bool:
        """As links and facts name it: of a number that comes round another generation may stay."""
        if one[0] in self._forgotten.reuse:
            return self._forgotten.whole(one)
        return one in found.transactions or self._forgotten.transaction(one)

    def _find_quarantine(self, leaving: Leaving, found: Found) -> None:
        """A person's key wherever it stands in the bytes; of a transaction that goes along only what says its key type, for numbers
        of orders are short and bytes are many."""
        asked: dict[tuple[str, str, str], list[str]] = {}
        for _, forget in leaving.forgets:
            kind, value = parts(forget.key)
            asked.setdefault((kind, forget.mode, "" if forget.mode == KEY else kind), []).append(value)
        here = {partition for partition, _ in leaving.forgets}
        for (kind, _, after), values in asked.items():
            spec = self._landscape.keys.get(kind)
            numbers = [number_of(value) for value in values]
            for start in range(0, len(numbers), 100):
                pattern = pattern_for(spec, numbers[start : start + 100], after=after)
                for row in quarantined(self._store, pattern):
                    if _partition_of(row.id) in here:
                        found.quarantine[row.id] = row

    # 2 -------------------------------------------------------------------------------------------------------------

    def parcels(self, found: Found) -> list[Parcel]:
        """Records to tell every partition of the transactions that go along, with the aliases that they claim."""
        fresh = [one for one in found.transactions if not self._forgotten.told(one)]
        if not fresh:
            return []
        salt = next(iter(self._forgotten.salts), "") or new_salt()
        ended = self._retention.ended({one: found.transactions[one] for one in fresh})
        aliases = {
            one: list(dict.fromkeys(address(*row[:2]) for row in rows))
            for one, rows in links_going(self._store, fresh).items()
        }
        return [
            self._parcel(
                found.transactions[one],
                number,
                Forget(address(*one), salt, "transaction", tuple(part), at=ended.get(one, 0)),
            )
            for one, names in aliases.items()
            for part in ([names[at : at + _ALIASES_TOLD] for at in range(0, len(names), _ALIASES_TOLD)] or [[]])
            for number in range(self._partitions)
        ]

    def _parcel(self, origin: int, number: int, forget: Forget) -> Parcel:
        headers = ((wire.KIND, b"forget"), (wire.DEPTH, b"1"))
        record = Record(EVENTS, forget.key.encode(), encode_lines([forget]), headers, number)
        return Parcel(Address(origin, 1, number, "forget", False), record)

    def tell_others(self, found: Found, versions: Mapping[int, int], outbox: Outbox) -> None:
        """Whoever claims an alias beside one that goes hears of it no more: as if it had withdrawn."""
        shared = [alias for alias in found.claims if alias not in found.ownerless and found.claims[alias]]
        if not shared:
            return
        self._book.load({alias: found.pages[alias] for alias in shared})
        rows: dict[Alias, list[LinkRow]] = {}
        for alias in shared:
            version = versions[found.pages[alias]]
            for one in sorted(found.claims[alias]):
                said = self._book.claims_by(alias, one) or [("", 0)]
                rows.setdefault(alias, []).extend(
                    LinkRow(*alias, *one, by, at, False, BROKEN if by == DECISION else WITHDRAWN, version)
                    for by, at in said
                )
        self._book.merge({}, rows)
        for sent in self._book.sent({}, rows, versions):
            to = parts(sent.key.decode())
            if to not in found.claims[sent.alias] and not self._goes(to, found):
                try:
                    outbox.add(found.pages[sent.alias], 1, sent.kind, sent.key, sent.line, imported=sent.imported)
                except Invalid as error:
                    log.error("%s", error)
        self._book.forget(shared)
        self._checkpoint("forget: told")

    # 3, 4, 5 -------------------------------------------------------------------------------------------------------

    def erase(self, found: Found, now: int) -> None:
        """Mark, delete, and let go. Raises ``Unavailable``; may be called again then."""
        gone = sorted(found.transactions)
        until = now + self._landscape.tombstones
        salt = next(iter(self._forgotten.salts), "") or new_salt()
        tombstones = [tombstone_of(KEY, key, own, now, until) for key, own in found.keys]
        ended = self._retention.ended(found.transactions)
        tombstones += [tombstone_of(TRANSACTION, one, salt, now, until, ended.get(one, 0)) for one in gone]
        tombstones += [tombstone_of(ALIAS, alias, salt, now, until) for alias in found.ownerless]
        numbers = [*self._store.numbers_of(gone), *numbers_in(row.event for row in found.kept)]
        numbers += [(row.source, row.epoch, number) for row in found.quarantine.values() for number in row.numbers]
        if tombstones:
            self._store.write_tombstones(tombstones)
        self._store.write_accounts(accounts_of(numbers, FORGOTTEN, now))
        self._checkpoint("forget: marked")
        self._forgotten.learn(tombstones)
        self._take_names_out(found)
        self._delete(found, gone)
        self._retention.drop(gone)
        self._book.forget(
            {**dict.fromkeys(found.claims), **found.ownerless, **{_alias(row): None for row in found.kept}}
        )
        self.erased += len(gone)
        log.info("%d transactions were forgotten, with %d kept events and %d quarantined records", len(gone), len(found.kept),
                 len(found.quarantine))  # fmt: skip
        self._checkpoint("forget: deleted")

    def _take_names_out(self, found: Found) -> None:
        """Out of the events of those that stay, where they mean one that goes. The key rows, by which they were found, go last."""
        for one in found.stay:
            keys = found.naming[one]
            events = self._store.load_events([one])[one]
            late = [row.event for row in self._store.late(_ALL) if row[:2] == one]
            naming = [(event, names) for event in events if (names := self._names(event, keys))]
            plain = [without(event, names) for event, names in naming]
            self._store.write_events([EventRow(*one, event, wire.encode([event])) for event in plain])
            gone = {event.id for event, _ in naming} | {event.id for event in late if self._names(event, keys)}
            self._store.delete_events([(one, id) for id in sorted(gone)])
            for key in keys:
                # What was said of it rests on events whose ids hold the name, as often as not.
                self._store.unname_in(key, [one])
            kept = {key for event in (*events, *late) if event.id not in gone for key in event.keys.items()}
            self._store.delete_keys([(key, one) for key in keys.keys() - kept])
            self._retention.drop([one])
        self._checkpoint("forget: names taken out")

    def _names(self, event: Observed, keys: Mapping[Key, int]) -> list[str]:
        """The key types by which it names one that goes; by its time, where numbers come round."""
        named = keys.keys() & event.keys.items()
        return [key[0] for key in named if self._forgotten.meant(key, event.time)]

    def _delete(self, found: Found, gone: list[Transaction]) -> None:
        store = self._store
        if found.kept:
            store.delete_kept([(_alias(row), row.id) for row in found.kept], erase=True)
        if found.quarantine:
            store.delete_quarantine(list(found.quarantine), erase=True)
        claims = [(alias, one) for alias, claimants in found.claims.items() for one in sorted(claimants)]
        if claims:
            store.delete_links(claims)
        self._checkpoint("forget: aliases deleted")
        for one in gone:
            store.unname(one)
        if gone:
            # Of one that retention deleted before, its number is still there to read.
            store.delete_tombstones([(kind, id) for kind, id in gone])
            store.delete_transactions(gone, erase=True)
        if found.keys:
            store.purge()


def _partition_of(id: str) -> int:
    """Of ``topic:partition:offset:place``."""
    return int(id.rsplit(":", 3)[1])


def _alias(row: ParkedRow) -> Alias:
    return row.alias_type, row.alias


FORGETS = Lines(Forget)
