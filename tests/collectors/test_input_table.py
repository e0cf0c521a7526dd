"""Tables that grow: read on from the last value that was acknowledged; late commits are seen where an overlap is declared."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from collectors.inputs.growing_table import LiveTable
from schemas.control import Marker
from schemas.errors import Invalid
from tests.collectors.site import START, Site
from tracer.errors import Unavailable

TEXT = """\
collector: shop-log
input: {table: {url: 'sqlite:///shop.sqlite', table: orders, growing: id%s}}
times: epoch_us
events:
  - {system: shop, step: placed, time: at, keys: {order: number}}
"""


def rows(folder: Path, *numbers: int) -> None:
    with sqlite3.connect(folder / "shop.sqlite") as database:
        database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER, number TEXT, at INTEGER)")
        database.executemany("INSERT INTO orders VALUES (?, ?, ?)", [(one, f"n{one}", START + one) for one in numbers])
    database.close()


def test_rows_are_read_once_and_on_from_there(tmp_path: Path) -> None:
    rows(tmp_path, *range(1, 2501))
    site = Site(tmp_path, TEXT % "")
    site.begin()
    site.steps(6)
    assert len(site.orders()) == 2500
    rows(tmp_path, 2501)
    site.steps(3)
    assert "n2501" in site.orders()
    told = site.said(Marker)[-1].through
    site.steps(3)
    assert site.said(Marker)[-1].through > told
    assert len(site.observed()) == 2501
    site.kill()
    rows(tmp_path, 2502)
    site.begin()
    site.steps(4)
    assert len(site.orders()) == 2502
    assert len(site.observed()) <= 2504  # the last row is read again, for others may have its value


def test_a_row_with_the_value_of_the_last_one_is_read(tmp_path: Path) -> None:
    rows(tmp_path, 1, 2)
    site = Site(tmp_path, TEXT % "")
    site.begin()
    site.steps(3)
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        database.execute("INSERT INTO orders VALUES (2, 'other', ?)", (START,))
    database.close()
    site.steps(3)
    assert site.orders() == ["n1", "n2", "other"]


@pytest.mark.parametrize(("overlap", "found"), [("", False), (", overlap: 10", True)])
def test_a_late_commit_is_found_within_the_overlap(tmp_path: Path, overlap: str, found: bool) -> None:
    rows(tmp_path, 1, 20)
    site = Site(tmp_path, TEXT % overlap)
    site.begin()
    site.steps(3)
    rows(tmp_path, 15)
    site.steps(3)
    assert ("n15" in site.orders()) == found
    assert len(site.observed()) == 2 + found


def test_a_crash_before_the_acknowledgement_reads_again_under_the_same_ids(tmp_path: Path) -> None:
    rows(tmp_path, *range(1, 50))
    site = Site(tmp_path, TEXT % "")
    site.begin()
    site.broker.lose_acks = True
    site.steps(3)
    site.kill()
    site.broker.lose_acks = False
    site.begin()
    site.steps(3)
    assert len(site.observed()) > 49
    assert len(site.orders()) == 49


def test_once(tmp_path: Path) -> None:
    rows(tmp_path, *range(1, 10))
    site = Site(tmp_path, TEXT % ", start: 4")
    site.begin(once=True)
    site.until_done()
    assert site.orders() == [f"n{number}" for number in range(5, 10)]
    assert site.goodbyes[-1].state == "closed"


def test_a_query_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    rows(tmp_path, 1, 2, 3)
    query = "query: \"SELECT id, number, at FROM orders WHERE number <> 'a:b' AND number <> 'n2'\""
    site = Site(tmp_path, TEXT.replace("table: orders", query) % "")
    site.begin()
    site.steps(3)
    assert site.orders() == ["n1", "n3"]
    site.kill()
    for bad, reason in (
        ("query: DROP TABLE orders", "must be a SELECT"),
        ("table: orders, query: SELECT 1", "exactly one"),
    ):
        with pytest.raises(Invalid, match=reason):
            Site(tmp_path, TEXT.replace("table: orders", bad) % "").begin()


def test_a_column_that_is_not_there_stops_this_collector(tmp_path: Path) -> None:
    rows(tmp_path, 1)
    site = Site(tmp_path, (TEXT % "").replace("growing: id", "growing: nope"))
    collecting = site.begin()
    site.steps(3)
    assert "nope" in str(collecting.failed)


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    rows(tmp_path, 1)
    site = Site(tmp_path, TEXT % "")
    site.begin()
    site.steps(2)
    held = sqlite3.connect(tmp_path / "shop.sqlite", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    assert site.collecting is not None
    live = site.collecting._live
    assert isinstance(live, LiveTable)
    live._engine.dispose()
    with pytest.raises(Unavailable):
        live.poll(0)
    held.execute("ROLLBACK")
    held.close()
    rows(tmp_path, 2)
    site.steps(4)
    assert site.orders() == ["n1", "n2"]
