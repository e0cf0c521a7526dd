"""The store in memory: what is kept under aliases, who claims them, and what transactions were told of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.store.contract import Alias, DisputeRow, LinkRow, ParkedRow, Transaction, Unlinked
from pipeline.store.rows import claimed, dispute_rank, home, kept_rank, link_rank, observed_once, oldest


class MemoryLinks:
    """The rows by alias, or by transaction."""

    _before: Callable[[str], None]

    def __init__(self) -> None:
        self._kept: dict[Alias, dict[tuple[object, ...], ParkedRow]] = defaultdict(dict)
        self._links: dict[Alias, dict[tuple[object, ...], LinkRow]] = defaultdict(dict)
        self._disputes: dict[Transaction, set[DisputeRow]] = defaultdict(set)

    def write_parked(self, rows: Sequence[ParkedRow]) -> None:
        self._before("write_parked")
        for row in rows:
            self._kept[row.alias_type, row.alias][row.id, *kept_rank(row)] = row

    def write_links(self, rows: Sequence[LinkRow]) -> None:
        self._before("write_links")
        for row in rows:
            found = self._links[row.alias_type, row.alias]
            known = found.get(row[2:6])
            if known is None or link_rank(row) > link_rank(known):
                found[row[2:6]] = row

    def write_disputes(self, rows: Sequence[DisputeRow]) -> None:
        self._before("write_disputes")
        for row in rows:
            self._disputes[row.key_type, row.transaction_id].add(row)

    def load_kept(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[ParkedRow]]:
        return {alias: observed_once(list(self._kept.get(alias, {}).values())) for alias in aliases}

    def load_links(self, aliases: Sequence[Alias]) -> Mapping[Alias, list[LinkRow]]:
        return {alias: sorted(self._links.get(alias, {}).values()) for alias in aliases}

    def load_disputes(
        self, transactions: Sequence[Transaction], as_of: int = 0
    ) -> Mapping[Transaction, list[DisputeRow]]:
        found = {}
        for transaction in transactions:
            latest: dict[Alias, DisputeRow] = {}
            for row in sorted(self._disputes.get(transaction, ()), key=dispute_rank):
                if not as_of or row.version >> 22 <= as_of // 1_000:
                    latest[row.alias_type, row.alias] = row
            found[transaction] = sorted(latest.values())
        return found

    def known_aliases(self, partitions: Sequence[int], of: int) -> Iterator[Alias]:
        wanted = set(partitions)
        aliases = [alias for table in (self._kept, self._links) for alias, rows in list(table.items()) if rows]
        return iter([alias for alias in aliases if home(alias, of) in wanted])

    def parked(self, limit: int = 100) -> list[ParkedRow]:
        return self._waiting()[:limit]

    def count_parked(self) -> int:
        return len(self._waiting())

    def _waiting(self) -> list[ParkedRow]:
        rows = [
            row for alias, found in list(self._kept.items()) if not self._claimed(alias) for row in list(found.values())
        ]
        return oldest(rows)

    def _claimed(self, alias: Alias) -> bool:
        return claimed(list(self._links.get(alias, {}).values()))

    def unlinked(self, samples: int = 3, ages: Sequence[int] = ()) -> list[Unlinked]:
        by_type: dict[str, list[ParkedRow]] = defaultdict(list)
        for row in self._waiting():
            by_type[row.alias_type].append(row)
        return [
            Unlinked(
                alias_type, len(rows), len({row.alias for row in rows}), rows[0].kept_at, rows[-1].kept_at,
                tuple(rows[:samples]), _by_age(rows, ages),
            )
            for alias_type, rows in sorted(by_type.items())
        ]  # fmt: skip


def _by_age(rows: Sequence[ParkedRow], ages: Sequence[int]) -> tuple[int, ...]:
    if not ages:
        return ()
    counts = [0] * (len(ages) + 1)
    for row in rows:
        counts[sum(row.kept_at < age for age in ages)] += 1
    return tuple(counts)
