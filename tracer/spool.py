"""The spool: what a source has not been acknowledged yet, on disk, so that it survives the process.

Laws:

- Everything numbered stands in the spool before it is sent. It goes when the log has acknowledged it, by whole segments.
- What it holds is bounded; beyond, the caller sheds.
- A record is written whole or cut off again: a full disk tears nothing.
- One process writes it, under a lock of the operating system that ends with the process. Whoever gets the lock later finds what
  the dead one left (`tracer.leftovers`), and sends it under the old epoch with its old numbers.

Written without ``fsync``: it survives the death of the process, whatever way, but not of the machine. What a power cut takes away
is blind, as any crash is that leaves no spool; ten milliseconds of disk for each step of an application are no price for it.

Layout: ``<root>/<source>/<slot>/lock``, ``<epoch>-<number>.spool``. A source has as many slots as it has processes at once.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.spool_format import (
    BYE,
    FORMAT,
    HEADER,
    STATE,
    THROUGH,
    Entry,
    entry_of,
    framed,
    framed_json,
    framed_time,
    records,
)

SEGMENT = 4 * 1024 * 1024
"""Bytes after which a segment is full. Small, so that what was acknowledged is given back soon."""
ROLL = 256 * 1024
"""Bytes after which a segment that is acknowledged as a whole is left for a new one."""
LIMIT = 256 * 1024 * 1024
MAX_SLOTS = 1024
SUFFIX = ".spool"


class Full(Exception):  # noqa: N818
    """There is no room: the bound is reached, or the disk takes nothing. Nothing was written."""


class Lock:
    """A folder of which one process at a time is the master."""

    def __init__(self, folder: Path, handle: int):
        self.folder = folder
        self._handle = handle

    @classmethod
    def take(cls, folder: Path) -> Lock | None:
        """None where another process has it. Raises OSError where the folder cannot be used."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            os.close(handle)
            raise
        return cls(folder, handle)

    def release(self) -> None:
        """In a forked child too: it closes the child's copy, and the parent keeps the lock."""
        with suppress(OSError):
            os.close(self._handle)


def folder_of(root: Path, source: str) -> Path:
    """The source's folder: its name with everything in it that a path must not have written as ``%`` and hexadecimal digits."""
    safe = re.sub(rb"[^A-Za-z0-9_@-]|^\.", lambda found: b"%%%02x" % found[0][0], source.encode("utf-8", "replace"))
    return root / (safe.decode()[:200] or "_")


def take_slot(folder: Path) -> tuple[int, Lock]:
    """The first slot that no process has. Raises OSError where there is none."""
    for number in range(MAX_SLOTS):
        lock = Lock.take(folder / str(number))
        if lock is not None:
            return number, lock
    raise OSError(f"{folder}: all {MAX_SLOTS} slots are taken")


@dataclass(slots=True)
class _Segment:
    path: Path
    size: int
    last: int


