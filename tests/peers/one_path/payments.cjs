// node payments.cjs PORT: takes payments, with OpenTelemetry's SDK for JavaScript. It never sees an order's number but in the baggage
// of whoever calls it.
"use strict";
const sdk = require("../js/telemetry.cjs").start("order.id");
const http = require("node:http");
const { trace } = require("@opentelemetry/api");

const tracer = trace.getTracer("payments");
const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    tracer.startActiveSpan("charge card", (span) => {
      span.end();
      response.writeHead(201).end();
    });
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("payments: ready"));
process.on("SIGTERM", () => server.close(() => sdk.shutdown().then(() => process.exit(0))));
