"""The store in memory: finding all that is kept of a transaction or a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.store.accounts import EXPIRED, AccountRow
from pipeline.store.accounts_memory import MemoryAccounts
from pipeline.store.contract import Alias, LinkRow, ParkedRow, QuarantineRow, Transaction
from pipeline.store.erasing import NAMING_FINDINGS, Key, naming_pattern
from pipeline.store.memory_retention import MemoryRetention
from pipeline.store.retention import TombstoneRow
from pipeline.store.rows import read_event


class MemoryErasing(MemoryAccounts, MemoryRetention):
    """``Erasing`` over the dicts of ``MemoryStore``."""

    def tombstones(self, kinds: Sequence[str]) -> Iterator[TombstoneRow]:
        return iter([row for row in list(self._tombstones.values()) if row.kind in kinds])

    def delete_tombstones(self, keys: Sequence[Key]) -> None:
        self._before("delete_tombstones")
        for key in keys:
            self._tombstones.pop(key, None)

    def numbers_of(self, transactions: Sequence[Transaction]) -> list[tuple[str, int, int]]:
        found: set[tuple[str, int, int]] = set()
        for transaction in transactions:
            rows: list[Any] = list(self._events.get(transaction, ()))
            found.update((event.source, event.epoch, event.seq) for event in (read_event(*row) for row in rows))
        return sorted(found)

    def row_counts(self, transactions: Sequence[Transaction]) -> Mapping[str, int]:
        wanted = set(transactions)
        counts = {
            "events": sum(len(self._events.get(one, ())) for one in wanted),
            "verdicts": sum(len(self._verdicts.get(one, ())) for one in wanted),
            "flips": sum(len(found) for key, found in list(self._flips.items()) if key[:2] in wanted),
            "keys": sum(len(self._keys_of.get(one, ())) for one in wanted),
            "links": len(self.links_to(transactions)),
            "disputes": sum(len(self._disputes.get(one, ())) for one in wanted),
            "late_events": sum(key[:2] in wanted for key in list(self._late)),
        }
        return {table: count for table, count in counts.items() if count}

    def links_to(self, transactions: Sequence[Transaction]) -> list[LinkRow]:
        wanted = set(transactions)
        return sorted(row for found in list(self._links.values()) for row in list(found.values()) if row[2:4] in wanted)

    def delete_events(self, events: Sequence[tuple[Transaction, str]]) -> None:
        self._before("delete_events")
        for transaction, id_ in events:
            self._late.pop((*transaction, id_), None)
            found: dict[Any, None] = self._events.get(transaction, {})
            for row in [row for row in list(found) if read_event(*row).id == id_]:
                del found[row]

    def delete_keys(self, keys: Sequence[tuple[Key, Transaction]]) -> None:
        self._before("delete_keys")
        for key, transaction in keys:
            self._keys.get(key[1], {}).pop((*key, *transaction), None)
            self._keys_of.get(transaction, {}).pop((*key, *transaction), None)

    def key_from(self, key_type: str, begin: str, end: str) -> str:
        low, high = begin.encode(), end.encode()
        there: list[str] = [value for value in list(self._keys) if low <= value.encode() < high]
        of_type = (value for value in there if any(row.key_type == key_type for row in self._keys[value].values()))
        return min(of_type, key=str.encode, default="")

    def delete_links(self, claims: Sequence[tuple[Alias, Transaction]]) -> None:
        self._before("delete_links")
        for alias, transaction in claims:
            found = self._links.get(alias, {})
            for identity in [identity for identity in list(found) if identity[:2] == transaction]:
                del found[identity]

    def kept_with(self, keys: Sequence[Key]) -> list[ParkedRow]:
        wanted = set(keys)
        rows = [row for found in list(self._kept.values()) for row in list(found.values())]
        return sorted((row for row in rows if wanted & row.event.keys.items()), key=lambda row: row[:3])

    def quarantine_with(self, pattern: str) -> list[QuarantineRow]:
        text, raw = re.compile(pattern).search, re.compile(pattern.encode()).search
        return sorted(
            row
            for row in list(self._quarantine.values())
            if _packed(row)
            or any(map(raw, (row.payload, row.key)))
            or any(map(text, (row.headers, row.reason, row.field)))
        )

    def late_with(self, key: Key) -> list[Transaction]:
        rows = list(self._late.values())
        return sorted({row[:2] for row in rows if row.event.keys.get(key[0]) == key[1]})

    def unname(self, transaction: Transaction) -> int:
        self._before("unname")
        return self._unname_disputes(*transaction) + self._unname_bodies(*transaction)

    def unname_in(self, transaction: Transaction, others: Sequence[Transaction]) -> int:
        self._before("unname_in")
        return self._unname_bodies(*transaction, frozenset(others))

    def account_kept(self, before: int, at: int) -> bool:
        rows = [row for found in list(self._kept.values()) for row in list(found.values()) if row.kept_at < before]
        numbers = sorted({(row.event.source, row.event.epoch, row.event.seq) for row in rows if row.event.seq})
        self.write_accounts([AccountRow(source, epoch, seq, seq, EXPIRED, at) for source, epoch, seq in numbers])
        return bool(rows)

    def _unname_disputes(self, kind: str, id: str) -> int:
        gone = 0
        for (key_type, _), rows in list(self._disputes.items()):
            named = {
                row
                for row in rows
                if f"{kind}:{id}" in row.others or (key_type == kind and any(id == one for one, _ in row.holders))
            }
            rows.difference_update(named)
            gone += len(named)
        return gone

    def _unname_bodies(self, kind: str, id: str, others: frozenset[Transaction] | None = None) -> int:
        changed, named = 0, re.compile(naming_pattern(kind, id)).search
        for table in (self._verdicts, self._flips):
            for found in list(table.values()):
                for key, row in list(found.items()):
                    asked = set(row.findings) & set(NAMING_FINDINGS) if others is None else row[:2] in others
                    if row.body and asked and named(row.body):
                        found[key] = row._replace(body="")
                        changed += 1
        return changed


def _packed(row: QuarantineRow) -> bool:
    return '"content-encoding"' in row.headers
