"""``lastseen forget`` and ``lastseen late``: what they show, what they write, how they end; and on a real folder, what is left."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pipeline.store.contract import EventRow
from schemas.joined import Forget, Lines
from schemas.times import DAY, MINUTE
from tests.answers.world import BEGIN, NOW, event, fill, keep
from tests.cli.test_commands import World
from tests.cli.test_processes import Place, emit, place
from tracer.record import EVENTS, KIND, Record
from tracer.sinks import open_sink

__all__ = ["place"]


@pytest.fixture
def world() -> World:
    made = World()
    fill(made.memory)
    keep(made.memory, "payment", "PAY-7", NOW - MINUTE, "k1")
    return made


def said(world: World) -> list[Record]:
    return [record for part in world.events.broker.topics[EVENTS] for record in part.rows]  # type: ignore[misc]


def test_a_dry_run_shows_what_would_go_and_writes_nothing(world: World) -> None:
    result = world.run("forget", "customer:C7", "--dry-run")
    assert "order 17 goes" in result.stderr
    assert "order 18 goes" in result.stderr
    assert "cart 17 goes" in result.stderr
    assert said(world) == []
    data = json.loads(world.run("forget", "customer:C7", "--dry-run", "--format", "json").stdout)
    assert (data["key"], data["refused_already"]) == (["customer", "C7"], False)
    assert data["transactions"] == [["cart", "17"], ["order", "17"], ["order", "18"]]
    assert data["rows"]["events"] >= 3


def test_it_asks_first_and_no_is_no(world: World) -> None:
    result = world.invoke("forget", "customer:C7")
    assert (result.exit_code, said(world)) == (130, []), "no answer"
    assert "interrupted" in result.output


def test_the_word_goes_into_every_partition_with_one_salt(world: World) -> None:
    result = world.run("forget", "customer:C7", "--yes", "--why", "asked by mail", "--wait", "0", code=1)
    assert "not done yet: no worker has read the word in partition 0, 1" in result.stdout
    records = said(world)
    assert len(records) == world.events.partitions()
    assert {dict(record.headers)[KIND] for record in records} == {b"forget"}
    words = [word for record in records for word in Lines(Forget).read(record.value)]
    assert {(word.key, word.mode, word.why) for word in words} == {("customer:C7", "key", "asked by mail")}
    assert len({word.salt for word in words}) == 1


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("17", "write cart:17 or order:17"),
        ("nobody", "to forget it nonetheless write TYPE:VALUE"),
        ("order:", "normalised"),
    ],
)
def test_what_is_no_key_is_refused_in_a_sentence(world: World, key: str, says: str) -> None:
    assert says in world.run("forget", key, "--yes", code=2).output
    assert said(world) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("customer:a\tb",), "no worker would take this word"),
        (("customer:C7", "--why", "w" * 5000), "no worker would take this word"),
        (("customer:\udcff",), "lone surrogate"),
        (("\udcff",), "lone surrogate"),
        (("customer:C7", "--why", "\udcff"), "lone surrogate"),
    ],
)
def test_a_word_that_no_worker_would_take_is_not_written(world: World, args: tuple[str, ...], says: str) -> None:
    assert says in world.run("forget", *args, "--yes", "--wait", "0", code=2).output
    assert said(world) == []


def test_a_value_that_is_one_thing_only_needs_no_type_and_is_normalised(world: World) -> None:
    assert "customer C7: 3 transactions" in world.run("forget", " C7 ", "--dry-run").stderr
    assert "order 17 goes" in world.run("forget", "order:00017", "--dry-run").stderr
    kept = world.run("forget", "payment:pay-7", "--dry-run").stderr
    assert "payment PAY-7: 0 transactions; rows: 1 in kept" in kept


def test_late_events_are_shown_in_every_form(world: World) -> None:
    assert "Nothing came after" in world.run("late").stdout
    world.run("late", "--fail-on", "any")
    row = event("x1", "paid", BEGIN - 100 * DAY, {"order": "3"})
    world.memory.write_late([EventRow("order", "3", row, b"{}")])
    assert "order 3" in world.run("late").stdout
    (data,) = json.loads(world.run("late", "--format", "json").stdout)
    assert (data["transaction_id"], data["event_id"], data["step"]) == ("3", "x1", "paid")
    assert world.run("late", "--format", "csv").stdout.startswith("key_type,transaction_id,event_id")
    world.run("late", "--fail-on", "any", code=1)
    assert "lastseen late" in world.invoke("doctor").output


SCAN = """
import json, sys
from pipeline.store import open_store
store = open_store(f"chdb://{sys.argv[1]}", {})
client = store._client
ours = "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View'"
tables = [row[0] for row in client.rows(ours)]
text = "SELECT count() FROM {} WHERE position(toString(tuple(*)), {{value:String}}) > 0"
print(json.dumps({t: n for t in tables if (n := client.rows(text.format(t), {"value": sys.argv[2]})[0][0])}))
store.close()
"""


def holding(place: Place, value: str) -> dict[str, int]:
    """Tables of the real folder in which a value stands anywhere, as text."""
    folder = str(place.folder / "data" / "store")
    done = subprocess.run(
        [sys.executable, "-c", SCAN, folder, value], capture_output=True, text=True, check=True, env=place.env
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_on_a_real_folder_nothing_is_left_and_nothing_comes_back(place: Place) -> None:
    place.run("setup")
    emit(place, "10248", "10249")
    sink = open_sink(f"sqlite:///{place.folder / 'data' / 'log.sqlite'}")
    sink.produce([Record(EVENTS, b"x", body) for body in (b'{"order": "10248", "torn', b'{"order": "102480"}')])
    sink.close()
    place.run("worker", "--drain")
    assert set(holding(place, "10248")) >= {"events", "verdicts", "keys", "quarantine"}
    report = json.loads(place.run("forget", "order:10248", "--yes", "--format", "json"))
    assert report["done"] is True
    assert {row["where"]: row["left"] for row in report["tables"]}.keys() >= {
        "events",
        "verdicts",
        "keys",
        "quarantine",
    }
    assert not any(row["left"] for row in report["tables"])
    assert report["log_removed_by"] == "as soon as it was processed"
    assert "10248" not in json.dumps(report)
    assert holding(place, "10248") == {"quarantine": 1}, "another number's torn bytes"
    assert set(holding(place, "10249")) >= {"events", "verdicts", "keys"}
    emit(place, "10248", "10250")
    place.run("worker", "--drain")
    assert holding(place, "10248") == {"quarantine": 1}
    listed = {row["transaction_id"] for row in json.loads(place.run("list", "--format", "json"))}
    assert listed == {"10249", "10250"}
