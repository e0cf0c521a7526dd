"""Segments as fields: a transaction set or message as nested mappings, by names that stay the same.

``BEG.03`` is the third element of the segment BEG, ``BEG.03-2`` its second component (the first is the element's own name), and
``BEG.03[2]`` its second repetition. What is empty is left out. Of a segment that occurs several times the first has the plain
name; one with a qualifier is found by it (``REF.VN.02``, ``N1.BY.04``), and ``all`` lists them (``ITD.all.1.03``). Segments that
begin a group hold those that belong to it: ``N1.ST.N4.01``, ``RFF.ON.DTM.171.01-2``. Loops of lines are lists: ``PO1.0.02``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collectors.formats.edi_segments import Segment

_MAX_LEVELS = 20
"""Shipment, order, tare, pack and item are five."""


class Loops(NamedTuple):
    """What holds what. ``listed``: segments that begin a loop of their own, which anything may belong to, unless ``members`` says
    what; ``members``: of segments that begin a group; ``closers``: segments behind all loops; ``qualified``: whose first element
    tells which of several it is, None for all."""

    listed: frozenset[str]
    members: Mapping[str, frozenset[str]]
    closers: frozenset[str]
    qualified: frozenset[str] | None


@dataclass(slots=True, eq=False)
class Node:
    """A segment and what belongs to it. The set itself is one without a segment."""

    segment: Segment | None
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def tag(self) -> str:
        return self.segment.tag if self.segment is not None else ""

    def under(self) -> Iterator[Node]:
        """The nodes below, in order."""
        for child in self.children:
            yield child
            yield from child.under()

    def above(self) -> Iterator[Node]:
        """The loops that it stands in, innermost first; not the set itself."""
        node = self.parent
        while node is not None and node.segment is not None:
            yield node
            node = node.parent

    def last(self) -> Segment | None:
        """The last segment that belongs to it."""
        return self.children[-1].last() if self.children else self.segment

    def get(self, tag: str) -> Segment | None:
        """The first segment of this tag that stands directly in it."""
        return next((child.segment for child in self.children if child.tag == tag), None)


def tree_of(segments: Iterable[Segment], loops: Loops) -> Node:
    """A loop's tag never stands within itself, so the tree is no deeper than there are tags that begin something."""
    root = here = Node(None)
    for segment in segments:
        tag = segment.tag
        if tag in loops.closers:
            here = root
        while here.segment is not None and not _belongs(tag, here, loops):
            here = here.parent or root
        node = Node(segment, here)
        here.children.append(node)
        if tag in loops.listed or tag in loops.members:
            here = node
    return root


def _belongs(tag: str, here: Node, loops: Loops) -> bool:
    begins = tag in loops.listed or tag in loops.members
    if begins and (tag == here.tag or any(node.tag == tag for node in here.above())):
        return False
    members = loops.members.get(here.tag)
    return members is None or tag in members


def fields_of(node: Node, loops: Loops, without: Collection[str] = ()) -> dict[str, Any]:
    """A node's elements and what belongs to it. ``without``: loops that are left out."""
    found: dict[str, Any] = elements_of(node.segment) if node.segment is not None else {}
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for child in node.children:
        if child.tag not in without:
            by_tag.setdefault(child.tag, []).append(fields_of(child, loops, without))
    for tag, several in by_tag.items():
        if tag in loops.listed:
            found[tag] = several
        else:
            found[tag] = _named(several, qualified=loops.qualified is None or tag in loops.qualified)
    return found


def _named(several: list[dict[str, Any]], *, qualified: bool) -> dict[str, Any]:
    merged = dict(several[0])
    if qualified:
        for one in several:
            merged.setdefault(str(one.get("01", "")), one)
        merged.pop("", None)
    if len(several) > 1:
        merged["all"] = several
    return merged


def elements_of(segment: Segment) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, element in enumerate(segment.elements, 1):
        if segment.marks.plain(element):
            if text := element.strip():
                found[f"{number:02d}"] = text
            continue
        for repeat, components in enumerate(segment.marks.repetitions(element), 1):
            name = f"{number:02d}" if repeat == 1 else f"{number:02d}[{repeat}]"
            for at, text in enumerate(components, 1):
                if text:
                    found[name if at == 1 else f"{name}-{at}"] = text
    return found


def rows_of(root: Node, loops: Loops, each: Collection[str]) -> Iterator[tuple[Node, dict[str, Any]]]:
    """The set as a whole, or a row for each of the loops named, with the fields of the set and of the loops around it, which are
    no lists then. A set that has none of these loops is one row.
    """
    nodes = [node for node in root.under() if node.tag in each] if each else []
    if not nodes:
        yield root, fields_of(root, loops)
        return
    shared = fields_of(root, loops, each)
    levels = _Levels(nodes, loops, each)
    around: dict[int, dict[str, Any]] = {}
    for node in nodes:
        row = dict(shared)
        for loop in reversed(list(node.above())):
            if id(loop) not in around:
                around[id(loop)] = fields_of(loop, loops, each)
            row[loop.tag] = around[id(loop)]
        row[node.tag] = levels.fields(node)
        yield node, row


class _Place(NamedTuple):
    """Of a hierarchical level: its number, that of the one above it, and what it is."""

    number: str
    above: str
    kind: str


def _place(segment: Segment) -> _Place:
    return _Place(segment.get(1), segment.get(2), segment.get(3))


class _Levels:
    """X12's hierarchical levels: each names the one above it, and a row has them all, by what they are: ``HL.S``, ``HL.O``."""

    def __init__(self, nodes: list[Node], loops: Loops, each: Collection[str]) -> None:
        self._loops, self._each = loops, each
        self._places = {
            id(node): _place(node.segment) for node in nodes if node.segment is not None and node.tag == "HL"
        }
        self._by_number = {self._places[id(node)].number: node for node in nodes if id(node) in self._places}
        self._fields: dict[int, dict[str, Any]] = {}

    def fields(self, node: Node) -> dict[str, Any]:
        own = self._of(node)
        if node.tag != "HL":
            return own
        row, here = dict(own), node
        seen: set[int] = set()
        while id(here) not in seen and len(seen) < _MAX_LEVELS:
            seen.add(id(here))
            place = self._places[id(here)]
            row.setdefault(place.kind or "?", self._of(here))
            here = self._by_number.get(place.above, here)
        return row

    def _of(self, node: Node) -> dict[str, Any]:
        if id(node) not in self._fields:
            self._fields[id(node)] = fields_of(node, self._loops, self._each)
        return self._fields[id(node)]
