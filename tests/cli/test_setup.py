"""``lastseen setup --partitions``: what it makes, what it waits for, and what it refuses."""

from __future__ import annotations

import json
import signal

import pytest

from pipeline.cli import setup as command
from pipeline.work.growth import Growth
from pipeline.work.ownership import control_record
from schemas.control import Own, Partitions, Progress, decode_control
from tests.cli.test_commands import World
from tests.cli.test_processes import Place, emit, place
from tracer.record import CONTROL, EVENTS, Record

__all__ = ["place"]


@pytest.fixture
def world() -> World:
    """Four partitions, one record in each, worked on by nobody any more: three are processed."""
    made = World()
    sink = made.events.producer()
    acks = sink.produce([Record(EVENTS, b"order:1", b"{}", (), number) for number in range(4)])
    sink.produce([control_record(Partitions(count=4))])
    for ack in acks:
        (own,) = sink.produce([control_record(Own(partition=ack.partition, after=-1, worker="w"))])
        position = 1 if ack.partition else 0
        sink.produce([control_record(Progress(partition=ack.partition, fence=own.offset, position=position))])
    return made


def process_the_last(world: World) -> None:
    world.events.producer().produce([control_record(Progress(partition=0, fence=1, position=1))])


def partitions_said(world: World) -> list[int]:
    rows = [decode_control(row.value) for row in world.events.broker.topics[CONTROL][0].rows]
    return [row.count for row in rows if isinstance(row, Partitions)]


def test_setup_says_what_there_is(world: World) -> None:
    assert "4 partitions" in world.run("setup").stderr
    assert "4 partitions" in world.run("setup", "--partitions", "4").stderr
    assert partitions_said(world) == [4]


def test_setup_waits_for_what_is_not_processed_and_changes_nothing_without(world: World) -> None:
    said = world.run("setup", "--partitions", "6", "--timeout", "0", code=3).stderr
    assert "waiting: 1 record not processed yet, and no worker runs: lastseen worker --drain processes them" in said
    assert "the events keep their 4 partitions: after 0 seconds 1 record not processed yet" in said
    assert "Nothing was changed; run it again" in said
    assert world.events.partitions() == 4
    assert partitions_said(world) == [4]


def test_setup_waits_for_workers_to_be_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    process_the_last(world)
    member = world.events.consumer()
    member.poll(0, 0)
    monkeypatch.setattr(command, "LOOK_EVERY", 0.01)
    standing, looks = Growth.standing, []

    def look(growth: Growth) -> object:
        looks.append(growth)
        if len(looks) == 3:
            member.close()
        return standing(growth)

    monkeypatch.setattr(Growth, "standing", look)
    said = world.run("setup", "--partitions", "6").stderr
    assert said.count("waiting:") == 1, "once, until it is something else"
    assert "waiting: all is processed; now stop the worker: member 0" in said
    assert "the events have 6 partitions now: start the workers again" in said
    assert world.events.partitions() == 6
    assert partitions_said(world) == [4, 6]


def test_setup_refuses_fewer(world: World) -> None:
    process_the_last(world)
    said = world.run("setup", "--partitions", "3", code=2).stderr
    assert "has 4 partitions, which cannot become 3" in said
    assert world.events.partitions() == 4


def test_two_numbers_are_noticed_and_mended(world: World) -> None:
    """By whatever means: added by somebody else, or a setup that was killed."""
    world.events.extend(7)
    for args in (["setup"], ["doctor"]):
        said = " ".join(world.invoke(*args).output.split())
        assert "7 partitions where control says 4, so no worker works: lastseen setup --partitions 7 mends it" in said
    assert world.invoke("setup").exit_code == 2
    assert world.invoke("doctor").exit_code == 1
    found = json.loads(world.invoke("doctor", "--format", "json").stdout)
    assert [one["state"] for one in found if one["check"] == "partitions"] == ["wrong"]
    assert "7 partitions" in world.run("setup", "--partitions", "7").stderr
    assert partitions_said(world) == [4, 7]
    assert "partitions" not in [one["check"] for one in json.loads(world.run("doctor", "--format", "json").stdout)]


def test_an_embedded_log_is_drained_by_setup_itself(place: Place) -> None:
    place.run("setup", "--partitions", "2")
    place.run("worker", "--drain")
    emit(place, "1", "2", "3", "4", "5")
    place.run("setup", "--partitions", "5")
    emit(place, "6")
    place.run("worker", "--drain")
    found = json.loads(place.run("list", "--flow", "order", "--format", "json"))
    assert sorted(one["transaction_id"] for one in found) == ["1", "2", "3", "4", "5", "6"]


def test_setup_beside_a_running_worker(place: Place) -> None:
    """Which goes on until it is stopped; then the number changes."""
    place.run("setup", "--partitions", "2")
    worker = place.start("worker")
    place.until_said(worker, "working on")
    emit(place, "1", "2", "3")
    growing = place.start("setup", "--partitions", "3")
    place.until_said(growing, "now stop the worker: process")
    assert worker.poll() is None
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert growing.wait(60) == 0
    assert "the events have 3 partitions now" in place.said(growing)
    assert place.run("worker", "--drain") == ""
    assert len(json.loads(place.run("list", "--flow", "order", "--format", "json"))) == 3
