"""Whether everything that is said at the end is so: the sources' notebooks against the store."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.store import open_store
from pipeline.store.clickhouse import ClickHouseStore
from pipeline.store.contract import VerdictQuery, VerdictRow
from schemas.times import SECOND
from tests.soak.plan import SYSTEM_OF, SYSTEMS, fate_of
from tests.soak.site import Site
from tests.soak.source import Note, notebook, read_notes

ACCUSED = ("stalled", "lost", "failed")
_UNSENT = 3 * SECOND
"""What a source that is killed may have taken and not sent: its last batches."""


class Check(NamedTuple):
    """``good``: None where it is only told."""

    what: str
    found: str
    good: bool | None = None


class Truth:
    """``done``: order to the steps that happened. ``unheard``: those of them whose event a killed source took with it."""

    def __init__(self, seed: int, notes: Iterable[Note], stored: set[str]):
        self.seed = seed
        self.done: dict[int, set[str]] = {}
        self.unheard: dict[int, set[str]] = {}
        self.dropped: list[Note] = []
        last: dict[str, dict[int, int]] = {system: {} for system in SYSTEMS}
        missing = []
        for note in notes:
            self.done.setdefault(note.number, set()).add(note.step)
            epochs = last[SYSTEM_OF[note.step]]
            epochs[note.epoch] = max(note.time, epochs.get(note.epoch, 0))
            if f"{note.number}/{note.step}" not in stored:
                missing.append(note)
        for note in missing:
            epochs = last[SYSTEM_OF[note.step]]
            killed = note.epoch < max(epochs)
            if killed and note.time >= epochs[note.epoch] - _UNSENT:
                self.unheard.setdefault(note.number, set()).add(note.step)
            else:
                self.dropped.append(note)

    def expected(self, number: int) -> tuple[str, ...]:
        """Statuses that are right in the end."""
        fate = fate_of(self.seed, number)
        unheard = self.unheard.get(number, set())
        if fate.ends_before:
            return ("lost", "stalled", "unknown")
        end = "closed" if fate.rejected else "completed"
        return (end, "unknown") if unheard else (end,)


def wait_until_said(site: Site, patience: float, pause: Callable[[float], None]) -> None:
    """Until no verdict is in progress any more."""
    store = open_store(site.store_url, os.environ)
    try:
        for _ in range(int(patience / 2)):
            counts = store.count_verdicts()
            if not any(count for (_, status), count in counts.items() if status == "in_progress"):
                return
            pause(2.0)
    finally:
        store.close()


def verify(site: Site, poisoned: int) -> list[Check]:
    store = open_store(site.store_url, os.environ)
    assert isinstance(store, ClickHouseStore)
    try:
        stored = {row[0] for row in store._client.rows("SELECT DISTINCT id FROM events")}
        truth = Truth(site.settings.seed, _notes(site.notes), stored)
        accused = {row[0] for row in store._client.rows(
            "SELECT DISTINCT transaction_id FROM flips WHERE status IN {said:Array(String)}", {"said": list(ACCUSED)}
        )}  # fmt: skip
        verdicts = {row.transaction_id: row for row in store.verdicts(VerdictQuery(excluded=None))}
        kept = sum(store.count_quarantine().values())
        return [
            *_of_events(truth, stored),
            *_of_verdicts(truth, verdicts, accused),
            Check("quarantined, of the poison that was sent", f"{kept:,} of {poisoned:,}", kept == poisoned),
            Check("parked", f"{store.count_parked():,}"),
        ]
    finally:
        store.close()


def _notes(folder: Path) -> Iterable[Note]:
    for system in SYSTEMS:
        yield from read_notes(notebook(folder, system))[0]


def _of_events(truth: Truth, stored: set[str]) -> list[Check]:
    happened = sum(len(steps) for steps in truth.done.values())
    unheard = sum(len(steps) for steps in truth.unheard.values())
    return [
        Check("orders", f"{len(truth.done):,}"),
        Check("events that happened", f"{happened:,}"),
        Check("events stored", f"{len(stored):,}", len(stored) + unheard + len(truth.dropped) == happened),
        Check("taken along by sources that were killed", f"{unheard:,}"),
        Check("acknowledged and not stored", _some(truth.dropped), not truth.dropped),
    ]


def _of_verdicts(truth: Truth, verdicts: dict[str, VerdictRow], accused: set[str]) -> list[Check]:
    wrong, falsely, skipped, said = [], [], [], Counter[str]()
    for number in truth.done:
        row = verdicts.get(f"o{number}")
        status = row.status if row is not None else "none"
        fate = fate_of(truth.seed, number)
        kind = "lost on its way" if fate.ends_before else "rejected" if fate.rejected else "complete"
        said[f"{kind}: {status}"] += 1
        if status not in truth.expected(number) and truth.done[number] - truth.unheard.get(number, set()):
            wrong.append((number, status))
        if not fate.ends_before and f"o{number}" in accused:
            falsely.append(number)
        if row is not None and "skipped" in row.findings:
            skipped.append(number)
    return [
        *(Check(what, f"{count:,}") for what, count in sorted(said.items())),
        Check("verdicts that are wrong in the end", _some(wrong), not wrong),
        Check("called stalled, lost or failed at any time, and were not", _some(falsely), not falsely),
        Check("called skipped, and nothing was", _some(skipped), not skipped),
    ]


def _some(found: list[object] | list[Note] | list[int] | list[tuple[int, str]]) -> str:
    return f"{len(found):,}" + (f": {', '.join(map(str, found[:5]))}" if found else "")
