"""``lastseen sources``: who speaks for which system, how each is heard; and declaring one gone."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from pipeline.answers import sources as answers
from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, count, length
from pipeline.cli.common import FINDINGS, app_of, leave, typed
from pipeline.cli.options import format_option, print_data
from pipeline.cli.terminal import console, err, plain
from pipeline.core.hearing import FOREVER, Interval
from pipeline.errors import Invalid
from schemas.control import Gone, encode_control
from schemas.times import EARLIEST, MINUTE, SECOND
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
@click.option(
    "--systems", "only_systems", is_flag=True, help="Only the systems; so csv has them instead of the sources."
)
@format_option
@click.pass_context
def sources(ctx: click.Context, epochs: bool, fail_on: str | None, only_systems: bool, form: str) -> None:
    """Who speaks for which system, and how each is heard: through when, how far behind, when not, and since when not at all.

    Behind is how far what is processed of a source's word lags the time of the log; of one that is silent, for how long nothing was
    heard of it. A source that vouches for nobody brings events, and cannot say that these were all: no system is judged by its
    silence.
    """
    if ctx.invoked_subcommand is not None:
        return
    with app_of().bench() as bench:
        rows = answers.sources(bench, every_epoch=epochs)
        systems = answers.systems(bench, bench.store.sources())
        now, waiting = bench.clock(), bench.store.count_parked()
    if form == "json":
        data = {"systems": list(map(answers.system_data, systems))}
        click.echo(as_json(data if only_systems else {**data, "sources": list(map(answers.source_data, rows))}))
    elif form == "csv" and only_systems:
        print_data(form, map(answers.system_data, systems), answers.SYSTEM_COLUMNS)
    elif form == "csv":
        print_data(form, map(answers.source_data, rows), answers.SOURCE_COLUMNS)
    else:
        clock = Clock.of(now, bench.landscape)
        _print_systems(systems, clock)
        if not only_systems:
            _print_sources(rows, clock)
        console().print(plain(f"Times in {bench.landscape.zone}.", "dim"))
        if waiting:
            said = f"{count(waiting, 'event')} under numbers that no transaction claims: {typed('unlinked')}"
            console().print(plain(said, "dim"), soft_wrap=True)
    bad = {"silent"} if fail_on == "silent" else {"silent", "unvouched"}
    if fail_on and any(system.state in bad for system in systems):
        leave(FINDINGS)


def _table(*titles: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title in titles:
        narrow = title in ("state", "heard through", "behind")
        table.add_column(title, overflow="fold", justify="right" if title in right else "left", no_wrap=narrow)
    return table


def _print_systems(systems: list[answers.SystemRow], clock: Clock) -> None:
    out = console()
    table = _table("system", "state", "heard through", "behind", "not heard", "spoken for by")
    for system in systems:
        if system.sources:
            table.add_row(
                plain(system.system, "bold"),
                plain(system.state, _STYLES.get(system.state, "")),
                plain(_when(system.heard_through, clock, "never")),
                _behind(system.lag, system.silent_since, clock),
                plain(_gaps(system.deaf, clock, 3)),
                plain(", ".join(system.sources)),
            )
    if table.row_count:
        out.print(table)
    mute = [system.system for system in systems if not system.sources]
    if mute:
        out.print(plain(f"Nobody speaks for {', '.join(mute)}.", "dim"))


def _print_sources(rows: list[answers.SourceAnswer], clock: Clock) -> None:
    out = console()
    out.print()
    if not rows:
        out.print(plain("No source has said hello yet.", "dim"))
        return
    table = _table(
        "source", "state", "vouches for", "heard through", "behind", "not heard", "sent", "shed", "clock",
        right=("sent", "shed", "clock"),
    )  # fmt: skip
    for one in rows:
        row = one.row
        table.add_row(
            plain(row.source, "bold"),
            plain(row.state, _STYLES.get(row.state, "dim")),
            plain(", ".join(row.systems)) if row.systems else plain("nobody", "yellow"),
            plain(clock.short(one.heard_through) if row.systems and one.heard_through is not None else ""),
            _behind(one.lag if row.systems else None, one.silent_since, clock),
            plain(_gaps(one.blind, clock, 1)),
            plain(f"{row.sent:,}"),
            plain(f"{row.shed:,}", "bold red" if row.shed else ""),
            plain(f"{row.skew / SECOND:+.1f} s" if abs(row.skew) > 2 * SECOND else "", "yellow"),
        )
    out.print(table)


def _behind(lag: int | None, silent_since: int | None, clock: Clock) -> Text:
    """ "3 s", "2 hours"; of one that is silent, for how long it has been."""
    if silent_since is not None:
        return plain(length(clock.now - silent_since), "bold magenta")
    if lag is None:
        return plain("")
    return plain(f"{lag / SECOND:.0f} s" if lag < 2 * MINUTE else length(lag), "yellow" if lag >= MINUTE else "")


def _when(time: int | None, clock: Clock, otherwise: str) -> str:
    return clock.short(time, seconds=True) if time is not None and time > EARLIEST else otherwise


def _gaps(gaps: tuple[Interval, ...], clock: Clock, shown: int) -> str:
    """The last ones, and how many more."""
    told = "; ".join(_gap(begin, end, clock) for begin, end in gaps[-shown:])
    return told + (f" and {len(gaps) - shown} more" if len(gaps) > shown else "")


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
