"""CloudEvents. Proves: every scenario of the published conformance features, over HTTP and over Kafka; batches; headers as they are
encoded; what is none is told with its bytes; an event is one however often and in whatever mode it is delivered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.formats.cloudevents import CloudEventsFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws
from tests.collectors.receiving import event, fields, reason
from tracer.propagation import Trace, inject_cloud_event

FOLDER = Path(__file__).parents[3] / "shared" / "fixtures" / "cloudevents"
ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "com.shop.paid"}
STRUCTURED = {"content-type": "application/cloudevents+json"}


class Step(NamedTuple):
    """A step of a scenario with what hangs at it: a text, or a table's rows."""

    text: str
    doc: str
    table: dict[str, str]


class Scenario(NamedTuple):
    name: str
    steps: list[Step]


def scenarios(path: Path) -> Iterator[Scenario]:
    """Of a feature file, outlines once per example."""
    text = path.read_text(encoding="utf-8")
    for part in re.split(r"^\s*Scenario(?: Outline)?: ", text, flags=re.MULTILINE)[1:]:
        body, _, examples = part.partition("Examples:")
        title, _, rest = body.partition("\n")
        names, *rows = _rows(examples) or [[]]
        for row in rows or [[]]:
            filled, name = rest, title
            for column, value in zip(names, row, strict=True):
                filled, name = filled.replace(f"<{column}>", value), name.replace(f"<{column}>", value)
            yield Scenario(name, list(_steps(filled)))


