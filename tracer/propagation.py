"""How a transaction travels from one system to the next: in the headers of HTTP and Kafka, in CloudEvents, in the environment.

Keys go in W3C Baggage as ``lastseen.key.<type>=<value>``, the trace id in ``traceparent``, both written and read by
OpenTelemetry's own propagators. Three things of these are mended on the way: they write a space as ``+`` and read a plus sign as a
space, as web forms do, where the recommendation (and every other language's SDK) percent-encodes; they take what follows ``;`` (an
entry's properties) for its value; and they log what a stranger sent, once an entry.

Carriers: a mapping of text (HTTP headers, CloudEvents attributes, the environment), or a list of (name, bytes) (Kafka headers).
Names are compared without regard to case. What is there already stays: baggage of others, and a ``traceparent`` that the
application's own instrumentation has written. Reading never raises, and takes at most 8,192 bytes, 180 entries and 32 keys.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, NamedTuple

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tracer.clean import keys_of
from tracer.context import PREFIX, prefixed

Carrier = MutableMapping[str, Any] | list[tuple[str, bytes]]
TRACEPARENT, TRACESTATE, BAGGAGE, CORRELATION = "traceparent", "tracestate", "baggage", "correlationid"
MAX_HEADER = 8192
MAX_MEMBER, MAX_MEMBERS = 4096, 180
MAX_FOREIGN = 64
# A token, and baggage-octets: what the recommendation allows.
_MEMBER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[ \t]*[!#-+\--:<-\[\]-~]*")
_CLOUD_EVENT = ("ce-", "ce_")
"""Before an attribute's name: in HTTP headers, in Kafka headers."""

_baggage = W3CBaggagePropagator()
_trace = TraceContextTextMapPropagator()


class Trace(NamedTuple):
    """Where a transaction stands in a trace: ``trace_id`` and ``span_id`` of 32 and 16 hexadecimal digits, "" where there are none.

    ``flags``: of a trace that begins with us ``01``, sampled. With ``00`` the services behind us, which follow their parent, would
    collect nothing any more.
    """

    trace_id: str = ""
    span_id: str = ""
    flags: str = "01"
    state: str = ""


class Incoming(NamedTuple):
    """What a carrier says.

    Attributes:
        keys: type to value.
        foreign: the other baggage entries.
    """

    keys: dict[str, str]
    trace: Trace = Trace()
    foreign: Mapping[str, str] = MappingProxyType({})


def inject(carrier: Carrier, keys: Mapping[str, str], at: Trace, foreign: Mapping[str, str]) -> None:
    """Write keys and trace into a carrier; see `Incoming` and the module."""
    there = _read(carrier)
    entries = _entries(there.get(BAGGAGE, ""))
    others = {name: value for name, value in {**foreign, **entries}.items() if not name.startswith(PREFIX)}
    written = _written({**prefixed(keys), **others})
    if written:
        _set(carrier, BAGGAGE, written)
    if TRACEPARENT not in there:
        for name, value in _traced(at).items():
            _set(carrier, name, value)


def inject_cloud_event(
    attributes: MutableMapping[str, Any], keys: Mapping[str, str], at: Trace, foreign: Mapping[str, str]
) -> None:
    """As `inject`, into the attributes of a CloudEvent; ``correlationid`` is ``type:value`` of the first key."""
    inject(attributes, keys, at, foreign)
    if keys and CORRELATION not in _read(attributes):
        attributes[CORRELATION] = ":".join(next(iter(keys.items())))


def inject_environment(
    environment: MutableMapping[str, str], keys: Mapping[str, str], at: Trace, foreign: Mapping[str, str]
) -> None:
    """As `inject`, for a process that is started with it: ``TRACEPARENT`` and ``BAGGAGE``, in capitals. What is there is replaced,
    for it is what this process was started with itself."""
    made: dict[str, str] = {}
    inject(made, keys, at, foreign)
    for name in (TRACEPARENT, TRACESTATE, BAGGAGE):
        environment.pop(name.upper(), None)
    environment.update({name.upper(): value for name, value in made.items()})


