"""The fold of control, rule by rule (DESIGN.md §4)."""

from __future__ import annotations

import pytest

from pipeline.core.hearing import Hearing
from schemas.control import FlowPublished, Partitions
from schemas.errors import Invalid
from schemas.landscape import Landscape
from tests.core.control_topic import STRICT, S, Topic


@pytest.fixture
def topic() -> Topic:
    return Topic()


def test_nothing_is_vouched_for_before_since(topic: Topic) -> None:
    topic.hello(100, since=40)
    topic.marker(102)
    topic.marker(114)
    assert topic.clock() == 104
    assert topic.deaf(0, 60) == [(0, 40)]
    assert topic.deaf(40, 60) == []


def test_before_a_marker_is_settled_a_clock_stands_at_since(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102, acked={0: 5})
    topic.own(103, 0)
    topic.progress(104, 0, 4)
    assert topic.clock() == 94 == topic.now - 10, "since, and no further than control time less the grace"
    topic.write(130, Partitions(count=1))
    assert topic.clock() == 100
    topic.progress(131, 0, 5)
    assert topic.clock() == 102


def test_a_collector_that_dies_after_its_hello_is_silent(topic: Topic) -> None:
    topic.hello(100, since=0)
    assert topic.hearing().unvouched
    topic.marker(102, "other", system="B")
    topic.alive(104, 120, "other", system="B")
    assert topic.hearing().silent


def test_a_live_sources_clock_never_passes_control_time_less_the_grace(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102, through=500)
    assert topic.clock() == 92


