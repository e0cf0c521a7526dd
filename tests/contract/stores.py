"""Real stores for tests: in memory, chDB in this process, chDB served by another process, and a ClickHouse where one is given
(``LASTSEEN_TEST_CLICKHOUSE``, a URL without database)."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.store import open_store
from pipeline.store.clickhouse import ClickHouseStore
from pipeline.store.client import Client, parse_address
from pipeline.store.contract import EventRow, Store
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from schemas.wire import Observed, encode

T = 1_760_000_000_000_000
ADAPTERS = ["memory", "chdb", "http", "clickhouse"]
TABLES = [
    "events",
    "verdicts",
    "flips",
    "keys",
    "keys_by_transaction",
    "kept",
    "links",
    "disputes",
    "tombstones",
    "late_events",
    "quarantine",
    "sources",
    "hearing",
    "hearing_now",
    "accounts",
]  # all but the ledger of migrations
_databases = itertools.count(1)

SERVE = """
import sys
from pathlib import Path
from pipeline.store.serve import serve_forever
serve_forever(Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that serves a folder; ended, if it still runs, at the end."""
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        yield process
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def database() -> str:
    """A name that no other test has."""
    return f"test_{os.getpid()}_{next(_databases)}"


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served")
    with serving(folder):
        yield folder


def _opener(adapter: str, request: pytest.FixtureRequest) -> Callable[[], Store]:
    if adapter == "memory":
        return MemoryStore
    if adapter == "chdb":
        folder = request.getfixturevalue("tmp_path_factory").mktemp("chdb")
        return lambda: open_embedded(folder, {}, "lastseen")
    if adapter == "http":
        folder, name = request.getfixturevalue("served_folder"), database()
        return lambda: open_embedded(folder, {}, name)
    url = os.environ.get("LASTSEEN_TEST_CLICKHOUSE")
    if not url:
        pytest.skip("no ClickHouse: LASTSEEN_TEST_CLICKHOUSE is not set")
    name = database()
    return lambda: open_store(f"{url.rstrip('/')}/{name}", os.environ)


@pytest.fixture(scope="module", params=ADAPTERS)
def shared_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Migrated once a module: that takes 0.3 s, emptying the tables 0.02. chDB is let go at the module's end, for a process can
    have one folder open at a time."""
    store = _opener(request.param, request)()
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def store(shared_store: Store) -> Store:
    """Empty."""
    if isinstance(shared_store, MemoryStore):
        return MemoryStore()
    assert isinstance(shared_store, ClickHouseStore)
    for table in TABLES:
        shared_store._client.command(f"TRUNCATE TABLE {table}")
    return shared_store


def client_of(store: Store) -> Client:
    assert isinstance(store, ClickHouseStore)
    return store._client


def fresh_client(folder: Path) -> Client:
    """A client of a served folder with a database that is not there yet."""
    store = open_embedded(folder, {}, database())
    return client_of(store)


def clickhouse_url(url: str) -> Client:
    return Client(parse_address(url, os.environ))


def event(id_: str, order: str = "1", time: int = T, **more: object) -> EventRow:
    """An event of an order, and its body as a source would have sent it."""
    said: dict[str, object] = {
        "system": "shop", "step": "placed", "keys": {"order": order}, "source": "shop-1", "epoch": 7, "seq": 1,
        "recorded_at": time + 5_000,
    }  # fmt: skip
    observed = Observed(id=id_, time=time, **{**said, **more})  # type: ignore[arg-type]
    return EventRow("order", order, observed, encode([observed]))
