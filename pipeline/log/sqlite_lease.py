"""Who may consume a SQLite event log: a row with the holder, renewed, taken over when it ended or its process is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from pipeline.errors import Unavailable
from tracer.sinks.sqlite_file import transaction

LEASE = 30_000_000
"""How long a lease is held without being renewed, microseconds."""

Row = tuple[str, str, int, int]
"""Holder, host, process, when the lease ends."""


def _row(db: sqlite3.Connection, group: str) -> Row | None:
    found: Row | None = db.execute(
        "SELECT holder, host, pid, expires FROM leases WHERE consumers = ?", (group,)
    ).fetchone()
    return found


def _is_alive(host: str, pid: int, here: str) -> bool:
    """Whether the holder may still be there; only of processes on this host can it be said that they are not."""
    if host != here:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holder_of(db: sqlite3.Connection, group: str, here: str, now: int) -> tuple[str, int] | None:
    """Host and process of who holds a group's lease, as far as can be said from the host ``here``; None where nobody does."""
    row = _row(db, group)
    return (row[1], row[2]) if row is not None and row[3] > now and _is_alive(row[1], row[2], here) else None


class Lease:
    """A group's lease for one holder. ``clock``: microseconds since the Unix epoch, the same for all processes."""

    def __init__(
        self,
        db: sqlite3.Connection,
        group: str,
        holder: str,
        host: str,
        pid: int,
        clock: Callable[[], int],
        name: str,
    ):
        self.db = db
        self.group = group
        self._holder = holder
        self._host = host
        self._pid = pid
        self._clock = clock
        self._name = name
        self._renewed: int | None = None

    def hold(self) -> None:
        """Take the lease, or renew it when a third of it has passed.

        Raises:
            Unavailable: it is somebody else's; names the process.
        """
        now = self._clock()
        if self._renewed is not None and 0 <= now - self._renewed < LEASE // 3:
            return
        with transaction(self.db):
            row = _row(self.db, self.group)
            if row is not None and row[0] != self._holder and row[3] > now and _is_alive(row[1], row[2], self._host):
                self._renewed = None
                raise Unavailable(f"{self._name} is being read by process {row[2]} on {row[1]}; one reader is allowed")
            if self._renewed is not None and (row is None or row[0] != self._holder):
                # It was ours and went to somebody who let go of it since: what we know is stale, so begin anew.
                self._renewed = None
                raise Unavailable(f"{self._name} was read by another process meanwhile")
            self._write(now)

    def _write(self, now: int) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)",
            (self.group, self._holder, self._host, self._pid, now + LEASE),
        )
        self._renewed = now

    def is_ours(self) -> bool:
        """Looks into the file, not into memory. An ended lease that nobody took is still ours."""
        row = self.db.execute("SELECT holder FROM leases WHERE consumers = ?", (self.group,)).fetchone()
        return row is not None and row[0] == self._holder

    def renew(self) -> bool:
        """Within the caller's transaction: whether the lease is ours; if so, it runs anew."""
        if not self.is_ours():
            return False
        self._write(self._clock())
        return True

    def release(self) -> None:
        """Let go, if it is ours."""
        with transaction(self.db):
            self.db.execute("DELETE FROM leases WHERE consumers = ? AND holder = ?", (self.group, self._holder))
        self._renewed = None