def extract(carrier: Any, names: Mapping[str, str] | None = None) -> Incoming:
    """What a carrier says; nothing where it says nothing that can be read.

    Args:
        carrier: a mapping, or an iterable of pairs; values are text, bytes, or lists of them. None: the environment.
        names: baggage entries (and the ``correlationid`` without a type, under that name) to key type.
    """
    try:
        there = _read(os.environ if carrier is None else carrier)
        entries = _entries(there.get(BAGGAGE, ""))
        keys, foreign = _split(entries, names or {})
        keys = _correlated(there.get(CORRELATION, ""), names or {}) | keys
        found = trace.get_current_span(_trace.extract(there, Context())).get_span_context()
    except Exception:
        return Incoming({})
    if not found.is_valid:
        return Incoming(keys, foreign=foreign)
    at = Trace(
        f"{found.trace_id:032x}", f"{found.span_id:016x}", f"{found.trace_flags:02x}", found.trace_state.to_header()
    )
    return Incoming(keys, at, foreign)


def _split(entries: Mapping[str, str], names: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    keys: dict[str, str] = {}
    foreign: dict[str, str] = {}
    for name, value in entries.items():
        if name.startswith(PREFIX):
            keys[name[len(PREFIX) :]] = value
        else:
            if name in names:
                keys.setdefault(names[name], value)
            if len(foreign) < MAX_FOREIGN:
                foreign[name] = value
    return keys_of(keys)[0], foreign


def _correlated(text: str, names: Mapping[str, str]) -> dict[str, str]:
    kind, colon, value = text.partition(":")
    if colon and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", kind):
        return keys_of({kind: value})[0]
    return keys_of({names[CORRELATION]: text})[0] if text and CORRELATION in names else {}


def _entries(header: str) -> dict[str, str]:
    """Entries of a baggage header. Longer than the bound, it is cut behind the last entry that fits."""
    if len(header) > MAX_HEADER:
        header = header[: MAX_HEADER + 1].rpartition(",")[0]
    members = [member.partition(";")[0].strip(" \t") for member in header.split(",")]
    fitting = [member for member in members if len(member) <= MAX_MEMBER and _MEMBER.fullmatch(member)][:MAX_MEMBERS]
    found = _baggage.extract({BAGGAGE: ",".join(fitting).replace("+", "%2B")[:MAX_HEADER]}, Context())
    return {name: value for name, value in baggage.get_all(found).items() if isinstance(value, str)}


def _written(entries: Mapping[str, str]) -> str:
    """As a header; what comes first has room first."""
    context = Context()
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    made: dict[str, str] = {}
    _baggage.inject(made, context)
    return made.get(BAGGAGE, "").replace("+", "%20")


def _traced(at: Trace) -> dict[str, str]:
    """The application's own current span if it has one, else where the transaction stands."""
    made: dict[str, str] = {}
    _trace.inject(made)
    if not made and at.trace_id and at.span_id:
        made[TRACEPARENT] = f"00-{at.trace_id}-{at.span_id}-{at.flags}"
        if at.state:
            made[TRACESTATE] = at.state
    return made


def _read(carrier: Any) -> dict[str, str]:
    """The headers that matter, by their names in lower case; several ``baggage`` become one, of the others the first counts."""
    found: dict[str, str] = {}
    items: Iterable[Any] = carrier.items() if isinstance(carrier, Mapping) else carrier
    for name, value in items:
        known = _name(name)
        text = _text(value) if known else ""
        if text and known == BAGGAGE and known in found:
            found[known] = f"{found[known]},{text}"[: 2 * MAX_HEADER]
        elif text:
            found.setdefault(known, text)
    return found


def _name(name: Any) -> str:
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    if not isinstance(name, str) or len(name) > 32:
        return ""
    lower = name.lower()
    lower = lower[3:] if lower.startswith(_CLOUD_EVENT) else lower
    return lower if lower in (TRACEPARENT, TRACESTATE, BAGGAGE, CORRELATION) else ""


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_text(each) for each in value[:64])[: 2 * MAX_HEADER]
    if isinstance(value, bytes | bytearray):
        return bytes(value[: 2 * MAX_HEADER]).decode("utf-8", "replace")
    return value[: 2 * MAX_HEADER] if isinstance(value, str) else ""


def _set(carrier: Carrier, name: str, value: str) -> None:
    """In place of every other spelling of the name."""
    if isinstance(carrier, list):
        carrier[:] = [item for item in carrier if item[0].lower() != name]
        carrier.append((name, value.encode("ascii")))
        return
    for other in [key for key in carrier if isinstance(key, str) and key.lower() == name]:
        del carrier[other]
    carrier[name] = value
