"""Sets of running numbers as ranges: ascending, disjoint, not even touching; first and last included. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Range = tuple[int, int]
Ranges = tuple[Range, ...]


def union(*sets: Iterable[Range]) -> list[Range]:
    """All numbers that are in any of them; these may overlap and come in any order. An empty range (last < first) is none."""
    found: list[Range] = []
    for first, last in sorted(one for ranges in sets for one in ranges):
        if last < first:
            continue
        if found and first <= found[-1][1] + 1:
            if last > found[-1][1]:
                found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """What is in ``ranges`` and not in ``taken``. Both as ``union`` makes them."""
    found: list[Range] = []
    place = 0
    for begin, last in ranges:
        first = begin
        while place < len(taken) and taken[place][1] < first:
            place += 1
        at = place
        while at < len(taken) and taken[at][0] <= last:
            if taken[at][0] > first:
                found.append((first, taken[at][0] - 1))
            first = taken[at][1] + 1
            at += 1
        if first <= last:
            found.append((first, last))
    return found


def count(ranges: Iterable[Range]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def below(ranges: Iterable[Range], end: int) -> list[Range]:
    """Those of 1 to ``end``."""
    return [(max(first, 1), min(last, end)) for first, last in ranges if max(first, 1) <= min(last, end)]
