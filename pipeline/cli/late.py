"""``lastseen late``: what arrived for transactions that retention had deleted."""

from __future__ import annotations

import click
from rich.table import Table

from pipeline.answers.words import Clock
from pipeline.cli.common import FINDINGS, app_of, leave
from pipeline.cli.options import format_option, print_data
from pipeline.cli.terminal import console, plain
from pipeline.store.contract import EventRow
from schemas.times import format_time

COLUMNS = ("key_type", "transaction_id", "event_id", "system", "step", "phase", "time", "recorded_at", "source")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@click.option("--fail-on", type=click.Choice(["any"]), help="Exit with 1 if there is anything.")
@format_option
def late(limit: int, fail_on: str | None, form: str) -> None:
    """What arrived for transactions that retention had deleted: recorded, never judged; the last first."""
    app = app_of()
    with app.store(create=False) as store:
        total, rows = store.count_late(), store.late(limit)
    if form == "table":
        _, landscape = app.definitions()
        _print(total, rows, Clock.of(app.clock(), landscape))
    else:
        print_data(form, map(_data, rows), COLUMNS)
    if fail_on and total:
        leave(FINDINGS)


def _data(row: EventRow) -> dict[str, object]:
    event = row.event
    said = (
        row.key_type, row.transaction_id, event.id, event.system, event.step, event.phase, format_time(event.time),
        format_time(max(event.recorded_at, 0)), event.source,
    )  # fmt: skip
    return dict(zip(COLUMNS, said, strict=True))


def _print(total: int, rows: list[EventRow], clock: Clock) -> None:
    out = console()
    if not total:
        out.print(plain("Nothing came after its transaction's retention.", "green"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("arrived", "transaction", "what", "of"):
        table.add_column(title, overflow="fold", no_wrap=title == "arrived")
    for row in rows:
        event = row.event
        what = f"{event.step} {event.phase}, {event.system}"
        table.add_row(
            plain(clock.short(event.recorded_at)), plain(f"{row.key_type} {row.transaction_id}"), plain(what),
            plain(clock.short(event.time)),
        )  # fmt: skip
    out.print(table)
    if total > len(rows):
        out.print(plain(f"{total:,} in all; --limit shows more", "dim"))
