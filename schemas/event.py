"""Event: one immutable observation, *system S says that step P of transaction T did X at time t*."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import Invalid
from schemas.times import EARLIEST, LATEST, parse_time

MAX_EVENT_BYTES = 256 * 1024
MAX_NAME = 100
MAX_ID = 256
MAX_KEYS = 32
MAX_KEY_VALUE = 256
MAX_ATTRIBUTES = 64
MAX_TEXT = 4096
MAX_INTEGER = 2**53 - 1
# Ours: it marks the second and further transactions under a number that came round (``10248↻2``).
GENERATION = "↻"


class Phase(StrEnum):
    """What a system says of a step. ``sent`` and ``received`` name the ``peer``."""

    RECEIVED = "received"
    STARTED = "started"
    SENT = "sent"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _clean(text: str) -> str:
    """No control characters, no bidi overrides, no lone surrogates: nothing that forges a log line or fails an insert."""
    if text.isprintable():
        return text
    for char in text:
        code = ord(char)
        control = code < 0x20 or 0x7F <= code < 0xA0 or code in (0x2028, 0x2029, 0xFEFF)
        bidi = 0x200B <= code <= 0x200F or 0x202A <= code <= 0x202E or 0x2060 <= code <= 0x2069
        if control or bidi or 0xD800 <= code < 0xE000:
            raise ValueError(f"contains the character U+{code:04X}, which is not allowed")
    return text


def _text(text: str) -> str:
    """Free text: line breaks and tabs are kept, NUL and lone surrogates are not."""
    if text.isprintable():
        return text
    if "\x00" in text:
        raise ValueError("contains NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains a lone surrogate") from None
    return text


def _key_value(text: str) -> str:
    if GENERATION in text:
        raise ValueError(f"contains {GENERATION}, by which we tell apart numbers that come round")
    return _clean(text)


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        raise ValueError("integer beyond 2^53 - 1; send it as text")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_clean)]
KeyValue = Annotated[str, Field(min_length=1, max_length=MAX_KEY_VALUE), AfterValidator(_key_value)]
Scalar = Annotated[
    bool | int | float | Annotated[str, Field(max_length=MAX_TEXT)],
    AfterValidator(_scalar),
]
Micros = Annotated[
    int,
    BeforeValidator(parse_time, json_schema_input_type=int | str),
    Field(ge=EARLIEST, lt=LATEST, description="microseconds since 1970 UTC, or RFC 3339 with an offset"),
]


class Event(BaseModel):
    """One observation, as it travels in ``lastseen.events`` (JSON; a batch is one event a line).

    Attributes:
        id: derived from where the event came from, so that re-reading the source makes the same id; 1 to 256 characters.
        system: who says it.
        step: which step of the business process.
        phase: what happened at it.
        time: event time, µs since 1970 UTC; on the wire an integer of µs or RFC 3339 with an offset; years 1990 to 2100.
        keys: key type to value (``{"order": "10248", "customer": "VINET"}``); 1 to 32 entries, values of 1 to 256 characters.
        peer: the other system, for ``sent`` and ``received``.
        source, epoch, seq: the emitting process, its boot and its running number from 1; default to the record's headers.
        attributes: up to 64 scalars (text up to 4,096 characters).
        error: what went wrong, for ``failed``.

    An event is at most 256 KiB as JSON. Raises ``Invalid`` (through ``parse_event``) with the field at fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_clean)]
    system: Name
    step: Name
    phase: Annotated[Phase, Field(strict=False)] = Phase.COMPLETED
    time: Micros
    keys: Annotated[dict[Name, KeyValue], Field(min_length=1, max_length=MAX_KEYS)]
    peer: Name | None = None
    source: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_clean)] = ""
    epoch: Annotated[int, Field(ge=0, le=LATEST)] = 0
    seq: Annotated[int, Field(ge=0, le=MAX_INTEGER)] = 0
    attributes: Annotated[dict[Name, Scalar], Field(max_length=MAX_ATTRIBUTES)] = Field(default_factory=dict)
    error: Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_text)] | None = None

    @model_validator(mode="after")
    def _seq_has_source(self) -> Event:
        if self.seq and not self.source:
            raise ValueError("seq without a source: the audit could not count it")
        return self


def parse_event(data: object) -> Event:
    """Validate a decoded JSON object. Raises ``Invalid`` naming the first field at fault."""
    try:
        return Event.model_validate(data)
    except ValidationError as error:
        raise first_fault(error) from None


def first_fault(error: ValidationError, *, file: str | None = None) -> Invalid:
    """The first of pydantic's complaints as one sentence with its field."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in fault["loc"][:4]) or None
    return Invalid(fault["msg"].removeprefix("Value error, "), field=field, file=file)
