"""Mapping: how a record of somebody else's system becomes events, declared in YAML.

This module is the model and what can be said wrong about one field; ``mapping_file`` reads YAML and names file and line,
``mapper`` applies it. An input (file, table, topic) and a format (CSV, JSON) only have to yield a mapping of field names to
values: the rest is here, and the same for all of them.

Where a value is expected, a text is a field's name (``OrderDate``; ``customer.id`` reaches into nested JSON), a text with
braces is a template (``"{branch}-{number}"``), and a mapping says more: ``{constant: USD}``, ``{field: total, as: number}``.
Where a word of the contract is expected (``system``, ``step``, ``phase``), a text is the word itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.control import SourceName
from schemas.event import MAX_ATTRIBUTES, MAX_KEYS, Name, Phase, Scalar
from schemas.landscape import Zone

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
As = Literal["text", "number", "integer", "boolean", "time"]


def _format(pattern: str) -> str:
    if pattern in ("iso", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"):
        return pattern
    if "%" not in pattern:
        raise ValueError(
            f"unknown time format {pattern[:40]!r}; write iso, epoch_s, epoch_ms or a pattern as %Y-%m-%d %H:%M"
        )
    if "%Z" in pattern:
        raise ValueError("%Z reads names of zones, which are ambiguous; declare zone, or read an offset with %z")
    return pattern


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, (str, int, float, bool)) else value


TimeFormat = Annotated[str, AfterValidator(_format)]
Formats = Annotated[tuple[TimeFormat, ...], BeforeValidator(_several), Field(min_length=1, max_length=20)]
FieldName = Annotated[str, Field(min_length=1, max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Value(_Model):
    """Where a value comes from and what it is read as. Exactly one of ``field``, ``template`` and ``constant``.

    ``map``: replaces a text by another; what it does not list is ``default``, else refused. ``default``: stands where the
    field is empty. ``as``: what an attribute is read as (``time`` gives RFC 3339 in UTC). ``format``, ``zone``: of a time,
    where they differ from the mapping's. ``optional``: a key that may be missing.
    """

    field: FieldName | None = None
    template: str | None = None
    constant: Scalar | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar | None = None
    type: As | None = Field(default=None, alias="as")
    format: Formats | None = None
    zone: Zone | None = None
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"template" if PLACEHOLDER.search(value) else "field": value}
        if isinstance(value, dict) and isinstance(value.get("map"), dict):
            return {**value, "map": {text_of(key): item for key, item in value["map"].items()}}
        if not isinstance(value, (dict, Value)):
            raise ValueError("a value is a field's name, a template with {field}s, or {constant: ...}")
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Value:
        origins = [name for name in ("field", "template", "constant") if getattr(self, name) is not None]
        if len(origins) != 1:
            raise ValueError("exactly one of field, template and constant is needed")
        if self.template is not None and not PLACEHOLDER.search(self.template):
            raise ValueError("a template names at least one {field}; otherwise write constant")
        return self

    def fields(self) -> tuple[str, ...]:
        """Names of the fields that it reads."""
        if self.field is not None:
            return (self.field,)
        return tuple(PLACEHOLDER.findall(self.template or ""))


def _word(value: Any) -> Any:
    return {"constant": value} if isinstance(value, str) else value


# A word of the contract: a text is the word itself, {field: ..., map: {...}} reads it from the record.
Word = Annotated[Value, BeforeValidator(_word)]


class Test(_Model):
    """What a field must satisfy; all that is given must hold. Values are compared as text, so ``1`` meets ``"1"``."""

    __test__ = False  # not a test of pytest's

    present: bool | None = None
    equals: Scalar | None = None
    among: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = Field(default=None, alias="in")
    not_in: Annotated[tuple[Scalar, ...], BeforeValidator(_several), Field(min_length=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, (str, int, float, bool)):
            return {"equals": value}
        if isinstance(value, list):
            return {"in": value}
        if not isinstance(value, (dict, Test)) or not value:
            raise ValueError("a test is a value, a list of values, or {present: true|false}, {not_in: [...]}")
        return value


class Condition(_Model):
    """Any of ``any_of`` must hold, and of it every test. In YAML: a field that must be there, a mapping of fields to
    tests, or a list of these, of which one must hold."""

    any_of: Annotated[tuple[dict[FieldName, Test], ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"any_of"} and isinstance(value["any_of"], tuple):
            return value
        given = value if isinstance(value, list) else [value]
        if not given or not all(isinstance(item, (str, dict)) and item for item in given):
            raise ValueError("when takes a field that must be there, {field: value}, or a list of these (any of them)")
        return {"any_of": tuple({item: {"present": True}} if isinstance(item, str) else item for item in given)}

    def fields(self) -> tuple[str, ...]:
        return tuple(name for tests in self.any_of for name in tests)


class EventSpec(_Model):
    """One event that a record gives, if ``when`` holds. The names are those of ``schemas.event.Event``."""

    system: Word
    step: Word
    phase: Word = Value(constant=Phase.COMPLETED.value)
    time: Value
    when: Condition | None = None
    keys: Annotated[dict[Name, Value], Field(min_length=1, max_length=MAX_KEYS)]
    attributes: Annotated[dict[Name, Value], Field(max_length=MAX_ATTRIBUTES)] = Field(default_factory=dict)
    error: Value | None = None
    peer: Word | None = None

    @model_validator(mode="after")
    def _known_phase(self) -> EventSpec:
        phases = {phase.value for phase in Phase}
        words = [self.phase.constant, *(self.phase.map or {}).values()]
        for word in words:
            if word is not None and word not in phases:
                raise ValueError(f"unknown phase {str(word)[:40]!r}; there are {', '.join(sorted(phases))}")
        return self

    def values(self) -> Iterator[tuple[str, Value]]:
        """Every value with its path within the event's declaration."""
        yield from (("system", self.system), ("step", self.step), ("phase", self.phase), ("time", self.time))
        yield from ((f"keys.{name}", value) for name, value in self.keys.items())
        yield from ((f"attributes.{name}", value) for name, value in self.attributes.items())
        yield from ((name, value) for name, value in (("error", self.error), ("peer", self.peer)) if value is not None)

    @property
    def label(self) -> str:
        """What people call it in a message: its step."""
        return str(self.step.constant or self.step.field or self.step.template)


