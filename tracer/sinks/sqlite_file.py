"""The file of a SQLite event log: its tables, how it is opened, how records are laid out in it.

WAL, so that many producers and one consumer work at once; all of them on one machine, as WAL needs shared memory.
``synchronous`` is FULL unless told otherwise: what is acknowledged survives a loss of power. With NORMAL it survives the
death of any process, but a loss of power may take back the last acknowledgements.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from tracer.errors import Unavailable
from tracer.record import Headers

PARTITIONS = 4
BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process's transaction; theirs take milliseconds."""
PARTITION_SHIFT = 48
"""A row's id is ``partition << 48 | offset``: one plain B-tree, in which each partition is a range."""
FORMAT = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, append_time INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, headers BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS control (
    id INTEGER PRIMARY KEY, append_time INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, headers BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS control_by_key ON control (key, id);
CREATE TABLE IF NOT EXISTS bounds (
    topic TEXT, partition INTEGER, first INTEGER NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    consumers TEXT, partition INTEGER, position INTEGER NOT NULL, PRIMARY KEY (consumers, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
    consumers TEXT PRIMARY KEY, holder TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, expires INTEGER NOT NULL
) WITHOUT ROWID;
"""

_known_headers: dict[bytes, Headers] = {}


def path_of(url: str) -> Path:
    """``sqlite:///relative`` or ``sqlite:////absolute``, as SQLAlchemy reads them.

    Raises:
        ValueError: another form, or no path.
    """
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/")
    if parts.scheme != "sqlite" or parts.netloc or not path:
        raise ValueError("write sqlite:///folder/log.db, or sqlite:////folder/log.db from the root")
    return Path(path)


def synchronous_of(url: str) -> str:
    """``full`` (default) or ``normal`` from the URL's ``synchronous``; see the module. Raises ValueError."""
    options = parse_qs(urlsplit(url).query)
    unknown = sorted(set(options) - {"synchronous"})
    level = options.get("synchronous", ["full"])[-1].lower()
    if unknown or level not in ("full", "normal"):
        raise ValueError(f"a SQLite log takes synchronous=full|normal, not {', '.join(unknown) or level}")
    return level


def connect(path: Path, synchronous: str = "full") -> sqlite3.Connection:
    """Open the file, making it where there is none.

    Raises:
        ValueError: there is a file, but not a log of ours.
        Unavailable: the file cannot be opened or is held for too long.
    """
    with errors_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {'NORMAL' if synchronous == 'normal' else 'FULL'}")
        _prepare(db, path)
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables, once, whoever comes first."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT:
        return
    if version > FORMAT:
        raise ValueError(f"{path} was made by a newer version (format {version}, this one knows {FORMAT})")
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_master WHERE name NOT IN ('meta')").fetchone()[0] > 0:
        known = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'bounds'").fetchone()[0]
        if not known:
            raise ValueError(f"{path} is a SQLite database of something else")
    with transaction(db):
        for statement in filter(str.strip, SCHEMA.split(";\n")):
            db.execute(statement)
        if db.execute("SELECT count(*) FROM bounds").fetchone()[0] == 0:
            set_partitions(db, PARTITIONS)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('append_time', 0)")
        db.execute(f"PRAGMA user_version = {FORMAT}")


def set_partitions(db: sqlite3.Connection, count: int) -> None:
    """Number of partitions of the events; within a transaction, and only while there are no records."""
    db.execute("DELETE FROM bounds")
    db.executemany("INSERT INTO bounds VALUES ('events', ?, 0, 0)", [(partition,) for partition in range(count)])
    db.execute("INSERT INTO bounds VALUES ('control', 0, 0, 0)")


def add_partitions(db: sqlite3.Connection, have: int, count: int) -> None:
    """Empty ones after those that are there, ``count`` in all; within a transaction."""
    db.executemany("INSERT INTO bounds VALUES ('events', ?, 0, 0)", [(number,) for number in range(have, count)])


def count_partitions(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM bounds WHERE topic = 'events'").fetchone()[0])


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """A writing transaction; its lock is taken at once, so that nothing that was read in it can change."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Say what SQLite and the file system refuse in our own terms."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error) or "malformed" in str(error):
            raise ValueError(f"{path} is not a usable SQLite database: {error}") from error
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"{path}: {error}") from error
        raise
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror or error}") from error


def pack_headers(headers: Headers) -> bytes:
    """As JSON that a person can read in the file; bytes go as Latin-1."""
    return json.dumps([[name, value.decode("latin-1")] for name, value in headers]).encode() if headers else b""


def unpack_headers(packed: bytes) -> Headers:
    """The same bytes give the same object: readers may tell headers by identity."""
    headers = _known_headers.get(packed)
    if headers is None:
        if len(_known_headers) > 4096:
            _known_headers.clear()
        headers = tuple((name, value.encode("latin-1")) for name, value in json.loads(packed)) if packed else ()
        _known_headers[packed] = headers
    return headers
