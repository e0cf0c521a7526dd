"""Reader: what an item of an input becomes: events in the form in which they travel, and reasons why others could not be made."""

from __future__ import annotations

from typing import Any, NamedTuple

from collectors.collector_file import CollectorFile
from collectors.formats.contract import Item, Ready
from collectors.inputs.live import Placed
from collectors.inputs.record import Unreadable
from collectors.loader import wire_form
from collectors.mapper import Mapper, event_id
from collectors.personal import Guard
from schemas.errors import Invalid
from schemas.event import Event, parse_event
from tracer.keyring import NoKey
from tracer.privacy import Privacy


class Output(NamedTuple):
    """What an item gave. ``aside``: why it, or an event of it, could not be made."""

    events: list[dict[str, Any]]
    aside: list[str]


class Reader:
    """Makes events of items, for one collector. Pure but for the clock of times that name no year."""

    def __init__(self, file: CollectorFile, privacy: Privacy):
        """Raises ``Invalid`` where something is to be hashed and there is no key."""
        self.collector = file.collector
        self.mapper = Mapper(file.collector)
        self.guard = Guard(privacy, self.mapper_of(file))
        try:
            self.guard.require()
        except NoKey as error:
            raise Invalid(str(error)) from None

    @staticmethod
    def mapper_of(file: CollectorFile) -> Mapper | None:
        """The mapping, applied; None where the records are events already."""
        return Mapper(file.collector) if file.collector.events else None

    def read(self, stream: str, placed: Placed, around: int) -> Output:
        """Raises `NoKey`."""
        place = f"{stream}:{placed.place}" if stream else placed.place
        item = placed.item
        if isinstance(item, Ready):
            return Output([], []) if item.nothing else self._ready(item, place)
        if isinstance(item, Unreadable):
            return Output([], [self.guard.reason(item.reason, item)])
        if not self.collector.events:
            return Output([], ["no event of this collector says what such a record means"])
        mapped = self.mapper.map(item.fields, place, around)
        events = self._cleared(item, [wire_form(self._corrected(event)) for event in mapped.events])
        return Output(events, [self.guard.reason(str(fault), item, fault.field) for fault in mapped.faults])

    def _ready(self, item: Ready, place: str) -> Output:
        """An event already, in the contract's form."""
        data = dict(item.event)
        name = self.collector.name
        if not data.get("id"):
            data["id"] = event_id(name, place, str(data.get("step", "")), str(data.get("phase", "")), None)
        try:
            event = self._corrected(parse_event(data))
        except Invalid as error:
            reason = f"{error.field}: {error.reason}" if error.field else error.reason
            return Output([], [self.guard.reason(reason, item, error.field or "")])
        return Output(self._cleared(item, [wire_form(event)]), [])

    def _corrected(self, event: Event) -> Event:
        offset = self.collector.clock_offset
        return event.model_copy(update={"time": event.time - offset}) if offset else event

    def _cleared(self, item: Item, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.guard.clear(item, events).events
