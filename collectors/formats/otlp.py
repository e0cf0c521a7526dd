"""OTLP: requests of traces and of logs, in protobuf and in JSON, as they come over HTTP, gRPC and Kafka, or in files.

As *events* (the default as soon as a rule is given) a record that speaks of a transaction becomes what ``tracer.spans`` makes of
it, and the others become nothing. As *records* each becomes a row for a mapping, with the fields of ``otlp_fields``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from collectors.formats.contract import Item, Ready
from collectors.formats.lines import LineFormat
from collectors.formats.otlp_fields import attributes_of, log_fields, resource_of, span_facts, span_fields, value_of
from collectors.formats.otlp_request import (
    Entry,
    Signal,
    Unfit,
    document_of,
    entries_of_json,
    entries_of_proto,
    is_json,
    plain,
    signal_of_json,
)
from collectors.inputs.record import Row, Unreadable, as_json
from tracer.clean import attributes_of as scalars_of
from tracer.clean import name_of, text_of
from tracer.spans import ATTRIBUTE, Rules, Span, events_of, keys_in, system_of, why_not

Names = Annotated[dict[str, str], Field(max_length=1000)]
SIGNAL = "otlp-signal"
"""Pseudo-header by which a receiver says what it was sent: its path or service tells."""


class OtlpFormat(LineFormat):
    """Rules are those of ``tracer.spans.Rules``; ``keys`` are its ``key_attributes``.

    ``signal``: what a topic carries; told by the body where it is not given. ``read``: ``events`` or ``records``.
    """

    self_ending: ClassVar[bool] = True

    signal: Signal | None = None
    read: Literal["events", "records"] | None = None
    keys: Names = Field(default_factory=dict)
    steps: Names = Field(default_factory=dict)
    systems: Names = Field(default_factory=dict)
    peers: Names = Field(default_factory=dict)
    system: Annotated[str, Field(max_length=100)] = ""
    unnamed: Literal["edges", "all", "none"] = "edges"
    trace_only: Literal["named", "all", "none"] = "named"
    attributes: Annotated[tuple[str, ...], Field(max_length=64)] = ()

    _explains: bool = PrivateAttr(default=False)

    def explaining(self) -> OtlpFormat:
        """The same, but a span or log record that makes no event says why (`Ready.nothing`)."""
        made = self.model_copy()
        made._explains = True
        return made

    @cached_property
    def rules(self) -> Rules:
        return Rules(
            key_attributes=self.keys, steps=self.steps, systems=self.systems, peers=self.peers, system=self.system,
            unnamed=self.unnamed, trace_only=self.trace_only, attributes=self.attributes,
        )  # fmt: skip

    @property
    def gives_events(self) -> bool:
        """Whether it needs no mapping."""
        if self.read is not None:
            return self.read == "events"
        return bool(self.keys or self.steps or self.systems or self.peers or self.attributes)

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        """A line of a file, as the OpenTelemetry Collector's file exporter writes it: one request each."""
        try:
            return tuple(item._replace(line=line) for item in self._of_json(text, None))
        except Unfit as error:
            return (Unreadable(line, str(error), raw),)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        told: Any = headers.get(SIGNAL) or self.signal
        json = is_json(body, headers.get("content-type", "").partition(";")[0].strip().lower())
        try:
            if json:
                return list(self._of_json(body, told))
            return list(self._read(entries_of_proto(body, told)))
        except Unfit as error:
            if json is None and body.lstrip()[:1] == b"{":
                return self.message(body, {**headers, "content-type": "application/json"})
            return [Unreadable(1, str(error), body)]

    def identity(self, item: Item) -> str | None:
        """What makes a record the same whichever way and however often it comes: a span's ids. None for what has nothing."""
        if isinstance(item, Ready):
            return str(item.event["id"])
        if isinstance(item, Row) and item.fields.get("signal") == "span":
            return f"{item.fields['trace_id']}:{item.fields['span_id']}"
        return None

    def _of_json(self, body: bytes | str, signal: Signal | None) -> Iterator[Item]:
        document = document_of(body)
        found = signal_of_json(document)
        if found is None and document.get("signal") in ("span", "log"):
            yield Row(1, document)  # one that was set aside, tried again
            return
        if (found is None and document) or (found and signal and found != signal):
            names = ", ".join(sorted(document))[:100]
            raise Unfit(plain(f"not a request of OTLP {signal or 'traces or logs'}: its JSON has {names}"))
        if found:
            yield from self._read(entries_of_json(document, found))

    def _read(self, entries: Iterator[Entry | Unreadable]) -> Iterator[Item]:
        for entry in entries:
            if isinstance(entry, Unreadable):
                yield entry
            elif why := entry.excess():
                yield Unreadable(entry.number, why, entry.record.SerializeToString())
            elif entry.record.DESCRIPTOR.name == "Span":
                yield from self._span(entry)
            else:
                yield from self._log(entry)

    def _span(self, entry: Entry) -> Iterator[Item]:
        span = entry.record
        for name, value, size in (("trace", span.trace_id, 16), ("span", span.span_id, 8)):
            if len(value) != size or not any(value):
                reason = f"a {name} id has {size} bytes, not all zero; this has {value.hex()[:40] or 'none'}"
                yield Unreadable(entry.number, reason, as_json(span_fields(entry)))
                return
        if self.gives_events:
            facts = span_facts(entry)
            events = events_of(facts, self.rules)
            yield from (Ready(entry.number, event) for event in events)
            if self._explains and not events:
                yield Ready(entry.number, {}, as_json(span_fields(entry)), why_not(facts, self.rules))
        else:
            yield Row(entry.number, span_fields(entry))

    def _log(self, entry: Entry) -> Iterator[Item]:
        if not self.gives_events:
            yield Row(entry.number, log_fields(entry))
            return
        event = _event_of_log(entry, self.rules)
        if event is not None:
            yield Ready(entry.number, event)
        elif self._explains:
            why = "it lacks a step (lastseen.step, or an event name that steps knows), a system or a business key"
            yield Ready(entry.number, {}, as_json(log_fields(entry)), why)


