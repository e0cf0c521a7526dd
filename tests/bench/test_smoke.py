"""The bench still runs: every job once, on next to nothing. No time is asserted."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.formats import FORMATS
from tests.bench import parts
from tests.bench.collect_formats import SORTS
from tests.bench.parts import PARTS, Run, Sizes, beside, child
from tests.bench.table import Part, save

SMALL = Sizes(orders=50, rounds=1, opened=400, transactions=600)


def test_what_the_database_made_is_what_a_worker_would_have_written(tmp_path: Path) -> None:
    child("many", tmp_path / "many", 600)
    with beside("serve", tmp_path / "many"):
        found = child("lookup", tmp_path / "many", 600, 5)
    assert all(
        found[f"{what} {how} {rank}"] > 0
        for what in ("id", "alias")
        for how in ("found", "told")
        for rank in ("p50", "p99")
    )
    made = child("report", tmp_path / "many")
    assert made["started"] > 0


@pytest.mark.parametrize("name", ["raw", "w1", "w2", "w3", "restart", "deadline", "memory", "tracer", "collect"])
def test_every_part_makes_its_table(name: str, kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.tracer_cost.TIMES", 20)
    monkeypatch.setattr("tests.bench.collect.RECORDS", 50)
    for what, size in (("W3_EVENTS", 60), ("DUE", 5), ("WEIGHED", 100), ("LOOKUPS", 5), ("FEW", 50)):
        monkeypatch.setattr(parts, what, size)
    broker = kafka.removeprefix("kafka://").partition("/")[0]
    made = PARTS[name](Run(broker, tmp_path, SMALL, say=lambda _: None))
    assert all(len(row) == len(part.columns) for part in made for row in part.rows)
    if name in ("w1", "w2"):
        assert made[0].note.endswith("50 of 50 orders came out complete.")


def test_a_collector_of_every_format_is_weighed() -> None:
    assert {name.partition(",")[0] for name in SORTS} == set(FORMATS)


def test_the_table_keeps_what_people_wrote_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "RESULTS.md"
    results.write_text("of yesterday\n\n## Why, and what would\n\nBecause.\n")
    monkeypatch.setattr("tests.bench.table.RESULTS", results)
    part = Part("A table", ("what", "figure"), (("it", "1 s"),), "A note.")
    save([part], "make bench")
    save([part], "make bench")
    text = results.read_text()
    assert text.count("## A table") == text.count("Because.") == 1
    assert "of yesterday" not in text
    assert "| it | 1 s |" in text
