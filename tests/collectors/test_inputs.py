"""Files and tables: what is a record, what cannot be read, and where it stands."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.formats.framing import MAX_LINE
from collectors.inputs import Input, Row, Unreadable, open_input
from collectors.inputs.csv import CsvInput
from collectors.inputs.jsonl import JsonlInput
from collectors.mapping import CsvFormat, Mapping
from schemas.errors import Invalid

MAPPING: dict[str, Any] = {
    "mapping": "m",
    "key": "id",
    "events": [{"system": "a", "step": "s", "time": "at", "keys": {"order": "id"}}],
}


def clock() -> int:
    return 1_700_000_000_000_000


def opened(path: Path | str, **changes: Any) -> Input:
    return open_input(str(path), Mapping.model_validate({**MAPPING, **changes}), clock, env={})


def read(source: Input) -> list[tuple[int, dict[str, Any] | str]]:
    try:
        return [(row.line, dict(row.fields) if isinstance(row, Row) else row.reason) for row in source]
    finally:
        source.close()


def written(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(tmp_path: Path, name: str) -> None:
    content = '\ufeffid, at\r\n1,"x\ny"\r\n\r\n2,"a ""b"""\r\n'
    assert read(opened(written(tmp_path / name, content))) == [
        (2, {"id": "1", "at": "x\ny"}),
        (5, {"id": "2", "at": 'a "b"'}),
    ]


def test_csv_rows_that_are_none_are_told_with_their_bytes(tmp_path: Path) -> None:
    content = b'id,at\n1\n2,b\n3,c,d\n4,"x"y\n5,\xff\n6,f\n7,"torn'
    source = opened(written(tmp_path / "a.csv", content))
    rows = list(source)
    assert [(row.line, row.reason) if isinstance(row, Unreadable) else row.fields["id"] for row in rows] == [
        (2, "1 fields where 2 are expected"),
        "2",
        (4, "3 fields where 2 are expected"),
        (5, "not CSV: ',' expected after '\"'"),
        (6, "bytes that are not utf-8"),
        "6",
        (8, "not CSV: unexpected end of data"),
    ]
    assert [row.payload() for row in rows] == content.splitlines(keepends=True)[1:]


def test_an_open_quote_swallows_no_file(tmp_path: Path) -> None:
    lines = [f"{number},x" for number in range(60_000)]
    lines[0] = '0,"x'
    rows = read(opened(written(tmp_path / "a.csv", "id,at\n" + "\n".join(lines) + "\n")))
    assert rows[0] == (2, "not CSV: field larger than field limit (131072)")
    assert rows[-1] == (60_001, {"id": "59999", "at": "x"})


def test_csv_as_it_is_declared(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "1;'ä;'\n".encode("cp1252"))
    layout = {"delimiter": ";", "quote": "'", "header": False, "fields": ["id", "at"]}
    assert read(opened(path, format="csv", encoding="cp1252", csv=layout)) == [(1, {"id": "1", "at": "ä;"})]
    assert read(opened(written(tmp_path / "a.tsv", "id\tat\n1\tx\n"))) == [(2, {"id": "1", "at": "x"})]


