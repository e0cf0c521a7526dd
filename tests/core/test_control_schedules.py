"""Schedules that broke an earlier form of the rules, by their names in the list of faults, against the fold of control."""

from __future__ import annotations

import pytest

from pipeline.core.control import ControlFold
from schemas.control import Partitions
from tests.core.control_topic import STRICT, S, Topic, compacted, fold_of


@pytest.fixture
def topic() -> Topic:
    return Topic()


def test_h3_an_own_written_late_neither_counts_nor_silences_the_owner(topic: Topic) -> None:
    """A stalls before its own; B owns and works; A wakes and writes."""
    first = topic.own(90, 0, after=-1, worker="before")
    second = topic.own(100, 0, after=first, worker="B")
    topic.progress(101, 0, 10, fence=second)
    late = topic.own(102, 0, after=first, worker="A")
    topic.progress(103, 0, 99, fence=late)
    assert topic.fold.partitions[0].worker == "B"
    assert topic.fold.partitions[0].position == 10
    topic.progress(104, 0, 20, fence=second)
    assert topic.fold.partitions[0].position == 20, "B is heard as before"


def test_h5_a_marker_that_settles_vouches_for_all_that_came_before_it(topic: Topic) -> None:
    """Marker {q: 50} is unsettled, then marker {r: 1} settles."""
    q, r = 0, 1
    topic.own(90, q)
    topic.own(90, r)
    topic.hello(100)
    topic.marker(102, acked={q: 50})
    topic.marker(104, acked={r: 1})
    topic.progress(130, r, 1)
    assert topic.clock() == 100, "q is not processed"
    topic.progress(131, q, 50)
    assert topic.clock() == 104


def test_h5_also_where_markers_were_thinned_out_because_we_are_hours_behind(topic: Topic) -> None:
    """Memory is bound; what a marker that was left out acknowledged, the next one stands for."""
    q, r = 0, 1
    topic.own(90, q)
    topic.own(90, r)
    topic.hello(100)
    for number in range(2_000):
        topic.marker(102 + number, acked={q: 1_000 + number} if number % 2 else {r: 1 + number})
    assert len(topic.fold.epochs["a", 1].pending) < 1_000
    topic.progress(9_000, r, 5_000)
    assert topic.clock() <= 102
    topic.progress(9_001, q, 2_500)
    assert 1_000 < topic.clock() <= 102 + 1_500
    topic.progress(9_002, q, 5_000)
    assert topic.clock() == 102 + 1_999


def test_h6_a_restart_before_the_lease_ends_does_not_vouch_for_the_gap(topic: Topic) -> None:
    """What the old process had not sent is lost with it."""
    topic.hello(100, epoch=100)
    topic.marker(102, epoch=100)
    topic.hello(105, epoch=105)
    topic.alive(107, 130, "a", epoch=105)
    assert topic.deaf(100, 120) == [(102, 105)]
    assert not topic.hearing().heard(101 * S, 110 * S, 0)
    assert topic.hearing().heard(105 * S, 110 * S, 0)


def test_h6_nor_while_another_source_of_the_system_speaks_on(topic: Topic) -> None:
    topic.hello(90, "b")
    topic.hello(100, epoch=100)
    topic.marker(102, epoch=100)
    topic.hello(105, epoch=105)
    topic.alive(107, 130, "a", epoch=105)
    topic.alive(107, 130, "b")
    assert topic.deaf(90, 120) == [(102, 105)]


def test_h7_a_source_that_was_cut_off_and_comes_back_with_its_spool(topic: Topic) -> None:
    """Nothing is proved meanwhile, and nothing stays unknown afterwards."""
    topic.own(90, 0)
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(104, "a")
    topic.alive(104, 160, "b")
    assert topic.fold.epochs["a", 1].state == "silent"
    assert not topic.hearing().heard(104 * S, 150 * S, 0), "blind while it is away"
    topic.marker(161, "a", through=110, acked={0: 30})
    assert topic.clock() == 104, "heard again, and far behind"
    assert topic.deaf(100, 200) == []
    topic.marker(162, "a", through=161, acked={0: 80})
    topic.progress(163, 0, 80)
    topic.marker(175, "b")
    assert topic.clock() == 161
    assert topic.hearing().heard(100 * S, 160 * S, 0), "its interval is lifted"


