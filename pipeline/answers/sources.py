"""Sources: who speaks for which system, and how each system is heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.answers.judging import Bench
from pipeline.core.hearing import FOREVER, NEVER
from pipeline.store.contract import SourceRow
from schemas.times import EARLIEST, LATEST, format_time

SOURCE_COLUMNS = (
    "source", "epoch", "state", "systems", "since", "through", "last_record_at", "every_seconds", "skew_seconds", "sent", "shed",
)  # fmt: skip
SYSTEM_COLUMNS = ("system", "says", "state", "heard_through", "not_heard", "sources")
# Worst first: what a person should look at.
_ORDER = ("silent", "distrusted", "gone", "live", "open", "closed", "ended")


@dataclass(frozen=True, slots=True)
class SystemRow:
    """How a system is heard. ``state``: heard, silent or unvouched; ``deaf``: intervals µs within the sources' time that are
    not longer ago than ``window``; an open one ends at ``FOREVER``."""

    system: str
    says: str
    state: str
    heard_through: int | None
    deaf: tuple[tuple[int, int], ...]
    sources: tuple[str, ...]


def sources(bench: Bench, *, every_epoch: bool = False) -> list[SourceRow]:
    """The latest epoch of each source (all of them if asked), those first that need a look."""
    latest: dict[str, SourceRow] = {}
    rows = bench.store.sources()
    for row in rows:
        known = latest.get(row.source)
        if known is None or row.epoch > known.epoch:
            latest[row.source] = row
    shown = rows if every_epoch else list(latest.values())
    return sorted(
        shown, key=lambda row: (_ORDER.index(row.state) if row.state in _ORDER else -1, row.source, -row.epoch)
    )


def systems(bench: Bench, rows: Iterable[SourceRow]) -> list[SystemRow]:
    """Every system that a flow with transactions awaits or a source speaks for."""
    used = bench.judged_flows()
    bench.cover_flows(used)
    knowledge, landscape = bench.knowledge(), bench.landscape
    speaking: dict[str, dict[str, None]] = {}
    begin = LATEST
    for row in rows:
        begin = min(begin, row.since)
        for system in row.systems:
            speaking.setdefault(landscape.current_name(system), {})[row.source] = None
    flows = [flow for flow in bench.flows.all() if flow.flow in used]
    awaited = {landscape.current_name(step.system) for flow in flows for step in flow.steps.values()}
    made = []
    for system in sorted(awaited | set(speaking)):
        hearing, spec = knowledge.of(system), landscape.systems.get(system)
        state = "unvouched" if hearing.unvouched else "silent" if hearing.silent else "heard"
        # Before its first source said hello nobody listened: that is told by `since`, not as a gap.
        deaf = tuple((a, b) for a, b in hearing.deaf if a > NEVER and b > begin) if not hearing.unvouched else ()
        through = hearing.clock if hearing.clock > NEVER else None
        made.append(SystemRow(system, spec.says if spec else "", state, through, deaf, tuple(speaking.get(system, {}))))
    order = ("silent", "heard", "unvouched")
    return sorted(made, key=lambda one: (order.index(one.state), one.system))


def source_data(row: SourceRow) -> dict[str, Any]:
    return {
        "source": row.source, "epoch": row.epoch, "state": row.state, "systems": list(row.systems), "since": _time(row.since),
        "through": _time(row.through), "last_record_at": _time(row.last_record_at), "every_seconds": row.every / 1e6,
        "skew_seconds": row.skew / 1e6, "sent": row.sent, "shed": row.shed,
    }  # fmt: skip


def system_data(row: SystemRow) -> dict[str, Any]:
    gaps = [[_time(begin), None if end >= FOREVER else _time(end)] for begin, end in row.deaf]
    return {
        "system": row.system, "says": row.says, "state": row.state, "heard_through": _time(row.heard_through),
        "not_heard": gaps, "sources": list(row.sources),
    }  # fmt: skip


def _time(time: int | None) -> str | None:
    """RFC 3339; None for "from the beginning of time", and for never."""
    return format_time(time) if time is not None and EARLIEST <= time < LATEST else None
