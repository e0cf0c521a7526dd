"""``lastseen simulate``: the demo's shop in real time, on the log that there is."""

from __future__ import annotations

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.cli.common import app_of, typed
from pipeline.cli.service import stopping, tell
from pipeline.cli.terminal import console, err, plain
from pipeline.errors import Invalid
from pipeline.simulate.real_time import MOST, Heard, RealTime
from schemas.errors import Invalid as BadInput
from schemas.times import DAY, SECOND, parse_duration


@click.command()
@click.option(
    "--rate",
    type=click.IntRange(1, MOST),
    default=120,
    show_default=True,
    help="Orders an hour; carts and logins go with them.",
)
@click.option("--for", "length", default="1d", show_default=True, metavar="TIME", help="For how long, as 10m or 2h.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another shop.")
@click.option("--no-faults", is_flag=True, help="Nothing goes wrong.")
def simulate(rate: int, length: str, seed: int, no_faults: bool) -> None:
    """Let a shop with known faults run from now on, in real time.

    Its events come as a real shop's would: most systems are instrumented; the shop's own come as OpenTelemetry spans, the
    warehouse's from a log file, the carrier's as X12 files, through the collectors. They go to the log (LASTSEEN_LOG, by default
    the data folder's), where lastseen up or lastseen worker judges them.

    SIGTERM and Ctrl-C end it; every source says goodbye.
    """
    app = app_of()
    try:
        micros = parse_duration(length)
    except BadInput as error:
        raise Invalid(f"--for: {error.reason}") from None
    if not SECOND <= micros <= 30 * DAY:
        raise Invalid("--for: between a second and thirty days")
    flows, landscape = app.definitions()
    with stopping() as stop, app.log() as log:
        if app.config.embedded_log:
            log.create()
        shop = RealTime(seed, rate, micros, flows, landscape, app.clock, faults=not no_faults)
        tell(f"log: {log.name}; Ctrl-C ends it")
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=err(), transient=True) as bars:
            task = bars.add_task("opening")
            heard = shop.run(log, stop.wait, lambda heard: bars.update(task, description=_line(heard)))
    _print(heard)


def _line(heard: Heard) -> str:
    wrong = heard.faults.total()
    return f"{heard.deeds:,} events, {heard.begun['order']:,} orders begun, {wrong:,} with something wrong"


def _print(heard: Heard) -> None:
    out = console()
    out.print(plain(_line(heard)))
    if heard.faults:
        table = Table("what goes wrong", "so often", box=None)
        for name, count in heard.faults.most_common():
            table.add_row(plain(name), str(count))
        out.print(table)
    order = heard.last.get("order")
    if order is not None:
        out.print(plain(f"one of them: {typed(f'lookup {order}')}"), soft_wrap=True)
