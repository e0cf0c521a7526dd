"""Reading from ClickHouse what is kept under aliases, who claims them, and what transactions were told of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pipeline.store import queries_links as queries
from pipeline.store.client import Client
from pipeline.store.contract import Alias, DisputeRow, LinkRow, ParkedRow, Transaction, Unlinked
from pipeline.store.reader import grouped, sized
from pipeline.store.rows import dispute_rank, observed_once, read_event
from schemas.wire import Observed

_decode_holders = msgspec.json.Decoder(tuple[tuple[str, int], ...]).decode


class ClickHouseLinks:
    """The part of ``Reader`` that is about aliases, over a ``Client``."""

    _client: Client

    def load_kept(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[ParkedRow]]:
        found: dict[Alias, list[ParkedRow]] = {alias: [] for alias in aliases}
        for key_type, ids in grouped(found):
            for row in self._kept(queries.LOAD_KEPT, {"key_type": key_type, "ids": ids}):
                found[key_type, row.alias].append(row)
        return {alias: observed_once(rows) for alias, rows in found.items()}

    def load_links(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[LinkRow]]:
        found: dict[Alias, list[LinkRow]] = {alias: [] for alias in aliases}
        for key_type, ids in grouped(found):
            for row in self._client.rows(queries.LOAD_LINKS, {"key_type": key_type, "ids": ids}):
                found[key_type, row[1]].append(LinkRow(*row))
        return {alias: sorted(rows) for alias, rows in found.items()}

    def load_disputes(
        self, transactions: Sequence[Transaction], as_of: int = 0
    ) -> Mapping[Transaction, list[DisputeRow]]:
        winners: dict[Transaction, dict[Alias, DisputeRow]] = {transaction: {} for transaction in transactions}
        for key_type, ids in grouped(winners):
            asked = {"key_type": key_type, "ids": ids, "as_of": as_of}
            for row in map(_dispute, self._client.rows(sized(queries.LOAD_DISPUTES, ids), asked)):
                by_alias = winners[key_type, row.transaction_id]
                known = by_alias.get((row.alias_type, row.alias))
                if known is None or dispute_rank(row) > dispute_rank(known):
                    by_alias[row.alias_type, row.alias] = row
        return {transaction: sorted(found.values()) for transaction, found in winners.items()}

    def known_aliases(self, partitions: Sequence[int], of: int) -> Iterator[Alias]:
        rows = self._client.stream(queries.KNOWN_ALIASES, {"partitions": list(partitions), "of": of})
        return ((row[0], row[1]) for row in rows)

    def parked(self, limit: int = 100) -> list[ParkedRow]:
        return self._kept(queries.PARKED, {"limit": limit})

    def count_parked(self) -> int:
        return int(self._client.rows(queries.COUNT_PARKED)[0][0])

    def unlinked(self, samples: int = 3, ages: Sequence[int] = ()) -> list[Unlinked]:
        found: dict[str, list[ParkedRow]] = defaultdict(list)
        for row in self._kept(queries.SAMPLES, {"limit": samples}):
            found[row.alias_type].append(row)
        return [
            Unlinked(name, events, aliases, first, last, tuple(found[name]), tuple(by_age) if ages else ())
            for name, events, aliases, first, last, by_age in self._client.rows(queries.UNLINKED, {"ages": list(ages)})
        ]

    def _kept(self, sql: str, parameters: Mapping[str, Any]) -> list[ParkedRow]:
        return [
            ParkedRow(id_, alias_type, alias, partition, _event(body, origin, seq, recorded_at, via), body, kept_at)
            for id_, alias_type, alias, partition, *origin, seq, recorded_at, via, kept_at, body in self._client.rows(
                sql, parameters, binary=("body",)
            )
        ]


def _event(body: bytes, origin: Sequence[Any], seq: int, recorded_at: int, via: str) -> Observed:
    event = read_event(body, origin[0], origin[1], recorded_at, via)
    event.seq = seq
    return event


def _dispute(row: tuple[Any, ...]) -> DisputeRow:
    dispute = DisputeRow(*row)
    return dispute._replace(others=tuple(dispute.others), holders=_decode_holders(row[-2]) if row[-2] else ())
