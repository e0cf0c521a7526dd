"""Sources: who speaks for which system, and how each system is heard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.answers.judging import Bench
from pipeline.core.hearing import FOREVER, NEVER, SKEW_LIMIT, Interval, Knowledge
from pipeline.store.contract import SourceRow
from schemas.times import EARLIEST, LATEST, format_time

SOURCE_COLUMNS = (
    "source", "epoch", "state", "systems", "since", "through", "last_record_at", "every_seconds", "skew_seconds", "sent", "shed",
    "heard_through", "lag_seconds", "not_heard", "silent_since",
)  # fmt: skip
SYSTEM_COLUMNS = ("system", "says", "state", "heard_through", "lag_seconds", "not_heard", "silent_since", "sources")
# Worst first: what a person should look at.
_ORDER = ("silent", "distrusted", "gone", "live", "open", "closed", "ended")


@dataclass(frozen=True, slots=True)
class SystemRow:
    """How a system is heard.

    ``state``: heard, silent or unvouched. ``heard_through``: its clock, µs; ``lag``: how far that is behind control time, µs, None
    where nothing more is awaited (silent, or of closed sources only). ``deaf``: intervals µs since its first source vouched; an
    open one ends at ``FOREVER``. ``silent_since``: µs, when the last of its sources was heard of. ``sources``: who speaks for it.
    """

    system: str
    says: str
    state: str
    heard_through: int | None
    deaf: tuple[Interval, ...]
    sources: tuple[str, ...]
    lag: int | None = None
    silent_since: int | None = None


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """How a source is heard. ``heard_through``: what it vouches for up to then is processed, µs of the log's time; ``lag`` and
    ``silent_since`` as for a system; ``blind``: when it was not heard itself."""

    row: SourceRow
    heard_through: int | None
    lag: int | None
    silent_since: int | None

    @property
    def blind(self) -> tuple[Interval, ...]:
        return self.row.blind


def sources(bench: Bench, *, every_epoch: bool = False) -> list[SourceAnswer]:
    """The latest epoch of each source (all of them if asked), those first that need a look."""
    latest: dict[str, SourceRow] = {}
    rows = bench.store.sources()
    for row in rows:
        known = latest.get(row.source)
        if known is None or row.epoch > known.epoch:
            latest[row.source] = row
    shown = sorted(
        rows if every_epoch else list(latest.values()),
        key=lambda row: (_ORDER.index(row.state) if row.state in _ORDER else -1, row.source, -row.epoch),
    )
    now = bench.knowledge().control_time
    return [_source(row, now) for row in shown]


def _source(row: SourceRow, now: int) -> SourceAnswer:
    # 0: nothing was settled yet. A clock that is off by more than that is corrected everywhere.
    through = row.settled + (row.skew if abs(row.skew) > SKEW_LIMIT else 0) if row.settled > 0 else None
    lag = max(0, now - through) if through is not None and row.state == "live" and now > NEVER else None
    return SourceAnswer(row, through, lag, _silent_since(row))


def _silent_since(row: SourceRow) -> int | None:
    if row.state == "distrusted":
        return next((begin for begin, end in reversed(row.blind) if end >= FOREVER), row.last_record_at)
    return row.last_record_at if row.state in ("silent", "gone") else None


def systems(bench: Bench, rows: Iterable[SourceRow]) -> list[SystemRow]:
    """Every system that a flow with transactions awaits or a source speaks for."""
    used = bench.judged_flows()
    bench.cover_flows(used)
    landscape = bench.landscape
    speaking: dict[str, list[SourceRow]] = {}
    begin = LATEST
    for row in rows:
        begin = min(begin, row.since) if row.systems else begin
        for system in row.systems:
            speaking.setdefault(landscape.current_name(system), []).append(row)
    flows = [flow for flow in bench.flows.all() if flow.flow in used]
    awaited = {landscape.current_name(step.system) for flow in flows for step in flow.steps.values()}
    knowledge = bench.knowledge()
    made = [_system(system, speaking.get(system, []), knowledge, begin) for system in sorted(awaited | set(speaking))]
    order = ("silent", "heard", "unvouched")
    return sorted(made, key=lambda one: (order.index(one.state), one.system))


def _system(system: str, rows: list[SourceRow], knowledge: Knowledge, begin: int) -> SystemRow:
    hearing, spec = knowledge.of(system), knowledge.landscape.systems.get(system)
    state = "unvouched" if hearing.unvouched else "silent" if hearing.silent else "heard"
    # Before its first source said hello nobody listened: that is told by `since`, not as a gap.
    deaf = tuple((a, b) for a, b in hearing.deaf if a > NEVER and b > begin) if not hearing.unvouched else ()
    through = hearing.clock if hearing.clock > NEVER else None
    awaited = state == "heard" and any(row.state in ("live", "open") for row in rows)
    lag = max(0, knowledge.control_time - hearing.clock) if awaited and through is not None else None
    silences = [since for row in rows if (since := _silent_since(row)) is not None] if state == "silent" else []
    sources = tuple(dict.fromkeys(row.source for row in rows))
    return SystemRow(
        system, spec.says if spec else "", state, through, deaf, sources, lag, max(silences, default=None)
    )  # fmt: skip


def source_data(one: SourceAnswer) -> dict[str, Any]:
    row = one.row
    return {
        "source": row.source, "epoch": row.epoch, "state": row.state, "systems": list(row.systems), "since": _time(row.since),
        "through": _time(row.through), "last_record_at": _time(row.last_record_at), "every_seconds": row.every / 1e6,
        "skew_seconds": row.skew / 1e6, "sent": row.sent, "shed": row.shed, "heard_through": _time(one.heard_through),
        "lag_seconds": _seconds(one.lag), "not_heard": _gaps(one.blind), "silent_since": _time(one.silent_since),
    }  # fmt: skip


def system_data(row: SystemRow) -> dict[str, Any]:
    return {
        "system": row.system, "says": row.says, "state": row.state, "heard_through": _time(row.heard_through),
        "lag_seconds": _seconds(row.lag), "not_heard": _gaps(row.deaf), "silent_since": _time(row.silent_since),
        "sources": list(row.sources),
    }  # fmt: skip


def _gaps(gaps: Iterable[Interval]) -> list[list[str | None]]:
    return [[_time(begin), None if end >= FOREVER else _time(end)] for begin, end in gaps]


def _seconds(duration: int | None) -> float | None:
    return None if duration is None else duration / 1e6


def _time(time: int | None) -> str | None:
    """RFC 3339; None for "from the beginning of time", and for never."""
    return format_time(time) if time is not None and EARLIEST <= time < LATEST else None