def _event_of_log(entry: Entry, rules: Rules) -> dict[str, Any] | None:
    """A record that names a step (``lastseen.step``, or an event name that the rules know) is an event; no other is."""
    log = entry.record
    attributes = attributes_of(log.attributes)
    step = attributes.get("lastseen.step") or (rules.steps.get(log.event_name) if log.event_name else None)
    nanos = log.time_unix_nano or log.observed_time_unix_nano
    resource = resource_of(entry.origin)
    trace, span = log.trace_id.hex(), log.span_id.hex()
    system = system_of(Span("", trace, span, nanos // 1000, attributes=attributes, resource=resource), rules)
    keys = keys_in({**resource, **attributes}, rules)
    if len(trace) == 32 and (keys or rules.trace_only != "none"):
        keys = {**keys, "trace": trace}
    if not (step and system and keys):
        return None
    phase = str(attributes.get("lastseen.phase") or "completed")
    digest = hashlib.sha256(entry.record.SerializeToString(deterministic=True) + as_json(resource)).hexdigest()[:32]
    event = {
        "id": f"log:{digest}", "system": system, "step": name_of(step), "phase": phase, "time": nanos // 1000, "keys": keys,
    }  # fmt: skip
    if phase == "failed":
        event["error"] = text_of(attributes.get("lastseen.error") or value_of(log.body) or log.event_name)
    if peer := attributes.get("lastseen.peer"):
        event["peer"] = name_of(peer)
    named = {name: attributes[name] for name in rules.attributes if name in attributes}
    stated = {name.removeprefix(ATTRIBUTE): value for name, value in attributes.items() if name.startswith(ATTRIBUTE)}
    if more := scalars_of({**named, **stated})[0]:
        event["attributes"] = more
    return event
