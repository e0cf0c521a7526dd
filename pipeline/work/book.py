"""Book: the aliases of the partitions that a worker owns: who claims each, and the events kept under it (DESIGN.md §5).

Memory is a cache: everything here can be read back from the store, and what is certainly new needs no reading. What is released
rests on all that was acknowledged; a link that comes again releases again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from pipeline.core.correlate import (
    CLAIMED,
    CLEAR,
    DECISION,
    OTHERS,
    RECLAIMED,
    WITHDRAWN,
    Claims,
    Role,
    Roles,
    Standing,
    Transaction,
    nearest,
    told,
)
from pipeline.store.contract import Alias, LinkRow, ParkedRow, Reader
from pipeline.work.members import Residents
from pipeline.work.numbers import numbered
from schemas import wire
from schemas.joined import Copy, Fact, address, encode_lines
from schemas.wire import Observed

_LOAD_AT_ONCE = 1_000
_NO_ROLE = Role("", 0)


class Sent(NamedTuple):
    """A line that the book has sent. ``alias``: for whose sake."""

    alias: Alias
    kind: str
    key: bytes
    line: bytes
    imported: bool = False


@dataclass(slots=True)
class Page:
    """One alias in memory. ``kept``: row id to event."""

    partition: int
    claims: Claims = field(default_factory=Claims)
    kept: dict[str, Observed] = field(default_factory=dict)


def row_id(event: Observed, alias: Alias) -> str:
    """Event id, alias and content: one id used for two contents is two rows, of which the transaction takes the winner."""
    content = hashlib.blake2b(repr(event.content()).encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{event.id}|{alias[0]}:{alias[1]}|{content}"


class Book:
    """``capacity``: claims and events in memory; past it the pages least recently used go first."""

    def __init__(self, store: Reader, roles: Roles, partitions: int, capacity: int = 1_000_000):
        self._store, self._partitions, self._capacity = store, partitions, capacity
        self._pages: OrderedDict[Alias, Page] = OrderedDict()
        self._members = Residents(partitions)
        self._size = 0
        self.use(roles)

    def use(self, roles: Roles) -> None:
        """What key types mean from now on."""
        self._roles = roles

    # Partitions ----------------------------------------------------------------------------------------------------

    def open(self, partitions: Sequence[int]) -> None:
        """Take partitions over: which aliases are known there."""
        self._members.open(partitions)
        for alias in self._store.known_aliases(partitions, self._partitions):
            self._members.add(alias)

    def close(self, partitions: Iterable[int]) -> None:
        """Give partitions up: nothing of them stays in memory."""
        gone = frozenset(partitions)
        for alias in [alias for alias, page in self._pages.items() if page.partition in gone]:
            self._drop(alias)
        self._members.close(gone)

    def _drop(self, alias: Alias) -> None:
        page = self._pages.pop(alias)
        self._size -= len(page.kept) + len(page.claims.found)

    def forget(self, aliases: Iterable[Alias]) -> None:
        """Let go of pages whose rows were deleted."""
        for alias in aliases:
            if alias in self._pages:
                self._drop(alias)

    def clear(self) -> None:
        """Let go of all pages: what is asked for again is read again."""
        self._pages.clear()
        self._size = 0

    def claims_by(self, alias: Alias, transaction: Transaction) -> list[tuple[str, int]]:
        """By which ways, and when, a transaction claims an alias that is in memory: (by, at)."""
        return [(by, at) for one, by, at in self._pages[alias].claims.found if one == transaction]

    def evict(self) -> None:
        """Let go of what was not used for longest."""
        while self._size > self._capacity and len(self._pages) > 1:
            self._drop(next(iter(self._pages)))

    # What comes in -------------------------------------------------------------------------------------------------

    def load(self, wanted: Mapping[Alias, int]) -> None:
        """Bring the pages of these aliases (to partition) into memory."""
        missing: list[Alias] = []
        homes = self._members.homes
        for alias, partition in wanted.items():
            if alias in self._pages:
                self._pages.move_to_end(alias)
            elif (members := homes.get(partition)) is None or alias in members:
                missing.append(alias)
            else:
                members.add(alias)
                self._pages[alias] = Page(partition)
        for start in range(0, len(missing), _LOAD_AT_ONCE):
            self._read_back(missing[start : start + _LOAD_AT_ONCE], wanted)

    def _read_back(self, aliases: Sequence[Alias], wanted: Mapping[Alias, int]) -> None:
        links, kept = self._store.load_links(aliases), self._store.load_kept(aliases)
        for alias in aliases:
            page = self._pages[alias] = Page(wanted[alias])
            for row in links.get(alias, ()):
                self._claim(page, row)
            for parked in kept.get(alias, ()):
                self._keep(page, parked.id, parked.event)

    def unknown_kept(self, keeps: Mapping[Alias, list[ParkedRow]]) -> list[ParkedRow]:
        """What of a batch has to be written."""
        return [row for alias, rows in keeps.items() for row in rows if row.id not in self._pages[alias].kept]

    def repeated(self, keeps: Mapping[Alias, list[ParkedRow]]) -> Iterator[Observed]:
        """What of a batch is kept already, but under another running number."""
        for alias, rows in keeps.items():
            kept = self._pages[alias].kept
            for row in rows:
                same = kept.get(row.id)
                if same is not None and numbered(same) != numbered(row.event):
                    yield row.event

    def unknown_links(self, links: Mapping[Alias, list[LinkRow]]) -> list[LinkRow]:
        """What of a batch has to be written."""
        return [
            found for alias, rows in links.items() for row in rows if (found := self._news(self._pages[alias], row))
        ]

    def _news(self, page: Page, row: LinkRow) -> LinkRow | None:
        known = page.claims.found.get(((row.key_type, row.transaction_id), row.by, row.at))
        if known is None:
            return row
        if row.version <= known[2]:
            return None
        again = row.state == CLAIMED and known[0] in (WITHDRAWN, RECLAIMED)
        return row._replace(state=RECLAIMED) if again else row

    def merge(self, keeps: Mapping[Alias, list[ParkedRow]], links: Mapping[Alias, list[LinkRow]]) -> None:
        """Add what is stored by now."""
        for alias, rows in links.items():
            page = self._pages[alias]
            for row in rows:
                news = self._news(page, row)
                if news is not None:
                    self._claim(page, news)
        for alias, parked in keeps.items():
            page = self._pages[alias]
            for kept in parked:
                self._keep(page, kept.id, kept.event)

    def _claim(self, page: Page, row: LinkRow) -> None:
        before = len(page.claims.found)
        transaction = (row.key_type, row.transaction_id)
        page.claims.add(transaction, row.by, row.at, row.state, row.shared, row.version)
        self._size += len(page.claims.found) - before

    def _keep(self, page: Page, row: str, event: Observed) -> None:
        if row not in page.kept:
            page.kept[row] = event
            self._size += 1

    # What goes out -------------------------------------------------------------------------------------------------

    def sent(
        self, keeps: Mapping[Alias, list[ParkedRow]], links: Mapping[Alias, list[LinkRow]], version: Mapping[int, int]
    ) -> Iterator[Sent]:
        """All that a batch's events and links bring about; ``version``: partition to the place of its last record.

        What arrived goes to all that the alias names, what is kept to those who claim it now, and those are told whose standing
        may have changed. A person's word, or a claim withdrawn, may free others: then all goes to all.
        """
        for alias in dict.fromkeys((*keeps, *links)):
            page = self._pages[alias]
            if not page.kept and page.claims.only is not None:
                continue  # Most links: nothing is kept, nobody else is concerned.
            arrived = {row.id for row in keeps.get(alias, ())}
            rows = links.get(alias, ())
            claimants = {(row.key_type, row.transaction_id) for row in rows}
            types = self._roles.by_alias.get(alias[0], {})
            weak = any(role.joins == "weak" for role in types.values())
            whole = any(row.state != CLAIMED and (weak or not row.shared) for row in rows)
            own: set[str] = set()
            for kind in page.claims.transaction_types():
                role = types.get(kind, _NO_ROLE)
                standing = page.claims.resolve(kind, role)
                if any(how.joined and not how.shared for how in standing.values()):
                    own.add(kind)
                yield from self._copies(alias, page, kind, standing, arrived, None if whole else claimants)
                touched = [one for one in sorted(claimants) if one[0] == kind]
                if touched:
                    hearers = told(page.claims, kind, standing, touched, wide=whole)
                    yield from self._facts(alias, page, kind, role, standing, touched, hearers, version[page.partition])
            yield from self._passed_on(alias, page, own, None if whole else arrived)

    def _copies(
        self,
        alias: Alias,
        page: Page,
        kind: str,
        standing: Mapping[Transaction, Standing],
        arrived: set[str],
        claimants: set[Transaction] | None,
    ) -> Iterator[Sent]:
        joined = [one for one, how in standing.items() if how.joined]
        now = joined if claimants is None else [one for one in joined if one in claimants]
        if not joined or not (now or arrived):
            return
        by_way = {one: page.claims.way(alias, one, shared=standing[one].shared) for one in (joined if arrived else now)}
        for row, event in page.kept.items():
            targets = joined if row in arrived else now
            if not targets or kind in event.keys:
                continue
            raw = wire.encode([event])
            for one in targets:
                yield _copy(alias, address(*one), raw, by_way[one], event)

    def _facts(
        self,
        alias: Alias,
        page: Page,
        kind: str,
        role: Role,
        standing: Mapping[Transaction, Standing],
        touched: Sequence[Transaction],
        told_: Iterable[Transaction],
        version: int,
    ) -> Iterator[Sent]:
        hearers = dict.fromkeys(told_)
        holders = page.claims.holders(kind) if role.once else []
        if holders:
            hearers.update(dict.fromkeys(_neighbours(page.claims, holders, touched, role.once)))
        others = sorted(one for one, how in standing.items() if how.state != CLEAR) if len(standing) > 1 else []
        for one in hearers:
            state = standing[one].state
            named = (
                [address(*other) for other in others[: OTHERS + 1] if other != one][:OTHERS] if state != CLEAR else []
            )
            near = nearest(holders, one, role.once) if role.once else ()
            way = "" if page.claims.settled(kind) else page.claims.way(alias, one, shared=standing[one].shared)
            fact = Fact(address(*one), address(*alias), version, state, tuple(named), near, way)  # type: ignore[arg-type]
            yield Sent(alias, "conflict", fact.to.encode(), encode_lines([fact]))

    def _passed_on(self, alias: Alias, page: Page, own: set[str], rows: set[str] | None) -> Iterator[Sent]:
        """To the shared aliases that an event carries beside this one, as long as no transaction claims this one for its own."""
        types = self._roles.by_alias.get(alias[0], {})
        free = {kind for kind, role in types.items() if role.joins == "alias" and kind not in own}
        if not free:
            return
        for row, event in page.kept.items():
            if rows is not None and row not in rows:
                continue
            for kind in sorted(free):
                if kind in event.keys:
                    continue
                for name, value in event.keys.items():
                    if self._roles.role(kind, name).joins == "shared":
                        yield _copy(alias, address(name, value), wire.encode([event]), "", event)


def _copy(alias: Alias, to: str, raw: bytes, via: str, event: Observed) -> Sent:
    line = encode_lines([Copy(to, msgspec.Raw(raw), via)])
    return Sent(alias, "copy", to.encode(), line, event.recorded_at == event.time)


def _neighbours(
    claims: Claims, holders: Sequence[tuple[int, Transaction]], touched: Sequence[Transaction], window: int
) -> Iterator[Transaction]:
    """Those among whose ten nearest ``touched`` may be, and they themselves, where anybody is near. On either side of each time
    that they ever claimed: whoever had them for a neighbour hears that they moved."""
    places = {(at, one) for (one, by, at), _ in claims.found.items() if by != DECISION and one in touched and at}
    for at, one in sorted(places):
        before = [other for other in holders if other[0] <= at and other[1] != one and at - other[0] <= window]
        after = [other for other in holders if other[0] > at and other[1] != one and other[0] - at <= window]
        near = [*before[-OTHERS:], *after[:OTHERS]]
        if near:
            yield one
            yield from (other for _, other in near)
