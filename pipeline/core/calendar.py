"""Working time: adding a duration that runs only while a calendar is open."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.landscape import Calendar
from schemas.times import DAY, from_datetime

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HORIZON_DAYS = 3_660
_EPOCH = date(1970, 1, 1).toordinal()
_ONE_DAY = timedelta(days=1)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


class WorkingTime:
    """A calendar ready to count with. Pure but for the zone's rules, which are data."""

    def __init__(self, calendar: Calendar):
        self._zone = ZoneInfo(calendar.zone)
        self._days = frozenset(_DAYS.index(day) for day in calendar.days)
        opens, closes = calendar.hours.split("-")
        self._opens, self._closes = _minutes(opens), _minutes(closes)
        self._holidays = frozenset(calendar.holidays)
        self._hours: dict[date, tuple[int, int]] = {}

    def add(self, start: int, duration: int) -> int:
        """The instant (µs) at which ``duration`` µs of working time have passed since ``start`` µs.

        A calendar that never opens within ten years counts as always open: a flow must not make an order wait for ever.
        """
        left = duration
        # From the day before by UTC: no zone's day began earlier, and zone arithmetic costs more than looking at a day too many.
        day = date.fromordinal(_EPOCH + start // DAY - 1)
        for _ in range(_HORIZON_DAYS):
            begin, end = self._open(day)
            begin = max(begin, start)
            if begin < end:
                if end - begin >= left:
                    return begin + left
                left -= end - begin
            day += _ONE_DAY
        return start + duration

    def _open(self, day: date) -> tuple[int, int]:
        """Opening and closing of a day, µs; remembered, since zone arithmetic was a tenth of judging."""
        hours = self._hours.get(day)
        if hours is None:
            if len(self._hours) > _HORIZON_DAYS:
                self._hours.clear()
            hours = self._hours[day] = self._work_out(day)
        return hours

    def _work_out(self, day: date) -> tuple[int, int]:
        if day.weekday() not in self._days or day in self._holidays:
            return 0, 0
        midnight = datetime.combine(day, time(), tzinfo=self._zone)
        # Wall-clock arithmetic within one zone, so that 08:00 stays 08:00 on the day that summer time begins.
        opens, closes = (from_datetime(midnight + timedelta(minutes=m)) for m in (self._opens, self._closes))
        return opens, closes
