"""Laws of judge, on every flow that ships: a function of the set of events, total, and never surer than what was heard."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.hearing import FOREVER, NEVER, Hearing, Knowledge
from pipeline.core.judge import judge
from pipeline.core.plan import plan_of
from pipeline.core.state import Dispute, State
from schemas.flow import Flow
from schemas.times import DAY, HOUR, MINUTE
from schemas.verdict import DropKind, FindingKind, Status, Verdict
from tests.laws.cases import (
    FLOWS,
    T0,
    all_heard,
    flow_of,
    knowledge,
    knowledges,
    none_heard,
    state_of,
    transactions,
)

PROVEN = (Status.FAILED, Status.LOST, Status.STALLED)
every_flow = pytest.mark.parametrize("name", FLOWS)


def proven(verdict: Verdict) -> set[tuple[str, str, str]]:
    """What a verdict says that needs proof."""
    found = {("drop", drop.to_step, drop.instance) for drop in verdict.drops if drop.status in PROVEN}
    kinds = (FindingKind.SKIPPED, FindingKind.NO_START)
    return found | {(str(f.kind), f.step, f.instance) for f in verdict.findings if f.kind in kinds}


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_verdict_is_a_function_of_the_set_of_events(name: str, data: st.DataObject) -> None:
    """Shuffled, doubled, in other batches, in two states that are joined: the same verdict, byte by byte."""
    flow = flow_of(name)
    events = data.draw(transactions(flow))
    known = data.draw(knowledges(flow))
    once = judge(state_of(flow, events), flow, known)
    again = data.draw(st.permutations(events + events[: len(events) // 2]))
    assert judge(state_of(flow, again), flow, known) == once
    cut = data.draw(st.integers(0, len(again)))
    left, right = state_of(flow, again[:cut]), state_of(flow, again[cut:])
    left.join(right)
    assert judge(left, flow, known) == once


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_judge_is_total_and_says_what_it_is_asked_to(name: str, data: st.DataObject) -> None:
    flow = flow_of(name)
    events = data.draw(transactions(flow))
    known = replace(
        data.draw(knowledges(flow, tolerate=data.draw(st.sampled_from((0, 0.001, 0.5))))),
        skews={("shop", 1): data.draw(st.sampled_from((-DAY, 3 * HOUR)))},
    )
    doubtful = data.draw(st.booleans())
    state = state_of(flow, events)
    if doubtful:
        state.learn("payment:A1", Dispute("contested", 1))
    verdict = judge(state, flow, known)
    assert verdict.status in (drop.status for drop in verdict.drops) or not verdict.drops
    assert (verdict.ended_at is not None) == (verdict.status in (Status.COMPLETED, Status.CLOSED))
    assert verdict.started_at <= verdict.last_at
    for drop in verdict.drops:
        assert drop.status is not Status.UNKNOWN or drop.silent or doubtful
        assert drop.kind is not DropKind.FAILED or drop.status in (Status.FAILED, Status.UNKNOWN)
        assert 0 <= drop.missing <= drop.expected
    slim = judge(state, flow, known, detail=False)
    assert replace(verdict, hops=(), edges=(), evidence=slim.evidence) == slim


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_nobody_heard_is_never_proven(name: str, data: st.DataObject) -> None:
    flow = flow_of(name)
    events = data.draw(transactions(flow, least=1))
    known = none_heard(flow, T0 + data.draw(st.integers(0, 60)) * DAY)
    assert not proven(judge(state_of(flow, events), flow, known))


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_proof_survives_a_witness_that_was_not_heard(name: str, data: st.DataObject) -> None:
    """Any one of its witnesses blind somewhere in what was asked, or silent since before due."""
    flow = flow_of(name)
    events = data.draw(transactions(flow, least=1))
    known = data.draw(knowledges(flow))
    verdict = judge(state_of(flow, events), flow, known)
    for kind, step, instance in sorted(proven(verdict)):
        system = data.draw(st.sampled_from(plan_of(flow).steps[step].witnesses))
        was = known.of(system)
        silent = Hearing(system, T0 - DAY, ((T0 - DAY, FOREVER),), silent=True)
        blind = replace(was, deaf=((NEVER, FOREVER),), unvouched=False)
        # A failure that nobody may retry was heard itself: it takes no interval of hearing.
        failed = Status.FAILED in {drop.status for drop in verdict.drops if drop.to_step == step}
        for deafened in (silent,) if failed and not flow.steps[step].retry_within else (silent, blind):
            hearing = {**known.hearing, system: deafened}
            after = judge(state_of(flow, events), flow, replace(known, hearing=hearing))
            assert (kind, step, instance) not in proven(after), (system, deafened)


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_time_withdraws_nothing_that_was_proven(name: str, data: st.DataObject) -> None:
    """Clocks advance and nothing else comes: what is missing stays missing, unless it has lapsed."""
    flow = flow_of(name)
    events = data.draw(transactions(flow, least=1))
    known = data.draw(knowledges(flow))
    before = judge(state_of(flow, events), flow, known)
    later = data.draw(st.sampled_from((MINUTE, HOUR, DAY, 30 * DAY)))
    after = judge(state_of(flow, events), flow, _later(known, later))
    if _lapses(flow):
        return
    assert proven(before) <= proven(after)
    if before.status in (Status.LOST, Status.FAILED):
        assert after.status in (Status.LOST, Status.FAILED)


@every_flow
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hearing_more_contradicts_nothing_that_was_proven(name: str, data: st.DataObject) -> None:
    """Had everybody been heard all the while, and nothing more come, it would be missing too."""
    flow = flow_of(name)
    events = data.draw(transactions(flow, least=1))
    known = data.draw(knowledges(flow))
    verdict = judge(state_of(flow, events), flow, known)
    whole = judge(state_of(flow, events), flow, all_heard(flow, known.control_time + 100 * DAY))
    if verdict.status in PROVEN and not _lapses(flow):
        assert whole.status in PROVEN
    if verdict.status in (Status.COMPLETED, Status.CLOSED) and not _lapses(flow):
        assert whole.status is verdict.status


def _later(known: Knowledge, by: int) -> Knowledge:
    hearing = {
        system: heard if heard.silent else replace(heard, clock=heard.clock + by)
        for system, heard in known.hearing.items()
    }
    return replace(known, control_time=known.control_time + by, processed=known.processed + by, hearing=hearing)


def _lapses(flow: Flow) -> bool:
    return any(step.lapses is not None for step in flow.steps.values())


# Fault 15 and 22 ------------------------------------------------------------------------------------------------------


def test_late_out_of_order_end_before_start_event_after_the_end() -> None:
    """Every order in which six events can come, the end before the start among them, and one after the end."""
    from tests.core.build import events as written
    from tests.core.build import flow, heard, state

    of = flow("""
        steps:
          a: {system: A, start: true}
          b: {system: B, after: a, within: 1h, reports: [received, completed]}
          c: {system: C, after: b, within: 1h, end: completed}
          x: {system: A, after: a, end: closed}
    """)
    seen = written(of, "a@10m", "b.received@9m", "b@2h", "c@1m", "x@1h", "c@3h")
    known = heard(of, "1d")
    verdicts = {repr(judge(state(of, order), of, known)) for order in permutations(seen)}
    assert len(verdicts) == 1
    growing = State.of(of.key, "1")
    for event in reversed(seen):
        growing.merge(event)
        judge(growing, of, known)
    assert repr(judge(growing, of, known)) in verdicts


@every_flow
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_an_id_used_again_with_other_content_has_one_winner(name: str, data: st.DataObject) -> None:
    flow = flow_of(name)
    events = data.draw(transactions(flow, least=2))
    for event in events:
        event.id = "e"
    known = all_heard(flow, T0 + 2 * DAY)
    states = [state_of(flow, list(order)) for order in (events, events[::-1], data.draw(st.permutations(events)))]
    assert len({repr(judge(state, flow, known)) for state in states}) == 1
    assert len({state.reused for state in states}) == 1
    assert states[0].reused == (len({event.content() for event in events}) > 1)


def test_silence_of_all_is_unknown_and_loud() -> None:
    order = flow_of("order")
    seen = state_of(order, [])
    assert judge(seen, order, none_heard(order, T0)).status is Status.IN_PROGRESS
    assert knowledge(order, T0, {}).of("shop").unvouched
