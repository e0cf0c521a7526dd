"""One record to events and faults: conditions, constants, templates, maps, ids, and what is refused."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.mapper import Mapped, Mapper, event_id
from collectors.mapping import Mapping
from schemas.event import Phase, parse_event
from schemas.times import parse_time

ORDERS: dict[str, Any] = {
    "mapping": "shop",
    "key": ["id"],
    "zone": "UTC",
    "nulls": ["NULL"],
    "constants": {"currency": "EUR"},
    "events": [
        {
            "system": "shop",
            "step": "placed",
            "time": "placed_at",
            "keys": {"order": "{branch}-{id}", "customer": {"field": "customer.id", "optional": True}},
            "attributes": {
                "amount": {"field": "total", "as": "number"},
                "currency": "currency",
                "channel": {"constant": "web"},
                "due": {"field": "due", "as": "time"},
                "rush": {"field": "rush", "as": "boolean", "default": False},
            },
        },
        {
            "system": {"field": "by", "map": {"D": "dhl", "U": "ups"}, "default": "post"},
            "step": "shipped",
            "phase": {"field": "state", "map": {"1": "completed", "0": "failed"}},
            "time": {"template": "{day} {hour}", "format": "%Y%m%d %H:%M", "zone": "Europe/Berlin"},
            "when": {"day": {"present": True}, "state": ["0", 1]},
            "keys": {"order": "{branch}-{id}"},
            "error": {"field": "why"},
            "peer": {"field": "hub"},
        },
    ],
}
PLACED = {"id": 7, "branch": "B1", "placed_at": "2026-01-31T08:00:00Z"}
SHIPPED = {**PLACED, "day": 20260201, "hour": "09:30", "state": "1"}


def mapped(record: dict[str, Any], **changes: Any) -> Mapped:
    return Mapper(Mapping.model_validate({**ORDERS, **changes})).map(record)


def faults(record: dict[str, Any], **changes: Any) -> list[str]:
    return [str(fault) for fault in mapped(record, **changes).faults]


def test_one_record_gives_several_events() -> None:
    record = {
        **SHIPPED,
        "total": "12.50",
        "due": "2026-02-03",
        "customer": {"id": 99},
        "by": "D",
        "rush": "Y",
        "hub": "LEJ",
    }
    events, wrong = mapped(record)
    placed, shipped = events
    assert wrong == []
    assert placed.id == "shop:7:placed:completed:2026-01-31T08:00:00Z"
    assert placed.keys == {"order": "B1-7", "customer": "99"}
    assert placed.attributes == {
        "amount": 12.5, "currency": "EUR", "channel": "web", "due": "2026-02-03T00:00:00Z", "rush": True,
    }  # fmt: skip
    assert (shipped.system, shipped.phase, shipped.peer) == ("dhl", Phase.COMPLETED, "LEJ")
    assert shipped.time == parse_time("2026-02-01T08:30:00Z")
    assert shipped.error is None


def test_what_is_not_there_is_left_out() -> None:
    (placed,), wrong = mapped({**PLACED, "total": None, "due": "  ", "rush": "NULL"})
    assert wrong == []
    assert placed.keys == {"order": "B1-7"}
    assert placed.attributes == {"currency": "EUR", "channel": "web", "rush": False}


def test_types_of_a_driver_are_read() -> None:
    record = {**PLACED, "placed_at": datetime(2026, 1, 31, 8), "total": Decimal("440.00"), "due": date(2026, 2, 3)}  # noqa: DTZ001
    (placed,), _ = mapped(record)
    assert (placed.time, placed.attributes["amount"]) == (parse_time("2026-01-31T08:00:00Z"), 440)
    assert placed.attributes["due"] == "2026-02-03T00:00:00Z"


@pytest.mark.parametrize(
    ("changes", "when", "gives"),
    [
        ({}, "day", True),
        ({"day": ""}, "day", False),
        ({"day": None}, {"day": {"present": False}}, True),
        ({}, {"state": "1"}, True),
        ({}, {"state": 1}, True),
        ({"state": 1.0}, {"state": "1"}, True),
        ({"state": True}, {"state": True}, True),
        ({"state": "2"}, {"state": ["1", "0"]}, False),
        ({}, {"state": {"not_in": ["1"]}}, False),
        ({"hub": None}, {"hub": {"not_in": ["1"]}}, True),
        ({"hub": None}, {"hub": {"not_in": ["1"], "present": True}}, False),
        ({}, {"state": "1", "hour": "10:00"}, False),
        ({}, [{"state": "0"}, {"hour": "09:30"}], True),
        ({}, ["hub", "day"], True),
        ({}, ["hub", "why"], False),
    ],
)
def test_conditions(changes: dict[str, Any], when: Any, gives: bool) -> None:
    spec = {**ORDERS["events"][0], "when": when}
    events, wrong = mapped({**SHIPPED, **changes}, events=[spec])
    assert (len(events), wrong) == (int(gives), [])


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({**PLACED, "id": None}, ["id: the primary key is missing"]),
        ({**PLACED, "id": " "}, ["id: the primary key is missing"]),
        ({**PLACED, "id": {"a": 1}}, ["id: a dict is no text, number or time"]),
        ({**PLACED, "branch": ""}, ["placed: branch,id: is empty"]),
        ({**PLACED, "placed_at": None}, ["placed: placed_at: the time is missing"]),
        ({**PLACED, "placed_at": "soon"}, ["placed: placed_at: not a time as iso: 'soon'"]),
        ({**PLACED, "total": "12,50"}, ["placed: total: not a number: '12,50'"]),
        ({**PLACED, "due": "x"}, ["placed: due: not a time as iso: 'x'"]),
        ({**PLACED, "branch": "B\x1b[2J"}, ["placed: branch,id: contains the character U+001B, which is not allowed"]),
        ({**PLACED, "branch": "x" * 300}, ["placed: branch,id: String should have at most 256 characters"]),
        ({**SHIPPED, "hour": "24:30"}, [r"shipped: day,hour: not a time as %Y%m%d %H:%M: '20260201 24:30'"]),
        ({**SHIPPED, "why": "x" * 5000}, ["shipped: why: String should have at most 4096 characters"]),
        (
            {**SHIPPED, "day": "20260329", "hour": "02:30"},
            ["shipped: day,hour: 2026-03-29T02:30:00 never was in Europe/Berlin: clocks went forward"],
        ),
    ],
)  # fmt: skip
def test_faults_name_event_and_field(record: dict[str, Any], told: list[str]) -> None:
    assert faults(record) == told


def test_a_fault_of_one_event_leaves_the_others() -> None:
    events, wrong = mapped({**SHIPPED, "placed_at": "soon"})
    assert [event.step for event in events] == ["shipped"]
    assert [(fault.event, fault.field) for fault in wrong] == [("placed", "placed_at")]


def test_a_map_without_the_entry_is_a_fault_unless_there_is_a_default() -> None:
    spec = {**ORDERS["events"][1], "when": "day"}
    assert faults({**SHIPPED, "state": "9"}, events=[spec]) == ["shipped: state: the map has no entry for '9'"]
    assert mapped({**SHIPPED, "by": "9"}).events[1].system == "post"


def test_two_events_that_would_have_one_id() -> None:
    first = {"system": "a", "step": "done", "time": "placed_at", "keys": {"order": "id"}}
    second = {**first, "system": "b"}
    events, wrong = mapped(PLACED, events=[first, second])
    assert [event.system for event in events] == ["a"]
    assert "same step, phase and time as another event" in wrong[0].reason
    assert mapped(PLACED, events=[first, first]).faults == []


@pytest.mark.parametrize("value", [10248, "10248", " 10248 ", 10248.0, Decimal("10248.00")])
def test_an_id_is_the_same_from_every_input(value: object) -> None:
    (placed,), _ = mapped({**PLACED, "id": value})
    assert placed.id == "shop:10248:placed:completed:2026-01-31T08:00:00Z"


def test_ids_cannot_be_confused() -> None:
    a = event_id("shop", "1,2", "placed", "completed", 0)
    assert a != event_id("shop", "1%2C2", "placed", "completed", 0)
    spec = {"system": "a", "step": "s", "time": "placed_at", "keys": {"order": "id"}}
    both = [
        mapped({**PLACED, "id": first, "branch": second}, key=["id", "branch"], events=[spec]).events[0].id
        for first, second in (("1,2", "3"), ("1", "2,3"), ("1:2", "3"))
    ]
    assert len(set(both)) == 3


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 4 * 10**15))
def test_any_id_is_a_good_one(key: str, step: str, time: int) -> None:
    found = event_id("shöp", key, step, "completed", time)
    data = {"id": found, "system": "a", "step": "s", "time": 10**15, "keys": {"order": "1"}}
    assert parse_event(data).id == found == event_id("shöp", key, step, "completed", time)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


@given(
    st.dictionaries(st.sampled_from(["id", "branch", "placed_at", "day", "hour", "state", "total", "customer"]), JSON)
)
def test_nothing_in_a_record_raises(record: dict[str, Any]) -> None:
    events, wrong = mapped(record)
    assert all(fault.reason for fault in wrong)
    assert len(events) + len(wrong) <= 2
