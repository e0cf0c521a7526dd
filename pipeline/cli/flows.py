"""``lastseen flows``: which business processes are declared, what one looks like, and what is wrong with a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from pipeline.cli.common import FINDINGS, FORMATS, config_of, leave
from pipeline.cli.flow_chart import chart
from pipeline.cli.terminal import console, inert, plain
from pipeline.config import Config
from schemas.errors import Invalid
from schemas.flow import Flow, Flows, Role
from schemas.flow_file import check_files, flow_files, load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import FILE_NAME, SHIPPED_FLOWS, landscape_files, load_landscape, read_landscapes
from schemas.times import format_duration, format_time

_ROLES = {
    Role.ALIAS: "another name of it",
    Role.SHARED: "another name, shared by several",
    Role.WEAK: "joins while only one claims it",
    Role.SEARCH: "finds it",
    Role.ONCE: "not twice within",
}


def folders(config: Config) -> list[Path]:
    """Where flows are: those that ship, then the user's own."""
    return [SHIPPED_FLOWS, *([config.flows] if config.flows else [])]


@click.group()
def flows() -> None:
    """Business processes: list them, draw one, check files."""


@flows.command("list")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", help="How to print.")
def list_(form: str) -> None:
    """All flows in all versions."""
    rows = [summary(flow) for flow in load_flows(folders(config_of())).all()]
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
    elif form == "csv":
        click.echo(as_csv(rows), nl=False)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("flow", "version", "key", "in force since", "steps", "systems"):
            table.add_column(title, overflow="fold")
        for row in rows:
            systems = ", ".join(row["systems"])
            table.add_row(
                *(
                    plain(text)
                    for text in (
                        row["flow"],
                        row["version"],
                        row["key"],
                        row["since"] or "always",
                        row["steps"],
                        systems,
                    )
                )
            )
        console().print(table)


def summary(flow: Flow) -> dict[str, Any]:
    """A flow in a line."""
    return {
        "flow": flow.flow,
        "version": flow.version,
        "key": flow.key,
        "since": format_time(flow.since) if flow.since else None,
        "applies_to": flow.applies_to,
        "steps": len(flow.steps),
        "systems": list(dict.fromkeys(step.system for step in flow.steps.values())),
        "digest": flow.digest(),
    }


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Lists as words parted by blanks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0].keys() if rows else ["flow"])
    for row in rows:
        writer.writerow([" ".join(value) if isinstance(value, list) else value for value in row.values()])
    return out.getvalue()


@flows.command("show")
@click.argument("name")
@click.option("--version", type=int, help="Which version (default: the latest).")
@click.option("--format", "form", type=click.Choice(("table", "json")), default="table", help="How to print.")
def show(name: str, version: int | None, form: str) -> None:
    """Draw a flow: its steps in order, who reports them, and by when they are due."""
    dirs = folders(config_of())
    landscape = load_landscape(dirs)
    flow = choose(load_flows(dirs, landscape), name, version)
    if form == "json":
        click.echo(json.dumps({"digest": flow.digest(), **flow.model_dump(mode="json", by_alias=True)}, indent=2))
        return
    draw(flow, landscape)


def choose(known: Flows, name: str, version: int | None) -> Flow:
    """A version of a flow, the latest where none is named. Raises ``Invalid`` naming those that there are."""
    latest = known.latest(name)
    if version is None:
        return latest
    for flow in known.versions[name]:
        if flow.version == version:
            return flow
    numbers = ", ".join(str(flow.version) for flow in known.versions[name])
    raise Invalid(f"flow {name} has no version {version}; there are {numbers}")


