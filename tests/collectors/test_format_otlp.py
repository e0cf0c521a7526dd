"""OTLP. Proves: the laws of formats; the published examples field by field; protobuf and JSON say the same; a record that is wrong
costs only itself; a span's events have the same ids however often and whichever way it comes; nothing hostile raises or swells."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from collectors.formats.contract import Item, Ready
from collectors.formats.otlp import SIGNAL, OtlpFormat
from collectors.inputs.record import Row, Unreadable, as_json
from schemas.event import parse_event
from tests.collectors.format_laws import Case, FormatLaws
from tests.collectors.receiving import event, fields, reason

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "otlp"
TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"


def fixture(name: str) -> bytes:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path.read_bytes()


def span(**options: Any) -> dict[str, Any]:
    return {"traceId": TRACE, "spanId": SPAN, "name": "pay", "startTimeUnixNano": "1700000000000000000", **options}


def request(*spans: Any, service: str = "shop") -> dict[str, Any]:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def read(document: Any, layout: OtlpFormat | None = None, **headers: str) -> list[Item]:
    return (layout or OtlpFormat()).message(json.dumps(document).encode(), headers)


LINES = b"".join(json.dumps(request(span(name=f"s{n}"), span(spanId="1" * 16))).encode() + b"\n" for n in range(3))


class TestOtlp(FormatLaws):
    cases = (
        Case("rows", OtlpFormat(), LINES, as_message=False, raw_stands=False),
        Case(
            "events",
            OtlpFormat(read="events", unnamed="all", trace_only="all"),
            LINES,
            as_message=False,
            raw_stands=False,
        ),
        Case(
            "logs",
            OtlpFormat(signal="logs"),
            b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}\n',
            raw_stands=False,
        ),
    )
    fragments = (
        b"\x0a",
        b"\x12\x00",
        b'{"resourceSpans":[',
        b'"traceId":"zz"',
        b"[[[[",
        b'{"resourceLogs":[{}]}',
        b'"intValue":"9e99"',
    )


def test_the_published_span() -> None:
    (item,) = OtlpFormat().message(fixture("trace.json"), {})
    assert fields(item) == {
        "signal": "span", "name": "I'm a server span", "kind": "server", "trace_id": TRACE, "span_id": SPAN,
        "parent_span_id": PARENT, "start": "2018-12-13T14:51:00Z", "end": "2018-12-13T14:51:01Z",
        "duration_us": 1_000_000, "status": "unset",
        "attributes.my.span.attr": "some value", "resource.service.name": "my.service", "scope.name": "my.library",
        "scope.version": "1.0.0", "scope.attributes.my.scope.attribute": "some scope attribute",
    }  # fmt: skip


def test_the_published_span_as_events() -> None:
    layout = OtlpFormat(
        keys={"my.span.attr": "order"}, steps={"I'm a server span": "served"}, systems={"my.service": "shop"}
    )
    started, completed = (event(item) for item in layout.message(fixture("trace.json"), {}))
    assert started == {
        "id": f"{TRACE}:{SPAN}:started", "system": "shop", "step": "served", "phase": "started", "time": 1544712660000000,
        "keys": {"order": "some value", "trace": TRACE},
    }  # fmt: skip
    assert completed == {**started, "id": f"{TRACE}:{SPAN}:completed", "phase": "completed", "time": 1544712661000000}
    assert parse_event(started).system == "shop"


def test_the_published_log_record() -> None:
    (item,) = OtlpFormat().message(fixture("logs.json"), {})
    assert fields(item) == {
        "signal": "log", "time": "2018-12-13T14:51:00.300000Z", "observed_time": "2018-12-13T14:51:00.300000Z", "severity": "info",
        "severity_number": 10, "severity_text": "Information", "trace_id": TRACE, "span_id": SPAN, "body": "Example log record",
        "attributes.string.attribute": "some string", "attributes.boolean.attribute": True, "attributes.int.attribute": 10,
        "attributes.double.attribute": 637.704, "attributes.array.attribute": ["many", "values"],
        "attributes.array.attribute.0": "many", "attributes.array.attribute.1": "values",
        "attributes.map.attribute.some.map.key": "some value", "resource.service.name": "my.service", "scope.name": "my.library",
        "scope.version": "1.0.0", "scope.attributes.my.scope.attribute": "some scope attribute",
    }  # fmt: skip


def test_the_published_event_with_a_map_as_body() -> None:
    (item,) = OtlpFormat().message(fixture("events.json"), {})
    found = fields(item)
    assert found["event_name"] == "browser.page_view"
    assert {name: value for name, value in found.items() if name.startswith("body")} == {
        "body.type": 0,
        "body.url": "https://www.guidgenerator.com/online-guid-generator.aspx",
        "body.referrer": "https://wwww.google.com",
        "body.title": "Free Online GUID Generator",
    }


@pytest.mark.parametrize("name", ["trace.json", "logs.json", "events.json"])
def test_protobuf_says_the_same_as_json(name: str) -> None:
    """With the signal told and untold."""
    text = fixture(name)
    as_base64 = {digits.upper(): base64.b64encode(bytes.fromhex(digits)).decode() for digits in (TRACE, SPAN, PARENT)}
    document = json.loads(re.sub("|".join(as_base64), lambda digits: as_base64[digits[0]], text.decode()))
    kind: Any = ExportTraceServiceRequest if name == "trace.json" else ExportLogsServiceRequest
    parse: Any = json_format.ParseDict
    body = parse(document, kind()).SerializeToString()
    signal = "traces" if name == "trace.json" else "logs"
    expected = OtlpFormat().message(text, {})
    assert OtlpFormat().message(body, {}) == OtlpFormat(signal=signal).message(body, {}) == expected
    assert OtlpFormat().message(body, {SIGNAL: signal}) == expected


def test_a_record_that_is_wrong_costs_only_itself() -> None:
    wrong = [
        span(traceId="5b"),
        span(spanId="0" * 16),
        span(spanId="xyz"),
        7,
        span(startTimeUnixNano="soon"),
        span(attributes=3),
    ]
    items = read(request(span(), *wrong, span(spanId="2" * 16)))
    assert [type(item) for item in items] == [Row, *[Unreadable] * 6, Row]
    assert [item.line for item in items] == list(range(1, 9))
    assert "16 bytes" in reason(items[1])
    assert "not all zero" in reason(items[2])
    assert "hexadecimal" in reason(items[3])
    for item in items[1:-1]:
        assert isinstance(item, Unreadable)
        assert json.loads(item.raw) is not None
    assert OtlpFormat().message(items[3].payload(), {})[0].reason == reason(items[3])  # type: ignore[union-attr]


def test_a_resource_that_is_wrong_is_told_of_each_of_its_records() -> None:
    document = request(span(), span())
    document["resourceSpans"][0]["resource"] = {"attributes": "none"}
    assert [reason(item).startswith("not a record of OTLP: resource") for item in read(document)] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"spans": []}',
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [1]}',
        b"\x0a\xff",
        b"hello",
        b'{"a":' * 3000,
    ],
)
def test_a_body_that_is_no_request(body: bytes) -> None:
    """One item, with all of it."""
    (item,) = OtlpFormat().message(body, {})
    assert isinstance(item, Unreadable)
    assert item.raw == body


def test_the_signal_that_was_told_counts() -> None:
    assert "traces" in reason(read({"resourceLogs": []}, None, **{SIGNAL: "traces"})[0])
    assert OtlpFormat().message(b"", {SIGNAL: "traces"}) == []
    assert read({}) == []


def test_what_was_set_aside_can_be_tried_again() -> None:
    """The payload of a record that no event could be made of reads as the same record."""
    (item,) = read(request(span(attributes=[{"key": "a", "value": {"intValue": "5"}}])))
    assert isinstance(item, Row)
    (again,) = OtlpFormat().message(item.payload(), {})
    assert fields(again) == fields(item)


def test_ids_do_not_depend_on_the_way() -> None:
    """Sent twice, in another company, over another transport."""
    layout = OtlpFormat(read="events", unnamed="all", trace_only="all")
    alone = {layout.identity(item) for item in read(request(span()), layout)}
    beside = [layout.identity(item) for item in read(request(span(spanId="3" * 16), span()), layout)]
    assert alone <= set(beside)
    assert len(set(beside)) == len(beside)


def test_spans_that_nobody_asked_for_make_nothing() -> None:
    assert read(request(span()), OtlpFormat(keys={"order.id": "order"})) == []


def test_log_records_that_name_a_step_are_events() -> None:
    attributes = {
        "lastseen.key.order": "7",
        "lastseen.phase": "failed",
        "lastseen.error": "no stock",
        "lastseen.attribute.sku": "x",
    }
    record = {
        "timeUnixNano": "1700000000000000000", "eventName": "order.picked", "body": {"stringValue": "hm"},
        "attributes": [{"key": name, "value": {"stringValue": value}} for name, value in attributes.items()],
    }  # fmt: skip
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "warehouse"}}]}
    document = {
        "resourceLogs": [
            {"resource": resource, "scopeLogs": [{"logRecords": [record, {"body": {"stringValue": "noise"}}]}]}
        ]
    }
    (item,) = read(document, OtlpFormat(steps={"order.picked": "picked"}))
    found = dict(event(item))
    assert found.pop("id").startswith("log:")
    assert found == {
        "system": "warehouse", "step": "picked", "phase": "failed", "time": 1_700_000_000_000_000, "keys": {"order": "7"},
        "error": "no stock", "attributes": {"sku": "x"},
    }  # fmt: skip
    assert parse_event(event(item)).error == "no stock"


def test_times_that_no_calendar_has_are_told_and_not_raised() -> None:
    """Fault 16."""
    layout = OtlpFormat(read="events", unnamed="all", trace_only="all")
    for nanos in ("18446744073709551615", "1", "0"):
        items = read(request(span(endTimeUnixNano=nanos)))
        assert isinstance(items[0], Row)
        assert all(isinstance(item, Ready) for item in read(request(span(endTimeUnixNano=nanos)), layout))


def test_a_request_of_too_many_parts_is_not_walked() -> None:
    """Fault 28: 8 MiB of empty groups are counted, not read."""
    for body in (b"\x0a\x00" * 200_000, b"\x0a\x84\x80\x18" + b"\x12\x00" * 196_610):
        (item,) = OtlpFormat().message(body, {SIGNAL: "traces"})
        assert "more than" in reason(item)
    many: Any = ExportTraceServiceRequest()
    record = many.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    for _ in range(20_000):
        record.attributes.add(key="a")
    (item,) = OtlpFormat().message(many.SerializeToString(), {})
    assert "attributes" in reason(item)


def test_a_length_that_is_a_brace() -> None:
    """Found by the test below: 0x0A is a line feed, and a first element of 123 bytes begins with a brace."""
    many: Any = ExportTraceServiceRequest()
    record = many.resource_spans.add().scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8)
    while many.resource_spans[0].ByteSize() < 123:
        record.name += "n"
    body = many.SerializeToString()
    assert body[:2] == b"\n{"
    assert isinstance(OtlpFormat().message(body, {})[0], Row)
    assert isinstance(OtlpFormat().message(b"\n" + json.dumps(request(span())).encode(), {})[0], Row)


values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.text(max_size=20).map(lambda text: {"string_value": text}),
        st.integers(-(2**63), 2**63 - 1).map(lambda number: {"int_value": number}),
        st.floats().map(lambda number: {"double_value": number}),
        st.binary(max_size=10).map(lambda data: {"bytes_value": data}),
        st.just({}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: {"array_value": {"values": items}}),
        st.dictionaries(st.text(max_size=5), inner, max_size=3).map(
            lambda items: {"kvlist_value": {"values": [{"key": name, "value": value} for name, value in items.items()]}}
        ),
    ),
    max_leaves=8,
)
nanos = st.integers(0, 2**64 - 1)


@given(
    st.dictionaries(st.text(max_size=8), values, max_size=5), nanos, nanos, st.integers(-5, 10), st.binary(max_size=20)
)
@settings(max_examples=60, deadline=None)
def test_any_span_and_any_log_record_is_read(
    attributes: dict[str, Any], start: int, end: int, kind: int, raw: bytes
) -> None:
    """Whatever protobuf can say: an item a record, plain data, as rows and as events."""
    make: Any = lambda message, **options: message(**options)  # noqa: E731
    pairs = [{"key": name, "value": make(AnyValue, **value)} for name, value in attributes.items()]
    one = make(
        Span, trace_id=b"t" * 16, span_id=raw[:8].ljust(8, b"s"), start_time_unix_nano=start, end_time_unix_nano=end, kind=kind,
        attributes=pairs, events=[{"time_unix_nano": end, "attributes": pairs}], links=[{"trace_id": raw, "attributes": pairs}],
    )  # fmt: skip
    log = make(
        LogRecord, time_unix_nano=start, trace_id=raw, attributes=pairs, body=pairs[0]["value"] if pairs else None
    )
    spans: Any = ExportTraceServiceRequest()
    spans.resource_spans.add().scope_spans.add().spans.append(one)
    logs: Any = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.append(log)
    for body, signal in ((spans.SerializeToString(), "traces"), (logs.SerializeToString(), "logs")):
        (item,) = OtlpFormat().message(body, {SIGNAL: signal})
        as_json(fields(item))
        events = OtlpFormat(read="events", system="s", unnamed="all", trace_only="all").message(body, {SIGNAL: signal})
        assert all(isinstance(each, Ready) for each in events)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes(body: bytes) -> None:
    for headers in ({}, {SIGNAL: "traces"}, {SIGNAL: "logs"}):
        for item in OtlpFormat().message(body, headers):
            assert isinstance(item, Row) or item.payload() or not body  # type: ignore[union-attr]
