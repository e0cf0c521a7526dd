"""JSON: lines, documents, lists of objects; exact numbers; what is none is told with its bytes; Zipkin's traces as events."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from collectors.formats.json import MAX_DOCUMENT, JsonFormat, value_of
from collectors.inputs.record import MAX_RAW, Row, Unreadable
from collectors.mapper import Mapper
from collectors.mapping import Mapping
from schemas.event import Event, Phase
from tests.collectors.format_laws import Case, FormatLaws, items_of, read

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "zipkin"

LINES = b'\xef\xbb\xbf{"id": 12345678901234567890123, "a": {"b": [1]}}\r\n\n[{"id": 2}, 3]\nx\n{"id": "\xc3\xa4"}\n {} '
DOCUMENT = b'[\n {"id": 1, "a": "\xc3\xa4"},\r\n {"id": [2]}\n]\n{"id": 3} {"id": 4}'


class TestJson(FormatLaws):
    cases = (
        Case("lines", JsonFormat(), LINES),
        Case("latin", JsonFormat(encoding="latin-1"), b'{"id": "\xe4"}\n{"id": 2}'),
        Case("utf-16", JsonFormat(), ('\ufeff{"id": "Ċ"}\r\n{"id": 2}\n' * 2).encode("utf-16-be"), between=b"\r\n\x00"),
        Case("document", JsonFormat(document=True), DOCUMENT),
        Case("wide", JsonFormat(document=True), '\ufeff[{"id": "Ċ"}, {"id": 2}]'.encode("utf-16-be")),
        Case("path", JsonFormat(path="data.spans"), b'{"data": {"spans": [{"id": 1}, {"id": 2}]}}\n{"data": 1}\n'),
        Case(
            "pretty",
            JsonFormat(multiline={"starts": r"^\{"}),
            b'{\n "id": 1\n}\n{\n\n "id": 2}\r\n{\r\n}\r\n',
            open_ended=True,
        ),
    )
    fragments = (b'{"a":', b"1}", b"NaN", b"-1e999", b'"\\ud800"', b"[[[[", b'{"spans":')


def said(layout: JsonFormat, body: bytes) -> list[object]:
    items = layout.message(body, {})
    return [
        dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item
        for item in items
    ]


def test_a_message_is_a_document_or_lines() -> None:
    assert said(JsonFormat(), b'{"a": 1}') == [{"a": 1}]
    assert said(JsonFormat(), b'\n[{"a": 1},\n{"a": 2}]\n') == [{"a": 1}, {"a": 2}]
    assert said(JsonFormat(), b'{"a": 1}\nx\n{"a": 2}') == [
        {"a": 1},
        "not JSON: Expecting value at character 1",
        {"a": 2},
    ]
    assert said(JsonFormat(), b'{\n"a":\n1}') == [{"a": 1}]
    assert said(JsonFormat(), b'{"a": 1') == ["not JSON: Expecting ',' delimiter at character 8"]
    assert said(JsonFormat(), b"") == []


def test_elements_before_a_tear_are_kept_with_their_lines_and_bytes() -> None:
    items = JsonFormat(document=True).message(b'[\n {"a": 1},\n {"a": 2}, {"a": ', {})
    assert items == [
        Row(2, {"a": 1}, b'{"a": 1}'),
        Row(3, {"a": 2}, b'{"a": 2}'),
        Unreadable(3, "not JSON: Expecting value at character 7", b'{"a": '),
    ]
    assert said(JsonFormat(document=True), b'[{"a": 1} {"a": 2}]') == [
        {"a": 1},
        "not JSON: Expecting ',' delimiter at character 1",
    ]
    assert said(JsonFormat(document=True), b'[{"a": 1}') == [{"a": 1}, "not JSON: the list has no end"]
    assert said(JsonFormat(document=True, path="a.b"), b'{"a": {"b": {"c": 1}}} {"a": []}') == [
        {"c": 1},
        "no a.b in it",
    ]


def test_a_document_over_several_lines_is_hinted_at() -> None:
    first, *_ = items_of(read(JsonFormat(), b'[\n{"a": 1}\n]\n'))
    assert isinstance(first, Unreadable)
    assert first.reason.endswith("of a document over several lines write document: true")


def test_a_document_is_held_up_to_its_bound() -> None:
    decoder: Any = JsonFormat(document=True).decoder()
    for _ in range(MAX_DOCUMENT // (1 << 20) + 2):
        decoder.feed(b" " * (1 << 20))
    assert len(decoder._held) == MAX_DOCUMENT
    (record,) = decoder.close()
    (item,) = record.items
    assert isinstance(item, Unreadable)
    assert (item.reason, len(item.raw)) == (f"a document of more than {MAX_DOCUMENT} bytes", MAX_RAW)
    assert record.end == MAX_DOCUMENT + (2 << 20)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "\x00", '"' + "x" * 100, "[" * 400 + "]" * 400 + "x"]
)
def test_hostile_values_are_unreadable(text: str) -> None:
    for layout in (JsonFormat(), JsonFormat(document=True), JsonFormat(path="a")):
        assert all(isinstance(item, Unreadable) for item in layout.message(text.encode(), {}))


def test_deep_nesting_that_can_be_read_can_be_set_aside() -> None:
    for depth in (100, 500, 900, 2000):
        body = b'{"a":' * depth + b"1" + b"}" * depth
        listed = items_of(read(JsonFormat(), b"[" + body + b"]\n"))
        for item in (*JsonFormat().message(body, {}), *listed, *JsonFormat(path="a").message(body, {})):
            assert isinstance(item, Row | Unreadable)
            assert item.payload()


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES, st.booleans())
def test_values_are_those_of_the_standard_module(value: Any, readable: bool) -> None:
    text = json.dumps(value, ensure_ascii=not readable)
    found = value_of(text)
    assert found == json.loads(text)
    assert json.dumps(found) == json.dumps(json.loads(text))  # 1 and 1.0 and true are not the same


ZIPKIN = """
mapping: zipkin
key: [traceId, id, localEndpoint.serviceName]
times: epoch_us
events:
  - system: &system {field: localEndpoint.serviceName}
    step: &step {template: "{name} {tags.kafka.topic}"}
    phase: {field: kind, map: {PRODUCER: sent, CONSUMER: received}}
    when: {kind: [PRODUCER, CONSUMER]}
    time: timestamp
    peer: {field: remoteEndpoint.serviceName}
    keys: &keys {trace: traceId, message: {field: tags.kafka.key, optional: true}}
  - system: *system
    step: {field: name}
    phase: {field: kind, map: {CLIENT: sent, SERVER: received}}
    when: {kind: [CLIENT, SERVER]}
    time: timestamp
    keys: *keys
  - system: *system
    step: {field: name}
    phase: started
    when: {kind: {present: false}}
    time: timestamp
    keys: *keys
    attributes: {took_us: duration}
  - system: *system
    step: {field: name}
    phase: failed
    when: {tags.error: {present: true}}
    time: timestamp
    keys: *keys
    error: {field: tags.error}
