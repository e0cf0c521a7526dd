"""Running numbers in the core: sets of ranges, and what the fold of control claims of a source."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import epoch
from pipeline.core.ranges import Range, below, count, union, without
from schemas.control import Goodbye, Marker
from tests.core.control_topic import S, Topic, compacted, fold_of

RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


def members(ranges: list[Range]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def assert_tidy(ranges: list[Range]) -> None:
    assert all(first <= last for first, last in ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


@given(RANGES, RANGES, st.integers(0, 30))
def test_ranges_are_sets(some: list[Range], others: list[Range], end: int) -> None:
    one, other = union(some), union(others)
    assert members(one) == members(some)
    assert members(union(some, others)) == members(some) | members(others)
    assert members(without(one, other)) == members(one) - members(other)
    assert members(below(one, end)) == {number for number in members(one) if 1 <= number <= end}
    assert count(one) == len(members(one))
    for made in (one, without(one, other), below(one, end)):
        assert_tidy(made)


def say(topic: Topic, at: float, sent: int, accounted: int | None, position: int, **more: object) -> None:
    said = {"source": "a", "epoch": 1, "systems": ("A",), "through": int(at * S), "acked": {0: position}, "sent": sent}
    topic.write(at, Marker.model_validate({**said, "accounted": accounted, **more}))


def test_a_number_is_owed_when_the_marker_that_accounts_for_it_is_settled() -> None:
    topic = Topic()
    topic.own(90, 0)
    topic.hello(100)
    say(topic, 102, sent=9, accounted=5, position=3)
    say(topic, 104, sent=12, accounted=12, position=6)
    source = topic.fold.epochs["a", 1]
    assert (source.sent, source.owed, source.numbered) == (12, 0, True)
    topic.progress(105, 0, 5)
    assert source.owed == 5
    topic.progress(106, 0, 6)
    assert source.owed == 12
    assert fold_of(compacted(topic.rows, 0), topic.fold.landscape).epochs["a", 1].owed == 12


def test_a_source_that_does_not_say_owes_what_it_says_it_sent() -> None:
    topic = Topic()
    topic.own(90, 0)
    topic.hello(100)
    say(topic, 102, sent=9, accounted=None, position=3)
    topic.progress(105, 0, 3)
    source = topic.fold.epochs["a", 1]
    assert (source.owed, source.numbered) == (9, False)
    said = {"source": "a", "epoch": 1, "systems": ("A",), "through": 0, "sent": 9, "accounted": 9}
    topic.write(106, Goodbye.model_validate(said))
    assert source.numbered


def test_what_was_shed_is_cumulative() -> None:
    topic = Topic()
    topic.hello(100)
    say(topic, 102, sent=20, accounted=20, position=0, shed=5, shed_ranges=((3, 4), (8, 10)))
    say(topic, 104, sent=20, accounted=20, position=0, shed=2, shed_ranges=((3, 4),))  # an older one, late
    say(topic, 106, sent=30, accounted=30, position=0, shed=9, shed_ranges=((3, 4), (8, 12), (20, 21), (5, 1)))
    source = topic.fold.epochs["a", 1]
    assert (source.shed, source.shed_ranges) == (9, ((3, 4), (8, 12), (20, 21)))


def test_a_source_that_tells_without_end_is_bound() -> None:
    topic = Topic()
    topic.hello(100)
    for part in range(3):
        ranges = [(n, n) for n in range(1 + part * 20_000, 1 + (part + 1) * 20_000, 2)]
        say(topic, 102 + part, sent=9, accounted=9, position=0, shed_ranges=ranges)
    assert len(topic.fold.epochs["a", 1].shed_ranges) == epoch.MAX_SHED_RANGES
