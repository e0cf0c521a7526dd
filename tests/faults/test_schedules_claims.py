"""Schedules of claims by their names in FAULTS.md: H4, a release that is cut off; H10, two who claim one alias, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from typing import Any

import pytest

from pipeline.worker import Worker
from schemas.times import HOUR, MINUTE, SECOND
from tests.faults.site import Crash, Crashing, Site
from tests.faults.stage import LABELLED, PAID, PLACED, decided, flows_of
from tests.faults.stories import START, Event
from tests.faults.test_ownership import Pausing
from tracer.record import EVENTS, KIND, Record

FLOWS = flows_of()
Word = tuple[str, str, str]


def event(id: str, what: tuple[str, str], minute: int = 0, **keys: str) -> Event:
    """``minute``: after ``START``."""
    return {"id": id, "system": what[0], "step": what[1], "time": START + minute * MINUTE, "keys": keys}


# H4 ---------------------------------------------------------------------------------------------------------------------

# Parked; its link; and one more that is not parked any more, for the link is known.
RELEASED = [
    event("paid", PAID, 5, payment="P1"),
    event("placed", PLACED, order="1", payment="P1"),
    event("labelled", LABELLED, 6, payment="P1"),
]


def phases(site: Site) -> Iterator[None]:
    """Event by event; then the links that were sent by now arrive again."""
    site.log.trim = lambda positions, *, wipe=False: None  # type: ignore[method-assign]
    for one in RELEASED:
        site.send([one])
        site.time += SECOND
        yield
    again = [
        Record(EVENTS, row.key, row.value, row.headers, number)
        for number, partition in enumerate(site.log.broker.topics[EVENTS])
        for row in partition.rows
        if dict(row.headers)[KIND] == b"link"
    ]
    assert again
    site.produce(again)
    yield
    site.hear(START + HOUR)
    yield


def play(site: Site, next_worker: Callable[[], Worker]) -> Worker:
    worker = next_worker()
    for _ in phases(site):
        while True:
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = next_worker()
    return worker


def released(site: Site) -> None:
    """Everything was released, nothing was called missing meanwhile, and each is there once."""
    (stored,) = site.store.load_events([("order", "1")]).values()
    assert sorted(one.id for one in stored) == ["labelled", "paid", "placed"]
    assert {name: said.status for name, said in site.verdicts().items()} == {("order", "1", "joined"): "completed"}
    assert site.store.count_parked() == 0
    assert [told[2] for flips in site.flips().values() for told in flips] == ["completed"], (
        "said once, and nothing else"
    )


@pytest.mark.parametrize("partitions", [1, 3])
def test_h4_a_crash_at_every_step_around_the_release(partitions: int) -> None:
    moments = Crashing(10**9)
    site = Site(partitions, flows=FLOWS)
    play(site, lambda: site.worker(checkpoint=moments))
    released(site)
    for moment in range(1, len(moments.seen) + 1):
        crash = Crashing(moment)
        site = Site(partitions, flows=FLOWS)
        play(site, lambda site=site, crash=crash: site.worker(checkpoint=crash))  # type: ignore[misc]
        assert crash.calls >= moment
        released(site)


@pytest.mark.parametrize("step", ["write events", "merge", "produce", "announce"])
def test_h4_each_worker_crashes_after_the_same_step(step: str) -> None:
    """Also the one that makes good what the last one left; five of them get no further."""
    site, count = Site(3, flows=FLOWS), 0

    def next_worker() -> Worker:
        nonlocal count
        count += 1
        return site.worker(checkpoint=Crashing(1 if count < 6 else 10**9, step))

    play(site, next_worker)
    assert count == 6
    released(site)


@pytest.mark.parametrize("partitions", [1, 3])
def test_h4_a_zombie_at_every_step_around_the_release(partitions: int) -> None:
    """It is stopped after a step, another worker does all there is, it goes on; and then the links arrive again."""
    moment, calls = 0, 10**9
    while moment < calls:
        moment += 1
        site = Site(partitions, flows=FLOWS)
        others: list[Worker] = []

        def meanwhile(site: Site = site, others: list[Worker] = others) -> None:
            site.evict_all()
            others.append(site.worker("B"))
            others[0].drain()

        pausing = Pausing(moment, meanwhile)
        zombie = site.worker("A", checkpoint=pausing)
        for _ in phases(site):
            for _ in range(10):
                zombie.step()
            for other in others:
                other.drain()
        calls = min(calls, 60 if others else moment)
        zombie.close()
        last = others[0] if others else site.worker("last")
        last.drain()
        released(site)
    assert calls > 20


# H10 --------------------------------------------------------------------------------------------------------------------


def placed(order: str, **keys: str) -> Event:
    return event(f"x{order}", PLACED, 0, order=order, **keys)


PAY = event("y", PAID, 5, payment="P1")
TWO: list[Event | Word] = [placed("1", payment="P1"), placed("2", payment="P1"), PAY]
VIA_BATCH = [event("z", LABELLED, 1, batch="B1", payment="P1"), PAY]
COMPLETED_1 = {"1": "completed", "2": "stalled"}
COMPLETED_2 = {"1": "stalled", "2": "completed"}
BOTH = {"1": "completed", "2": "completed"}
NONE = {"1": "stalled", "2": "stalled"}
UNSURE = {"1": "unknown", "2": "unknown"}

CLAIMS: dict[str, tuple[Sequence[Event | Word], dict[str, str]]] = {
    "contested": (TWO, UNSURE),
    "contested by way of a third alias": (
        [placed("1", tracking="X1"), event("z", LABELLED, 1, tracking="X1", payment="P1"), *TWO[1:]], UNSURE,
    ),
    "weak": ([placed("1", trace="z1"), placed("2", trace="z1"), event("y", PAID, 5, trace="z1")], NONE),
    "weak, one claimant": ([placed("1", trace="z1"), placed("2"), event("y", PAID, 5, trace="z1")], COMPLETED_1),
    "what came by a weak alias says nothing of others": (
        [placed("1", trace="z1"), placed("2"), event("z", LABELLED, 1, trace="z1", payment="P1"), PAY], NONE,
    ),
    "shared": ([placed("1", parcel="S1"), placed("2", parcel="S1"), event("y", PAID, 5, parcel="S1")], BOTH),
    "by a shared one shared too": ([placed("1", batch="B1"), placed("2", batch="B1"), *VIA_BATCH], BOTH),
    "shared, and one's own": ([placed("1", batch="B1", payment="P1"), placed("2", batch="B1"), *VIA_BATCH], COMPLETED_1),
    "accepted": ([*TWO, ("payment:P1", "1", "accept")], COMPLETED_1),
    "broken": ([*TWO, ("payment:P1", "1", "break")], COMPLETED_2),
    "broken twice": ([*TWO, ("payment:P1", "1", "break"), ("payment:P1", "2", "break")], NONE),
    "accepted twice": ([*TWO, ("payment:P1", "1", "accept"), ("payment:P1", "2", "accept")], COMPLETED_2),
    "accepted and broken": ([*TWO, ("payment:P1", "1", "accept"), ("payment:P1", "1", "break")], COMPLETED_2),
    "accepted for one who never claimed it": (
        [placed("1"), placed("2", payment="P1"), PAY, ("payment:P1", "1", "accept")], COMPLETED_1,
    ),
    "weak, accepted": (
        [placed("1", trace="z1"), placed("2", trace="z1"), event("y", PAID, 5, trace="z1"), ("trace:z1", "2", "accept")],
        COMPLETED_2,
    ),
    "shared, broken": (
        [placed("1", parcel="S1"), placed("2", parcel="S1"), event("y", PAID, 5, parcel="S1"), ("parcel:S1", "2", "break")],
        COMPLETED_1,
    ),
}  # fmt: skip


def orders_of(told: Sequence[Event | Word]) -> Iterator[list[Event | Word]]:
    """Every order of arrival in which people's words keep theirs."""
    words = [one for one in told if isinstance(one, tuple)]
    for order in permutations(told):
        if [one for one in order if isinstance(one, tuple)] == words:
            yield list(order)


