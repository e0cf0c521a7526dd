"""Where things are: read once from the command line and the environment, then frozen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

DATA = Path(".lastseen")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one process.

    ``data``: folder of the embedded default. ``flows``: folder with flows and a landscape beside those that ship, or None.
    ``log_url``, ``store_url``: what chooses the adapters. ``env`` is where adapters read their secrets; it is in no repr.
    """

    data: Path
    flows: Path | None
    log_url: str
    store_url: str
    env: Mapping[str, str] = field(repr=False)

    @property
    def embedded_log(self) -> bool:
        return self.log_url.startswith("sqlite:")

    @property
    def embedded_store(self) -> bool:
        return self.store_url.startswith("chdb:")

    @property
    def reports(self) -> Path:
        return self.data / "reports"


def read_config(data: Path | None, flows: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """From the command line first (``data``, ``flows``), else from ``LASTSEEN_DATA``, ``LASTSEEN_FLOWS``, ``LASTSEEN_LOG`` and
    ``LASTSEEN_STORE``, else ``./.lastseen`` with a SQLite log and the embedded store."""
    env = dict(os.environ if env is None else env)
    folder = data or Path(env.get("LASTSEEN_DATA") or DATA)
    own = flows or (Path(env["LASTSEEN_FLOWS"]) if env.get("LASTSEEN_FLOWS") else None)
    return Config(
        data=folder,
        flows=own,
        log_url=env.get("LASTSEEN_LOG") or f"sqlite:///{quote(str(folder.absolute() / 'log.sqlite'))}",
        store_url=env.get("LASTSEEN_STORE") or f"chdb://{quote(str(folder.absolute() / 'store'))}",
        env=env,
    )
