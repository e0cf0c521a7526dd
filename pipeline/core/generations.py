"""Generations: order numbers that come round (a key type with ``reuse_after``). Pure.

The rule. A number's events fall into *generations* by event time alone: an event belongs to a generation if it lies no further
than ``reuse_after`` from the first or the last event of it, or between them; of several to the nearest, of equally near ones to
the earlier; and where there is none, it begins one. The first to be found is filed under the number itself, further ones under
the number, ``↻`` and the least running number that is free: ``10248``, ``10248↻2``. (No key value may contain the sign.)

Where no process lasts longer than ``reuse_after`` and numbers come round later than that, any order of arrival, any batches and
any crash give the same generations; only which of two that come out of order is called the second depends on who came first.
An old one whose rows retention has deleted is known by its end: what comes within ``reuse_after`` of it is late and its own,
what comes later is the next one's. (Rejected: a boundary set when the old one's verdict is final. An order that was lost has
none, and what was said of it depended on what was heard.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from schemas.event import GENERATION

# An id is free again when nothing is known of it any more. Whoever asks which are taken has seen all when so many in a row are not.
AHEAD = 8


class Span(NamedTuple):
    """A generation: the id under which it is filed, and the times of its first and last known event, µs."""

    id: str
    first: int
    last: int

    def distance(self, time: int) -> int:
        """How far an event lies outside, µs."""
        return max(self.first - time, time - self.last, 0)

    def including(self, time: int) -> Span:
        return Span(self.id, min(self.first, time), max(self.last, time))


def number_of(id: str) -> str:
    """The number as it was sent: ``10248`` of ``10248↻2``."""
    return id.partition(GENERATION)[0]


def id_at(number: str, place: int) -> str:
    """The id of a number's generation by its running number, from 1."""
    return number if place == 1 else f"{number}{GENERATION}{place}"


def ids(number: str, count: int) -> list[str]:
    """The first so many ids of a number's generations."""
    return [id_at(number, place) for place in range(1, count + 1)]


def next_id(number: str, taken: Collection[str]) -> str:
    """The least that is free."""
    return next(id for id in ids(number, len(taken) + 1) if id not in taken)


def nearest(spans: Sequence[Span], time: int, reuse_after: int) -> Span | None:
    """The generation to which an event at ``time`` µs belongs; None where it begins one."""
    fitting = [(span.distance(time), span.first, span) for span in spans if span.distance(time) <= reuse_after]
    return min(fitting)[2] if fitting else None
