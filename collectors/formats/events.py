"""Events: JSON that is in the contract's form already, as somebody's own exporter writes it."""

from __future__ import annotations

from typing import Any

from collectors.formats.contract import Item, Ready
from collectors.formats.json import JsonFormat
from collectors.inputs.record import Row

_EMITTERS = ("source", "epoch", "seq")


class EventsFormat(JsonFormat):
    """One event a line, or as `JsonFormat` declares it. What the event says of its emitter (``source``, ``epoch``, ``seq``) is
    left out: the collector is its emitter now, and counts anew."""

    def items_of(self, value: Any, raw: bytes, line: int) -> tuple[Item, ...]:
        return tuple(
            Ready(item.line, {name: part for name, part in item.fields.items() if name not in _EMITTERS}, item.raw)
            if isinstance(item, Row)
            else item
            for item in super().items_of(value, raw, line)
        )
