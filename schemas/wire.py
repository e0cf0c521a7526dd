"""From a record's bytes to observations, in the hot loop.

The contract is ``Event``. pydantic takes 2.8 µs an event, so what is obviously good is decided by msgspec in C, with the
same limits written as types, and everything else by ``parse_event``. A law test holds the two to the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import itemgetter
from typing import Annotated, Literal, NamedTuple

import lz4.frame
import msgspec
from msgspec import Meta
from pydantic_core import from_json

from schemas.errors import Invalid
from schemas.event import (
    GENERATION,
    MAX_ATTRIBUTES,
    MAX_EVENT_BYTES,
    MAX_ID,
    MAX_INTEGER,
    MAX_KEY_VALUE,
    MAX_KEYS,
    MAX_NAME,
    MAX_TEXT,
    Event,
    parse_event,
)
from schemas.times import EARLIEST, LATEST, parse_time

# Header names; `tracer/record.py` has the same (a test compares: neither may import the other).
KIND, SOURCE, EPOCH, DEPTH, VIA, COUNT, IMPORT, SEQ = (
    "ls-kind", "ls-source", "ls-epoch", "ls-depth", "ls-via", "ls-count", "ls-import", "ls-seq",
)  # fmt: skip
ENCODING = "content-encoding"
# 10 KB of zstd can hold 300 MB: what a record may become when decompressed is bound, and so is what it may fall into
# (64 MiB of "\n" or "1," would be gigabytes of objects).
MAX_RECORD_BYTES = 64 * 1024 * 1024
MAX_ARRAY_BYTES = 4 * 1024 * 1024
MAX_RECORD_EVENTS = 100_000

_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Value = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_VALUE)]
_Keys = Annotated[dict[_Name, _Value], Meta(min_length=1, max_length=MAX_KEYS)]
_Scalar = (
    Annotated[str, Meta(max_length=MAX_TEXT)] | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | float | bool
)
_Attributes = Annotated[dict[_Name, _Scalar], Meta(max_length=MAX_ATTRIBUTES)]
_Phase = Literal["received", "started", "sent", "completed", "failed", "cancelled"]
# Not for the wire: a value that no input has. (Defaults are not checked.)
_Never = Annotated[int, Meta(ge=1, le=0)]
_NeverText = Annotated[str, Meta(min_length=1, max_length=0)]


class Observed(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An event as the core holds it: ``Event`` with ``time`` in µs and when the log recorded it.

    ``recorded_at``: µs, the log's append time (for an import: the event time). ``via``: the alias (``type:value``) by
    which a copy came, "" if it named the transaction itself. Both are ours and refused on the wire.
    """

    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    system: _Name
    step: _Name
    time: Annotated[int, Meta(ge=EARLIEST, lt=LATEST)]
    keys: _Keys
    phase: _Phase = "completed"
    peer: _Name | None = None
    source: Annotated[str, Meta(max_length=MAX_NAME)] = ""
    epoch: Annotated[int, Meta(ge=0, le=LATEST)] = 0
    seq: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0
    attributes: _Attributes = {}
    error: Annotated[str, Meta(max_length=MAX_TEXT)] | None = None
    recorded_at: _Never = 0
    via: _NeverText = ""

    def content(self) -> tuple[object, ...]:
        """All that it says but how it was numbered, sent and recorded: two with equal content are one observation."""
        return (
            self.system, self.step, self.phase, self.time, self.peer or "", self.error or "",
            tuple(sorted(self.keys.items())), tuple(sorted((k, repr(v)) for k, v in self.attributes.items())),
        )  # fmt: skip


class _TextTime(Observed, gc=False, forbid_unknown_fields=True):
    time: str  # type: ignore[assignment]


class Bad(NamedTuple):
    """Bytes that made no event: place within the record (0-based), reason, field, the bytes."""

    place: int
    reason: str
    field: str
    payload: bytes


Decoded = tuple[list[Observed], list[bytes], list[Bad]]
"""What a record held: events, their bodies, and what made no event. ``bodies[i]`` is the JSON of ``events[i]`` as it came,
in one line; the source that the record's headers name is not in it. (A plain tuple: a named one took 0.2 µs a record.)"""


