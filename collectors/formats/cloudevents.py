"""CloudEvents 1.0: a message in binary mode (attributes in headers, ``ce-`` over HTTP, ``ce_`` over Kafka), structured mode
(``application/cloudevents+json``) or batched mode; a file of one structured event a line.

Fields: the attributes under their own names (``id``, ``source``, ``type``, ``time``, ``subject``, extensions) and ``data``: JSON as
it is nested, text, or of other bytes ``data_base64``.

As *events* (where a collector's file maps nothing) each becomes an event: its step is what ``steps`` makes of ``type``, its system
what ``systems`` makes of ``source``, its time ``time``; its keys are what stands at the paths that ``keys`` names (``subject``,
``data.order.id``), what ``correlationid`` (``order:7``) and ``baggage`` carry as `tracer.inject_cloud_event` writes them, and of
``traceparent`` the trace id.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import Field

from collectors.formats.contract import Item, Ready
from collectors.formats.json import value_of
from collectors.formats.lines import LineFormat
from collectors.inputs.record import Row, Unreadable, as_json
from schemas.event import Phase
from tracer.clean import attributes_of, keys_of, name_of
from tracer.propagation import BAGGAGE, CORRELATION, extract

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
REQUIRED = ("id", "source", "specversion", "type")
MAX_BATCH = 50_000
_QUOTED = re.compile(r'"(.*)"\s*', re.DOTALL)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


Names = Annotated[dict[str, str], Field(max_length=1000)]


class CloudEventsFormat(LineFormat):
    """``read``: ``events`` or ``records``. ``phases``: of a ``type`` that says more than that a step was completed
    (``com.shop.payment.declined: failed``). ``attributes``: paths that go along under their own names.

    A message whose headers say nothing is read as structured or batched mode.
    """

    self_ending: ClassVar[bool] = True

    read: Literal["events", "records"] | None = None
    keys: Names = Field(default_factory=dict)
    steps: Names = Field(default_factory=dict)
    phases: Annotated[dict[str, Phase], Field(max_length=1000)] = Field(default_factory=dict)
    systems: Names = Field(default_factory=dict)
    attributes: Annotated[tuple[str, ...], Field(max_length=64)] = ()

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        return tuple(item._replace(line=line) for item in self._said(_structured(text, raw)))

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        return self._said(self._records(body, headers))

    def _said(self, items: list[Item]) -> list[Item]:
        return (
            [self._event(item) if isinstance(item, Row) else item for item in items] if self.read == "events" else items
        )

    def _event(self, row: Row) -> Item:
        fields = row.fields
        found = {kind: _at(fields, path) for path, kind in self.keys.items() if path != CORRELATION}
        keys, _ = keys_of({kind: value for kind, value in found.items() if value is not None})
        carried = {name: fields[name] for name in (CORRELATION, BAGGAGE) if isinstance(fields.get(name), str)}
        if carried:
            keys = {**extract(carried, self.keys).keys, **keys}
        trace = _TRACEPARENT.match(str(fields.get("traceparent", "")))
        if trace:
            keys.setdefault("trace", trace[1])
        if not keys:
            return Unreadable(row.line, "no key of a transaction stands where keys says", row.payload())
        event: dict[str, Any] = {
            "id": readable(f"{fields['source']} {fields['id']}"),
            "system": name_of(self.systems.get(fields["source"], fields["source"])),
            "step": name_of(self.steps.get(fields["type"], fields["type"])),
            "phase": self.phases.get(fields["type"], Phase.COMPLETED).value,
            "time": fields.get("time"),
            "keys": keys,
        }
        more, _ = attributes_of({path: value for path in self.attributes if (value := _at(fields, path)) is not None})
        return Ready(row.line, event | ({"attributes": more} if more else {}), row.payload())

    def _records(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        media, charset = _media(headers.get("content-type", ""))
        if media in (STRUCTURED, BATCH):
            return _structured(_text(body, charset), body)
        if any(name[:3] in ("ce-", "ce_") for name in headers):
            return [_binary(body, headers, media, charset)]
        if media.startswith("application/cloudevents"):
            return [Unreadable(1, f"{media[:80]!r} is not read; JSON is", body)]
        return _structured(_text(body, charset), body)

    def identity(self, item: Item) -> str | None:
        """By the specification ``source`` and ``id`` together name one event, however often it is delivered."""
        if isinstance(item, Ready):
            return str(item.event["id"])
        return f"{item.fields['source']} {item.fields['id']}" if isinstance(item, Row) else None


def readable(text: str) -> str:
    """An id as it is, or hashed where it is long or holds what an id must not."""
    if len(text) <= 150 and text.isascii() and text.isprintable():
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _at(fields: Mapping[str, Any], path: str) -> Any:
    """``subject``, ``data.order.id``, ``data.lines.0.sku``; None where the way ends."""
    here: Any = fields
    for part in path.split("."):
        if isinstance(here, Mapping):
            here = here.get(part)
        elif isinstance(here, list) and part.isascii() and part.isdigit() and int(part[:9]) < len(here):
            here = here[int(part[:9])]
        else:
            return None
    return here


def _media(told: str) -> tuple[str, str]:
    """Media type and charset."""
    media, *options = told.split(";")
    for option in options:
        name, _, value = option.partition("=")
        if name.strip().lower() == "charset":
            return media.strip().lower(), value.strip().strip('"')
    return media.strip().lower(), "utf-8"


def _is_json(media: str) -> bool:
    return not media or media.endswith(("/json", "+json"))


def _text(body: bytes, charset: str) -> str | None:
    """None for bytes that are no text in it."""
    try:
        return body.decode(charset).removeprefix("\ufeff")
    except (UnicodeError, LookupError, ValueError):
        return None


def _binary(body: bytes, headers: Mapping[str, str], media: str, charset: str) -> Item:
    fields: dict[str, Any] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            fields[name[3:]] = _decoded(value)
        elif name.startswith("ce_"):
            fields[name[3:]] = value
    if "content-type" in headers:
        fields["datacontenttype"] = headers["content-type"]
    try:
        if body:
            fields |= _data(body, media, charset)
        return _checked(fields, None)
    except ValueError as error:
        return Unreadable(1, str(error), body or as_json(fields))


def _decoded(value: str) -> str:
    """A header's value over HTTP: within quotes backslashes escape, and percent signs encode UTF-8."""
    quoted = _QUOTED.fullmatch(value)
    return unquote(_ESCAPED.sub(r"\1", quoted[1]) if quoted else value)


