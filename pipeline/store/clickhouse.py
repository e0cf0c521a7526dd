"""The store on ClickHouse, or on chDB: the same SQL, the same client."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import Invalid, Unavailable
from pipeline.store import migrate
from pipeline.store.accounts_clickhouse import ClickHouseAccounts
from pipeline.store.client import Client
from pipeline.store.erasing_clickhouse import ClickHouseErasing
from pipeline.store.reader_links import ClickHouseLinks
from pipeline.store.takeover_clickhouse import ClickHouseTakeover


class ClickHouseStore(ClickHouseErasing, ClickHouseLinks, ClickHouseAccounts, ClickHouseTakeover):
    """``Store`` over a ``Client``. ``on_close`` is called last (an embedded folder is given back). ``beside``: a worker profits
    from writing in another thread while it goes on."""

    beside = True

    def __init__(self, client: Client, on_close: Callable[[], None] = lambda: None):
        self._client = client
        self._on_close = on_close
        self.name = client.name

    def migrate(self) -> list[str]:
        return migrate.apply(self._client)

    def check(self) -> list[str]:
        try:
            missing = migrate.pending(self._client)
        except (Invalid, Unavailable) as error:
            return [str(error)]
        return [f"{self.name} lacks {', '.join(missing)}: run lastseen setup"] if missing else []

    def close(self) -> None:
        self._client.close()
        self._on_close()