"""


def zipkin(name: str) -> tuple[list[dict[str, Any]], list[Event]]:
    """What a trace's file holds, and the events that it gives."""
    path = FIXTURES / name
    if not path.exists():
        pytest.skip("the fixtures are not here")
    mapper = Mapper(Mapping.model_validate(yaml.safe_load(ZIPKIN)))
    spans = json.loads(path.read_bytes())
    events: list[Event] = []
    items = items_of(read(JsonFormat(document=True), path.read_bytes()))
    assert len(items) == len(spans)
    for item, span in zip(items, spans, strict=True):
        assert isinstance(item, Row)
        assert item.fields == span == json.loads(item.raw or b"")
        mapped = mapper.map(item.fields)
        assert mapped.faults == []
        assert mapped.events
        events += mapped.events
    return spans, events


def test_a_zipkin_trace_with_skew() -> None:
    spans, events = zipkin("skew.json")
    assert [(event.system, event.step, event.phase, event.time) for event in events] == [
        ("serviceb", "async", Phase.STARTED, 1470150004008762),
        ("serviceb", "post", Phase.RECEIVED, 1470150004008761),
        ("servicea", "get", Phase.RECEIVED, 1470150004071068),
        ("servicea", "post", Phase.SENT, 1470150004074202),
    ]
    # The call is received before it is sent: the clocks differ by 65 ms, and both events are there to say so.
    assert len({event.id for event in events}) == len(spans)
    assert {event.keys["trace"] for event in events} == {"1e223ff1f80f1c69"}


def test_a_zipkin_trace_over_kafka() -> None:
    spans, events = zipkin("messaging-kafka.json")
    kinds = Counter(span.get("kind") for span in spans)
    phases = Counter(event.phase for event in events)
    assert phases[Phase.SENT] == kinds["PRODUCER"] == 9
    assert phases[Phase.RECEIVED] == kinds["CONSUMER"] == 7
    assert phases[Phase.STARTED] == kinds[None] == 12
    assert phases[Phase.FAILED] == sum(bool(span.get("tags", {}).get("error")) for span in spans) == 2
    assert {(event.peer, event.step) for event in events if event.phase == Phase.SENT} == {
        ("kafka", f"send {span['tags']['kafka.topic']}") for span in spans if span.get("kind") == "PRODUCER"
    }
    assert len({event.id for event in events}) == len(events)
    sent = {event.keys.get("message") for event in events if event.phase == Phase.SENT}
    assert sent == {span["tags"].get("kafka.key") for span in spans if span.get("kind") == "PRODUCER"}
    assert sent > {None}
