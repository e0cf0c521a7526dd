"""What runs: ``lastseen up``, ``store``, ``worker``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import click

from pipeline.cli.common import app_of
from pipeline.cli.terminal import err, inert, plain
from pipeline.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pipeline.app import App
    from pipeline.log import Log
    from pipeline.store import Store
    from pipeline.worker import Counters, Worker

DRAIN_PATIENCE = 60.0
# Seconds in which another drain may end.
HELD_PATIENCE = 3.0


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Where the store is served (default: any that is free)."
)
def up(port: int) -> None:
    """Run everything in one process: the worker, and the embedded store for all other commands.

    SIGTERM and Ctrl-C finish the batch in hand and exit with 0; the second one exits at once.
    """
    app = app_of()
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        log, store = open_both(app, stack)
        if app.config.embedded_store:
            url = stack.enter_context(app.served_store(port))
            tell(f"store: served at {url}, the token is in {app.store_folder() / 'token'}")
        worker = make_worker(app, log, store, stop)
        tell(f"log: {log.name}")
        tell("ready; Ctrl-C ends it")
        run(worker)
    tell("stopped")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any that is free.")
def store(port: int) -> None:
    """Serve the embedded store alone, over ClickHouse's HTTP interface on loopback, behind a token.

    For several workers on one folder, or for another tool that speaks to ClickHouse.
    """
    app = app_of()
    if not app.config.embedded_store:
        raise Invalid("LASTSEEN_STORE names a server already; there is nothing to serve")
    with stopping() as stop, app.served_store(port) as url:
        with app.store() as served:
            served.migrate()
        tell(f"store: served at {url}, the token is in {app.store_folder() / 'token'}")
        while not stop.wait(1):
            pass
    tell("stopped")


@click.command()
@click.option("--drain", is_flag=True, help="Process all there is, then exit.")
def worker(drain: bool) -> None:
    """Judge what comes in. Several may run; the partitions are shared out among them.

    The first SIGTERM finishes the batch, commits and exits with 0; the second exits at once.
    """
    app = app_of()
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        log, store = open_both(app, stack)
        if drain and app.config.embedded_log:
            require_free(log, stop)
        made = make_worker(app, log, store, stop, patience=DRAIN_PATIENCE if drain else None)
        if drain:
            counters = run_drain(made)
            tell(
                f"drained: {counters.records:,} records, {counters.events:,} events, {counters.quarantined:,} quarantined, "
                f"{counters.verdicts:,} verdicts"
            )
        else:
            tell(f"working on {log.name}")
            run(made)


def open_both(app: App, stack: ExitStack) -> tuple[Log, Store]:
    """Log and store, set up where they are embedded: a folder is nobody else's to prepare."""
    log = stack.enter_context(app.log())
    store = stack.enter_context(app.store())
    if app.config.embedded_log:
        log.create()
    if app.config.embedded_store:
        store.migrate()
    return log, store


def make_worker(app: App, log: Log, store: Store, stop: threading.Event, patience: float | None = None) -> Worker:
    """Raises ``Invalid`` for flows that were published with other content, ``Unavailable``."""
    from pipeline.log import PositionLost
    from pipeline.worker import Policy, Worker

    flows, landscape = app.definitions()
    try:
        return Worker(
            log,
            store,
            flows=flows,
            landscape=landscape,
            name=app.worker_name(),
            policy=Policy(patience=patience),
            stop=stop,
        )
    except PositionLost as error:
        raise Unavailable(str(error)) from error


def held_by(log: Log) -> str:
    """Who consumes the embedded log, as a message says it; "" where nobody does."""
    consumer = log.consumer()
    try:
        consumer.poll(0, 0)
    except Unavailable as error:
        return str(error)
    finally:
        consumer.close()
    return ""


def require_free(log: Log, stop: threading.Event) -> None:
    """Raises ``Unavailable`` where another process goes on reading the embedded log: it will not leave before it is stopped,
    while another drain is over soon."""
    from pipeline.work.policy import Stopping

    until = time.monotonic() + HELD_PATIENCE
    while reader := held_by(log):
        if stop.wait(0.2):
            raise Stopping
        if time.monotonic() >= until:
            raise Unavailable(f"{reader}. It judges what comes in: there is nothing to drain beside it")


def drain_if_free(app: App, log: Log, store: Store) -> str:
    """Judge what is in the embedded log, unless somebody does already: then who."""
    reader = held_by(log)
    if not reader:
        with stopping() as stop:
            store.migrate()
            run_drain(make_worker(app, log, store, stop, DRAIN_PATIENCE))
    return reader


def run(worker: Worker) -> None:
    """Until asked to stop. What only a person can decide ends it as out of service, not as a bug."""
    with _told():
        worker.run()


def run_drain(worker: Worker) -> Counters:
    with _told():
        try:
            return worker.drain()
        finally:
            worker.close()


@contextmanager
def _told() -> Iterator[None]:
    from pipeline.log import PositionLost
    from pipeline.work.trust import Flooded
    from pipeline.worker import Stopping

    try:
        yield
    except (PositionLost, Flooded) as error:
        raise Unavailable(str(error)) from error
    except Stopping:
        return


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process there and then. Sets up logging to stderr.

    Who is asked to stop while waiting for a service was asked, and has not failed: that ends the block quietly.
    """
    from pipeline.work.policy import Stopping

    stop = threading.Event()

    def ask(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        # Not through rich: a signal may come in the middle of a line of its own.
        os.write(2, b"lastseen: finishing what is in hand; once more ends it at once\n")

    _log_to_stderr()
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    except Stopping:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Inert(logging.Formatter):
    """One line a message, whatever is in it (FAULTS.md 31)."""

    def format(self, record: logging.LogRecord) -> str:
        return inert(super().format(record))


def _log_to_stderr() -> None:
    root = logging.getLogger("lastseen")
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Inert("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)
        root.setLevel(logging.INFO)


def tell(text: str) -> None:
    """A word to whoever started it; standard output is for answers."""
    err().print(plain(text), soft_wrap=True)
