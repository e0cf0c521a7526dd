"""Keys and trace travel: HTTP, Kafka, CloudEvents, environment; what OpenTelemetry's own propagators read is what we wrote."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import tracer
from tests.tracer.support import Shop
from tracer.clean import key_of
from tracer.propagation import Trace, extract, inject, inject_cloud_event, inject_environment

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "01", "vendor=1")
# What is a key by the contract, however hard to carry.
VALUES = st.text(min_size=1, max_size=60).map(key_of).filter(bool)
KEYS = st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True), VALUES, min_size=1, max_size=6)
OCTETS = re.compile(r"[!#-+\--:<-\[\]-~]*")


@settings(deadline=None, max_examples=50)
@given(keys=KEYS, kafka=st.booleans())
def test_what_was_written_is_read(keys: Any, kafka: bool) -> None:
    carrier: Any = [("other", b"1")] if kafka else {"Other": "1"}
    inject(carrier, keys, TRACE, {"theirs": "a b"})
    found = extract(carrier)
    assert found.keys == keys
    assert found.trace == TRACE
    assert found.foreign == {"theirs": "a b"}
    headers = {name: value if isinstance(value, str) else value.decode() for name, value in dict(carrier).items()}
    assert headers.pop("other" if kafka else "Other") == "1"
    assert set(headers) == {"baggage", "traceparent", "tracestate"}


@settings(deadline=None, max_examples=50)
@given(keys=KEYS)
def test_values_are_percent_encoded(keys: Any) -> None:
    """By the recommendation, not as web forms are: every value is made of baggage-octets, and a space is %20."""
    carrier: dict[str, str] = {}
    inject(carrier, keys, TRACE, {})
    for member in carrier["baggage"].split(","):
        name, _, value = member.partition("=")
        assert OCTETS.fullmatch(value)
        assert "+" not in value
        assert quote(keys[name.removeprefix("lastseen.key.")], safe="-_.~").lower() == value.lower()


@settings(deadline=None, max_examples=50)
@given(keys=KEYS)
def test_other_languages_headers_are_read(keys: Any) -> None:
    """Only what must be is encoded, a plus sign stands for itself, entries have properties and spaces around them."""
    parts = [
        f"lastseen.key.{name} = {quote(value, safe='!#$&()*+/:<>?@[]^`{|}~')} ; ttl=3;x" for name, value in keys.items()
    ]
    assert extract({"Baggage": " , ".join(parts)}).keys == keys


@given(
    header=st.one_of(st.text(max_size=300), st.from_regex(r"([a-z.]+=[^,]*,)*", fullmatch=True)),
    parent=st.text(max_size=60),
    carrier=st.one_of(st.none(), st.integers(), st.dictionaries(st.text(max_size=12), st.integers(), max_size=3)),
)
@settings(deadline=None, max_examples=50)
def test_hostile_headers_never_raise(header: str, parent: str, carrier: Any) -> None:
    for made in ({"baggage": header, "traceparent": parent}, [("baggage", header.encode("utf-8", "replace"))], carrier):
        found = extract({} if made is None else made)
        assert len(found.keys) <= 32
        for value in found.keys.values():
            assert key_of(value) == value


def test_a_flood_is_bounded_and_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """200,000 entries, a value of a megabyte, and a header of 8,193 bytes: the first that fit are taken, and nothing is logged."""
    with caplog.at_level(logging.DEBUG):
        many = ",".join(f"lastseen.key.k{n}={n}" for n in range(200_000))
        found = extract({"baggage": many})
        assert found.keys["k0"] == "0"
        assert len(found.keys) == 32
        assert extract({"baggage": "lastseen.key.order=" + "x" * 1_000_000}).keys == {}
        assert extract({"baggage": "lastseen.key.order=1," + "y" * 8192}).keys == {"order": "1"}
        assert extract({"baggage": "\r\nforged=1,lastseen.key.order=\ud800"}).keys == {}
        assert extract({"baggage": ",".join(f"k{n}=1" for n in range(500))}).foreign.__len__() == 64
    assert not caplog.records


def test_business_keys_have_room_before_baggage_of_others() -> None:
    carrier = {"baggage": ",".join(f"theirs{n}=" + "x" * 100 for n in range(70))}
    inject(carrier, {"order": "10248"}, TRACE, {})
    assert len(carrier["baggage"]) <= 8192
    assert extract(carrier).keys == {"order": "10248"}
    assert extract(carrier).foreign


def test_what_is_there_stays_and_is_not_doubled() -> None:
    carrier: Any = {"BAGGAGE": "theirs=1;p=2,lastseen.key.order=old", "Traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    inject(carrier, {"order": "new"}, TRACE, {})
    assert carrier == {"baggage": "lastseen.key.order=new,theirs=1", "Traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    kafka = [("baggage", b"theirs=1"), ("x", b"y"), ("Baggage", b"more=2")]
    inject(kafka, {"order": "new"}, TRACE, {})
    assert kafka[1] == ("baggage", b"lastseen.key.order=new,theirs=1,more=2")
    assert [name for name, _ in kafka] == ["x", "baggage", "traceparent", "tracestate"]


def test_cloud_events() -> None:
    event = {"specversion": "1.0", "type": "placed", "source": "/shop", "id": "1"}
    inject_cloud_event(event, {"order": "10248", "payment": "P 1"}, TRACE, {})
    assert event["correlationid"] == "order:10248"
    assert event["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert all(re.fullmatch("[a-z0-9]+", name) for name in event), "CloudEvents attributes have no other characters"
    assert extract(event).keys == {"order": "10248", "payment": "P 1"}
    for binary in (
        {f"ce-{name}": value for name, value in event.items()},
        [(f"ce_{n}", v.encode()) for n, v in event.items()],
    ):
        assert extract(binary).keys == {"order": "10248", "payment": "P 1"}
        assert extract(binary).trace.trace_id == TRACE.trace_id
    assert extract({"correlationid": "order:7"}).keys == {"order": "7"}
    assert extract({"correlationid": "7"}, {"correlationid": "order"}).keys == {"order": "7"}
    assert extract({"correlationid": "7"}).keys == {}


def test_a_batch_job_is_told_by_its_environment() -> None:
    environment = {**os.environ, "TRACEPARENT": "of this process itself"}
    inject_environment(environment, {"batch": "2024-05 ö"}, TRACE, {})
    code = "import tracer; t = tracer.continued(); print(ascii(t.keys['batch']), t.at.trace_id)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["'2024-05", "\\xf6'", TRACE.trace_id]


def test_names_of_others_are_keys_where_it_is_said() -> None:
    found = extract({"baggage": "order.id=7,user=u"}, {"order.id": "order"})
    assert found.keys == {"order": "7"}
    assert found.foreign == {"order.id": "7", "user": "u"}, "it travels on as it came"


def test_a_transaction_goes_on_behind_the_next_system() -> None:
    first, second = Shop(), Shop()
    headers: dict[str, str] = {"baggage": "theirs=1"}
    with first.transaction(order="1") as order:
        order.completed("placed")
        tracer.inject(headers)
    with tracer.continued(headers, payment="P1") as behind:
        behind._own_reporter = second.reporter
        behind.completed("paid")
        onwards: list[tuple[str, bytes]] = []
        tracer.inject(onwards)
    assert second.events[0]["keys"] == {**first.events[0]["keys"], "payment": "P1"}
    assert dict(onwards)["baggage"] == b"lastseen.key.order=1,lastseen.key.payment=P1,theirs=1"
    assert extract(onwards).trace == extract(headers).trace


def test_opentelemetrys_instrumentations_carry_the_keys_without_knowing_us() -> None:
    """Their propagator writes what is in the current context; ours reads it, and the other way round."""
    shop = Shop()
    headers: dict[str, str] = {}
    with shop.transaction(order="A+B 1") as order:
        order.also(payment="P1")
        W3CBaggagePropagator().inject(headers)
    assert headers["baggage"] == "lastseen.key.order=A%2BB+1,lastseen.key.payment=P1"
    headers["baggage"] = headers["baggage"].replace("+", "%20")
    assert extract(headers).keys == {"order": "A+B 1", "payment": "P1"}
    token = context.attach(W3CBaggagePropagator().extract(headers, Context()))
    try:
        found = tracer.current()
        assert found is not None
        assert found.keys == {"order": "A+B 1", "payment": "P1"}
    finally:
        context.detach(token)
    assert baggage.get_all() == {}


def test_the_applications_own_span_is_the_one_that_travels() -> None:
    shop, headers = Shop(), dict[str, str]()
    with TracerProvider().get_tracer("x").start_as_current_span("request") as span:
        with shop.transaction(order="1") as order:
            assert trace.get_current_span() is span, "its spans get no parent of ours"
            order.completed("placed")
            tracer.inject(headers)
        theirs: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(theirs)
    assert headers["traceparent"] == theirs["traceparent"]
    assert shop.events[0]["keys"]["trace"] == f"{span.get_span_context().trace_id:032x}"


def test_personal_keys_travel_hashed() -> None:
    from tracer.keyring import KeyRing
    from tracer.privacy import Privacy

    shop = Shop(privacy=Privacy({"email": "hash"}, ring=KeyRing({"k1": b"a secret of enough bytes"})))
    headers: dict[str, str] = {}
    with shop.transaction(order="1", email="a@example.org"):
        tracer.inject(headers)
    assert "example" not in headers["baggage"]
    assert extract(headers).keys["email"].startswith("h:k1:")
