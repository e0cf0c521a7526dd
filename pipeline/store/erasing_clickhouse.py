"""Finding in ClickHouse all that is kept of a transaction or a person, so that it can go."""
# ruff: noqa: S608  (what is put together here are constants of this module and of tables.py)

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pipeline.store import tables
from pipeline.store.contract import Alias, LinkRow, ParkedRow, QuarantineRow, Transaction
from pipeline.store.erasing import NAMING_FINDINGS, OWN_TABLES, Key, naming_pattern
from pipeline.store.queries_links import EXPIRED_KEPT
from pipeline.store.reader import grouped
from pipeline.store.retention import TombstoneRow
from pipeline.store.retention_clickhouse import ClickHouseRetention
from pipeline.store.rows import kept_rank, read_event

_OF = "key_type = {key_type:String} AND transaction_id IN {ids:Array(String)}"
_OF_KEYS = "transaction_type = {key_type:String} AND transaction_id IN {ids:Array(String)}"
_TOMBSTONES = f"""SELECT {tables.TOMBSTONES.select} FROM (SELECT {tables.TOMBSTONES.select} FROM tombstones FINAL)
WHERE kind IN {{kinds:Array(String)}}"""
_NUMBERS = f"SELECT DISTINCT toString(source), epoch, seq FROM events WHERE {_OF}"
_LINKS_TO = f"""SELECT {tables.LINKS.select} FROM links WHERE {_OF} ORDER BY version DESC, state DESC, shared DESC
LIMIT 1 BY alias_type, alias, key_type, transaction_id, `by`, at"""
_KEY_FROM = """SELECT value FROM keys WHERE value >= {begin:String} AND value < {end:String} AND key_type = {key_type:String}
ORDER BY value LIMIT 1"""
# A value of a key stands between quotes as it is, or the body has a backslash: then it is parsed. Of half a million bodies, half of
# which have one, this takes 0.07 s, as did looking for two spellings.
_SPELT = """multiSearchAny(body, {plain:Array(String)})
OR (position(body, '\\\\') > 0 AND JSONExtractString(body, 'keys', {name:String}) IN {values:Array(String)})"""
_KEPT_WITH = f"SELECT {tables.KEPT.select} FROM kept WHERE {_SPELT}"
_LATE_WITH = f"""SELECT DISTINCT toString(key_type), transaction_id, body, source, epoch, recorded_at, via FROM late_events
WHERE {_SPELT}"""
# Bytes that are no UTF-8 match nothing, not even what a value is not.
_SEARCHED = ("toValidUTF8(payload)", "toValidUTF8(key)", "headers", "reason", "field")
_FOUND = " OR ".join(f"match({column}, {{pattern:String}})" for column in _SEARCHED)
_QUARANTINE = f"""SELECT {tables.QUARANTINE.select} FROM quarantine FINAL
WHERE {_FOUND} OR position(headers, '"content-encoding"') > 0 ORDER BY id"""
_OTHERS = """has(others, {name:String}) OR (key_type = {key_type:String} AND arrayExists(
    one -> JSONExtractString(one, 1) = {id:String}, JSONExtractArrayRaw(holders)))"""
_NAMING = "body != '' AND match(body, {pattern:String})"
_BODIES = f"{_NAMING} AND hasAny(findings, {{findings:Array(String)}})"
# So many are searched for at once; the database takes 255.
_NEEDLES = 100
_ACCOUNT_KEPT = """INSERT INTO accounts (source, epoch, how, first, last, at)
SELECT DISTINCT toString(source), epoch, 'expired', seq, seq, fromUnixTimestamp64Micro({at:Int64}, 'UTC')
FROM kept WHERE seq > 0 AND kept_at < fromUnixTimestamp64Micro({before:Int64}, 'UTC')"""