_decoder = msgspec.json.Decoder(Observed)
_fast, _fast_lines = _decoder.decode, _decoder.decode_lines
_text_time = msgspec.json.Decoder(_TextTime).decode
_TIME_IS_TEXT = re.compile(rb'"time"\s*:\s*"').search
_STEPS = re.compile(rb"(\d{1,16})(?:x(\d{1,6}))?").fullmatch
_first, _last = itemgetter(0), itemgetter(-1)
_OPENS, _CLOSES = {ord("{")}, {ord("}")}
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decompress(value: bytes, encoding: str | bytes | None) -> bytes:
    """Body of a record. Raises ``Invalid`` for an unknown encoding, damage, or more than 64 MiB."""
    if not encoding:
        return value
    name = encoding.decode("ascii", "replace") if isinstance(encoding, bytes) else encoding
    if name == "identity":
        return value
    if name != "lz4":
        raise Invalid(f"unknown content-encoding {name[:40]!r}; lz4 is read")
    try:
        unpacker = lz4.frame.LZ4FrameDecompressor()  # type: ignore[no-untyped-call]
        body = unpacker.decompress(value, max_length=MAX_RECORD_BYTES)  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, EOFError, OverflowError) as error:
        raise Invalid(f"damaged lz4: {error}") from None
    if not unpacker.eof:
        raise Invalid(f"lz4 body is cut short or holds more than {MAX_RECORD_BYTES} bytes")
    return bytes(body)


def unpack_numbers(text: bytes) -> tuple[int, ...]:
    """The running numbers of a record's lines, as header ``ls-seq`` has them (``7,1x2,3``); none where it makes no sense."""
    numbers: list[int] = []
    last = 0
    for token in text.split(b","):
        found = _STEPS(token)
        step, times = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
        if not step or not times or len(numbers) + times > MAX_RECORD_EVENTS or last + step * times > MAX_INTEGER:
            return ()
        numbers.extend(range(last + step, last + step * times + 1, step))
        last += step * times
    return tuple(numbers)


def compress(body: bytes) -> bytes:
    """An LZ4 frame, as ``content-encoding: lz4`` names it."""
    return bytes(lz4.frame.compress(body))  # type: ignore[attr-defined]


def decode(body: bytes, source: str = "", epoch: int = 0) -> Decoded:
    """Events of one record's (decompressed) body: a JSON object, one object a line, or a JSON array.

    ``source`` and ``epoch`` come from the record's headers and stand where an event names none. One bad event among a
    hundred is one ``Bad`` and ninety-nine events. Never raises for input.
    """
    if (source, epoch) not in _GOOD_SOURCES:
        fault = _bad_source(source, epoch)
        if fault:
            return [], [], [Bad(0, fault, "source", body)]
    # ASCII without backslash and DEL: no string in it can hold a character that the contract forbids.
    if b"\\" in body or len(body) > MAX_EVENT_BYTES or b"\x7f" in body or not body.isascii():
        return _carefully(body, source, epoch)
    try:
        if b"\n" not in body:
            events, bodies = [_fast(body)], [body]
        else:
            text = body.rstrip()
            events, bodies = _fast_lines(text), text.split(b"\n")
            # A line break between "}" and "{" is none within an object: with as many events as lines each line is one event.
            # (To count b"}\n{" took three times as long.)
            if len(events) != len(bodies) or set(map(_first, bodies)) != _OPENS or set(map(_last, bodies)) != _CLOSES:
                return _carefully(body, source, epoch)
    except (*_NO_JSON, IndexError):
        return _carefully(body, source, epoch)
    for event in events:
        if not event.source:
            if event.seq and not source:
                return _carefully(body, source, epoch)
            event.source = source
            event.epoch = epoch
    return events, bodies, []


_GOOD_SOURCES: set[tuple[str, int]] = set()
_PROBE = {"id": "1", "system": "s", "step": "s", "time": EARLIEST, "keys": {"k": "1"}}


def _bad_source(source: str, epoch: int) -> str:
    """What is wrong with a record's headers."""
    try:
        parse_event(_PROBE | {"source": source, "epoch": epoch})
    except Invalid as error:
        return f"header {SOURCE if error.field == 'source' else EPOCH}: {error.reason}"
    if len(_GOOD_SOURCES) < 10_000:
        _GOOD_SOURCES.add((source, epoch))
    return ""


