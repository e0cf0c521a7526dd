"""Membership: a filter that answers for transactions that are certainly new, so that state is read back rarely.

Reading 1,000 random transactions among 10M took 214 ms; most transactions of a batch are new.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from zlib import crc32

from pipeline.core.generations import number_of
from pipeline.store.contract import Transaction
from pipeline.store.rows import home

_BITS_EACH = 12
_PROBES = 6


class Members:
    """A Bloom filter that grows by adding slices, so that nothing is ever rehashed, beside what the store knew at the start. No
    false "new"."""

    def __init__(self, capacity: int = 100_000):
        self._slices: list[_Slice] = [_Slice(capacity)]
        self._marks: list[array[int]] = []

    def add(self, transaction: Transaction) -> None:
        last = self._slices[-1]
        if last.count >= last.capacity:
            last = _Slice(last.capacity * 2)
            self._slices.append(last)
        last.add(hash(transaction))

    def add_marks(self, marks: array[int]) -> None:
        """Many at once: their CRC-32, sorted. Four bytes each; among 10M one new transaction in 400 is taken for known."""
        if marks:
            self._marks.append(marks)

    def __contains__(self, transaction: Transaction) -> bool:
        value = hash(transaction)
        return any(value in part for part in self._slices) or (bool(self._marks) and self._marked(transaction))

    def _marked(self, transaction: Transaction) -> bool:
        mark = crc32(f"{transaction[0]}:{number_of(transaction[1])}".encode())
        for marks in self._marks:
            place = bisect_left(marks, mark)
            if place < len(marks) and marks[place] == mark:
                return True
        return False


class Residents:
    """Members by the partition, of ``of``, in which they live, so that they go when it does. Of a partition that is not open
    nobody is certainly new. ``homes``: partition to members, for whoever knows the partition."""

    def __init__(self, of: int, capacity: int = 100_000):
        # All partitions together begin with as much as one filter for all would.
        self._of, self._capacity = of, capacity // of + 1
        self.homes: dict[int, Members] = {}

    def open(self, partitions: Sequence[int], marks: array[int] | None = None) -> None:
        """Begin anew with those of whom the store has ``marks``: sorted, and of these partitions."""
        split = {partition: array("I") for partition in partitions}
        if len(split) == 1 and marks is not None:
            split[partitions[0]] = marks
        else:
            for mark in marks or ():
                split[mark % self._of].append(mark)
        for partition, own in split.items():
            members = self.homes[partition] = Members(self._capacity)
            members.add_marks(own)

    def close(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.homes.pop(partition, None)

    def add(self, one: Transaction) -> None:
        members = self.homes.get(home(one, self._of))
        if members is not None:
            members.add(one)

    def __contains__(self, one: Transaction) -> bool:
        members = self.homes.get(home(one, self._of))
        return members is None or one in members


class _Slice:
    __slots__ = ("_bits", "_mask", "capacity", "count")

    def __init__(self, capacity: int):
        bits = 1 << (capacity * _BITS_EACH - 1).bit_length()
        self._bits = bytearray(bits // 8)
        self._mask = bits - 1
        self.capacity = capacity
        self.count = 0

    def add(self, value: int) -> None:
        self.count += 1
        bits, mask, step = self._bits, self._mask, (value >> 32) | 1
        for _ in range(_PROBES):
            place = value & mask
            bits[place >> 3] |= 1 << (place & 7)
            value += step

    def __contains__(self, value: int) -> bool:
        bits, mask, step = self._bits, self._mask, (value >> 32) | 1
        for _ in range(_PROBES):
            place = value & mask
            if not bits[place >> 3] & (1 << (place & 7)):
                return False
            value += step
        return True
