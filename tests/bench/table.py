"""The bench's table: each figure next to what DESIGN.md §8 asks for, on the terminal and in RESULTS.md."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("RESULTS.md")
# What people wrote below the tables stays there when they are written anew.
NOTES = "## Why, and what would"
PACKAGES = ("kafka-python", "clickhouse-connect", "chdb-core", "msgspec")
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A titled table; the first column is text, the others are numbers. ``note``: what was measured."""

    title: str
    columns: Row
    rows: tuple[Row, ...]
    note: str = ""


def number(value: float) -> str:
    """With as many digits as say something."""
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def median(found: Sequence[float]) -> float:
    return sorted(found)[len(found) // 2]


def show(parts: Iterable[Part], console: Console) -> None:
    for part in parts:
        table = Table(title=part.title, caption=part.note or None, title_justify="left", caption_justify="left")
        for place, column in enumerate(part.columns):
            table.add_column(column, justify="right" if place else "left")
        for row in part.rows:
            table.add_row(*row)
        console.print(table)


def save(parts: Sequence[Part], command: str) -> None:
    """Write these tables to RESULTS.md, with machine and versions; other parts' tables and the notes below all are kept."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    text, _, notes = text.partition(NOTES)
    kept = {section.partition("\n")[0]: f"## {section.rstrip()}\n" for section in text.split("\n## ")[1:]}
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    head = (
        f"# Measured\n\n`{command}`, {time.strftime('%Y-%m-%d', time.gmtime())}. {machine()}, Python"
        f" {platform.python_version()}, Apache Kafka 4.2.1, {packages}. One broker, one run, each measurement a process of its"
        " own; a figure that was measured more than once is the median. Ratios hold better than absolutes. Targets: DESIGN.md §8.\n"
    )
    kept |= {part.title: _markdown(part) for part in parts}
    RESULTS.write_text("\n".join([head, *kept.values(), NOTES + notes if notes else ""]).rstrip() + "\n")


def _markdown(part: Part) -> str:
    rule = "|".join(["---", *["---:"] * (len(part.columns) - 1)])
    lines = [f"## {part.title}\n", f"| {' | '.join(part.columns)} |", f"|{rule}|"]
    lines += [f"| {' | '.join(row)} |" for row in part.rows]
    return "\n".join([*lines, *(["", part.note] if part.note else []), ""])


def machine() -> str:
    """What it ran on."""
    cores, model = 0, platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        cores += line.startswith("processor")
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    return f"{model}, {cores} cores, {memory:.0f} GiB"
