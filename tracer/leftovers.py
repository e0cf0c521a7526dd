"""What a process that is gone left in its spool, epoch by epoch, as far as it can be read: a tail torn by its end is no record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tracer.spool import SUFFIX
from tracer.spool_format import BYE, FORMAT, HEADER, STATE, THROUGH, Entry, entry_of, records, time_of


class Left(NamedTuple):
    """What an epoch left behind.

    Attributes:
        state: the content of its last marker; None where none was written.
        through: until when all that became known is in ``entries``, or was acknowledged.
        orderly: the application said that it ended.
        files: to be removed when all is sent.
    """

    source: str
    epoch: int
    since: int
    systems: tuple[str, ...]
    state: dict[str, Any] | None
    through: int
    orderly: bool
    files: list[Path]

    def entries(self) -> Iterator[Entry]:
        """In the order of their numbers; numbers that cannot be read any more are missing."""
        for path in self.files:
            for kind, payload, _ in _readable(path):
                entry = entry_of(kind, payload)
                if entry is not None:
                    yield entry

    @property
    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for path in self.files:
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def set_aside(self) -> None:
        """It can never be sent: kept for a person, and no longer in the way."""
        for path in self.files:
            with suppress(OSError):
                path.rename(path.with_suffix(".broken"))

    def remove(self) -> None:
        for path in self.files:
            with suppress(OSError):
                path.unlink()


@dataclass(slots=True)
class _Found:
    header: dict[str, Any]
    state: dict[str, Any] | None = None
    through: int = 0
    orderly: bool = False
    whole: bool = True
    last: int = 0
    files: list[Path] = field(default_factory=list)

    def read(self, path: Path) -> None:
        """``through`` goes on only as long as no number is missing."""
        self.files.append(path)
        for kind, payload, _ in _readable(path):
            entry = entry_of(kind, payload)
            if entry is not None:
                self.whole = self.whole and entry.number == self.last + 1
                self.last = entry.last
            elif kind == HEADER:
                self._header(json.loads(payload))
            elif kind == STATE:
                self.state = json.loads(payload)
            elif kind in (THROUGH, BYE) and self.whole:
                self.through, self.orderly = time_of(payload), kind == BYE

    def _header(self, header: dict[str, Any]) -> None:
        first = int(header["first"])
        self.whole = self.whole and first in (self.last + 1, self.header["first"])
        self.last = first - 1
        self.state = header["state"] or self.state


def _readable(path: Path) -> Iterator[tuple[bytes, bytes, int]]:
    try:
        data = path.read_bytes()
    except OSError:
        return
    yield from records(data)


def leftovers(folder: Path) -> list[Left]:
    """What earlier processes left in a slot's folder, oldest epoch first.

    Files without a header hold nothing, and are removed. Those of another format stay where they are, for who knows it.
    """
    found: dict[int, _Found] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        kind, payload, _ = next(_readable(path), (b"", b"", 0))
        if kind != HEADER:
            with suppress(OSError):
                path.unlink()
            continue
        header = json.loads(payload)
        if header["format"] == FORMAT:
            found.setdefault(int(header["epoch"]), _Found(header)).read(path)
    return [
        Left(
            each.header["source"],
            epoch,
            each.header["since"],
            tuple(each.header["systems"]),
            each.state,
            each.through,
            each.orderly,
            each.files,
        )
        for epoch, each in sorted(found.items())
    ]
