"""The body of an OTLP request, protobuf or JSON, as its records with their resource and scope.

In JSON a record that is wrong costs only itself; protobuf is readable as a whole or not at all.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collectors.inputs.record import Unreadable

Signal = Literal["traces", "logs"]
MAX_RECORDS = 50_000
"""In one request, and groups of them. A request of 8 MiB with more has records of under 170 bytes."""
MAX_PARTS = 10_000
"""Attributes, events and links of one record."""

_IDS = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))
_LISTS = {"traces": ("resourceSpans", "scopeSpans", "spans"), "logs": ("resourceLogs", "scopeLogs", "logRecords")}
_parse: Any = json_format.ParseDict
_KINDS: dict[str, Any] = {"traces": Span, "logs": LogRecord}


class Origin:
    """What many records share; what is made of it once (``made``) serves them all."""

    __slots__ = ("made", "resource", "scope")

    def __init__(self, resource: Any, scope: Any) -> None:
        self.resource, self.scope = resource, scope
        self.made: dict[str, Any] = {}


class Entry(NamedTuple):
    """A record of a request: a ``Span`` or a ``LogRecord`` of OTLP. ``number``: from 1, within the request."""

    number: int
    record: Any
    origin: Origin

    def excess(self) -> str:
        """Why it is too large to be looked at, "" where it is not."""
        for name in ("attributes", "events", "links"):
            if len(getattr(self.record, name, ())) > MAX_PARTS:
                return f"more than {MAX_PARTS} {name} in one record"
        return (
            f"more than {MAX_PARTS} attributes of a resource"
            if len(self.origin.resource.attributes) > MAX_PARTS
            else ""
        )


class Unfit(ValueError):  # noqa: N818  (an `Invalid` of this package alone: a body that is no request)
    """The body is no request at all."""


def plain(text: str) -> str:
    """What a library said, as one short line."""
    return "".join(char if char.isprintable() else "?" for char in text[:300])


def is_json(body: bytes, media: str) -> bool | None:
    """Whether a body is JSON: as it is said to be, else by its first byte. A request in protobuf begins with the tag of its only
    field, 0x0A, which is a line feed as well, and then its length, of which 123 is a brace: None where that leaves it open."""
    if media.endswith("json"):
        return True
    if media.endswith("protobuf") or not body:
        return False
    return None if body[:1] == b"\n" else body.lstrip()[:1] == b"{"


def entries_of_proto(body: bytes, signal: Signal | None) -> Iterator[Entry]:
    """Records of a request in protobuf. ``signal`` None: told by the records' ids. Raises `Unfit`."""
    if signal is None:
        signal = "traces" if _are_spans(body) else "logs"
    if signal == "traces":
        yield from _numbered(_parsed(ExportTraceServiceRequest, body), "resource_spans", "scope_spans", "spans")
    else:
        yield from _numbered(_parsed(ExportLogsServiceRequest, body), "resource_logs", "scope_logs", "log_records")


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise Unfit("not a request of OTLP in protobuf") from None


def _are_spans(body: bytes) -> bool:
    """Spans and log records lie at the same place; only a span has sixteen bytes in field 1, a log record has a time there."""
    try:
        request = _parsed(ExportTraceServiceRequest, body)
    except Unfit:
        return False
    _bounded(len(request.resource_spans))
    _bounded(sum(len(holder.scope_spans) for holder in request.resource_spans))
    first = next((s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans), None)
    return first is None or len(first.trace_id) == 16


def _numbered(request: Any, outer: str, inner: str, records: str) -> Iterator[Entry]:
    holders = getattr(request, outer)
    # Each count before its list is walked: 8 MiB of empty groups took 9 s and 500 MB to walk, 0.2 s to parse and count.
    _bounded(len(holders))
    _bounded(sum(len(getattr(holder, inner)) for holder in holders))
    groups = [(holder, scope) for holder in holders for scope in getattr(holder, inner)]
    _bounded(sum(len(getattr(scope, records)) for _, scope in groups))
    number = 0
    for holder, scope in groups:
        origin = Origin(holder.resource, scope.scope)
        for record in getattr(scope, records):
            number += 1
            yield Entry(number, record, origin)


