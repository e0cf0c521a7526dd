"""``python -m tests.peers.one_path.checkout PORT PAYMENTS``: a web shop's checkout with OpenTelemetry's SDK, as in any service.

``POST /orders/NUMBER`` takes an order and has it paid at ``PAYMENTS``. The order's number travels as W3C baggage, ``order.id``,
and OpenTelemetry's own processor writes baggage on every span.
"""

from __future__ import annotations

import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from urllib.request import Request, urlopen

from opentelemetry import baggage, propagate
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.processor.baggage import ALLOW_ALL_BAGGAGE_KEYS, BaggageSpanProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(BaggageSpanProcessor(ALLOW_ALL_BAGGAGE_KEYS))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("checkout")


class Checkout(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        order = self.path.rpartition("/")[2]
        token = attach(baggage.set_baggage("order.id", order, propagate.extract(dict(self.headers.items()))))
        try:
            with tracer.start_as_current_span("place order", kind=SpanKind.SERVER):
                status = self._pay()
        finally:
            detach(token)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pay(self) -> int:
        with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT):
            headers: dict[str, str] = {}
            propagate.inject(headers)
            with urlopen(Request(f"{sys.argv[2]}/payments", b"", headers), timeout=30) as answer:
                return int(answer.status)

    def log_message(self, *args: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Checkout)

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    print("checkout: ready", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        provider.shutdown()


if __name__ == "__main__":
    main()
