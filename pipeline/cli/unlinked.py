"""``lastseen unlinked``: events that no transaction claims."""

from __future__ import annotations

import click
from rich.table import Table

from pipeline.answers import unlinked as answers
from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, length
from pipeline.cli.common import FINDINGS, app_of, leave, typed
from pipeline.cli.options import format_option, print_data
from pipeline.cli.terminal import console, plain
from pipeline.errors import Invalid
from pipeline.store.contract import ParkedRow, Unlinked
from schemas.landscape import Landscape
from schemas.times import format_duration, parse_duration

_TITLES = ("number", "events", "values", "under 1 h", "under 1 d", "under 7 d", "older", "oldest")


def _checked(_: click.Context, __: click.Parameter, text: str) -> int | None:
    """µs; 0 for any, None where it is not asked for."""
    word = text.strip().lower()
    if not word or word == "any":
        return 0 if word else None
    try:
        return parse_duration(word)
    except Invalid as error:
        raise Invalid(f"{error.reason}; write any, or an age as 1d", field="--fail-on") from None


@click.command()
@click.option(
    "--type", "alias_type", default="", metavar="TYPE", help="Only this kind of number, for instance payment."
)
@click.option(
    "--samples", type=click.IntRange(0, 1000), default=3, show_default=True, metavar="N", help="Of each kind."
)
@click.option(
    "--fail-on", "age", default="", metavar="any|AGE", callback=_checked,
    help="Exit with 1 if there is anything, or anything that is older (1h, 2d).",
)  # fmt: skip
@format_option
def unlinked(alias_type: str, samples: int, age: int | None, form: str) -> None:
    """Events under numbers that no transaction claims: how many, how old, and which.

    Some wait for a moment, until the system that knows both numbers has spoken. What is old says that such a system is not heard,
    or that no flow makes the number an alias. What is claimed later is joined then, however long it waited (landscape: keep_for).
    An event with several numbers is listed under each that nobody claims, though another of them may have joined it.
    """
    with app_of().bench() as bench:
        found = answers.unlinked(bench, alias_type, samples)
        now = bench.clock()
        if form == "json":
            click.echo(as_json([answers.data(one, samples=True) for one in found]))
        elif form == "csv":
            print_data(form, map(answers.data, found), answers.COLUMNS)
        else:
            _print(found, bench.landscape, now)
    if age is not None and answers.older_than(found, age, now):
        leave(FINDINGS)


def _print(found: list[Unlinked], landscape: Landscape, now: int) -> None:
    out, clock = console(), Clock.of(now, landscape)
    if not found:
        out.print(plain("No event waits under a number that nobody claims.", "green"))
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in _TITLES:
        table.add_column(title, justify="left" if title in ("number", "oldest") else "right", no_wrap=title != "number")
    for one in found:
        ages = [plain(f"{number:,}" if number else "", "dim") for number in one.by_age[:-1]]
        older = plain(f"{one.by_age[-1]:,}" if one.by_age[-1] else "", "bold yellow")
        counts = (plain(f"{one.events:,}"), plain(f"{one.aliases:,}"), *ages, older)
        table.add_row(plain(one.alias_type, "bold"), *counts, plain(f"{length(now - one.oldest)} ago"))
    out.print(table)
    rows = [row for one in found for row in one.samples]
    if rows:
        out.print()
        out.print(samples_table(rows, clock, landscape))
    out.print(plain(f"Times in {landscape.zone}; kept for {format_duration(landscape.keep_for)}.", "dim"))
    show, join = typed("lookup NUMBER"), typed("link TYPE:NUMBER TYPE:NUMBER --accept")
    out.print(plain(f"{show} shows all of one, {join} says whose it is", "dim"), soft_wrap=True)


def samples_table(rows: list[ParkedRow], clock: Clock, landscape: Landscape) -> Table:
    """Kept events: under which number, what, where, and when."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("under", "step", "where", "when", "kept since"):
        table.add_column(title, overflow="fold", no_wrap=title in ("when", "kept since"))
    for row in rows:
        event = row.event
        known = landscape.systems.get(landscape.current_name(event.system))
        table.add_row(
            plain(f"{row.alias_type} {row.alias}", "bold"),
            plain(f"{event.step} {event.phase}"),
            plain((known.says if known else "") or event.system),
            plain(clock.short(event.time, seconds=True)),
            plain(clock.short(row.kept_at, seconds=True)),
        )
    return table
