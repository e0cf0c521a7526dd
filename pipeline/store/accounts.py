"""What the audit asks of a store: which running numbers are there, and why others are not. Part of the store's contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

STORED, QUARANTINED = "stored", "quarantined"
EXPIRED, FORGOTTEN, REPEATED = "expired", "forgotten", "repeated"


class AccountRow(NamedTuple):
    """Running numbers ``first`` to ``last`` (included) whose event is in no table (any more), and why; 0 stands for events without
    a number, however many.

    ``how``: ``expired`` or ``forgotten``: its rows were deleted; ``repeated``: the same observation is stored under another number.
    ``at``: µs. Rows may overlap, and come again.
    """

    source: str
    epoch: int
    first: int
    last: int
    how: str
    at: int


class NumberRange(NamedTuple):
    """Running numbers ``first`` to ``last`` (included) of an epoch, all of them found. ``how``: stored (as an event, or kept under
    an alias), quarantined (now or once), or what ``AccountRow`` says, 0 included."""

    source: str
    epoch: int
    how: str
    first: int
    last: int


# Source, epoch, running number.
Point = tuple[str, int, int]


class Accounts(Protocol):
    """Reads for the audit."""

    def numbers(self, source: str = "", epoch: int = -1) -> Iterator[NumberRange]:
        """All running numbers that were seen, of every source or one, of every epoch or one.

        By (source, epoch, how, first); of one ``how`` the ranges neither overlap nor touch, so that a number counts once
        however many rows or transactions have it. The store makes the ranges: no list of numbers is ever transferred.
        """
        ...

    def unnumbered(self, source: str = "", begin: int = 0, end: int = 0) -> Mapping[tuple[str, int], tuple[int, int]]:
        """(source, epoch) to how many distinct events without a running number are stored, and how many records in quarantine
        have none; recorded in [``begin``, ``end``) µs, 0 for no bound."""
        ...

    def number_times(self, points: Sequence[Point]) -> Mapping[Point, int]:
        """When these numbers were first recorded, µs; of those that are stored or in quarantine."""
        ...


def joined(ranges: Iterable[NumberRange]) -> Iterator[NumberRange]:
    """Ranges, in order, of which those that touch or overlap are one."""
    held: NumberRange | None = None
    for one in ranges:
        if held is None:
            held = one
        elif one[:3] == held[:3] and one.first <= held.last + 1:
            held = held._replace(last=max(held.last, one.last))
        else:
            yield held
            held = one
    if held is not None:
        yield held
