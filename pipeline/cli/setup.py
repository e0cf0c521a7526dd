"""``lastseen setup``: topics and tables, and more partitions for a log that is at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.cli.common import app_of
from pipeline.cli.service import drain_if_free, tell
from pipeline.cli.terminal import err, inert
from pipeline.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pipeline.app import App
    from pipeline.log import Log
    from pipeline.work.growth import Growth

# Seconds between two looks.
LOOK_EVERY = 0.5


@click.command()
@click.option(
    "--partitions", type=click.IntRange(1, 100_000), metavar="N",
    help="Of the events. Default: what there are, for a new log what it takes by itself.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(0), default=600, show_default=True, metavar="SECONDS",
    help="How long to wait, where the number changes, until all is processed and the workers are stopped.",
)  # fmt: skip
def setup(partitions: int | None, timeout: float) -> None:
    """Make topics and tables, or bring them up to date. Safe to run again, and beside others.

    A log that is at work is given more partitions (never fewer) while no worker runs: --partitions N waits until all that there
    was has been processed and the last worker is stopped, then changes the number. Sources may go on meanwhile. Interrupted, it
    is simply run again; it also mends a log whose partitions were added by other means.
    """
    app = app_of()
    with app.log() as log:
        _create(log, partitions)
        # Before the store is opened: a worker that is still to be stopped may hold it.
        _settle(app, log, partitions, timeout)
        tell(f"log: {log.name}, {log.partitions()} partitions")
    with app.store() as store:
        applied = store.migrate()
        tell(f"store: {', '.join(applied) if applied else 'up to date'}")


def _create(log: Log, partitions: int | None) -> None:
    """Make what is not there. A number that an older log does not have is another matter: `_settle`."""
    try:
        log.create(partitions)
    except Invalid:
        log.create(None)


def _settle(app: App, log: Log, partitions: int | None, timeout: float) -> None:
    """See that the log and control have one number: the one that is wanted."""
    from pipeline.work.growth import Growth, said_otherwise

    _, landscape = app.definitions()
    if partitions is None:
        problem = said_otherwise(log, landscape)
        if problem:
            raise Invalid(problem)
        return
    growth = Growth(log, landscape, partitions)
    try:
        if growth.needed:
            _wait(app, log, growth, timeout)
            growth.change()
            tell(f"the events have {partitions} partitions now: start the workers again")
    finally:
        growth.close()


def _wait(app: App, log: Log, growth: Growth, timeout: float) -> None:
    """Until nothing is to be waited for. Raises ``Unavailable`` saying what it was."""
    from pipeline.work.growth import why_not

    until = time.monotonic() + timeout
    standing = growth.standing()
    if standing.behind and not standing.members and app.config.embedded_log and app.config.embedded_store:
        with app.store() as store:
            drain_if_free(app, log, store)
        standing = growth.standing()
    with _waiting() as show:
        while not standing.ready:
            show(why_not(standing))
            if time.monotonic() >= until:
                raise Unavailable(
                    f"the events keep their {growth.have} partitions: after {timeout:g} seconds {why_not(standing)}. "
                    "Nothing was changed; run it again"
                )
            time.sleep(min(LOOK_EVERY, max(0.0, until - time.monotonic())))
            standing = growth.standing()


@contextmanager
def _waiting() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is waited for; elsewhere one line each time that this is something else."""
    terminal, told = err(), [""]
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("waiting", total=None)

        def show(text: str) -> None:
            progress.update(task, description=f"waiting: {inert(text)}")
            kind = text.partition(" record")[2] or text
            if not terminal.is_terminal and told[0] != kind:
                told[0] = kind
                tell(f"waiting: {text}")

        yield show
