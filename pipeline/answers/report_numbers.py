"""The report's numbers: what it is made of, and the sums over it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from math import fsum

from schemas.times import to_datetime
from schemas.verdict import MISSING

STATUSES = tuple(status.value for status in MISSING)
HOURS = 24

Money = Mapping[str, float]
"""Currency ("" where none is known) to amount."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One missing transaction with its worst drop. Times in µs, 0 where there is none.

    ``resolved``: "" while it is missing; else what is said of it now, and ``status`` is what was said at the day's end.
    ``more``: how many other drops there are. ``unread``: how many records name it that came and could not be read.
    """

    flow: str
    key_type: str
    transaction_id: str
    status: str
    started_at: int
    kind: str = ""
    from_step: str = ""
    from_system: str = ""
    to_step: str = ""
    system: str = ""
    since: int = 0
    due: int = 0
    instance: str = ""
    missing: int = 0
    expected: int = 0
    error: str = ""
    silent: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    more: int = 0
    value: float | None = None
    currency: str = ""
    resolved: str = ""
    unread: int = 0

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        return (self.kind, self.from_system, self.from_step, self.system, self.to_step)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries that dropped at one place: how many per status, and their money."""

    flow: str
    kind: str
    from_system: str
    from_step: str
    system: str
    to_step: str
    count: int
    statuses: Mapping[str, int]
    money: Money


@dataclass(frozen=True, slots=True)
class SystemHeard:
    """How a system was heard over the day: ``deaf``: intervals µs within it, or since what
    they leave unknown was last seen; ``unknown``: verdicts that this leaves unknown."""

    system: str
    says: str
    heard_through: int | None
    deaf: tuple[tuple[int, int], ...]
    silent: bool
    unvouched: bool
    unknown: int


@dataclass(frozen=True, slots=True)
class Report:
    """``begin``, ``end``: the day in ``zone``, µs, half open. ``made_at``, ``known_through``: µs. ``by_hour``: missing entries
    by the local hour of day D in which they were last seen; ``earlier``: those last seen before D. ``started``: transactions
    that began on D; ``excluded``: test transactions among them, ``excluded_total`` those up to the end of D."""

    day: str
    zone: str
    begin: int
    end: int
    made_at: int
    known_through: int
    flow: str
    missing: tuple[Entry, ...]
    resolved: tuple[Entry, ...]
    statuses: Mapping[str, int]
    money: Money
    money_by_status: Mapping[str, Money]
    by_drop: tuple[Group, ...]
    by_hour: tuple[int, ...]
    earlier: int
    systems: tuple[SystemHeard, ...]
    unknown: int
    started: int
    excluded: int
    excluded_total: int
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the day was over when the report was made."""
        return self.end <= self.made_at


def money_of(entries: Iterable[Entry]) -> Money:
    amounts: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        if entry.value is not None:
            amounts[entry.currency].append(entry.value)
    return {currency: round(fsum(values), 2) for currency, values in sorted(amounts.items())}


def by_drop_of(entries: list[Entry]) -> tuple[Group, ...]:
    groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.flow, *entry.place].append(entry)
    made = [
        Group(flow, *found[0].place, len(found), dict(Counter(entry.status for entry in found)), money_of(found))
        for (flow, *_), found in groups.items()
    ]
    return tuple(sorted(made, key=lambda group: (-group.count, group.flow, group.to_step, group.kind)))


def by_hour_of(entries: list[Entry], begin: int, end: int, zone: tzinfo) -> tuple[tuple[int, ...], int]:
    hours, earlier = [0] * HOURS, 0
    for entry in entries:
        if entry.since < begin:
            earlier += 1
        elif entry.since < end:
            hours[to_datetime(entry.since).astimezone(zone).hour] += 1
    return tuple(hours), earlier
