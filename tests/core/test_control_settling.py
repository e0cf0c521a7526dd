"""Settling: markers, progress and forwarding; fences; and systems for which nobody speaks (DESIGN.md §4)."""

from __future__ import annotations

import pytest

from pipeline.core.hearing import NEVER
from schemas.control import Partitions
from tests.core.control_topic import Topic


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_marker_settles_when_every_forwarding_is_processed(topic: Topic, depth: int) -> None:
    """A chain: what is read from partition n at depth n is forwarded to partition n + 1 at depth n + 1."""
    for partition in range(depth + 1):
        topic.own(90, partition)
    topic.hello(100)
    topic.marker(102, acked={0: 1})
    topic.write(130, Partitions(count=depth + 1))
    for level in range(depth):
        topic.progress(131 + level, level, 1, forwarded={level + 1: {level + 1: 1}})
        assert topic.clock() == 100, f"what was forwarded at depth {level + 1} is not processed"
    topic.progress(140, depth, 1)
    assert topic.clock() == 102


def test_a_round_waits_for_what_was_announced_when_the_round_before_ended(topic: Topic) -> None:
    for partition in range(3):
        topic.own(90, partition)
    topic.hello(100)
    topic.marker(102, acked={0: 1, 1: 1})
    topic.progress(130, 0, 1, forwarded={1: {2: 1}})
    topic.progress(131, 2, 1)
    assert topic.clock() == 100, "partition 1 has not passed, and may yet forward"
    topic.progress(132, 1, 1, forwarded={1: {2: 2}})
    assert topic.clock() == 100
    topic.progress(133, 2, 2)
    assert topic.clock() == 102


def test_where_nothing_is_forwarded_rounds_take_no_time(topic: Topic) -> None:
    topic.own(90, 0)
    topic.hello(100)
    topic.progress(101, 0, 50)
    topic.marker(130, through=105, acked={0: 50})
    assert topic.clock() == 105


def test_progress_under_another_fence_is_ignored(topic: Topic) -> None:
    first = topic.own(90, 0)
    second = topic.own(91, 0, after=first)
    topic.progress(92, 0, 100, fence=first, forwarded={1: {1: 9}})
    assert topic.fold.partitions[0].position == 0
    assert topic.fold.partitions[0].forwarded == {}
    topic.progress(93, 0, 3, fence=second)
    assert topic.fold.partitions[0].position == 3


def test_own_counts_only_if_the_fence_is_still_the_last(topic: Topic) -> None:
    first = topic.own(90, 0, worker="one")
    topic.own(91, 0, worker="two")
    assert topic.fold.partitions[0].fence == first
    assert topic.fold.partitions[0].worker == "one"
    third = topic.own(92, 0, after=first, worker="three")
    assert topic.fold.partitions[0].fence == third


def test_a_system_that_no_source_speaks_for_is_as_far_as_all_partitions_are(topic: Topic) -> None:
    topic.write(10, Partitions(count=2))
    topic.own(10, 0)
    topic.own(10, 1)
    assert topic.hearing("Z").unvouched
    assert topic.hearing("Z").clock == NEVER
    topic.progress(500, 0, 5, through=499)
    assert topic.hearing("Z").clock == NEVER, "one partition is not there yet"
    topic.progress(501, 1, 0, through=400)
    assert topic.clock("Z") == 340, "less a settling time of a minute"
