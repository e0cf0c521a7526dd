"""The soak's account, as people read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.soak.measure import Recovery
from tests.soak.verify import Check

PROCESSES = ("worker 1", "worker 2", "store", "broker", "sources")


class Minute(NamedTuple):
    """``rss``: bytes by process, at the minute's end. ``unexpected``: how many processes ended by themselves so far."""

    number: int
    fault: str
    recovery: Recovery
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
    for name in ("minute", "fault", "behind: records", "s", "level after, s", *PROCESSES, "died"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    for minute in minutes:
        most, longest, reached = minute.recovery
        level = "not yet" if reached is None else f"{reached:.1f}"
        rss = [f"{minute.rss.get(name, 0) / 1e6:.0f}" for name in PROCESSES]
        table.add_row(
            str(minute.number), minute.fault, f"{most:,}", f"{longest:.1f}", level, *rss, str(minute.unexpected)
        )
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
