"""The audit's questions to the store in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.store.accounts import QUARANTINED, STORED, AccountRow, NumberRange, Point, joined
from pipeline.store.contract import Alias, EventRow, ParkedRow, QuarantineRow, Transaction
from pipeline.store.rows import read_event
from schemas.wire import Observed


class MemoryAccounts:
    """``Accounts``, and the rows they rest on, over the dicts of ``MemoryStore``."""

    _before: Callable[[str], None]
    _events: dict[Transaction, dict[tuple[object, ...], None]]
    _kept: dict[Alias, dict[tuple[object, ...], ParkedRow]]
    _late: dict[tuple[str, str, str], EventRow]
    _quarantine: dict[str, QuarantineRow]
    _accounts: dict[tuple[object, ...], AccountRow]

    def write_accounts(self, rows: Sequence[AccountRow]) -> None:
        self._before("write_accounts")
        for row in rows:
            self._accounts[row[:5]] = row

    def _stored(self) -> Iterator[Observed]:
        for stored in list(self._events.values()):
            rows: list[Any] = list(stored)
            yield from (read_event(*row) for row in rows)
        yield from (row.event for row in list(self._late.values()))
        yield from (row.event for kept in list(self._kept.values()) for row in list(kept.values()))

    def _seen(self) -> Iterator[tuple[str, int, str, int, int]]:
        """(source, epoch, how, number, recorded at µs)."""
        for event in self._stored():
            if event.seq:
                yield event.source, event.epoch, STORED, event.seq, event.recorded_at
        for row in list(self._quarantine.values()):
            yield from ((row.source, row.epoch, QUARANTINED, number, row.at) for number in row.numbers)

    def numbers(self, source: str = "", epoch: int = -1) -> Iterator[NumberRange]:
        found = [NumberRange(name, of, how, number, number) for name, of, how, number, _ in self._seen()]
        found += [
            NumberRange(row.source, row.epoch, row.how, row.first, row.last)
            for row in list(self._accounts.values())
            if row.first <= row.last
        ]
        asked = [row for row in found if source in ("", row.source) and epoch in (-1, row.epoch)]
        return joined(sorted(asked))

    def unnumbered(self, source: str = "", begin: int = 0, end: int = 0) -> Mapping[tuple[str, int], tuple[int, int]]:
        def asked(name: str, at: int) -> bool:
            return source in ("", name) and at >= begin and (not end or at < end)

        stored = {(e.source, e.epoch, e.id) for e in self._stored() if not e.seq and asked(e.source, e.recorded_at)}
        kept = list(self._quarantine.values())
        refused = [(row.source, row.epoch) for row in kept if not row.numbers and asked(row.source, row.at)]
        by_epoch = [key[:2] for key in stored]
        return {key: (by_epoch.count(key), refused.count(key)) for key in {*by_epoch, *refused}}

    def number_times(self, points: Sequence[Point]) -> Mapping[Point, int]:
        asked, found = set(points), dict[Point, int]()
        for source, epoch, _, number, at in self._seen():
            point = (source, epoch, number)
            if point in asked:
                found[point] = min(at, found.get(point, at))
        return found
