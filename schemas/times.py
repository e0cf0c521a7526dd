"""Instants and durations of the contract.

Inside the code an instant is an ``int``: microseconds since the Unix epoch, UTC; a duration is an ``int`` of microseconds.
Text (RFC 3339, ``15m``) exists only at the edges.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import Invalid

MICROSECOND = 1
MILLISECOND = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# More than 100 partitions in one insert refuses the whole batch: wild dates are quarantined before they get there.
EARLIEST = int((datetime(1990, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND
LATEST = int((datetime(2100, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()) * SECOND

_UNITS = {"us": 1, "ms": MILLISECOND, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d|w)")
_MICRO = timedelta(microseconds=1)


def from_datetime(moment: datetime) -> int:
    """Microseconds of an aware datetime. Raises ``Invalid`` for a naive one: its zone is unknown."""
    if moment.tzinfo is None:
        raise Invalid("time has no zone; give an offset (2026-01-31T08:00:00+01:00) or declare the source's zone")
    return (moment - EPOCH) // _MICRO


def to_datetime(time: int) -> datetime:
    """Aware UTC datetime of an instant."""
    return EPOCH + timedelta(microseconds=time)


def parse_time(value: object, zone: tzinfo | None = None) -> int:
    """Instant from an RFC 3339 text, a datetime or an integer of microseconds.

    ``zone`` is what the source declared for times that name none; without it a naive time raises ``Invalid``, as does
    anything outside the sane window (1990 to 2100).
    """
    given = value
    if isinstance(value, bool) or not isinstance(value, (int, str, datetime)):
        raise Invalid(f"not a time: {value!r:.60}")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise Invalid(f"not an RFC 3339 time: {str(given)[:60]!r}") from None
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=zone) if value.tzinfo is None and zone is not None else value
        try:
            value = from_datetime(moment)
        except OverflowError:
            raise Invalid(f"time outside the years 1990 to 2100: {moment}") from None
    if not EARLIEST <= value < LATEST:
        raise Invalid(f"time outside the years 1990 to 2100: {value} µs since 1970")
    return value


def format_time(time: int) -> str:
    """RFC 3339 in UTC with microseconds where there are any: ``2026-01-31T08:00:00Z``."""
    moment = to_datetime(time)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{moment.microsecond:06d}" if moment.microsecond else "") + "Z"


def parse_duration(value: object) -> int:
    """Microseconds of ``15m``, ``1h30m``, ``2d``, ``500ms``, ``0``. Raises ``Invalid``."""
    if isinstance(value, timedelta):
        return value // _MICRO
    text = str(value).strip().replace(" ", "")
    if text == "0":
        return 0
    pos, total = 0, 0.0
    for part in _DURATION.finditer(text):
        if part.start() != pos:
            break
        total += float(part[1]) * _UNITS[part[2]]
        pos = part.end()
    if isinstance(value, bool) or pos != len(text) or pos == 0 or total > 100 * 366 * DAY:
        raise Invalid(f"bad duration {str(value)[:40]!r}; write for instance 30s, 15m, 2h, 1h30m, 5d")
    return int(total)


def format_duration(duration: int) -> str:
    """Two units at most, as people say it: ``2d 4h``, ``15m``, ``3.2s``."""
    sign, rest = ("-", -duration) if duration < 0 else ("", duration)
    if 0 < rest < MILLISECOND:
        return f"{sign}{rest}us"
    if rest < MINUTE:
        return f"{sign}{rest / SECOND:.3g}s"
    parts: list[str] = []
    for unit, size in (("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
        if len(parts) == 2:
            break
    return sign + " ".join(part for part in parts if part)


def parse_zone(name: str) -> ZoneInfo:
    """Zone by IANA name. Raises ``Invalid``."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"unknown time zone {name[:60]!r}; use an IANA name such as Europe/Berlin") from None
