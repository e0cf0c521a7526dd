"""Rows that leave ClickHouse, and what stays of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.store import queries_links as queries
from pipeline.store import tables
from pipeline.store.claims import Going, claims_going
from pipeline.store.client import Client
from pipeline.store.contract import Alias, EventRow, Transaction, VerdictRow
from pipeline.store.reader import CHARACTERS_AT_ONCE, IDS_AT_ONCE, ClickHouseReader, grouped
from pipeline.store.retention import TombstoneRow
from pipeline.store.rows import read_event
from pipeline.store.writer import ClickHouseWriter, bounded

_TRANSACTION = "key_type = {key_type:String} AND transaction_id IN {ids:Array(String)}"
_KEY = "transaction_type = {key_type:String} AND transaction_id IN {ids:Array(String)}"
_FIRST = (("events", _TRANSACTION), ("flips", _TRANSACTION), ("disputes", _TRANSACTION))
_VERDICTS, _KEYS = ("verdicts", _TRANSACTION), ("keys", _KEY)
_KEYS_BY_TRANSACTION, _LATE = ("keys_by_transaction", _KEY), ("late_events", _TRANSACTION)
# Last goes that by which who repeats it after a crash finds them: retention asks verdicts, forgetting asks keys.
_EXPIRING = (*_FIRST, _KEYS_BY_TRANSACTION, _KEYS, _VERDICTS)
_FORGETTING = (*_FIRST, _LATE, _VERDICTS, _KEYS_BY_TRANSACTION, _KEYS)
_PURGED = (*(table for table, _ in _FORGETTING), "links", "kept", "quarantine", "tombstones")
# Index by alias, of which each has one claimant here or few.
_CLAIMS = """key_type = {key_type:String} AND alias_type = {alias_type:String} AND alias IN {aliases:Array(String)}
AND has(arrayZip({aliases:Array(String)}, {ids:Array(String)}), (alias, transaction_id))"""


class ClickHouseRetention(ClickHouseWriter, ClickHouseReader):
    """``Retention`` over a ``Client``."""

    _client: Client

    def expired_candidates(self, partitions: Sequence[int], of: int, before: int, limit: int) -> list[VerdictRow]:
        parameters = {"partitions": list(partitions), "of": of, "before": before, "limit": limit}
        found: list[Transaction] = [(row[0], row[1]) for row in self._client.rows(queries.EXPIRED, parameters)]
        rows = self.load_verdicts(found)
        return [row for transaction in found for row in sorted(rows[transaction], key=lambda row: row.flow)]

    def delete_transactions(self, transactions: Sequence[Transaction], *, erase: bool = False) -> None:
        gone = list(dict.fromkeys(transactions))
        # First, for the keys say which these are.
        self._delete_claims(claims_going(gone, self.find_any_keys, self.keys_of), erase)
        for key_type, ids in grouped(gone):
            for table, condition in _FORGETTING if erase else _EXPIRING:
                self._delete(table, condition, {"key_type": key_type, "ids": ids}, erase)

    def _delete_claims(self, going: Going, erase: bool) -> None:
        for key_type, numbers in grouped(going.numbers):
            self._delete("links", _TRANSACTION, {"key_type": key_type, "ids": numbers}, erase)
        of_types: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        for (alias_type, alias), (key_type, number) in going.single:
            of_types[alias_type, key_type].append((alias, number))
        for (alias_type, key_type), claims in of_types.items():
            for chunk in _portions(claims):
                aliases, numbers = map(list, zip(*chunk, strict=True))
                parameters = {"key_type": key_type, "alias_type": alias_type, "aliases": aliases, "ids": numbers}
                self._delete("links", _CLAIMS, parameters, erase)

    def delete_kept(self, ids: Sequence[tuple[Alias, str]], *, erase: bool = False) -> None:
        # An id names its alias as well; the aliases are there for the table's key.
        wanted: dict[Alias, list[str]] = defaultdict(list)
        for alias, id_ in dict.fromkeys(ids):
            wanted[alias].append(id_)
        condition = "alias_type = {key_type:String} AND alias IN {aliases:Array(String)} AND id IN {ids:Array(String)}"
        for key_type, aliases in grouped(wanted):
            mine = [(alias, id_) for alias in aliases for id_ in wanted[key_type, alias]]
            for chunk in _portions(mine):
                names = list(dict.fromkeys(alias for alias, _ in chunk))
                parameters = {"key_type": key_type, "aliases": names, "ids": [id_ for _, id_ in chunk]}
                self._delete("kept", condition, parameters, erase)

    def delete_quarantine(self, ids: Sequence[str], *, erase: bool = False) -> None:
        for _, chunk in grouped(("", id_) for id_ in dict.fromkeys(ids)):
            self._delete("quarantine", "id IN {ids:Array(String)}", {"ids": chunk}, erase)

    def expire_kept(self, before: int) -> int:
        return self._expire("kept", queries.COUNT_EXPIRED_KEPT, queries.EXPIRED_KEPT, before)

    def expire_tombstones(self, before: int) -> int:
        return self._expire("tombstones", queries.COUNT_EXPIRED_TOMBSTONES, queries.EXPIRED_TOMBSTONES, before)

    def _expire(self, table: str, count: str, condition: str, before: int) -> int:
        number = int(self._client.rows(count, {"before": before})[0][0])
        if number:
            self._delete(table, condition, {"before": before}, erase=False)
        return number

    def _delete(self, table: str, condition: str, parameters: Mapping[str, Any], erase: bool) -> None:
        if not erase:
            self._client.command(
                f"DELETE FROM {table} WHERE {condition} SETTINGS lightweight_deletes_sync = 2", parameters  # noqa: S608
            )  # fmt: skip
            return
        self._client.command(f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2", parameters)
        self._forget_mutations(table)

    def _forget_mutations(self, table: str) -> None:
        # The database keeps the text of the last hundred, with the numbers that were to go; the setting for it means "all" by 0.
        self._client.command(
            "KILL MUTATION WHERE database = currentDatabase() AND table = {table:String} AND is_done SYNC",
            {"table": table},
        )

    def purge(self) -> None:
        for table in _PURGED:
            self._client.command(f"ALTER TABLE {table} APPLY DELETED MASK SETTINGS mutations_sync = 2")
            self._forget_mutations(table)

    def write_tombstones(self, rows: Sequence[TombstoneRow]) -> None:
        for chunk in bounded(rows):
            self._client.insert(tables.TOMBSTONES, list(zip(*chunk, strict=True)))

    def load_tombstones(self, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], TombstoneRow]:
        found: dict[tuple[str, str], TombstoneRow] = {}
        for key_type, digests in grouped(dict.fromkeys(keys)):
            for row in self._client.rows(queries.LOAD_TOMBSTONES, {"key_type": key_type, "ids": digests}):
                found[key_type, row[1]] = TombstoneRow(*row)
        return found

    def write_late(self, rows: Sequence[EventRow]) -> None:
        self._insert_events(tables.LATE, rows)

    def count_late(self) -> int:
        return int(self._client.rows(queries.COUNT_LATE)[0][0])

    def late(self, limit: int = 100) -> list[EventRow]:
        rows = self._client.rows(queries.LATE, {"limit": limit}, binary=("body",))
        return [EventRow(key_type, id_, read_event(body, *origin), body) for key_type, id_, body, *origin in rows]


def _portions(rows: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """So many as fit into a request's parameters."""
    chunk: list[tuple[str, str]] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) >= IDS_AT_ONCE or size + len(row[0]) + len(row[1]) > CHARACTERS_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row[0]) + len(row[1]) + 6
    if chunk:
        yield chunk
