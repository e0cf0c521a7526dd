"""Layouts: a parsed copybook, ready to read records by.

Names are those of the copybook with ``_`` for ``-``. FILLERs are left out, but for groups of them that hold something
(``FILLER_1``). A field that is nothing is left out too. Where bytes make no number of their picture the whole record is refused,
but in items that redefine each other: there only one reading is meant, and what the others make of it is no fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from collectors.formats.code_page import text_of_bytes
from collectors.formats.copybook_fields import Field, Reading, field_of
from collectors.formats.copybook_parser import CobolItem, Occurs
from schemas.errors import Invalid

MAX_RECORD = 1024 * 1024
"""Bytes of a record."""
_NOTHING: Any = object()


class Torn(Exception):  # noqa: N818  (no error: as far as is known, ``needed`` bytes are needed)
    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(slots=True)
class _Walk:
    """One record being read. ``chosen``: which of the groups that segments choose among is read; None for all."""

    data: bytes
    chosen: str | None = None
    counters: dict[str, Any] = field(default_factory=dict)
    measuring: bool = False


@dataclass(slots=True)
class _Node:
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

    def read(self, walk: _Walk, at: int) -> tuple[Any, int]:
        raise NotImplementedError

    def read_all(self, walk: _Walk, at: int) -> tuple[Any, int]:
        """The node, or the list of it, and where the next one begins."""
        if self.occurs is None:
            return self.read(walk, at)
        count, begin, found = self._count(walk), at, []
        for index in range(count):
            if at >= len(walk.data):
                at += (count - index) * self.most
                break
            value, at = self.read(walk, at)
            found.append(None if value is _NOTHING else value)
        return found, begin + self.occurs.most * self.most if self.fixed_table else at

    def _count(self, walk: _Walk) -> int:
        assert self.occurs is not None
        if self.occurs.counter is None:
            return self.occurs.most
        count = walk.counters.get(self.occurs.counter, _NOTHING)
        if count is _NOTHING and walk.measuring:
            raise Torn(len(walk.data) + 1)
        if count in (None, _NOTHING):
            count = 0
        if not isinstance(count, int) or not self.occurs.least <= count <= self.occurs.most:
            counter = self.occurs.counter
            raise ValueError(
                f"{self.path}: {counter} is {str(count)[:40]}, not {self.occurs.least} to {self.occurs.most}"
            )
        return count


@dataclass(slots=True)
class _Elementary(_Node):
    field: Field = None  # type: ignore[assignment]
    counter: str | None = None
    lenient: bool = False

    def read(self, walk: _Walk, at: int) -> tuple[Any, int]:
        end = at + self.field.size
        piece = walk.data[at:end]
        if len(piece) < self.field.size and not (piece and self.field.text):
            if piece and not self.lenient and not walk.measuring:
                raise ValueError(f"{self.path}: the record ends in the middle of it")
            return _NOTHING, end
        if walk.measuring and self.counter is None:
            return _NOTHING, end
        try:
            value = self.field.read(piece)
        except ValueError as error:
            if not self.lenient:
                raise ValueError(f"{self.path}: {piece[:20].hex()} {error}") from None
            value = None
        if self.counter is not None:
            walk.counters[self.counter] = value
        return _NOTHING if value is None else value, end


@dataclass(slots=True)
class _Group(_Node):
    """``parts``: one behind the other; of several nodes in one part the later ones redefine the first."""

    parts: list[list[_Node]] = field(default_factory=list)

    def read(self, walk: _Walk, at: int) -> tuple[Any, int]:
        found: dict[str, Any] = {}
        for part in self.parts:
            begin = at
            for node in part:
                if node.segment is not None and walk.chosen is not None and walk.chosen != node.segment:
                    at = max(at, begin + node.least)
                    continue
                value, end = node.read_all(walk, begin)
                at = max(at, end)
                if node.name is not None and value is not _NOTHING:
                    found[node.name] = value
                if node.as_text is not None:
                    found[node.as_text] = text_of_bytes(walk.data[begin:end], node.page).strip()
        # A group that the record has no byte of is no empty group.
        return found if found or at <= len(walk.data) else _NOTHING, at


class Layout:
    """Reads records. ``segments``: names of groups of which a record has the one that `read` is told. ``groups_as_text``: names
    of groups that are read as one text too, under their name with ``_NT``. ``tables``: whether what follows a table of a
    varying number of rows ``moves`` up, or stays behind the longest one (``fixed``). ``keep_root``: fields stand
    under the record's name; they always do where there are several.

    Raises:
        Invalid: with line and item.
    """

    def __init__(
        self,
        records: list[CobolItem],
        reading: Reading,
        *,
        segments: Collection[str] = (),
        groups_as_text: Collection[str] = (),
        fixed_tables: bool = False,
        keep_root: bool = False,
    ) -> None:
        self._reading = reading
        self._segments = {_upper(name) for name in segments}
        self._as_text = {_upper(name) for name in groups_as_text}
        self._fixed = fixed_tables
        self._counters = {item.occurs.counter for item in _all(records) if item.occurs and item.occurs.counter}
        self._fillers = 0
        self._sought = self._segments | self._as_text
        self._static: dict[str, tuple[int, Field]] = {}
        several = len(records) > 1
        self._collapsed = not several and not keep_root
        # Several records at the top share one area: each redefines the first.
        nodes = [self._node(record, 0, "", (), lenient=several and not self._segments) for record in records]
        self._root = _Group(None, max(n.least for n in nodes), max(n.most for n in nodes), "", parts=[nodes])
        if self._sought:
            raise Invalid(f"no item is called {', '.join(sorted(self._sought))}"[:200])
        if not {counter for counter in self._counters if counter} <= {
            _upper(item.name or "") for item in _all(records)
        }:
            raise Invalid("a table depends on an item that is not there")

    @property
    def least(self) -> int:
        """Bytes of the shortest record."""
        return self._root.least

    @property
    def most(self) -> int:
        """Bytes of the longest record."""
        return self._root.most

    def read(self, data: bytes, chosen: str | None = None) -> dict[str, Any]:
        """A record's fields. ``chosen``: a group of ``segments``, "" for none of them.

        Raises:
            ValueError: the field at fault, and why.
        """
        walk = _Walk(data, None if chosen is None else _upper(chosen))
        found, _ = self._root.read(walk, 0)
        fields: dict[str, Any] = {} if found is _NOTHING else found
        if self._collapsed and len(fields) == 1 and isinstance(inner := next(iter(fields.values())), dict):
            return inner
        return fields

    def extent(self, data: bytes) -> int:
        """Bytes of the record that data begins with.

        Raises:
            Torn: more bytes are needed to say.
            ValueError: no record begins here.
        """
        if len(data) < self.least:
            raise Torn(self.least)
        _, end = self._root.read(_Walk(data, measuring=True), 0)
        if end > len(data):
            raise Torn(end)
        return end

    def place(self, name: str) -> tuple[int, Field]:
        """Where an item stands in every record. Raises ``Invalid`` where it is none, or moves."""
        found = self._static.get(_upper(name))
        if found is None:
            raise Invalid(f"no item {name[:60]!r} that stands at the same place in every record")
        return found

    def _node(self, item: CobolItem, at: int | None, within: str, strides: tuple[int, ...], *, lenient: bool) -> _Node:
        """``at``: offset, None where it varies. ``strides``: sizes of the tables' rows that it stands in."""
        path = f"{within}.{item.name}" if within and item.name else item.name or within or "FILLER"
        if item.children:
            node: _Node = self._group(item, at, path, strides, lenient=lenient)
        else:
            node = self._elementary(item, at, path, strides, lenient=lenient)
        if item.occurs is not None:
            node.occurs, node.fixed_table = item.occurs, self._fixed
        rows = item.occurs.most if item.occurs else 1
        if node.most * rows > MAX_RECORD:
            raise Invalid(f"is longer than {MAX_RECORD} bytes", line=item.line, field=item.name)
        return node

    def _elementary(
        self, item: CobolItem, at: int | None, path: str, strides: tuple[int, ...], *, lenient: bool
    ) -> _Node:
        found = field_of(item, self._reading)
        if item.synchronized and found.align > 1 and (at is None or any(n % found.align for n in (at, *strides))):
            reason = "is SYNCHRONIZED, but stands at no multiple of its size: write the slack bytes as a FILLER"
            raise Invalid(reason, line=item.line, field=item.name)
        if item.name is not None and at is not None and not strides and item.occurs is None:
            self._static.setdefault(_upper(item.name), (at, found))
        counter = item.name if item.name in self._counters else None
        node = _Elementary(
            _output(item.name), found.size, found.size, path, field=found, counter=counter, lenient=lenient
        )
        self._marks(node, item)
        return node

    def _group(self, item: CobolItem, at: int | None, path: str, strides: tuple[int, ...], *, lenient: bool) -> _Node:
        name = _output(item.name)
        if name is None:
            self._fillers += 1
            name = f"FILLER_{self._fillers}"
        group = _Group(name, 0, 0, path)
        self._marks(group, item)
        if item.occurs is not None:
            strides = (*strides, self._size(item))
        taken: dict[str, int] = {}
        for cluster in _clusters(item.children):
            nodes = []
            for child in cluster:
                node = self._node(child, at, path, strides, lenient=lenient or len(cluster) > 1)
                if node.name is not None:
                    taken[node.name] = taken.get(node.name, 0) + 1
                    if taken[node.name] > 1:
                        node.name = f"{node.name}_{taken[node.name]}"
                nodes.append(node)
            least, most = max(map(self._least, nodes)), max(map(_most, nodes))
            group.parts.append(nodes)
            group.least += least
            group.most += most
            at = None if at is None or least != most else at + most
        if not any(node.name or node.as_text for part in group.parts for node in part):
            group.name = None
            self._fillers -= item.name is None
        return group

    def _marks(self, node: _Node, item: CobolItem) -> None:
        name = _upper(item.name or "")
        node.page = self._reading.code_page
        if name in self._segments:
            node.segment = name
        if name in self._as_text:
            node.as_text = f"{_output(item.name)}_NT"
        self._sought = self._sought - {name}

    def _least(self, node: _Node) -> int:
        if node.occurs is None:
            return node.least
        return node.occurs.most * node.most if self._fixed else node.occurs.least * node.least

    def _size(self, item: CobolItem) -> int:
        """Bytes of a row at its longest."""
        if not item.children:
            return field_of(item, self._reading).size
        return sum(
            max(self._size(child) * (child.occurs.most if child.occurs else 1) for child in cluster)
            for cluster in _clusters(item.children)
        )


def _most(node: _Node) -> int:
    return node.most * (node.occurs.most if node.occurs else 1)


def _clusters(items: list[CobolItem]) -> Iterator[list[CobolItem]]:
    """Items one behind the other, each with those that redefine it."""
    cluster: list[CobolItem] = []
    for item in items:
        if item.redefines is None:
            if cluster:
                yield cluster
            cluster = [item]
        elif item.redefines not in {other.name for other in cluster}:
            raise Invalid(
                f"redefines {item.redefines}, which does not stand before it", line=item.line, field=item.name
            )
        else:
            cluster.append(item)
    if cluster:
        yield cluster


def _all(items: list[CobolItem]) -> Iterator[CobolItem]:
    for item in items:
        yield item
        yield from _all(item.children)


def _upper(name: str) -> str:
    return name.upper().replace("_", "-")


def _output(name: str | None) -> str | None:
    return None if name is None else name.replace("-", "_")
