"""A span's facts become events by documented rules; whatever the span, what comes out is as the contract has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import parse_event
from tests.tracer.support import valid
from tracer.spans import Rules, Span, SpanEvent, SpanLink, ended_of, events_of, started_of, why_not

START, END = 1_750_000_000_000_000, 1_750_000_000_250_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER = "1" * 32
SHOP = {"service.name": "shop"}
RULES = Rules(key_attributes={"order.id": "order"})


def span(name: str = "place order", kind: Any = "server", **more: Any) -> Span:
    given: dict[str, Any] = {"attributes": {"order.id": 10248}, "resource": SHOP, "end": END}
    return Span(name=name, trace_id=TRACE, span_id=SPAN, start=START, kind=kind, **{**given, **more})


def said(made: Span, rules: Rules = RULES, *fields: str) -> list[tuple[Any, ...]]:
    return [
        (event["step"], event["phase"], *(event.get(field) for field in fields)) for event in events_of(made, rules)
    ]


def test_start_and_end_with_ids_of_trace_span_and_phase() -> None:
    assert events_of(span(), RULES) == [
        {
            "id": f"{TRACE}:{SPAN}:{phase}",
            "system": "shop",
            "step": "place order",
            "phase": phase,
            "time": time,
            "keys": {"order": "10248", "trace": TRACE},
        }
        for phase, time in (("started", START), ("completed", END))
    ]


def test_a_span_that_does_not_end_has_started() -> None:
    assert said(span(end=None)) == [("place order", "started")]
    assert started_of(span(), RULES) == started_of(span(end=None), RULES)
    assert ended_of(span(end=None), RULES) == []


@pytest.mark.parametrize(
    ("kind", "attributes", "phases", "peer"),
    [
        ("producer", {"messaging.destination.name": "orders"}, ["started", "sent"], "orders"),
        ("producer", {"messaging.destination": "orders"}, ["started", "sent"], "orders"),
        ("client", {"messaging.operation.type": "send", "messaging.destination.name": "o"}, ["started", "sent"], "o"),
        ("producer", {"messaging.operation": "publish", "messaging.destination": "o"}, ["started", "sent"], "o"),
        ("consumer", {"messaging.destination.name": "orders"}, ["received", "completed"], "orders"),
        ("consumer", {"messaging.operation": "process", "messaging.destination": "o"}, ["received", "completed"], "o"),
        (
            "client",
            {"messaging.operation.type": "receive", "messaging.destination.name": "o"},
            ["received", "completed"],
            "o",
        ),
        (
            "consumer",
            {"messaging.operation.name": "deliver", "peer.service": "shop"},
            ["received", "completed"],
            "shop",
        ),
        ("client", {"server.address": "payments", "http.request.method": "POST"}, ["started", "completed"], "payments"),
        ("client", {"net.peer.name": "payments", "http.method": "POST"}, ["started", "completed"], "payments"),
        ("client", {"http.host": "payments:8443"}, ["started", "completed"], "payments"),
        ("client", {"http.url": "https://payments:8443/pay?card=1"}, ["started", "completed"], "payments"),
        ("client", {"url.full": "https://payments/pay"}, ["started", "completed"], "payments"),
        ("client", {"url.full": "https://[::1"}, ["started", "completed"], None),
        ("client", {"service.peer.name": "bank", "server.address": "10.0.0.7"}, ["started", "completed"], "bank"),
        ("client", {"server.address": "10.0.0.7"}, ["started", "completed"], "psp"),
        ("client", {"server.address": "::1"}, ["started", "completed"], "::1"),
        ("server", {"server.address": "shop", "client.address": "10.1.1.1"}, ["started", "completed"], None),
        ("internal", {"lastseen.peer": "bank"}, ["started", "completed"], "bank"),
        ("server", {"lastseen.phase": "cancelled"}, ["started", "cancelled"], None),
        ("producer", {"lastseen.phase": "completed"}, ["started", "completed"], None),
        ("server", {"lastseen.phase": "nonsense"}, ["started", "completed"], None),
    ],
)
def test_conventions_old_and_new(kind: Any, attributes: dict[str, Any], phases: list[str], peer: str | None) -> None:
    rules = Rules(key_attributes={"order.id": "order"}, peers={"10.0.0.7": "psp"})
    found = events_of(span(kind=kind, attributes={"order.id": "1", **attributes}), rules)
    assert [event["phase"] for event in found] == phases
    assert {event.get("peer") for event in found} == {peer}


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"message": "declined"}, "declined"),
        ({"attributes": {"order.id": "1", "error.type": "timeout"}}, "timeout"),
        ({"attributes": {"order.id": "1", "http.response.status_code": 503}}, "HTTP status 503"),
        ({"attributes": {"order.id": "1", "http.status_code": 500}}, "HTTP status 500"),
        ({}, "failed, without saying why"),
        (
            {
                "message": "declined",
                "events": [
                    SpanEvent("exception", START, {"exception.type": "IOError", "exception.message": "first"}),
                    SpanEvent("exception", START, {"exception.type": "ValueError", "exception.message": "no card"}),
                ],
            },
            "ValueError: no card",
        ),
    ],
)
def test_an_error_says_why(more: dict[str, Any], error: str) -> None:
    assert said(span(error=True, **more), RULES, "error")[-1] == ("place order", "failed", error)


def test_steps_systems_and_keys() -> None:
    rules = Rules(
        key_attributes={"order.id": "order", "payment.id": "payment"},
        steps={"POST /orders": "placed", "GET *": "looked"},
        systems={"shop-v2": "shop"},
        attributes=("amount", "region"),
    )
    made = span(
        "POST /orders",
        attributes={
            "lastseen.key.order": "7",
            "order.id": "8",
            "lastseen.attribute.lines": 3,
            "amount": 12.5,
            "secret": "x",
        },
        resource={"service.name": "shop-v2", "region": "eu", "lastseen.key.tenant": "t1"},
        baggage={"lastseen.key.batch": "B", "payment.id": "P1", "lastseen.key.order": "9"},
    )
    start, end = events_of(made, rules)
    assert (start["system"], start["step"]) == ("shop", "placed")
    assert start["keys"] == {"tenant": "t1", "payment": "P1", "batch": "B", "order": "7", "trace": TRACE}
    assert end["attributes"] == {"amount": 12.5, "region": "eu", "lines": 3}
    assert said(span("GET /orders/7"), rules)[0] == ("looked", "started")
    assert said(span(attributes={"lastseen.step": "paid", "lastseen.key.order": "1"}), rules)[0] == ("paid", "started")
    assert events_of(span(resource={**SHOP, "lastseen.system": "web"}), rules)[0]["system"] == "web"
    assert (
        events_of(span(resource={}), Rules(key_attributes={"order.id": "order"}, system="till"))[0]["system"] == "till"
    )


@pytest.mark.parametrize(
    ("kind", "attributes", "name", "unnamed", "trace_only", "why"),
    [
        ("internal", {"order.id": "1"}, "x", "edges", "named", ""),
        ("internal", {}, "x", "edges", "named", "an inner span that nobody named"),
        ("internal", {"order.id": "1"}, "x", "none", "named", "an inner span that nobody named"),
        ("internal", {"order.id": "1"}, "named", "none", "named", ""),
        ("server", {}, "x", "edges", "named", "no business key"),
        ("server", {}, "x", "edges", "all", ""),
        ("server", {}, "named", "none", "named", ""),
        ("server", {}, "named", "none", "none", "no business key"),
        ("client", {"db.system": "postgresql"}, "x", "edges", "all", "an inner span that nobody named"),
        ("client", {"db.system.name": "postgresql"}, "x", "edges", "all", "an inner span that nobody named"),
        ("client", {}, "x", "edges", "all", ""),
        ("internal", {}, "x", "all", "all", ""),
        ("producer", {"messaging.operation.type": "create"}, "x", "edges", "all", "an inner span that nobody named"),
        ("consumer", {"messaging.operation": "settle"}, "x", "edges", "all", "an inner span that nobody named"),
    ],
)
def test_which_spans_are_reported_and_why_the_others_are_not(
    kind: Any, attributes: dict[str, Any], name: str, unnamed: Any, trace_only: Any, why: str
) -> None:
    rules = Rules(key_attributes={"order.id": "order"}, steps={"named": "step"}, unnamed=unnamed, trace_only=trace_only)
    made = span(name, kind=kind, attributes=attributes)
    assert why_not(made, rules) == why
    assert bool(events_of(made, rules)) == (not why)


def test_without_a_system_or_ids_nothing_is_said() -> None:
    assert why_not(span(resource={}), RULES).startswith("neither service.name")
    nameless = Span("x", "", SPAN, START, kind="server", attributes={"order.id": "1"}, resource=SHOP)
    assert why_not(nameless, RULES) == "the span has no ids"


def test_every_message_of_a_batch_arrives_and_its_trace_is_joined() -> None:
    links = [SpanLink(OTHER, "2" * 16, {"order.id": "8"}), SpanLink("3" * 32, "4" * 16), SpanLink(TRACE, "5" * 16)]
    found = events_of(span("process", kind="consumer", attributes={"lastseen.step": "paid"}, links=links), RULES)
    keys = [(event["phase"], event["keys"]) for event in found]
    assert keys == [
        (phase, keys)
        for phase in ("received", "completed")
        for keys in ({"trace": TRACE}, {"order": "8", "trace": OTHER}, {"trace": "3" * 32})
    ]
    assert len({event["id"] for event in found}) == len(found)
    own = events_of(span("process", kind="consumer", links=links[1:]), RULES)
    assert own[1]["keys"] == {"order": "10248", "trace": "3" * 32}, "the trace it came by is one more name of the order"
    unnamed = events_of(span("process", kind="consumer", attributes={}, links=links), RULES)
    assert [event["keys"] for event in unnamed] == [{"order": "8", "trace": OTHER}] * 2
    many = [SpanLink(f"{number:032x}", SPAN, {"order.id": number}) for number in range(1, 1000)]
    assert len(events_of(span(links=many), RULES)) == 2 * (128 + 1)


def test_moments_within_a_span_that_name_a_step() -> None:
    moments = [
        SpanEvent("paid", START + 1, {"lastseen.step": "paid", "lastseen.key.payment": "P1"}),
        SpanEvent("noise", START + 2),
        SpanEvent(
            "declined", START + 3, {"lastseen.step": "paid", "lastseen.phase": "failed", "lastseen.peer": "bank"}
        ),
    ]
    found = ended_of(span(events=moments, end=None), RULES)
    assert [(event["id"], event["phase"], event["time"]) for event in found] == [
        (f"{TRACE}:{SPAN}:completed:e0", "completed", START + 1),
        (f"{TRACE}:{SPAN}:failed:e2", "failed", START + 3),
    ]
    assert found[0]["keys"] == {"order": "10248", "payment": "P1", "trace": TRACE}
    assert (found[1]["error"], found[1]["peer"]) == ("declined", "bank")
    inner = span(kind="internal", attributes={"lastseen.key.order": "1"}, events=moments[:1])
    assert said(inner, Rules(unnamed="none")) == [("paid", "completed")], "of a span that is not reported itself, too"


SCALARS = st.one_of(st.text(max_size=300), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=9))
VALUES = st.one_of(SCALARS, st.lists(st.text(max_size=9)))
KNOWN = (
    "order.id", "lastseen.step", "lastseen.phase", "lastseen.system", "lastseen.peer", "lastseen.key.", "lastseen.key.x",
    "messaging.operation", "messaging.destination.name", "server.address", "url.full", "http.status_code", "peer.service",
    "lastseen.attribute.", "lastseen.attribute.a", "error.type", "exception.message", "lastseen.error", "service.name",
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(KNOWN), st.text(max_size=120))
MAPS = st.dictionaries(NAMES, VALUES, max_size=8)
HEX = st.text("0123456789abcdef", min_size=16, max_size=32)


@settings(deadline=None, max_examples=120)
@given(
    name=st.text(max_size=200),
    kind=st.sampled_from(["internal", "server", "client", "producer", "consumer"]),
    maps=st.tuples(MAPS, MAPS, st.dictionaries(NAMES, st.text(max_size=20), max_size=3), MAPS, MAPS),
    error=st.booleans(),
    message=st.text(max_size=20),
    rules=st.builds(
        Rules,
        key_attributes=st.just({"order.id": "order", "url.full": "page"}),
        steps=st.dictionaries(st.sampled_from(["*", "a*"]), st.text(max_size=120), max_size=2),
        unnamed=st.sampled_from(["edges", "all", "none"]),
        trace_only=st.sampled_from(["named", "all", "none"]),
        system=st.just("shop"),
    ),
    trace=HEX,
    link=HEX,
)
def test_whatever_a_span_holds_its_events_are_the_contracts(
    name: str, kind: Any, maps: Any, error: bool, message: str, rules: Rules, trace: str, link: str
) -> None:
    attributes, resource, baggage, in_event, in_link = maps
    made = Span(
        name=name, trace_id=trace, span_id="1" * 16, start=START, end=END, kind=kind, error=error, message=message,
        attributes=attributes, resource=resource, baggage=baggage,
        events=[SpanEvent(name, START, in_event), SpanEvent("exception", START, in_event)],
        links=[SpanLink(link, "2" * 16, in_link)],
    )  # fmt: skip
    found = events_of(made, rules)
    assert found == events_of(made, rules), "pure"
    assert len({event["id"] for event in found}) == len(found) or link == trace
    assert bool(found) == (why_not(made, rules) == "")
    for event in found:
        parse_event(valid(event))