class CsvFormat(_Model):
    """How a CSV file is written. ``header: false`` needs ``fields``, the columns' names in order. ``delimiter``: default
    a comma, for ``.tsv`` a tab."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    header: bool = True
    fields: Annotated[tuple[FieldName, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _named(self) -> CsvFormat:
        if not self.header and self.fields is None:
            raise ValueError("a file without a header needs fields: [the columns' names, in order]")
        return self


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"unknown encoding {name[:40]!r}; write for instance utf-8, latin-1 or cp1252") from None
    return name


class Rules(_Model):
    """How records become events, wherever they come from.

    ``key``: fields of the primary key, from which event ids are made; without one they are made of the record's place. ``zone``:
    of times that name none (IANA); without it they are refused. ``ambiguous``: which of the two is meant when clocks are set
    back. ``times``: formats, tried in order. ``year``: of times that name none: the one by which they come nearest to when the
    record was written (``nearest``), the latest by which they are not more than a day after that (``before``), or one year.
    ``nulls``: texts that mean "nothing there". ``constants``: fields that every record has, before its own.
    """

    key: Annotated[tuple[FieldName, ...], BeforeValidator(_several), Field(max_length=20)] = ()
    zone: Zone | None = None
    ambiguous: Literal["earlier", "later", "refuse"] = "earlier"
    times: Formats = ("iso",)
    year: Literal["nearest", "before"] | Annotated[int, Field(ge=1990, lt=2100)] = "nearest"
    nulls: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    constants: dict[FieldName, Scalar] = Field(default_factory=dict)
    events: Annotated[tuple[EventSpec, ...], Field(max_length=100)] = ()

    @property
    def name(self) -> str:
        """The source's name, under which it is heard and from which event ids are made."""
        raise NotImplementedError

    def fields(self) -> Iterator[tuple[str, str]]:
        """Every field that is read, with the path of the declaration that reads it; constants are none."""
        yield from ((name, f"key.{index}") for index, name in enumerate(self.key))
        for index, event in enumerate(self.events):
            for path, value in event.values():
                yield from ((name, f"events.{index}.{path}") for name in value.fields() if name not in self.constants)
            for name in event.when.fields() if event.when else ():
                if name not in self.constants:
                    yield name, f"events.{index}.when"

    def systems(self) -> tuple[str, ...]:
        """Systems that the mapping can speak for, sorted. A system read from a field counts with its ``map``'s values."""
        words = [word for event in self.events for word in (event.system.constant, *(event.system.map or {}).values())]
        return tuple(sorted({str(word) for word in words if word is not None}))


class Mapping(Rules):
    """How the records of one source that is loaded as a whole become events.

    ``mapping``: the source's name. ``key`` is needed: rows of a list have no place that stays. ``table`` or ``query`` for a
    database, ``format`` for a file whose name does not tell it.
    """

    mapping: SourceName
    key: Annotated[tuple[FieldName, ...], BeforeValidator(_several), Field(min_length=1, max_length=20)]
    table: str | None = None
    query: str | None = None
    format: Literal["csv", "jsonl"] | None = None
    csv: CsvFormat = CsvFormat()
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    events: Annotated[tuple[EventSpec, ...], Field(min_length=1, max_length=100)]

    @property
    def name(self) -> str:
        return self.mapping

    @model_validator(mode="after")
    def _coherent(self) -> Mapping:
        if self.table is not None and self.query is not None:
            raise ValueError("table and query exclude each other")
        if self.query is not None:
            only_read(self.query)
        return self


def only_read(query: str) -> None:
    """Raises ``ValueError`` for what is no SELECT."""
    if not re.match(r"(?i)\s*(select|with|values)\b", query):
        raise ValueError("query must be a SELECT: a source is only read")


def text_of(value: object) -> str:
    """A scalar as text, the same from every input: ``10248`` whether it came as text, integer, decimal or ``10248.0``.

    Raises ``ValueError`` for what is no scalar.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, (bytes, bytearray, memoryview, dict, list, tuple, set)):
        raise ValueError(f"a {type(value).__name__} is no text, number or time")
    if hasattr(value, "as_integer_ratio"):
        return _number_text(value)
    return str(value)


def _number_text(value: Any) -> str:
    try:
        numerator, denominator = value.as_integer_ratio()
    except (ValueError, OverflowError):
        return str(value)
    return str(numerator) if denominator == 1 and abs(numerator) < 10**40 else str(value)
