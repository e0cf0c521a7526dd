"""Blocks of the Native format that we build ourselves: whatever is sent comes back, and what is not sent was its type's default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import native, tables
from pipeline.store.client import Client
from pipeline.store.embedded import open_embedded
from pipeline.store.tables import Table
from tests.contract.stores import client_of, database, served_folder

__all__ = ["served_folder"]

KINDS = (
    "String", "Int64", "UInt64", "UInt32", "Bool", "DateTime64(6, 'UTC')", "Array(String)", "Array(Int64)",
    "Array(Tuple(Int64, Int64))", "Nullable(Float64)",
)  # fmt: skip
ALL = Table("every_kind", ("n", *(f"c{place}" for place in range(len(KINDS)))), ("Int64", *KINDS))
SOME: dict[str, list[Any]] = {
    "String": ["", "é\x7f", "x" * 300], "Int64": [0, -(2**63), 2**63 - 1], "UInt64": [0, 1, 2**64 - 1],
    "UInt32": [0, 1, 2**32 - 1], "Bool": [False, True, False], "DateTime64(6, 'UTC')": [0, -1, 1_760_000_000_000_000],
    "Array(String)": [[], ["a", ""], ["é"]], "Array(Int64)": [[], [-1, 2], [3]],
    "Array(Tuple(Int64, Int64))": [[], [(1, 2)], [(3, 4), (5, 6)]], "Nullable(Float64)": [None, 0.0, -1.5],
}  # fmt: skip


@pytest.fixture
def client(served_folder: Path) -> Iterator[Client]:
    store = open_embedded(served_folder, {}, database())
    store.migrate()
    client = client_of(store)
    columns = ", ".join(f"`{name}` {kind}" for name, kind in zip(ALL.columns, ALL.types, strict=True))
    client.command(f"CREATE TABLE every_kind ({columns}) ENGINE = MergeTree ORDER BY n")
    yield client
    store.close()


@pytest.mark.parametrize("which", [(0, 1, 2), (0, 0, 0), (1, 1, 1), (2, 2), (0,), (1,)])
def test_what_is_sent_comes_back(client: Client, which: tuple[int, ...]) -> None:
    columns = [list(range(len(which))), *([SOME[kind][place] for place in which] for kind in KINDS)]
    client.insert(ALL, columns)
    assert client.rows(f"SELECT {ALL.select} FROM every_kind ORDER BY n") == list(zip(*columns, strict=True))


def test_only_what_says_anything_is_sent() -> None:
    columns = [[0, 0], *([SOME[kind][0]] * 2 for kind in KINDS)]
    assert native.block(ALL, columns)[0] == ("n", f"c{KINDS.index('Nullable(Float64)')}")


def test_bytes_are_texts_too(client: Client) -> None:
    table = Table("every_kind", ("n", "c0"), ("Int64", "String"))
    client.insert(table, [[1, 2], [b"\xff", b"\xff"]])
    assert client.rows("SELECT hex(c0) FROM every_kind") == [("FF",), ("FF",)]


@pytest.mark.parametrize("column", [["\ud800"], [None, "x"]])
def test_what_is_no_text_is_refused(column: list[Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        native.block(Table("every_kind", ("n", "c0"), ("Int64", "String")), [[0] * len(column), column])


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="c0 has 1 values, the first has 2"):
        native.block(Table("every_kind", ("n", "c0"), ("Int64", "String")), [[0, 1], ["a"]])


def test_no_column_that_we_send_has_a_default_but_its_types(client: Client) -> None:
    ours = [table for table in vars(tables).values() if isinstance(table, Table)]
    rows = client.rows(
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND default_kind != ''"
    )
    assert ("migrations", "applied_at") in rows
    assert not {(table.name, column) for table in ours for column in table.columns} & set(rows)
