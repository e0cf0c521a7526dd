"""What every input yields: records with their place, and what could not be read as one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

MAX_RAW = 256 * 1024
"""Bytes of a record that are kept when it is set aside; what is longer is cut there."""


class Row(NamedTuple):
    """A record. ``line``: 1-based, of a file its first line, of a query its row. ``raw``: its bytes as they stood, None
    where there are none (a database's row)."""

    line: int
    fields: Mapping[str, Any]
    raw: bytes | None = None

    def payload(self) -> bytes:
        """Bytes to keep when it is set aside."""
        return self.raw[:MAX_RAW] if self.raw is not None else as_json(self.fields)[:MAX_RAW]


class Unreadable(NamedTuple):
    """A place where there is no record: a torn line, a row with too many fields, text that is not JSON."""

    line: int
    reason: str
    raw: bytes

    def payload(self) -> bytes:
        return self.raw[:MAX_RAW]


class Input(Protocol):
    """One source, read once from its beginning to its end, never held in memory as a whole.

    Attributes:
        name: for messages and quarantine; without secrets.
        drawn: µs, when the list was drawn: a live table's is now, a file's is when it was last written.
    """

    name: str
    drawn: int

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the fields, None where every record has its own."""
        ...

    def __iter__(self) -> Iterator[Row | Unreadable]:
        """Raises ``Invalid`` where the source ends in the middle, ``Unavailable`` where it went away."""
        ...

    def close(self) -> None: ...


def as_json(fields: Mapping[str, Any]) -> bytes:
    """A record's fields as JSON, whatever types a driver gave them."""
    return json.dumps(fields, default=str, ensure_ascii=False).encode("utf-8", "backslashreplace")
