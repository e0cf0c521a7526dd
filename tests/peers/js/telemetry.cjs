// OpenTelemetry's SDK for JavaScript, sending over HTTP (protobuf or JSON) or gRPC as OTEL_EXPORTER_OTLP_PROTOCOL says:
// the SDK reads its own environment, as in any service. Every span has the baggage entries of the given names as attributes.
"use strict";
const { NodeSDK, logs, tracing } = require("@opentelemetry/sdk-node");
const { BaggageSpanProcessor } = require("@opentelemetry/baggage-span-processor");
const { HttpInstrumentation } = require("@opentelemetry/instrumentation-http");

const protocol = process.env.OTEL_EXPORTER_OTLP_PROTOCOL || "http/protobuf";
const kind = { "http/protobuf": "proto", "http/json": "http", grpc: "grpc" }[protocol];
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${kind}`);

exports.start = function start(...baggage) {
  const sdk = new NodeSDK({
    spanProcessors: [
      new BaggageSpanProcessor((name) => baggage.includes(name)),
      new tracing.BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: 100 }),
    ],
    logRecordProcessors: [new logs.BatchLogRecordProcessor({ exporter: new OTLPLogExporter(), scheduledDelayMillis: 100 })],
    instrumentations: [new HttpInstrumentation()],
  });
  sdk.start();
  return sdk;
};
