"""``python -m tests.peers.send FIRST COUNT``: what ``js/send.cjs`` does, by OpenTelemetry's SDK for Python.

How and where to is told by ``OTEL_EXPORTER_OTLP_PROTOCOL`` and ``OTEL_EXPORTER_OTLP_ENDPOINT``, which the SDK reads itself.
"""

from __future__ import annotations

import os
import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode


def exporters() -> tuple[SpanExporter, LogRecordExporter]:
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        return GrpcSpans(), GrpcLogs()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(), OTLPLogExporter()


def main() -> None:
    first, count = map(int, sys.argv[1:])
    spans, records = exporters()
    traces, logs = TracerProvider(resource=Resource.create()), LoggerProvider(resource=Resource.create())
    traces.add_span_processor(BatchSpanProcessor(spans))
    logs.add_log_record_processor(BatchLogRecordProcessor(records))
    tracer, logger = traces.get_tracer("shop"), logs.get_logger("shop")
    for number in range(first, first + count):
        key = {"lastseen.key.order": f"py-{number}"}
        attributes = {**key, "lastseen.step": "placed", "http.request.method": "POST"}
        span = tracer.start_span("place order", kind=SpanKind.SERVER, attributes=attributes)
        if number % 10 == 9:
            span.set_status(Status(StatusCode.ERROR, "card refused – «déclinée»"))
        span.end()
        said = {**key, "lastseen.step": "booked"}
        logger.emit(LogRecord(body=f"order {number} booked", severity_number=SeverityNumber.INFO, attributes=said))
    traces.shutdown()
    logs.shutdown()


if __name__ == "__main__":
    main()
