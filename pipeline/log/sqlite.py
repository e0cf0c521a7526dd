"""The consuming side of a SQLite event log: one consumer at a time, held by a lease."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipeline.errors import Invalid, Unavailable
from pipeline.log.contract import GROUP, Assigned, Change, Fenced, LogRecord, PositionLost, Revoked, fewer, taken_away
from pipeline.log.sqlite_lease import Lease, holder_of
from tracer.record import CONTROL, EVENTS
from tracer.sinks.memory import wall_clock
from tracer.sinks.sqlite import SqliteSink
from tracer.sinks.sqlite_file import (
    PARTITION_SHIFT,
    add_partitions,
    connect,
    count_partitions,
    errors_of,
    set_partitions,
    transaction,
    unpack_headers,
)

POLL_INTERVAL = 0.01
"""Seconds between looks at an empty log: a look costs 20 µs."""
TRIM_CHUNK = 10_000
"""Rows removed in one transaction, so that producers never wait long."""
COMPACTION_LAG = 24 * 3600 * 1_000_000
"""Superseded control stays for a day, microseconds."""

Row = tuple[int, int, bytes, bytes, bytes]


class SqliteConsumer:
    """Owns all partitions while it holds the group's lease; it takes the lease with its first poll."""

    def __init__(self, path: Path, lease: Lease, from_beginning: bool):
        self._path = path
        self._lease = lease
        self._from_beginning = from_beginning
        self._db = lease.db
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._changes: list[Change] = []
        self._untold = False
        self._turn = 0

    def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:
        deadline = time.monotonic() + timeout_ms / 1000
        with errors_of(self._path):
            self._hold_lease()
            while True:
                out = {} if self._untold else self._read(max_records)
                left = deadline - time.monotonic()
                if out or self._untold or left <= 0:
                    return out
                time.sleep(min(POLL_INTERVAL, left))

    def _hold_lease(self) -> None:
        """Take or renew the lease; raises Unavailable, and gives everything up, where somebody else has it."""
        try:
            self._lease.hold()
        except Unavailable:
            self._give_up()
            raise
        if not self._positions:
            self._begin(self._bounds())

    def _begin(self, bounds: Mapping[int, tuple[int, int]]) -> None:
        """Own these from now on; nothing is handed out before that was taken note of."""
        committed = self.committed(bounds)
        for partition, (first, end) in bounds.items():
            there = committed[partition]
            self._positions[partition] = there if there is not None else first if self._from_beginning else end
        self._changes.append(Assigned(frozenset(bounds)))
        self._untold = True

    def _give_up(self) -> None:
        if self._positions:
            self._changes.append(Revoked(frozenset(self._positions)))
        self._positions.clear()
        self._paused.clear()
        self._untold = False

    def _read(self, max_records: int) -> dict[int, list[LogRecord]]:
        out: dict[int, list[LogRecord]] = {}
        bounds = self._bounds()
        added = {partition: place for partition, place in bounds.items() if partition not in self._positions}
        if added:
            self._begin(added)
            return out
        self._turn += 1
        for i in range(len(bounds)):
            partition = (i + self._turn) % len(bounds)
            first, end = bounds[partition]
            start = self._positions[partition]
            if not first <= start <= end:
                raise PositionLost(f"{self._path}: partition {partition} has offsets {first} to {end}, {start} is next")
            if partition in self._paused or start == end or max_records <= 0:
                continue
            out[partition] = self._records(partition, start, max_records)
            max_records -= len(out[partition])
        # At the end: what a later partition's failure keeps from being handed out is read again.
        self._positions.update({partition: records[-1].offset + 1 for partition, records in out.items()})
        return out

    def _records(self, partition: int, start: int, count: int) -> list[LogRecord]:
        base = partition << PARTITION_SHIFT
        rows: Iterable[Row] = self._db.execute(
            "SELECT * FROM events WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
            (base | start, (partition + 1) << PARTITION_SHIFT, count),
        )
        return [
            LogRecord(EVENTS, partition, id_ - base, append_time, key, value, unpack_headers(headers))
            for id_, append_time, key, value, headers in rows
        ]

    def _bounds(self) -> dict[int, tuple[int, int]]:
        rows = self._db.execute("SELECT partition, first, next FROM bounds WHERE topic = 'events' ORDER BY partition")
        return {partition: (first, end) for partition, first, end in rows}

    def assignment(self) -> frozenset[int]:
        return frozenset(self._positions)

    def take_changes(self) -> list[Change]:
        changes, self._changes = self._changes, []
        self._untold = False
        return changes

    def still_owns(self, partition: int) -> bool:
        with errors_of(self._path):
            ours = partition in self._positions and self._lease.is_ours()
        return ours and not taken_away(self._changes, (partition,))

    def commit(self, positions: Mapping[int, int]) -> None:
        with errors_of(self._path), transaction(self._db):
            if taken_away(self._changes, positions) or not self._lease.renew():
                raise Fenced(f"{self._path}: another consumer took over")
            self._db.executemany(
                "INSERT INTO commits VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
                [(self._lease.group, partition, position) for partition, position in positions.items()],
            )

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        with errors_of(self._path):
            rows = self._db.execute(
                "SELECT partition, position FROM commits WHERE consumers = ?", (self._lease.group,)
            ).fetchall()
        found: dict[int, int] = dict(rows)
        return {partition: found.get(partition) for partition in partitions}

    def seek(self, partition: int, offset: int) -> None:
        self.position(partition)
        self._positions[partition] = offset

    def position(self, partition: int) -> int:
        if partition not in self._positions:
            raise ValueError(f"partition {partition} is not assigned")
        return self._positions[partition]

    def pause(self, partitions: Iterable[int]) -> None:
        self._paused |= set(partitions) & set(self._positions)

    def resume(self, partitions: Iterable[int]) -> None:
        self._paused -= set(partitions)

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        with errors_of(self._path):
            bounds = self._bounds()
        return {partition: bounds[partition][1] for partition in partitions}

    def beginning_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        with errors_of(self._path):
            bounds = self._bounds()
        return {partition: bounds[partition][0] for partition in partitions}

    def close(self) -> None:
        try:
            with errors_of(self._path):
                self._lease.release()
        finally:
            self._positions.clear()
            self._db.close()


