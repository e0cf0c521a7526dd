"""Real input: the Northwind order database, through the example that ships, into every kind of log and store.

What must come out is asked of the database itself, in SQL, with nothing of ours in between.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collectors.inputs import open_input
from collectors.loader import Loader, Tally
from collectors.mapping_file import read_mapping
from pipeline.log import Log, open_log
from pipeline.log.memory import MemoryLog
from pipeline.store.contract import Store, VerdictQuery
from pipeline.store.memory import MemoryStore
from pipeline.worker import Worker
from schemas.flow import Flows
from schemas.flow_file import SHIPPED_FLOWS, load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from schemas.times import DAY, parse_time
from schemas.verdict import VERDICT
from tracer.sinks.memory import wall_clock

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "schemas" / "examples" / "northwind"
DATABASE = REPOSITORY.parent / "shared" / "fixtures" / "northwind" / "northwind.sqlite"

pytestmark = pytest.mark.skipif(not DATABASE.exists(), reason=f"no Northwind database at {DATABASE}")


class Truth(NamedTuple):
    """``late``: order to days after its required date. ``amounts``: order to money."""

    orders: set[str]
    unshipped: dict[str, str]
    late: dict[str, int]
    amounts: dict[str, float]


@pytest.fixture(scope="module")
def truth() -> Truth:
    with sqlite3.connect(f"file:{DATABASE}?mode=ro&immutable=1", uri=True) as db:
        rows = db.execute("SELECT OrderID, OrderDate, RequiredDate, ShippedDate FROM Orders").fetchall()
        money = db.execute(
            'SELECT OrderID, sum(UnitPrice * Quantity * (1 - Discount)) FROM "Order Details" GROUP BY 1'
        ).fetchall()
    late = {
        str(order): (date.fromisoformat(shipped) - date.fromisoformat(required)).days
        for order, _, required, shipped in rows
        if shipped and shipped > required
    }
    unshipped = {str(order): placed for order, placed, _, shipped in rows if not shipped}
    return Truth({str(row[0]) for row in rows}, unshipped, late, {str(order): amount for order, amount in money})


@pytest.fixture(scope="module")
def definitions() -> tuple[Flows, Landscape]:
    folders = [SHIPPED_FLOWS, EXAMPLE]
    landscape = load_landscape(folders)
    return load_flows(folders, landscape), landscape


class Said(NamedTuple):
    """What is said of an order, whenever and however it was loaded. ``late``: µs."""

    status: str
    drop: tuple[str, ...]
    since: int
    late: int
    value: float
    currency: str
    started_at: int
    ended_at: int


def said(store: Store) -> dict[str, Said]:
    found = {}
    for row in store.verdicts(VerdictQuery(flows=("northwind",))):
        drop = (row.drop_kind, row.drop_from, row.drop_from_system, row.drop_to, row.drop_system)
        findings = VERDICT.validate_json(row.body).findings if row.findings else ()
        late = sum(finding.amount for finding in findings if finding.kind == "late")
        assert set(row.findings) <= {"late"}
        found[row.transaction_id] = Said(
            row.status, drop if row.drop_kind else (), row.drop_since, late, row.value or 0, row.currency,
            row.started_at, row.ended_at,
        )  # fmt: skip
    return found


def check(found: Mapping[str, Said], truth: Truth) -> None:
    """830 orders; 21 lost, each with its drop; 37 late, each with how late; all with their money."""
    assert set(found) == truth.orders
    assert len(found) == 830
    lost = {order: one for order, one in found.items() if one.status == "lost"}
    assert set(lost) == set(truth.unshipped)
    assert len(lost) == 21
    for order, one in lost.items():
        assert one.drop == ("between", "placed", "orders", "shipped", "shipping")
        assert one.since == parse_time(f"{truth.unshipped[order]}T00:00:00Z")
    late = {order: one.late // DAY for order, one in found.items() if one.late}
    assert late == truth.late
    assert len(late) == 37
    assert {one.status for order, one in found.items() if order not in lost} == {"completed"}
    assert {one.currency for one in found.values()} == {"USD"}
    assert {order: one.value for order, one in found.items()} == pytest.approx(truth.amounts, abs=0.006)


def load(log: Log, landscape: Landscape, mapping: Path = EXAMPLE / "mapping.yaml", through: str = "") -> Tally:
    file = read_mapping(mapping)
    source, sink = open_input(str(DATABASE), file.mapping, wall_clock, env={}), log.producer()
    try:
        return Loader(file, sink, wall_clock, landscape.transaction_types()).load(
            source, through=parse_time(through) if through else None
        )
    finally:
        source.close()
        sink.close()


def drain(log: Log, store: Store, definitions: tuple[Flows, Landscape]) -> None:
    flows, landscape = definitions
    worker = Worker(log, store, flows=flows, landscape=landscape)
    try:
        worker.drain()
    finally:
        worker.close()


def backwards(folder: Path) -> Path:
    """The example's mapping, reading the orders from the last to the first."""
    text = (EXAMPLE / "mapping.yaml").read_text(encoding="utf-8")
    end = "AS t ON t.OrderID = o.OrderID\n"
    assert text.count(end) == 1
    path = folder / "backwards.yaml"
    path.write_text(text.replace(end, end + "  ORDER BY o.OrderID DESC\n"), encoding="utf-8")
    return path


