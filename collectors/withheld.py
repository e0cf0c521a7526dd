"""Withheld: bytes that may hold personal data and stay on this machine, where only a placeholder of them was sent.

A folder of the collector's own, readable by its owner only, a file a record. What is kept is on the disk before its placeholder
is sent, and under a name made of its source, stream and place: reading it again keeps it once. Files of more than
``max_bytes`` altogether are refused as a log that is away is (back-pressure): nothing is thrown away to make room.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tracer.errors import Unavailable

MAX_BYTES = 256 * 1024 * 1024
_END = ".withheld"


class Kept(NamedTuple):
    """A record that was withheld. ``digest``: the placeholder's, by which one is found for the other; "" where there was no key."""

    source: str
    stream: str
    place: str
    reason: str
    digest: str
    raw: bytes


class Withheld:
    """Used by one process at a time.

    Args:
        folder: made when something is kept.
        max_bytes: of all that is kept.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES):
        self._folder, self._max = folder, max_bytes
        self._bytes = sum(path.stat().st_size for path in self._files())

    def keep(self, record: Kept) -> None:
        """On the disk when it returns. Raises ``Unavailable`` where there is no room."""
        path = self._path(record)
        said = {name: value for name, value in record._asdict().items() if name != "raw"}
        body = json.dumps(said).encode() + b"\n" + record.raw
        if path.is_file() and path.stat().st_size == len(body):
            return
        if self._bytes + len(body) > self._max:
            raise Unavailable(
                f"{self._folder}: {self._bytes:,} bytes are withheld, and there is no room for more: mend what makes them "
                "unreadable and try them again, or remove them"
            )
        try:
            self._write(path, body)
        except OSError as error:
            raise Unavailable(f"{path}: {(error.strerror or 'cannot be written').lower()}") from None
        self._bytes += len(body)

    def __iter__(self) -> Iterator[Kept]:
        """What is kept, in no particular order; what is no such file is left alone."""
        for path in self._files():
            said, _, raw = path.read_bytes().partition(b"\n")
            try:
                yield Kept(raw=raw, **json.loads(said))
            except (ValueError, TypeError):
                continue

    def __len__(self) -> int:
        return sum(1 for _ in self._files())

    def drop(self, record: Kept) -> None:
        """It made its events, or is not wanted any more."""
        path = self._path(record)
        if path.is_file():
            self._bytes -= path.stat().st_size
            path.unlink()

    def _files(self) -> Iterator[Path]:
        return iter(sorted(self._folder.glob(f"*{_END}"))) if self._folder.is_dir() else iter(())

    def _path(self, record: Kept) -> Path:
        named = "\0".join((record.source, record.stream, record.place)).encode("utf-8", "surrogatepass")
        return self._folder / f"{hashlib.sha256(named).hexdigest()[:40]}{_END}"

    def _write(self, path: Path, body: bytes) -> None:
        """Whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_suffix(".draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
