"""What a dead process left, as the fold of control understands it: how long its system was blind (H7, FAULTS 35)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import tracer.sender
from pipeline.core.control import ControlFold
from schemas.control import Goodbye, Own, Progress, decode_control
from schemas.landscape import Landscape
from tests.tracer.support import read_memory
from tests.tracer.test_outbox_laws import World
from tracer.emitter import SECOND
from tracer.record import CONTROL, EVENTS
from tracer.spool_format import HEADER, frame, framed_json

OLD = {"format": 1, "epoch": 1, "first": 1, "state": None, "since": 1, "source": "shop-1", "systems": ["shop"]}


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer.sender, "SLACK", 0)


def folded(world: World) -> ControlFold:
    """Control as a worker reads it that has processed everything."""
    fold = ControlFold(Landscape(tolerate=0))
    rows = world.broker.topics[CONTROL][0].rows
    for offset, row in enumerate(rows):
        fold.apply(offset, row.append_time, decode_control(row.value))
    for number, partition in enumerate(world.broker.topics[EVENTS]):
        fence = len(rows) + 2 * number
        fold.apply(fence, world.now, Own(partition=number, after=-1, worker="w"))
        fold.apply(
            fence + 1,
            world.now,
            Progress(partition=number, fence=fence, position=len(partition.rows), through=world.now),
        )
    return fold


def seconds(world: World, count: int, work: Callable[[], None] = lambda: None) -> None:
    for _ in range(count):
        work()
        world.now += SECOND
        world.put(0)
        world.turn()


def test_the_blind_interval_is_lifted_up_to_the_death(tmp_path: Path) -> None:
    """Heard for 30 s, cut off for 300 s while it went on observing, killed, back 60 s later: blind are the 60 s, not the 360."""
    world = World(tmp_path, limit=10_000_000)
    boot = world.now
    seconds(world, 30, lambda: world.put(1))
    world.broker.down = True
    seconds(world, 300, lambda: world.put(2))
    died = world.now
    world.now += 60 * SECOND
    world.crash()
    back = world.now
    world.broker.down = False
    for _ in range(30):
        world.now += SECOND
        world.put(1)
        world.turn()
    hearing = folded(world).hearing("shop")
    assert hearing.deaf_within(boot, world.now) == ((died, back),)
    assert not hearing.silent
    assert read_memory(world.broker).ids == set(world.known)


def test_without_its_spool_it_is_blind_since_it_was_cut_off(tmp_path: Path) -> None:
    """The counterpart, without which the test above would show nothing."""
    world = World(tmp_path, spooled=False, window=10_000_000)
    boot = world.now
    seconds(world, 30, lambda: world.put(1))
    cut = world.now
    world.broker.down = True
    seconds(world, 300, lambda: world.put(2))
    world.now += 60 * SECOND
    world.crash()
    back = world.now
    world.broker.down = False
    seconds(world, 30)
    ((begin, end),) = folded(world).hearing("shop").deaf_within(boot, world.now)
    assert cut - 3 * SECOND < begin <= cut
    assert end == back


def test_a_nightly_job_whose_goodbye_was_not_heard_leaves_no_gap(tmp_path: Path) -> None:
    world = World(tmp_path)
    boot = world.now
    world.broker.down = True
    world.put(5)
    world.now += 20 * SECOND
    world.put(0)
    world.outbox.end()
    world.now += 3600 * SECOND
    world.crash()
    world.broker.down = False
    seconds(world, 20)
    assert [said.state for said in read_memory(world.broker).of(Goodbye)] == ["open"]
    hearing = folded(world).hearing("shop")
    assert not hearing.silent
    assert hearing.deaf_within(boot, world.now) == ()


@pytest.mark.parametrize(
    ("content", "stays"),
    [
        (b"", ""),
        (b"not a spool", ""),
        (framed_json(HEADER, {"format": 99, "epoch": 1}), ".spool"),
        (framed_json(HEADER, {**OLD, "state": {"no": 1}}), ".broken"),
    ],
)
def test_what_cannot_be_read_keeps_nothing_back(tmp_path: Path, content: bytes, stays: str) -> None:
    """Empty files go, those of another version stay for who knows them, and what makes no sense is set aside."""
    tmp_path.joinpath("0000000000000001-000001.spool").write_bytes(content)
    world = World(tmp_path)
    world.put(3)
    found = world.end()
    assert found.ids == set(world.known)
    assert [path.suffix for path in tmp_path.iterdir() if path.name != "lock"] == ([stays] if stays else [])


def test_a_header_alone_is_no_epoch_to_speak_of(tmp_path: Path) -> None:
    tmp_path.joinpath("0000000000000001-000001.spool").write_bytes(framed_json(HEADER, OLD) + frame(b"E", b"")[:5])
    world = World(tmp_path)
    found = world.end()
    assert {said.epoch for said in found.of(Goodbye)} == {world.epoch}
