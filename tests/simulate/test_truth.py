"""The truth: what was meant, what a perfect judge could say of it, and what it could not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.simulate.simulation import Simulation
from pipeline.simulate.statements import SHIFTS
from pipeline.simulate.truth import Name, Truth
from schemas.times import DAY, HOUR
from schemas.verdict import DropKind, FindingKind, Status
from tests.simulate.shop import END, END_IN_HOLIDAYS, definitions, played, shop, whole_demo

SYSTEMS = sorted(
    {step.system for flow in definitions()[0].all() for step in flow.steps.values()} - set(SHIFTS)
)  # fmt: skip


def _truths(simulation: Simulation) -> dict[Name, Truth]:
    played(simulation)
    return {truth.name: truth for truth in simulation.truths()}


DEMOS = ((1, END), (2, END_IN_HOLIDAYS), (3, END + 2 * DAY + HOUR))


@pytest.mark.parametrize(("seed", "end"), DEMOS)
def test_every_story_shows_what_it_was_written_to_show(seed: int, end: int) -> None:
    simulation, found = whole_demo(seed, end)
    truths = {truth.name: truth for truth in found}
    shown = set()
    for case in simulation.cases:
        truth, intent = truths[case.name], case.intent
        if truth.blind or truth.excluded:
            continue
        if intent.kind is None:
            assert not truth.missing, truth
        else:
            places = [(place.kind, place.to_step) for place in truth.drops]
            assert (intent.kind, intent.to_step) in places, truth
            assert all(not intent.from_step or place.from_step == intent.from_step for place in truth.drops), truth
        for kind, step in intent.findings:
            assert any(kind is found and step in ("", at) for found, at in truth.findings), (case.fault, truth)
        if not case.fault:
            assert {kind for kind, _ in truth.findings} <= {FindingKind.CLOCK_SKEW}, truth
        shown.add(case.fault)
    assert shown == {case.fault for case in simulation.cases} - {"test_order", "test_cart", "probe", "proof"}


def test_everything_that_can_be_said_is_said_somewhere() -> None:
    """But for what needs a history (slow, at risk) or another transaction (doubled, alias conflict)."""
    truths = [truth for demo in DEMOS for truth in whole_demo(*demo)[1]]
    assert {truth.status for truth in truths} == set(Status)
    assert {place.kind for truth in truths for place in truth.drops} == set(DropKind)
    later = {FindingKind.SLOW, FindingKind.AT_RISK, FindingKind.DOUBLED, FindingKind.ALIAS_CONFLICT}
    assert {kind for truth in truths for kind, _ in truth.findings} == set(FindingKind) - later
    assert any(truth.excluded for truth in truths)


def test_of_three_parcels_the_one_that_was_not_packed_has_no_name() -> None:
    unpacked = [t for t in whole_demo(1, END)[1] if t.fault == "parcel_not_packed" and not t.blind]
    assert unpacked
    for truth in unpacked:
        (place,) = truth.drops
        assert (place.kind, place.instance, place.missing) == (DropKind.BETWEEN, "", 1)


def _when() -> st.SearchStrategy[tuple[int, int]]:
    starts = st.integers(HOUR, 20 * DAY)
    return st.tuples(starts, st.one_of(st.integers(HOUR, DAY), st.integers(DAY, 25 * DAY)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), system=st.sampled_from(SYSTEMS), when=_when(), faulty=st.booleans())
def test_a_blackout_makes_nothing_lost_that_is_not(seed: int, system: str, when: tuple[int, int], faulty: bool) -> None:
    """Held against the same shop undisturbed; what is only overdue may have come after its time, unheard."""
    start, length = when
    whole = _truths(shop(seed, 20, faults=faulty))
    dark = shop(seed, 20, faults=faulty)
    dark.blackout(system, dark.begin + start, length)
    for name, truth in _truths(dark).items():
        if truth.judged and truth.status in (Status.LOST, Status.FAILED):
            assert whole[name].missing, (truth, whole[name])
        if not faulty and truth.judged:
            assert truth.status is not Status.STALLED, (truth, whole[name])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), system=st.sampled_from(SYSTEMS), when=_when())
def test_what_comes_late_comes_to_the_same(seed: int, system: str, when: tuple[int, int]) -> None:
    start, length = when
    late = shop(seed, 20)
    late.delay(system, late.begin + start, min(length, 20 * DAY + 12 * HOUR - start))
    assert _truths(late) == _truths(shop(seed, 20))


def test_a_loss_during_another_systems_blackout_is_found() -> None:
    whole = _truths(shop(1, 400))
    dark = shop(1, 400)
    dark.blackout("mailer", END - 15 * DAY, 10 * DAY)
    truths = _truths(dark)
    lost = [name for name, truth in whole.items() if truth.fault == "parcel_not_delivered"]
    assert lost
    for name in lost:
        assert truths[name].status is whole[name].status
        assert {place for place in truths[name].drops if place.to_step != "confirmed"} == whole[name].drops
