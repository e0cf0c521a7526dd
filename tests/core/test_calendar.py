"""Working time: nights, weekends, holidays and the hour that summer time takes."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.calendar import WorkingTime
from schemas.landscape import Calendar
from schemas.times import DAY, HOUR, MINUTE, from_datetime, parse_time

BERLIN = "Europe/Berlin"
OFFICE = Calendar(zone=BERLIN, hours="08:00-17:00", holidays=(date(2026, 10, 6),))


def local(text: str) -> int:
    """µs of a wall-clock time in Berlin."""
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)))


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-10-01T09:00", 2 * HOUR, "2026-10-01T11:00"),
        ("2026-10-01T16:00", 2 * HOUR, "2026-10-02T09:00"),
        ("2026-10-01T03:00", HOUR, "2026-10-01T09:00"),
        ("2026-10-01T16:00", HOUR, "2026-10-01T17:00"),
        ("2026-10-01T20:00", 9 * HOUR, "2026-10-02T17:00"),
        ("2026-10-02T16:00", 2 * HOUR, "2026-10-05T09:00"),  # over a weekend
        ("2026-10-03T12:00", MINUTE, "2026-10-05T08:01"),
        ("2026-10-05T16:00", 2 * HOUR, "2026-10-07T09:00"),  # over a holiday
        ("2026-10-23T16:00", 2 * HOUR, "2026-10-26T09:00"),  # over the end of summer time
        ("2026-03-27T16:00", 10 * HOUR, "2026-03-30T17:00"),  # and its beginning
    ],
)
def test_it_counts_only_while_open(start: str, duration: int, end: str) -> None:
    assert WorkingTime(OFFICE).add(local(start), duration) == local(end)


def test_a_day_of_twenty_four_hours_has_as_many_as_the_wall() -> None:
    always = WorkingTime(Calendar(zone=BERLIN, days=("mon", "tue", "wed", "thu", "fri", "sat", "sun")))
    start = parse_time("2026-10-24T12:00:00Z")
    assert always.add(start, 3 * DAY) == start + 3 * DAY


@given(start=st.integers(0, 400 * DAY), first=st.integers(0, 30 * DAY), second=st.integers(0, 30 * DAY))
def test_it_only_adds_and_may_be_added_in_parts(start: int, first: int, second: int) -> None:
    """Judge rests on it: what is in time by the wall is in time by any calendar."""
    calendar, begin = WorkingTime(OFFICE), local("2026-01-01T00:00") + start
    assert calendar.add(begin, first) >= begin + first
    assert calendar.add(calendar.add(begin, first), second) == calendar.add(begin, first + second)
