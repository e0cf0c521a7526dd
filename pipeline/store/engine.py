"""chDB for many askers: a handle for each statement under way.

A handle loses its stream when something else is asked of it, and settings and the current database stay on it. So nothing is
shared but the engine, which serves any number of handles at once; a handle that answered a mere SELECT to its end is kept for
the next one with the same settings (a new one, its database and its settings cost 0.4 ms).
"""

from __future__ import annotations

import json
import queue
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import chdb

from pipeline.errors import Unavailable
from pipeline.store.statement import Statement

# Formats whose blocks can simply follow one another: only those are streamed.
_STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
_CODE = re.compile(r"Code: (\d+)")
_NAME = rb'(?:`[^`]+`|"[^"]+"|\w+)'
_TARGET = re.compile(
    rb"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?P<table>" + _NAME + rb"(?:\." + _NAME + rb")?)\s*"
    rb"(?P<columns>\((?:[^()`]|`[^`]*`)*\))?\s*(?P<settings>SETTINGS\s.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_STAGED = "lastseen_rows_of_this_insert"
# Handles kept, of each set of settings, and sets.
_KEPT = 8


class Refused(Exception):  # noqa: N818  (becomes an answer with ClickHouse's code)
    """The engine's refusal, in its words."""

    def __init__(self, message: str):
        at = message.find("Code: ")
        super().__init__(message[max(at, 0) :].strip())
        found = _CODE.search(message)
        self.code = int(found[1]) if found else 1002


class Answer(NamedTuple):
    """``chunks``: of the body, to be iterated by one thread at a time. ``summary``: JSON for X-ClickHouse-Summary. ``whole``: the
    chunks are all there; to iterate them takes no time."""

    chunks: Iterable[bytes]
    summary: str = "{}"
    whole: bool = False


# Database and settings that are set on a handle.
_Session = tuple[str, tuple[tuple[str, str], ...]]


class Engine:
    """The engine of one folder; there can be one in a process."""

    def __init__(self, path: Path):
        self._path = str(path)
        try:
            self._kept: Any = chdb.connect(self._path)  # type: ignore[no-untyped-call]
            self.timezone = self._kept.query("SELECT timezone()", "TabSeparated").bytes().decode().strip()
        except RuntimeError as error:
            raise Unavailable(f"cannot open the store in {path}: {str(error)[:200]}") from None
        self._idle: dict[_Session, queue.LifoQueue[Any]] = {}

    def run(self, statement: Statement) -> Answer:
        """Raises ``Refused``; so may the iteration of a streamed answer."""
        if statement.rows_format:
            return self._insert(statement)
        if statement.buffered or statement.answer_format not in _STREAMED:
            return self._query(statement)
        chunks = self._stream(statement)
        # The first blocks are awaited, so that most errors are known before a status is sent; most answers have no second.
        begin = [chunk for chunk in (next(chunks, None), next(chunks, None)) if chunk is not None]
        return Answer(begin, whole=True) if len(begin) < 2 else Answer(_chain(begin, chunks))

    def _query(self, statement: Statement) -> Answer:
        with self._handle(statement) as handle:
            result = handle.query(statement.sql, statement.default_format, params=dict(statement.parameters))
            body = result.bytes() or b""
            summary = {"read_rows": result.rows_read(), "read_bytes": result.bytes_read()}
        return Answer((body,), _summary(summary), whole=True)

    def _insert(self, statement: Statement) -> Answer:
        """Into a table in memory first, and from there by a query: chDB 26.9's streamed insert says that all is well where the
        table did not take the rows (a full disk, too many parts, a broken constraint). The way round costs 5 ms."""
        target = _TARGET.match(statement.sql)
        if target is None:
            raise Refused("Code: 62. DB::Exception: this is no INSERT into a table (SYNTAX_ERROR)")
        table, columns, settings = (part.decode() for part in target.groups(b""))
        chosen = columns[1:-1] if columns else "*"
        with self._handle(statement) as handle:
            # Temporary tables are the handle's own, and go with it. (Whoever sends the statement may send any other.)
            handle.query(f"CREATE TEMPORARY TABLE {_STAGED} ENGINE = Memory AS SELECT {chosen} FROM {table} LIMIT 0")  # noqa: S608
            with handle.send_insert(f"INSERT INTO {_STAGED} {columns}", statement.rows_format) as insert:
                if statement.rows:
                    insert.append(statement.rows)
                result = insert.finish()
            staged = int(handle.query(f"SELECT count() FROM {_STAGED}", "TabSeparated").bytes())  # noqa: S608
            if staged != result.rows_written:
                raise Refused(f"Code: 1002. DB::Exception: {staged} of {result.rows_written} rows were taken")
            handle.query(f"INSERT INTO {table} {columns} {settings} SELECT * FROM {_STAGED}")  # noqa: S608
        written = {"written_rows": result.rows_written, "written_bytes": result.bytes_written}
        return Answer((), _summary(written), whole=True)

    def _stream(self, statement: Statement) -> Iterator[bytes]:
        with self._handle(statement) as handle:
            stream = handle.send_query(statement.sql, statement.answer_format, params=dict(statement.parameters))
            try:
                for block in stream:
                    yield block.bytes()
            finally:
                stream.close()

    @contextmanager
    def _handle(self, statement: Statement) -> Iterator[Any]:
        try:
            idle = self._idle_of(statement)
            handle = self._taken(idle) or self._made(statement)
            done = False
            try:
                yield handle
                done = True
            finally:
                # What failed or was broken off is not asked again.
                if not (done and idle is not None and self._put_back(idle, handle)):
                    handle.close()
        except RuntimeError as error:
            raise Refused(str(error)) from None

    def _idle_of(self, statement: Statement) -> queue.LifoQueue[Any] | None:
        """Where handles of the same settings wait; None for a statement that may leave something on its handle."""
        if not statement.asks or b";" in statement.sql.rstrip(b"; \r\n\t"):
            return None
        session = (statement.database, tuple(sorted(statement.settings.items())))
        if session not in self._idle and len(self._idle) >= _KEPT:
            return None
        return self._idle.setdefault(session, queue.LifoQueue(_KEPT))

    @staticmethod
    def _taken(idle: queue.LifoQueue[Any] | None) -> Any:
        try:
            return idle.get_nowait() if idle is not None else None
        except queue.Empty:
            return None

    @staticmethod
    def _put_back(idle: queue.LifoQueue[Any], handle: Any) -> bool:
        try:
            idle.put_nowait(handle)
        except queue.Full:
            return False
        return True

    def _made(self, statement: Statement) -> Any:
        handle: Any = chdb.connect(self._path)  # type: ignore[no-untyped-call]
        try:
            if statement.database:
                handle.query(f"USE {_quoted(statement.database, '`')}", "TabSeparated")
            if statement.settings:
                pairs = ", ".join(f"{name} = {_quoted(value, chr(39))}" for name, value in statement.settings.items())
                handle.query(f"SET {pairs}", "TabSeparated")
        except BaseException:
            handle.close()
            raise
        return handle

    def close(self) -> None:
        for idle in self._idle.values():
            while handle := self._taken(idle):
                handle.close()
        self._kept.close()


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def _summary(numbers: dict[str, int]) -> str:
    zero = dict.fromkeys(("read_rows", "read_bytes", "written_rows", "written_bytes"), 0)
    return json.dumps({name: str(number) for name, number in {**zero, **numbers}.items()})


def _chain(begin: list[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from begin
        yield from rest
    finally:
        rest.close()  # type: ignore[attr-defined]
