"""Envelopes: interchange, group, and transaction set or message; what their trailers say is checked against what is there.

A set whose number of segments or whose control number is wrong is unreadable, and so is every set of a group or an interchange
whose trailer is wrong, as a translator would refuse it. Where that is too strict, as with partners who never count,
``check: sets`` or ``check: none`` lets them pass; then the row says what is wrong (``mismatch``). A set without a trailer, a
segment that is none, and segments outside of a set are unreadable in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from collectors.formats.contract import Item
from collectors.formats.edi import MAX_PARTS, Syntax
from collectors.formats.edi_segments import Segment, segments_of
from collectors.formats.edi_tree import Loops, Node, rows_of, tree_of
from collectors.inputs.record import MAX_RAW, Row, Unreadable

Check = Literal["all", "sets", "none"]
Level = Literal["interchange", "group", "set"]


class Ends(NamedTuple):
    """A level's first and last segment. ``control``: the element of the first that the last repeats in its second; its first
    says how many there are. ``number``: compared as one, so that leading zeros say nothing."""

    first: str
    last: str
    control: int
    number: bool = False


class Envelope(NamedTuple):
    """``group_needed``: sets stand in groups only. ``service``: segments of the interchange itself that are rows, as TA1.

    ``named``: a set's type, version and so on, from the first segments of interchange, group and set. ``acknowledged``: what a row
    says of other sets, None where it acknowledges nothing.
    """

    interchange: Ends
    group: Ends
    set: Ends
    group_needed: bool
    service: frozenset[str]
    named: Callable[[Segment, Segment | None, Segment], dict[str, Any]]
    acknowledged: Callable[[dict[str, Any], Node, Node], dict[str, Any]]
    loops: Callable[[str], Loops]


@dataclass(slots=True)
class _Set:
    """A set as far as it was read. ``wrong``: what makes it unreadable; ``mismatch``: what a check may pass."""

    first: Segment
    group: _Group | None
    segments: list[Segment] = field(default_factory=list)
    last: Segment | None = None
    wrong: str = ""
    mismatch: list[str] = field(default_factory=list)

    @property
    def end(self) -> int:
        return (self.last or (self.segments[-1] if self.segments else self.first)).end


@dataclass(slots=True)
class _Group:
    first: Segment
    closed: bool = False
    sets: int = 0
    mismatch: list[str] = field(default_factory=list)


class Opened:
    """One interchange, taken apart. ``each``: loops that give a row each, see `rows_of`."""

    def __init__(self, envelope: Envelope, data: bytes, *, each: Sequence[str], check: Check) -> None:
        self._envelope, self._data, self._each, self._check = envelope, data, each, check
        self._sets: list[_Set] = []
        self._stray: list[tuple[Segment, str]] = []
        self._services: list[Segment] = []
        self._first: Segment | None = None
        self._group: _Group | None = None
        self._groups: list[_Group] = []
        self._open: _Set | None = None
        self._mismatch: list[str] = []

    def items(self, syntax: Syntax, encoding: str, blanks: bytes, line: int) -> tuple[Item, ...]:
        parts = syntax.parts(self._data)
        if parts > MAX_PARTS:
            return (self._unreadable(line, f"an interchange of {parts} parts; more than {MAX_PARTS} are not read"),)
        for segment in segments_of(self._data, syntax, encoding, blanks, line):
            self._take(segment)
        found = [*self._rows(), *(self._unreadable(s.line, f"{s.where()}: {reason}", s) for s, reason in self._stray)]
        if not found:
            found.append(self._unreadable(line, "no transaction set or message in the interchange"))
        return tuple(sorted(found, key=lambda item: item.line) if self._stray else found)

    def _unreadable(self, line: int, reason: str, segment: Segment | None = None) -> Unreadable:
        raw = self._data if segment is None else self._data[segment.begin : segment.end]
        return Unreadable(line, reason, raw[:MAX_RAW])

    def _take(self, segment: Segment) -> None:
        envelope, tag = self._envelope, segment.tag
        if segment.fault:
            self._faulty(segment)
        elif self._first is None:
            # The header was found by its tag, so it stands first; a UNA that precedes it is none of the segments.
            self._first = segment
        elif tag == envelope.set.first:
            self._begin(segment)
        elif tag == envelope.set.last:
            self._end(segment)
        elif self._open is not None and tag not in (
            envelope.group.first,
            envelope.group.last,
            envelope.interchange.last,
        ):
            self._open.segments.append(segment)
        elif tag == envelope.group.first:
            self._abandon(segment)
            self._leave_group(segment)
            self._group = _Group(segment)
            self._groups.append(self._group)
        elif tag == envelope.group.last:
            self._abandon(segment)
            self._end_group(segment)
        elif tag == envelope.interchange.last:
            self._abandon(segment)
            self._leave_group(segment)
            self._end_interchange(segment)
        elif tag in envelope.service:
            self._services.append(segment)
        else:
            self._stray.append((segment, f"stands outside of any {envelope.set.first}"))

    def _faulty(self, segment: Segment) -> None:
        if self._open is None:
            self._stray.append((segment, segment.fault))
        else:
            self._open.segments.append(segment)
            self._open.wrong = self._open.wrong or f"{segment.where()}: {segment.fault}"

    def _begin(self, segment: Segment) -> None:
        self._abandon(segment)
        self._open = _Set(segment, self._group)
        self._sets.append(self._open)
        if self._group is not None:
            self._group.sets += 1
        elif self._envelope.group_needed:
            self._open.mismatch.append(f"{segment.where()}: stands in no group ({self._envelope.group.first})")

    def _end(self, segment: Segment) -> None:
        opened, ends = self._open, self._envelope.set
        if opened is None:
            self._stray.append((segment, f"no {ends.first} before it"))
            return
        opened.last = segment
        opened.mismatch += _trailer(ends, opened.first, segment, len(opened.segments) + 2, "segments")
        self._open = None

    def _abandon(self, segment: Segment) -> None:
        """A set that has no trailer when something follows that cannot be in it."""
        if self._open is not None:
            self._open.wrong = f"{segment.where()}: stands where {self._envelope.set.last} is missing"
            self._open = None

    def _leave_group(self, segment: Segment) -> None:
        if self._group is not None:
            self._group.mismatch.append(f"{segment.where()}: stands where {self._envelope.group.last} is missing")
            self._group = None

    def _end_group(self, segment: Segment) -> None:
        group, ends = self._group, self._envelope.group
        if group is None:
            self._stray.append((segment, f"no {ends.first} before it"))
            return
        group.mismatch += _trailer(ends, group.first, segment, group.sets, "sets")
        self._group = None

    def _end_interchange(self, segment: Segment) -> None:
        assert self._first is not None
        count, what = (len(self._groups), "groups") if self._groups else (len(self._sets), "messages")
        self._mismatch += _trailer(self._envelope.interchange, self._first, segment, count, what)

    def _rows(self) -> Iterator[Item]:
        assert self._first is not None or not self._sets
        for segment in self._services:
            yield Row(segment.line, self._service(segment), self._data[segment.begin : segment.end])
        seen: set[tuple[str, str, str]] = set()
        for one in self._sets:
            name = self._identity(one)
            if name in seen:
                one.mismatch.append(f"{one.first.where()}: its control number {_shown(name[2])} was there before")
            seen.add(name)
            yield from self._set(one)

    def _identity(self, one: _Set) -> tuple[str, str, str]:
        envelope = self._envelope
        group = one.group.first.get(envelope.group.control) if one.group is not None else ""
        return one.first.get(1) if envelope.group_needed else "", group, one.first.get(envelope.set.control)

    def _set(self, one: _Set) -> Iterator[Item]:
        above = [*(one.group.mismatch if one.group is not None else ()), *self._mismatch]
        refused = {"all": one.mismatch + above, "sets": one.mismatch, "none": []}[self._check]
        if one.last is None and not one.wrong:
            one.wrong = f"{one.first.where()}: its {self._envelope.set.last} is missing"
        if one.wrong or refused:
            raw = self._data[one.first.begin : one.end]
            yield Unreadable(one.first.line, one.wrong or refused[0], raw[:MAX_RAW])
            return
        yield from self._read(one, one.mismatch + above)

    def _read(self, one: _Set, mismatch: list[str]) -> Iterator[Row]:
        assert self._first is not None
        named = self._envelope.named(self._first, one.group.first if one.group is not None else None, one.first)
        loops = self._envelope.loops(str(named.get("type", "")))
        each = self._each or tuple(loops.listed & ACKNOWLEDGED)
        loops = loops._replace(listed=loops.listed | frozenset(each))
        root = tree_of((one.first, *one.segments), loops)
        for node, fields in rows_of(root, loops, each):
            said = self._envelope.acknowledged(named, root, node)
            row = {**named, **said, **fields}
            if mismatch:
                row["mismatch"] = mismatch
            begin, end = one.first, one.end
            if node.segment is not None:
                begin, end = node.segment, (node.last() or node.segment).end
            yield Row(begin.line, row, self._data[begin.begin : end])

    def _service(self, segment: Segment) -> dict[str, Any]:
        assert self._first is not None
        named = self._envelope.named(self._first, None, segment)
        root = tree_of((segment,), self._envelope.loops(segment.tag))
        _, fields = next(rows_of(root, self._envelope.loops(segment.tag), ()))
        return {**named, **self._envelope.acknowledged(named, root, root.children[0]), **fields}


ACKNOWLEDGED = frozenset(("AK2", "UCM"))
"""Loops of acknowledgements, one for each set that is acknowledged: rows of their own without being asked for."""


def _trailer(ends: Ends, first: Segment, last: Segment, count: int, what: str) -> Iterator[str]:
    """What a trailer says that is not so."""
    said, control, own = last.get(1), last.get(2), first.get(ends.control)
    if not (said.isascii() and said.isdigit() and len(said) < 12 and int(said) == count):
        yield f"{last.where()}: counts {_shown(said)} {what}, there are {count}"
    if (control, own) != (own, own) and not (ends.number and _same_number(control, own)):
        yield f"{last.where()}: has the control number {_shown(control)}, {first.where()} has {_shown(own)}"


def _same_number(one: str, other: str) -> bool:
    return (
        one.isascii() and one.isdigit() and other.isascii() and other.isdigit() and one.lstrip("0") == other.lstrip("0")
    )


def _shown(text: str) -> str:
    return ascii(text[:40])
