"""Where events, verdicts and all that is derived from them are kept: one contract, chosen by a URL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.store.contract import Store
from pipeline.store.memory import MemoryStore


def open_store(url: str, env: Mapping[str, str]) -> Store:
    """The store of a URL: ``clickhouse://user@host:8123/database``, ``chdb:///folder`` or ``memory:``.

    ``env``: where the password or token comes from. Raises ``Invalid`` for the URL, ``Unavailable`` for the store.
    """
    if url.startswith("memory:"):
        return MemoryStore()
    from pipeline.store.clickhouse import ClickHouseStore
    from pipeline.store.client import Client, parse_address
    from pipeline.store.embedded import open_embedded

    address = parse_address(url, env)
    if address.folder:
        return open_embedded(Path(address.folder), env, address.database)
    return ClickHouseStore(Client(address))


__all__ = ["MemoryStore", "Store", "open_store"]
