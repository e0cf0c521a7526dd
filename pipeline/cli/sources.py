"""``lastseen sources``: who speaks for which system, how each is heard; and declaring one gone."""

from __future__ import annotations

import click
from rich.table import Table

from pipeline.answers import sources as answers
from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, count, length
from pipeline.cli.common import FINDINGS, app_of, leave, typed
from pipeline.cli.options import format_option, print_data
from pipeline.cli.terminal import console, err, plain
from pipeline.core.hearing import FOREVER
from pipeline.errors import Invalid
from pipeline.store.contract import SourceRow
from schemas.control import Gone, encode_control
from schemas.landscape import Landscape
from schemas.times import EARLIEST, SECOND
from tracer.record import CONTROL, Record

_STYLES = {
    "live": "green",
    "open": "green",
    "heard": "green",
    "silent": "bold magenta",
    "distrusted": "bold red",
    "unvouched": "yellow",
}


@click.group(invoke_without_command=True)
@click.option("--epochs", is_flag=True, help="Every epoch of each source, not only the latest.")
@click.option(
    "--fail-on",
    type=click.Choice(["silent", "any"]),
    help="Exit with 1 if a system is silent (any: or not vouched for).",
)
@format_option
@click.pass_context
def sources(ctx: click.Context, epochs: bool, fail_on: str | None, form: str) -> None:
    """Who speaks for which system, and through when each system was heard."""
    if ctx.invoked_subcommand is not None:
        return
    with app_of().bench() as bench:
        rows = answers.sources(bench, every_epoch=epochs)
        systems = answers.systems(bench, bench.store.sources())
        now, waiting = bench.clock(), bench.store.count_parked()
    if form == "json":
        data = {"systems": list(map(answers.system_data, systems)), "sources": list(map(answers.source_data, rows))}
        click.echo(as_json(data))
    elif form == "csv":
        print_data(form, map(answers.source_data, rows), answers.SOURCE_COLUMNS)
    else:
        _print(systems, rows, Clock.of(now, bench.landscape), bench.landscape)
        if waiting:
            said = f"{count(waiting, 'event')} under numbers that no transaction claims: {typed('unlinked')}"
            console().print(plain(said, "dim"), soft_wrap=True)
    bad = {"silent"} if fail_on == "silent" else {"silent", "unvouched"}
    if fail_on and any(system.state in bad for system in systems):
        leave(FINDINGS)


def _print(systems: list[answers.SystemRow], rows: list[SourceRow], clock: Clock, landscape: Landscape) -> None:
    out = console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("system", "state", "heard through", "not heard", "spoken for by"):
        table.add_column(title, overflow="fold", no_wrap=title in ("state", "heard through"))
    mute = [system.system for system in systems if not system.sources]
    for system in systems:
        if not system.sources:
            continue
        gaps = [_gap(begin, end, clock) for begin, end in system.deaf[-3:]]
        more = f" and {len(system.deaf) - 3} more" if len(system.deaf) > 3 else ""
        through = system.heard_through
        table.add_row(
            plain(system.system, "bold"),
            plain(system.state, _STYLES.get(system.state, "")),
            plain("never" if through is None else clock.short(through, seconds=True)),
            plain("; ".join(gaps) + more),
            plain(", ".join(system.sources)),
        )
    if len(mute) < len(systems):
        out.print(table)
    if mute:
        out.print(plain(f"Nobody speaks for {', '.join(mute)}.", "dim"))
    if not rows:
        out.print()
        out.print(plain("No source has said hello yet.", "dim"))
        return
    out.print()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in ("source", "state", "vouches since", "through", "sent", "shed", "clock"):
        table.add_column(title, overflow="fold", justify="right" if title in ("sent", "shed", "clock") else "left")
    for row in rows:
        skew = f"{row.skew / SECOND:+.1f} s" if abs(row.skew) > 2 * SECOND else ""
        table.add_row(
            plain(row.source, "bold"),
            plain(row.state, _STYLES.get(row.state, "dim")),
            plain(_when(row.since, clock, "the beginning")),
            plain(_when(row.through, clock, "")),
            plain(f"{row.sent:,}"),
            plain(f"{row.shed:,}", "bold red" if row.shed else ""),
            plain(skew, "yellow"),
        )
    out.print(table)
    out.print(plain(f"Times in {landscape.zone}.", "dim"))


def _when(time: int, clock: Clock, otherwise: str) -> str:
    return clock.short(time, seconds=True) if time > EARLIEST else otherwise


def _gap(begin: int, end: int, clock: Clock) -> str:
    if end >= FOREVER:
        return f"since {clock.short(begin)}"
    return f"{clock.short(begin)} for {length(end - begin)}"


@sources.command("gone")
@click.argument("name")
@click.option("--epoch", type=int, help="Only this epoch of it (default: all).")
def gone(name: str, epoch: int | None) -> None:
    """Say that a source will not come back: its systems are then judged by their other sources."""
    app = app_of()
    with app.store(create=False) as store:
        known = {row.source for row in store.sources()}
    if name not in known:
        raise Invalid(f"no source {name[:60]!r}; there are {', '.join(sorted(known)) or 'none'}")
    record = Gone(source=name, epoch=epoch)
    with app.log() as log:
        sink = log.producer()
        try:
            sink.produce([Record(CONTROL, record.key(), encode_control(record))])
        finally:
            sink.close()
    err().print(plain(f"{name} is declared gone; a worker takes note of it within seconds"))