class Spool:
    """The writing side. Not for several threads. Raises `Full` where it says so, and nothing else.

    Args:
        lock: of the folder; kept until `close`.
        limit: bytes on disk.
    """

    def __init__(self, lock: Lock, source: str, systems: Iterable[str], limit: int = LIMIT):
        self.lock = lock
        self.source, self.systems, self.limit = source, list(systems), limit
        self.state: Mapping[str, Any] | None = None
        self._segments: deque[_Segment] = deque()
        self._handle = -1
        self._epoch = self._since = 0
        self._count = 0
        self._last = 0
        self._cursor: tuple[Path, int] | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def begin(self, epoch: int, since: int) -> None:
        """A new epoch, whose numbers begin at 1. What is there of an older one was acknowledged."""
        self._drop(len(self._segments))
        self._epoch, self._since, self._last, self.state = epoch, since, 0, None

    def append(self, entries: Iterable[Entry]) -> None:
        """Raises `Full`."""
        entries = list(entries)
        self._write(b"".join(map(framed, entries)))
        self._last = self._segments[-1].last = entries[-1].last

    def note(self, entry: Entry) -> bool:
        """That events were shed: beyond the bound too. False where the disk takes nothing."""
        try:
            self._write(framed(entry), bounded=False)
        except Full:
            return False
        self._last = self._segments[-1].last = entry.last
        return True

    def through(self, time: int) -> None:
        """Everything that became known before ``time`` is in the spool, or was sent and acknowledged."""
        with suppress(Full):
            self._write(framed_time(THROUGH, time), bounded=False)

    def settle(self, state: Mapping[str, Any]) -> None:
        """What the log has acknowledged, as a marker says it: room for what is to come."""
        accounted = state["accounted"]
        done = 0
        while done < len(self._segments) - 1 and self._segments[done].last <= accounted:
            done += 1
        self._drop(done)
        if self._segments and self._segments[-1].size > ROLL and self._last <= accounted and self._cursor is None:
            self.state = state
            self._drop(len(self._segments))
        elif self._segments and state != self.state:
            self.state = state
            with suppress(Full):
                self._write(framed_json(STATE, state), bounded=False)

    def bye(self, time: int) -> None:
        """The application ends; everything that became known is here."""
        with suppress(Full):
            self._write(framed_time(BYE, time), bounded=False)

    def keep(self) -> None:
        """What is written from here on is read by `read`."""
        if self._segments:
            self._cursor = (self._segments[-1].path, self._segments[-1].size)
        else:
            self._cursor = (Path(), 0)

    def read(self, size: int = 1024 * 1024) -> list[Entry]:
        """Entries since `keep`, about ``size`` bytes of them; none when there are no more, and then nothing is kept."""
        while self._cursor is not None:
            path, offset = self._cursor
            position = next((n for n, segment in enumerate(self._segments) if segment.path == path), -1)
            if position < 0 and not self._segments:
                break
            segment = self._segments[max(position, 0)]
            found, offset = self._entries(segment.path, offset if position >= 0 else 0, size)
            self._cursor = (segment.path, offset)
            if found:
                return found
            if segment is self._segments[-1]:
                break
            self._cursor = (self._segments[max(position, 0) + 1].path, 0)
        self._cursor = None
        return []

    @staticmethod
    def _entries(path: Path, offset: int, size: int) -> tuple[list[Entry], int]:
        found: list[Entry] = []
        taken = 0
        with suppress(OSError):
            for kind, payload, end in records(path.read_bytes(), offset):
                entry = entry_of(kind, payload)
                offset = end
                if entry is not None:
                    found.append(entry)
                    taken += len(payload)
                    if taken >= size:
                        break
        return found, offset

    def _write(self, data: bytes, *, bounded: bool = True) -> None:
        if bounded and self.size + len(data) > self.limit:
            raise Full
        try:
            if not self._segments or self._segments[-1].size + len(data) > SEGMENT:
                self._open()
            segment = self._segments[-1]
            try:
                self._all(data)
            except OSError:
                os.ftruncate(self._handle, segment.size)
                raise
            segment.size += len(data)
        except OSError as error:
            raise Full(str(error)) from error

    def _open(self) -> None:
        """The next segment; it counts only once its header is written."""
        self._count += 1
        path = self.lock.folder / f"{self._epoch:016d}-{self._count:06d}{SUFFIX}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        said = {"format": FORMAT, "source": self.source, "epoch": self._epoch, "since": self._since}
        header = framed_json(HEADER, {**said, "systems": self.systems, "first": self._last + 1, "state": self.state})
        before, self._handle = self._handle, handle
        try:
            self._all(header)
        except OSError:
            self._handle = before
            os.close(handle)
            with suppress(OSError):
                path.unlink()
            raise
        if before >= 0:
            os.close(before)
        self._segments.append(_Segment(path, len(header), self._last))

    def _all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def _drop(self, count: int) -> None:
        for _ in range(count):
            with suppress(OSError):
                self._segments.popleft().path.unlink()
        if not self._segments and self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = -1

    def close(self, *, remove: bool = False) -> None:
        """Let go of the folder; with ``remove`` nothing is left in it."""
        if remove:
            self._drop(len(self._segments))
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = -1
        self.lock.release()

    def forget(self) -> None:
        """In a forked child: everything here is the parent's."""
        self.close()
