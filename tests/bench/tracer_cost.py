"""What instrumentation costs the application, each thing done with and without it; against a real log, whose threads run beside."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import tracer
from pipeline.log import open_log
from tests.bench.table import Part, number

if TYPE_CHECKING:
    from tests.bench.parts import Run

COLUMNS = ("what", "bare p50", "bare p99", "with p50", "with p99", "cost p50")
TIMES = 20_000
ROUND = 500
"""Done in a row; then the background catches up, for what it sheds costs less than what it sends."""
WHAT = {
    "step": "a step (two events)",
    "attributes": "a step with five attributes",
    "mark": "one event of the current transaction",
    "transaction": "a transaction with one step",
    "inject": "headers for the next system",
    "continue": "a transaction from headers",
    "span": "an OpenTelemetry span (two events)",
    "log": "a log record",
    "none": "a step, `tracer.init` never called",
}


def cost(log: str, times: str) -> dict[str, float]:
    """p50 and p99 of each, µs, bare and instrumented; ``shed``; in a process of its own."""
    with contextlib.closing(open_log(log)) as made:
        made.create()
    figures: dict[str, float] = {}
    for name, work in _bare().items():
        figures |= _measured(f"{name} bare", work, int(times))
    figures |= _measured("none ours", _step, int(times))
    with tempfile.TemporaryDirectory() as spool:
        tracer.init("shop", log, source="bench", spool=spool, transaction_types=["order"])
        for name, work in _instrumented().items():
            with tracer.transaction(order="10248", customer="VINET"):
                figures |= _measured(f"{name} ours", work, int(times))
        figures["shed"] = tracer.stats()["shed"]
        tracer.close(60)
    return figures


def _measured(name: str, work: Callable[[], object], times: int) -> dict[str, float]:
    took = []
    for turn in range(times):
        if turn % ROUND == 0:
            while (stats := tracer.stats()) and (stats["queued"] or stats["unacknowledged"]):
                time.sleep(0.01)
        began = time.perf_counter_ns()
        work()
        took.append(time.perf_counter_ns() - began)
    took.sort()
    return {f"{name} p50": took[len(took) // 2] / 1000, f"{name} p99": took[len(took) * 99 // 100] / 1000}


def _step() -> None:
    with tracer.step("placed"):
        pass


def _bare() -> dict[str, Callable[[], object]]:
    def step() -> None:
        with contextlib.nullcontext():
            pass

    def nothing() -> None: ...

    return {
        **dict.fromkeys(("step", "attributes", "transaction", "none"), step),
        **dict.fromkeys(("mark", "inject", "continue"), nothing),
        "span": _span(instrumented=False),
        "log": _log(instrumented=False),
    }


def _instrumented() -> dict[str, Callable[[], object]]:
    five = {"amount": 12.5, "currency": "EUR", "lines": 3, "channel": "web", "country": "NO"}
    headers: dict[str, str] = {}
    with tracer.transaction(order="10248", customer="VINET"):
        tracer.inject(headers)

    def attributes() -> None:
        with tracer.step("placed", attributes=five):
            pass

    def transaction() -> None:
        with tracer.transaction(order="10248"), tracer.step("placed"):
            pass

    return {
        "step": _step,
        "attributes": attributes,
        "mark": lambda: tracer.completed("placed"),
        "transaction": transaction,
        "inject": lambda: tracer.inject({}),
        "continue": lambda: tracer.continued(headers),
        "span": _span(instrumented=True),
        "log": _log(instrumented=True),
    }


def _span(*, instrumented: bool) -> Callable[[], object]:
    """Of the SDK, not exported: what an exporter costs is not ours."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanKind

    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    if instrumented:
        provider.add_span_processor(tracer.SpanProcessor())
    spans = provider.get_tracer("bench")
    attributes = {"http.request.method": "POST", "http.route": "/orders", "lastseen.key.order": "10248"}

    def span() -> None:
        with spans.start_as_current_span("POST /orders", kind=SpanKind.SERVER, attributes=attributes):
            pass

    return span


def _log(*, instrumented: bool) -> Callable[[], object]:
    log = logging.getLogger(f"bench.{instrumented}")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(logging.NullHandler())
    if instrumented:
        log.addHandler(tracer.LogHandler())
    return lambda: log.info("placed", extra={"lastseen.step": "placed", "lastseen.key.order": "10248"})


def part(run: Run) -> list[Part]:
    """The table."""
    from tests.bench.parts import child

    run.say("the tracer's cost")
    found = child("tracer", run.log(), TIMES)
    rows = []
    for name, what in WHAT.items():
        bare, ours = [[found[f"{name} {how} {rank}"] for rank in ("p50", "p99")] for how in ("bare", "ours")]
        rows.append((what, *map(number, (*bare, *ours, max(0.0, ours[0] - bare[0])))))
    note = (
        f"Each {TIMES:,} times, one after the other, on the application's thread; numbering, spool and sending to Kafka run"
        f" beside it and are in the p99. Shed: {found['shed']:.0f}."
    )
    return [Part("What the tracer costs an application, µs", COLUMNS, tuple(rows), note)]