def _bounded(count: int) -> None:
    if count > MAX_RECORDS:
        raise Unfit(f"more than {MAX_RECORDS} records or groups of them in one request")


def signal_of_json(document: Mapping[str, Any]) -> Signal | None:
    """By its only field; None for what is no request."""
    return next((signal for signal in ("traces", "logs") if _LISTS[signal][0] in document), None)


def document_of(body: bytes | str) -> Mapping[str, Any]:
    """Raises `Unfit`."""
    try:
        found = orjson.loads(body)
    except ValueError as error:
        raise Unfit(plain(f"not JSON: {error}")) from None
    if not isinstance(found, dict):
        raise Unfit("not a request of OTLP: its JSON is no object")
    return found


def entries_of_json(document: Mapping[str, Any], signal: Signal) -> Iterator[Entry | Unreadable]:
    """Records of a request in JSON. Raises `Unfit` where nothing of it can be read."""
    outer, inner, records = _LISTS[signal]
    number = 0
    for holder in _listed(document, outer):
        resource = _told(Resource, holder.get("resource"))
        for group in _listed(holder, inner):
            origin = Origin(resource, _told(InstrumentationScope, group.get("scope")))
            for record in _listed(group, records, of_objects=False):
                number += 1
                _bounded(number)
                entry = _entry(number, record, signal, origin)
                yield (
                    entry
                    if isinstance(entry, Entry)
                    else Unreadable(number, entry, _alone(record, group, holder, signal))
                )


def _listed(holder: Mapping[str, Any], name: str, *, of_objects: bool = True) -> list[Any]:
    found = holder.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or (of_objects and not all(isinstance(item, dict) for item in found)):
        raise Unfit(f"not a request of OTLP: {name} is no list{' of objects' if of_objects else ''}")
    return found


def _entry(number: int, record: Any, signal: Signal, origin: Origin) -> Entry | str:
    """Or why it is none."""
    try:
        for part in (origin.resource, origin.scope):
            if isinstance(part, str):
                raise ValueError(part)
        return Entry(number, _message(_KINDS[signal], record), origin)
    except ValueError as error:
        return plain(f"not a record of OTLP: {error}")


def _alone(record: Any, group: Mapping[str, Any], holder: Mapping[str, Any], signal: Signal) -> bytes:
    """A request of this record alone, with all that is said of where it comes from: so it can be tried again."""
    outer, inner, records = _LISTS[signal]
    return orjson.dumps({outer: [{**holder, inner: [{**group, records: [record]}]}]})


def _told(kind: Any, value: Any) -> Any:
    """A part that many records share, or why it cannot be read: that is said for each of them."""
    try:
        return _message(kind, {} if value is None else value)
    except ValueError as error:
        return f"{kind.DESCRIPTOR.name.lower()}: {error}"


def _message(kind: Any, value: Any) -> Any:
    """Raises ``ValueError``."""
    if not isinstance(value, dict):
        raise ValueError("no object")
    try:
        return _parse(_with_ids(value), kind(), ignore_unknown_fields=True, max_recursion_depth=64)
    except (json_format.ParseError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _with_ids(value: Mapping[str, Any]) -> dict[str, Any]:
    """OTLP writes ids as hexadecimal digits where protobuf's JSON has base64. Only records and their links have any."""
    out = {name: _base64(name, item) if name in _IDS else item for name, item in value.items()}
    links = out.get("links")
    if isinstance(links, list):
        out["links"] = [_with_ids(link) if isinstance(link, dict) else link for link in links]
    return out


def _base64(name: str, value: Any) -> Any:
    if value is None or value == "":
        return value
    try:
        return base64.b64encode(binascii.unhexlify(value)).decode()
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not hexadecimal") from None
