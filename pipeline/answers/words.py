"""Words for people: times in the business's zone, lengths of time, systems by the names that people use, lists.

Everything here turns a value into English that a support agent reads aloud; nothing here decides anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from schemas.flow import Flow
from schemas.landscape import Landscape
from schemas.times import DAY, HOUR, LATEST, MINUTE, SECOND, from_datetime, parse_zone, to_datetime

_UNITS = (("year", 365 * DAY), ("month", 30 * DAY), ("week", 7 * DAY), ("day", DAY), ("hour", HOUR), ("minute", MINUTE))
_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]*(?:['’-][a-z]+)?[.,;:]?")


def length(duration: int) -> str:
    """A length of time (µs) in one unit, as people say it: "2 hours", "3 days", "less than a minute"."""
    duration = abs(duration)
    for unit, size in _UNITS:
        # From two of a unit on: "47 hours" says more than "1 day", and ten days do not sound like a week.
        if duration >= (size if unit == "minute" else 2 * size):
            return count(duration // size, unit)
    return "less than a minute" if duration >= SECOND else "less than a second"


def exact(duration: int) -> str:
    """A length of time in two units at most, for tables and lateness: "2 days 4 hours", "12 seconds"."""
    rest, parts = abs(duration), []
    for unit, size in (*_UNITS[:1], *_UNITS[3:], ("second", SECOND)):
        number, rest = divmod(rest, size)
        if number:
            parts.append(count(number, unit))
        if len(parts) == 2 or (parts and not number):
            break
    return " ".join(parts) or "less than a second"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural(noun)}"


def plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def listing(items: Sequence[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    items = list(dict.fromkeys(items))
    return " ".join(items) if len(items) < 2 else f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "”.")) else ".") if text else ""


def plain_reason(error: str | None) -> str:
    """An error's text where people can read it ("card declined"), else "": no codes, addresses or numbers."""
    words = (error or "").split()
    if not 0 < len(words) <= 12 or not all(_PLAIN_WORD.fullmatch(word) for word in words):
        return ""
    return " ".join(words).rstrip(".,;:")


@dataclass(frozen=True, slots=True)
class Clock:
    """Says instants relative to ``now`` (µs) in ``zone``."""

    now: int
    zone: tzinfo

    @classmethod
    def of(cls, now: int, landscape: Landscape) -> Clock:
        return cls(now, parse_zone(landscape.zone))

    def at(self, time: int) -> str:
        """ "today at 14:05", "yesterday at 09:00", "on Tue 3 March at 14:05", with the year where it is another one."""
        moment, today = self._local(time), self._local(self.now)
        days = (today.date() - moment.date()).days
        hour = f"{moment:%H:%M}"
        if days in (-1, 0, 1):
            return f"{('tomorrow', 'today', 'yesterday')[days + 1]} at {hour}"
        return f"on {self._date(moment, today)} at {hour}"

    def day(self, time: int) -> str:
        """ "today", "on Tue 3 March"."""
        moment, today = self._local(time), self._local(self.now)
        days = (today.date() - moment.date()).days
        return ("tomorrow", "today", "yesterday")[days + 1] if days in (-1, 0, 1) else f"on {self._date(moment, today)}"

    def ago(self, time: int) -> str:
        """ "today at 14:05 (2 hours ago)"."""
        gone = self.now - time
        if gone < MINUTE:
            return self.at(time)
        return f"{self.at(time)} ({length(gone)} ago)"

    def short(self, time: int, *, seconds: bool = False) -> str:
        """ "2026-03-03 14:05", for tables."""
        return f"{self._local(time):%Y-%m-%d %H:%M:%S}" if seconds else f"{self._local(time):%Y-%m-%d %H:%M}"

    def _date(self, moment: datetime, today: datetime) -> str:
        text = f"{moment:%a} {moment.day} {moment:%B}"
        return text if moment.year == today.year else f"{text} {moment.year}"

    def _local(self, time: int) -> datetime:
        return to_datetime(max(0, min(time, LATEST))).astimezone(self.zone)


def day_bounds(day: str, zone: tzinfo) -> tuple[int, int]:
    """Beginning and end (µs, half open) of a calendar day ("2026-03-03") in ``zone``; 23 or 25 hours where clocks change."""
    start = datetime.fromisoformat(day).replace(tzinfo=zone)
    nxt = datetime.fromordinal(start.toordinal() + 1).replace(tzinfo=zone)
    return from_datetime(start), from_datetime(nxt)


@dataclass(frozen=True, slots=True)
class Names:
    """What people call the parts of a flow: never an id."""

    flow: Flow
    landscape: Landscape

    @property
    def noun(self) -> str:
        """ "order"."""
        return self.flow.says.name or self.flow.flow.replace("_", " ").replace("-", " ")

    def subject(self, transaction_id: str) -> str:
        """ "order 10248", or "this order" where the customer could not know the number."""
        kind = self.landscape.keys.get(self.flow.key)
        if kind and kind.customer_knows:
            return f"{self.noun} {transaction_id}"
        return f"this {self.noun}"

    def step(self, step: str) -> str:
        """A step's name in quotes; one that the flow does not have is not named."""
        return f"“{self.flow.label(step)}”" if step in self.flow.steps else "another step"

    def has_words(self, system: str | None) -> bool:
        return bool(self._says(system))

    def _says(self, system: str | None) -> str:
        known = self.landscape.systems
        spec = known.get(system or "") or known.get(self.landscape.current_name(system or ""))
        return spec.says.strip() if spec else ""

    def system(self, system: str | None, step: str = "") -> str:
        """ "the warehouse": the landscape's words, else by what the system does."""
        says = self._says(system)
        if says:
            return says if says[0].isupper() or says.startswith(("the ", "our ", "a ")) else f"the {says}"
        first = next((name for name, other in self.flow.steps.items() if other.system == system), "")
        own = step if step in self.flow.steps else first
        return f"the system for {self.step(own)}" if own in self.flow.steps else "another system"

    def instance(self, step: str, instance: str) -> str:
        """ "parcel 4711", or "one parcel" where its number is not for people."""
        spec = self.flow.steps.get(step)
        kind = (spec.per if spec else None) or "part"
        noun = kind.replace("_", " ").replace("-", " ")
        known = self.landscape.keys.get(kind)
        return f"{noun} {instance}" if known and known.customer_knows else f"one {noun}"
