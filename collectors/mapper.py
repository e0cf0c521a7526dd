"""A mapping, applied: one record gives events and faults, and nothing else happens.

What is wrong with a record never raises: a missing primary key is one fault of the whole record, everything else is a fault
of the one event that cannot be made. The rest of the record, and the rest of the source, goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from collections.abc import Mapping as Fields
from decimal import Decimal
from typing import Any, NamedTuple

from collectors.mapping import PLACEHOLDER, Condition, EventSpec, Rules, Test, Value, text_of
from collectors.values import TimeReader, boolean_of, integer_of, number_of, shown
from schemas.errors import Invalid
from schemas.event import MAX_ID, Event, parse_event
from schemas.times import format_time, parse_zone

_ESCAPED = str.maketrans({"%": "%25", ":": "%3A", ",": "%2C"})


class Fault(NamedTuple):
    """Why a record, or one of its events, could not be made. ``event``: its step, "" for the whole record; ``field``: the
    source's field at fault, "" where there is no single one."""

    reason: str
    field: str
    event: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.event, self.field, self.reason) if part)


class Mapped(NamedTuple):
    """What a record gave. Neither events nor faults: none of the conditions held."""

    events: list[Event]
    faults: list[Fault]


class Mapper:
    """Applies one mapping. Pure: equal records give equal events, wherever and in whatever order they stand; with rules that have
    no primary key, equal records at one place."""

    def __init__(self, mapping: Rules):
        self.mapping = mapping
        self._nulls = frozenset(("", *mapping.nulls))
        self._readers: dict[tuple[object, object], TimeReader] = {}

    def map(self, record: Fields[str, Any], place: str = "", around: int | None = None) -> Mapped:
        """Events of one record, by field name; nested values are reached by dotted names.

        Args:
            place: of which ids are made where the rules name no primary key; no other record has it.
            around: µs, about when the record was written: what a year is taken from where a time names none.
        """
        events: list[Event] = []
        faults: list[Fault] = []
        try:
            key = self._primary_key(record) if self.mapping.key else ""
            if not key and not place:
                raise Invalid("the mapping needs a key: this record has no place that stays")
        except Invalid as error:
            return Mapped([], [Fault(error.reason, error.field or "")])
        for spec in self.mapping.events:
            try:
                if spec.when is None or self._holds(spec.when, record):
                    events.append(self._event(spec, key or place, record, around))
            except Invalid as error:
                faults.append(Fault(error.reason, error.field or "", spec.label))
        return Mapped(*_distinct(events if key else _numbered(events), faults))

    def get(self, record: Fields[str, Any], name: str) -> Any:
        """A field's value, None where there is nothing (no field, null, empty, or a text that means so)."""
        constants = self.mapping.constants
        if name in constants:
            return constants[name]
        value = record[name] if name in record else _nested(record, name)
        return None if isinstance(value, str) and value.strip() in self._nulls else value

    def _primary_key(self, record: Fields[str, Any]) -> str:
        parts = []
        for name in self.mapping.key:
            value = self.get(record, name)
            if value is None:
                raise Invalid("the primary key is missing", field=name)
            parts.append(_text(value, name).strip().translate(_ESCAPED))
        return ",".join(parts)

    def _holds(self, condition: Condition, record: Fields[str, Any]) -> bool:
        return any(
            all(_passes(test, self.get(record, name), name) for name, test in tests.items())
            for tests in condition.any_of
        )

    def _event(self, spec: EventSpec, key: str, record: Fields[str, Any], around: int | None) -> Event:
        step, phase = self._required(spec.step, record), self._required(spec.phase, record)
        time = self._time(spec.time, record, around)
        keys = {name: text for name, value in spec.keys.items() if (text := self._key(value, record))}
        attributes = {name: self._attribute(value, record, around) for name, value in spec.attributes.items()}
        data: dict[str, Any] = {
            "id": event_id(self.mapping.name, key, step, phase, time if self.mapping.key else None),
            "system": self._required(spec.system, record),
            "step": step,
            "phase": phase,
            "time": time,
            "keys": keys,
            "attributes": {name: value for name, value in attributes.items() if value is not None},
        }
        for name, value in (("error", spec.error), ("peer", spec.peer)):
            text = self._optional(value, record) if value is not None else None
            if text:
                data[name] = text
        try:
            return parse_event(data)
        except Invalid as error:
            raise Invalid(error.reason, field=_origin(spec, error.field)) from None

    def _raw(self, value: Value, record: Fields[str, Any]) -> Any:
        """What stands in the record, through ``map`` and ``default``; None where there is nothing."""
        found: Any
        if value.constant is not None:
            found = value.constant
        elif value.field is not None:
            found = self.get(record, value.field)
        else:
            found = self._filled(value.template or "", record)
        if found is None:
            return value.default
        if value.map is None:
            return found
        name = _name(value)
        text = _text(found, name).strip()
        mapped = value.map.get(text, value.default)
        if mapped is None:
            raise Invalid(f"the map has no entry for {shown(text)}", field=name)
        return mapped

    def _filled(self, template: str, record: Fields[str, Any]) -> str | None:
        """None where one of the template's fields has nothing: half a key is no key."""
        values = {name: self.get(record, name) for name in PLACEHOLDER.findall(template)}
        if any(value is None for value in values.values()):
            return None
        return PLACEHOLDER.sub(lambda match: _text(values[match[1]], match[1]).strip(), template)

    def _optional(self, value: Value, record: Fields[str, Any]) -> str | None:
        found = self._raw(value, record)
        return None if found is None else _text(found, _name(value)).strip()

    def _required(self, value: Value, record: Fields[str, Any]) -> str:
        text = self._optional(value, record)
        if not text:
            raise Invalid("is empty", field=_name(value))
        return text

    def _key(self, value: Value, record: Fields[str, Any]) -> str | None:
        return self._optional(value, record) if value.optional else self._required(value, record)

    def _time(self, value: Value, record: Fields[str, Any], around: int | None) -> int:
        found = self._raw(value, record)
        if found is None:
            raise Invalid("the time is missing", field=_name(value))
        reader = self._reader(value)
        return int(self._read(lambda text: reader.read(text, around), found, _name(value)))

    def _attribute(self, value: Value, record: Fields[str, Any], around: int | None) -> Any:
        found = self._raw(value, record)
        if found is None:
            return None
        name = _name(value)
        if value.type == "time":
            reader = self._reader(value)
            return format_time(self._read(lambda text: reader.read(text, around), found, name))
        if value.type is not None:
            return self._read(_CONVERTERS[value.type], found, name)
        if isinstance(found, Decimal):
            return self._read(number_of, found, name)
        return found if isinstance(found, (str, int, float)) else _text(found, name)

    def _reader(self, value: Value) -> TimeReader:
        formats, zone = value.format or self.mapping.times, value.zone or self.mapping.zone
        reader = self._readers.get((formats, zone))
        if reader is None:
            reader = TimeReader(formats, parse_zone(zone) if zone else None, self.mapping.ambiguous, self.mapping.year)
            self._readers[formats, zone] = reader
        return reader

    @staticmethod
    def _read(convert: Callable[[object], Any], found: object, field: str) -> Any:
        try:
            return convert(found)
        except Invalid as error:
            raise Invalid(error.reason, field=field) from None


