"""Silence is not loss (law 5): whatever system goes dark, whenever, for however long.

The simulated shop on the worker with a log and a store in memory, held against the simulator's truth, and against the same shop
undisturbed. The systems of the night shift are left out: who said goodbye and was to come back cannot be missed.
"""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.log.memory import MemoryLog
from pipeline.simulate.score import Told, score, told_of
from pipeline.simulate.simulation import Simulation
from pipeline.simulate.statements import SHIFTS
from pipeline.simulate.truth import Name, Place
from pipeline.store.contract import VerdictQuery, VerdictRow
from pipeline.store.memory import MemoryStore
from pipeline.worker import Policy, Worker
from schemas.times import DAY, HOUR, SECOND
from schemas.verdict import MISSING, Status
from tests.simulate.shop import END, definitions, shop

SYSTEMS = sorted({step.system for flow in definitions()[0].all() for step in flow.steps.values()} - set(SHIFTS))
ORDERS = 20
STEP = DAY


def judged(simulation: Simulation) -> MemoryStore:
    """What the worker says at the end, taking its turn every few days."""
    log, store = MemoryLog(clock=simulation.clock), MemoryStore()
    worker = Worker(
        log,
        store,
        flows=simulation.flows,
        landscape=simulation.landscape,
        name="law",
        policy=Policy(poll_ms=0),
        pacing=simulation.clock,
    )

    def follow(now: int) -> None:
        worker.drain()

    simulation.run(log, follow, STEP)
    worker.close()
    return store


def rows(store: MemoryStore) -> dict[Name, VerdictRow]:
    return {(row.flow, row.key_type, row.transaction_id): row for row in store.verdicts(VerdictQuery(excluded=None))}


def said(store: MemoryStore) -> dict[Name, Told]:
    """What the verdicts say; not how it was heard."""
    return {name: told_of(row) for name, row in rows(store).items()}


@cache
def undisturbed(seed: int, orders: int) -> dict[Name, VerdictRow]:
    return rows(judged(shop(seed, orders)))


def dark_times() -> st.SearchStrategy[tuple[int, int]]:
    """From when after the begin, for how long, µs; any of it may reach past the end."""
    lengths = st.one_of(st.integers(SECOND, 12 * HOUR), st.integers(12 * HOUR, 25 * DAY))
    return st.tuples(st.integers(HOUR, 21 * DAY - HOUR), lengths)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), system=st.sampled_from(SYSTEMS), when=dark_times(), faulty=st.booleans())
def test_a_blackout_makes_unknown_what_cannot_be_known_and_nothing_lost_that_is_not(
    seed: int, system: str, when: tuple[int, int], faulty: bool
) -> None:
    dark = shop(seed, ORDERS, faults=faulty)
    dark.blackout(system, dark.begin + when[0], when[1])
    store = judged(dark)
    assert not [str(mismatch) for mismatch in score(store, dark.truths()).mismatches]
    whole = rows(judged(shop(seed, ORDERS, faults=faulty)))
    for name, row in rows(store).items():
        if row.status in (Status.LOST, Status.FAILED) and not row.excluded:
            assert whole[name].status in MISSING, (name, row.body, whole[name].status)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), system=st.sampled_from(SYSTEMS), when=dark_times())
def test_once_its_telemetry_arrives_the_verdicts_are_those_of_an_undisturbed_shop(
    seed: int, system: str, when: tuple[int, int]
) -> None:
    start, length = when
    late = shop(seed, ORDERS)
    late.delay(system, late.begin + start, min(length, 21 * DAY - HOUR // 2 - start))
    assert said(judged(late)) == said(judged(shop(seed, ORDERS)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), system=st.sampled_from(SYSTEMS), when=dark_times())
def test_while_telemetry_is_missing_nothing_is_called_lost_that_is_not(
    seed: int, system: str, when: tuple[int, int]
) -> None:
    """Not even for a moment: what was said once stays in the flips."""
    start, length = when
    late = shop(seed, ORDERS, faults=False)
    late.delay(system, late.begin + start, min(length, 21 * DAY - HOUR // 2 - start))
    store = judged(late)
    for name in rows(store):
        for flip in store.flips(name[1:]):
            assert flip.status not in (Status.LOST, Status.STALLED, Status.FAILED), (name, flip)


@pytest.mark.parametrize("dark", ["mailer", "fraud", "portal", "crm"])
def test_a_real_loss_during_another_systems_blackout_is_found(dark: str) -> None:
    """Where all witnesses of the lost step were heard: of a parcel these are the warehouse and the carrier."""
    disturbed = shop(1, 300)
    disturbed.blackout(dark, END - 20 * DAY, 19 * DAY)
    before, after = undisturbed(1, 300), rows(judged(disturbed))
    lost = [
        case.name for case in disturbed.cases if case.fault in ("parcel_not_delivered", "never_picked", "stuck_inside")
    ]
    assert len(lost) > 3
    for name in lost:
        assert _worst(before[name]) == _worst(after[name])


def test_a_lost_parcel_is_found_though_payments_went_dark() -> None:
    """Who has paid cannot be rejected any more, so nobody has to hear payments to know that nothing lifted the delivery."""
    disturbed = shop(1, 300)
    disturbed.blackout("payments", END - 10 * DAY, 9 * DAY)
    before, after = undisturbed(1, 300), rows(judged(disturbed))
    lost = [case.name for case in disturbed.cases if case.fault == "parcel_not_delivered"]
    assert lost
    for name in lost:
        assert _worst(before[name]) == _worst(after[name])


def _worst(row: VerdictRow) -> Place | None:
    assert row.status in (Status.LOST, Status.STALLED)
    return told_of(row).worst
