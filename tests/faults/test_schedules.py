"""Schedules of links that broke an earlier form of the rules, by their names in FAULTS.md: H1, H1b, H2, H4, H10.

H3 is in ``test_ownership.py`` and ``test_control_schedules.py``, H11 in ``test_partitions.py``. After every move of every schedule
all that was said until then is looked at.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.flow import Flows
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.faults.stage import (
    DUE,
    LABELLED,
    LATER,
    PAID,
    PLACED,
    SYSTEMS,
    Stage,
    flows_of,
    value_in,
)
from tests.faults.stories import START

UNDECLARED = flows_of()
OWN = flows_of(placed="order, payment", labelled="order", paid="payment")
DIRECT = flows_of(placed="order", labelled="order, payment", paid="payment")
BETWEEN = flows_of(placed="order, tracking", labelled="tracking, payment", paid="payment")

T, A, B = value_in("order", 0, 3), value_in("payment", 1, 3), value_in("tracking", 2, 3)


# H1: the awaited event waits under an alias; who says whose alias it is comes last ---------------------------------------


@pytest.mark.parametrize("flows", [OWN, UNDECLARED], ids=["by", "no by"])
@pytest.mark.parametrize("how", ["late", "lagging", "lagging, vouched for late"])
def test_h1_the_link_is_read_when_the_awaited_system_was_heard_past_the_deadline(flows: Flows, how: str) -> None:
    stage = Stage(flows)
    stage.all_speak()
    paid = stage.tell(PAID, {"payment": A}, after=5 * MINUTE)
    if how != "late":
        stage.tell(PLACED, {"order": T, "payment": A})
    stage.work(1, 1)
    assert stage.kept(("payment", A)) == [paid["id"]]
    stage.vouch("payments", LATER)
    if how == "lagging":
        stage.vouch("shop", LATER)
    stage.work(1, 1, 2)
    assert stage.hearing("payments").clock == LATER, "the awaited system was heard, and its event is parked"
    assert stage.hearing("shop").clock < DUE
    if how == "late":
        stage.tell(PLACED, {"order": T, "payment": A})
    stage.work(0)
    assert stage.said() == {T: "in_progress"}
    if how != "lagging":
        stage.vouch("shop", LATER)
    stage.work(0, 0, 2, 2)
    assert stage.hearing("shop").clock < DUE, "its link is on its way"
    assert stage.said() == {T: "in_progress"}
    stage.work(1, 1, 2, 1)
    assert stage.hearing("shop").clock < DUE, "and now what it released"
    stage.finish()
    assert stage.hearing("shop").clock == LATER
    assert stage.said() == {T: "completed"}


# H1b: the link comes from a third system --------------------------------------------------------------------------------

LINKS = {"direct": (DIRECT, {"order": T}, {"order": T, "payment": A}),
         "between": (BETWEEN, {"order": T, "tracking": B}, {"tracking": B, "payment": A}),
         "direct, no by": (UNDECLARED, {"order": T}, {"order": T, "payment": A}),
         "between, no by": (UNDECLARED, {"order": T, "tracking": B}, {"tracking": B, "payment": A})}  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_h1b_the_third_system_lags(link: str) -> None:
    """Its record is acknowledged, in a partition (or a spool) that is not read for an hour; X and Y are heard past the deadline."""
    flows, x, z = LINKS[link]
    for spooled in (False, True):
        stage = Stage(flows)
        stage.all_speak()
        stage.tell(PLACED, x)
        stage.tell(PAID, {"payment": A}, after=5 * MINUTE)
        lagging = 2 if "tracking" in z else 0
        others = [number for number in range(3) if number != lagging]
        if lagging == 0:
            stage.work(0, 0)
        if not spooled:
            stage.tell(LABELLED, z, after=MINUTE)
            stage.vouch("warehouse", LATER)
        stage.vouch("shop", LATER)
        stage.vouch("payments", LATER)
        stage.work(*others, *others, *others)
        assert stage.hearing("warehouse").clock < DUE
        assert stage.said() == ({T: "in_progress"} if 0 in others or lagging == 0 else {})
        if spooled:
            stage.finish()
            assert stage.said() == {T: "in_progress"}, "X and Y are heard; only Z is not"
            assert stage.hearing("payments").clock == stage.hearing("shop").clock == LATER
            stage.tell(LABELLED, z, after=MINUTE)
            stage.vouch("warehouse", LATER)
        stage.finish()
        assert stage.said() == {T: "completed"}


def hours(stage: Stage, first: int, last: int, but: str = "warehouse") -> None:
    """Hour by hour (and at last day by day) all other systems go on and are heard."""
    hour = first
    while hour <= last:
        for system in SYSTEMS:
            if system != but:
                stage.vouch(system, START + hour * HOUR)
        stage.work(0, 1, 2)
        stage.work(0, 1, 2)
        hour += 1 if hour < 6 else 24


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("back", ["with its spool", "without it"])
def test_h1b_the_third_system_dies_with_the_link_unsent(link: str, back: str) -> None:
    """Nothing is proved without it, neither at the deadline nor when the order would be lost; where its spool is lost, never."""
    flows, x, z = LINKS[link]
    stage = Stage(flows)
    stage.all_speak()
    stage.hello("warehouse", every=HOUR, since=START - 3 * DAY)
    stage.vouch("warehouse", START - MINUTE)
    stage.tell(PLACED, x)
    stage.tell(PAID, {"payment": A}, after=5 * MINUTE)
    hours(stage, 1, 4)
    assert stage.hearing("warehouse").silent
    assert stage.said() == {T: "unknown"}
    hours(stage, 5, 10 * 24)
    assert stage.said() == {T: "unknown"}
    now = START + 11 * DAY
    if back == "with its spool":
        stage.at(now)
        stage.vouch("warehouse", START - MINUTE)
        stage.work(0, 1, 2)
        stage.tell(LABELLED, z, after=MINUTE)
    else:
        stage.at(now)
        stage.hello("warehouse", since=now)
    stage.vouch("warehouse", now + MINUTE)
    hours(stage, 11 * 24 + 1, 20 * 24, but="")
    stage.finish()
    assert stage.said() == {T: "completed" if back == "with its spool" else "unknown"}


@pytest.mark.parametrize("link", LINKS)
def test_h1b_the_link_is_older_than_the_order(link: str) -> None:
    """It was lost an hour before the order was placed: proof begins a day (``link_age``) before that, and no earlier."""
    flows, x, _ = LINKS[link]
    for age, said in ((2 * HOUR, "unknown"), (2 * DAY, "stalled")):
        stage = Stage(flows, never=("lost", "stalled") if said == "unknown" else ("lost",))
        stage.at(START - age)
        for system in SYSTEMS:
            stage.hello(system)
        stage.vouch("warehouse", START - age)
        stage.at(START - age + 90 * MINUTE)
        stage.hello("warehouse", since=START - age + 90 * MINUTE)
        stage.at(START)
        stage.tell(PLACED, x)
        stage.tell(PAID, {"payment": A}, after=5 * MINUTE)
        for system in SYSTEMS:
            stage.vouch(system, LATER)
        stage.finish()
        assert stage.hearing("warehouse").clock == LATER
        assert stage.said() == {T: said}


MOVES = [
    "work 0",
    "work 0",
    "work 1",
    "work 1",
    "work 2",
    "work 2",
    "send shop",
    "send payments",
    "send warehouse",
    "time",
]


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["own", *LINKS]), st.lists(st.sampled_from(MOVES), max_size=40), st.data())
def test_h1_in_any_order_of_sending_vouching_and_reading(link: str, moves: list[str], data: Any) -> None:
    """Each system vouches past the deadline as soon as its own is acknowledged; partitions are read in any order, or not yet."""
    flows, x, z = LINKS.get(link, (OWN, {"order": T, "payment": A}, {"order": T}))
    stage = Stage(flows)
    stage.all_speak()
    waiting = {"shop": (PLACED, x), "payments": (PAID, {"payment": A}), "warehouse": (LABELLED, z)}
    for move in [*moves, "send shop", "send payments", "send warehouse"]:
        verb, _, name = move.partition(" ")
        if verb == "work":
            stage.work(int(name))
        elif verb == "time":
            stage.site.time += data.draw(st.sampled_from([SECOND, 5 * MINUTE]))
        elif name in waiting:
            what, keys = waiting.pop(name)
            stage.tell(what, keys, at=data.draw(st.sampled_from([None, 0, 1, 2])))
            stage.vouch(name, LATER)
            stage.work(data.draw(st.integers(0, 2)))
    stage.finish()
    assert stage.said() == {T: "completed"}


# H2: chains, everything in a wrong partition ----------------------------------------------------------------------------

CHAINS = [["payment"], ["tracking", "payment"], ["label", "tracking", "payment"]]


def chain(stage: Stage, names: list[str], wrong: int) -> set[str]:
    """The events of a chain from the order to its payment, all of them ``wrong`` partitions from where they belong; their ids."""
    values = {"order": T} | {name: value_in(name, (number + 1) % 3, 3) for number, name in enumerate(names)}
    path = ["order", *names]
    told = []
    for first, second in zip(path, [*path[1:], ""], strict=True):
        what = PLACED if first == "order" else LABELLED if second else PAID
        keys = {name: values[name] for name in (first, second) if name}
        home = {"order": 0}.get(first, (names.index(first) + 1) % 3 if first in names else 0)
        told.append(stage.tell(what, keys, at=(home + wrong) % 3))
    return {event["id"] for event in told}


@pytest.mark.parametrize("names", CHAINS, ids=["one", "two", "three"])
@pytest.mark.parametrize("turn", list(permutations(range(3))))
def test_h2_a_chain_settles_when_its_last_link_is_joined(names: list[str], turn: tuple[int, ...]) -> None:
    """One source for all systems, which vouches for all of it at once: its clock may not pass before the payment has come."""
    for wrong in (1, 2):
        stage = Stage(UNDECLARED)
        stage.all_speak()
        ids = chain(stage, names, wrong)
        everything = stage.site.ends()
        for system in SYSTEMS:
            stage.vouch(system, LATER, everything)
        settled = False
        for _ in range(20):
            stage.site.time += SECOND
            for partition in turn:
                stage.work(partition)
                for system in SYSTEMS:
                    if stage.hearing(system).clock > START:
                        settled = True
                        assert stage.joined(T) == ids, f"{system} is settled too early"
        assert settled
        assert stage.said() == {T: "completed"}


@pytest.mark.parametrize("names", CHAINS, ids=["one", "two", "three"])
@pytest.mark.parametrize("turn", list(permutations(range(3))))
def test_h2_each_system_vouches_for_its_own_part_of_the_chain(names: list[str], turn: tuple[int, ...]) -> None:
    """One may be settled long before the others; when the last one is, the payment is there."""
    stage = Stage(UNDECLARED)
    stage.all_speak()
    ids = chain(stage, names, 1)
    for system in ("payments", "warehouse", "shop"):
        stage.vouch(system, LATER)
    for _ in range(20):
        stage.site.time += SECOND
        for partition in turn:
            stage.work(partition)
            if min(stage.hearing(system).clock for system in SYSTEMS) > START:
                assert stage.joined(T) == ids
    assert stage.said() == {T: "completed"}


@pytest.mark.parametrize("names", CHAINS, ids=["one", "two", "three"])
@pytest.mark.parametrize("turn", list(permutations(range(3))))
def test_h2_where_nobody_speaks_for_the_systems(names: list[str], turn: tuple[int, ...]) -> None:
    """How far all partitions are processed stands in for their clocks: it passes the deadline while the chain is on its way, but
    for the settling time that is taken off."""
    stage = Stage(UNDECLARED)
    stage.at(DUE + 45 * SECOND)
    ids = chain(stage, names, 1)
    passed = False
    for _ in range(40):
        for partition in turn:
            stage.site.time += SECOND
            stage.work(partition)
            if max(worker.fold.processed() for worker in stage.workers.values()) > DUE:
                passed = True
                assert stage.joined(T) == ids
    assert passed
    assert stage.said() == {T: "completed"}


@pytest.mark.parametrize("names", CHAINS, ids=["one", "two", "three"])
def test_h2_where_nobody_speaks_and_a_partition_was_behind_by_hours(names: list[str]) -> None:
    """It catches up while the others, who are at their end, do not yet read what it sends on: not processed, however long."""
    stage = Stage(UNDECLARED)
    stage.at(START)
    ids = chain(stage, names, 0)
    for _ in range(120):
        stage.site.time += MINUTE
        stage.work(1, 2)
    for _ in range(12):
        for lagging in range(3):
            for partition in range(3):
                for _ in range(4 * (partition != lagging)):
                    stage.site.time += SECOND
                    stage.work(partition)
    assert stage.joined(T) == ids
    assert stage.said() == {T: "completed"}
