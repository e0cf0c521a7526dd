"""logfmt: ``time=2026-03-01T10:00:00Z level=info order=10248 msg="paid in full"``."""

from __future__ import annotations

import json
import re
from contextlib import suppress

from collectors.formats.contract import Item
from collectors.formats.lines import LineFormat
from collectors.inputs.record import Row, Unreadable

# Possessive throughout and matched where the last one ended: linear in the line, whatever stands in it.
_PAIR = re.compile(r'([^\s="]++)(=)?+(?:(?<==)(?:"((?:[^"\\]++|\\.)*+)"|([^\s"]*+)))?+(?:\s++|\Z)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class LogfmtFormat(LineFormat):
    """Pairs parted by blanks; a value in quotes may hold blanks and JSON's escapes; a word without ``=`` is a field that is
    true. Of a name that comes twice the last counts. A line without any pair is unreadable."""

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        fields: dict[str, str | bool] = {}
        text = text.strip()
        at, length, pairs = 0, len(text), False
        match = _PAIR.match
        while at < length:
            found = match(text, at)
            if found is None:
                return (Unreadable(line, f"not logfmt at character {at + 1}", raw),)
            at = found.end()
            name, equals, quoted, bare = found.groups()
            if not equals:
                fields[name] = True
                continue
            pairs = True
            fields[name] = bare or "" if quoted is None else _unescaped(quoted) if "\\" in quoted else quoted
        if not pairs:
            return (Unreadable(line, "not logfmt: no name=value in it", raw),)
        return (Row(line, fields, raw),)


def _unescaped(text: str) -> str:
    with suppress(ValueError):
        return str(json.loads(f'"{text}"', strict=False))
    return _ESCAPE.sub(r"\1", text)
