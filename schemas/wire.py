"""From a record's bytes to observations, in the hot loop.

The contract is ``Event``; pydantic took 2.8 µs an event where msgspec takes 0.6, so what is obviously good passes here and
everything else is decided by ``parse_event``. A law test holds the two to the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import lz4.frame
import msgspec
import orjson

from schemas.errors import Invalid
from schemas.event import (
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
from schemas.times import EARLIEST, LATEST, from_datetime

# Header names; `tracer/record.py` has the same (a test compares: neither may import the other).
KIND, SOURCE, EPOCH, DEPTH, VIA, COUNT, IMPORT = (
    "ls-kind", "ls-source", "ls-epoch", "ls-depth", "ls-via", "ls-count", "ls-import",
)  # fmt: skip
ENCODING = "content-encoding"
# 10 KB of zstd can hold 300 MB: what a record may become when decompressed is bound.
MAX_RECORD_BYTES = 64 * 1024 * 1024


class Observed(msgspec.Struct, gc=False):
    """An event as the core holds it: ``Event`` with ``time`` in µs and when the log recorded it.

    ``recorded_at``: µs, the log's append time (for an import: the event time). ``via``: the alias (``type:value``) by
    which a copy came, "" if it named the transaction itself.
    """

    id: str
    system: str
    step: str
    time: int
    keys: dict[str, str]
    phase: str = "completed"
    peer: str | None = None
    source: str = ""
    epoch: int = 0
    seq: int = 0
    attributes: dict[str, str | int | float | bool] = {}
    error: str | None = None
    recorded_at: int = 0
    via: str = ""

    def content(self) -> tuple[object, ...]:
        """All that it says but how it was numbered, sent and recorded: two with equal content are one observation."""
        return (
            self.system, self.step, self.phase, self.time, self.peer or "", self.error or "",
            tuple(sorted(self.keys.items())), tuple(sorted((k, repr(v)) for k, v in self.attributes.items())),
        )  # fmt: skip


class Bad(NamedTuple):
    """Bytes that made no event: place within the record (0-based), reason, field, the bytes."""

    place: int
    reason: str
    field: str
    payload: bytes


class _Wire(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    id: str
    system: str
    step: str
    time: int | datetime
    keys: dict[str, str]
    phase: str = "completed"
    peer: str | None = None
    source: str = ""
    epoch: int = 0
    seq: int = 0
    attributes: dict[str, str | int | float | bool] = {}
    error: str | None = None


_FAST = msgspec.json.Decoder(_Wire)
_PHASES = frozenset(("received", "started", "sent", "completed", "failed", "cancelled"))
_GOOD_NAMES: set[str] = set()
_GOOD_NAMES_MAX = 10_000
_INTEGRAL = re.compile(rb"\s*\{")


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


def decode(body: bytes, source: str = "", epoch: int = 0) -> tuple[list[Observed], list[Bad]]:
    """Events of one record's (decompressed) body: a JSON object, one object a line, or a JSON array.

    ``source`` and ``epoch`` come from the record's headers and stand where an event names none. One bad event among a
    hundred is one ``Bad`` and ninety-nine events. Never raises for input.
    """
    events: list[Observed] = []
    bad: list[Bad] = []
    lines = body.splitlines() if b"\n" in body else [body]
    if len(lines) > 1 and not all(
        line.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}" for line in lines if line.strip()
    ):
        lines = [body]
    if len(lines) == 1 and body.lstrip()[:1] == b"[":
        lines, fault = _array(body)
        if fault:
            return [], [Bad(0, fault, "", body)]
    fast = _FAST.decode
    for index, line in enumerate(lines):
        try:
            raw = fast(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if line.strip() or len(lines) == 1:
                _slow(line, index, source, epoch, events, bad)
            continue
        if len(line) <= MAX_EVENT_BYTES and _obviously_good(raw):
            time = raw.time
            events.append(
                Observed(
                    raw.id, raw.system, raw.step, time if type(time) is int else from_datetime(time),  # type: ignore[arg-type]
                    raw.keys, raw.phase, raw.peer, raw.source or source, raw.epoch if raw.source else epoch, raw.seq,
                    raw.attributes, raw.error,
                )
            )  # fmt: skip
        else:
            _slow(line, index, source, epoch, events, bad)
    return events, bad


def _array(body: bytes) -> tuple[list[bytes], str]:
    try:
        items = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [], f"not JSON: {error}"
    return [bytes(item) for item in items], ""


def _obviously_good(raw: _Wire) -> bool:
    for name in (raw.system, raw.step):
        if name not in _GOOD_NAMES:
            if not (0 < len(name) <= MAX_NAME and name.isprintable()):
                return False
            if len(_GOOD_NAMES) < _GOOD_NAMES_MAX:
                _GOOD_NAMES.add(name)
    time = raw.time
    if type(time) is int:
        if not EARLIEST <= time < LATEST:
            return False
    elif time.tzinfo is None or not 1990 < time.year < 2099:  # type: ignore[union-attr]
        return False
    if not (0 < len(raw.id) <= MAX_ID and raw.id.isprintable() and raw.phase in _PHASES):
        return False
    keys = raw.keys
    if not 0 < len(keys) <= MAX_KEYS:
        return False
    for name, value in keys.items():
        if not (
            0 < len(value) <= MAX_KEY_VALUE and value.isprintable() and 0 < len(name) <= MAX_NAME and name.isprintable()
        ):
            return False
    if raw.source:
        if len(raw.source) > MAX_NAME or not raw.source.isprintable():
            return False
    elif raw.seq or raw.epoch:
        return False
    if not (0 <= raw.seq <= MAX_INTEGER and 0 <= raw.epoch <= LATEST):
        return False
    if raw.error is not None or raw.peer is not None:
        return (
            (raw.error is None or (len(raw.error) <= MAX_TEXT and raw.error.isprintable()))
            and (raw.peer is None or (0 < len(raw.peer) <= MAX_NAME and raw.peer.isprintable()))
            and (not raw.attributes or _good_attributes(raw.attributes))
        )
    return not raw.attributes or _good_attributes(raw.attributes)


def _good_attributes(attributes: dict[str, str | int | float | bool]) -> bool:
    if len(attributes) > MAX_ATTRIBUTES:
        return False
    for name, value in attributes.items():
        if not (0 < len(name) <= MAX_NAME and name.isprintable()):
            return False
        if type(value) is str:
            if len(value) > MAX_TEXT or not value.isprintable():
                return False
        elif type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER:
            return False
    return True


def _slow(line: bytes, index: int, source: str, epoch: int, events: list[Observed], bad: list[Bad]) -> None:
    if len(line) > MAX_EVENT_BYTES:
        bad.append(Bad(index, f"larger than {MAX_EVENT_BYTES} bytes", "", line))
        return
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        bad.append(Bad(index, f"not JSON: {error}", "", line))
        return
    if isinstance(data, dict) and not data.get("source") and (data.get("seq") or data.get("epoch")) and source:
        data = {**data, "source": source, "epoch": epoch}
    try:
        event = parse_event(data)
    except Invalid as error:
        bad.append(Bad(index, error.reason, error.field or "", line))
        return
    events.append(observed(event, source, epoch))


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