def test_h7_also_where_it_was_gone_meanwhile(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.alive(102, 1_200, "b")
    assert topic.fold.epochs["a", 1].state == "gone"
    topic.marker(1_201, "a", through=1_200)
    assert topic.deaf(100, 1_200) == []


def test_h7_also_where_its_name_had_a_new_epoch_meanwhile(topic: Topic) -> None:
    topic.hello(100, epoch=100)
    topic.hello(105, epoch=105)
    topic.alive(107, 130, "a", epoch=105)
    assert topic.deaf(100, 120) == [(100, 105)]
    topic.marker(131, epoch=100)
    assert topic.deaf(100, 120) == []


def test_h8_a_hello_thirty_seconds_after_the_first_event_withdraws_what_had_passed(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.alive(102, 150, "a")
    assert topic.clock() == 140
    topic.hello(150, "new", boot=120)
    assert topic.clock() == 120, "a clock may step back"
    assert topic.deaf(100, 150) == [(120, 150)]
    assert not topic.hearing().heard(110 * S, 130 * S, 0)


def test_h8_a_hello_after_a_goodbye_withdraws_what_had_passed(topic: Topic) -> None:
    topic.hello(100, epoch=100)
    topic.goodbye(110, epoch=100)
    topic.write(200, Partitions(count=1))
    assert topic.clock() == 190
    topic.hello(200, epoch=170, boot=170)
    assert topic.clock() == 170
    assert topic.deaf(100, 300) == [(170, 200)]
    topic.marker(215, epoch=170)
    assert topic.deaf(100, 300) == []


def test_h9_a_blind_interval_that_is_the_newest_word_of_an_epoch_outlives_compaction(topic: Topic) -> None:
    topic.hello(100, epoch=100)
    topic.alive(102, 110, "a", epoch=100)
    topic.hello(150, epoch=150)
    topic.alive(152, 4_000, "a", epoch=150)
    before, after = topic.fold, fold_of(compacted(topic.rows, 100 * S), STRICT)
    assert len(compacted(topic.rows, 100 * S)) < len(topic.rows) / 10
    assert after.hearing("A") == before.hearing("A")
    assert topic.deaf(100, 3_900) == [(110, 150)]


def test_h9_what_was_gone_is_gone_at_the_same_moment_for_who_reads_it_compacted(topic: Topic) -> None:
    """Also where control was cut off when it died: the gap that put its end off is not there any more."""
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.alive(102, 110, "a")
    topic.alive(600, 1_520, "b")
    (record,) = topic.fold.departed()
    topic.write(1_521, record)
    topic.alive(1_522, 4_000, "b")
    before, after = topic.fold, fold_of(compacted(topic.rows, 100 * S), STRICT)
    assert topic.deaf(100, 3_900) == [(110, 606 + 900)]
    assert after.hearing("A") == before.hearing("A")


def test_h9_a_zombies_progress_is_ignored_whatever_compaction_leaves(topic: Topic) -> None:
    first = topic.own(90, 0)
    topic.hello(100)
    topic.marker(102, acked={0: 50})
    topic.progress(103, 0, 40, fence=first, forwarded={1: {1: 3}})
    second = topic.own(104, 0, after=first)
    topic.progress(105, 0, 40, fence=second, forwarded={1: {1: 3}})
    topic.progress(106, 0, 99, fence=first, forwarded={5: {1: 77}})
    topic.alive(107, 500, "other", system="B")
    after = fold_of(compacted(topic.rows, 10 * S), STRICT)
    assert len(compacted(topic.rows, 10 * S)) < 50
    for fold in (topic.fold, after):
        assert fold.partitions[0].fence == second
        assert fold.partitions[0].position == 40
        assert fold.partitions[0].forwarded == {1: {1: 3}}


def test_h9_trust_that_was_withdrawn_and_given_back_leaves_its_interval(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.distrust(110, since=105)
    topic.distrust(120, since=105, lifted=True)
    topic.distrust(130, since=125)
    topic.distrust(140, since=125, lifted=True)
    topic.alive(142, 600, "a")
    after = fold_of(compacted(topic.rows, 100 * S), STRICT)
    assert topic.deaf(100, 500) == [(105, 120), (125, 140)]
    assert after.hearing("A") == topic.fold.hearing("A")


@pytest.mark.parametrize("pause", [2, 2.9])
def test_h12_ticks_alone_end_the_lease_of_a_dead_source(topic: Topic, pause: float) -> None:
    """Nobody speaks but an idle worker, whose ticks come closer together than half of the shortest lease."""
    topic.own(90, 0)
    topic.hello(100)
    topic.marker(102)
    at = 102.0
    while at < 120:
        at += pause
        topic.progress(at, 0, 0, through=at)
    assert topic.hearing().silent
    assert topic.fold.epochs["a", 1].expired_at == 108 * S


def test_h12_also_of_one_that_speaks_ten_times_a_second(topic: Topic) -> None:
    topic.own(90, 0)
    topic.hello(100, every=0.1)
    for at in range(102, 120, 2):
        topic.progress(at, 0, 0, through=at)
    assert topic.hearing().silent


def test_h12_leases_end_at_one_time_however_far_readers_lag(topic: Topic) -> None:
    """Two readers, one of which reads everything at once an hour later, say the same at every offset that both have read."""
    topic.hello(100)
    topic.marker(102)
    topic.hello(103, "b", system="B")
    topic.alive(105, 150, "b", system="B")
    slow = ControlFold(STRICT)
    for offset, at, record in topic.rows:
        slow.apply(offset, at, record)
        early = fold_of(topic.rows[: offset + 1], STRICT)
        assert slow.hearing("A") == early.hearing("A")
    assert slow.epochs["a", 1].expired_at == 108 * S
