"""Leases, blindness, and what ends it: sources that fall silent, are gone, or begin anew (DESIGN.md §4)."""

from __future__ import annotations

import pytest

from schemas.control import Gone, Partitions
from tests.core.control_topic import S, Topic


@pytest.fixture
def topic() -> Topic:
    return Topic()


def test_a_lease_is_three_times_every_and_runs_on_control_time(topic: Topic) -> None:
    topic.hello(100, every=4)
    topic.marker(104)
    topic.hello(104, "other", system="B")
    topic.alive(106, 116, "other", system="B")
    assert not topic.hearing().silent, "twelve seconds are not over: 104 + 12"
    topic.marker(117, "other", system="B")
    assert topic.hearing().silent
    assert topic.deaf(100, 200) == [(104, 200)], "blind from what was settled last"


def test_a_gap_in_control_renews_every_lease_at_its_end(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102)
    topic.hello(102, "other", system="B")
    topic.marker(1_000, "other", system="B")
    assert not topic.hearing().silent, "nobody could have renewed"
    topic.alive(1_002, 1_006, "other", system="B")
    assert not topic.hearing().silent
    topic.marker(1_008, "other", system="B")
    assert topic.hearing().silent
    assert topic.fold.epochs["a", 1].expired_at == 1_006 * S


def test_a_gap_that_compaction_left_renews_nothing(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102)
    topic.rows.append(topic.rows[-1])  # an offset that is gone
    topic.write(1_000, Partitions(count=1))
    topic.write(1_001, Partitions(count=1))
    assert topic.hearing().silent
    assert topic.fold.epochs["a", 1].expired_at == 108 * S


def test_after_fifteen_minutes_a_source_is_gone_and_frees_the_others(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(102, "a")
    topic.alive(102, 1_006, "b")
    assert topic.fold.epochs["a", 1].state == "silent"
    assert topic.deaf(100, 2_000) == [(102, 2_000)]
    assert topic.clock() == 996, "the clock is the others'"
    topic.marker(1_008, "b")
    assert topic.fold.epochs["a", 1].state == "gone"
    assert topic.deaf(100, 2_000) == [(102, 1_008)], "lease ended at 108, gone at 1008"
    assert not topic.hearing().silent


def test_where_there_is_no_other_the_gap_stays_open_until_one_speaks(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.marker(102, "a")
    topic.hello(102, "other", system="B")
    topic.alive(102, 1_200, "other", system="B")
    assert topic.fold.epochs["a", 1].state == "gone"
    assert topic.deaf(100, 9_000) == [(102, 9_000)]
    assert topic.hearing().silent
    topic.hello(1_202, "new")
    assert topic.deaf(100, 9_000) == [(102, 1_202)]
    assert not topic.hearing().silent


def test_a_person_can_say_that_a_source_is_gone(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(102, "a")
    topic.alive(102, 120, "b")
    topic.write(121, Gone(source="a"))
    assert topic.deaf(100, 500) == [(102, 121)]
    topic.write(300, Gone(source="a"))
    assert topic.deaf(100, 500)[0] == (102, 121), "said again it changes nothing"


def test_what_is_gone_by_time_alone_is_written_down_once(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.alive(102, 1_010, "b")
    (record,) = topic.fold.departed()
    assert record == Gone(source="a", epoch=1, at=1_006 * S)
    topic.write(1_020, record)
    assert topic.fold.departed() == []
    assert topic.fold.epochs["a", 1].gone_at == 1_006 * S


def test_what_was_written_down_of_a_source_that_came_back_meanwhile_does_nothing(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.alive(102, 1_010, "b")
    (record,) = topic.fold.departed()
    topic.marker(1_011, "a")
    topic.write(1_012, record)
    assert topic.fold.epochs["a", 1].live


def test_a_new_epoch_ends_the_old_one_and_a_later_record_of_the_old_one_revives_it(topic: Topic) -> None:
    topic.hello(100, epoch=1)
    topic.marker(102, epoch=1)
    topic.hello(105, epoch=2)
    topic.marker(130, epoch=2)
    assert topic.fold.epochs["a", 1].state == "ended"
    assert topic.deaf(100, 120) == [(102, 105)]
    topic.marker(131, epoch=1)
    assert topic.fold.epochs["a", 1].state == "live"
    assert topic.deaf(100, 120) == []


def test_a_third_epoch_ends_also_the_first_that_had_been_revived(topic: Topic) -> None:
    topic.hello(100, epoch=1)
    topic.hello(101, epoch=2)
    topic.marker(102, epoch=1)
    topic.hello(103, epoch=3)
    assert [topic.fold.epochs["a", n].state for n in (1, 2, 3)] == ["ended", "ended", "live"]


def test_an_epoch_that_is_older_ends_nothing(topic: Topic) -> None:
    topic.hello(100, epoch=2)
    topic.hello(101, epoch=1)
    assert topic.fold.epochs["a", 2].live
