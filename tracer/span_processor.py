"""Spans of the OpenTelemetry SDK become events, when they start and when they end. (A span that never ends is what we look for.)

    provider.add_span_processor(SpanProcessor())          # beside the processor that exports to the tracing backend

It reads spans and changes nothing in them; other processors and exporters of the provider are none of its business. Which spans say
what is told in `tracer.spans`. A span that the sampler drops is seen by no processor: where not all are sampled, say what matters
with `tracer.step`, which asks no sampler.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from opentelemetry import baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace import SpanProcessor as SdkSpanProcessor
from opentelemetry.trace import StatusCode

from tracer.reporter import Reporter, installed
from tracer.spans import Event, Rules, Span, SpanEvent, SpanLink, ended_of, started_of

MAX_OPEN = 50_000
"""Spans that are remembered as started. One that is forgotten says ``started`` again at its end, under the same id."""


class SpanProcessor(SdkSpanProcessor):
    """Args:
    rules: which spans say what; see `tracer.spans.Rules`.
    reporter: the process's own (`tracer.init`) if None.
    """

    def __init__(self, rules: Rules | None = None, reporter: Reporter | None = None):
        self.rules = rules or Rules()
        self._own_reporter = reporter
        self._resource: tuple[object, Mapping[str, Any]] = (None, {})
        self._open: OrderedDict[str, Mapping[str, str] | None] = OrderedDict()

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Reports ``started`` (or ``received``), if the span is known by something already."""
        try:
            carried = {name: text for name, text in baggage.get_all(parent_context).items() if isinstance(text, str)}
            facts = facts_of(span, carried, self._resource_of(span))
            events = started_of(facts, self.rules)
            self._open[facts.span_id] = carried if events else None
            while len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
            self._send(events)
        except Exception:
            return

    def on_end(self, span: ReadableSpan) -> None:
        """Reports ``completed``, ``sent`` or ``failed``; and its start, where nothing was known by which to report it then."""
        try:
            context = span.get_span_context()
            started = self._open.pop(f"{context.span_id:016x}", None) if context else None
            carried = started
            if carried is None:
                carried = {name: text for name, text in baggage.get_all().items() if isinstance(text, str)}
            facts = facts_of(span, carried, self._resource_of(span))
            if started is None:
                self._send(started_of(facts, self.rules))
            self._send(ended_of(facts, self.rules))
        except Exception:
            return

    def shutdown(self) -> None:
        """Nothing: the process's sender says goodbye itself, and a provider may end before the process does."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        """Nothing waits here."""
        return True

    def _resource_of(self, span: ReadableSpan) -> Mapping[str, Any]:
        """The same for all spans of a provider."""
        known, attributes = self._resource
        if known is not span.resource:
            attributes = dict(span.resource.attributes)
            self._resource = (span.resource, attributes)
        return attributes

    def _send(self, events: list[Event]) -> None:
        reporter = self._own_reporter or installed.reporter
        if reporter is not None:
            for event in events:
                reporter.send(event)


def facts_of(span: ReadableSpan, carried: Mapping[str, str], resource: Mapping[str, Any]) -> Span:
    """An SDK span as plain facts, its attributes copied: asking the SDK for one takes a lock.

    Args:
        carried: the baggage with which it was started.
        resource: attributes of the span's resource.
    """
    context, parent = span.get_span_context(), span.parent
    return Span(
        name=span.name,
        trace_id=f"{context.trace_id:032x}" if context else "",
        span_id=f"{context.span_id:016x}" if context else "",
        parent_id=f"{parent.span_id:016x}" if parent else "",
        start=(span.start_time or 0) // 1000,
        end=None if span.end_time is None else span.end_time // 1000,
        kind=_kind(span),
        error=span.status.status_code is StatusCode.ERROR,
        message=span.status.description or "",
        attributes=dict(span.attributes or ()),
        resource=resource,
        baggage=carried,
        events=[SpanEvent(each.name, each.timestamp // 1000, each.attributes or {}) for each in span.events],
        links=[
            SpanLink(f"{each.context.trace_id:032x}", f"{each.context.span_id:016x}", each.attributes or {})
            for each in span.links
        ],
    )


def _kind(span: ReadableSpan) -> Any:
    return span.kind.name.lower()
