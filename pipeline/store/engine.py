"""chDB for many askers: a handle for each statement under way.

A handle loses its stream when something else is asked of it, and settings and the current database stay on it; a new one costs
0.3 ms. So nothing is shared but the engine, which serves any number of handles at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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


class Refused(Exception):  # noqa: N818  (becomes an answer with ClickHouse's code)
    """The engine's refusal, in its words."""

    def __init__(self, message: str):
        at = message.find("Code: ")
        super().__init__(message[max(at, 0) :].strip())
        found = _CODE.search(message)
        self.code = int(found[1]) if found else 1002


class Answer(NamedTuple):
    """``chunks``: of the body, to be iterated by one thread at a time. ``summary``: JSON for X-ClickHouse-Summary."""

    chunks: Iterator[bytes]
    summary: str = "{}"


class Engine:
    """The engine of one folder; there can be one in a process."""

    def __init__(self, path: Path):
        self._path = str(path)
        try:
            self._kept: Any = chdb.connect(self._path)  # type: ignore[no-untyped-call]
            self.timezone = self._kept.query("SELECT timezone()", "TabSeparated").bytes().decode().strip()
        except RuntimeError as error:
            raise Unavailable(f"cannot open the store in {path}: {str(error)[:200]}") from None

    def run(self, statement: Statement) -> Answer:
        """Raises ``Refused``; so may the iteration of a streamed answer."""
        if statement.rows_format:
            return self._insert(statement)
        if statement.buffered or statement.answer_format not in _STREAMED:
            return self._query(statement)
        chunks = self._stream(statement)
        # The first block is awaited, so that most errors are known before a status is sent.
        first = next(chunks, None)
        return Answer(_chain(first, chunks))

    def _query(self, statement: Statement) -> Answer:
        with self._handle(statement) as handle:
            result = handle.query(statement.sql, statement.default_format, params=dict(statement.parameters))
            body = result.bytes() or b""
            summary = {"read_rows": result.rows_read(), "read_bytes": result.bytes_read()}
        return Answer(iter((body,)), _summary(summary))

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
        return Answer(
            iter((b"",)), _summary({"written_rows": result.rows_written, "written_bytes": result.bytes_written})
        )

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
            handle: Any = chdb.connect(self._path)  # type: ignore[no-untyped-call]
            try:
                if statement.database:
                    handle.query(f"USE {_quoted(statement.database, '`')}", "TabSeparated")
                if statement.settings:
                    pairs = ", ".join(
                        f"{name} = {_quoted(value, chr(39))}" for name, value in statement.settings.items()
                    )
                    handle.query(f"SET {pairs}", "TabSeparated")
                yield handle
            finally:
                handle.close()
        except RuntimeError as error:
            raise Refused(str(error)) from None

    def close(self) -> None:
        self._kept.close()


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


def _summary(numbers: dict[str, int]) -> str:
    zero = dict.fromkeys(("read_rows", "read_bytes", "written_rows", "written_bytes"), 0)
    return json.dumps({name: str(number) for name, number in {**zero, **numbers}.items()})


def _chain(first: bytes | None, rest: Iterator[bytes]) -> Iterator[bytes]:
    try:
        if first is not None:
            yield first
        yield from rest
    finally:
        rest.close()  # type: ignore[attr-defined]
