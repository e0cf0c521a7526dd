"""The store in memory: for the demo's parts, for simulations of crashes, and for tests of what stands on a store.

It keeps the same laws as the others and is held to them by the same suite. ``before`` is called with the operation's name
before each write, and may raise: what was written until then stays, as after a crash.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pipeline.store.accounts import AccountRow
from pipeline.store.contract import (
    UNJUDGED,
    EventRow,
    FlipRow,
    HearingRow,
    KeyRow,
    QuarantineRow,
    SourceRow,
    Transaction,
    VerdictQuery,
    VerdictRow,
)  # fmt: skip
from pipeline.store.memory_erasing import MemoryErasing
from pipeline.store.rows import MISSING_STATUSES, home, observations, read_event, said
from pipeline.store.takeover import OpenRow
from schemas.wire import Observed

Row = TypeVar("Row", VerdictRow, FlipRow, QuarantineRow, SourceRow)


class MemoryStore(MemoryErasing):
    """Everything in dicts by identity. Not durable; one process."""

    name = "the store in memory"

    def __init__(self, before: Callable[[str], None] | None = None):
        super().__init__()
        self._before = before or (lambda _: None)
        self._events: dict[Transaction, dict[tuple[object, ...], None]] = defaultdict(dict)
        self._verdicts: dict[Transaction, dict[str, VerdictRow]] = defaultdict(dict)
        self._flips: dict[tuple[str, str, str], dict[int, FlipRow]] = defaultdict(dict)
        self._keys: dict[str, dict[tuple[str, ...], KeyRow]] = defaultdict(dict)
        self._keys_of: dict[Transaction, dict[tuple[str, ...], KeyRow]] = defaultdict(dict)
        self._quarantine: dict[str, QuarantineRow] = {}
        self._sources: dict[tuple[str, int], SourceRow] = {}
        self._hearing: dict[tuple[object, ...], set[HearingRow]] = defaultdict(set)
        self._accounts: dict[tuple[object, ...], AccountRow] = {}

    def write_events(self, rows: Sequence[EventRow]) -> None:
        self._before("write_events")
        for row in rows:
            event = row.event
            stored = (row.body, event.source, event.epoch, event.recorded_at, event.via)
            self._events[row.key_type, row.transaction_id][stored] = None

    def write_verdicts(self, rows: Sequence[VerdictRow]) -> None:
        self._before("write_verdicts")
        for row in rows:
            _put(self._verdicts[row.key_type, row.transaction_id], row.flow, row, lambda row: row.version)

    def write_flips(self, rows: Sequence[FlipRow]) -> None:
        self._before("write_flips")
        for row in rows:
            _put(self._flips[row.key_type, row.transaction_id, row.flow], row.number, row, lambda row: row.version)

    def write_keys(self, rows: Sequence[KeyRow]) -> None:
        self._before("write_keys")
        for row in rows:
            known = self._keys[row.value].get(row[:4])
            if known is None or row.seen_at < known.seen_at:
                self._keys[row.value][row[:4]] = row
                self._keys_of[row.transaction_type, row.transaction_id][row[:4]] = row

    def write_quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        self._before("write_quarantine")
        for row in rows:
            _put(self._quarantine, row.id, row, lambda row: row.version)

    def write_sources(self, rows: Sequence[SourceRow]) -> None:
        self._before("write_sources")
        for row in rows:
            _put(self._sources, (row.source, row.epoch), row, lambda row: (row.updated_at, row.position))

    def write_hearing(self, rows: Sequence[HearingRow]) -> None:
        self._before("write_hearing")
        for row in rows:
            self._hearing[row[:5]].add(row)

    def load_events(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[Observed]]:
        return {transaction: self._events_of(transaction) for transaction in transactions}

    def _events_of(self, transaction: Transaction) -> list[Observed]:
        stored: Iterable[Any] = list(self._events.get(transaction, ()))
        return observations(read_event(*row) for row in stored)

    def stream_events(self, transactions: Sequence[Transaction]) -> Iterator[tuple[Transaction, Observed]]:
        for transaction in dict.fromkeys(transactions):
            stored: Iterable[Any] = list(self._events.get(transaction, ()))
            for row in stored:
                yield transaction, read_event(*row)

    def load_verdicts(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[VerdictRow]]:
        return {transaction: list(self._verdicts.get(transaction, {}).values()) for transaction in transactions}

    def _all_verdicts(self) -> list[VerdictRow]:
        return [row for rows in list(self._verdicts.values()) for row in list(rows.values())]

    def verdicts(self, query: VerdictQuery) -> Iterator[VerdictRow]:
        rows = sorted((row for row in self._all_verdicts() if matches(row, query)), key=lambda row: row[:3])
        rows.sort(key=lambda row: -row.started_at)
        return iter(rows[: query.limit or None])

    def count(self, query: VerdictQuery) -> int:
        return sum(matches(row, query) for row in self._all_verdicts())

    def count_verdicts(self) -> Mapping[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for row in self._all_verdicts():
            counts[row.flow, "excluded" if row.excluded else row.status] += 1
        return dict(counts)

    def open_verdicts(self, partitions: Sequence[int], of: int) -> Iterator[VerdictRow]:
        wanted = set(partitions)
        return iter([row for row in self._all_verdicts() if row.open and home(row[:2], of) in wanted])

    def known_transactions(self, partitions: Sequence[int], of: int) -> Iterator[Transaction]:
        wanted = set(partitions)
        judged = [
            transaction
            for transaction, rows in list(self._verdicts.items())
            if rows and home(transaction, of) in wanted
        ]
        return iter([*judged, *self.unjudged(partitions, of)])

    def open_waits(self, partitions: Sequence[int], of: int) -> Iterator[OpenRow]:
        rows = self.open_verdicts(partitions, of)
        return (OpenRow(*row[:4], row.started_at, bool(row.ended_at), _troubled(row), row.waits) for row in rows)

    def known_marks(self, partitions: Sequence[int], of: int) -> array[int]:
        marks = {home(transaction, 1 << 32) for transaction, rows in list(self._verdicts.items()) if rows}
        return array("I", sorted(mark for mark in marks if mark % of in set(partitions)))

    def unjudged(self, partitions: Sequence[int], of: int) -> Iterator[Transaction]:
        wanted = set(partitions)
        return iter([
            transaction
            for transaction, keys in list(self._keys_of.items())
            if home(transaction, of) in wanted and any(key[0] == UNJUDGED for key in list(keys))
        ])  # fmt: skip

    def find_keys(self, value: str, key_type: str = "") -> list[KeyRow]:
        rows = list(self._keys.get(value, {}).values())
        return sorted(row for row in rows if not key_type or row.key_type == key_type)

    def find_any_keys(self, values: Sequence[str], key_type: str = "") -> list[KeyRow]:
        return sorted(row for value in dict.fromkeys(values) for row in self.find_keys(value, key_type))

    def keys_of(self, transactions: Sequence[Transaction]) -> list[KeyRow]:
        return sorted(
            row for transaction in set(transactions) for row in list(self._keys_of.get(transaction, {}).values())
        )

    def flips(self, transaction: Transaction) -> list[FlipRow]:
        return said(self.written_flips([transaction])[transaction], list(self._verdicts.get(transaction, {}).values()))

    def written_flips(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[FlipRow]]:
        found: dict[Transaction, list[FlipRow]] = {transaction: [] for transaction in transactions}
        for key, rows in list(self._flips.items()):
            if key[:2] in found:
                found[key[:2]] += list(rows.values())
        return {one: sorted(rows, key=lambda row: (row.flow, row.number)) for one, rows in found.items()}

    def _truly(self, found: Mapping[int, FlipRow]) -> list[FlipRow]:
        """Those that were said: their number rides in the verdict's row."""
        rows = list(found.values())
        return said(rows, list(self._verdicts.get(rows[0][:2], {}).values())) if rows else []

    def flips_between(self, begin: int, end: int) -> Iterator[FlipRow]:
        rows = [row for found in list(self._flips.values()) for row in self._truly(found) if begin <= row.at < end]
        return iter(sorted(rows, key=lambda row: (row.at, row[:4])))

    def missing_at(self, at: int) -> Iterator[FlipRow]:
        for found in list(self._flips.values()):
            told = [row for row in self._truly(found) if row.at <= at]
            if told:
                last = max(told, key=lambda row: row.number)
                if last.status in MISSING_STATUSES:
                    yield last

    def sources(self) -> list[SourceRow]:
        return sorted(self._sources.values())

    def hearing(self, as_of: int = 0) -> list[HearingRow]:
        latest = []
        for rows in list(self._hearing.values()):
            known = [row for row in list(rows) if not as_of or row.known_at <= as_of]
            if known:
                latest.append(max(known, key=lambda row: (row.known_at, row.position)))
        return sorted(latest)

    def quarantine(self, ids: Sequence[str] = (), *, source: str = "", limit: int = 100) -> list[QuarantineRow]:
        wanted = set(ids)
        rows = [
            row
            for row in list(self._quarantine.values())
            if (row.id in wanted if wanted else row.state == "kept") and (not source or row.source == source)
        ]
        return sorted(rows, key=lambda row: (-row.at, row.id))[:limit]

    def count_quarantine(self) -> Mapping[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for row in list(self._quarantine.values()):
            if row.state == "kept":
                counts[row.source, row.reason] += 1
        return dict(counts)

    def count_events(self) -> int:
        return sum(len({event.id for event in self._events_of(transaction)}) for transaction in list(self._events))

    def migrate(self) -> list[str]:
        return []

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def _troubled(row: VerdictRow) -> bool:
    return bool(row.drop_kind or row.findings)


def _put(table: dict[Any, Row], key: object, row: Row, rank: Callable[[Row], Any]) -> None:
    other = table.get(key)
    if other is None or rank(row) >= rank(other):
        table[key] = row


def matches(row: VerdictRow, query: VerdictQuery) -> bool:
    """Whether a verdict is asked for."""
    return (
        (not query.statuses or row.status in query.statuses)
        and (not query.flows or row.flow in query.flows)
        and (not query.started_from or row.started_at >= query.started_from)
        and (not query.started_to or row.started_at < query.started_to)
        and (not query.drop_from or query.drop_from in (row.drop_from, row.drop_from_system))
        and (not query.drop_to or query.drop_to in (row.drop_to, row.drop_system))
        and (not query.findings or any(finding in row.findings for finding in query.findings))
        and (query.excluded is None or row.excluded == query.excluded)
    )
