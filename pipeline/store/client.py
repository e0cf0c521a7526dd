"""One client for ClickHouse over HTTP and for chDB in this process, by URL. Every failure of the store is ``Unavailable``.

``clickhouse://user@host:8123/database?secure=1&cluster=name`` and ``chdb:///folder?database=name``. The password comes from the
environment (``LASTSEEN_CLICKHOUSE_PASSWORD``), never from the URL: URLs are logged.
"""

from __future__ import annotations

import logging
import queue
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from pipeline.errors import Invalid, Unavailable
from pipeline.store import native
from pipeline.store.tables import Table
from schemas.wire import compress

# What we hear of a failing store we say ourselves, once; the driver would print it beside that.
logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())

DATABASE = "lastseen"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SETTINGS = {"async_insert": 0}
_FORMATS = {"DateTime64": "int"}

_NOT_SET_UP = {16, 47, 60, 81}  # NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, UNKNOWN_TABLE, UNKNOWN_DATABASE
_REFUSED = {
    192,
    193,
    194,
    497,
    516,
}  # unknown user, wrong password, required password, access denied, authentication failed
# What only our own SQL or rows can cause. Retrying would repeat it for ever: a bug, law 10.
_OURS = {6, 20, 26, 27, 36, 38, 41, 42, 43, 44, 46, 50, 53, 62, 69, 70, 72, 115, 130, 190, 321, 386, 456, 457}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is, parsed. ``folder``: of chDB, else ""; ``password`` is in no repr."""

    database: str = DATABASE
    folder: str = ""
    host: str = ""
    port: int = 8123
    user: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False
    verify: bool = True
    cluster: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        if self.label:
            return self.label
        return f"the store in {self.folder}" if self.folder else f"ClickHouse at {self.host}:{self.port}"


def parse_address(url: str, env: Mapping[str, str]) -> Address:
    """Raises ``Invalid``."""
    try:
        parts = urlsplit(url)
        port, query = parts.port, {name: values[-1] for name, values in parse_qs(parts.query).items()}
    except ValueError as error:
        raise Invalid(f"not a URL of a store: {error}") from None
    if unknown := set(query) - {"database", "secure", "verify", "cluster"}:
        raise Invalid(
            f"unknown option {min(unknown)[:40]!r} in the store's URL; known are database, secure, verify and cluster"
        )
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.strip("/"):
            raise Invalid("chdb needs the absolute path of a folder: chdb:///var/lib/lastseen")
        return Address(query.get("database", DATABASE), unquote(parts.path))
    if parts.scheme != "clickhouse" or not parts.hostname:
        raise Invalid("a store is clickhouse://user@host:8123/database or chdb:///folder")
    if parts.password is not None:
        raise Invalid("put the password into LASTSEEN_CLICKHOUSE_PASSWORD: URLs are logged")
    secure = query.get("secure", "").lower() in ("1", "true", "yes")
    return Address(
        database=unquote(parts.path.strip("/")) or query.get("database", DATABASE),
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or "") or env.get("LASTSEEN_CLICKHOUSE_USER") or "default",
        password=env.get("LASTSEEN_CLICKHOUSE_PASSWORD", ""),
        secure=secure,
        verify=query.get("verify", "1").lower() not in ("0", "false", "no"),
        cluster=query.get("cluster", ""),
    )


class Client:
    """Usable from several threads. Over HTTP one client serves all; chDB gets a handle for each call that is under way, since a
    handle loses its stream when something else is asked of it.

    ``locate``: asked for the address anew after a failure to reach it, since a served folder comes back on another port.
    """

    def __init__(self, address: Address, locate: Callable[[], Address] | None = None):
        self.address = address
        self.name = address.name
        self._locate = locate
        self._lost = False
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._closed = False
        with self._errors():
            self._first = self._connect()
        self._idle.put(self._first)

    def _connect(self) -> Any:
        # Connected without a database: it may not be there yet.
        address = self.address
        if address.folder:
            client = clickhouse_connect.get_client(
                interface="chdb", path=address.folder, database="default", settings=dict(_SETTINGS)
            )
        else:
            client = clickhouse_connect.get_client(
                interface="https" if address.secure else "http", host=address.host, port=address.port,
                username=address.user, password=address.password, database="default", settings=dict(_SETTINGS),
                verify=address.verify, connect_timeout=5, send_receive_timeout=300, autogenerate_session_id=False,
                compress=address.host not in LOOPBACK,
                pool_mgr=None if address.secure else get_pool_manager(),
            )  # fmt: skip
        client.database = address.database
        return client

    @contextmanager
    def _handle(self) -> Iterator[Any]:
        if self._closed:
            raise Unavailable(f"{self.name} was closed")
        with self._errors():
            if not self.address.folder:
                yield self._shared()
                return
            try:
                client = self._idle.get_nowait()
            except queue.Empty:
                client = self._connect()
            try:
                yield client
            finally:
                client.close() if self._closed else self._idle.put(client)

    def _shared(self) -> Any:
        if self._lost and self._locate:
            self.address = self._locate()
            self._first = self._connect()
            self._idle.put(self._first)
        self._lost = False
        return self._first

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClickHouseError as error:
            raise self._translated(error) from None
        except (OSError, HTTPError) as error:
            self._lost = True
            raise Unavailable(
                f"{self.name} cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
            ) from None

    def _translated(self, error: ClickHouseError) -> Exception:
        code, reason = getattr(error, "code", None), _first_line(str(error))
        if code in _OURS or isinstance(error, DataError):
            return RuntimeError(f"{self.name} refused what we sent: {reason}")
        if code in _NOT_SET_UP:
            return Unavailable(
                f"{self.name} lacks tables or columns of ours in database {self.address.database!r}: it was never set up, or by an "
                "older lastseen; run lastseen setup"
            )
        if code in _REFUSED:
            return Unavailable(
                f"{self.name} refused user {self.address.user!r}: check LASTSEEN_CLICKHOUSE_USER and LASTSEEN_CLICKHOUSE_PASSWORD"
            )
        self._lost = code is None
        return Unavailable(_out_of_reach(self.name, str(error)) or f"{self.name} cannot be used: {reason}")

    def insert(self, table: Table, columns: Sequence[Sequence[Any]]) -> None:
        """Columns in the table's order, in one INSERT."""
        names, block = native.block(table, columns)
        far = not self.address.folder and self.address.host not in LOOPBACK
        with self._handle() as client:
            client.raw_insert(
                table.name,
                names,
                compress(bytes(block)) if far else block,
                fmt="Native",
                compression="lz4" if far else None,
            )

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None, binary: Sequence[str] = ()
    ) -> list[tuple[Any, ...]]:
        """All rows; ``{name:Type}`` in the SQL is bound by the server. ``binary``: columns to be read as bytes."""
        formats = dict.fromkeys(binary, "bytes")
        with self._handle() as client:
            result = client.query(sql, dict(parameters or {}), query_formats=_FORMATS, column_formats=formats)
            return list(result.result_rows)

    def stream(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Iterator[tuple[Any, ...]]:
        """Rows as they come, block by block; the query stays open until the iterator is exhausted or closed."""
        with (
            self._handle() as client,
            client.query_row_block_stream(sql, dict(parameters or {}), query_formats=_FORMATS) as blocks,
        ):
            for block in blocks:
                yield from block

    def raw(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The answer as RowBinary: numbers in little-endian bytes, one after another."""
        with self._handle() as client:
            return bytes(client.raw_query(sql, dict(parameters or {}), fmt="RowBinary"))

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None, *, use_database: bool = True) -> Any:
        """A statement without result, or with one value."""
        with self._handle() as client:
            return client.command(sql, dict(parameters or {}), use_database=use_database)

    def close(self) -> None:
        self._closed = True
        while True:
            try:
                client = self._idle.get_nowait()
            except queue.Empty:
                return
            client.close_connections()
            client.close()


def _out_of_reach(name: str, message: str) -> str:
    """The HTTP library's account of why no connection came about, as people say it; "" where it is about something else."""
    if "HTTPConnectionPool" not in message and "HTTPSConnectionPool" not in message:
        return ""
    reason = re.search(r"\[Errno -?\d+\] ([^\"')]+)", message)
    timeout = "timed out" in message
    return f"{name} cannot be reached: {reason[1].lower() if reason else 'it does not answer' if timeout else 'no connection'}"


def _first_line(message: str) -> str:
    for line in message.splitlines():
        if line.strip():
            return line.strip()[:300]
    return "no reason given"