def draw(flow: Flow, landscape: Landscape) -> None:
    """To standard output."""
    out = console()
    out.print(plain(f"{flow.flow}, version {flow.version}", "bold"))
    for line in heading(flow, landscape):
        out.print(plain(line))
    out.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    lines = chart(flow)
    for title, texts in (
        ("", [step.lane + step.label for step in lines]),
        ("step", [step.step for step in lines]),
        ("system", [step.system for step in lines]),
        ("due", [step.due for step in lines]),
    ):
        table.add_column(title, no_wrap=True, min_width=max(map(len, texts)))
    table.add_column("", overflow="fold", ratio=1)
    for step in lines:
        cells = (step.lane + step.label, step.step, step.system, step.due)
        table.add_row(*(plain(cell) for cell in cells), plain(step.notes, "dim"))
    out.print(table)
    out.print()
    for name in dict.fromkeys(step.system for step in lines):
        system = landscape.systems.get(landscape.current_name(name))
        if system and (system.says or system.owner):
            owner = f" ({system.owner})" if system.owner else ""
            out.print(plain(f"{name}: {system.says or name}{owner}"))
    out.print(plain("● owed   ○ may come   ◆ the end   ✕ another legitimate end   ├ a branch beside it", "dim"))


def heading(flow: Flow, landscape: Landscape) -> list[str]:
    """What holds for the whole flow, in plain words."""
    kind = landscape.keys.get(flow.key)
    thing, number = flow.says.name or flow.flow, (kind.says if kind else "") or flow.key
    lines = [
        f"One {thing} for each {number} (key {flow.key})." if thing != number else f"Each {thing} (key {flow.key})."
    ]
    if flow.keys:
        roles = [
            f"{name}: {_ROLES[role.role]}{f' {format_duration(role.once)}' if role.once else ''}"
            for name, role in flow.keys.items()
        ]
        lines.append(f"Other keys: {'; '.join(roles)}.")
    if flow.value:
        lines.append(f"Money: {flow.value}, in {flow.currency}.")
    if flow.exclude:
        tests = " or ".join(f"{name} is {value}" for name, value in flow.exclude.items())
        lines.append(f"Counted but not judged where {tests}.")
    lines.append(f"Lost when nothing came for {format_duration(flow.lost_after)}.")
    if flow.since:
        lines.append(
            f"In force since {format_time(flow.since)}{', for open ones too' if flow.applies_to == 'open' else ''}."
        )
    return lines


@flows.command("check")
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Name every mistake in flow files and landscapes with file, line, field and reason.

    FILES are flows, landscapes or folders of them (default: all that ship and those of --flows). Exit code 1 if there is
    a mistake; a warning is none.
    """
    mistakes, warnings, count = examine(folders(config_of()), files)
    for mistake in mistakes:
        click.echo(inert(mistake))
    for warning in warnings:
        click.echo(
            inert(f"{Invalid('warning: ' + warning.reason, file=warning.file, line=warning.line, field=warning.field)}")
        )
    if mistakes:
        click.echo(f"{len(mistakes)} {'mistake' if len(mistakes) == 1 else 'mistakes'}", err=True)
        leave(FINDINGS)
    click.echo(f"{count} {'flow' if count == 1 else 'flows'}, no mistake", err=True)


def examine(dirs: Sequence[Path], files: Iterable[Path] = ()) -> tuple[list[Invalid], list[Invalid], int]:
    """Mistakes and warnings of ``files`` (default: all of ``dirs``), and how many flows are good.

    Files are read beside all of ``dirs``, so that a version that is taken, or a calendar that is declared there, is known;
    a landscape that lies beside a file counts too.
    """
    given = list(files)
    inside = [path for path in given if path.is_dir()]
    single = [path for path in given if not path.is_dir()]
    beside = dict.fromkeys((*inside, *(path.parent for path in single)))
    plans = [path for path in single if path.name == FILE_NAME]
    landscapes = _distinct((*landscape_files((*dirs, *beside)), *plans))
    paths = _distinct((*flow_files((*dirs, *inside)), *(path for path in single if path.name != FILE_NAME)))
    landscape, mistakes = read_landscapes(landscapes)
    checked = check_files(paths, landscape)
    asked = {path.resolve() for path in (*single, *landscape_files(inside), *flow_files(inside))}

    def wanted(file: str | None) -> bool:
        return not given or file is None or Path(file).resolve() in asked

    found = [fault for fault in (*mistakes, *checked.mistakes) if wanted(fault.file)]
    good = sum(1 for _, file in checked.flows if wanted(file))
    return found, [warning for warning in checked.warnings if wanted(warning.file)], good


def _distinct(paths: Iterable[Path]) -> list[Path]:
    return list({path.resolve(): path for path in paths}.values())
