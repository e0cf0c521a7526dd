"""JSON Lines files: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from collectors.inputs.record import Row, Unreadable
from collectors.inputs.text_file import Line, TextFile, undecodable


class JsonlInput:
    """Reads a JSON Lines file, plain or gzipped; empty lines are none. With the standard module, not a faster one: integers
    of any length stay what they are, where others make a 20-digit number a float."""

    columns: tuple[str, ...] | None = None

    def __init__(self, path: Path, encoding: str = "utf-8"):
        """Raises ``Invalid`` where the file cannot be read."""
        self.name = str(path)
        self._file = TextFile(path, encoding)
        self.drawn = self._file.written

    def __iter__(self) -> Iterator[Row | Unreadable]:
        while (line := self._file.next()) is not None:
            if line.text.strip():
                yield self._parse(line)

    def _parse(self, line: Line) -> Row | Unreadable:
        raw = self._file.raw(line.text.rstrip("\r\n"))
        if not line.whole:
            return Unreadable(line.number, "the line is too long", raw)
        if undecodable(line.text):
            return Unreadable(line.number, f"bytes that are not {self._file.encoding.removesuffix('-sig')}", raw)
        try:
            fields = json.loads(line.text)
        except json.JSONDecodeError as error:
            return Unreadable(line.number, f"not JSON: {error.msg} at character {error.pos + 1}", raw)
        except (RecursionError, ValueError) as error:
            return Unreadable(line.number, f"not JSON that can be read: {str(error)[:80]}", raw)
        if not isinstance(fields, dict):
            return Unreadable(line.number, "no JSON object", raw)
        return Row(line.number, fields, raw)

    def close(self) -> None:
        self._file.close()