def _data(body: bytes, media: str, charset: str) -> dict[str, Any]:
    """``data`` of bytes, by what they are said to be. Raises ``ValueError``."""
    text = _text(body, charset)
    if _is_json(media):
        if text is None:
            raise ValueError(f"data is not {charset[:40]!r}, so it is no JSON")
        return {"data": value_of(text)}
    if text is not None and "\0" not in text:
        return {"data": text}
    return {"data_base64": base64.b64encode(body).decode()}


def _structured(text: str | None, raw: bytes) -> list[Item]:
    """One event, or a batch of them."""
    if text is None:
        return [Unreadable(1, "bytes that are not in the encoding they are said to be in", raw)]
    try:
        document = value_of(text)
        if not isinstance(document, list):
            return [_event(document, raw)]
    except ValueError as error:
        return [Unreadable(1, str(error), raw)]
    if len(document) > MAX_BATCH:
        return [Unreadable(1, f"a batch of more than {MAX_BATCH} events", raw)]
    return [_of_batch(number, item) for number, item in enumerate(document, 1)]


def _of_batch(number: int, item: Any) -> Item:
    try:
        return _event(item, None)._replace(line=number)
    except ValueError as error:
        raw = b""
        with contextlib.suppress(RecursionError, ValueError):
            raw = json.dumps(item).encode()
        return Unreadable(number, str(error), raw)


def _event(document: Any, raw: bytes | None) -> Row:
    """Raises ``ValueError``."""
    if not isinstance(document, dict):
        raise ValueError("no CloudEvent: its JSON is no object")
    fields = {name: value for name, value in document.items() if value is not None}
    encoded = fields.pop("data_base64", None)
    if encoded is not None:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ValueError("data_base64 is no base64") from None
        media, charset = _media(str(fields.get("datacontenttype", "application/octet-stream")))
        fields |= _data(data, media, charset)
    return _checked(fields, raw)


def _checked(fields: dict[str, Any], raw: bytes | None) -> Row:
    """Raises ``ValueError`` where it is no CloudEvent of version 1.0."""
    for name in REQUIRED:
        value = fields.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(
                f"no CloudEvent: {name} is missing" if value is None else f"no CloudEvent: {name} is no text"
            )
    if fields["specversion"] != "1.0":
        raise ValueError(f"CloudEvents {fields['specversion'][:20]!r} are not read; 1.0 are")
    for name, value in fields.items():
        if name not in ("data", "data_base64") and not isinstance(value, (str, int, bool, float)):
            raise ValueError(f"no CloudEvent: attribute {name[:40]!r} is no text, number or truth")
    return Row(1, fields, raw)
