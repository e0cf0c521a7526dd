"""Produces to a SQLite event log. Many processes may do so at once; each batch is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS, Ack, Record
from tracer.sinks.contract import OnAck, OnError, Pending, place, settled
from tracer.sinks.memory import wall_clock
from tracer.sinks.sqlite_file import (
    PARTITION_SHIFT,
    connect,
    count_partitions,
    errors_of,
    pack_headers,
    path_of,
    synchronous_of,
    transaction,
)

__all__ = ["SqliteSink", "path_of", "synchronous_of"]

TABLES = {EVENTS: "events", CONTROL: "control"}
BATCH = 500
"""Records that `SqliteSink.send` collects before it writes on its own; `poll` writes whatever there is."""


class SqliteSink:
    """Appends to the file. ``clock``: the append clock, microseconds since the Unix epoch.

    Attributes:
        survives_fork: False: SQLite's notes of which locks are held are copied into a child, which does not hold them. It must be
            closed before the process forks, lest the child's own connection trusts them.
    """

    survives_fork = False

    def __init__(self, path: Path, clock: Callable[[], int] = wall_clock, synchronous: str = "full"):
        self.path = path
        self.name = f"sqlite {path}"
        self._clock = clock
        self._db = connect(path, synchronous)
        with errors_of(path):
            self._partitions = {EVENTS: count_partitions(self._db), CONTROL: 1}
        self._queue: list[tuple[Pending, Record, int]] = []

    def partitions(self, topic: str) -> int:
        return self._partitions[topic]

    def send(self, record: Record, on_ack: OnAck | None = None, on_error: OnError | None = None) -> Pending:
        partition = place(record, self._partitions)
        pending = Pending(on_ack, on_error)
        self._queue.append((pending, record, partition))
        if len(self._queue) >= BATCH:
            self.poll()
        return pending

    def send_many(
        self, records: Iterable[Record], on_ack: OnAck | None = None, on_error: OnError | None = None
    ) -> list[Pending]:
        return [self.send(record, on_ack, on_error) for record in records]

    def poll(self) -> int:
        """Write what is queued, in one transaction; acknowledge once it is committed."""
        batch, self._queue = self._queue, []
        if not batch:
            return 0
        try:
            with errors_of(self.path), transaction(self._db):
                acks = self._append(batch)
        except Unavailable as error:
            for pending, _, _ in reversed(batch):
                pending.settle(error)
        else:
            for (pending, _, _), ack in zip(batch, acks, strict=True):
                pending.settle(ack)
        return len(self._queue)

    def _append(self, batch: list[tuple[Pending, Record, int]]) -> list[Ack]:
        """Within a transaction. Append time never goes backwards in the file, whatever the clocks of its producers do."""
        last = self._db.execute("SELECT value FROM meta WHERE name = 'append_time'").fetchone()[0]
        now = max(last, self._clock())
        ends = {(t, p): n for t, p, n in self._db.execute("SELECT topic, partition, next FROM bounds")}
        rows: dict[str, list[tuple[int, int, bytes, bytes, bytes]]] = {"events": [], "control": []}
        acks = []
        for _, record, partition in batch:
            table = TABLES[record.topic]
            offset = ends[table, partition]
            ends[table, partition] = offset + 1
            packed = pack_headers(record.headers)
            rows[table].append((partition << PARTITION_SHIFT | offset, now, record.key, record.value, packed))
            acks.append(Ack(record.topic, partition, offset, now))
        for table, values in rows.items():
            self._db.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", values)  # noqa: S608  (one of two names)
        self._write_bounds(ends, now)
        return acks

    def _write_bounds(self, ends: dict[tuple[str, int], int], now: int) -> None:
        values = [(n, t, p) for (t, p), n in ends.items()]
        self._db.executemany("UPDATE bounds SET next = ? WHERE topic = ? AND partition = ?", values)
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'append_time'", (now,))

    def flush(self, timeout: float = 30.0) -> None:  # noqa: ARG002  (SQLite's own busy timeout bounds it)
        self.poll()

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:  # noqa: ARG002
        pendings = self.send_many(records)
        self.poll()
        return settled(pendings, self.name)

    def close(self) -> None:
        try:
            self.poll()
        finally:
            self._db.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """For the tests, which look at the file's settings."""
        return self._db
