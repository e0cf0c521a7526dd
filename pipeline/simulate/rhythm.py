"""When things happen: the day, the week, and the hours in which a warehouse is open."""

from __future__ import annotations

from bisect import bisect
from datetime import datetime, time, timedelta
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

from schemas.landscape import Calendar
from schemas.times import DAY, HOUR, from_datetime, to_datetime

# Share of a day's visits by hour (UTC): nobody at four, a bump at noon, most in the evening.
_SHOPPING = (3, 2, 1, 1, 1, 2, 5, 9, 12, 14, 15, 17, 19, 16, 14, 14, 16, 20, 25, 28, 27, 20, 12, 6)
_OFFICE = (0, 0, 0, 0, 0, 0, 2, 14, 24, 26, 25, 18, 12, 20, 24, 22, 14, 4, 1, 0, 0, 0, 0, 0)
# Monday to Sunday.
_SHOPPING_WEEK = (10, 9, 9, 10, 11, 14, 15)
_OFFICE_WEEK = (12, 11, 11, 11, 10, 2, 0)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Rhythm:
    """Instants between ``begin`` and ``end`` (µs), drawn by hour of the day and day of the week."""

    def __init__(self, begin: int, end: int, *, office: bool = False):
        hours, week = (_OFFICE, _OFFICE_WEEK) if office else (_SHOPPING, _SHOPPING_WEEK)
        first = begin - begin % HOUR
        self._begin, self._end = begin, end
        self._hours = list(range(first, end, HOUR))
        moments = [to_datetime(hour) for hour in self._hours]
        self._sums = list(accumulate(hours[moment.hour] * week[moment.weekday()] for moment in moments))

    def draw(self, random: Random) -> int:
        """One instant, µs. Uniform where the period has no busy hour."""
        if not self._sums or self._sums[-1] == 0:
            return random.randrange(self._begin, self._end)
        for _ in range(8):
            hour = self._hours[bisect(self._sums, random.random() * self._sums[-1])]
            moment = hour + random.randrange(HOUR)
            if self._begin <= moment < self._end:
                return moment
        return random.randrange(self._begin, self._end)

    def draw_many(self, random: Random, count: int) -> list[int]:
        """``count`` instants, earliest first."""
        return sorted(self.draw(random) for _ in range(count))


class OpenHours:
    """A calendar's open hours, walked window by window.

    Written apart from the judge's own arithmetic on purpose: truth must not inherit its mistakes.
    """

    def __init__(self, calendar: Calendar):
        self._calendar = calendar
        self._zone = ZoneInfo(calendar.zone)
        opens, closes = calendar.hours.split("-")
        self._opens, self._closes = _wall(opens), _wall(closes)

    def windows(self, start: int) -> list[tuple[int, int]]:
        """Open windows of the sixty days from the day of ``start``, cut to what is after it."""
        day = to_datetime(start).astimezone(self._zone).date()
        found = []
        for offset in range(60):
            date = day + timedelta(days=offset)
            if _WEEKDAYS[date.weekday()] in self._calendar.days and date not in self._calendar.holidays:
                midnight = datetime.combine(date, time(), tzinfo=self._zone)
                opens, closes = from_datetime(midnight + self._opens), from_datetime(midnight + self._closes)
                if closes > start:
                    found.append((max(opens, start), closes))
        return found

    def after(self, start: int, working: int) -> int:
        """The instant at which ``working`` µs of open hours have passed since ``start``."""
        for opens, closes in self.windows(start):
            if working <= closes - opens:
                return opens + working
            working -= closes - opens
        return start + 60 * DAY


def _wall(text: str) -> timedelta:
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))
