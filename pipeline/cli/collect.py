"""``lastseen collect``: events from systems that nobody can change, through collectors declared in files."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import CollectorFile, read_collector
from collectors.personal import Guard, privacy_of
from collectors.reader import Reader
from collectors.runner import Runner
from collectors.sample import Told, try_sample
from collectors.withheld import Withheld
from pipeline.answers.inert import as_csv, as_json
from pipeline.app import App
from pipeline.cli.common import FINDINGS, UNAVAILABLE, app_of, leave, typed
from pipeline.cli.load import judge_now
from pipeline.cli.options import format_option, moment
from pipeline.cli.service import stopping, tell
from pipeline.cli.terminal import console, err, inert, plain
from pipeline.errors import Invalid
from schemas.flow import Flows
from schemas.landscape import Landscape
from schemas.times import format_duration, format_time
from tracer.privacy import Privacy

PATIENCE = 10.0
"""Seconds in which a log that is away may come back when a collector is to stop."""
_MISSED = {"refused": "requests refused", "dropped": "datagrams dropped", "gone": "senders gone"}

_files = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False)
)  # fmt: skip


@click.group()
def collect() -> None:
    """Read what other systems write: log files, tables, topics, requests.

    A collector is one YAML file: an input, a format, and which records make which events.

    \b
    lastseen collect check shop.yaml            is it right, and what will it read?
    lastseen collect try shop.yaml sample.log   what does each line become?
    lastseen collect run shop.yaml              go
    """


@collect.command()
@_files
def check(files: tuple[Path, ...]) -> None:
    """Say whether collectors' FILEs are right, what they read, and for whom they vouch."""
    flows, landscape = app_of().definitions()
    out = console()
    for index, file in enumerate(_read_all(files)):
        if index:
            out.print()
        out.print(plain(f"{file.collector.name}: {file.path} is right", "green"))
        for name, text in _described(file, flows, landscape):
            out.print(plain(f"  {name:<9} {text}"), soft_wrap=True)


def _described(file: CollectorFile, flows: Flows, landscape: Landscape) -> Iterator[tuple[str, str]]:
    collector = file.collector
    yield "reads", f"{collector.input.name}{_options(collector.input.options)}, as {collector.format.name}"
    for event in collector.events:
        yield "makes", f"{event.label}, with {', '.join(event.keys)}"
    if not collector.events:
        yield "makes", "the events that its records are already"
    if file.systems:
        yield "vouches", f"for {', '.join(file.systems)}: while it runs and has read all, they are heard"
    silent = sorted(set(collector.systems()) - set(file.systems))
    if silent or not file.systems:
        whom = ", ".join(silent) or "nobody"
        yield "cannot", f"vouch for {whom}: others write what it reads, and nothing tells whether all of it came"
    if not collector.key and collector.events:
        yield "ids", "are made of where a record stands; with `key` a row has the same ids wherever it stands"
    if collector.delay:
        yield "delay", f"{format_duration(collector.delay)}, by which records become visible late"
    if collector.clock_offset:
        yield "clock", f"{format_duration(collector.clock_offset)} ahead, taken off event times"
    unknown = sorted({name for event in collector.events for name in event.keys} - set(landscape.keys))
    if unknown:
        yield "note", f"no landscape says what kind of key {', '.join(unknown)} is, so no flow can follow it"
    strange = _unheard_of(file, flows)
    if strange:
        yield "note", f"no flow has the step {', '.join(strange)}; name the folder of yours with --flows"


def _unheard_of(file: CollectorFile, flows: Flows) -> list[str]:
    """Steps of systems that no flow knows: what they report is judged by none."""
    known = {(name, step.system) for flow in flows.all() for name, step in flow.steps.items()}
    made = {(event.step.constant, event.system.constant) for event in file.collector.events}
    return sorted(f"{step} of {system}" for step, system in made if step and system and (step, system) not in known)


def _options(options: dict[str, Any]) -> str:
    if not options:
        return ""
    said = (
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in options.items()
    )
    return " (" + "; ".join(said) + ")"


