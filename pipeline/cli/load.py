"""``lastseen load``: events from a file or a table, through a declarative mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from collectors.inputs import open_input
from collectors.loader import Loader, Tally
from collectors.mapper import Mapper
from collectors.mapping import Mapping
from collectors.mapping_file import MappingFile, read_mapping
from collectors.personal import Guard, privacy_of
from pipeline.app import App
from pipeline.cli.common import app_of, typed
from pipeline.cli.options import moment
from pipeline.cli.service import drain_if_free, held_by
from pipeline.cli.terminal import console, err, inert, plain, status_text
from pipeline.errors import Invalid
from pipeline.log import Log
from pipeline.store.contract import Store
from schemas.flow import Flows
from schemas.landscape import Landscape
from schemas.times import EARLIEST, format_time
from tracer.privacy import Privacy


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--mapping", "mapping_path", required=True, type=click.Path(path_type=Path, dir_okay=False), metavar="M.yaml",
    help="How records become events.",
)  # fmt: skip
@click.option(
    "--complete-through", "through", default="", metavar="TIME",
    help="Until when the list is complete: a date, a time, 2h (ago), now. Default: for a database now, for a file when it was "
    "last written.",
)  # fmt: skip
@click.option(
    "--since", default="", metavar="TIME", help="From when on it is complete. Default: the beginning of time."
)
def load(source: str, mapping_path: Path, through: str, since: str) -> None:
    """Load events from SOURCE: a CSV or JSON Lines file (also gzipped), an SQLite file, or any SQLAlchemy URL.

    The mapping says which fields are keys, times and attributes, and which record makes which event. What makes none is set
    aside with its line and the reason (lastseen quarantine). Loading again changes nothing. Where no lastseen up and no
    worker reads the folder, what was loaded is judged at once.

    What the landscape declares ``pii`` is hashed or taken out on the way, by the key in LASTSEEN_PII_KEY; with the embedded log a
    key is made where there is none, and kept beside it.

    The password of a database comes from LASTSEEN_SOURCE_PASSWORD, never from the URL.
    """
    app = app_of()
    if Path(source).is_dir():
        raise Invalid("is a directory; name a file or a database", file=source)
    file = read_mapping(mapping_path)
    flows, landscape = app.definitions()
    now = app.clock()
    complete = _moment(through, landscape, now, "--complete-through")
    begin = _moment(since, landscape, now, "--since") or EARLIEST
    with app.log() as log:
        if app.config.embedded_log:
            log.create()
        tally = _load(app, file, log, source, landscape, complete or None, begin)
        _print(file.mapping, tally)
        if app.config.embedded_log and app.config.embedded_store:
            judge_now(app, log, file.mapping.systems(), flows)


def _moment(text: str, landscape: Landscape, now: int, option: str) -> int:
    return now if text.strip().lower() == "now" else moment(text, landscape.zone, now, option)


def _load(
    app: App, file: MappingFile, log: Log, source: str, landscape: Landscape, through: int | None, since: int
) -> Tally:
    opened = open_input(source, file.mapping, app.clock, app.config.env)
    sink = log.producer()
    try:
        loader = Loader(
            file,
            sink,
            app.clock,
            landscape.transaction_types(),
            landscape.normalisers(),
            _privacy(app, file, landscape),
        )
        with _progress("reading") as show:
            return loader.load(opened, through=through, since=since, progress=lambda tally: show(_counts(tally)))
    finally:
        opened.close()
        sink.close()


def _privacy(app: App, file: MappingFile, landscape: Landscape) -> Privacy:
    """A key is made only for a mapping that needs one."""
    privacy = privacy_of(landscape, app.keyring())
    if privacy.ring or not Guard(privacy, Mapper(file.mapping)).hashes:
        return privacy
    return privacy_of(landscape, app.keyring(create=True))


def _print(mapping: Mapping, tally: Tally) -> None:
    out = console()
    out.print(plain(f"{mapping.mapping}: {_counts(tally)}"))
    if tally.without:
        out.print(plain(f"{tally.without} records met no condition and made no event"))
    if tally.quarantined:
        out.print(plain(f"first fault: {tally.first_fault}", "yellow"))
        out.print(plain(f"all of them: {typed('quarantine list')}"), soft_wrap=True)
    if tally.withheld:
        said = (
            f"{tally.withheld} of them stay where they stand, as they may hold personal data: only their place was sent"
        )
        out.print(plain(said, "dim"), soft_wrap=True)
    out.print(plain(f"complete through {format_time(tally.through)}", "dim"))


def _counts(tally: Tally) -> str:
    return f"read {tally.read}, events {tally.events}, quarantined {tally.quarantined}"


def judge_now(app: App, log: Log, systems: Iterable[str], flows: Flows) -> None:
    """Judge what was loaded of these systems, unless somebody does already, and say how things stand."""
    reader = held_by(log)
    if reader:
        console().print(plain(f"left to the worker that runs: {reader}", "dim"))
        return
    with app.store() as store:
        with _progress("judging"):
            drain_if_free(app, log, store)
        _print_verdicts(set(systems), flows, store)


def _print_verdicts(systems: set[str], flows: Flows, store: Store) -> None:
    """How things stand in the flows that the loaded systems take part in."""
    concerned = {
        flow.flow for flow in flows.all() if any(step.system in systems for step in flow.steps.values())
    }  # fmt: skip
    out = console()
    counts = store.count_verdicts()
    for name in sorted(concerned):
        found = {status: number for (flow, status), number in counts.items() if flow == name and number}
        if not found:
            continue
        line = plain(f"{name}: {sum(found.values())} transactions")
        for status, number in sorted(found.items(), key=lambda item: -item[1]):
            line.append(f", {number} ").append_text(status_text(status))
        out.print(line)
        missing = [status for status in ("lost", "failed", "stalled", "unknown") if found.get(status)]
        if missing:
            command = typed(f"list --flow {name} --status {','.join(missing)}", flows=True)
            out.print(plain(f"see them: {command}"), soft_wrap=True)


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is done; nothing where there is none."""
    terminal: Console = err()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda text: progress.update(task, description=f"{doing}: {inert(text)}")
