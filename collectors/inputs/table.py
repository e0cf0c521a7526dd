"""Tables and queries of any database that SQLAlchemy knows. Only ever read, row by row."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from sqlalchemy import Connection, CursorResult, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from collectors.inputs.record import Row, Unreadable
from schemas.errors import Invalid
from tracer.errors import Unavailable

PASSWORD = "LASTSEEN_SOURCE_PASSWORD"  # noqa: S105  (the name of a variable, not a password)
SQLITE_MAGIC = b"SQLite format 3\x00"
_FETCH = 1000


class TableInput:
    """One SELECT, streamed. ``drawn`` is the clock before it was asked: what was committed later may be missing."""

    def __init__(
        self,
        url: str | URL,
        *,
        table: str | None,
        query: str | None,
        clock: Callable[[], int],
        env: Mapping[str, str] | None = None,
    ):
        """Raises ``Invalid`` where the URL, the table or the query is wrong, ``Unavailable`` where the database is away."""
        parsed = source_url(url, os.environ if env is None else env)
        if (table is None) == (query is None):
            raise Invalid("a database needs either table or query in the mapping")
        self.name = f"{parsed.database or parsed.host or parsed.drivername}:{table or 'query'}"
        self.drawn = clock()
        self._engine = engine_of(parsed)
        self._connection: Connection | None = None
        try:
            self._connection = self._connect()
            self._result = self._select(self._connection, table, query)
        except SQLAlchemyError as error:
            self.close()
            raise told(error, self.name) from None
        self.columns: tuple[str, ...] = tuple(self._result.keys())
        double = {name for name in self.columns if self.columns.count(name) > 1}
        if double:
            self.close()
            raise Invalid(f"the query gives two columns the name {sorted(double)[0]!r}; name them apart with AS")

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        options: dict[str, Any] = {"stream_results": True}
        if self._engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        return connection.execution_options(**options)

    @staticmethod
    def _select(connection: Connection, table: str | None, query: str | None) -> CursorResult[Any]:
        if query is not None:
            # exec_driver_sql: text() would read :name within a literal as a parameter.
            return connection.exec_driver_sql(query.strip().rstrip(";").replace("%", _percent(connection)))
        schema, _, name = (table or "").rpartition(".")
        selected = sqlalchemy.table(name, schema=schema or None)
        return connection.execute(sqlalchemy.select(sqlalchemy.text("*")).select_from(selected))

    def __iter__(self) -> Iterator[Row | Unreadable]:
        number = 0
        try:
            while rows := self._result.fetchmany(_FETCH):
                for row in rows:
                    number += 1
                    yield Row(number, dict(zip(self.columns, row, strict=True)))
        except SQLAlchemyError as error:
            raise told(error, self.name) from None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()


def is_sqlite(path: Path) -> bool:
    """Whether the file is an SQLite database, by its first bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    except OSError:
        return False


def source_url(text: str | URL, env: Mapping[str, str]) -> URL:
    """The URL with its password, which only ``LASTSEEN_SOURCE_PASSWORD`` may hold. Raises ``Invalid``, never repeating the URL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise Invalid("the source is no SQLAlchemy URL such as postgresql://reader@host/shop") from None
    if url.password is not None:
        raise Invalid(
            f"the source's URL holds a password, which everyone on the machine can see; put it into {PASSWORD}"
        )
    if url.get_backend_name() != "sqlite" and env.get(PASSWORD):
        url = url.set(password=env[PASSWORD])
    return url


def engine_of(url: URL, base: Path = Path()) -> Engine:
    """An engine that only reads. ``base``: from where an SQLite file's relative path counts. Raises ``Invalid``."""
    if url.get_backend_name() == "sqlite":
        path = base / (url.database or "").removeprefix("file:")
        if not is_sqlite(path):
            raise Invalid("no SQLite database is there", file=str(path))
        return sqlalchemy.create_engine("sqlite://", creator=lambda: _sqlite(path))
    try:
        return sqlalchemy.create_engine(url, pool_pre_ping=False)
    except NoSuchModuleError:
        raise Invalid(f"SQLAlchemy knows no database {url.drivername!r}") from None
    except ModuleNotFoundError as error:
        raise Invalid(f"the driver for {url.drivername} is not installed: {error.name}") from None


def _sqlite(path: Path) -> sqlite3.Connection:
    """Read-only. A database in WAL mode cannot be opened where its folder cannot be written: there, and only there, it is
    read as immutable (nobody can be writing it on a file system that is read-only)."""
    place = f"file:{quote(str(path.absolute()))}?mode=ro"
    try:
        connection = sqlite3.connect(place, uri=True, check_same_thread=False)
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except sqlite3.OperationalError:
        if os.access(path.parent, os.W_OK) and os.access(path, os.W_OK):
            raise
        connection = sqlite3.connect(place + "&immutable=1", uri=True, check_same_thread=False)
    connection.text_factory = _decoded
    return connection


def _decoded(value: bytes) -> str:
    """Text that is not UTF-8 comes as lone surrogates, which the contract refuses in that one event, not in all."""
    return value.decode("utf-8", "surrogateescape")


def _percent(connection: Connection) -> str:
    return "%%" if connection.dialect.paramstyle in ("format", "pyformat") else "%"


def told(error: SQLAlchemyError, name: str) -> Exception:
    """One of our errors, with the driver's words but without the URL and the statement."""
    if isinstance(error, DBAPIError):
        words = str(error.orig).strip().splitlines()
        reason = words[0][:200] if words else type(error).__name__
        wrong = any(
            word in reason.lower() for word in ("no such", "does not exist", "syntax", "doesn't exist", "undefined")
        )
        return Invalid(reason, file=name) if wrong else Unavailable(f"{name}: {reason}")
    return Unavailable(f"{name}: {type(error).__name__}")