@collect.command("try")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("samples", nargs=-1, metavar="[SAMPLE...|-]", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="Records that are shown at most."
)
@format_option
def try_(file: Path, samples: tuple[Path, ...], limit: int, form: str) -> None:
    """Show what each record of SAMPLEs (or - for standard input) becomes under the collector FILE, and why others become nothing.

    Nothing is sent, and no position is kept. Exits with 1 if a record could not be made an event.
    """
    app = app_of()
    read = read_collector(file)
    reader = Reader(read, _privacy(app, read, app.definitions()[1]))
    told = [one for sample in samples or (Path("-"),) for one in _tried(reader, read, sample, app.clock(), limit)][
        :limit
    ]
    _show(told, form)
    if any(one.quarantined for one in told):
        leave(FINDINGS)


def _tried(reader: Reader, file: CollectorFile, sample: Path, now: int, limit: int) -> Iterator[Told]:
    try:
        if str(sample) == "-":
            yield from _stream(reader, file, "-", sys.stdin.buffer, now, limit)
        else:
            with sample.open("rb") as stream:
                yield from _stream(reader, file, str(sample), stream, now, limit)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror}", file=str(sample)) from None


def _stream(reader: Reader, file: CollectorFile, name: str, stream: BinaryIO, now: int, limit: int) -> Iterator[Told]:
    yield from try_sample(reader, file.format, name, iter(lambda: stream.read(65536), b""), now, limit, file.input)


def _show(told: list[Told], form: str) -> None:
    rows = [row for one in told for row in one.rows()]
    if form == "json":
        click.echo(as_json([one.plain() for one in told]))
    elif form == "csv":
        click.echo(
            as_csv(rows, ("place", "became", "step", "phase", "system", "time", "keys", "attributes", "reason")),
            nl=False,
        )
    else:
        _table(told)


def _table(told: list[Told]) -> None:
    out = console()
    for one in told:
        out.print(plain(f"{one.place}  {one.text}", "dim"), soft_wrap=True)
        for event in one.events:
            keys = ", ".join(f"{name} {value}" for name, value in event["keys"].items())
            out.print(
                plain(
                    f"    {event['step']} {event['phase']} in {event['system']} at {format_time(event['time'])}: {keys}",
                    "green",
                )
            )
            more = {**event.get("attributes", {}), **{name: event[name] for name in ("error", "peer") if name in event}}
            if more:
                out.print(
                    plain("      " + ", ".join(f"{name} {value}" for name, value in more.items())), soft_wrap=True
                )
        for reason in one.quarantined:
            out.print(plain(f"    quarantined: {reason}", "yellow"), soft_wrap=True)
        if not one.events and not one.quarantined:
            out.print(plain(f"    nothing: {one.nothing}", "dim"), soft_wrap=True)
    made, bad = sum(len(one.events) for one in told), sum(bool(one.quarantined) for one in told)
    without = sum(not one.events and not one.quarantined for one in told)
    out.print(plain(f"{len(told)} records: {made} events, {bad} records with faults, {without} that made nothing"))


@collect.command()
@_files
@click.option("--once", is_flag=True, help="Read what there is, vouch for it as a list that is complete, and end.")
@click.option(
    "--complete-through", "through", default="", metavar="TIME",
    help="With --once: until when it is complete: a date, a time, 2h (ago), now. Default: when the newest file was last written.",
)  # fmt: skip
@click.option(
    "--since", default="", metavar="TIME",
    help="From when on it is complete. Default: with --once the beginning of time, else now, or where the last run ended.",
)  # fmt: skip
@click.option(
    "--again",
    is_flag=True,
    help="Read all from its beginning, as after a change of the file: it makes the same events.",
)
@click.option(
    "--positions", "folder", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Folder in which positions are kept (default: collectors, in the folder of --data).",
)  # fmt: skip
def run(files: tuple[Path, ...], once: bool, through: str, since: str, again: bool, folder: Path | None) -> None:
    """Run the collectors declared in FILEs, in one process.

    What is read is settled, and its position saved, once the event log has acknowledged it. SIGTERM and Ctrl-C finish what is in
    hand and say goodbye; the second one exits at once.
    """
    app = app_of()
    read = _read_all(files)
    flows, landscape = app.definitions()
    if through and not once:
        raise Invalid("--complete-through goes with --once: what goes on being read is complete as far as it was read")
    now = app.clock()
    spans = {
        "since": _moment(since, landscape, now, "--since"), "through": _moment(through, landscape, now, "--complete-through")
    }  # fmt: skip
    with ExitStack() as stack:
        stop = stack.enter_context(stopping())
        log = stack.enter_context(app.log())
        if app.config.embedded_log:
            log.create()
        sink = log.producer()
        stack.callback(sink.close)
        where = folder or app.config.data / "collectors"
        made = []
        for one in read:
            made.append(_collecting(app, one, sink, where, landscape, once=once, again=again, **spans))
        _run(made, stop, log.name)
        _sum_up(made)
        if once and app.config.embedded_log and app.config.embedded_store:
            judge_now(app, log, {system for one in read for system in (*one.systems, *one.collector.systems())}, flows)
        for strange in filter(None, (_unheard_of(one, flows) for one in read)):
            tell(
                f"no flow has the step {', '.join(strange)}, so nothing is said of it; name the folder of yours with --flows"
            )
    if any(one.incomplete for one in made):
        leave(UNAVAILABLE)


