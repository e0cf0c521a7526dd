"""``lastseen report``: what was missing at the end of a day, as files or on standard output."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from pipeline.answers.report import build
from pipeline.answers.report_numbers import Report
from pipeline.answers.report_render import RENDER, money_text, place_text, write
from pipeline.cli.common import app_of
from pipeline.cli.options import check_fail_on, fail_on_option
from pipeline.cli.terminal import console, plain, status_text


@click.command()
@click.option("--date", "day", default="", metavar="D", help="The day, for instance 2026-03-04 (default: yesterday).")
@click.option("--flow", default="", metavar="F", help="Only this flow.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files (default: DATA/reports)."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", *RENDER)),
    help="Print this form instead of writing the three files.",
)
@fail_on_option
def report(day: str, flow: str, out: Path | None, form: str | None, fail_on: str) -> None:
    """What was missing at the end of a day: every lost, stalled, failed and unknown transaction, where and since when.

    Writes report-DAY.html (printable), .csv and .json from one set of numbers. The day ends in the landscape's zone.
    """
    app = app_of()
    with app.bench() as bench:
        made = build(bench, day, flow)
    if form is not None and form in RENDER:
        click.echo(RENDER[form](made), nl=False)
    else:
        _print(made)
        if form is None:
            for path in write(made, out or app.config.reports):
                console().print(plain(f"wrote {path}", "dim"), soft_wrap=True)
    check_fail_on(fail_on, (entry.status for entry in made.missing))


def _print(made: Report) -> None:
    out = console()
    out.print(plain(f"Missing at the end of {made.day} ({made.zone})", "bold"))
    heard = [one.system for one in made.systems if one.deaf or (one.silent and not one.unvouched)]
    if heard:
        gone = f"Not heard all day: {', '.join(heard)}. That leaves {made.unknown} unknown: not known to be lost."
        out.print(plain(gone, "magenta"))
    if not made.over:
        out.print(plain("The day is not over yet.", "yellow"))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("status")
    table.add_column("number", justify="right")
    table.add_column("money")
    for status, count in made.statuses.items():
        table.add_row(status_text(status), plain(f"{count:,}"), plain(money_text(made.money_by_status[status])))
    out.print(table)
    if made.by_drop:
        drops = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        drops.add_column("number", justify="right")
        drops.add_column("where they dropped", overflow="fold")
        drops.add_column("flow")
        for group in made.by_drop[:20]:
            drops.add_row(plain(f"{group.count:,}"), plain(place_text(group)), plain(group.flow, "dim"))
        out.print()
        out.print(drops)
    resolved = f"{len(made.resolved):,} more were missing then and are resolved since. " if made.resolved else ""
    out.print()
    out.print(plain(f"{made.started:,} began that day, {made.excluded:,} tests beside them. {resolved}".strip(), "dim"))
