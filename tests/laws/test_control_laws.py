"""Laws of the fold of control, over random schedules of sources, crashes, zombies and forwarding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.control import ControlFold
from pipeline.core.epoch import Epoch
from tests.core.control_topic import S, compacted, fold_of
from tests.laws.control_world import LANDSCAPE, SYSTEMS, Event, World

SEEDS = st.integers(0, 2**32)


def vouched_wrongly(fold: ControlFold, event: Event) -> bool:
    """Whether the fold says that the event's system was heard at the moment when the event became known, though the event is
    lost, unsent, or not processed through all its forwarding."""
    if event.complete:
        return False
    at = round(event.known * S)
    heard = fold.hearing(event.system)
    return at < heard.clock and heard.heard(at, at + 1, 0)


def excused(epoch: Epoch | None, event: Event) -> bool:
    """What the rules give up: what a source observed after it was gone; or before its hello, of which nobody can know."""
    return epoch is None or (epoch.gone_at is not None and event.known * S >= epoch.gone_at)


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_nothing_is_vouched_for_that_was_not_processed(seed: int) -> None:
    world = World(seed)
    seen = 0
    for _ in range(250):
        world.step()
        if len(world.topic.rows) == seen:
            continue
        seen = len(world.topic.rows)
        fold = world.topic.fold
        for event in world.events:
            process = event.boot
            if vouched_wrongly(fold, event):
                epoch = fold.epochs.get((process.name, process.epoch))
                assert excused(epoch, event), f"{event} by {process} at {world.now}: {fold.hearing(event.system)}"


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_what_was_sent_is_vouched_for_in_the_end(seed: int) -> None:
    """The rules do not stand still: with all processed and every source alive and marking, clocks are a grace behind."""
    world = World(seed)
    for _ in range(200):
        world.step()
    for name in SYSTEMS:
        process = world.sources[name]
        if process is None or process.ended:
            world.boot(name)
        process = world.sources[name]
        assert process is not None
        process.cut_off = False
        if not process.said_hello:
            world.hello(process)
        world.send(process, len(process.unsent))
    world.finish()
    for _ in range(30):
        world.pass_time(1)
        for process in world.sources.values():
            assert process is not None
            world.marker(process)
    for system in set(SYSTEMS.values()):
        heard = world.topic.fold.hearing(system)
        assert not heard.silent
        assert heard.clock == world.topic.fold.now - LANDSCAPE.grace
        assert heard.heard(heard.clock - S, heard.clock, 0) or world.topic.fold.departed() == []


def answers(fold: ControlFold) -> dict[str, object]:
    return {
        "hearing": {system: fold.hearing(system) for system in sorted(set(SYSTEMS.values()))},
        "fences": {number: (known.fence, known.position) for number, known in fold.partitions.items()},
        "states": {key: (epoch.state, epoch.settled) for key, epoch in fold.epochs.items()},
        "gone": {key: epoch.gone_at for key, epoch in fold.epochs.items() if epoch.state == "gone"},
        "processed": fold.processed(),
        "now": fold.now,
    }


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.lists(st.integers(1, 40), min_size=1, max_size=10))
def test_the_fold_says_the_same_whatever_the_batches_and_whoever_asks_in_between(seed: int, sizes: list[int]) -> None:
    world = World(seed)
    for _ in range(200):
        world.step()
    rows = world.topic.rows
    asked = ControlFold(LANDSCAPE)
    start, turn = 0, 0
    while start < len(rows):
        size = sizes[turn % len(sizes)]
        for row in rows[start : start + size]:
            asked.apply(*row)
        answers(asked)
        start, turn = start + size, turn + 1
    assert answers(asked) == answers(fold_of(rows, LANDSCAPE)) == answers(world.topic.fold)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(300, 400))
def test_compaction_changes_no_clock_no_blind_interval_and_no_fence(seed: int, lag: int) -> None:
    """With everything processed, a reader of what compaction left knows what the others know."""
    world = World(seed)
    for _ in range(1_200):
        world.step()
    world.finish()
    world.pass_time(1)
    world.finish()
    rows = compacted(world.topic.rows, lag * S)
    assert answers(fold_of(rows, LANDSCAPE)) == answers(world.topic.fold)


def test_compaction_leaves_something_out() -> None:
    """Else the law above says nothing."""
    world = World(1)
    for _ in range(1_200):
        world.step()
    assert len(compacted(world.topic.rows, 300 * S)) < 0.9 * len(world.topic.rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_world_has_what_the_laws_are_about(seed: int) -> None:
    """Lost events, forwarding at depth three, zombies whose progress is ignored, epochs of every state."""
    world = World(seed)
    states = set()
    for _ in range(3_000):
        world.step()
        states |= {epoch.state for epoch in world.topic.fold.epochs.values()}
    assert states >= {"live", "silent", "gone", "ended", "open", "closed"}
    assert any(not event.complete for event in world.events)
    assert any(event.complete and len(event.path) == 4 for event in world.events)
    assert world.zombies
