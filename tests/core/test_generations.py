"""Numbers that come round: which order an event belongs to is a function of the times of all events, not of their order."""

from __future__ import annotations

from itertools import permutations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.generations import Span, ids, nearest, next_id, number_of

REUSE = 1_000


def filed(times: tuple[int, ...]) -> dict[str, set[int]]:
    """What comes of events at these times, in this order."""
    spans: dict[str, Span] = {}
    found: dict[str, set[int]] = {}
    for time in times:
        span = nearest(list(spans.values()), time, REUSE)
        id = span.id if span else next_id("7", spans)
        spans[id] = span.including(time) if span else Span(id, time, time)
        found.setdefault(id, set()).add(time)
    return found


def test_the_ids_of_generations_are_told_and_read_back() -> None:
    assert ids("7", 3) == ["7", "7↻2", "7↻3"]
    assert [number_of(id) for id in ids("7", 3)] == ["7"] * 3
    assert next_id("7", []) == "7"
    assert next_id("7", ["7↻2"]) == "7"
    assert next_id("7", ["7", "7↻2", "7↻4"]) == "7↻3"


def test_any_order_of_arrival_gives_the_same_orders() -> None:
    first, second = {0, 400, 900}, {2_500, 2_900}
    for times in permutations([*first, *second]):
        assert sorted(map(sorted, filed(times).values())) == [sorted(first), sorted(second)]


def test_in_the_order_of_time_the_first_keeps_the_number() -> None:
    assert filed((0, 900, 2_500, 5_000)) == {"7": {0, 900}, "7↻2": {2_500}, "7↻3": {5_000}}


def test_an_event_between_two_is_the_nearer_ones_and_of_equally_near_ones_the_earlier() -> None:
    spans = [Span("7↻2", 3_000, 3_000), Span("7", 0, 1_500)]
    assert nearest(spans, 2_100, REUSE) == spans[1]
    assert nearest(spans, 2_400, REUSE) == spans[0]
    assert nearest(spans, 2_250, REUSE) == spans[1]
    assert nearest(spans, 4_001, REUSE) is None


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.integers(0, REUSE), min_size=1, max_size=4, unique=True), min_size=1, max_size=4), st.randoms()
)
def test_orders_no_longer_than_reuse_after_and_further_apart_are_told_apart_in_any_order(
    offsets: list[list[int]], random: Random
) -> None:
    orders = [{place * (2 * REUSE + 1) + offset for offset in own} for place, own in enumerate(offsets)]
    times = [time for own in orders for time in own]
    random.shuffle(times)
    assert sorted(map(sorted, filed(tuple(times)).values())) == sorted(map(sorted, orders))
