"""The night's report: what was missing at the end of a day. One set of numbers, rendered three ways by `report_render`.

A transaction is missing at the end of day D if it began before, and either is missing now by a step that was due (for a
failure: failed) by then, or was said to be missing then and has been resolved since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta, tzinfo
from itertools import islice

from pipeline.answers.judging import CHUNK, Bench, chunks, known_through, stored_verdict
from pipeline.answers.report_numbers import STATUSES, Entry, Report, SystemHeard, by_drop_of, by_hour_of, money_of
from pipeline.answers.unread import unread_of
from pipeline.answers.words import day_bounds
from pipeline.core.hearing import NEVER, Knowledge
from pipeline.errors import Invalid
from pipeline.store.contract import FlipRow, KeyRow, Transaction, VerdictQuery, VerdictRow
from schemas.times import parse_zone, to_datetime
from schemas.verdict import VERDICT, Drop, DropKind, Status


def build(bench: Bench, day: str = "", flow: str = "") -> Report:
    """The report of a calendar day (``2026-03-04``; default: the last one that is over) in the landscape's zone.

    Raises ``Invalid`` for something that is no date, or an unknown flow.
    """
    now, zone = bench.clock(), parse_zone(bench.landscape.zone)
    day = _day(day, now, zone)
    begin, end = day_bounds(day, zone)
    if flow:
        bench.require_flow(flow)
    flows = (flow,) if flow else ()
    missing = sorted(_with_unread(bench, _missing(bench, end, flows)), key=_order)
    resolved = sorted(_resolved(bench, end, flows, missing), key=_order)
    bench.cover_flows(entry.flow for entry in (*missing, *resolved))
    knowledge = bench.knowledge()
    query = VerdictQuery(flows=flows, started_from=begin, started_to=end)
    excluded = VerdictQuery(flows=flows, started_to=end, excluded=True)
    tests = Counter(row.started_at >= begin for row in bench.store.verdicts(excluded))
    by_hour, earlier = by_hour_of(missing, begin, end, zone)
    statuses = Counter(entry.status for entry in missing)
    return Report(
        day=day,
        zone=bench.landscape.zone,
        begin=begin,
        end=end,
        made_at=now,
        known_through=known_through(knowledge, now),
        flow=flow,
        missing=tuple(missing),
        resolved=tuple(resolved),
        statuses={status: statuses[status] for status in STATUSES},
        money=money_of(missing),
        money_by_status={status: money_of(e for e in missing if e.status == status) for status in STATUSES},
        by_drop=by_drop_of(missing),
        by_hour=by_hour,
        earlier=earlier,
        systems=_systems(bench, knowledge, missing, begin, min(end, now), flows),
        unknown=statuses[Status.UNKNOWN],
        started=bench.store.count(query),
        excluded=tests[True],
        excluded_total=tests.total(),
        names={name: flow_.says.name or name for name in bench.flows.versions if (flow_ := bench.flows.latest(name))},
    )


def _day(day: str, now: int, zone: tzinfo) -> str:
    if not day:
        return (to_datetime(now).astimezone(zone).date() - timedelta(days=1)).isoformat()
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise Invalid(f"not a date: {day[:40]!r}; write for instance 2026-03-04") from None
    if not 1990 <= found.year < 2100:
        raise Invalid(f"date outside the years 1990 to 2100: {day}")
    return found.isoformat()


def _order(entry: Entry) -> tuple[object, ...]:
    return (STATUSES.index(entry.status), entry.flow, entry.since, entry.transaction_id)


def _missing(bench: Bench, end: int, flows: tuple[str, ...]) -> Iterator[Entry]:
    """Missing now, by something that was due by the end of the day."""
    for row in bench.store.verdicts(VerdictQuery(statuses=STATUSES, flows=flows, started_to=end)):
        drops = stored_verdict(row).drops
        # What is missing since after the day says nothing of the day: its own worst drop may be another than today's.
        then = [drop for drop in drops if _at(drop) <= end]
        if then:
            yield _entry(row, then[0], len(then) - 1)
        elif not drops:
            yield _entry(row, None, 0)


def _with_unread(bench: Bench, entries: Iterable[Entry]) -> Iterator[Entry]:
    """With how many records in quarantine name each."""
    if not bench.store.count_quarantine():
        yield from entries
        return
    for chunk in chunks(entries):
        keys: dict[Transaction, list[KeyRow]] = {(entry.key_type, entry.transaction_id): [] for entry in chunk}
        for row in bench.store.keys_of(list(keys)):
            keys[row.transaction_type, row.transaction_id].append(row)
        unread = unread_of(bench, keys)
        for entry in chunk:
            yield replace(entry, unread=len(unread.get((entry.key_type, entry.transaction_id), ())))


def _at(drop: Drop) -> int:
    return drop.since if drop.kind == DropKind.FAILED else (drop.due or drop.since)


def _entry(row: VerdictRow, drop: Drop | None, more: int, *, status: str = "", resolved: str = "") -> Entry:
    common = {
        "flow": row.flow, "key_type": row.key_type, "transaction_id": row.transaction_id, "started_at": row.started_at,
        "findings": row.findings, "value": row.value, "currency": row.currency, "resolved": resolved,
    }  # fmt: skip
    if drop is None:
        return Entry(**common, status=status or row.status, since=row.last_at)  # type: ignore[arg-type]
    return Entry(
        **common,  # type: ignore[arg-type]
        status=status or drop.status.value,
        kind=drop.kind.value,
        from_step=drop.from_step or "",
        from_system=drop.from_system or "",
        to_step=drop.to_step,
        system=drop.system,
        since=drop.since,
        due=drop.due,
        instance=drop.instance,
        missing=drop.missing,
        expected=drop.expected,
        error=drop.error or "",
        silent=drop.silent,
        more=more,
    )


def _resolved(bench: Bench, end: int, flows: tuple[str, ...], missing: list[Entry]) -> Iterator[Entry]:
    """Said to be missing when the day ended, and not among what is missing now."""
    known = {(entry.key_type, entry.transaction_id, entry.flow) for entry in missing}
    said = (
        flip
        for flip in bench.store.missing_at(end - 1)
        if (not flows or flip.flow in flows) and (flip.key_type, flip.transaction_id, flip.flow) not in known
    )
    while chunk := list(islice(said, CHUNK)):
        rows = bench.store.load_verdicts([(flip.key_type, flip.transaction_id) for flip in chunk])
        for flip in chunk:
            now = next((r for r in rows.get((flip.key_type, flip.transaction_id), ()) if r.flow == flip.flow), None)
            if now is not None and not now.excluded:
                drop = _said_drop(flip)
                yield _entry(now, drop, 0, status=flip.status, resolved=now.status)


def _said_drop(flip: FlipRow) -> Drop | None:
    if flip.body:
        return VERDICT.validate_json(flip.body).drop
    if not flip.drop_kind:
        return None
    status, kind = Status(flip.status), DropKind(flip.drop_kind)
    return Drop(status, kind, flip.drop_from or None, None, flip.drop_to, flip.drop_system, flip.at, 0)


def _systems(
    bench: Bench, knowledge: Knowledge, missing: list[Entry], begin: int, end: int, flows: tuple[str, ...]
) -> tuple[SystemHeard, ...]:
    """Every system of the flows, those not heard first."""
    names = {
        bench.landscape.current_name(step.system)
        for flow in bench.flows.all()
        if not flows or flow.flow in flows
        for step in flow.steps.values()
    }
    unknown = Counter(system for entry in missing if entry.status == Status.UNKNOWN for system in entry.silent)
    # What is unknown tonight may rest on a silence of days ago: it is shown from where those were last seen.
    asked: dict[str, int] = {}
    for entry in missing:
        for system in entry.silent if entry.status == Status.UNKNOWN else ():
            asked[system] = min(entry.since, asked.get(system, begin))
    heard = []
    for system in sorted(names | set(unknown)):
        hearing, spec = knowledge.of(system), bench.landscape.systems.get(system)
        through = None if hearing.clock <= NEVER else hearing.clock
        deaf = () if hearing.unvouched else hearing.deaf_within(asked.get(system, begin), max(begin, end))
        heard.append(
            SystemHeard(
                system, spec.says if spec else "", through, deaf, hearing.silent, hearing.unvouched, unknown[system]
            )
        )
    return tuple(sorted(heard, key=lambda one: (not one.unknown, not one.silent, not one.deaf, one.system)))
