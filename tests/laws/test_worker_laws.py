"""Law 1 through the whole worker: order, duplicates, batches, replays and partitions change no verdict, of any flow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.times import DAY, HOUR
from tests.faults.site import Name, Said, Site
from tests.faults.stories import START, STORIES, Event, flat, stories

ALL = flat(stories())
NOWS = (START + 2 * HOUR, START + 4 * DAY, START + 30 * DAY)


@cache
def expected(now: int) -> dict[Name, Said]:
    """What is said of all events, sent in order, in one batch on one partition."""
    site = Site()
    site.send(ALL, each=50)
    site.hear(now)
    worker = site.worker()
    worker.drain()
    assert site.verdicts() == site.judged(ALL, worker)
    return site.verdicts()


def test_every_flow_that_ships_is_among_them() -> None:
    site = Site()
    assert {flow for flow, _, _ in STORIES} == set(site.flows.versions)
    assert {name[2] for name in expected(NOWS[2])} == set(site.flows.versions)
    assert {said.status for said in expected(NOWS[1]).values()} >= {
        "completed",
        "closed",
        "in_progress",
        "stalled",
        "lost",
    }


def chunks(events: list[Event], sizes: list[int]) -> Iterator[list[Event]]:
    start = 0
    while start < len(events):
        size = sizes[start % len(sizes)]
        yield events[start : start + size]
        start += size


@settings(max_examples=60, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from(NOWS),
    st.integers(1, 5),
    st.integers(1, 200),
    st.lists(st.integers(1, 20), min_size=1, max_size=4),
    st.floats(0, 1),
    st.booleans(),
)
def test_shuffled_doubled_rebatched_and_misplaced(
    random: object, now: int, partitions: int, size: int, sizes: list[int], doubled: float, misplaced: bool
) -> None:
    site = Site(partitions)
    events = [*ALL, *(event for event in ALL if random.random() < doubled)]  # type: ignore[attr-defined]
    random.shuffle(events)  # type: ignore[attr-defined]
    for part in chunks(events, sizes):
        at = random.randrange(partitions) if misplaced else None  # type: ignore[attr-defined]
        site.send(part, each=sizes[0], at=at)
    site.hear(now)
    worker = site.worker(max_records=size)
    worker.drain()
    assert site.verdicts() == expected(now)
    assert site.store.count_events() == len(ALL) + 1


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.lists(st.integers(1, 60), min_size=2, max_size=5))
def test_replayed_from_the_beginning_by_others_in_other_batches(
    random: object, partitions: int, sizes: list[int]
) -> None:
    """The group's commits are thrown away between runs: everything is read again on top of what is stored."""
    site = Site(partitions)
    events = list(ALL)
    random.shuffle(events)  # type: ignore[attr-defined]
    site.send(events, each=3)
    site.hear(NOWS[2])
    flips = None
    for size in sizes:
        worker = site.worker(max_records=size)
        worker.drain()
        worker.close()
        site.log.groups["lastseen"].commits.clear()
        assert site.verdicts() == expected(NOWS[2])
        assert flips in (None, site.flips()), "a replay says nothing new"
        flips = site.flips()
    assert site.store.count_events() == len(ALL) + 1


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 60), st.integers(2, 6))
def test_a_little_at_a_time_with_judging_in_between(random: object, partitions: int, size: int, parts: int) -> None:
    """Events come late, after verdicts were given; a small memory reads them back; in the end nothing shows of it."""
    site = Site(partitions)
    events = list(ALL)
    random.shuffle(events)  # type: ignore[attr-defined]
    worker = site.worker(max_records=size, capacity=random.choice((1, 20, 1_000)))  # type: ignore[attr-defined]
    for number in range(parts):
        site.send(events[number::parts], each=2)
        site.hear(START + (number + 1) * HOUR)
        worker.drain()
    site.hear(NOWS[2])
    worker.drain()
    assert site.verdicts() == expected(NOWS[2])
    for told in site.flips().values():
        assert [flip[0] for flip in told] == list(range(1, len(told) + 1))


@pytest.mark.parametrize("now", NOWS)
def test_several_workers_say_what_one_says(now: int) -> None:
    site = Site(6)
    site.send(ALL, each=2)
    site.hear(now)
    workers = [site.worker(f"w{number}", max_records=5) for number in range(3)]
    for _ in range(30):
        for worker in workers:
            worker.step()
    for worker in workers[1:]:
        worker.close()
    workers[0].drain()
    assert site.verdicts() == expected(now)
