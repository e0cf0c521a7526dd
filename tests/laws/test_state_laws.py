"""A state is a fold (law 1): a semilattice, also past its bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import state as module
from pipeline.core.judge import judge
from pipeline.core.state import State
from schemas.verdict import FindingKind
from schemas.wire import Observed
from tests.core.build import T0, flow, heard

LINE = flow("""
    steps:
      a: {system: A, start: true}
      b: {system: B, after: a, within: 1h, per: parcel, end: completed}
    keys: {parcel: {alias: shared}}
""")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOUND", 8)
    monkeypatch.setattr(module, "GROUPS", 5)


def observations() -> st.SearchStrategy[Observed]:
    """Few ids, times and kinds, so that everything meets everything."""

    def make(number: int, step: str, time: int, parcel: str, amount: Any, source: str, via: str) -> Observed:
        keys = {"order": "1", "parcel": parcel}
        return Observed(
            f"e{number}", step.upper(), step, T0 + time, keys, source=source, attributes={"amount": amount}, via=via
        )

    return st.builds(
        make,
        st.integers(0, 14),
        st.sampled_from("aabcd"),
        st.integers(0, 3),
        st.sampled_from(("P1", "P2")),
        st.sampled_from((1, 1.0, True, "1")),
        st.sampled_from(("s", "t")),
        st.sampled_from(("", "", "parcel:P1")),
    )


def many() -> st.SearchStrategy[list[Observed]]:
    return st.lists(observations(), max_size=30)


def of(events: list[Observed]) -> State:
    return State.of("order", "1", events, ("parcel",))


def seen(state: State) -> tuple[Any, ...]:
    events = sorted(state.events.items())
    whole = [(name, event.content(), event.via, event.source, event.recorded_at) for name, event in events]
    return state.bounded, whole, state.crowded, state.earliest, len(state)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), events=many())
def test_order_and_repetition_do_not_matter(data: st.DataObject, events: list[Observed]) -> None:
    again = data.draw(st.permutations(events + events[::2]))
    assert seen(of(again)) == seen(of(events))


@settings(max_examples=400, deadline=None)
@given(one=many(), two=many(), three=many())
def test_joining_is_a_semilattice(one: list[Observed], two: list[Observed], three: list[Observed]) -> None:
    def joined(*states: State) -> State:
        result = State("order", "1", ("parcel",))
        for state in states:
            result.join(state)
        return result

    whole = seen(of([*one, *two, *three]))
    left = joined(joined(of(one), of(two)), of(three))
    right = joined(of(one), joined(of(three), of(two)))
    assert seen(left) == seen(right) == whole
    left.join(right)
    assert seen(left) == whole


@settings(max_examples=200, deadline=None)
@given(events=many(), more=observations())
def test_merge_says_whether_a_judge_could_see_it(events: list[Observed], more: Observed) -> None:
    state = of(events)
    before = seen(state)
    changed = state.merge(more)
    assert changed or seen(state) == before
    assert not state.merge(more)


@settings(max_examples=300, deadline=None)
@given(events=many(), more=many())
def test_to_add_at_once_is_to_merge_one_by_one_or_nothing(events: list[Observed], more: list[Observed]) -> None:
    state, new = of(events), {event.id: event for event in more}
    added = state.add(new)
    assert seen(state) == seen(of([*events, *new.values()] if added else events))
    assert added or new.keys() & {event.id for event in events} or len(events) + len(new) > module.BOUND


def test_a_million_events_on_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 23, in small: bounded and flagged; the first and the last are kept."""
    monkeypatch.setattr(module, "BOUND", 100)
    flood = [Observed(f"e{n}", "A", "a", T0 + n, {"order": "1"}) for n in range(5_000)]
    state = of(flood)
    assert state.bounded
    assert {event.id for event in state} == {"e0", "e4999"}
    verdict = judge(state, LINE, heard(LINE, "1d"))
    flagged = [finding for finding in verdict.findings if finding.kind is FindingKind.UNEXPECTED]
    assert [(finding.amount, finding.detail) for finding in flagged] == [
        (1, "too many events; the first and last of each kind are kept")
    ]


def test_an_event_that_names_the_transaction_itself_wins_over_its_copy() -> None:
    plain = Observed("e", "A", "a", T0, {"order": "1"}, source="s")
    copy = Observed("e", "A", "a", T0, {"order": "1"}, source="s", via="parcel:P1")
    for order in ([plain, copy], [copy, plain]):
        assert [event.via for event in of(order)] == [""]
    state = of([copy])
    assert state.merge(plain)
    assert not state.merge(copy)
