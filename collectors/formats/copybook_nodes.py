"""Nodes: the items of a copybook as they stand in a record, read one behind the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from collectors.formats.code_page import text_of_bytes
from collectors.formats.copybook_fields import Field
from collectors.formats.copybook_parser import Occurs

NOTHING: Any = object()
"""What a field is that is left out."""


class Torn(Exception):  # noqa: N818  (no error: as far as is known, ``needed`` bytes are needed)
    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(slots=True)
class Walk:
    """One record being read. ``chosen``: which of the groups that segments choose among is read; None for all."""

    data: bytes
    chosen: str | None = None
    counters: dict[str, Any] = field(default_factory=dict)
    measuring: bool = False


@dataclass(slots=True)
class Node:
    """``least``, ``most``: bytes. ``name``: None is left out. ``segment``: chosen by a segment's value, under this name."""

    name: str | None
    least: int
    most: int
    path: str
    occurs: Occurs | None = None
    fixed_table: bool = False
    segment: str | None = None
    as_text: str | None = None
    page: str = ""

    def read(self, walk: Walk, at: int) -> tuple[Any, int]:
        raise NotImplementedError

    def read_all(self, walk: Walk, at: int) -> tuple[Any, int]:
        """The node, or the list of it, and where the next one begins."""
        if self.occurs is None:
            return self.read(walk, at)
        count, begin, found = self._count(walk), at, []
        for index in range(count):
            if at >= len(walk.data):
                at += (count - index) * self.most
                break
            value, at = self.read(walk, at)
            found.append(None if value is NOTHING else value)
        return found, begin + self.occurs.most * self.most if self.fixed_table else at

    def _count(self, walk: Walk) -> int:
        assert self.occurs is not None
        if self.occurs.counter is None:
            return self.occurs.most
        count = walk.counters.get(self.occurs.counter, NOTHING)
        if count is NOTHING and walk.measuring:
            raise Torn(len(walk.data) + 1)
        if count in (None, NOTHING):
            count = 0
        if not isinstance(count, int) or not self.occurs.least <= count <= self.occurs.most:
            counter = self.occurs.counter
            raise ValueError(
                f"{self.path}: {counter} is {str(count)[:40]}, not {self.occurs.least} to {self.occurs.most}"
            )
        return count


@dataclass(slots=True)
class Elementary(Node):
    field: Field = None  # type: ignore[assignment]
    counter: str | None = None
    lenient: bool = False

    def read(self, walk: Walk, at: int) -> tuple[Any, int]:
        end = at + self.field.size
        piece = walk.data[at:end]
        if len(piece) < self.field.size and not (piece and self.field.text):
            if piece and not self.lenient and not walk.measuring:
                raise ValueError(f"{self.path}: the record ends in the middle of it")
            return NOTHING, end
        if walk.measuring and self.counter is None:
            return NOTHING, end
        try:
            value = self.field.read(piece)
        except ValueError as error:
            if not self.lenient:
                raise ValueError(f"{self.path}: {piece[:20].hex()} {error}") from None
            value = None
        if self.counter is not None:
            walk.counters[self.counter] = value
        return NOTHING if value is None else value, end


@dataclass(slots=True)
class Group(Node):
    """``parts``: one behind the other; of several nodes in one part the later ones redefine the first."""

    parts: list[list[Node]] = field(default_factory=list)

    def read(self, walk: Walk, at: int) -> tuple[Any, int]:
        found: dict[str, Any] = {}
        for part in self.parts:
            begin = at
            for node in part:
                if node.segment is not None and walk.chosen is not None and walk.chosen != node.segment:
                    at = max(at, begin + node.least)
                    continue
                value, end = node.read_all(walk, begin)
                at = max(at, end)
                if node.name is not None and value is not NOTHING:
                    found[node.name] = value
                if node.as_text is not None:
                    found[node.as_text] = text_of_bytes(walk.data[begin:end], node.page).strip()
        # A group that the record has no byte of is no empty group.
        return found if found or at <= len(walk.data) else NOTHING, at
