"""The store in memory: how rows leave, and what stays of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.store.claims import claims_going
from pipeline.store.contract import Alias, EventRow, KeyRow, QuarantineRow, Transaction, VerdictRow
from pipeline.store.memory_links import MemoryLinks
from pipeline.store.retention import TombstoneRow
from pipeline.store.rows import home, late_rank


class MemoryRetention(MemoryLinks):
    """``Retention`` over the dicts of ``MemoryStore``. What is deleted here is erased."""

    _before: Callable[[str], None]
    _events: dict[Transaction, dict[tuple[object, ...], None]]
    _verdicts: dict[Transaction, dict[str, VerdictRow]]
    _flips: dict[tuple[str, str, str], Any]
    _keys: dict[str, dict[tuple[str, ...], Any]]
    _keys_of: dict[Transaction, dict[tuple[str, ...], Any]]
    _quarantine: dict[str, QuarantineRow]

    def __init__(self) -> None:
        super().__init__()
        self._tombstones: dict[tuple[str, str], TombstoneRow] = {}
        self._late: dict[tuple[str, str, str], EventRow] = {}

    def expired_candidates(self, partitions: Sequence[int], of: int, before: int, limit: int) -> list[VerdictRow]:
        wanted, found = set(partitions), []
        for transaction, by_flow in list(self._verdicts.items()):
            rows = list(by_flow.values())
            ended = rows and not any(row.open for row in rows) and all(0 < row.ended_at < before for row in rows)
            if ended and home(transaction, of) in wanted:
                found.append((max(row.ended_at for row in rows), transaction, sorted(rows, key=lambda row: row.flow)))
        found.sort()
        return [row for _, _, rows in found[:limit] for row in rows]

    def delete_transactions(self, transactions: Sequence[Transaction], *, erase: bool = False) -> None:
        self._before("delete_transactions")
        gone = set(transactions)
        self._delete_claims(gone)
        for transaction in gone:
            for key in self._keys_of.pop(transaction, {}):
                self._keys[key[1]].pop(key, None)
            for table in (self._events, self._verdicts, self._disputes):
                table.pop(transaction, None)
        for flip in [flip for flip in list(self._flips) if flip[:2] in gone]:
            del self._flips[flip]
        if erase:
            for late in [late for late in list(self._late) if late[:2] in gone]:
                del self._late[late]

    def _delete_claims(self, gone: set[Transaction]) -> None:
        def find(values: Sequence[str], key_type: str) -> list[KeyRow]:
            return [row for value in values for row in self._keys.get(value, {}).values() if row.key_type == key_type]

        def keys_of(transactions: Sequence[Transaction]) -> list[KeyRow]:
            return [row for one in transactions for row in self._keys_of.get(one, {}).values()]

        going = claims_going(gone, find, keys_of)
        whole, single = set(going.numbers), set(going.single)
        for alias, links in list(self._links.items()):
            for identity in list(links):
                one: Any = identity[:2]
                if one in whole or (alias, one) in single:
                    del links[identity]

    def delete_kept(self, ids: Sequence[tuple[Alias, str]], *, erase: bool = False) -> None:  # noqa: ARG002
        self._before("delete_kept")
        for alias, id_ in ids:
            kept = self._kept.get(alias, {})
            for identity in [identity for identity in list(kept) if identity[0] == id_]:
                del kept[identity]

    def delete_quarantine(self, ids: Sequence[str], *, erase: bool = False) -> None:  # noqa: ARG002
        self._before("delete_quarantine")
        for id_ in ids:
            self._quarantine.pop(id_, None)

    def purge(self) -> None:
        self._before("purge")

    def expire_kept(self, before: int) -> int:
        self._before("expire_kept")
        gone = set()
        for alias, kept in list(self._kept.items()):
            for identity in [identity for identity, row in list(kept.items()) if row.kept_at < before]:
                gone.add((alias, kept.pop(identity).id))
        return len(gone)

    def expire_tombstones(self, before: int) -> int:
        self._before("expire_tombstones")
        gone = [key for key, row in list(self._tombstones.items()) if row.until < before]
        for key in gone:
            del self._tombstones[key]
        return len(gone)

    def write_tombstones(self, rows: Sequence[TombstoneRow]) -> None:
        self._before("write_tombstones")
        for row in rows:
            known = self._tombstones.get((row.key_type, row.digest))
            if known is None or row.version >= known.version:
                self._tombstones[row.key_type, row.digest] = row

    def load_tombstones(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], TombstoneRow]:
        return {key: self._tombstones[key] for key in keys if key in self._tombstones}

    def write_late(self, rows: Sequence[EventRow]) -> None:
        self._before("write_late")
        for row in rows:
            identity = (row.key_type, row.transaction_id, row.event.id)
            known = self._late.get(identity)
            if known is None or late_rank(row) > late_rank(known):
                self._late[identity] = row

    def count_late(self) -> int:
        return len(self._late)

    def late(self, limit: int = 100) -> list[EventRow]:
        rows = sorted(self._late.values(), key=lambda row: (row.key_type, row.transaction_id, row.event.id))
        return sorted(rows, key=lambda row: -row.event.recorded_at)[:limit]
