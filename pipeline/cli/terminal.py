"""What reaches a terminal. Nothing that comes from data may steer it (FAULTS.md 31): every text passes `inert`."""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import IO

from rich.console import Console
from rich.text import Text

WIDTH = 100
# Control, format (bidi overrides, zero width), surrogates, private use, line and paragraph separators.
_STEERING = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))

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


def inert(value: object) -> str:
    """A text in which every character that could steer a terminal is written out (``\\x1b``, ``\\u202e``)."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char if unicodedata.category(char) not in _STEERING else char.encode("unicode_escape").decode() for char in text
    )


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
