"""Instants and durations at the edges: UTC microseconds inside, text outside, and no zone guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Invalid
from schemas.times import (
    DAY,
    EARLIEST,
    HOUR,
    LATEST,
    MINUTE,
    SECOND,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
    parse_zone,
)  # fmt: skip

BERLIN = parse_zone("Europe/Berlin")


@given(st.integers(EARLIEST, LATEST - 1))
def test_an_instant_comes_back_to_the_microsecond(time: int) -> None:
    assert parse_time(format_time(time)) == time == parse_time(time)
    assert parse_time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)) == time


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
        ("2026-01-31T08:00:00+01:00", "2026-01-31T07:00:00Z"),
        ("2026-01-31 08:00:00.25-05:30", "2026-01-31T13:30:00.250000Z"),
        (" 2026-01-31T08:00:00.123456789Z ", "2026-01-31T08:00:00.123456Z"),
    ],
)
def test_an_offset_is_taken_into_account(text: str, utc: str) -> None:
    assert format_time(parse_time(text)) == utc
    assert format_time(parse_time(text, BERLIN)) == utc, "a zone stands only where the time names none"


@pytest.mark.parametrize("naive", ["2026-01-31T08:00:00", "2026-01-31", datetime(2026, 1, 31, 8)])  # noqa: DTZ001
def test_a_time_without_zone_is_refused_unless_the_source_declares_one(naive: object) -> None:
    with pytest.raises(Invalid, match="time has no zone"):
        parse_time(naive)
    assert parse_time(naive, BERLIN) == parse_time(naive, UTC) - HOUR


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
        ("2026-10-25T01:59:59", "2026-10-24T23:59:59Z"),
        ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),  # twice: the first of the two
        ("2026-10-25T03:00:00", "2026-10-25T02:00:00Z"),
        ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),  # never: as if the clock had not been put forward
    ],
)
def test_daylight_saving_is_decided(local: str, utc: str) -> None:
    assert format_time(parse_time(local, BERLIN)) == utc


@pytest.mark.parametrize(
    "value",
    ["", "soon", "1989-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00",
     EARLIEST - 1, LATEST, 2**80, True, None, 1.5e15, [], b"2026-01-31T08:00:00Z"],
)  # fmt: skip
def test_what_is_no_time_of_ours_is_refused_in_a_sentence(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        parse_time(value)
    assert len(refused.value.reason) < 200


@pytest.mark.parametrize(
    ("text", "duration"),
    [("30s", 30 * SECOND), ("15m", 15 * MINUTE), ("1h30m", 90 * MINUTE), ("2d", 2 * DAY), ("1w", 7 * DAY), ("500ms", SECOND // 2),
     ("7us", 7), ("1.5h", 90 * MINUTE), ("1d 2h", 26 * HOUR), ("0", 0), ("0s", 0), (timedelta(minutes=1), MINUTE)],
)  # fmt: skip
def test_durations_are_read(text: object, duration: int) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "m", "5 minutes", "-5m", "5m5", "1e3s", "101y", "9999999w", "5m ago", "∞", True, None, 5]
)
def test_bad_durations_are_refused(text: object) -> None:
    with pytest.raises(Invalid, match="bad duration"):
        parse_duration(text)


@given(st.integers(0, 100 * 365 * DAY))
def test_a_duration_is_said_in_two_units_at_most_and_reads_back_near(duration: int) -> None:
    text = format_duration(duration)
    assert len(text.split()) <= 2
    unit = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}[text[-1]]
    assert abs(parse_duration(text) - duration) < max(unit, duration // 100 + 1)


@pytest.mark.parametrize("name", ["", "Europe/Bärlin", "../../etc/passwd", "/etc/passwd", "Europe", "\0", "x" * 5000])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="unknown time zone"):
        parse_zone(name)
