"""Which transaction the code that runs now belongs to: it follows threads' calls, coroutines and tasks, and keeps them apart.

It lives in OpenTelemetry's own context, and the keys in its baggage. So every OpenTelemetry instrumentation in the process carries
them along, without knowing us. The current span is left alone: a span context of ours would become the parent of the user's spans.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Token
from typing import TYPE_CHECKING

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context

if TYPE_CHECKING:
    from tracer.transaction import Transaction

PREFIX = "lastseen.key."
"""Of baggage entries and attributes that hold keys; the type follows."""
_KEY = context.create_key("lastseen-transaction")


def current(within: Context | None = None) -> Transaction | None:
    """The transaction of the code that runs now."""
    return context.get_value(_KEY, within)  # type: ignore[return-value]


def enter(transaction: Transaction, keys: Mapping[str, str], foreign: Mapping[str, str]) -> Token[Context]:
    """Make it the current one. ``foreign``: baggage entries of others, which travel on."""
    within = context.set_value(_KEY, transaction)
    for name in baggage.get_all(within):
        if name.startswith(PREFIX):
            within = baggage.remove_baggage(name, within)
    return context.attach(with_keys(within, {**foreign, **prefixed(keys)}))


def add(keys: Mapping[str, str]) -> None:
    """Keys that became known later; what leaves from now on carries them."""
    context.attach(with_keys(context.get_current(), prefixed(keys)))


def leave(token: Token[Context]) -> None:
    """What was current before is so again."""
    context.detach(token)


def carried() -> dict[str, object]:
    """The keys in the current baggage, which an OpenTelemetry instrumentation may have read from a request."""
    return {name[len(PREFIX) :]: value for name, value in baggage.get_all().items() if name.startswith(PREFIX)}


def prefixed(keys: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name: value for name, value in keys.items()}


def with_keys(within: Context, entries: Mapping[str, str]) -> Context:
    for name, value in entries.items():
        within = baggage.set_baggage(name, value, within)
    return within


def current_trace() -> str:
    """The trace id of the application's own current span; "" where it has none."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}" if found.is_valid else ""
