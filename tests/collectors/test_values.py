"""Times in their zones, numbers, truths: what is read, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.mapping import text_of
from collectors.values import TimeReader, boolean_of, integer_of, number_of
from schemas.errors import Invalid
from schemas.times import format_time, from_datetime

Ambiguous = Literal["earlier", "later", "refuse"]


def read(
    value: object, formats: tuple[str, ...] = ("iso",), zone: str | None = None, ambiguous: Ambiguous = "earlier"
) -> str:
    return format_time(TimeReader(formats, ZoneInfo(zone) if zone else None, ambiguous).read(value))


@pytest.mark.parametrize(
    ("value", "formats", "zone", "expected"),
    [
        ("2016-07-04", ("iso",), "UTC", "2016-07-04T00:00:00Z"),
        ("2016-07-04", ("iso",), "America/New_York", "2016-07-04T04:00:00Z"),
        ("2016-07-04T08:30:00+02:00", ("iso",), None, "2016-07-04T06:30:00Z"),
        ("2016-07-04T08:30:00Z", ("iso",), "Europe/Berlin", "2016-07-04T08:30:00Z"),
        ("2016-07-04 08:30:00.123456", ("iso",), "Europe/Berlin", "2016-07-04T06:30:00.123456Z"),
        ("04.07.2016 08:30", ("iso", "%d.%m.%Y %H:%M"), "Europe/Berlin", "2016-07-04T06:30:00Z"),
        ("4/Jul/2016:08:30:00 -0700", ("%d/%b/%Y:%H:%M:%S %z",), None, "2016-07-04T15:30:00Z"),
        ("1467590400", ("epoch_s",), None, "2016-07-04T00:00:00Z"),
        (1467590400123, ("epoch_ms",), None, "2016-07-04T00:00:00.123000Z"),
        ("1467590400.5", ("epoch_s",), None, "2016-07-04T00:00:00.500000Z"),
        (Decimal("1467590400000001"), ("epoch_us",), None, "2016-07-04T00:00:00.000001Z"),
        ("1467590400000001999", ("epoch_ns",), None, "2016-07-04T00:00:00.000001Z"),
        (date(2016, 7, 4), ("%d.%m.%Y",), "UTC", "2016-07-04T00:00:00Z"),
        (datetime(2016, 7, 4, 8, tzinfo=timezone(timedelta(hours=2))), ("iso",), None, "2016-07-04T06:00:00Z"),
        # Summer time ends in Berlin on 2026-10-25: 02:30 is there twice, once at 00:30Z and once at 01:30Z.
        ("2026-10-25T02:30:00", ("iso",), "Europe/Berlin", "2026-10-25T00:30:00Z"),
        # It begins on 2026-03-29 at 02:00.
        ("2026-03-29T01:59:59", ("iso",), "Europe/Berlin", "2026-03-29T00:59:59Z"),
        ("2026-03-29T03:00:00", ("iso",), "Europe/Berlin", "2026-03-29T01:00:00Z"),
        # In São Paulo it began at midnight: the day's first instant stands for the date.
        ("2018-11-04", ("iso",), "America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ],
)
def test_times(value: object, formats: tuple[str, ...], zone: str | None, expected: str) -> None:
    assert read(value, formats, zone) == expected


def test_the_later_of_two_times_where_the_mapping_says_so() -> None:
    assert read("2026-10-25T02:30:00", zone="Europe/Berlin", ambiguous="later") == "2026-10-25T01:30:00Z"


@pytest.mark.parametrize(
    ("value", "formats", "zone", "reason"),
    [
        ("2016-07-04", ("iso",), None, "names no zone; declare the source's"),
        (datetime(2016, 7, 4), ("iso",), None, "names no zone"),  # noqa: DTZ001
        ("2026-03-29T02:30:00", ("iso",), "Europe/Berlin", "never was in Europe/Berlin"),
        ("31.02.2016", ("%d.%m.%Y", "iso"), "UTC", "not a time as %d.%m.%Y or iso: '31.02.2016'"),
        ("0001-01-01", ("iso",), "Europe/Berlin", "outside the years"),
        ("9999-12-31", ("iso",), "Europe/Berlin", "outside the years"),
        ("1989-12-31T23:59:59Z", ("iso",), None, "outside the years"),
        ("1467590400", ("epoch_ms",), None, "outside the years"),
        ("9" * 4000, ("epoch_s",), None, "outside the years"),
        ("nan", ("epoch_s",), None, "not a time"),
        ("1e999999999", ("epoch_s",), None, "outside the years"),
        (True, ("epoch_s",), None, "not a time: True"),
        (b"2016-07-04", ("iso",), "UTC", "not a time"),
        ("2016-07-04\x1b[2J", ("iso",), "UTC", r"'2016-07-04\\x1b[2J'"),
    ],
)
def test_times_refused(value: object, formats: tuple[str, ...], zone: str | None, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(value, formats, zone)
    assert reason.replace("\\\\", "\\") in caught.value.reason
    assert len(caught.value.reason) < 200


def test_a_time_shown_twice_is_refused_where_the_mapping_says_so() -> None:
    with pytest.raises(Invalid, match="was twice in Europe/Berlin"):
        read("2026-10-25T02:30:00", zone="Europe/Berlin", ambiguous="refuse")


@given(
    st.datetimes(datetime(1991, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001
    st.sampled_from(("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")),
)
def test_a_local_time_is_read_as_an_instant_that_shows_it(moment: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    reader = TimeReader(("iso",), zone, "earlier")
    shown = {
        at.astimezone(zone).replace(tzinfo=None, fold=0): at
        for fold in (1, 0)
        for at in [moment.replace(tzinfo=zone, fold=fold).astimezone(UTC)]
    }
    if moment in shown:
        assert reader.read(moment.isoformat()) == from_datetime(shown[moment])
    elif moment.time().isoformat() != "00:00:00":
        with pytest.raises(Invalid, match="never was"):
            reader.read(moment.isoformat())


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12.50", 12.5), ("12", 12), (" -3 ", -3), ("1e3", 1000), (Decimal("440.00"), 440), (0.1, 0.1), ("0.10", 0.1)],
)
def test_numbers(value: object, expected: float) -> None:
    assert number_of(value) == expected
    assert isinstance(number_of(value), type(expected))


@pytest.mark.parametrize("value", ["", "twelve", "1,50", "nan", "inf", "1e400", True, b"1", float("nan")])
def test_numbers_refused(value: object) -> None:
    with pytest.raises(Invalid, match="not a number"):
        number_of(value)


def test_integers_and_truths() -> None:
    assert integer_of("17.0") == 17
    with pytest.raises(Invalid, match="not an integer"):
        integer_of("17.5")
    assert [boolean_of(value) for value in ("Y", "false", 1, True, "off")] == [True, False, True, True, False]
    with pytest.raises(Invalid, match="neither true nor false"):
        boolean_of("maybe")


@pytest.mark.parametrize(
    ("value", "text"),
    [(10248, "10248"), (10248.0, "10248"), (Decimal("10248.00"), "10248"), ("010248", "010248"), (True, "true"),
     (10**30, "1" + "0" * 30), (Decimal("1.50"), "1.50"), (date(2016, 7, 4), "2016-07-04"), (float("inf"), "inf")],
)  # fmt: skip
def test_a_scalar_is_the_same_text_from_every_input(value: object, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [b"x", {}, [], memoryview(b"x")])
def test_what_is_no_scalar_is_no_text(value: object) -> None:
    with pytest.raises(ValueError, match="is no text"):
        text_of(value)
