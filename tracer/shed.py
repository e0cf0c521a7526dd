"""Which running numbers were shed: ranges, as many as a marker can carry."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

MAX_RANGES = 500
"""Of 20 bytes each, every two seconds while an outage lasts. One outage is mostly one range."""


class Shed:
    """A set of numbers as disjoint ranges, first and last included.

    Where there would be more than ``MAX_RANGES``, what would open another is left out: it is counted all the same, so readers
    see that some are not told, and how many. No range is ever widened over numbers that were not shed.
    """

    def __init__(self) -> None:
        self.count = 0
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def ranges(self) -> list[list[int]]:
        """``[[first, last], …]``, ascending."""
        return [[first, last] for first, last in zip(self._firsts, self._lasts, strict=True)]

    def restore(self, count: int, ranges: Sequence[tuple[int, int]]) -> None:
        """What an earlier process of the same epoch had counted; the ranges ascending, and fewer than ``count`` where not all are
        told."""
        self.count = count
        self._firsts, self._lasts = [first for first, _ in ranges], [last for _, last in ranges]

    def add(self, numbers: Iterable[int]) -> None:
        """Numbers that were not added before."""
        for number in numbers:
            self.count += 1
            self._add(number)

    def _add(self, number: int) -> None:
        firsts, lasts = self._firsts, self._lasts
        place = bisect_right(firsts, number)
        follows = place > 0 and lasts[place - 1] == number - 1
        leads = place < len(firsts) and firsts[place] == number + 1
        if follows and leads:
            lasts[place - 1] = lasts.pop(place)
            del firsts[place]
        elif follows:
            lasts[place - 1] = number
        elif leads:
            firsts[place] = number
        elif len(firsts) < MAX_RANGES:
            firsts.insert(place, number)
            lasts.insert(place, number)
