"""What an OpenTelemetry span says of a transaction: a pure function from a span's facts to events in the contract's JSON form.

The `SpanProcessor` of an instrumented process and the collectors' OTLP receiver use it alike, so a span makes the same events, with
the same ids, whichever way it came.

**Which spans.** A span is *named* if it has the attribute ``lastseen.step`` or if `Rules.steps` knows its name. A named span is
always reported. Of the others, `Rules.unnamed` says: ``edges`` (the default) those that cross a process's boundary (SERVER,
CONSUMER, PRODUCER, and CLIENT unless it asks a database) and those whose own attributes carry a business key; ``all``; or ``none``.
Without a business key a span has only its trace id to be known by: `Rules.trace_only` says whether it is reported all the same,
``named`` (the default), ``all`` (of the others too) or ``none``.

**System.** ``lastseen.system`` of the span, else of the resource, else the resource's ``service.name`` (`Rules.systems` translates
it), else `Rules.system`.

**Step.** ``lastseen.step``, else by `Rules.steps` (exact name, else the first pattern with ``*`` that fits), else the span's name.

**Keys.** ``lastseen.key.<type>`` or an attribute that `Rules.key_attributes` names, of the span, else an entry of its baggage under
the same names, else of the resource. And ``trace``, a weak alias: the trace id.

**Phases.** At the start ``started``; at the end ``completed``, or ``failed`` where the status is an error, with the error's text
(the last exception event, else the status's description, ``error.type``, the HTTP status). Where a message is sent (kind PRODUCER,
or ``messaging.operation.type`` send or publish) the end is ``sent``; where one is received (kind CONSUMER, or operation receive,
process, deliver) the start is ``received``; settling or creating a message is neither. ``lastseen.phase`` (sent,
completed, failed or cancelled) replaces ``completed`` or ``sent``.

**Peer.** ``lastseen.peer``, ``peer.service`` (``service.peer.name``), else the messaging destination, for a CLIENT the server's
address, in the old and the new spelling, each translated by `Rules.peers`. Absent for SERVER and INTERNAL unless named.

**Events of a span** with ``lastseen.step`` (and ``lastseen.phase``, ``lastseen.key.*``) are events of their own.

**Links.** For each linked span (128 at most) the span's events once more, with the keys in the link's attributes and the link's
trace id: so every message of a batch is seen to arrive, and a trace that goes on as another is joined to it.

**Ids** are ``trace id:span id:phase``, with ``:e<n>`` for the n-th event of the span and ``:<trace>:<span>`` of a link.

**Attributes** go along only where named: ``lastseen.attribute.<name>``, and those of `Rules.attributes`. Telemetry is full of
personal data that nobody asked us to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from tracer.clean import MAX_ID, attributes_of, keys_of, name_of, pairs, text_of
from tracer.semantics import address, asks_database, destination, error_of, first, operation

PREFIX = "lastseen."
KEY = "lastseen.key."
ATTRIBUTE = "lastseen.attribute."
TRACE = "trace"
MAX_LINKS = 128
MAX_SPAN_EVENTS = 128
"""As many as the SDKs keep by default."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Event = dict[str, Any]
_END_PHASES = ("sent", "completed", "failed", "cancelled")
_PHASES = ("received", "started", *_END_PHASES)


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """A moment within a span. ``time``: microseconds since 1970 UTC."""

    name: str
    time: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanLink:
    """Another span that this one names. Ids as in `Span`."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """A span's facts, whoever tells them.

    Attributes:
        trace_id, span_id, parent_id: 32 and 16 lower-case hexadecimal digits; no parent is "".
        start, end: microseconds since 1970 UTC; an ``end`` of None is still to come.
        kind: lower case, without ``SPAN_KIND_``.
        error: its status is an error. ``message``: the status's description.
        attributes, resource, baggage: values are scalars or lists of them.
    """

    name: str
    trace_id: str
    span_id: str
    start: int
    end: int | None = None
    kind: Kind = "internal"
    parent_id: str = ""
    error: bool = False
    message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, Any] = field(default_factory=dict)
    baggage: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    links: Sequence[SpanLink] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """How spans become events; see the module.

    Attributes:
        key_attributes: attribute or baggage entry to key type (``{"order.id": "order"}``).
        steps: span name, or pattern with ``*``, to step. systems: service name to system. peers: address or destination to system.
        system: of spans without a service name.
        unnamed: which spans that nobody named are reported: ``edges``, ``all``, ``none``.
        trace_only: which are reported that have no key but their trace id: ``named``, ``all``, ``none``.
        attributes: names of span or resource attributes that go along under the same name.
    """

    key_attributes: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, str] = field(default_factory=dict)
    systems: Mapping[str, str] = field(default_factory=dict)
    peers: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    unnamed: Literal["edges", "all", "none"] = "edges"
    trace_only: Literal["named", "all", "none"] = "named"
    attributes: tuple[str, ...] = ()


def events_of(span: Span, rules: Rules) -> list[Event]:
    """All that a span says: `started_of` and `ended_of` it. Empty where it is not reported (`why_not`)."""
    return [*started_of(span, rules), *ended_of(span, rules)]


def started_of(span: Span, rules: Rules) -> list[Event]:
    """What is known when the span starts."""
    said = _said(span, rules)
    if said is None:
        return []
    phase = "received" if operation(span.attributes, span.kind) == "receive" else "started"
    event = said.event(phase, span.start)
    _with_peer(event, span, rules)
    return _under_all_names(event, said, rules)


def ended_of(span: Span, rules: Rules) -> list[Event]:
    """What is known when it ends, the events within it among it; empty while it has no end."""
    said = _said(span, rules)
    within = list(_within(span, rules))
    if span.end is None or said is None:
        return within
    event = said.event(_end_phase(span), span.end)
    _with_peer(event, span, rules)
    if event["phase"] == "failed":
        exceptions = [moment.attributes for moment in span.events[:MAX_SPAN_EVENTS] if moment.name == "exception"]
        event["error"] = error_of(span.attributes, exceptions, span.message)
    if attributes := _attributes(span, rules):
        event["attributes"] = attributes
    return [*within, *_under_all_names(event, said, rules)]


def why_not(span: Span, rules: Rules) -> str:
    """Why a span makes no event, as one sentence; "" where it makes one."""
    if _said(span, rules) is not None or any(_within(span, rules)):
        return ""
    if not system_of(span, rules):
        return "neither service.name nor lastseen.system says which system this is"
    if not (span.trace_id and span.span_id):
        return "the span has no ids"
    if not _wanted(span, rules, named=bool(_step(span, rules)), own=bool(keys_in(span.attributes, rules))):
        return "an inner span that nobody named"
    return "no business key"


def system_of(span: Span, rules: Rules) -> str:
    """Which system speaks; "" where nothing says so."""
    stated = span.attributes.get("lastseen.system") or span.resource.get("lastseen.system")
    if stated:
        return name_of(stated)
    service = name_of(span.resource.get("service.name") or "")
    return name_of(rules.systems.get(service, service) or rules.system)


@dataclass(frozen=True, slots=True)
class _Said:
    """What all events of a span share."""

    span: Span
    system: str
    step: str
    keys: dict[str, str]
    named: bool

    def event(self, phase: str, time: int) -> Event:
        return {
            "id": f"{self.span.trace_id}:{self.span.span_id}:{phase}",
            "system": self.system,
            "step": self.step,
            "phase": phase,
            "time": time,
            "keys": dict(self.keys),
        }


def _said(span: Span, rules: Rules) -> _Said | None:
    """None for a span that is not reported."""
    named = _step(span, rules)
    own = keys_in(span.attributes, rules)
    if not _wanted(span, rules, named=bool(named), own=bool(own)):
        return None
    keys = keys_in(span.resource, rules) | keys_in(span.baggage, rules) | own
    linked = any(keys_in(link.attributes, rules) for link in span.links[:MAX_LINKS])
    if not keys and not linked and not _trace_suffices(rules, named=bool(named)):
        return None
    system, step = system_of(span, rules), named or name_of(span.name)
    if not (system and step and span.trace_id and span.span_id):
        return None
    return _Said(span, system, step, _with_trace(keys, span.trace_id), bool(named))


def _wanted(span: Span, rules: Rules, *, named: bool, own: bool) -> bool:
    if named or rules.unnamed == "all":
        return True
    if rules.unnamed == "none":
        return False
    if own or span.kind in ("server", "consumer", "producer"):
        return operation(span.attributes, span.kind) != "none" or own
    return span.kind == "client" and not asks_database(span.attributes)


def _trace_suffices(rules: Rules, *, named: bool) -> bool:
    return rules.trace_only == "all" or (rules.trace_only == "named" and named)


def _step(span: Span, rules: Rules) -> str:
    """The step that somebody gave the span; "" where nobody did."""
    stated = span.attributes.get("lastseen.step")
    return name_of(stated) if stated else step_by_name(span.name, rules)


def step_by_name(name: str, rules: Rules) -> str:
    if not rules.steps:
        return ""
    exact = rules.steps.get(name)
    if exact is not None:
        return name_of(exact)
    for pattern, step in rules.steps.items():
        if "*" in pattern and fnmatchcase(name, pattern):
            return name_of(step)
    return ""


def keys_in(attributes: Mapping[str, Any], rules: Rules) -> dict[str, str]:
    """The business keys that attributes, or baggage entries, carry."""
    stated: dict[str, Any] = {}
    configured: dict[str, Any] = {}
    for name, value in pairs(attributes):
        if not isinstance(name, str):
            continue
        if name.startswith(KEY):
            stated[name[len(KEY) :]] = value
        elif name in rules.key_attributes:
            configured.setdefault(rules.key_attributes[name], value)
    return keys_of(configured | stated)[0] if stated or configured else {}


def _with_trace(keys: dict[str, str], trace_id: str) -> dict[str, str]:
    """Last, so that it never is what an event is placed by where there is another; 32 keys at most."""
    return {**dict([item for item in keys.items() if item[0] != TRACE][:31]), TRACE: trace_id}


def _end_phase(span: Span) -> str:
    if span.error:
        return "failed"
    stated = span.attributes.get("lastseen.phase")
    if stated in _END_PHASES:
        return str(stated)
    return "sent" if operation(span.attributes, span.kind) == "send" else "completed"


def _with_peer(event: Event, span: Span, rules: Rules) -> None:
    found: Any = first(span.attributes, "lastseen.peer", "peer.service", "service.peer.name")
    if not found and operation(span.attributes, span.kind) in ("send", "receive"):
        found = destination(span.attributes)
    if not found and span.kind in ("client", "producer"):
        found = address(span.attributes)
    peer = name_of(found) if found else ""
    if peer := name_of(rules.peers.get(peer, peer)):
        event["peer"] = peer


def _attributes(span: Span, rules: Rules) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in rules.attributes:
        value = span.attributes.get(name, span.resource.get(name))
        if value is not None:
            found[name] = value
    found |= _stated_attributes(span.attributes)
    return attributes_of(found)[0] if found else {}


def _stated_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name[len(ATTRIBUTE) :]: value
        for name, value in pairs(attributes)
        if isinstance(name, str) and name.startswith(ATTRIBUTE)
    }


def _within(span: Span, rules: Rules) -> Iterator[Event]:
    """Events of the span that name a step."""
    for number, moment in enumerate(span.events[:MAX_SPAN_EVENTS]):
        step = moment.attributes.get("lastseen.step")
        system = system_of(span, rules) if step else ""
        if not (step and system and span.trace_id and span.span_id):
            continue
        stated = moment.attributes.get("lastseen.phase")
        phase = str(stated) if stated in _PHASES else "completed"
        keys: dict[str, str] = {}
        for carrier in (span.resource, span.baggage, span.attributes, moment.attributes):
            keys |= keys_in(carrier, rules)
        if not keys and rules.trace_only == "none":
            continue
        event = _Said(span, system, name_of(step), _with_trace(keys, span.trace_id), True).event(phase, moment.time)
        event["id"] += f":e{number}"
        if peer := moment.attributes.get("lastseen.peer"):
            event["peer"] = name_of(peer)
        if phase == "failed":
            event["error"] = text_of(moment.attributes.get("lastseen.error") or moment.name)
        if attributes := attributes_of(_stated_attributes(moment.attributes))[0]:
            event["attributes"] = attributes
        yield event


def _under_all_names(event: Event, said: _Said, rules: Rules) -> list[Event]:
    """The event, and once more for each link, under what the link is known by."""
    span, own = said.span, {name: value for name, value in event["keys"].items() if name != TRACE}
    suffices = _trace_suffices(rules, named=said.named)
    found = [event] if own or suffices else []
    for link in span.links[:MAX_LINKS]:
        keys = own | keys_in(link.attributes, rules)
        if not link.trace_id or not (keys or suffices) or (keys == own and link.trace_id == span.trace_id):
            continue
        name = f"{event['id']}:{link.trace_id}:{link.span_id}"
        found.append({**event, "id": name_of(name, MAX_ID), "keys": _with_trace(keys, link.trace_id)})
    return found
