"""Data made harmless for where it is shown: terminals, spreadsheets, JSON on a terminal (FAULTS.md 30, 31)."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

# Control, format (bidi overrides, zero width), surrogates, private use, line and paragraph separators.
_STEERING = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
# What a spreadsheet takes for a formula; the wide forms too, which some normalise before they look.
_FORMULA = re.compile(r"^\s*[=+\-@＝＋－＠|%]")
_NUMBER = re.compile(r"^[+-]?\d+(\.\d+)?$")


def inert(value: object) -> str:
    """A text in which every character that could steer a terminal is written out (``\\x1b``, ``\\u202e``)."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char if unicodedata.category(char) not in _STEERING else char.encode("unicode_escape").decode() for char in text
    )


def cell(value: object) -> str:
    """A CSV cell: inert, and no formula. A number stays one; ``=1+1`` becomes ``'=1+1``."""
    if value is None:
        return ""
    text = inert(value)
    if isinstance(value, (int, float)) or _NUMBER.match(text):
        return text
    return f"'{text}" if _FORMULA.match(text) else text


def as_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """A table with a header line; lists as words parted by blanks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(column) for column in columns)
        writer.writerow([cell(" ".join(map(str, v)) if isinstance(v, (list, tuple)) else v) for v in values])
    return out.getvalue()


def as_json(data: object) -> str:
    """Indented JSON in which what could steer a terminal is escaped; the line breaks are the layout's own."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in _STEERING else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) != 0x7F else "\\u007f"
