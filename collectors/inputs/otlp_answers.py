"""What the OTLP receiver answers, over HTTP as over gRPC."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collectors.formats.contract import Item
from collectors.formats.otlp import SIGNAL, OtlpFormat
from collectors.formats.otlp_request import Signal
from collectors.inputs.record import Unreadable


def decoded(layout: OtlpFormat, body: bytes, signal: Signal, media: str = "application/x-protobuf") -> list[Item]:
    """A body's records."""
    return layout.message(body, {SIGNAL: signal, "content-type": media})


def whole(items: list[Item], body: bytes) -> str:
    """Why nothing of a request can be read, "" where something can: the one item that it gave is the body itself."""
    if len(items) == 1 and isinstance(items[0], Unreadable) and items[0].raw is body:
        return items[0].reason
    return ""


def partial(items: list[Item], signal: Signal) -> Any:
    """The response, a message of protobuf: how many records were rejected, and why the first."""
    rejected = [item for item in items if isinstance(item, Unreadable)]
    reason = rejected[0].reason if rejected else ""
    if signal == "traces":
        spans = ExportTraceServiceResponse()
        if rejected:
            spans.partial_success.rejected_spans = len(rejected)
            spans.partial_success.error_message = reason
        return spans
    logs = ExportLogsServiceResponse()
    if rejected:
        logs.partial_success.rejected_log_records = len(rejected)
        logs.partial_success.error_message = reason
    return logs
