"""How the bytes of a sample are what an input that receives, or reads a topic, would be given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from collectors.formats.contract import Format, Item
from collectors.inputs.record import Unreadable


def message_or_lines(layout: Format, data: bytes, headers: Mapping[str, str]) -> list[Item]:
    """One message; where it is none as a whole, one a line, as topics are dumped. Empty lines are none."""
    items = layout.message(data, headers)
    if not all(isinstance(item, Unreadable) for item in items) or not items or b"\n" not in data.strip():
        return items
    return each_line(layout, enumerate(data.splitlines(), 1), headers)


def each_line(layout: Format, lines: Iterable[tuple[int, bytes]], headers: Mapping[str, str]) -> list[Item]:
    """Each a message of its own."""
    return [
        item._replace(line=number) for number, line in lines if line.strip() for item in layout.message(line, headers)
    ]
