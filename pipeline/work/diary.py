"""Diary: what was heard, when, and by whom, written down for later judges (law 7) and for ``lastseen sources``."""

from __future__ import annotations

from pipeline.core.control import ControlFold
from pipeline.core.hearing import NEVER, Interval
from pipeline.core.knowledge import facts_of
from pipeline.store.contract import HearingRow, SourceRow, Store
from schemas.times import SECOND

_EVERY = 10 * SECOND


class Diary:
    """Writes facts that changed, at most every ten seconds of control time unless somebody was heard otherwise or is told so."""

    def __init__(self, store: Store):
        self._store = store
        self._facts: dict[tuple[str, str, str, int], tuple[int, int, str]] = {}
        self._heard: dict[str, tuple[tuple[Interval, ...], bool]] = {}
        self._sources: dict[tuple[str, int], SourceRow] = {}
        self._written_at = NEVER
        self._position = -1

    def write(self, fold: ControlFold, *, force: bool = False) -> None:
        """Write what changed since the last time. Raises ``Unavailable``; then the same is written again."""
        if fold.position == self._position or fold.now == NEVER:
            return
        hearing = {system: fold.hearing(system) for system in fold.systems()}
        heard = {system: (one.deaf, one.silent) for system, one in hearing.items() if not one.unvouched}
        otherwise = any(told != self._heard.get(system) for system, told in heard.items())
        if not (force or otherwise or fold.now - self._written_at >= _EVERY):
            return
        facts, known = facts_of(fold), self._facts
        rows = [
            HearingRow(system, kind, source, epoch, 0, begin, end, detail, fold.now, fold.position)
            for (system, kind, source, epoch), (begin, end, detail) in facts.items()
            if known.get((system, kind, source, epoch)) != (begin, end, detail)
        ]
        if rows:
            self._store.write_hearing(rows)
        sources = {key: row for key, row in _source_rows(fold).items() if self._sources.get(key) != row}
        if sources:
            self._store.write_sources(
                [row._replace(updated_at=fold.now, position=fold.position) for row in sources.values()]
            )
        self._facts, self._heard = facts, heard
        self._sources.update(sources)
        self._written_at, self._position = fold.now, fold.position


def _source_rows(fold: ControlFold) -> dict[tuple[str, int], SourceRow]:
    return {
        key: SourceRow(
            source=epoch.source,
            epoch=epoch.epoch,
            systems=epoch.systems,
            state=epoch.state,
            since=epoch.since,
            through=max(epoch.through, 0),
            settled=max(epoch.settled, 0),
            last_record_at=epoch.last_at,
            every=epoch.every,
            skew=epoch.skew or 0,
            sent=epoch.sent,
            shed=epoch.shed,
            updated_at=0,
            owed=epoch.owed,
            numbered=epoch.numbered,
            shed_ranges=epoch.shed_ranges,
            blind=epoch.blind(fold.landscape.grace),
        )
        for key, epoch in fold.epochs.items()
    }
