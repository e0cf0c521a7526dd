"""What a verdict says beside its status: version, money, hops, evidence, times."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.judge import judge
from schemas.flow import Flows
from schemas.times import format_time
from schemas.verdict import Outcome, Status
from tests.core.build import T0, at, events, flow, heard, say, state

LINE = flow("""
    lost_after: 2d
    steps:
      a: {system: A, start: true}
      b: {system: B, after: a, within: 1h, reports: [received, completed]}
      c: {system: C, after: b, within: 1h, reports: [received, completed]}
      d: {system: D, after: c, within: 1h, end: completed}
""")


CART = flow("""
    lost_after: 1d
    steps:
      opened:  {system: shop, start: true}
      at_till: {system: till, after: opened, optional: true}
      placed:  {system: shop, after: opened, end: completed}
      left:    {system: shop, after: opened, lapses: 30m, end: closed}
      left_at_till: {system: shop, after: at_till, lapses: 30m, end: closed}
""")


# Versions, money, exclusion, hops -------------------------------------------------------------------------------------


def test_a_version_in_mid_flight() -> None:
    old = flow("steps:\n  a: {system: A, start: true}\n  b: {system: B, after: a, within: 1h, end: completed}\n")
    text = "steps:\n  a: {system: A, start: true}\n  b: {system: B, after: a, within: 3h, end: completed}\n"
    new = flow(f"version: 2\nsince: {format_time(T0)}\n{text}")
    taken_over = flow(f"version: 3\nsince: {format_time(T0)}\napplies_to: open\n{text}")
    flows = Flows([old, new])
    begun_before, begun_after = events(old, "a@-1m"), events(old, "a@1m")
    assert flows.in_force("test", begun_before[0].time) == old
    assert flows.in_force("test", begun_after[0].time) == new
    for seen, status in ((begun_before, Status.STALLED), (begun_after, Status.IN_PROGRESS)):
        of = flows.in_force("test", state(old, seen).earliest)
        verdict = judge(state(of, seen), of, heard(of, "2h"))
        assert (verdict.status, verdict.version) == (status, of.version)
    assert Flows([old, taken_over]).in_force("test", begun_before[0].time).version == 3
    assert Flows([old, taken_over]).in_force("test", begun_before[0].time, ended=True).version == 1


MONEY = flow("""
    value: amount
    exclude: {test: "true"}
    steps:
      a: {system: A, start: true}
      b: {system: B, after: a, within: 1h}
      c: {system: C, after: b, within: 1h, end: completed}
""")


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"a": {"amount": 10, "currency": "EUR"}, "b": {"amount": 99, "currency": "USD"}}, (10.0, "EUR")),
        ({"a": {"amount": "10.50"}, "b": {"currency": "EUR"}}, (10.5, "EUR")),
        ({"b": {"amount": 20}, "c": {"amount": 5}}, (20.0, "")),
        ({"a": {"amount": "a lot"}}, (None, "")),
        ({"a": {"amount": True}}, (None, "")),
        ({"a": {"amount": "nan"}}, (None, "")),
        ({"a": {"amount": "9" * 4096}}, (None, "")),
        ({}, (None, "")),
    ],
)
def test_what_it_is_worth(attributes: dict[str, Any], value: tuple[float | None, str]) -> None:
    verdict = say(MONEY, "a@0 b@1m c@2m", "1h", attributes=attributes)
    assert (verdict.value, verdict.currency) == value


def test_what_is_excluded_is_never_judged() -> None:
    for flag in ("true", True):
        verdict = say(MONEY, "a@0", "9h", attributes={"a": {"test": flag}})
        assert (verdict.status, verdict.excluded, verdict.drops, verdict.waits) == (Status.CLOSED, True, (), ())
        assert verdict.ended_at == T0
    assert say(MONEY, "a@0", "9h", attributes={"a": {"test": "false"}}).status is Status.STALLED


def test_hops_and_edges() -> None:
    verdict = say(LINE, "a@0 b.received@1m b@2m c.received@3m c.failed@4m c.received@5m", "10m")
    assert [(hop.step, hop.outcome, hop.attempt, hop.arrived_at, hop.left_at) for hop in verdict.hops] == [
        ("a", Outcome.DONE, 1, None, T0),
        ("b", Outcome.DONE, 1, at("1m"), at("2m")),
        ("c", Outcome.FAILED, 1, at("3m"), at("4m")),
        ("c", Outcome.OPEN, 2, at("5m"), None),
    ]
    assert [(edge.from_step, edge.to_step, edge.took) for edge in verdict.edges] == [("a", "b", at("2m") - T0)]
    assert (verdict.started_at, verdict.last_at, verdict.ended_at) == (T0, at("5m"), None)


def test_hops_at_one_time_stand_in_the_flows_order() -> None:
    """As EDI has them, which tells minutes, and lists, which tell days: names alone would put `delivered` before `shipped`."""
    dated = flow("""
        lost_after: 2d
        steps:
          placed:    {system: A, start: true}
          shipped:   {system: B, after: placed, within: 1h}
          delivered: {system: B, after: shipped, within: 1h, end: completed}
    """)
    verdict = say(dated, "delivered@0 shipped@0 placed@0", "10m")
    assert [hop.step for hop in verdict.hops] == ["placed", "shipped", "delivered"]


def test_a_verdict_names_the_events_that_it_rests_on() -> None:
    verdict = say(LINE, "a@0 b.received@1m b@2m c.received@3m", "9h")
    assert [(found.event_id, found.source) for found in verdict.evidence] == [("e2", "B"), ("e3", "B"), ("e4", "C")]


def test_ends_are_dated() -> None:
    assert say(LINE, "a@0 b@2m c@3m d@4m", "9h").ended_at == at("4m")
    assert say(CART, "opened@0", "1h").ended_at == at("30m")
