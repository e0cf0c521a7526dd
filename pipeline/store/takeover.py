"""Taking partitions over: no more of each transaction than its next owner needs, for there are millions (DESIGN.md §8)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from schemas.verdict import Wait


class OpenRow(NamedTuple):
    """Of a winning verdict that is open. ``started_at``: µs. ``ended``: whether it has an end. ``troubled``: whether it has a
    drop or a finding, hence a body."""

    key_type: str
    transaction_id: str
    flow: str
    flow_version: int
    started_at: int
    ended: bool
    troubled: bool
    waits: tuple[Wait, ...]


class Takeover(Protocol):
    def open_waits(self, partitions: Sequence[int], of: int) -> Iterator[OpenRow]:
        """``open_verdicts``, as little of each as it takes to wait for it: a million whole rows took 30 s and this takes 9."""
        ...

    def known_marks(self, partitions: Sequence[int], of: int) -> array[int]:
        """``crc32(type:id)``, as ``array("I")``, sorted, each once, of every transaction that has a verdict row and lives
        there. The marks of a million take 0.2 s; a filter filled with their names took 9."""
        ...
