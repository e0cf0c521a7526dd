"""``lastseen lookup`` and ``lastseen list``: where is this one, and which ones are there."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from pipeline.answers.forms import is_hashed, missing_keys, missing_words
from pipeline.answers.inert import as_json
from pipeline.answers.judging import Bench
from pipeline.answers.lookup import Found, forms_of, list_answers, list_rows
from pipeline.answers.lookup import lookup as look
from pipeline.answers.report_render import amount_text
from pipeline.answers.unlinked import held
from pipeline.answers.unread import unread_naming
from pipeline.answers.words import Clock, length
from pipeline.cli.common import FINDINGS, app_of, leave
from pipeline.cli.lookup_view import show, show_held, unread_words
from pipeline.cli.options import check_fail_on, fail_on_option, format_option, moment, print_data, statuses
from pipeline.cli.terminal import console, err, plain, status_text
from pipeline.errors import Invalid
from pipeline.store.contract import VerdictQuery, VerdictRow
from schemas.landscape import Landscape
from schemas.times import format_time
from schemas.verdict import DropKind, FindingKind

COLUMNS = (
    "flow", "key_type", "transaction_id", "status", "started_at", "last_at", "ended_at", "drop_kind", "drop_from",
    "drop_from_system", "drop_to", "drop_system", "drop_since", "drop_due", "findings", "value", "currency", "excluded",
)  # fmt: skip
FINDING_KINDS = tuple(kind.value for kind in FindingKind)


@click.command()
@click.argument("value")
@click.option("--key", "key_type", default="", metavar="TYPE", help="Only this kind of number, for instance payment.")
@click.option("--as-of", default="", metavar="TIME", help="What was known then: a date, a time, or 2h (ago).")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many transactions.")
@format_option
@fail_on_option
def lookup(value: str, key_type: str, as_of: str, limit: int, form: str, fail_on: str) -> None:
    """Where is it? VALUE is any number it is known by: order, payment, parcel, customer.

    Prints the answer in plain words, what to tell the customer, the timeline, and what the answer rests on. With --as-of it
    is judged again on what was recorded by then, beside what was said then. What is reported under a number that no transaction
    claims yet is shown as well. Exit code 1 if no transaction is known by VALUE.
    """
    app = app_of()
    with app.bench() as bench:
        then = moment(as_of, bench.landscape.zone, bench.clock(), "--as-of")
        found, total = look(bench, value, key_type, then, limit)
        if form == "json":
            click.echo(as_json([one.answer.data(with_said=bool(then), looked_up=True) for one in found]))
        elif form == "csv":
            print_data(form, (_found_data(one) for one in found), COLUMNS)
        elif found:
            show(console(), found, bench.landscape, value, total, bench.clock())
        kept = held(bench, value, key_type, then)
        for one in kept:
            show_held(console() if form == "table" else err(), one, bench.landscape, then or bench.clock())
        missing = [] if found or kept else [*_unread(bench, value, key_type, then), *_missing(bench, key_type)]
    if not found and not kept:
        err().print(plain(_nothing(value, key_type, bench.landscape)))
        for said in missing:
            err().print(plain(f"{said}."), soft_wrap=True)
    if not found:
        leave(FINDINGS)
    check_fail_on(fail_on, (one.verdict.status.value for one in found))


def _unread(bench: Bench, value: str, key_type: str, then: int) -> list[str]:
    """Nothing that could be read names it; maybe something that could not."""
    rows = unread_naming(bench, forms_of(bench, value, key_type), then)
    if not rows:
        return []
    clock = Clock.of(then or bench.clock(), bench.landscape)
    which = "a record that names it" if len(rows) == 1 else f"{len(rows)} records that name it"
    return [f"Yet {which} came and could not be read", *unread_words(rows, clock)]


def _missing(bench: Bench, key_type: str) -> list[str]:
    """Of which kinds not all could be looked for, as a key by which they were hashed is not here."""
    kinds = [kind for kind in bench.landscape.keys if key_type in ("", kind) and is_hashed(bench.landscape, kind)]
    return [missing_words(kind, ids) for kind in kinds if (ids := missing_keys(bench.store, bench.ring, kind))]


def _nothing(value: str, key_type: str, landscape: Landscape) -> str:
    kinds = [spec.says or name for name, spec in landscape.keys.items()]
    known = f"no {key_type} " if key_type else "nothing is known by "
    return f"lastseen: {known}{value!r}. Looked for it as {', '.join([key_type] if key_type else kinds)}."


def _found_data(one: Found) -> dict[str, Any]:
    verdict, drop = one.verdict, one.verdict.drop
    return {
        "flow": verdict.flow, "key_type": one.transaction[0], "transaction_id": one.transaction[1],
        "status": verdict.status.value, "started_at": _time(verdict.started_at), "last_at": _time(verdict.last_at),
        "ended_at": _time(verdict.ended_at or 0),
        **({} if drop is None else {
            "drop_kind": drop.kind.value, "drop_from": drop.from_step, "drop_from_system": drop.from_system,
            "drop_to": drop.to_step, "drop_system": drop.system, "drop_since": _time(drop.since), "drop_due": _time(drop.due),
        }),
        "findings": [finding.kind.value for finding in verdict.findings], "value": verdict.value,
        "currency": verdict.currency, "excluded": verdict.excluded,
    }  # fmt: skip


@click.command("list")
@click.option(
    "--status", default="", metavar="STATUS[,..]", help="Only these; missing is lost, failed, stalled, unknown."
)
@click.option("--flow", "only", multiple=True, metavar="FLOW", help="Only this flow (may be repeated).")
@click.option("--from", "begin", default="", metavar="TIME", help="Began at or after this date or time, or 2h (ago).")
@click.option("--to", "end", default="", metavar="TIME", help="Began before this.")
@click.option(
    "--drop", default="", metavar="A..B", help="Dropped from A to B: steps or systems, either may be left out."
)
@click.option(
    "--finding", "findings", multiple=True, type=click.Choice(FINDING_KINDS), help="With one of these findings."
)
@click.option("--excluded", is_flag=True, help="The test transactions instead.")
@click.option("--limit", type=click.IntRange(0), default=100, show_default=True, help="At most so many; 0 for all.")
@format_option
@fail_on_option
def list_(
    status: str,
    only: tuple[str, ...],
    begin: str,
    end: str,
    drop: str,
    findings: tuple[str, ...],
    excluded: bool,
    limit: int,
    form: str,
    fail_on: str,
) -> None:
    """Transactions, newest first."""
    app = app_of()
    with app.bench() as bench:
        zone, now = bench.landscape.zone, bench.clock()
        origin, target = _drop(drop)
        query = VerdictQuery(
            statuses=statuses(status, "--status"),
            flows=only,
            started_from=moment(begin, zone, now, "--from"),
            started_to=moment(end, zone, now, "--to"),
            drop_from=origin,
            drop_to=target,
            findings=findings,
            excluded=excluded,
            limit=limit + 1 if limit else 0,
        )
        for name in only:
            bench.require_flow(name)
        for place in filter(None, (origin, target)):
            bench.require_place(place, "--drop")
        rows = list_rows(bench, query)
        shown = rows[: limit or None]
        if form == "json":
            click.echo(as_json([answer.data() for answer in list_answers(bench, shown)]))
        elif form == "csv":
            print_data(form, map(_row_data, shown), COLUMNS)
        else:
            _print_table(shown, Clock.of(now, bench.landscape))
    if len(rows) > len(shown):
        err().print(plain(f"There are more than {limit}: --limit N shows more, --limit 0 all.", "dim"))
    check_fail_on(fail_on, (row.status for row in shown))


def _drop(text: str) -> tuple[str, str]:
    if not text:
        return "", ""
    if ".." not in text:
        raise Invalid(f"not a drop: {text[:60]!r}; write A..B, A.. or ..B", field="--drop")
    origin, _, target = text.partition("..")
    return origin.strip(), target.strip()


def _row_data(row: VerdictRow) -> dict[str, Any]:
    data = {name: getattr(row, name) for name in COLUMNS}
    for name in ("started_at", "last_at", "ended_at", "drop_since", "drop_due"):
        data[name] = _time(data[name])
    return data


def _time(time: int) -> str:
    return format_time(time) if time > 0 else ""


def _print_table(rows: list[VerdictRow], clock: Clock) -> None:
    if not rows:
        console().print(plain("None.", "dim"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    # The kind of number mostly says which flow it is; the flow is told where one kind has several.
    several = len({row.flow for row in rows}) > len({row.key_type for row in rows})
    titles = (
        "began",
        "transaction",
        *(["flow"] if several else []),
        "status",
        "where it dropped",
        "since",
        "value",
        *(["findings"] if any(row.findings for row in rows) else []),
    )
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("began", "since", "status", "value"))
    for row in rows:
        notes = ", ".join(row.findings).replace("_", " ")
        table.add_row(
            plain(clock.short(row.started_at)),
            plain(f"{row.key_type} {row.transaction_id}", "bold"),
            *([plain(row.flow, "dim")] if several else []),
            status_text("excluded" if row.excluded else row.status),
            plain(_place(row)),
            plain(length(clock.now - row.drop_since) if row.drop_since else ""),
            plain(amount_text(row.value, row.currency)),
            *([plain(notes, "yellow")] if "findings" in titles else []),
        )
    console().print(table)


def _place(row: VerdictRow) -> str:
    """ "in transit shop (placed) → payments (paid)", "inside payments (paid)": systems, each with its step."""
    if not row.drop_kind:
        return ""
    target, origin = f"{row.drop_system} ({row.drop_to})", f"{row.drop_from_system} ({row.drop_from})"
    way = "" if row.drop_kind in (DropKind.INSIDE, DropKind.FAILED) or not row.drop_from else origin
    match row.drop_kind:
        case DropKind.IN_TRANSIT:
            return f"in transit {way} → {target}" if way else f"before {target}"
        case DropKind.BETWEEN:
            return f"between {way} and {target}" if way else f"before {target}"
        case DropKind.FAILED:
            return f"failed in {target}"
    return f"{row.drop_kind.replace('_', ' ')} {target}"
