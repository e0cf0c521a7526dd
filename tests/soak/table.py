"""The soak's account, as people read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.soak.verify import Check

PROCESSES = ("worker 1", "worker 2", "store", "broker", "sources")


class Minute(NamedTuple):
    """``level``: seconds until the workers had caught up once the fault was over, None where they had not within the minute.
    ``rss``: bytes by process, at the minute's end."""

    number: int
    fault: str
    most: int
    level: float | None
    rss: dict[str, int]
    unexpected: int


def tell(path: Path | None, head: str, minutes: list[Minute], checks: list[Check], rest: str = "") -> None:
    """To the terminal, and to a file, which is written anew."""
    consoles = [Console(width=132)]
    if path is not None:
        with path.open("w") as file:
            _print(Console(file=file, width=132), head, minutes, checks, rest)
    for console in consoles:
        _print(console, head, minutes, checks, rest)


def _print(console: Console, head: str, minutes: list[Minute], checks: list[Check], rest: str) -> None:
    console.print(head, highlight=False)
    table = Table(title="each minute; memory in MB")
    for name in ("minute", "fault", "most behind, records", "level after, s", *PROCESSES, "died"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for minute in minutes:
        level = "not yet" if minute.level is None else f"{minute.level:.1f}"
        rss = [f"{minute.rss.get(name, 0) / 1e6:.0f}" for name in PROCESSES]
        table.add_row(str(minute.number), minute.fault, f"{minute.most:,}", level, *rss, str(minute.unexpected))
    console.print(table)
    if checks:
        ending = Table(title="in the end")
        for name in ("what", "found", ""):
            ending.add_column(name)
        for check in checks:
            ending.add_row(check.what, check.found, "" if check.good is None else "good" if check.good else "WRONG")
        console.print(ending)
    if rest:
        console.print(rest, highlight=False, markup=False)
