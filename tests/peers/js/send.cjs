// node send.cjs FIRST COUNT: a span and a log record for each of COUNT orders, js-FIRST and on; done when both were exported.
"use strict";
const sdk = require("./telemetry.cjs").start();
const { trace, SpanKind, SpanStatusCode } = require("@opentelemetry/api");
const { logs } = require("@opentelemetry/api-logs");

const [first, count] = process.argv.slice(2).map(Number);
const tracer = trace.getTracer("shop");
const logger = logs.getLogger("shop");
for (let number = first; number < first + count; number++) {
  const attributes = { "lastseen.key.order": `js-${number}` };
  const span = tracer.startSpan("place order", {
    kind: SpanKind.SERVER,
    attributes: { ...attributes, "lastseen.step": "placed", "http.request.method": "POST" },
  });
  if (number % 10 === 9) span.setStatus({ code: SpanStatusCode.ERROR, message: "card refused – «déclinée»" });
  span.end();
  logger.emit({ body: `order ${number} booked`, severityNumber: 9, attributes: { ...attributes, "lastseen.step": "booked" } });
}
sdk.shutdown().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
