"""Spans of the OpenTelemetry SDK, as applications make them: what they say; and the tracing backend gets what it got before."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

import tracer.span_processor
from tests.tracer.support import Shop
from tracer.span_processor import SpanProcessor
from tracer.spans import Rules

RULES = Rules(key_attributes={"order.id": "order"})


class Service:
    """A service with the SDK, whose backend is an exporter in memory, instrumented or not."""

    def __init__(self, rules: Rules = RULES, instrumented: bool = True):
        self.shop = Shop()
        self.backend = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": "payments"}))
        if instrumented:
            self.processor = SpanProcessor(rules, self.shop.reporter)
            self.provider.add_span_processor(self.processor)
        self.provider.add_span_processor(SimpleSpanProcessor(self.backend))
        self.tracer = self.provider.get_tracer("test")


def test_a_span_says_so_when_it_starts_and_when_it_ends() -> None:
    service = Service()
    span = service.tracer.start_span("pay", kind=SpanKind.SERVER, attributes={"order.id": "7"})
    assert service.shop.said("system") == [("pay", "started", "payments")]
    span.end()
    assert service.shop.said() == [("pay", "started"), ("pay", "completed")]
    start, end = service.shop.events
    assert start["time"] == span.start_time // 1000  # type: ignore[attr-defined]
    assert start["keys"] == end["keys"]
    assert start["keys"]["order"] == "7"


def test_a_span_that_never_ends_has_started() -> None:
    service = Service()
    service.tracer.start_span("pay", kind=SpanKind.SERVER, attributes={"order.id": "7"})
    service.provider.shutdown()
    assert service.shop.said() == [("pay", "started")]


def test_what_becomes_known_later_is_said_at_the_end_with_the_start() -> None:
    service = Service()
    with service.tracer.start_as_current_span("pay", kind=SpanKind.SERVER) as span:
        assert service.shop.said() == []
        span.set_attribute("order.id", "7")
    assert service.shop.said() == [("pay", "started"), ("pay", "completed")]


def test_the_key_comes_along_in_baggage() -> None:
    service = Service()
    token = context.attach(baggage.set_baggage("lastseen.key.order", "7"))
    span = service.tracer.start_span(
        "pay", kind=SpanKind.CONSUMER, attributes={"messaging.destination.name": "payments"}
    )
    context.detach(token)
    span.end()
    assert service.shop.said("peer") == [("pay", "received", "payments"), ("pay", "completed", "payments")]
    assert {event["keys"]["order"] for event in service.shop.events} == {"7"}


def test_an_error_and_links() -> None:
    service = Service()
    with service.tracer.start_as_current_span("publish", kind=SpanKind.PRODUCER) as sender:
        pass
    link = Link(sender.get_span_context(), {"order.id": "8"})
    with (
        pytest.raises(KeyError),
        service.tracer.start_as_current_span("pay", kind=SpanKind.CONSUMER, links=[link], attributes={"order.id": "7"}),
    ):
        raise KeyError("card")
    keys = [(event["phase"], event["keys"]["order"], event.get("error")) for event in service.shop.events]
    assert keys == [
        ("received", "7", None),
        ("received", "8", None),
        ("failed", "7", "KeyError: 'card'"),
        ("failed", "8", "KeyError: 'card'"),
    ]


def act(service: Service) -> list[ReadableSpan]:
    with service.tracer.start_as_current_span(
        "a", kind=SpanKind.SERVER, attributes={"order.id": "7", "x": (1, 2)}
    ) as a:
        a.add_event("e", {"lastseen.step": "paid"})
        with service.tracer.start_as_current_span("b", kind=SpanKind.CLIENT) as b:
            b.set_status(Status(StatusCode.ERROR, "no"))
            b.record_exception(ValueError("no"))
        service.shop.transaction(order="7").completed("x")
    return list(service.backend.get_finished_spans())


def facts(spans: list[ReadableSpan]) -> list[Any]:
    return [
        [
            span.name,
            span.kind,
            dict(span.attributes or {}),
            span.status.status_code,
            span.status.description,
            span.resource,
        ]
        + [(event.name, sorted(event.attributes or {})) for event in span.events]
        for span in spans
    ]


def test_the_backend_gets_what_it_got_before() -> None:
    with_ours, without = act(Service()), act(Service(instrumented=False))
    assert facts(with_ours) == facts(without)
    assert len(with_ours) == 2


def test_spans_still_go_to_the_backend_over_otlp() -> None:
    """A real exporter of the SDK, to a real port."""
    got: list[ExportTraceServiceRequest] = []

    class Backend(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(ExportTraceServiceRequest.FromString(body))  # type: ignore[no-untyped-call]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Backend)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service = Service()
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces", timeout=5)
    service.provider.add_span_processor(BatchSpanProcessor(exporter))
    act(service)
    service.provider.shutdown()
    server.shutdown()
    server.server_close()
    names = [
        span.name
        for request in got
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]
    assert sorted(names) == ["a", "b"]
    assert {event["step"] for event in service.shop.events} == {"a", "paid", "x"}, "b has no key of its own"


def test_nothing_that_goes_wrong_here_reaches_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()

    def breaks(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(tracer.span_processor, "facts_of", breaks)
    assert len(act(service)) == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And from many threads; a span that was forgotten says its start again, under the same id."""
    monkeypatch.setattr(tracer.span_processor, "MAX_OPEN", 100)
    service = Service()
    first = service.tracer.start_span("first", kind=SpanKind.SERVER, attributes={"order.id": "1"})

    def leak() -> None:
        for _ in range(200):
            service.tracer.start_span("leak", kind=SpanKind.SERVER, attributes={"order.id": "2"})

    threads = [threading.Thread(target=leak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(service.processor._open) <= 104
    first.end()
    own = [(event["id"], event["phase"]) for event in service.shop.events if event["step"] == "first"]
    assert [phase for _, phase in own] == ["started", "started", "completed"]
    assert own[0] == own[1]
