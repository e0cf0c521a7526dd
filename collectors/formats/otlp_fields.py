"""Records of OTLP as fields under flat, dotted names, for a mapping; and as the facts that ``tracer.spans`` judges.

Of both: ``signal`` (``span``, ``log``), ``trace_id``, ``span_id`` (lower-case hexadecimal), ``attributes.*``, ``resource.*``,
``scope.name``, ``scope.version``, ``scope.attributes.*``. Times are RFC 3339 in UTC with microseconds; what is finer is cut.

- A span: ``name``, ``kind`` (``internal``, ``server``, ``client``, ``producer``, ``consumer``), ``parent_span_id``, ``start``,
  ``end``, ``duration_us``, ``status`` (``unset``, ``ok``, ``error``), ``status_message``, ``events`` (list of ``{name, time,
  attributes}``), ``links`` (list of ``{trace_id, span_id, attributes}``).
- A log record: ``time`` (when it was observed, where it does not say), ``observed_time``, ``severity`` (``trace`` to ``fatal``),
  ``severity_number``, ``severity_text``, ``event_name``, ``body``.

A map within an attribute or a body is flattened in turn (``body.url``); a list stays one, and its items are ``name.0`` and so on.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

from collectors.formats.otlp_request import Entry, Origin
from schemas.times import format_time, to_datetime
from tracer.spans import Span, SpanEvent, SpanLink

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
_STATUS = {0: "unset", 1: "ok", 2: "error"}
_ITEMS = 100
"""So many items of a list have names of their own."""


def value_of(value: Any) -> Any:
    """An ``AnyValue`` as plain data: bytes as base64, a number that is none as text."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return attributes_of(value.kvlist_value.values)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    found = getattr(value, kind) if kind else None
    return str(found) if isinstance(found, float) and not math.isfinite(found) else found


def attributes_of(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def _micros(nanos: int) -> int | None:
    return nanos // 1000 if nanos else None


def _time(nanos: int) -> str | None:
    """None where there is none; a time past the year 9999 stays the number that it was, for whoever reads it to refuse."""
    if not nanos:
        return None
    try:
        to_datetime(nanos // 1000)
    except OverflowError:
        return str(nanos)
    return format_time(nanos // 1000)


def _flat(out: dict[str, Any], name: str, value: Any) -> None:
    """The first value of a name stays: ``a.b`` may be written twice, as an attribute and within the map ``a``."""
    if isinstance(value, dict):
        for key, item in value.items():
            _flat(out, f"{name}.{key}", item)
        return
    if value is not None:
        out.setdefault(name, value)
    if isinstance(value, list):
        for index, item in enumerate(value[:_ITEMS]):
            _flat(out, f"{name}.{index}", item)


def _shared(entry: Entry, out: dict[str, Any]) -> dict[str, Any]:
    out = {name: value for name, value in out.items() if value is not None and value != ""}
    _flat(out, "attributes", attributes_of(entry.record.attributes))
    out.update(_of_origin(entry.origin))
    return out


def _of_origin(origin: Origin) -> dict[str, Any]:
    fields: dict[str, Any] | None = origin.made.get("fields")
    if fields is None:
        fields = origin.made["fields"] = {}
        _flat(fields, "resource", resource_of(origin))
        for name, value in (("scope.name", origin.scope.name), ("scope.version", origin.scope.version)):
            if value:
                fields[name] = value
        _flat(fields, "scope.attributes", attributes_of(origin.scope.attributes))
    return fields


def resource_of(origin: Origin) -> dict[str, Any]:
    """The resource's attributes."""
    found: dict[str, Any] | None = origin.made.get("resource")
    if found is None:
        found = origin.made["resource"] = attributes_of(origin.resource.attributes)
    return found


def span_fields(entry: Entry) -> dict[str, Any]:
    span = entry.record
    start, end = _micros(span.start_time_unix_nano), _micros(span.end_time_unix_nano)
    return _shared(entry, {
        "signal": "span",
        "name": span.name,
        "kind": KINDS.get(span.kind, "internal"),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "start": _time(span.start_time_unix_nano),
        "end": _time(span.end_time_unix_nano),
        "duration_us": end - start if start and end else None,
        "status": _STATUS.get(span.status.code, "unset"),
        "status_message": span.status.message,
        "events": [
            {"name": e.name, "time": _time(e.time_unix_nano), "attributes": attributes_of(e.attributes)} for e in span.events
        ] or None,
        "links": [
            {"trace_id": x.trace_id.hex(), "span_id": x.span_id.hex(), "attributes": attributes_of(x.attributes)}
            for x in span.links
        ] or None,
    })  # fmt: skip


def log_fields(entry: Entry) -> dict[str, Any]:
    log = entry.record
    number = log.severity_number
    severity = SEVERITIES[(number - 1) // 4] if 1 <= number <= 24 else log.severity_text.lower()
    out = _shared(entry, {
        "signal": "log",
        "time": _time(log.time_unix_nano or log.observed_time_unix_nano),
        "observed_time": _time(log.observed_time_unix_nano),
        "severity": severity,
        "severity_number": number or None,
        "severity_text": log.severity_text,
        "event_name": log.event_name,
        "trace_id": log.trace_id.hex(),
        "span_id": log.span_id.hex(),
    })  # fmt: skip
    _flat(out, "body", value_of(log.body))
    return out


def span_facts(entry: Entry) -> Span:
    """What ``tracer.spans`` judges."""
    span = entry.record
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano // 1000,
        end=_micros(span.end_time_unix_nano),
        kind=KINDS.get(span.kind, "internal"),  # type: ignore[arg-type]
        error=span.status.code == 2,
        message=span.status.message,
        attributes=attributes_of(span.attributes),
        resource=resource_of(entry.origin),
        events=[SpanEvent(e.name, e.time_unix_nano // 1000, attributes_of(e.attributes)) for e in span.events],
        links=[SpanLink(x.trace_id.hex(), x.span_id.hex(), attributes_of(x.attributes)) for x in span.links],
    )