def test_in_memory_twice_and_backwards(truth: Truth, definitions: tuple[Flows, Landscape], tmp_path: Path) -> None:
    log, store = MemoryLog(4), MemoryStore()
    tally = load(log, definitions[1])
    assert (tally.read, tally.events, tally.quarantined, tally.without) == (830, 1639, 0, 0)
    drain(log, store, definitions)
    once = said(store)
    check(once, truth)
    flips = {order: store.flips(("order", order)) for order in truth.orders}
    for mapping in (EXAMPLE / "mapping.yaml", backwards(tmp_path)):
        load(log, definitions[1], mapping)
        drain(log, store, definitions)
        assert said(store) == once
        assert {order: store.flips(("order", order)) for order in truth.orders} == flips
        assert store.count_events() == 1639
    alone, other = MemoryLog(3), MemoryStore()
    load(alone, definitions[1], backwards(tmp_path))
    drain(alone, other, definitions)
    assert said(other) == once


def test_an_older_extract_accuses_nobody(truth: Truth, definitions: tuple[Flows, Landscape]) -> None:
    """The list ends before most orders were due: what is not known is in progress. A later one settles it."""
    log, store = MemoryLog(4), MemoryStore()
    load(log, definitions[1], through="2018-05-07T00:00:00Z")
    drain(log, store, definitions)
    open_ones = {order: one for order, one in said(store).items() if order in truth.unshipped}
    assert sorted(one.status for one in open_ones.values()) == ["in_progress"] * 20 + ["stalled"]
    load(log, definitions[1])
    drain(log, store, definitions)
    check(said(store), truth)


def lastseen(data: Path, *arguments: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}
    command = [sys.executable, "-c", "from pipeline import main; main()", *arguments]
    done = subprocess.run(
        [*command, "--data", str(data), "--flows", str(EXAMPLE)],
        cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_on_the_embedded_default_by_the_command(truth: Truth, tmp_path: Path) -> None:
    def orders() -> dict[str, dict[str, Any]]:
        rows = json.loads(lastseen(tmp_path, "list", "--flow", "northwind", "--limit", "1000", "--format", "json"))
        return {row["transaction_id"]: row for row in rows}

    command = ("load", str(DATABASE), "--mapping", str(EXAMPLE / "mapping.yaml"))
    out = lastseen(tmp_path, *command)
    assert "read 830, events 1639, quarantined 0" in out
    assert "830 transactions, 809 completed, 21 lost" in out
    once = orders()
    assert set(once) == truth.orders
    assert {order for order, row in once.items() if row["status"] == "lost"} == set(truth.unshipped)
    assert "830 transactions, 809 completed, 21 lost" in lastseen(tmp_path, *command)
    assert {order: row["status"] for order, row in orders().items()} == {
        order: row["status"] for order, row in once.items()
    }
    (answer,) = json.loads(lastseen(tmp_path, "lookup", "11077", "--format", "json"))
    assert (answer["flow"], answer["status"]) == ("northwind", "lost")
    assert (answer["drop"]["from_step"], answer["drop"]["to_step"]) == ("placed", "shipped")
    late = next(iter(truth.late))
    (answer,) = json.loads(lastseen(tmp_path, "lookup", late, "--format", "json"))
    assert [finding["kind"] for finding in answer["findings"]] == ["late"]


@pytest.fixture
def kafka_log(kafka: str) -> Iterator[Log]:
    log = open_log(kafka, os.environ)
    log.create(4)
    yield log
    log.close()


def test_through_kafka_with_two_workers(kafka_log: Log, truth: Truth, definitions: tuple[Flows, Landscape]) -> None:
    """Both members of one group, in turn on one thread: the store in memory is one process's."""
    flows, landscape = definitions
    store = MemoryStore()
    workers = [Worker(kafka_log, store, flows=flows, landscape=landscape, name=f"worker-{n}") for n in (1, 2)]
    shares: list[int] = [0, 0]

    def until(done: Any, what: str) -> None:
        deadline = time.monotonic() + 90
        while not done():
            assert time.monotonic() < deadline, what
            for number, worker in enumerate(workers):
                worker.step(50)
                shares[number] = worker.counters.events

    try:
        until(lambda: all(worker.owned for worker in workers), "both workers own partitions")
        for _ in range(2):
            before = sum(shares)
            load(kafka_log, landscape)
            until(lambda before=before: sum(shares) == before + 1639, "all events were read")
            until(lambda: store.count_verdicts().get(("northwind", "lost"), 0) == 21, "what was lost is found")
            check(said(store), truth)
    finally:
        for worker in workers:
            worker.close()
    assert all(shares)
    assert store.count_events() == 1639
