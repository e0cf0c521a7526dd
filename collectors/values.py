"""What a field's value is read as: a time, a number, a truth. Pure; every refusal is an ``Invalid`` that says what was there."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Literal

from schemas.errors import Invalid
from schemas.event import MAX_INTEGER
from schemas.times import DAY, LATEST, parse_time, to_datetime

_EPOCH_UNITS = {
    "epoch_s": Decimal(10**6),
    "epoch_ms": Decimal(1000),
    "epoch_us": Decimal(1),
    "epoch_ns": Decimal("0.001"),
}
_MIDNIGHT = time()
_KEEP = 8192
_YEAR = re.compile(r"%[-#]?[YyGcxDFs+]")
Year = Literal["nearest", "before"] | int
_TWO_DAYS = timedelta(days=2)  # of the day's beginning, a clock being a day ahead
_TRUE = frozenset(("true", "t", "yes", "y", "1", "on"))
_FALSE = frozenset(("false", "f", "no", "n", "0", "off"))


def shown(value: object) -> str:
    """A value in a message: short, and nothing in it that could forge a line."""
    return ascii(value)[:60] if not isinstance(value, str) or not value.isprintable() else f"{value[:60]!r}"


class TimeReader:
    """Reads times of one kind: formats tried in order, a zone for those that name none.

    A naive time is refused without a zone. One that the clocks skipped (02:30 on the night they go forward) is refused,
    for nothing can have happened then; a midnight that they skipped is taken for the day's first instant, since it stands
    for a date. One that they showed twice is the ``ambiguous`` one. One whose pattern has no year gets it by ``year``
    (`collectors.mapping.Rules`).
    """

    def __init__(
        self,
        formats: tuple[str, ...],
        zone: tzinfo | None,
        ambiguous: Literal["earlier", "later", "refuse"],
        year: Year = "nearest",
    ):
        self._formats = formats
        self._yearless = frozenset(one for one in formats if "%" in one and not _YEAR.search(one))
        self._zone = zone
        self._ambiguous = ambiguous
        self._year = year
        self._day = 0
        # Dates repeat: reading 100,000 of 700 different ones by a pattern took 1.05 s without, 0.03 s with.
        self._known: dict[str, int] = {}

    def read(self, value: object, around: int | None = None) -> int:
        """Instant in µs. ``value``: text, number, ``date`` or ``datetime``. ``around``: µs, about when it was written.

        Raises ``Invalid``.
        """
        if isinstance(value, datetime):
            return self._place(value)
        if isinstance(value, date):
            return self._place(datetime.combine(value, _MIDNIGHT))
        if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
            raise Invalid(f"not a time: {shown(value)}")
        text = str(value).strip()
        if self._yearless and around is not None and around // DAY != self._day:
            # By the day: a year is the same however often a record is read, on one day.
            self._day = around // DAY
            self._known.clear()
        known = self._known.get(text)
        if known is None:
            known = self._text(text, around)
            if len(self._known) >= _KEEP:
                self._known.clear()
            self._known[text] = known
        return known

    def _text(self, text: str, around: int | None) -> int:
        for pattern in self._formats:
            try:
                if pattern in self._yearless:
                    return self._with_year(text, pattern, around)
                if pattern == "iso":
                    found = datetime.fromisoformat(text)
                elif pattern in _EPOCH_UNITS:
                    return _epoch(text, pattern)
                else:
                    found = datetime.strptime(text, pattern)  # noqa: DTZ007  (placed in its zone below)
            except ValueError as error:
                if isinstance(error, Invalid):
                    raise
                continue
            return self._place(found)
        counted = text.lstrip("-").replace(".", "", 1).isdigit() and not set(self._formats) & set(_EPOCH_UNITS)
        hint = "; a count since 1970 is `times: epoch_s`, or epoch_ms" if counted else ""
        raise Invalid(f"not a time as {' or '.join(self._formats)}: {shown(text)}{hint}")

    def _with_year(self, text: str, pattern: str, around: int | None) -> int:
        """Raises ``ValueError`` for what is not written so."""
        if isinstance(self._year, int):
            return self._place(datetime.strptime(f"{self._year} {text}", f"%Y {pattern}"))  # noqa: DTZ007
        if around is None:
            datetime.strptime(f"2000 {text}", f"%Y {pattern}")  # noqa: DTZ007
            raise Invalid(f"{shown(text)} names no year; declare it: `year: 2026`")
        written = to_datetime(around // DAY * DAY).replace(tzinfo=None)
        found = []
        for year in (written.year - 1, written.year, written.year + 1):
            with suppress(ValueError):  # 29 February
                found.append(datetime.strptime(f"{year} {text}", f"%Y {pattern}"))  # noqa: DTZ007
        distances = [(one.replace(tzinfo=None) - written, one) for one in found]
        if self._year == "before":
            distances = [one for one in distances if one[0] <= _TWO_DAYS]
        if not distances:
            raise ValueError(text)
        # Chosen before it is placed: an hour that the clocks skipped is refused, not taken for another year's.
        chosen = max(distances) if self._year == "before" else min(distances, key=lambda one: abs(one[0]))
        return self._place(chosen[1])

    def _place(self, moment: datetime) -> int:
        if not 1989 < moment.year < 2101:
            raise Invalid(f"time outside the years 1990 to 2100: {moment.isoformat()}")
        if moment.tzinfo is None and self._zone is not None:
            moment = self._localise(moment, self._zone)
        try:
            return parse_time(moment)
        except Invalid as error:
            if moment.tzinfo is not None:
                raise
            reason = f"{moment.isoformat()} names no zone; declare the source's: `zone: Europe/Berlin` in the mapping"
            raise Invalid(reason) from error

    def _localise(self, moment: datetime, zone: tzinfo) -> datetime:
        first = moment.replace(tzinfo=zone, fold=0)
        second = moment.replace(tzinfo=zone, fold=1)
        if first.utcoffset() == second.utcoffset():
            return first
        skipped = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != moment
        if skipped:
            if moment.time() == _MIDNIGHT:
                return first
            raise Invalid(f"{moment.isoformat()} never was in {zone}: clocks went forward")
        if self._ambiguous == "refuse":
            raise Invalid(f"{moment.isoformat()} was twice in {zone}: clocks went back")
        return first if self._ambiguous == "earlier" else second


def _epoch(text: str, unit: str) -> int:
    """Raises ``ValueError`` for what is no number, so that the next format is tried."""
    number = _decimal(text)
    if number is None:
        raise ValueError(text)
    # Looked at before any arithmetic, which overflows: 1e999999999 is eleven characters.
    if number.adjusted() > 21:
        raise Invalid(f"time outside the years 1990 to 2100: {shown(text)}")
    micros = int(number * _EPOCH_UNITS[unit])
    if abs(micros) >= LATEST:
        raise Invalid(f"time outside the years 1990 to 2100: {shown(text)}, read as {unit}")
    return parse_time(micros)


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def number_of(value: object) -> int | float:
    """Integer where it is one, else a float. Raises ``Invalid``."""
    if isinstance(value, (bool, bytes)) or not isinstance(value, (str, int, float, Decimal)):
        raise Invalid(f"not a number: {shown(value)}")
    number = _decimal(str(value).strip())
    if number is None or (number and abs(number.adjusted()) > 300):
        raise Invalid(f"not a number: {shown(value)}")
    if number == number.to_integral_value() and number.copy_abs() <= MAX_INTEGER:
        return int(number)
    result = float(number)
    if not math.isfinite(result):
        raise Invalid(f"not a number: {shown(value)}")
    return result


def integer_of(value: object) -> int:
    number = number_of(value)
    if not isinstance(number, int):
        raise Invalid(f"not an integer up to 2^53: {shown(value)}")
    return number


def boolean_of(value: object) -> bool:
    """Of true/false, t/f, yes/no, y/n, on/off, 1/0 in any case. Raises ``Invalid``."""
    text = str(value).strip().lower()
    if text not in _TRUE and text not in _FALSE:
        raise Invalid(f"neither true nor false: {shown(value)}")
    return text in _TRUE