def _rows(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _steps(text: str) -> Iterator[Step]:
    for part in re.split(r"^\s*(?:Given|When|Then|And) ", text, flags=re.MULTILINE)[1:]:
        first, _, rest = part.partition("\n")
        doc = re.search(r'"""\n(.*?)\n\s*"""', rest, flags=re.DOTALL)
        lines = doc[1].splitlines() if doc else []
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        table = {row[0]: row[1] for row in _rows("" if doc else rest)}
        table.pop("key", None)
        yield Step(first.strip(), "\n".join(line[indent:] for line in lines), table)


def found(pattern: str) -> list[Scenario]:
    return [scenario for path in sorted(FOLDER.glob(pattern)) for scenario in scenarios(path)]


def given_message(steps: list[Step]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of what a scenario sends."""
    body, headers = b"", dict[str, str]()
    for step in steps:
        if step.text == "an HTTP request":
            head, _, content = step.doc.partition("\n\n")
            body = content.encode()
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.splitlines()[1:])
            }
        elif step.text == "a Kafka message with payload:":
            body = step.doc.encode()
        elif step.text == "Kafka headers:":
            headers = step.table
    return body, headers


@pytest.mark.skipif(not FOLDER.exists(), reason=f"{FOLDER} is not there")
@pytest.mark.parametrize("binding", ["http", "kafka"])
def test_conformance(binding: str) -> None:
    run = 0
    for scenario in found(f"{binding}-*.feature"):
        body, headers = given_message(scenario.steps)
        (item,) = CloudEventsFormat().message(body, headers)
        for step in scenario.steps:
            if step.text == "the attributes are:":
                assert {name: value for name, value in fields(item).items() if name != "data"} == step.table, (
                    scenario.name
                )
                run += 1
            elif step.text == "the data is equal to the following JSON:":
                assert fields(item)["data"] == json.loads(step.doc), scenario.name
                run += 1
    assert run == {"http": 8, "kafka": 6}[binding]


LINES = b"".join(json.dumps({**ATTRIBUTES, "id": str(n), "data": {"order": n}}).encode() + b"\n" for n in range(3))


class TestCloudEvents(FormatLaws):
    cases = (
        Case("records", CloudEventsFormat(), LINES, as_message=False),
        Case(
            "events",
            CloudEventsFormat(read="events", keys={"data.order": "order"}),
            LINES,
            as_message=False,
            raw_stands=False,
        ),
    )
    fragments = (b'{"specversion":"1.0",', b'"data_base64":"!"', b"[{}]", b"[[[[[")


def binary(body: bytes, media: str | None = None, prefix: str = "ce-", **more: str) -> Any:
    headers = {prefix + name: value for name, value in {**ATTRIBUTES, **more}.items()}
    (item,) = CloudEventsFormat().message(body, headers | ({"content-type": media} if media else {}))
    return item


def test_a_batch_is_as_many_events() -> None:
    """One that is none costs only itself."""
    batch = [{**ATTRIBUTES, "id": "a"}, {**ATTRIBUTES, "id": ""}, 7, {**ATTRIBUTES, "id": "b", "data": [1]}]
    body, headers = json.dumps(batch).encode(), {"content-type": "application/cloudevents-batch+json; charset=UTF-8"}
    items = CloudEventsFormat().message(body, headers)
    assert [type(item) for item in items] == [Row, Unreadable, Unreadable, Row]
    assert [item.line for item in items] == [1, 2, 3, 4]
    assert CloudEventsFormat().message(b"[]", headers) == []


def test_headers_over_http_are_percent_encoded_and_may_be_quoted() -> None:
    assert fields(binary(b"", subject="Euro%20%E2%82%AC%20%F0%9F%98%80"))["subject"] == "Euro € 😀"
    assert fields(binary(b"", subject='"a \\"b\\" \\\\ c"'))["subject"] == 'a "b" \\ c'
    assert fields(binary(b"", prefix="ce_", subject="100%25"))["subject"] == "100%25"


@pytest.mark.parametrize(
    ("body", "media", "expected"),
    [
        (b'{"a": 1}', None, {"data": {"a": 1}}),
        (b'"a"', "application/vnd.shop+json", {"data": "a"}),
        ("ä".encode("latin-1"), "text/plain; charset=latin-1", {"data": "ä"}),
        (b"<a/>", "application/xml", {"data": "<a/>"}),
        (b"\x00\xff", "application/octet-stream", {"data_base64": "AP8="}),
        (b"", "application/json", {}),
    ],
)
def test_data_is_what_it_is_said_to_be(body: bytes, media: str | None, expected: Mapping[str, Any]) -> None:
    found = fields(binary(body, media))
    assert {
        name: value for name, value in found.items() if name.startswith("data") and name != "datacontenttype"
    } == expected


def test_data_in_base64_is_decoded() -> None:
    document = {**ATTRIBUTES, "datacontenttype": "application/json", "data_base64": "eyJhIjogMX0="}
    assert fields(CloudEventsFormat().message(json.dumps(document).encode(), STRUCTURED)[0])["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": None}, "id is missing"),
        ({"source": 7}, "source is no text"),
        ({"specversion": "0.3"}, "0.3"),
        ({"extension": {"a": 1}}, "extension"),
        ({"data_base64": "!"}, "base64"),
    ],
)
def test_what_is_no_cloudevent(change: Mapping[str, Any], told: str) -> None:
    body = json.dumps({**ATTRIBUTES, **change}).encode()
    (item,) = CloudEventsFormat().message(body, STRUCTURED)
    assert told in reason(item)
    assert isinstance(item, Unreadable)
    assert item.raw == body


@pytest.mark.parametrize("body", [b"", b"7", b"\xff", b"{", b'{"a":' * 5000, b"<xml/>"])
def test_bodies_that_are_none(body: bytes) -> None:
    for headers in (
        STRUCTURED,
        {},
        {"content-type": "application/cloudevents+avro"},
        {"content-type": "a/b; charset=nonsense"},
    ):
        assert [type(item) for item in CloudEventsFormat().message(body, headers)] == [Unreadable]
    assert "no JSON" in reason(binary(b"\xff", "application/json")) or body


def test_one_event_in_every_mode_is_one() -> None:
    layout = CloudEventsFormat()
    whole = layout.message(json.dumps(ATTRIBUTES).encode(), STRUCTURED)[0]
    assert (
        layout.identity(whole)
        == layout.identity(binary(b""))
        == layout.identity(binary(b"", prefix="ce_"))
        == "/shop 1"
    )


def test_events_without_a_mapping() -> None:
    layout = CloudEventsFormat(
        read="events", keys={"data.order.id": "order", "subject": "customer"}, steps={"com.shop.paid": "paid"},
        phases={"com.shop.paid": "failed"}, systems={"/shop": "shop"}, attributes=("data.total",),
    )  # fmt: skip
    document = {
        **ATTRIBUTES, "time": "2026-01-31T08:00:00Z", "data": {"order": {"id": 7}, "total": 5.5}, "subject": "VINET",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    }  # fmt: skip
    (item,) = layout.message(json.dumps(document).encode(), STRUCTURED)
    assert event(item) == {
        "id": "/shop 1", "system": "shop", "step": "paid", "phase": "failed", "time": "2026-01-31T08:00:00Z",
        "keys": {"order": "7", "customer": "VINET", "trace": "a" * 32}, "attributes": {"data.total": 5.5},
    }  # fmt: skip
    (none,) = layout.message(json.dumps(ATTRIBUTES).encode(), STRUCTURED)
    assert "no key" in reason(none)


def test_what_the_tracer_wrote_into_an_event_is_read() -> None:
    """``correlationid`` and ``baggage``; a correlation of others has no type, and is a key where it is said of which."""
    attributes: dict[str, Any] = {**ATTRIBUTES, "time": "2026-01-31T08:00:00Z"}
    inject_cloud_event(attributes, {"order": "7 ä", "cart": "c1"}, Trace("a" * 32, "b" * 16), {})
    layout = CloudEventsFormat(read="events")
    for carried in (attributes, {name: value for name, value in attributes.items() if name != "baggage"}):
        (item,) = layout.message(json.dumps(carried).encode(), STRUCTURED)
        assert event(item)["keys"].items() >= {"order": "7 ä", "trace": "a" * 32}.items()
    assert event(layout.message(json.dumps(attributes).encode(), STRUCTURED)[0])["keys"]["cart"] == "c1"
    foreign = {**ATTRIBUTES, "time": "2026-01-31T08:00:00Z", "correlationid": "4711"}
    (item,) = CloudEventsFormat(read="events", keys={"correlationid": "order"}).message(
        json.dumps(foreign).encode(), STRUCTURED
    )
    assert event(item)["keys"] == {"order": "4711"}
    assert "no key" in reason(layout.message(json.dumps(foreign).encode(), STRUCTURED)[0])


headers_text = st.dictionaries(
    st.sampled_from(["ce-id", "ce_id", "ce-source", "ce-type", "ce-specversion", "content-type", "ce-", "x"]),
    st.one_of(
        st.text(max_size=30), st.sampled_from(["1.0", "application/json", "text/plain; charset=utf-16", "%ff%", '"'])
    ),
)


@given(st.binary(max_size=100), headers_text)
@settings(max_examples=300, deadline=None)
def test_any_message_has_an_item(body: bytes, headers: dict[str, str]) -> None:
    items = CloudEventsFormat().message(body, headers)
    assert items or json.loads(body) == []
    for item in items:
        assert isinstance(item, Row) or reason(item).isprintable()
