"""``lastseen demo``: a shop loses things on purpose, and everything that was lost is found again.

It runs on the embedded log and store with the simulator's clock as the only one; afterwards the folder is like any other.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import click

from pipeline.app import App
from pipeline.cli.common import FINDINGS, config_of, leave
from pipeline.cli.demo_view import Progress, show
from pipeline.config import Config
from pipeline.errors import Invalid, Unavailable
from pipeline.simulate.score import Score, score
from pipeline.simulate.simulation import Simulation
from pipeline.store.contract import Store
from schemas.control import Goodbye, Hello, Marker, decode_control
from schemas.times import MINUTE
from tracer.sinks.memory import wall_clock

ORDERS = 2_000
MARKER = "demo.json"


@click.command()
@click.option(
    "--orders", type=click.IntRange(20, 100_000), default=ORDERS, show_default=True, help="How many to simulate."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another shop.")
def demo(orders: int, seed: int) -> None:
    """Simulate three weeks of a shop with known faults, find them, and hold what was found against the truth.

    Exits with 1 where the score is below 100 %. The data stays in the folder, for lookup, list and report.
    """
    config = config_of()
    _clear(config)
    began = monotonic()
    app, simulation = _plan(config, orders, seed)
    with app.store(create=True) as store:
        result = _play(app, simulation, store)
        show(app, simulation, store, result, monotonic() - began)
    if not result.perfect:
        leave(FINDINGS)


def _plan(config: Config, orders: int, seed: int) -> tuple[App, Simulation]:
    """The shop, and an app whose only clock is the shop's."""
    # What a loss of power takes from a demo can be had again: with a sync for every batch it took twice as long.
    config = replace(config, log_url=f"{config.log_url.partition('?')[0]}?synchronous=normal")
    flows, landscape = App(config).definitions()
    end = wall_clock() // MINUTE * MINUTE
    simulation = Simulation(seed, orders, end, flows, landscape)
    return App(config, simulation.clock), simulation


def _play(app: App, simulation: Simulation, store: Store) -> Score:
    """Let the shop run and the worker follow it, half a day at a time."""
    from pipeline.worker import Policy, Worker

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    store.migrate()
    with app.log() as log, Progress(simulation.begin, simulation.end) as progress:
        log.create()
        (app.config.data / MARKER).write_text(json.dumps({"made_by": "lastseen demo", "seed": simulation.seed}))
        worker = Worker(
            log,
            store,
            flows=simulation.flows,
            landscape=simulation.landscape,
            name=app.worker_name(),
            policy=Policy(poll_ms=0),
            pacing=simulation.clock,
        )
        try:
            simulation.run(log, _following(worker.drain, progress))
        finally:
            worker.close()
        progress.say("holding it against the truth")
        return score(store, simulation.truths())


def _following(drain: Callable[[], object], progress: Progress) -> Callable[[int], None]:
    def step(now: int) -> None:
        drain()
        progress.at(now)

    return step


# --- the folder ---------------------------------------------------------------------------------------------------------


def _clear(config: Config) -> None:
    """Make room. Only what a demo made is removed, and only if nothing was added since."""
    if not (config.embedded_log and config.embedded_store):
        raise Invalid("the demo runs on the embedded log and store: unset LASTSEEN_LOG and LASTSEEN_STORE")
    folder = config.data
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        return
    if not (folder / MARKER).is_file():
        raise Invalid(f"{folder} holds data that no demo made; name another folder: lastseen demo --data DIR")
    _require_free(config)
    strangers = _sources(config) - {pod for pods in _pods(config) for pod in pods}
    if strangers:
        raise Invalid(
            f"{folder} holds a demo and what {', '.join(sorted(strangers)[:3])} sent since; "
            "name another folder: lastseen demo --data DIR"
        )
    for name in ("log.sqlite", "log.sqlite-wal", "log.sqlite-shm", MARKER):
        (folder / name).unlink(missing_ok=True)
    for name in ("store", "reports"):
        shutil.rmtree(folder / name, ignore_errors=True)


def _require_free(config: Config) -> None:
    """Raises ``Unavailable`` while another process works on the folder."""
    from pipeline.store.folder import Folder

    store = App(config).store_folder()
    if not store.is_dir():
        return
    folder = Folder(store)
    if not folder.lock():
        raise Unavailable(
            f"{config.data} is in use by {folder.holder()}: stop it first, or name another folder with --data"
        )
    folder.unlock()


def _sources(config: Config) -> set[str]:
    """Who ever spoke in the folder's log."""
    if not (config.data / "log.sqlite").is_file():
        return set()
    with App(config).log() as log:
        reader = log.control_reader()
        try:
            said = []
            while records := reader.read(5_000):
                said += [decode_control(record.value) for record in records]
        finally:
            reader.close()
    return {record.source for record in said if isinstance(record, Hello | Marker | Goodbye)}


def _pods(config: Config) -> list[tuple[str, ...]]:
    from pipeline.simulate.telemetry import pods_of

    flows, _ = App(config).definitions()
    return list(pods_of({step.system for flow in flows.all() for step in flow.steps.values()}).values())
