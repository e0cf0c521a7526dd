"""Opening the embedded store: over HTTP where a process serves the folder, else the folder itself, else saying who holds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import Unavailable
from pipeline.store.clickhouse import ClickHouseStore
from pipeline.store.client import DATABASE, Address, Client
from pipeline.store.folder import Folder

# A command that lists something holds the folder for a second or so; a server needs as long to say where it is.
PATIENCE = 5.0
_PAUSE = 0.05


def open_embedded(
    data_dir: Path, env: Mapping[str, str], database: str = DATABASE, *, patience: float = PATIENCE
) -> ClickHouseStore:
    """Raises ``Unavailable``, naming the process in the way, where the folder is neither served nor free.

    ``patience``: seconds to wait for either.
    """
    folder = Folder(data_dir)
    folder.make()
    deadline = time.monotonic() + patience
    while True:
        served = None if folder.held_here() else folder.served()
        if served:
            return _remote(folder, served.url, env, database)
        if folder.lock():
            return _local(folder, database)
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"the store in {folder.path} is held by {folder.holder()}: stop it, or let it run as lastseen up"
            )
        time.sleep(_PAUSE)


def _local(folder: Folder, database: str) -> ClickHouseStore:
    try:
        client = Client(Address(database=database, folder=str(folder.engine)))
    except BaseException:
        folder.unlock()
        raise
    return ClickHouseStore(client, on_close=folder.unlock)


def _remote(folder: Folder, url: str, env: Mapping[str, str], database: str) -> ClickHouseStore:
    def address(url: str) -> Address:
        parts = urlsplit(url)
        return Address(
            database=database, host=parts.hostname or "", port=parts.port or 0, user="lastseen",
            password=folder.token(env), label=f"the store in {folder.path}, served at {url}",
        )  # fmt: skip

    def locate() -> Address:
        served = folder.served()
        if served is None:
            raise Unavailable(f"the store in {folder.path} is served no more: start lastseen up or lastseen store")
        return address(served.url)

    return ClickHouseStore(Client(address(url), locate))
