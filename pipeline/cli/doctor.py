"""``lastseen doctor``: is everything there that is needed, and if not, how to mend it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import click
from rich.table import Table

from pipeline.answers.inert import as_json
from pipeline.answers.words import Clock, count, exact, length
from pipeline.cli.common import FINDINGS, UNAVAILABLE, app_of, leave
from pipeline.cli.options import format_option, print_data
from pipeline.cli.terminal import console, plain
from pipeline.core.hearing import NEVER
from pipeline.errors import Invalid, Unavailable
from pipeline.work.growth import said_otherwise
from schemas.landscape import Landscape
from schemas.times import SECOND
from tracer.sinks.sqlite_file import path_of

if TYPE_CHECKING:
    from pipeline.app import App
    from pipeline.log import Log

OK, NOTE, WRONG, AWAY = "ok", "note", "wrong", "away"
_SIGNS = {OK: ("✓", "green"), NOTE: ("·", "yellow"), WRONG: ("✗", "bold red"), AWAY: ("✗", "bold red")}
_PACKAGES = (
    "click",
    "rich",
    "pydantic",
    "msgspec",
    "orjson",
    "yaml",
    "jinja2",
    "sqlalchemy",
    "lz4",
    "clickhouse_connect",
    "tzdata",
)
# Between a log's clock and ours; below it, markers and events still agree.
CLOCK_LIMIT = 2 * SECOND


class Finding(NamedTuple):
    """One check. ``state``: ok, note, wrong, or away (a service out of reach)."""

    check: str
    state: str
    says: str


@click.command()
@format_option
def doctor(form: str) -> None:
    """Check everything that Lastseen needs, say what is wrong and how to mend it.

    Exit code 0 if all is well, 1 if something is wrong, 3 if a service is out of reach.
    """
    found = list(examine(app_of()))
    if form == "json":
        click.echo(as_json([finding._asdict() for finding in found]))
    elif form == "csv":
        print_data(form, (finding._asdict() for finding in found), Finding._fields)
    else:
        _print(found)
    if any(finding.state == AWAY for finding in found):
        leave(UNAVAILABLE)
    if any(finding.state == WRONG for finding in found):
        leave(FINDINGS)


def _print(found: list[Finding]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        sign, style = _SIGNS[finding.state]
        table.add_row(plain(sign, style), plain(finding.check, "bold"), plain(finding.says))
    console().print(table)


def examine(app: App) -> Iterator[Finding]:
    """All checks, the cheap ones first; one that fails does not keep the others from running."""
    checks: tuple[tuple[str, Callable[[App], Iterator[Finding]]], ...] = (
        ("python", _python), ("packages", _packages), ("flows", _flows), ("folder", _folder), ("log", _log), ("store", _store),
    )  # fmt: skip
    for name, check in checks:
        try:
            yield from check(app)
        except Unavailable as error:
            yield Finding(name, AWAY, str(error))
        except Invalid as error:
            yield Finding(name, WRONG, str(error))


def _python(_: App) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding("python", OK if good else WRONG, found if good else f"{found}; 3.11 or newer is needed")


def _packages(app: App) -> Iterator[Finding]:
    wanted = list(_PACKAGES)
    if app.config.embedded_store:
        wanted += ["chdb", "starlette", "uvicorn"]
    if not app.config.embedded_log:
        wanted += ["kafka", "crc32c"]
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        yield Finding("packages", WRONG, f"{', '.join(missing)} missing: pip install 'lastseen[embedded]'")
    else:
        yield Finding("packages", OK, f"all {len(wanted)} that this setting needs")


def _flows(app: App) -> Iterator[Finding]:
    flows, landscape = app.definitions()
    names = ", ".join(flows.versions)
    yield Finding("flows", OK, f"{names}; {len(landscape.systems)} systems, day and times in {landscape.zone}")
    nameless = sorted(
        {
            step.system
            for flow in flows.all()
            for step in flow.steps.values()
            if not _says(landscape, landscape.current_name(step.system))
        }
    )
    if nameless:
        yield Finding(
            "flows", NOTE, f"no words for people for {', '.join(nameless)}: give them `says` in the landscape"
        )


def _says(landscape: Landscape, system: str) -> str:
    return landscape.systems[system].says if system in landscape.systems else ""


def _folder(app: App) -> Iterator[Finding]:
    data = app.config.data
    if not (app.config.embedded_log or app.config.embedded_store):
        return
    if not data.is_dir():
        yield Finding("folder", NOTE, f"{data} is not there yet; lastseen setup makes it")
        return
    if not os.access(data, os.W_OK | os.X_OK):
        yield Finding(
            "folder", WRONG, f"{data} cannot be written: give this user the right to, or name another with --data"
        )
        return
    yield Finding("folder", OK, str(data))


def _log(app: App) -> Iterator[Finding]:
    if app.config.embedded_log and not path_of(app.config.log_url).exists():
        yield Finding("log", NOTE, "is not there yet; lastseen setup makes it")
        return
    with app.log() as log:
        problems = log.check()
        state = AWAY if problems and _away(log, problems) else WRONG
        for problem in problems:
            yield Finding("log", state, problem)
        if not problems:
            yield Finding("log", OK, f"{log.name}, {log.partitions()} partitions")
            apart = said_otherwise(log, app.definitions()[1])
            if apart:
                yield Finding("partitions", WRONG, apart)


def _away(log: Log, problems: list[str]) -> bool:
    """Whether the log cannot be asked at all; topics that are not there yet are no such thing."""
    if any("lastseen setup" in problem for problem in problems):
        return False
    try:
        log.partitions()
    except Unavailable:
        return True
    return False


def _store(app: App) -> Iterator[Finding]:
    if app.config.embedded_store:
        if not app.store_folder().is_dir():
            yield Finding("store", NOTE, "is not there yet; lastseen setup makes it")
            return
        yield Finding("holder", OK, _holder(app))
    with app.store(create=False) as store:
        problems = store.check()
        for problem in problems:
            yield Finding("store", WRONG, problem)
        if problems:
            return
        yield Finding(
            "store", OK, f"{store.count_events():,} events of {sum(store.count_verdicts().values()):,} transactions"
        )
        yield from _clock(app, max((row.known_at for row in store.hearing()), default=NEVER))
        kept = sum(store.count_quarantine().values())
        if kept:
            yield Finding("quarantine", NOTE, f"{kept:,} kept: lastseen quarantine list")
        late = store.count_late()
        if late:
            yield Finding("late", NOTE, f"{late:,} events came after their transaction's retention: lastseen late")
        waiting = store.unlinked(0)
        if waiting:
            oldest = length(app.clock() - min(one.oldest for one in waiting))
            events = sum(one.events for one in waiting)
            yield Finding(
                "unlinked",
                NOTE,
                f"{count(events, 'event')} that no transaction claims, for up to {oldest}: lastseen unlinked",
            )


def _holder(app: App) -> str:
    from pipeline.store.folder import Folder

    served = Folder(app.store_folder()).served()
    return f"process {served.pid} serves the store at {served.url}" if served else "nobody serves the store"


def _clock(app: App, control_time: int) -> Iterator[Finding]:
    """Our clock beside the log's: what the log wrote last cannot lie ahead of us."""
    now = app.clock()
    _, landscape = app.definitions()
    if control_time == NEVER:
        yield Finding("clock", OK, f"{Clock.of(now, landscape).short(now, seconds=True)} {landscape.zone}")
    elif control_time > now + CLOCK_LIMIT:
        ahead = exact(control_time - now)
        yield Finding("clock", WRONG, f"this machine's clock is {ahead} behind the log's: set it by NTP")
    else:
        yield Finding("clock", OK, f"the log was last read to {exact(now - control_time)} ago")
