"""Between those who hand over and the one who sends: numbers what comes, keeps it until it is taken, on disk where there is one.

One thread puts, another takes; a lock of theirs is between them, of which the application never waits for.

Memory holds at most ``WINDOW`` bytes that are not taken yet. Where there is a spool the rest stands there, and is read back when
the window is empty; without one the window is all there is. What has room in neither is shed: counted, under numbers of its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tracer.spool import Full, Spool
from tracer.spool_format import Entry

WINDOW = 16 * 1024 * 1024
BESIDE = 200
"""Bytes that an entry takes beside its line."""
RENEW = 1_000_000
"""Microseconds between two times that the spool is told through when it knows everything, or what was shed meanwhile. Both have
room beyond its bound: of a note for each `put` a disk that stays full got 60 MB a day more, of these 5 MB."""


class Handed(NamedTuple):
    """What an application handed over: ``head`` is JSON without its closing brace, to which the number is added."""

    key: str
    head: bytes
    reason: str = ""

    def line(self, number: int) -> bytes:
        return self.head if self.reason else b'%b,"seq":%d}' % (self.head, number)


class Outbox:
    """Entries of one source.

    Args:
        now: microseconds since 1970 UTC.
        spool: None where there is no disk.
        window: bytes kept in memory.

    Attributes:
        shed: events that had no room.
        waiting: events that are not taken yet.
    """

    def __init__(self, now: int, spool: Spool | None = None, window: int = WINDOW):
        self.spool = spool
        self._window = window
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._spilled = False
        self._number = 0
        self._known = now
        self._taken = self._known
        self._told = 0
        self._lost = self._noted = 0
        self._lost_at = now
        self._choked: Entry | None = None
        self._unspooled = self._accounted = 0
        self.shed = 0
        self.waiting = 0

    def begin(self, epoch: int, since: int) -> None:
        """The first epoch."""
        if self.spool is not None:
            self.spool.begin(epoch, since)

    def put(self, handed: Sequence[Handed], dropped: int, known: int) -> None:
        """Take what was drained of the queue; afterwards everything that became known before ``known`` is here.

        It became known since the time before that, which is when it counts as known: ``through`` must not pass it.

        Args:
            dropped: how many were not even queued, since the last time.
        """
        with self._lock:
            before, self._known = self._known, max(known, self._known)
            if dropped:
                self._lose(dropped, before)
            if handed:
                # In the order of their numbers, entries became known one after the other.
                self._add(handed, self._lost_at if self._lost else before)
            if self._known - self._noted >= RENEW:
                self._note()
            if self._known - self._told >= RENEW:
                self._tell()

    def _tell(self) -> None:
        """As long as the disk has everything that the log has not."""
        whole = not (self._lost or self._choked) and self._unspooled <= self._accounted
        if self.spool is not None and whole:
            self._told = self._known
            self.spool.through(self._known)

    def _add(self, handed: Sequence[Handed], known: int) -> None:
        entries = []
        for number, each in enumerate(handed, start=self._number + 1):
            entries.append(Entry(number, known, each.key, each.line(number), each.reason))
        if self.spool is not None and self._spooled(self.spool, entries):
            return
        refused = sum(not self._remembered(each, known) for each in handed)
        if refused:
            self._lose(refused, known)

    def _spooled(self, spool: Spool, entries: list[Entry]) -> bool:
        """Written to disk, and kept in memory as well as long as nothing before it is on disk only."""
        if self._choked:
            return False
        size = sum(map(_size, entries))
        if not self._spilled and self._bytes + size > self._window:
            self._spilled = True
            spool.keep()
        try:
            spool.append(entries)
        except Full:
            return False
        self._number = entries[-1].last
        self.waiting += len(entries)
        if not self._spilled:
            self._entries.extend(entries)
            self._bytes += size
        return True

    def _remembered(self, handed: Handed, known: int) -> bool:
        """In memory only: where there is no disk, or it takes nothing more. Never behind what is on disk only."""
        number = self._number + 1
        entry = Entry(number, known, handed.key, handed.line(number), handed.reason)
        if self._spilled or self._bytes + _size(entry) > self._window:
            return False
        self._number = self._unspooled = number
        self._entries.append(entry)
        self._bytes += _size(entry)
        self.waiting += 1
        return True

    def _lose(self, count: int, known: int) -> None:
        """Shed; numbered with what else is shed within a second."""
        self.shed += count
        self._lost_at = self._lost_at if self._lost else known
        self._lost += count

    def _note(self) -> None:
        """Number what was shed. Behind what is on disk only, the note of it goes to disk too; a disk that takes not even that gets
        nothing more until all that it has is taken."""
        if not self._lost:
            return
        entry = Entry(self._number + 1, self._lost_at, "", b"", numbers=self._lost)
        self._lost, self._noted = 0, self._known
        self._number = entry.last
        noted = self.spool is not None and not self._choked and self.spool.note(entry)
        if not noted:
            self._unspooled = entry.last
        if not self._spilled:
            self._queue(entry)
        elif not noted:
            first = self._choked or entry
            self._choked = first._replace(numbers=entry.last - first.number + 1)

    def _queue(self, entry: Entry) -> None:
        """Notes of what was shed, one behind another, become one: an outage costs no memory."""
        if self._entries and not self._entries[-1].line:
            last = self._entries.pop()
            entry = last._replace(numbers=entry.last - last.number + 1)
        self._entries.append(entry)

    def take(self, count: int) -> list[Entry]:
        """Up to ``count`` entries, in order; what is taken is the taker's."""
        with self._lock:
            if not self._entries and self._spilled:
                self._read_back()
            taken = [self._entries.popleft() for _ in range(min(count, len(self._entries)))]
            if taken:
                self._taken = taken[-1].known
                self._bytes -= sum(map(_size, taken))
                self.waiting -= sum(1 for entry in taken if entry.line)
            return taken

    def _read_back(self) -> None:
        found = self.spool.read() if self.spool is not None else []
        self._entries.extend(found)
        self._bytes = sum(map(_size, found))
        if not found:
            self._spilled = False
            if self._choked is not None:
                self._entries.append(self._choked)
                self._choked = None

    @property
    def empty(self) -> bool:
        """Everything that was numbered is taken; what was shed, too."""
        with self._lock:
            return not (self._entries or self._spilled or self._lost)

    @property
    def number(self) -> int:
        """The last number that was given under this epoch."""
        return self._number

    @property
    def horizon(self) -> int:
        """Everything that became known before this time (microseconds) was taken."""
        with self._lock:
            if self._entries:
                return self._entries[0].known
            known = self._taken if self._spilled else self._known
            return min(known, self._lost_at) if self._lost else known

    def renew(self, epoch: int) -> bool:
        """Begin a new epoch, unless something is numbered under this one and not taken."""
        with self._lock:
            if self._entries or self._spilled or self._lost:
                return False
            self._number = self._unspooled = self._accounted = 0
            if self.spool is not None:
                self.spool.begin(epoch, epoch)
            return True

    def settle(self, state: Mapping[str, Any]) -> None:
        """What the log has acknowledged (`Relay.state`): it need not be kept any more."""
        with self._lock:
            self._accounted = state["accounted"]
            if self.spool is not None:
                self.spool.settle(state)

    def end(self) -> None:
        """The application ends; everything that became known is here."""
        with self._lock:
            self._note()
            if self.spool is not None:
                self.spool.bye(self._known)

    def close(self, *, remove: bool) -> None:
        """Let go of the disk; ``remove``: everything was acknowledged."""
        with self._lock:
            if self.spool is not None:
                self.spool.close(remove=remove)


def _size(entry: Entry) -> int:
    return len(entry.line) + BESIDE if entry.line else 0
