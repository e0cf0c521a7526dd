"""An element as fields: attributes as ``@id``, elements by name, several of one name as a list; without prefixes."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100
MAX_NODES = 100_000
"""Of one record, attributes counted: its fields take fifty times the bytes that ``<a/>`` has."""


def local(name: str) -> str:
    """A name without its namespace's prefix."""
    return name.rpartition(":")[2]


class Tree:
    """Builds the fields of one element while its parts come. ``lists``: names that are lists though there is one."""

    def __init__(self, lists: frozenset[str]) -> None:
        self._lists = lists
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []
        self.nodes = 0
        self.fields: dict[str, Any] = {}

    @property
    def depth(self) -> int:
        return len(self._open)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        fields: dict[str, Any] = {}
        if attributes:
            self.nodes += len(attributes)
            for key, value in attributes.items():
                if key != "xmlns" and not key.startswith("xmlns:"):
                    fields[f"@{local(key)}"] = value
        self.nodes += 1
        self._open.append((local(name) if ":" in name else name, fields, []))

    def text(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self) -> bool:
        """Whether the element is complete with this end of a part of it."""
        name, fields, parts = self._open.pop()
        text = "".join(parts).strip()
        if not self._open:
            self.fields = {**fields, "#text": text} if text else fields
            return True
        value: Any = {**fields, "#text": text} if fields and text else fields or text
        siblings = self._open[-1][1]
        there = siblings.get(name)
        if isinstance(there, list):
            there.append(value)
        elif there is not None:
            siblings[name] = [there, value]
        else:
            siblings[name] = [value] if name in self._lists else value
        return False
