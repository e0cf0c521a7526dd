"""``lastseen load`` as a person meets it: what it prints, what it leaves to others, and how it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.log import open_log
from schemas.control import decode_control

REPOSITORY = Path(__file__).resolve().parents[2]
MAPPING = """\
mapping: shop-table
key: id
zone: Europe/Berlin
events:
  - {system: shop, step: placed, time: placed, keys: {order: id}, attributes: {amount: {field: total, as: number}}}
"""
ROWS = "id,placed,total\n1,2026-01-01,10\n2,2026-03-29T02:30:00,20\n3,2026-01-02,\n4,2026-01-03\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(MAPPING)
    (tmp_path / "shop.csv").write_text(ROWS)
    return tmp_path


def lastseen(shop: Path, *arguments: str, code: int = 0, **more: str) -> tuple[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}
    done = subprocess.run(
        [sys.executable, "-c", "from pipeline import main; main()", *arguments, "--data", str(shop / "data")],
        cwd=shop, env={**env, "PYTHONPATH": str(REPOSITORY), **more}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def hearing(shop: Path) -> list[str]:
    log = open_log(f"sqlite:///{shop / 'data' / 'log.sqlite'}")
    reader = log.control_reader()
    try:
        return [record.kind for entry in reader.read(1000) for record in [decode_control(entry.value)]]
    finally:
        reader.close()
        log.close()


def test_what_is_bad_is_told_with_its_line_and_kept(shop: Path) -> None:
    out, _ = lastseen(shop, "load", "shop.csv", "--mapping", "shop.yaml")
    assert "shop-table: read 4, events 2, quarantined 2" in out
    assert "first fault: shop.csv:3: placed: placed: 2026-03-29T02:30:00 never was in Europe/Berlin" in out
    assert "order: 2 transactions" in out
    out, _ = lastseen(shop, "quarantine", "list", "--format", "json")
    kept = json.loads(out)
    assert len(kept) == 2
    assert {row["source"] for row in kept} == {"shop-table"}
    assert any("shop.csv:5: 2 fields where 3 are expected" in row["reason"] for row in kept)


def test_a_folder_that_somebody_reads_is_left_to_them(shop: Path) -> None:
    (shop / "data").mkdir()
    log = open_log(f"sqlite:///{shop / 'data' / 'log.sqlite'}")
    log.create()
    consumer = log.consumer()
    consumer.poll(0, 0)
    out, _ = lastseen(shop, "load", "shop.csv", "--mapping", "shop.yaml", "--complete-through", "2026-02-01")
    assert "read 4, events 2, quarantined 2" in out
    assert "complete through 2026-02-01T00:00:00Z" in out
    assert f"left to the worker that runs: {log.name} is being read by process {os.getpid()}" in " ".join(out.split())
    assert not (shop / "data" / "store").exists()
    consumer.close()
    log.close()
    assert hearing(shop) == ["hello", "goodbye"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("shop.csv", "--mapping", "none.yaml"), "none.yaml: cannot be read"),
        (("none.csv", "--mapping", "shop.yaml"), "none.csv: there is no such file"),
        (("shop.csv", "--mapping", "bad.yaml"), "bad.yaml:5: events.0.step: is missing"),
        (("shop.csv", "--mapping", "other.yaml"), "other.yaml:5: events.0.time: the source has no field 'at'"),
        (("shop.csv", "--mapping", "shop.yaml", "--complete-through", "2199-01-01"), "--complete-through"),
        (("shop.csv", "--mapping", "shop.yaml", "--complete-through", "2099-01-01"), "still to come"),
        (("shop.csv", "--mapping", "shop.yaml", "--complete-through", "soon"), "--complete-through"),
        (("postgresql://reader:hunter2@127.0.0.1/shop", "--mapping", "shop.yaml"), "LASTSEEN_SOURCE_PASSWORD"),
    ],
)
def test_refusals_are_one_sentence_and_change_nothing(shop: Path, arguments: tuple[str, ...], told: str) -> None:
    (shop / "bad.yaml").write_text(MAPPING.replace("step: placed, ", ""))
    (shop / "other.yaml").write_text(MAPPING.replace("time: placed", "time: at"))
    out, said = lastseen(shop, "load", *arguments, code=2)
    assert told in said
    assert "hunter2" not in said + out
    assert not (shop / "data" / "log.sqlite").exists() or not hearing(shop)
