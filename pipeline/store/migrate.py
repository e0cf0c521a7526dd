"""Migrations: the numbered files of ``schemas/sql``, applied in order, by any number of processes at once.

Every statement is idempotent and every record of it equal, so nothing needs a lock. Engines are named here and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from pipeline.errors import Invalid
from pipeline.store.client import Client
from pipeline.store.tables import Table

_LEDGER = Table("migrations", ("name", "digest"), ("String", "String"))

# What is acknowledged outlives a power failure: offsets are committed after it.
SINGLE = {
    "replacing": "ReplacingMergeTree",
    "aggregating": "AggregatingMergeTree",
    "durable": "fsync_after_insert = 1",
    "on_cluster": "",
}
# No deduplication of blocks: a Replicated table would drop a repeated one before its materialized view has seen it, so that after a
# crash between the two no replay could complete the view.
REPLICATED = {
    "replacing": "ReplicatedReplacingMergeTree",
    "aggregating": "ReplicatedAggregatingMergeTree",
    "durable": "fsync_after_insert = 1, replicated_deduplication_window = 0",
}


class Migration(NamedTuple):
    """``name``: file name without ``.sql``; its number orders it. ``text``: with placeholders."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """Of the statements; comments may be improved after the fact."""
        return hashlib.sha256("\n".join(_statements(self.text)).encode()).hexdigest()[:16]

    def statements(self, cluster: str = "") -> list[str]:
        """For a single node, or for every node of a cluster with Replicated engines."""
        words = {
            **(REPLICATED if cluster else SINGLE),
            "on_cluster": f" ON CLUSTER {quoted(cluster)}" if cluster else "",
        }
        out = []
        for statement in _statements(self.text):
            for word, meaning in words.items():
                statement = statement.replace("{" + word + "}", meaning)  # noqa: PLW2901
            out.append(statement)
        return out


def quoted(name: str) -> str:
    """An identifier for SQL. Raises ``Invalid`` for what no identifier of ours contains."""
    if not name or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        raise Invalid(f"{name[:60]!r} is no name for a database or a cluster: letters, digits, - and _ are allowed")
    return f"`{name}`"


def _statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    # A statement ends where a line does: comments of columns may contain semicolons.
    return [statement.strip() for statement in ("\n".join(lines) + "\n").split(";\n") if statement.strip()]


def migrations() -> list[Migration]:
    """All that this code knows, in order."""
    found = [path for path in files("schemas").joinpath("sql").iterdir() if path.name.endswith(".sql")]
    return [
        Migration(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8"))
        for path in sorted(found, key=lambda path: path.name)
    ]


def apply(client: Client, known: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing; names of it. Raises ``Invalid`` where the store is newer, or was made from other content."""
    known = migrations() if known is None else known
    address = client.address
    cluster = f" ON CLUSTER {quoted(address.cluster)}" if address.cluster else ""
    client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(address.database)}{cluster}", use_database=False)
    for statement in known[0].statements(address.cluster):
        client.command(statement)
    applied = _applied(client)
    _compare(client.name, known, applied)
    missing = [migration for migration in known if migration.name not in applied]
    for migration in missing:
        for statement in migration.statements(address.cluster):
            client.command(statement)
        client.insert(_LEDGER, ([migration.name], [migration.digest]))
    return [migration.name for migration in missing]


def pending(client: Client) -> list[str]:
    """Names of what is missing. Raises as ``apply`` does, and ``Unavailable`` where nothing was ever applied."""
    known, applied = migrations(), _applied(client)
    _compare(client.name, known, applied)
    return [migration.name for migration in known if migration.name not in applied]


def _applied(client: Client) -> dict[str, set[str]]:
    applied: dict[str, set[str]] = {}
    for name, digest in client.rows("SELECT name, digest FROM migrations"):
        applied.setdefault(name, set()).add(digest)
    return applied


def _compare(name: str, known: Sequence[Migration], applied: dict[str, set[str]]) -> None:
    ours = {migration.name: migration.digest for migration in known}
    if newer := sorted(set(applied) - set(ours)):
        raise Invalid(
            f"{name} is at version {newer[-1]}, this lastseen knows up to {known[-1].name}: install a newer lastseen"
        )
    for migration, digests in applied.items():
        if digests != {ours[migration]}:
            raise Invalid(
                f"{name} was made from another {migration} ({', '.join(sorted(digests))}) than this lastseen has"
                f" ({ours[migration]}): a published migration is never changed"
            )


def cluster_ddl(cluster: str = "lastseen", database: str = "lastseen") -> str:
    """All statements for a cluster, as a file to be read and kept in ``deploy/clickhouse``."""
    lines = [
        "-- The tables of schemas/sql with Replicated engines, for every node of a cluster. Not tested here: chDB refuses these",
        "-- engines. Generated (python -m pipeline.store.migrate > deploy/clickhouse/cluster.sql), do not edit; `lastseen setup`",
        f"-- runs the same where LASTSEEN_STORE ends in ?cluster={cluster}. See README.md beside this file.",
        f"CREATE DATABASE IF NOT EXISTS {quoted(database)} ON CLUSTER {quoted(cluster)};",
        f"USE {quoted(database)};",
    ]
    for migration in migrations():
        lines += ["", f"-- {migration.name}"]
        lines += [statement + ";" for statement in migration.statements(cluster)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(cluster_ddl(), end="")  # noqa: T201
