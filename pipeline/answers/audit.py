"""The audit: whether all that sources have sent was found again, by running numbers (law 8).

Per source and epoch, every number from 1 to the last that its settled markers account for must be stored (as an event, however
often, or kept under an alias), repeated (the same observation is stored under another number), expired or forgotten (its rows were
deleted), in quarantine (now or once), or shed. Each number counts once, in that order. What is left is missing.

What is not claimed: numbers after the last settled marker. They are in flight, or of a process that was killed; nobody can
tell how many there were. A source without running numbers is counted and never called balanced.

A period chooses epochs: those that were alive in it, each balanced whole, for a number has no time. Events without a number
are counted by when they were recorded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipeline.core.ranges import Range, below, count, union, without
from pipeline.errors import Invalid
from pipeline.store.accounts import EXPIRED, FORGOTTEN, QUARANTINED, REPEATED, STORED
from pipeline.store.contract import Reader, SourceRow
from schemas.times import EARLIEST, LATEST, format_time

HOWS = (STORED, REPEATED, EXPIRED, FORGOTTEN, QUARANTINED)
SHED = "shed"
MISSING, PENDING, NOT_VOUCHED, NOT_NUMBERED, BALANCED = "missing", "pending", "not_vouched", "not_numbered", "balanced"
_ORDER = (MISSING, NOT_VOUCHED, NOT_NUMBERED, PENDING, BALANCED)
COLUMNS = (
    "source", "epoch", "systems", "state", "result", "sent", "owed", *HOWS, SHED, "missing", "in_flight", "beyond",
    "unnumbered", "unnumbered_quarantined", "missing_ranges",
)  # fmt: skip
# Ranges of missing numbers that are listed for an epoch; all are counted.
MAX_GAPS = 100
EpochKey = tuple[str, int]
Seen = Mapping[str, list[Range]]


class Gap(NamedTuple):
    """Missing numbers, ``first`` to ``last``. ``after``, ``before``: µs when the nearest numbers on either side that are here
    were recorded, None where there is none."""

    first: int
    last: int
    after: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """One epoch of a source.

    ``owed``: numbers 1 to this one must be found; ``found``: how many of those were, by how (and shed, of which ``untold`` were not
    named: then fewer are missing than the gaps hold). ``in_flight``: sent after that and not settled. ``beyond``: found, and
    vouched for by no marker. ``unnumbered``: events stored, and records in quarantine, without a number.
    """

    source: str
    epoch: int
    result: str
    state: str = ""
    systems: tuple[str, ...] = ()
    sent: int = 0
    owed: int = 0
    found: Mapping[str, int] = field(default_factory=dict)
    untold: int = 0
    missing: int = 0
    gaps: tuple[Gap, ...] = ()
    more_gaps: int = 0
    in_flight: int = 0
    beyond: int = 0
    unnumbered: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Audit:
    """``begin``, ``end``: the period, µs, 0 for no bound. ``epochs``: those first that need a look."""

    begin: int
    end: int
    epochs: tuple[Balance, ...]

    @property
    def missing(self) -> int:
        return sum(epoch.missing for epoch in self.epochs)

    @property
    def results(self) -> frozenset[str]:
        return frozenset(epoch.result for epoch in self.epochs)


def audit(store: Reader, begin: int = 0, end: int = 0, source: str = "") -> Audit:
    """The balance of every epoch that was alive in [``begin``, ``end``) µs, of one source or all. Raises ``Invalid`` for a source
    that nobody knows, ``Unavailable``."""
    # Sources first: what is stored only grows, so all that a row claims by now is there in what is read after it.
    rows = {(row.source, row.epoch): row for row in store.sources()}
    seen, gone = _look(store, source)
    unnumbered = store.unnumbered(source, begin, end)
    # Whether a source numbers its events is no matter of the period, nor of what is deleted by now.
    there = store.unnumbered(source) if begin or end else unnumbered
    bare = {*gone, *(key for key, counts in there.items() if any(counts))}
    keys = {key for key in (*rows, *seen, *there) if source in ("", key[0])}
    if source and not keys:
        raise Invalid(f"no source {source[:60]!r}; there are {', '.join(sorted({name for name, _ in rows})) or 'none'}")
    ends = _ends(store, {key: found for key, found in seen.items() if key not in rows}) if begin else {}
    wanted = sorted(
        key
        for key in keys
        if any(unnumbered.get(key, (0,)))
        or ((key in rows or key in seen) and _alive(rows.get(key), key, begin, end, ends.get(key, key[1])))
    )

    def weighed() -> list[tuple[Balance, list[Range]]]:
        return [
            _weigh(rows.get(key), key, seen.get(key, {}), unnumbered.get(key, (0, 0)), bare=key in bare)
            for key in wanted
        ]

    made = weighed()
    if any(left for _, left in made):
        # A row on its way from one table to another may be in neither when both are read. Missing is what two looks miss.
        again, gone = _look(store, source)
        bare |= gone
        seen = {key: _both(seen.get(key, {}), again.get(key, {})) for key in {*seen, *again}}
        made = weighed()
    balances = _dated(store, made, seen)
    return Audit(
        begin, end, tuple(sorted(balances, key=lambda one: (_ORDER.index(one.result), one.source, -one.epoch)))
    )


def _look(store: Reader, source: str) -> tuple[dict[EpochKey, dict[str, list[Range]]], set[EpochKey]]:
    """Numbers that are there, by how; and the epochs of which events without a number were deleted."""
    found: dict[EpochKey, dict[str, list[Range]]] = {}
    bare: set[EpochKey] = set()
    for row in store.numbers(source):
        key = (row.source, row.epoch)
        if not row.first:
            bare.add(key)
        if row.last:
            found.setdefault(key, {}).setdefault(row.how, []).append((max(row.first, 1), row.last))
    return found, bare


def _both(one: Seen, other: Seen) -> dict[str, list[Range]]:
    return {how: union(one.get(how, ()), other.get(how, ())) for how in {*one, *other}}


def _ends(store: Reader, seen: Mapping[EpochKey, Seen]) -> dict[EpochKey, int]:
    """When the last numbers of epochs were recorded that nobody says anything of, µs; without those that left no row."""
    points = [
        (*key, last)
        for key, found in seen.items()
        for how in (STORED, QUARANTINED)
        for _, last in found.get(how, ())[-MAX_GAPS:]
    ]
    ends: dict[EpochKey, int] = {}
    for (source, epoch, _), at in (store.number_times(points) if points else {}).items():
        ends[source, epoch] = max(at, ends.get((source, epoch), 0))
    return ends


def _alive(row: SourceRow | None, key: EpochKey, begin: int, end: int, last: int) -> bool:
    """Whether an epoch was there in the period: from its boot to its last record; to ``last`` (µs) where there is none."""
    start = key[1] if key[1] >= EARLIEST else row.since if row else 0
    if end and start >= end:
        return False
    return last >= begin if row is None else row.state == "live" or row.last_record_at >= begin


def _weigh(
    row: SourceRow | None, key: EpochKey, seen: Seen, unnumbered: tuple[int, int], *, bare: bool
) -> tuple[Balance, list[Range]]:
    """One epoch's balance, without its gaps; and what is left of its numbers. ``bare``: events without a number are there, whenever
    they were recorded, or were."""
    if row is None:
        result = NOT_VOUCHED if seen else NOT_NUMBERED
        return Balance(*key, result, beyond=_above(seen, 0), unnumbered=unnumbered), []
    said = Balance(*key, BALANCED, row.state, row.systems, row.sent, unnumbered=unnumbered)
    if not (row.numbered or seen) and bare:
        return replace(said, result=NOT_NUMBERED), []
    told = union(row.shed_ranges)
    left, found = below([(1, row.owed)], row.owed), dict[str, int]()
    for how, ranges in (*((how, seen.get(how, [])) for how in HOWS), (SHED, told)):
        rest = without(left, ranges)
        found[how], left = count(left) - count(rest), rest
    # Shed where there were too many ranges to tell: how many is known, which is not.
    untold = min(count(left), max(0, row.shed - count(told)))
    found[SHED] += untold
    missing = count(left) - untold
    nothing_yet = not row.owed and (row.sent or seen)
    balance = replace(
        said, owed=row.owed, found=found, untold=untold, missing=missing, in_flight=max(0, row.sent - row.owed),
        beyond=_above(seen, max(row.owed, row.sent)), result=MISSING if missing else PENDING if nothing_yet else BALANCED,
    )  # fmt: skip
    return balance, left if missing else []


def _above(seen: Seen, number: int) -> int:
    return count(without(union(*seen.values()), [(1, number)]))


def _dated(store: Reader, made: Sequence[tuple[Balance, list[Range]]], seen: Mapping[EpochKey, Seen]) -> list[Balance]:
    """With the gaps, and between which times they lie."""
    beside: dict[tuple[str, int, int, int], tuple[int, int]] = {}
    for one, left in made:
        here = seen.get((one.source, one.epoch), {})
        known = union(here.get(STORED, ()), here.get(QUARANTINED, ())) if left else []
        firsts, lasts = [first for first, _ in known], [last for _, last in known]
        for first, last in left[:MAX_GAPS]:
            low, high = bisect_left(lasts, first), bisect_right(firsts, last)
            beside[one.source, one.epoch, first, last] = (
                lasts[low - 1] if low else 0,
                firsts[high] if high < len(firsts) else 0,
            )
    points = [(source, epoch, n) for (source, epoch, _, _), pair in beside.items() for n in pair if n]
    times = store.number_times(points) if points else {}
    return [
        replace(
            one,
            gaps=tuple(
                Gap(first, last, *(times.get((one.source, one.epoch, n)) for n in beside[one.source, one.epoch, first, last]))
                for first, last in left[:MAX_GAPS]
            ),
            more_gaps=max(0, len(left) - MAX_GAPS),
        )
        for one, left in made
    ]  # fmt: skip


def data(found: Audit) -> dict[str, Any]:
    """As plain data. ``balanced``: every boot is, by its result; one of which nothing is settled yet (``pending``) is not, nor one
    that cannot be balanced. What is certainly gone is ``missing``."""
    return {
        "from": _time(found.begin), "to": _time(found.end), "balanced": found.results <= {BALANCED}, "missing": found.missing,
        "epochs": [
            {
                **_plain(one), "shed_untold": one.untold,
                "missing_ranges": [
                    {"first": gap.first, "last": gap.last, "after": _time(gap.after), "before": _time(gap.before)}
                    for gap in one.gaps
                ],
                "more_missing_ranges": one.more_gaps,
            }
            for one in found.epochs
        ],
    }  # fmt: skip


def flat(one: Balance) -> dict[str, Any]:
    """For a table of ``COLUMNS``; the gaps as ``3-5;9``."""
    return {**_plain(one), "missing_ranges": ";".join(map(gap_text, one.gaps)) + (";…" if one.more_gaps else "")}


def gap_text(gap: Gap) -> str:
    return str(gap.first) if gap.first == gap.last else f"{gap.first}-{gap.last}"


def _plain(one: Balance) -> dict[str, Any]:
    return {
        "source": one.source, "epoch": one.epoch, "systems": list(one.systems), "state": one.state, "result": one.result,
        "sent": one.sent, "owed": one.owed, **{how: one.found.get(how, 0) for how in (*HOWS, SHED)},
        "missing": one.missing, "in_flight": one.in_flight, "beyond": one.beyond, "unnumbered": one.unnumbered[0],
        "unnumbered_quarantined": one.unnumbered[1],
    }  # fmt: skip


def _time(time: int | None) -> str | None:
    return format_time(time) if time and EARLIEST <= time < LATEST else None