def _carefully(body: bytes, source: str, epoch: int) -> Decoded:
    """Line by line, or item by item."""
    events: list[Observed] = []
    bodies: list[bytes] = []
    lines, fault = _parts(body)
    bad = [Bad(0, fault, "", body)] if fault else []
    for place, line in enumerate(lines):
        if len(line) > MAX_EVENT_BYTES:
            bad.append(Bad(place, f"larger than {MAX_EVENT_BYTES} bytes", "", line))
            continue
        try:
            event = _quick(line, source) or _by_contract(line, source)
        except Invalid as error:
            bad.append(Bad(place, error.reason, error.field or "", line))
            continue
        if not event.source:
            event.source, event.epoch = source, epoch
        events.append(event)
        bodies.append(msgspec.json.format(line, indent=-1) if b"\n" in line or b"\r" in line else line)
    return events, bodies, bad


def _parts(body: bytes) -> tuple[list[bytes], str]:
    """The JSON texts of a body, or why it has none."""
    if body.count(b"\n") >= MAX_RECORD_EVENTS or body.count(b"\r") >= MAX_RECORD_EVENTS:
        return [], f"more than {MAX_RECORD_EVENTS} lines"
    lines = [line for line in body.splitlines() if line.strip()] or [body]
    if body.lstrip()[:1] == b"[":
        items, fault = _array(body)
        if not fault or not any(map(_is_json, lines)):
            return items, fault
    elif len(lines) > 1 and not _is_json(lines[0]) and not _is_batch(lines, body):
        return [body], ""
    return lines, ""


def _is_batch(lines: list[bytes], body: bytes) -> bool:
    """Whether lines of which the first is no object are a batch that begins with poison, not one object over many lines."""
    return not _is_json(body) and (sum(line[:1] == b"{" for line in lines) > 1 or any(map(_is_json, lines)))


def _array(body: bytes) -> tuple[list[bytes], str]:
    if len(body) > MAX_ARRAY_BYTES:
        return [], f"an array of more than {MAX_ARRAY_BYTES} bytes; send one object a line"
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except _NO_JSON as error:
        return [], f"not JSON: {error}"
    if len(items) > MAX_RECORD_EVENTS:
        return [], f"more than {MAX_RECORD_EVENTS} events"
    return [bytes(item) for item in items], ""


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except _NO_JSON:
        return False
    return True


def _quick(line: bytes, source: str) -> Observed | None:
    """The event, if it is obviously good."""
    try:
        if _TIME_IS_TEXT(line):
            raw = _text_time(line)
            event = Observed(*(getattr(raw, name) for name in Observed.__struct_fields__))
            event.time = parse_time(event.time)
        else:
            event = _fast(line)
    except (*_NO_JSON, Invalid):
        return None
    if event.seq and not (event.source or source):
        return None
    return event if _printable(event) else None


def _printable(event: Observed) -> bool:
    texts = [event.id, event.system, event.step, event.peer or "", event.source, event.error or ""]
    texts += event.keys
    texts += event.keys.values()
    texts += event.attributes
    texts += [value for value in event.attributes.values() if type(value) is str]
    together = "".join(texts)
    return together.isprintable() and GENERATION not in together


def _by_contract(line: bytes, source: str) -> Observed:
    """Raises ``Invalid``. A running number counts by the header's source where the event names none."""
    try:
        data = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise Invalid(f"not JSON: {error}") from None
    if isinstance(data, dict) and data.get("seq") and data.get("source", "") == "" and source:
        data["source"] = source
        event = parse_event(data)
        return observed(event.model_copy(update={"source": ""}))
    return observed(parse_event(data))


def observed(event: Event, source: str = "", epoch: int = 0) -> Observed:
    """The core's form of a validated event."""
    return Observed(
        id=event.id, system=event.system, step=event.step, time=event.time, keys=dict(event.keys), phase=event.phase.value,
        peer=event.peer, source=event.source or source, epoch=event.epoch if event.source else epoch, seq=event.seq,
        attributes=dict(event.attributes), error=event.error,
    )  # fmt: skip


_ENCODER = msgspec.json.Encoder()


def encode(events: Iterable[Observed]) -> bytes:
    """Body for forwarding: one JSON object a line, each with its own source and epoch."""
    return b"\n".join(_ENCODER.encode(_plain(event)) for event in events)


def _plain(event: Observed) -> dict[str, object]:
    data: dict[str, object] = {
        "id": event.id, "system": event.system, "step": event.step, "phase": event.phase, "time": event.time, "keys": event.keys,
    }  # fmt: skip
    for name in ("peer", "source", "epoch", "seq", "attributes", "error"):
        value = getattr(event, name)
        if value:
            data[name] = value
    return data