def _run(made: list[Collecting], stop: threading.Event, log: str) -> None:
    runner = Runner(made, lambda seconds: stop.wait(seconds) if seconds else stop.is_set(), tell)
    with _progress() as show:
        tell(f"collecting into {log}: {', '.join(one.name for one in made)}")
        runner.run(lambda: show(made))


def _collecting(
    app: App,
    file: CollectorFile,
    sink: Any,
    folder: Path,
    landscape: Landscape,
    *,
    once: bool,
    again: bool,
    since: int | None,
    through: int | None,
) -> Collecting:
    checkpoint = Checkpoint(folder, file.collector.name)
    if again:
        checkpoint.forget()
    try:
        return Collecting(
            file, sink, checkpoint, app.clock, app.config.env, landscape=landscape,
            privacy=_privacy(app, file, landscape), withheld=Withheld(folder / f"{file.collector.name}.withheld"),
            once=once, since=since, through=through, tell=tell,
        )  # fmt: skip
    except BaseException:
        checkpoint.close()
        raise


def _privacy(app: App, file: CollectorFile, landscape: Landscape) -> Privacy:
    """A key for hashing is made where the collector needs one, and the log is embedded."""
    privacy = privacy_of(landscape, app.keyring(), file.collector.pii)
    if privacy.ring or not Guard(privacy, Reader.mapper_of(file)).hashes:
        return privacy
    return privacy_of(landscape, app.keyring(create=True), file.collector.pii)


def _read_all(files: tuple[Path, ...]) -> list[CollectorFile]:
    """Raises ``Invalid`` where one is wrong, or two have one name: under a name one source is heard."""
    read = [read_collector(path) for path in files]
    names: dict[str, CollectorFile] = {}
    for file in read:
        first = names.setdefault(file.collector.name, file)
        if first is not file:
            raise file.mistake(f"{first.path} is called {file.collector.name} already", "collector")
    return read


def _moment(text: str, landscape: Landscape, now: int, option: str) -> int | None:
    if not text.strip():
        return None
    return now if text.strip().lower() == "now" else moment(text, landscape.zone, now, option)


def _counts(one: Collecting) -> str:
    counts = one.counts
    read = f"{one.name}: read {counts.read}, events {counts.events}, quarantined {counts.quarantined}"
    missed = (f"{_MISSED.get(what, what)} {count}" for what, count in one.missed.items() if ":" not in what)
    return ", ".join((read, *missed))


def _sum_up(made: list[Collecting]) -> None:
    out = console()
    for one in made:
        out.print(plain(_counts(one)))
        if one.once and not one.counts.read and not one.incomplete:
            out.print(plain("  nothing new since the last run; --again reads all of it, as after a change of the file"))
        if one.counts.without:
            out.print(plain(f"  {one.counts.without} records met no condition and made no event"))
        for what, count in one.missed.items():
            if ":" in what:
                out.print(plain(f"  {what} ({count})", "yellow"), soft_wrap=True)
        if one.counts.withheld:
            out.print(
                plain(
                    f"  {one.counts.withheld} records may hold personal data and stay on this machine; their places were sent"
                )
            )
        if one.counts.quarantined:
            out.print(plain(f"  first fault: {one.counts.first_fault}", "yellow"), soft_wrap=True)
            out.print(plain(f"  all of them: {typed('quarantine list')}"), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[list[Collecting]], None]]:
    """A line on the terminal that says how far they are; nothing where there is none."""
    terminal = err()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda made: progress.update(task, description=inert("; ".join(_counts(one) for one in made)))
