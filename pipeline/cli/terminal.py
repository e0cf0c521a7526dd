"""What reaches a terminal. Nothing that comes from data may steer it (FAULTS.md 31): every text passes `inert`."""

from __future__ import annotations

import os
import sys
from typing import IO

from rich.console import Console
from rich.text import Text

from pipeline.answers.inert import inert

__all__ = ["STYLES", "WIDTH", "console", "err", "inert", "plain", "status_text"]

WIDTH = 100
STYLES = {
    "lost": "bold red",
    "failed": "bold red",
    "stalled": "bold yellow",
    "unknown": "bold magenta",
    "in_progress": "cyan",
    "completed": "green",
    "closed": "green",
    "excluded": "dim",
}


def plain(value: object, style: str = "") -> Text:
    """Data for rich: inert, and never read as markup."""
    return Text(inert(value), style=style)


def status_text(status: str) -> Text:
    return plain(status.replace("_", " "), STYLES.get(status, ""))


def console(file: IO[str] | None = None) -> Console:
    """Standard output as it is now (tests swap it): the terminal's own width there, 100 columns in a pipe or a file."""
    file = file or sys.stdout
    width = None if file.isatty() or os.environ.get("COLUMNS") else WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def err() -> Console:
    return console(sys.stderr)
