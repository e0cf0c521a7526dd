"""Layouts: a parsed copybook, ready to read records by.

Names are those of the copybook with ``_`` for ``-``. FILLERs are left out, but for groups of them that hold something
(``FILLER_1``). A field that is nothing is left out too. Where bytes make no number of their picture the whole record is refused,
but in items that redefine each other: there only one reading is meant, and what the others make of it is no fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from collectors.formats.copybook_fields import Field, Reading, field_of
from collectors.formats.copybook_nodes import NOTHING, Elementary, Group, Node, Torn, Walk
from collectors.formats.copybook_parser import CobolItem
from schemas.errors import Invalid

MAX_RECORD = 1024 * 1024
"""Bytes of a record."""


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
        self._root = Group(None, max(n.least for n in nodes), max(n.most for n in nodes), "", parts=[nodes])
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
        walk = Walk(data, None if chosen is None else _upper(chosen))
        found, _ = self._root.read(walk, 0)
        fields: dict[str, Any] = {} if found is NOTHING else found
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
        _, end = self._root.read(Walk(data, measuring=True), 0)
        if end > len(data):
            raise Torn(end)
        return end

    def place(self, name: str) -> tuple[int, Field]:
        """Where an item stands in every record. Raises ``Invalid`` where it is none, or moves."""
        found = self._static.get(_upper(name))
        if found is None:
            raise Invalid(f"no item {name[:60]!r} that stands at the same place in every record")
        return found

    def _node(self, item: CobolItem, at: int | None, within: str, strides: tuple[int, ...], *, lenient: bool) -> Node:
        """``at``: offset, None where it varies. ``strides``: sizes of the tables' rows that it stands in."""
        path = f"{within}.{item.name}" if within and item.name else item.name or within or "FILLER"
        if item.children:
            node: Node = self._group(item, at, path, strides, lenient=lenient)
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
    ) -> Node:
        found = field_of(item, self._reading)
        if item.synchronized and found.align > 1 and (at is None or any(n % found.align for n in (at, *strides))):
            reason = "is SYNCHRONIZED, but stands at no multiple of its size: write the slack bytes as a FILLER"
            raise Invalid(reason, line=item.line, field=item.name)
        if item.name is not None and at is not None and not strides and item.occurs is None:
            self._static.setdefault(_upper(item.name), (at, found))
        counter = item.name if item.name in self._counters else None
        node = Elementary(
            _output(item.name), found.size, found.size, path, field=found, counter=counter, lenient=lenient
        )
        self._marks(node, item)
        return node

    def _group(self, item: CobolItem, at: int | None, path: str, strides: tuple[int, ...], *, lenient: bool) -> Node:
        name = _output(item.name)
        if name is None:
            self._fillers += 1
            name = f"FILLER_{self._fillers}"
        group = Group(name, 0, 0, path)
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

    def _marks(self, node: Node, item: CobolItem) -> None:
        name = _upper(item.name or "")
        node.page = self._reading.code_page
        if name in self._segments:
            node.segment = name
        if name in self._as_text:
            node.as_text = f"{_output(item.name)}_NT"
        self._sought = self._sought - {name}

    def _least(self, node: Node) -> int:
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


def _most(node: Node) -> int:
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