def event_id(mapping: str, key: str, step: str, phase: str, time: int | None) -> str:
    """Made of mapping, primary key, step, phase and event time, never of a position: a row has the same ids wherever it
    stands. Of a record without a primary key ``key`` is its place, which no other has, and ``time`` None: what year a time is
    of may be told otherwise when it is read again. Readable, since it is what evidence names; hashed where it would be too long
    or hold what an id must not."""
    parts = (mapping.translate(_ESCAPED), key, step.translate(_ESCAPED), phase)
    readable = ":".join(parts if time is None else (*parts, format_time(time)))
    if len(readable) <= MAX_ID and readable.isascii() and readable.isprintable():
        return readable
    digest = hashlib.sha256(readable.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{parts[0][:100]}:{digest}" if parts[0].isascii() else digest


def _numbered(events: list[Event]) -> list[Event]:
    """Ids without times: of several events of one step and phase in a record, the further ones are numbered."""
    seen: dict[str, int] = {}
    found = []
    for event in events:
        seen[event.id] = number = seen.get(event.id, 0) + 1
        found.append(event if number == 1 else event.model_copy(update={"id": f"{event.id}:{number}"[-MAX_ID:]}))
    return found


def _text(value: object, field: str) -> str:
    try:
        return text_of(value)
    except ValueError as error:
        raise Invalid(str(error), field=field) from None


def _passes(test: Test, value: Any, field: str) -> bool:
    if test.present is not None and (value is not None) != test.present:
        return False
    text = None if value is None else _text(value, field).strip()
    if test.equals is not None and text != text_of(test.equals):
        return False
    if test.among is not None and text not in {text_of(item) for item in test.among}:
        return False
    return test.not_in is None or text not in {text_of(item) for item in test.not_in}


def _nested(record: Fields[str, Any], name: str) -> Any:
    """``customer.id`` in nested JSON, ``lines.0.sku`` in a list, ``tags.kafka.key`` where the tag's own name has the dot; None
    where the way ends."""
    here: Any = record
    parts = name.split(".")
    for index, part in enumerate(parts):
        if isinstance(here, Fields):
            if index and part not in here and (rest := ".".join(parts[index:])) in here:
                return here[rest]
            here = here.get(part)
        elif isinstance(here, list) and part.isascii() and part.isdigit() and int(part[:9]) < len(here):
            here = here[int(part[:9])]
        else:
            return None
    return here


def _name(value: Value) -> str:
    """How a message names where a value came from."""
    return value.field or ",".join(dict.fromkeys(value.fields())) or "constant"


def _origin(spec: EventSpec, path: str | None) -> str:
    """The source's field behind a field of the event (``keys.order`` is read from ``OrderID``)."""
    for name, value in spec.values():
        if path and (path == name or path.startswith(name + ".")):
            return _name(value)
    return path or ""


def _distinct(events: list[Event], faults: list[Fault]) -> tuple[list[Event], list[Fault]]:
    """Two different events of a record under one id would be one to everybody else: the later one is a fault."""
    seen: dict[str, Event] = {}
    for event in events:
        first = seen.setdefault(event.id, event)
        if first != event:
            reason = f"has the same step, phase and time as another event of this record (of {first.system})"
            faults.append(Fault(reason, "", event.step))
    return list(seen.values()), faults


_CONVERTERS: dict[str, Callable[[object], Any]] = {
    "text": lambda value: _text(value, ""),
    "number": number_of,
    "integer": integer_of,
    "boolean": boolean_of,
}
