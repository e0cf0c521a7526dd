"""``lastseen sources``: for each system and source, through when it is heard, how far behind, when not, since when not at all."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from pipeline.core.hearing import FOREVER
from pipeline.store.contract import SourceRow
from pipeline.work.diary import Diary
from schemas.control import Hello, Marker
from schemas.times import HOUR, MINUTE, SECOND, format_time
from tests.answers.world import BEGIN, NOW, write_hearing
from tests.cli.test_commands import World
from tests.core.control_topic import S, Topic


def row(source: str, state: str = "live", **more: Any) -> SourceRow:
    made = SourceRow(source, 7, ("shop",), state, BEGIN, NOW, NOW, NOW, 2 * SECOND, 0, 100, 0, NOW)
    return made._replace(**more)


@pytest.fixture
def world() -> World:
    made = World()
    write_hearing(made.memory, clock=NOW - 90 * SECOND)
    return made


def asked(world: World, *args: str) -> dict[str, dict[str, Any]]:
    data = json.loads(world.run("sources", "--format", "json", *args).stdout)
    return {one.get("source") or one["system"]: one for part in data.values() for one in part}


def test_what_is_processed_counts_and_lag_is_what_the_log_is_ahead_of_it(world: World) -> None:
    world.memory.write_sources([row("slow", through=NOW - SECOND, settled=NOW - 3 * MINUTE)])
    one = asked(world)["slow"]
    assert (one["through"], one["heard_through"]) == (format_time(NOW - SECOND), format_time(NOW - 3 * MINUTE))
    assert one["lag_seconds"] == 180
    assert "3 minutes" in world.run("sources").output
    assert asked(world)["shop"]["lag_seconds"] == 90


def test_a_clock_that_is_off_is_corrected_and_shown(world: World) -> None:
    world.memory.write_sources([row("late", settled=NOW - 40 * SECOND, skew=30 * SECOND)])
    world.memory.write_sources([row("close", settled=NOW - 40 * SECOND, skew=SECOND)])
    found = asked(world)
    assert (found["late"]["lag_seconds"], found["late"]["skew_seconds"]) == (10, 30)
    assert found["close"]["lag_seconds"] == 40, "within what is tolerated nothing is corrected anywhere"
    assert "+30.0 s" in world.run("sources").output


def test_before_anything_is_settled_nothing_is_heard(world: World) -> None:
    world.memory.write_sources([row("new", settled=0)])
    one = asked(world)["new"]
    assert (one["heard_through"], one["lag_seconds"]) == (None, None)


@pytest.mark.parametrize("state", ["closed", "open", "ended"])
def test_of_who_said_goodbye_nothing_is_awaited(world: World, state: str) -> None:
    world.memory.write_sources([row("job", state, settled=NOW - HOUR)])
    one = asked(world)["job"]
    assert (one["lag_seconds"], one["silent_since"]) == (None, None)


def test_who_is_silent_says_since_when_and_so_does_its_system(world: World) -> None:
    gap = (BEGIN + HOUR, FOREVER)
    world.memory.write_sources(
        [
            row(
                "wh-2",
                "silent",
                systems=("warehouse",),
                last_record_at=NOW - 2 * HOUR,
                blind=((BEGIN, BEGIN + MINUTE), gap),
                shed=4,
            )
        ]
    )
    found = asked(world)
    assert found["wh-2"]["silent_since"] == found["warehouse"]["silent_since"] == format_time(NOW - 2 * HOUR)
    assert found["warehouse"]["lag_seconds"] is None
    assert found["wh-2"]["not_heard"] == [
        [format_time(BEGIN), format_time(BEGIN + MINUTE)],
        [format_time(BEGIN + HOUR), None],
    ]
    said = " ".join(world.run("sources").output.split())
    assert "warehouse silent 2026-03-08 00:00:00 2 hours since 2026-03-08" in said
    assert "wh-2 silent warehouse 2026-03-09 10:00 2 hours since" in said
    assert "and 1 more" in said


def test_who_is_distrusted_is_not_heard_since_then(world: World) -> None:
    world.memory.write_sources([row("bad", "distrusted", blind=((BEGIN + HOUR, FOREVER),))])
    assert asked(world)["bad"]["silent_since"] == format_time(BEGIN + HOUR)


def test_who_vouches_for_nobody_is_shown_as_such_with_its_counts(world: World) -> None:
    world.memory.write_sources([row("otlp-1", systems=(), sent=1_234, shed=5, settled=NOW, since=1)])
    (line,) = [line for line in world.run("sources").output.splitlines() if line.startswith("otlp-1")]
    assert line.split() == ["otlp-1", "live", "nobody", "1,234", "5"]
    one = asked(world)["otlp-1"]
    assert (one["systems"], one["sent"], one["shed"]) == ([], 1_234, 5)
    assert asked(world)["shop"]["not_heard"] == [], "it is nobody's beginning"


def test_systems_alone_in_every_form(world: World) -> None:
    assert "wh" not in asked(world, "--systems")
    table = list(csv.DictReader(io.StringIO(world.run("sources", "--systems", "--format", "csv").stdout)))
    assert [one["system"] for one in table] == ["warehouse", "shop"]
    assert table[0]["silent_since"] == format_time(BEGIN)
    assert float(table[1]["lag_seconds"]) == 90
    sources = list(csv.DictReader(io.StringIO(world.run("sources", "--format", "csv").stdout)))
    assert {"heard_through", "lag_seconds", "not_heard", "silent_since", "shed", "skew_seconds"} <= set(sources[0])
    said = world.run("sources", "--systems").output
    assert "shop" in said
    assert "shop-1  live" not in said


def test_what_the_fold_knows_is_written_down_and_shown() -> None:
    """From control to the answer: one source falls silent, another vouches for nobody."""
    world, topic = World(), Topic()
    begin = BEGIN // S
    topic.hello(begin, "shop-1", system="shop")
    topic.marker(begin + 2, "shop-1", system="shop")
    topic.write(begin + 3, Hello(source="otlp", epoch=1, systems=(), boot=BEGIN, since=BEGIN))
    for at in range(4, 12, 2):
        topic.write(begin + at, Marker(source="otlp", epoch=1, systems=(), through=BEGIN + at * S, sent=at))
    Diary(world.memory).write(topic.fold, force=True)
    found = asked(world)
    assert found["shop-1"]["not_heard"] == [[format_time(BEGIN + 2 * S), None]]
    assert found["shop-1"]["silent_since"] == found["shop"]["silent_since"] == format_time(BEGIN + 2 * S)
    assert (found["otlp"]["state"], found["otlp"]["systems"], found["otlp"]["sent"]) == ("live", [], 10)
    assert found["otlp"]["not_heard"] == []