class SqliteControlReader:
    """Reads control from the file."""

    def __init__(self, path: Path, db: sqlite3.Connection):
        self._path = path
        self._db = db
        self._position = 0

    def read(self, max_records: int, timeout_ms: int = 0) -> list[LogRecord]:
        deadline = time.monotonic() + timeout_ms / 1000
        with errors_of(self._path):
            while True:
                records = self._read(max_records)
                left = deadline - time.monotonic()
                if records or left <= 0:
                    return records
                time.sleep(min(POLL_INTERVAL, left))

    def _read(self, max_records: int) -> list[LogRecord]:
        rows = self._db.execute(
            "SELECT * FROM control WHERE id >= ? ORDER BY id LIMIT ?", (self._position, max_records)
        )
        records = [LogRecord(CONTROL, 0, i, at, key, value, unpack_headers(hs)) for i, at, key, value, hs in rows]
        if records:
            self._position = records[-1].offset + 1
        return records

    def position(self) -> int:
        return self._position

    def end_offset(self) -> int:
        with errors_of(self._path):
            return int(self._db.execute("SELECT next FROM bounds WHERE topic = 'control'").fetchone()[0])

    def close(self) -> None:
        self._db.close()


class SqliteLog:
    """A SQLite event log from both sides.

    ``clock`` stamps what is appended here, ``lease_clock`` (the wall's: processes must agree on it) ends leases.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int] = wall_clock,
        synchronous: str = "full",
        lease_clock: Callable[[], int] = wall_clock,
    ):
        self.path = path
        self.name = f"sqlite {path}"
        self._clock = clock
        self._synchronous = synchronous
        self._lease_clock = lease_clock
        self._db = connect(path, synchronous)
        # What was trimmed may be somebody's who wants to be forgotten; a deleted row's bytes stay in the file otherwise. It takes
        # 1 µs an event (20,000 of 300 bytes: 0.05 s instead of 0.03).
        self._db.execute("PRAGMA secure_delete = ON")

    def partitions(self) -> int:
        with errors_of(self.path):
            return count_partitions(self._db)

    def identity(self) -> str:
        return ""

    def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> SqliteConsumer:
        db = connect(self.path, self._synchronous)
        holder = uuid.uuid4().hex
        lease = Lease(db, group, holder, socket.gethostname(), os.getpid(), self._lease_clock, self.name)
        return SqliteConsumer(self.path, lease, from_beginning)

    def control_reader(self) -> SqliteControlReader:
        return SqliteControlReader(self.path, connect(self.path, self._synchronous))

    def producer(self) -> SqliteSink:
        return SqliteSink(self.path, self._clock, self._synchronous)

    def create(self, partitions: int | None = None) -> None:
        with errors_of(self.path), transaction(self._db):
            have = count_partitions(self._db)
            if partitions is None or partitions == have:
                return
            if partitions < 1:
                raise Invalid("a log needs at least one partition")
            if self._db.execute("SELECT max(next) FROM bounds").fetchone()[0] > 0:
                raise Invalid(f"{self.path} has {have} partitions already, not {partitions}")
            set_partitions(self._db, partitions)

    def extend(self, partitions: int) -> None:
        with errors_of(self.path), transaction(self._db):
            have = count_partitions(self._db)
            if partitions < have:
                raise fewer(str(self.path), have, partitions)
            add_partitions(self._db, have, partitions)

    def members(self, group: str = GROUP) -> list[str]:
        with errors_of(self.path):
            holder = holder_of(self._db, group, socket.gethostname(), self._lease_clock())
        return [f"process {holder[1]} on {holder[0]}"] if holder else []

    def check(self) -> list[str]:
        try:
            with errors_of(self.path):
                found = [row[0] for row in self._db.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
        except (Unavailable, ValueError) as error:
            return [str(error)]
        return [f"{self.path} is damaged: {problem}. Restore it, or move it away and load again" for problem in found]

    def trim(self, positions: Mapping[int, int], *, wipe: bool = False) -> None:
        with errors_of(self.path):
            for partition, offset in positions.items():
                while self._trim_some(partition, offset):
                    pass
            with transaction(self._db):
                self._compact_control()
            if wipe:
                # Pages as they were stand in the write-ahead log until it begins anew.
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def retention(self) -> int | None:
        return 0

    def _trim_some(self, partition: int, before: int) -> bool:
        """Remove up to `TRIM_CHUNK` rows; says whether there may be more."""
        with transaction(self._db):
            first, end = self._db.execute(
                "SELECT first, next FROM bounds WHERE topic = 'events' AND partition = ?", (partition,)
            ).fetchone()
            upto = min(before, end, first + TRIM_CHUNK)
            if upto <= first:
                return False
            base = partition << PARTITION_SHIFT
            self._db.execute("DELETE FROM events WHERE id >= ? AND id < ?", (base | first, base | upto))
            self._db.execute("UPDATE bounds SET first = ? WHERE topic = 'events' AND partition = ?", (upto, partition))
            return bool(upto < min(before, end))

    def _compact_control(self) -> None:
        """As Kafka compacts: of what is older than the lag, only the last of each key stays; an empty key is no key."""
        last = self._db.execute("SELECT value FROM meta WHERE name = 'append_time'").fetchone()[0]
        self._db.execute(
            "DELETE FROM control WHERE append_time < ? AND key != x'' AND EXISTS"
            " (SELECT 1 FROM control AS later WHERE later.key = control.key AND later.id > control.id)",
            (last - COMPACTION_LAG,),
        )

    def close(self) -> None:
        self._db.close()
