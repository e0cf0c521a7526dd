"""Samples: what records become, without anything being sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from collectors.formats.contract import Format, Item, Ready
from collectors.inputs.live import Placed
from collectors.inputs.stream import Stream
from collectors.personal import bytes_of
from collectors.reader import Reader
from schemas.times import format_time

_SHOWN = 200
_CHUNKS = 256
"""Of a sample of messages no more is read, in the pieces that it comes in: 16 MiB of a file."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a record became. ``place``: file and line; ``text``: its beginning; ``quarantined``: why it, or events of it, could not
    be made. Neither: it makes none, and ``nothing`` says why."""

    place: str
    text: str
    events: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    nothing: str = "it met no condition"

    def plain(self) -> dict[str, Any]:
        events = [{**event, "time": format_time(event["time"])} for event in self.events]
        nothing = None if events or self.quarantined else self.nothing
        return {
            "place": self.place, "record": self.text, "events": events, "quarantined": self.quarantined, "nothing": nothing,
        }  # fmt: skip

    def rows(self) -> Iterator[dict[str, object]]:
        """One row for what it became, each time."""
        for event in self.events:
            yield {
                "place": self.place, "became": "event", "step": event["step"], "phase": event["phase"],
                "system": event["system"], "time": format_time(event["time"]), "keys": _joined(event["keys"]),
                "attributes": _joined(event.get("attributes", {})), "reason": "",
            }  # fmt: skip
        for reason in self.quarantined:
            yield self._empty("quarantined", reason)
        if not self.events and not self.quarantined:
            yield self._empty("nothing", self.nothing)

    def _empty(self, became: str, reason: str) -> dict[str, object]:
        empty = dict.fromkeys(("step", "phase", "system", "time", "keys", "attributes"), "")
        return {"place": self.place, "became": became, **empty, "reason": reason}


def _joined(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def try_sample(
    reader: Reader, layout: Format, name: str, chunks: Iterable[bytes], now: int, limit: int, spec: Any = None
) -> Iterator[Told]:
    """What the records of one stream become, up to ``limit`` of them.

    ``spec``: the input; one that is given messages, and no stream, says itself how a sample of them is read (``sample``).
    """
    layout = getattr(layout, "explaining", lambda: layout)()
    own: Callable[[Format, bytes, int], list[Item]] | None = getattr(spec, "sample", None)
    if own is None:
        items = _items(Stream(layout), chunks)
    else:
        found = own(layout, b"".join(islice(chunks, _CHUNKS)), now)
        items = (Placed(str(number), item) for number, item in enumerate(found))
    for placed in islice(items, limit):
        output = reader.read("", placed, now)
        raw = bytes_of(placed.item)
        text = raw[:_SHOWN].decode("utf-8", "replace").splitlines()
        told = Told(f"{name}:{placed.item.line}", text[0] if text else "", output.events, output.aside)
        why = placed.item.nothing if isinstance(placed.item, Ready) else ""
        yield replace(told, nothing=why) if why else told


def _items(stream: Stream, chunks: Iterable[bytes]) -> Iterator[Placed]:
    for chunk in chunks:
        yield from stream.feed(chunk)
    yield from stream.close()