@pytest.mark.parametrize(
    ("content", "reason"), [("", "is empty"), ("a,b,a\n", "names 'a' twice"), ('"a\n', "header cannot be read")]
)
def test_csv_headers_refused(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        opened(written(tmp_path / "a.csv", content))


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    content = b'{"id": 12345678901234567890123, "at": {"x": [1]}}\n\n[1]\n{"id": 1\n{"a": "\xff"}\n{"id": 2}'
    rows = read(opened(written(tmp_path / name, content)))
    assert rows == [
        (1, {"id": 12345678901234567890123, "at": {"x": [1]}}),
        (3, "no JSON object"),
        (4, "not JSON: Expecting ',' delimiter at character 9"),
        (5, "bytes that are not utf-8"),
        (6, {"id": 2}),
    ]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' * 100_000, "1" * 10_000, "\x00", '"' + "x" * 100])
def test_hostile_json_is_unreadable_and_the_rest_goes_on(tmp_path: Path, line: str) -> None:
    rows = read(opened(written(tmp_path / "a.jsonl", line + '\n{"id": 1}\n')))
    assert isinstance(rows[0][1], str)
    assert rows[1] == (2, {"id": 1})


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_line_without_end_is_bounded(tmp_path: Path, name: str) -> None:
    good = '{"id": "1"}' if name == "a.jsonl" else "1"
    content = ("id\n" if name == "a.csv" else "") + "x" * (2 * MAX_LINE + 5) + f"\n{good}\n"
    source = opened(written(tmp_path / name, content))
    torn, whole = list(source)
    assert isinstance(torn, Unreadable)
    assert torn.reason == "the line is too long"
    assert len(torn.payload()) == 256 * 1024
    assert isinstance(whole, Row)
    assert whole.fields == {"id": "1"}


def test_a_damaged_gzip_ends_the_run_and_not_the_list(tmp_path: Path) -> None:
    whole = gzip.compress("".join(f'{{"id": {n}}}\n' for n in range(20_000)).encode())
    for cut in (whole[:-3], whole[: len(whole) // 2], whole[:-8] + b"\x00" * 8):
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(cut)
        with pytest.raises(Invalid, match=r"a\.jsonl\.gz:\d+: the gzipped file is damaged or ends in the middle"):
            read(opened(path))


def test_what_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no such file"):
        opened(tmp_path / "none.csv")
    with pytest.raises(Invalid, match="its name tells no format"):
        opened(written(tmp_path / "a.dat", "x"))
    with pytest.raises(Invalid, match=r"a\.csv: lines in utf-32 cannot be told apart"):
        opened(written(tmp_path / "a.csv", "id\n"), encoding="utf-32")
    with pytest.raises(Invalid, match="no SQLite database"):
        opened(f"sqlite:///{tmp_path}/none.sqlite", table="a")
    with pytest.raises(Invalid, match="knows no database"):
        opened("smoke://host/shop", table="a")
    with pytest.raises(Invalid, match="no SQLAlchemy URL"):
        opened("postgresql://host:port:5/shop", table="a")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop 100%?.sqlite"
    with sqlite3.connect(path) as db:
        db.execute('CREATE TABLE "the Orders" (id INTEGER, at TEXT)')
        db.executemany('INSERT INTO "the Orders" VALUES (?, ?)', [(n, f"x{n}") for n in range(2500)])
        db.execute("INSERT INTO \"the Orders\" VALUES (-1, CAST(x'ff41' AS TEXT))")
    db.close()
    return path


def test_a_table_and_a_query(shop: Path) -> None:
    rows = read(opened(shop, table="the Orders"))
    assert len(rows) == 2501
    assert rows[2] == (3, {"id": 2, "at": "x2"})
    assert rows[-1] == (2501, {"id": -1, "at": "\udcffA"})
    query = "SELECT id, ':a' AS at FROM \"the Orders\" WHERE at LIKE 'x249%' ORDER BY id DESC;"
    found = opened(shop, query=query)
    assert (found.columns, found.drawn) == (("id", "at"), clock())
    assert [line[1]["id"] for line in read(found) if isinstance(line[1], dict)] == [*range(2499, 2489, -1), 249]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"table": "none"}, "no such table: none"),
        ({"table": 'x" UNION SELECT * FROM y; --'}, "no such table"),
        ({"query": "SELECT a FROM nowhere"}, "no such table: nowhere"),
        ({"query": "SELECT 1 FRM x"}, "syntax error"),
        ({"query": "WITH a AS (SELECT 1) DELETE FROM \"the Orders\""}, "readonly database"),
        ({"query": "SELECT 1 AS a, 2 AS a"}, "two columns the name 'a'"),
        ({}, "needs either table or query"),
    ],
)  # fmt: skip
def test_tables_refused(shop: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Exception, match=reason) as caught:
        opened(shop, **changes)
    assert type(caught.value).__name__ in ("Invalid", "Unavailable")
    assert len(read(opened(shop, table="the Orders"))) == 2501


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Invalid, match="LASTSEEN_SOURCE_PASSWORD") as caught:
        opened("postgresql://reader:hunter2@host/shop", table="a")
    assert "hunter2" not in str(caught.value)


def test_a_database_in_wal_mode_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a" / "wal.sqlite"
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE t (id INTEGER)")
        db.execute("INSERT INTO t VALUES (1)")
    db.close()
    before = path.read_bytes()
    assert read(opened(path, table="t")) == [(1, {"id": 1})]
    assert path.read_bytes() == before


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20))
def test_csv_of_any_content_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    path = tmp_path_factory.getbasetemp() / f"any{os.getpid()}.csv"
    path.write_bytes(text.getvalue().encode())
    found = read(CsvInput(path, CsvFormat()))
    assert [tuple(row.values()) if isinstance(row, dict) else row for _, row in found] == rows


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / f"bytes{os.getpid()}.jsonl"
    path.write_bytes(b"x\n" + b"\n".join(lines))
    for row in JsonlInput(path):
        assert isinstance(row, Unreadable) or json.loads(row.raw or b"") == row.fields
    assert all(row.line > 0 for row in CsvInput(path))