def arrive(site: Site, one: Event | Word) -> None:
    site.time += SECOND
    if isinstance(one, tuple):
        site.produce([decided(*one, site.partitions)])
    else:
        site.send([one])


@pytest.mark.parametrize("claims", CLAIMS)
def test_h10_the_answer_does_not_depend_on_the_order(claims: str) -> None:
    """All at once; or one after the other, each forwarded and judged, with everybody heard past the deadline, before the next."""
    told, expected = CLAIMS[claims]
    disputes: set[Any] = set()
    for number, order in enumerate(orders_of(told)):
        ways = ((1, True), (3, False))
        # Five records in all their orders take their time: each order in one of the ways.
        for partitions, at_once in ways if len(told) < 5 else ways[number % 2 :][:1]:
            site = Site(partitions, flows=FLOWS)
            worker = site.worker()
            for one in order:
                arrive(site, one)
                if not at_once:
                    site.hear(START + HOUR)
                    worker.drain()
            site.hear(START + HOUR)
            worker.drain()
            said = {name[1]: one.status for name, one in site.verdicts().items()}
            assert said == expected, [one["id"] if isinstance(one, dict) else one for one in order]
            disputes.add(repr(sorted((name[1], repr(one.findings)) for name, one in site.verdicts().items())))
    assert len(disputes) == 1, "what is found does not depend on it either"


@pytest.mark.parametrize("first", ["1", "2"])
def test_h10_every_claimant_is_told_the_first_included(first: str) -> None:
    """The second claims after the payment was forwarded to the first and judged; and a person settles it."""
    second = "2" if first == "1" else "1"
    site = Site(3, flows=FLOWS)
    worker = site.worker()

    def now(one: Event | Word) -> dict[str, str]:
        arrive(site, one)
        site.hear(START + HOUR)
        worker.drain()
        return {name[1]: said.status for name, said in site.verdicts().items()}

    now(PAY)
    assert now(placed(first, payment="P1")) == {first: "completed"}
    assert now(placed(second, payment="P1")) == {first: "unknown", second: "unknown"}
    assert all("alias_conflict" in str(said) for said in site.verdicts().values())
    assert now(("payment:P1", second, "accept")) == {first: "stalled", second: "completed"}
    assert now(("payment:P1", second, "break")) == {first: "completed", second: "stalled"}


def test_h10_what_was_withdrawn_and_is_claimed_again_leads_again() -> None:
    """The payment rests on a tracking number that is denied and granted again; who was told of the one hears of the other."""
    site = Site(3, flows=FLOWS)
    worker = site.worker()
    said = []
    story: list[Event | Word] = [
        placed("1", tracking="X1"), event("z", LABELLED, 1, tracking="X1", payment="P1"), PAY,
        ("tracking:X1", "1", "break"), ("tracking:X1", "1", "accept"),
    ]  # fmt: skip
    for one in story:
        arrive(site, one)
        site.hear(START + HOUR)
        worker.drain()
        said += [told.status for told in site.verdicts().values()]
    assert said == ["stalled", "stalled", "completed", "stalled", "completed"]