class ClickHouseErasing(ClickHouseRetention):
    """``Erasing`` over a ``Client``."""

    def tombstones(self, kinds: Sequence[str]) -> Iterator[TombstoneRow]:
        return (TombstoneRow(*row) for row in self._client.stream(_TOMBSTONES, {"kinds": list(kinds)}))

    def delete_tombstones(self, keys: Sequence[Key]) -> None:
        condition = "key_type = {key_type:String} AND digest IN {ids:Array(String)}"
        for key_type, digests in grouped(dict.fromkeys(keys)):
            self._delete("tombstones", condition, {"key_type": key_type, "ids": digests}, erase=True)

    def numbers_of(self, transactions: Sequence[Transaction]) -> list[tuple[str, int, int]]:
        found: set[tuple[str, int, int]] = set()
        for key_type, ids in grouped(dict.fromkeys(transactions)):
            found.update(self._client.rows(_NUMBERS, {"key_type": key_type, "ids": ids}))
        return sorted(found)

    def row_counts(self, transactions: Sequence[Transaction]) -> Mapping[str, int]:
        counts: dict[str, int] = defaultdict(int)
        for key_type, ids in grouped(dict.fromkeys(transactions)):
            for table in OWN_TABLES:
                condition = _OF_KEYS if table == "keys" else _OF
                rows = self._client.rows(
                    f"SELECT count() FROM {table} WHERE {condition}", {"key_type": key_type, "ids": ids}
                )
                counts[table] += int(rows[0][0])
        return {table: count for table, count in counts.items() if count}

    def links_to(self, transactions: Sequence[Transaction]) -> list[LinkRow]:
        return sorted(
            LinkRow(*row)
            for key_type, ids in grouped(dict.fromkeys(transactions))
            for row in self._client.rows(_LINKS_TO, {"key_type": key_type, "ids": ids})
        )

    def delete_events(self, events: Sequence[tuple[Transaction, str]]) -> None:
        ids: dict[Transaction, list[str]] = defaultdict(list)
        for transaction, id_ in dict.fromkeys(events):
            ids[transaction].append(id_)
        for (key_type, transaction_id), found in ids.items():
            for _, chunk in grouped(("", id_) for id_ in found):
                parameters = {"key_type": key_type, "id": transaction_id, "ids": chunk}
                for table in ("events", "late_events"):
                    self._delete(table, f"{_ONE} AND id IN {{ids:Array(String)}}", parameters, erase=True)

    def delete_keys(self, keys: Sequence[tuple[Key, Transaction]]) -> None:
        by_key: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for key, (kind, id_) in dict.fromkeys(keys):
            by_key[*key, kind].append(id_)
        for (name, value, kind), found in by_key.items():
            for _, chunk in grouped((kind, id_) for id_ in found):
                parameters = {"name": name, "value": value, "key_type": kind, "ids": chunk}
                for table in ("keys_by_transaction", "keys"):
                    condition = f"key_type = {{name:String}} AND value = {{value:String}} AND {_OF_KEYS}"
                    self._delete(table, condition, parameters, erase=True)

    def key_from(self, key_type: str, begin: str, end: str) -> str:
        rows = self._client.rows(_KEY_FROM, {"key_type": key_type, "begin": begin, "end": end})
        return str(rows[0][0]) if rows else ""

    def delete_links(self, claims: Sequence[tuple[Alias, Transaction]]) -> None:
        by_claimant: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for (alias_type, alias), transaction in dict.fromkeys(claims):
            by_claimant[alias_type, *transaction].append(alias)
        condition = f"alias_type = {{alias_type:String}} AND alias IN {{ids:Array(String)}} AND {_ONE}"
        for (alias_type, key_type, id_), aliases in by_claimant.items():
            for _, chunk in grouped((alias_type, alias) for alias in aliases):
                parameters = {"alias_type": alias_type, "ids": chunk, "key_type": key_type, "id": id_}
                self._delete("links", condition, parameters, erase=True)

    def kept_with(self, keys: Sequence[Key]) -> list[ParkedRow]:
        wanted = dict.fromkeys(keys)
        found = {
            row: None
            for name, values in grouped(wanted)
            for start in range(0, len(values), _NEEDLES)
            for row in self._client.rows(_KEPT_WITH, _spelt(name, values[start : start + _NEEDLES]), binary=("body",))
        }
        rows = [
            ParkedRow(id_, kind, alias, partition, read_event(body, source, epoch, recorded_at, via), body, kept_at)
            for id_, kind, alias, partition, source, epoch, _, recorded_at, via, kept_at, body in found
        ]
        return sorted(
            (row for row in rows if wanted.keys() & row.event.keys.items()), key=lambda row: (row.id, kept_rank(row))
        )

    def quarantine_with(self, pattern: str) -> list[QuarantineRow]:
        rows = self._client.rows(_QUARANTINE, {"pattern": pattern}, binary=("payload", "key"))
        return [QuarantineRow(*row)._replace(numbers=tuple(row[-1])) for row in rows]

    def late_with(self, key: Key) -> list[Transaction]:
        rows = self._client.rows(_LATE_WITH, _spelt(key[0], [key[1]]), binary=("body",))
        return sorted({(kind, id_) for kind, id_, *event in rows if read_event(*event).keys.get(key[0]) == key[1]})

    def unname(self, transaction: Transaction) -> int:
        kind, id_ = transaction
        named = {"name": f"{kind}:{id_}", "key_type": kind, "id": id_}
        said = {"findings": list(NAMING_FINDINGS), "pattern": naming_pattern(kind, id_)}
        changed = self._count("disputes", _OTHERS, named)
        if changed:
            self._delete("disputes", _OTHERS, named, erase=True)
        return changed + self._empty_bodies(_BODIES, said)

    def unname_in(self, transaction: Transaction, others: Sequence[Transaction]) -> int:
        pattern = naming_pattern(*transaction)
        return sum(
            self._empty_bodies(f"{_OF} AND {_NAMING}", {"key_type": key_type, "ids": ids, "pattern": pattern})
            for key_type, ids in grouped(dict.fromkeys(others))
        )

    def _empty_bodies(self, condition: str, parameters: Mapping[str, object]) -> int:
        changed = 0
        for table in ("verdicts", "flips"):
            count = self._count(table, condition, parameters)
            if count:
                # A body is no part of what identifies a row, so it can be emptied in place.
                self._client.command(
                    f"ALTER TABLE {table} UPDATE body = '' WHERE {condition} SETTINGS mutations_sync = 2",
                    dict(parameters),
                )
                self._forget_mutations(table)
            changed += count
        return changed

    def account_kept(self, before: int, at: int) -> bool:
        if not self._count("kept", EXPIRED_KEPT, {"before": before}):
            return False
        self._client.command(_ACCOUNT_KEPT, {"before": before, "at": at})
        return True

    def _count(self, table: str, condition: str, parameters: Mapping[str, object]) -> int:
        return int(self._client.rows(f"SELECT count() FROM {table} WHERE {condition}", dict(parameters))[0][0])


_ONE = "key_type = {key_type:String} AND transaction_id = {id:String}"


def _spelt(name: str, values: Sequence[str]) -> dict[str, object]:
    """Parameters of ``_SPELT``."""
    return {"plain": [f'"{value}"' for value in values], "name": name, "values": list(values)}