def test_the_slowest_live_source_is_the_systems_clock(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(120, "a", through=108)
    topic.marker(120, "b", through=105)
    assert topic.clock() == 105
    topic.marker(122, "b", through=110)
    assert topic.clock() == 108


def test_a_system_is_heard_where_epochs_cover_it_and_not_between(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.goodbye(150, "a", state="closed")
    topic.hello(200, "b")
    topic.marker(230, "b")
    assert topic.deaf(100, 220) == [(150, 200)]


def test_an_open_goodbye_vouches_on_with_control_time_once_it_is_settled(topic: Topic) -> None:
    topic.hello(100)
    topic.own(100, 0)
    topic.goodbye(110, acked={0: 3})
    topic.progress(200, 0, 2)
    assert topic.clock() == 100, "not settled: what it sent last is not processed"
    topic.progress(300, 0, 3)
    assert topic.clock() == 290
    topic.progress(90_000, 0, 3)
    assert topic.clock() == 89_990
    assert not topic.hearing().silent
    assert topic.deaf(100, 80_000) == []


def test_a_nightly_job_leaves_no_gap_between_its_runs(topic: Topic) -> None:
    for night in range(3):
        at = 100 + night * 86_400
        topic.hello(at, epoch=at)
        topic.marker(at + 2, epoch=at)
        topic.goodbye(at + 4, epoch=at)
    assert topic.deaf(100, at + 3) == []
    assert not topic.hearing().silent


def test_a_closed_goodbye_vouches_up_to_through_and_is_no_silence(topic: Topic) -> None:
    topic.hello(500, boot=400, since=0)
    topic.goodbye(500, through=450, state="closed")
    topic.hello(600, "b", since=0)
    topic.goodbye(600, "b", through=550, state="closed")
    topic.write(90_000, Partitions(count=1))
    assert topic.clock() == 550, "with closed sources only, the greatest"
    assert not topic.hearing().silent
    assert topic.deaf(0, 80_000) == [], "what comes after it is awaited, not missed"


def test_a_closed_source_keeps_its_systems_clock_until_all_it_sent_is_processed(topic: Topic) -> None:
    topic.own(100, 0)
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.goodbye(110, "b", acked={0: 7}, state="closed")
    topic.marker(140, "a")
    assert topic.clock() == 100
    topic.progress(141, 0, 7)
    assert topic.clock() == 131


def test_what_is_loaded_again_takes_no_clock_back(topic: Topic) -> None:
    topic.own(100, 0)
    topic.hello(500, "load", 400, boot=400, since=0)
    topic.goodbye(500, "load", 400, through=450, acked={0: 7}, state="closed")
    topic.progress(501, 0, 7)
    before = topic.hearing()
    topic.hello(600, "load", 570, boot=570, since=0)
    assert topic.hearing() == before, "nor does who reads between its hello and its goodbye see anything else"
    topic.goodbye(600, "load", 570, through=590, acked={0: 14}, state="closed")
    assert topic.clock() == 450
    assert topic.deaf(0, 400) == []
    topic.progress(601, 0, 14)
    assert topic.clock() == 590


def test_a_goodbye_that_a_new_run_overtakes_still_waits_for_its_events(topic: Topic) -> None:
    topic.own(100, 0)
    topic.hello(100, "other")
    topic.hello(100, "job", 1)
    topic.goodbye(110, "job", 1, acked={0: 7})
    topic.hello(120, "job", 2)
    topic.marker(150, "job", 2)
    topic.marker(150, "other")
    assert topic.clock() == 100
    topic.progress(151, 0, 7)
    assert topic.clock() == 141
    assert topic.deaf(100, 140) == []


def test_a_clock_off_by_more_than_two_seconds_is_corrected(topic: Topic) -> None:
    topic.hello(10_000, boot=6_400, since=6_400)  # an hour behind
    topic.marker(10_030, through=6_410, skew=3_600)
    assert topic.clock() == 10_010
    assert topic.fold.skews() == {("a", 1): 3_600 * S}
    assert topic.deaf(10_000, 10_010) == []


def test_a_clock_that_is_ahead_is_corrected_too(topic: Topic) -> None:
    topic.hello(10_000, boot=13_600, since=13_600)
    topic.marker(10_030, through=13_610, skew=-3_600)
    assert topic.clock() == 10_010


def test_two_seconds_are_left_alone_and_the_smallest_difference_counts(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(130, through=110, skew=5)
    topic.marker(131, through=111, skew=2)
    topic.marker(132, through=112, skew=7)
    assert topic.fold.skews() == {}
    assert topic.clock() == 112


def test_a_silent_systems_clock_stays_where_it_was(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(102, "a")
    topic.alive(102, 140, "b")
    topic.hello(140, "other", system="B")
    before = topic.clock()
    topic.alive(142, 160, "other", system="B")
    assert topic.hearing().silent
    assert before == 130
    assert topic.clock() == 140, "what the last that spoke had vouched for, not the first that died"


def test_a_share_of_blind_time_is_tolerated() -> None:
    heard = Hearing("A", 0, deaf=((1_000, 1_001),))
    assert heard.heard(500, 1_501, 0.001)
    assert not heard.heard(500, 1_499, 0.001)
    assert not heard.heard(500, 1_501, 0)
    assert heard.heard(0, 1_000, 0)
    assert heard.heard(1_001, 2_000, 0)


def test_a_late_hello_is_blind_back_to_its_boot_until_what_it_knows_is_settled(topic: Topic) -> None:
    topic.own(90, 0)
    topic.hello(90, "a")
    topic.alive(92, 130, "a")
    assert topic.clock() == 120
    topic.hello(131, "new", boot=101)
    assert topic.clock() == 101
    assert topic.deaf(90, 200) == [(101, 131)]
    topic.marker(132, "new", acked={0: 4})
    assert topic.deaf(90, 200) == [(101, 131)]
    topic.progress(133, 0, 4)
    topic.marker(143, "a")
    assert topic.deaf(90, 200) == []
    assert topic.clock() == 132


def test_a_hello_within_the_grace_is_not_late(topic: Topic) -> None:
    topic.hello(90, "a")
    topic.alive(92, 130, "a")
    topic.hello(131, "new", boot=121)
    assert topic.deaf(90, 200) == []


def test_what_was_shed_is_counted_and_the_next_epoch_leaves_the_gap(topic: Topic) -> None:
    topic.hello(100, epoch=100)
    topic.marker(102, epoch=100)
    topic.marker(130, epoch=100, through=110, shed=5)  # through stays where the first was shed
    assert topic.fold.epochs["a", 100].shed == 5
    assert topic.clock() == 110
    topic.hello(131, epoch=131)
    topic.marker(150, epoch=131)
    assert topic.deaf(100, 140) == [(110, 131)]


@pytest.mark.parametrize("state", ["open", "closed"])
@pytest.mark.parametrize("skew", [None, -1.5, 1.5, -3_600, 3_600])
def test_a_goodbye_does_not_vouch_for_what_was_shed(topic: Topic, state: str, skew: float | None) -> None:
    """Nor while others of the system speak on; with a clock that is off by less than is corrected, to the source's own end."""
    topic.hello(90, "other")
    away = skew or 0
    topic.hello(100, boot=100 - away)
    topic.marker(102, through=102 - away, skew=skew)
    topic.goodbye(120, through=110 - away, skew=skew, shed=5, state=state)
    topic.alive(122, 140, "other")
    topic.goodbye(142, "other")
    topic.alive(144, 160, "third", system="B")
    told = 0 if abs(away) > 2 else away
    assert topic.deaf(100, 140) == [(110 - told, 120 - told)]
    assert topic.clock() == 150
    topic.hello(170, epoch=2, boot=170 - away)
    topic.marker(171, epoch=2, through=171 - away, skew=skew)
    assert topic.deaf(100, 165) == [(110 - told, 120 - told)], "and that stays told"


def test_a_goodbye_with_nothing_shed_and_an_import_cut_nothing(topic: Topic) -> None:
    topic.hello(100)
    topic.hello(100, "load", since=-1_000)
    topic.goodbye(120, through=118)
    topic.goodbye(120, "load", through=50, shed=1, state="closed")
    assert topic.deaf(100, 200) == []


def test_a_distrusted_source_is_not_heard_until_it_is_lifted(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.marker(120, "a", through=110)
    topic.distrust(121, "a", since=110)
    topic.alive(122, 140, "b")
    assert topic.deaf(100, 200) == [(110, 200)]
    assert topic.clock() == 130, "it does not hold the others' clock"
    assert topic.fold.distrusted() == {("a", 1)}
    topic.distrust(150, "a", since=110, lifted=True)
    topic.marker(151, "a")
    topic.marker(165, "b")
    assert topic.deaf(100, 200) == [(110, 150)]
    assert topic.fold.distrusted() == set()


def test_a_system_whose_only_source_is_distrusted_is_silent(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(120, through=110)
    topic.distrust(121, since=110)
    topic.marker(122)
    assert topic.hearing().silent
    topic.hello(130, epoch=2)
    assert not topic.hearing().silent, "a new epoch takes its place"
    assert topic.deaf(100, 200) == [(110, 130)]


def test_a_source_may_be_distrusted_before_it_says_hello(topic: Topic) -> None:
    """An import says hello when all is sent; by then its input may have been set aside."""
    topic.distrust(90, since=0)
    topic.hello(100, since=0)
    topic.goodbye(100, state="closed")
    assert topic.hearing().silent
    assert topic.deaf(0, 90) == [(0, 90)]


def test_a_dead_sources_blindness_begins_at_what_was_settled_not_at_what_it_said(topic: Topic) -> None:
    topic.own(100, 0)
    topic.hello(100, "a")
    topic.marker(102, "a", acked={0: 1})
    topic.progress(103, 0, 1)
    topic.marker(106, "a", acked={0: 9})
    topic.hello(106, "other", system="B")
    topic.alive(108, 120, "other", system="B")
    assert topic.deaf(100, 200) == [(102, 200)]
    topic.progress(121, 0, 9)
    assert topic.deaf(100, 200) == [(106, 200)]


def test_the_number_of_partitions_is_a_record(topic: Topic) -> None:
    topic.write(10, Partitions(count=7))
    assert topic.fold.partition_count == 7


def test_of_two_contents_of_a_flows_version_the_first_counts(topic: Topic) -> None:
    for digest in ("x", "y", "x"):
        topic.write(10, FlowPublished(flow="order", version=3, digest=digest, since=0, content={}))
    assert topic.fold.published["order", 3].digest == "x"
    assert [record.digest for record in topic.fold.conflicts] == ["y"]


def test_a_flow_that_we_cannot_read_is_not_left_out(topic: Topic) -> None:
    topic.write(10, FlowPublished(flow="order", version=3, digest="x", since=0, content={"of": "a newer lastseen"}))
    with pytest.raises(Invalid, match="version 3 of the flow order, which this lastseen cannot read"):
        topic.fold.flows()


def test_a_record_that_nobody_can_read_is_counted_and_its_time_counts(topic: Topic) -> None:
    topic.hello(100)
    topic.fold.apply(1, 103 * S, None)
    topic.fold.apply(2, 106 * S, None)
    topic.fold.apply(3, 109 * S, None)
    assert topic.fold.invalid == 3
    assert topic.hearing().silent


def test_an_append_time_that_goes_back_takes_nothing_back(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(130, through=110)
    topic.marker(40, through=112)
    assert topic.fold.now == 130 * S
    assert topic.clock() == 112


def test_a_system_that_was_renamed_is_one_system() -> None:
    topic = Topic(Landscape.model_validate({"tolerate": 0, "systems": {"A": {"former_names": ["Old"]}}}))
    topic.hello(100, "x", system="Old")
    assert topic.fold.systems() == ["A"]


def test_a_stale_marker_after_a_goodbye_changes_nothing_and_a_new_one_brings_the_source_back(topic: Topic) -> None:
    topic.hello(100, "a")
    topic.hello(100, "b")
    topic.goodbye(110, "a")
    topic.marker(111, "a", through=109)
    assert topic.fold.epochs["a", 1].state == "open"
    topic.alive(112, 150, "b")
    assert topic.clock() == 140
    topic.own(150, 0)
    topic.marker(151, "a", acked={0: 1})
    assert topic.fold.epochs["a", 1].state == "live"
    assert topic.deaf(100, 200) == [(110, 151)], "clocks went on without it"
    topic.progress(152, 0, 1)
    assert topic.deaf(100, 200) == []


def test_strict_landscapes_tolerate_nothing() -> None:
    assert STRICT.tolerate == 0
