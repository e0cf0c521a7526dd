"""Inputs that receive, within a collector at work on a log in memory.

Proves: the queue's laws under any order of offering, taking and settling; a sender is answered by what the log said; the events are
those of the spans, whether the collector is killed or not; nothing is vouched for unless the file says so, and then not beyond what
waits; a collector that stops gives the log what nobody would send again; receiving is never done once.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from collectors.collector_file import read_collector
from collectors.formats.json import JsonFormat
from collectors.inputs.http import HttpInput
from collectors.inputs.kafka import KafkaInput
from collectors.inputs.live import Parcel, Placed
from collectors.inputs.otlp import OtlpInput
from collectors.inputs.received import Received
from collectors.inputs.record import Row
from collectors.inputs.syslog import SyslogInput
from collectors.reader import Reader
from collectors.sample import try_sample
from schemas.control import Marker
from schemas.errors import Invalid
from tests.collectors.receiving import context, until
from tests.collectors.site import START, Site
from tracer.privacy import Privacy

OTLP = """\
collector: otel
input: {otlp: {http: 0, grpc: null, patience: 20s}}
format: {otlp: {keys: {order.id: order}}}
"""
SYSLOG = """\
collector: syslog
input: {syslog: {tcp: 0}}
format: {syslog: {content: logfmt}}
times: epoch_us
vouch: shop
events:
  - {system: shop, step: placed, time: at, keys: {order: order}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Any:
    made = Site(tmp_path)
    yield made
    made.kill()


def begun(site: Site, text: str) -> Any:
    site.path.write_text(text)
    return site.begin()._live


def step_until(site: Site, done: Callable[[], bool]) -> None:
    def stepped() -> bool:
        site.steps()
        return done()

    until(stepped)


class Sender:
    """The Python SDK's exporter, on a thread: `exported` is what it was told."""

    def __init__(self, port: int, *orders: int) -> None:
        self.exported: list[SpanExportResult] = []
        provider = TracerProvider(resource=Resource({"service.name": "shop"}))
        self._spans: list[Any] = []
        for order in orders:
            span: Any = provider.get_tracer("t").start_span("pay", attributes={"order.id": order})
            span.end()
            self._spans.append(span)
        self._exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
        self.ids = {
            f"{s.context.trace_id:032x}:{s.context.span_id:016x}:{phase}"
            for s in self._spans
            for phase in ("started", "completed")
        }
        self.send()

    def send(self) -> None:
        self._thread = threading.Thread(target=lambda: self.exported.append(self._exporter.export(self._spans)))
        self._thread.start()

    def done(self) -> bool:
        return not self._thread.is_alive()


def test_spans_become_events_and_their_sender_is_answered(site: Site) -> None:
    """Without a mapping; what is sent once more, even past a collector that was killed, is the same."""
    live = begun(site, OTLP)
    sender = Sender(live.http, 7, 8)
    step_until(site, sender.done)
    assert sender.exported == [SpanExportResult.SUCCESS]
    assert set(site.events()) == sender.ids
    assert site.orders() == ["7", "7", "8", "8"]
    assert {event.system for event in site.events().values()} == {"shop"}
    site.kill()
    begun(site, OTLP.replace("http: 0", f"http: {live.http}"))
    sender.send()
    step_until(site, sender.done)
    assert sender.exported == [SpanExportResult.SUCCESS] * 2
    assert set(site.events()) == sender.ids
    assert not site.quarantined()


def test_a_log_that_is_away_is_no_answer(site: Site) -> None:
    """Until it is back; the sender waits, or is told to come again."""
    live = begun(site, OTLP)
    site.broker.down = True
    sender = Sender(live.http, 7)
    until(lambda: live.counts["received"] == 2)
    site.steps(5)
    assert not sender.done()
    site.broker.down = False
    step_until(site, sender.done)
    assert sender.exported == [SpanExportResult.SUCCESS]
    assert set(site.events()) == sender.ids


def test_nothing_is_vouched_for_by_itself(site: Site) -> None:
    begun(site, OTLP)
    site.steps(5)
    assert all(not marker.systems for marker in site.said(Marker))


def test_what_is_vouched_for_stands_while_nobody_is_there(site: Site) -> None:
    """A file may say that all of a system's messages come here: then through follows its sender."""
    live = begun(site, SYSLOG)
    site.steps(5)
    with socket.create_connection(("127.0.0.1", live.tcp), timeout=20) as sender:
        sender.sendall(b"<14>at=%d order=7\n" % START)
        step_until(site, lambda: site.orders() == ["7"])
        step_until(site, lambda: site.said(Marker)[-1].through > site.now - 20_000_000)
    until(lambda: live.counts["gone"] == 1)
    left = site.now
    site.steps(20)
    marker = site.said(Marker)[-1]
    assert marker.systems == ("shop",) or list(marker.systems) == ["shop"]
    assert marker.through <= left
    assert any("went away" in told for told in site.told)


def test_what_nobody_would_send_again_is_given_to_the_log_at_the_end(site: Site) -> None:
    """It was read, and no round has come to it yet."""
    live = begun(site, SYSLOG)
    with socket.create_connection(("127.0.0.1", live.tcp), timeout=20) as sender:
        for number in range(500):
            sender.sendall(b"<14>at=%d order=%d\n" % (START, number))
        until(lambda: live.counts["received"] == 500)
        site.stop()
    assert sorted(map(int, site.orders())) == list(range(500))


def test_a_sender_that_falls_silent_is_no_longer_vouched_for(site: Site) -> None:
    """Over HTTP nobody can see it leave; the file says how often it speaks."""
    text = OTLP.replace("http: 0", "http: 0, expect: 60s") + "vouch: shop\n"
    live = begun(site, text)
    sender = Sender(live.http, 7)
    step_until(site, sender.done)
    heard = site.now
    site.steps(100)
    assert START < site.said(Marker)[-1].through <= heard
    assert any("nobody has sent anything since" in told for told in site.told)
    requests.post(
        f"http://127.0.0.1:{live.http}/v1/traces", b"", headers={"Content-Type": "application/x-protobuf"}, timeout=20
    )
    site.steps(5)
    assert site.said(Marker)[-1].through > site.now - 20_000_000


def test_a_file_that_is_wrong_says_where(site: Site) -> None:
    for text, told in (
        (SYSLOG.replace("{tcp: 0}", "{}"), "listens nowhere"),
        (SYSLOG.replace("logfmt", "nonsense"), "content is one format"),
        (OTLP.replace("http: 0", "http: 0, tls: {cert: a.pem, key: b.pem}"), "a.pem"),
        (OTLP.replace("http: 0", "http: 0, host: 0.0.0.0"), "anonymous"),
    ):
        with pytest.raises(Invalid, match=told):
            begun(site, text)


def test_samples_are_read_as_their_inputs_would_be_given_them(tmp_path: Path) -> None:
    """A request over several lines is one; a topic's messages stand one a line; a syslog line has been received now."""
    import json

    from tests.collectors.test_format_otlp import request, span

    order = [{"key": "order.id", "value": {"intValue": "7"}}]
    pretty = json.dumps(request(span(attributes=order)), indent=2).encode()
    plain = json.dumps(request(span(attributes=order))).encode()
    kafka = (
        "collector: k\ninput: {kafka: {url: 'kafka://h:1/', topics: t, group: g}}\n"
        + OTLP.partition("\n")[2].partition("\n")[2]
    )
    lines = b"<14>Nov 20 08:00:00 web shop[7]: order=7\n26 <14>shop[7]: order=8 at=1\n\n<14>Nov 20 08:00:01 web shop: order=9"
    syslog = SYSLOG.replace("times: epoch_us", "zone: UTC").replace("time: at", "time: syslog.time")
    for text, data, orders in (
        (OTLP, pretty, ["7"]),
        (OTLP, pretty.replace(b"order.id", b"other"), []),
        (OTLP, plain + b"\n" + plain, ["7", "7"]),
        (kafka, plain + b"\n\n" + plain, ["7", "7"]),
        (syslog, lines, ["7", "9"]),
    ):
        path = tmp_path / "collector.yaml"
        path.write_text(text)
        file = read_collector(path)
        told = list(try_sample(Reader(file, Privacy()), file.format, "s", [data], START, 10, file.input))
        assert [event["keys"]["order"] for one in told for event in one.events] == orders
    assert told[1].quarantined
    assert [one.events[0]["time"] // 10**6 for one in told if one.events] == [1_795_161_600 + n for n in (0, 1)]


@pytest.mark.parametrize("spec", [OtlpInput(http=0, grpc=None), HttpInput(port=0), SyslogInput(udp=0)])
def test_receiving_has_no_end(spec: Any) -> None:
    from collectors.formats.otlp import OtlpFormat

    layout: Any = OtlpFormat() if isinstance(spec, OtlpInput) else JsonFormat()
    with pytest.raises(Invalid, match="once"):
        spec.open(context(layout, once=True))


def test_inputs_are_declared_as_the_others() -> None:
    """None of these vouches by itself; a Kafka input may be declared by its YAML name ``from``."""
    spec = KafkaInput.model_validate({"url": "kafka://h:1/", "topics": "t", "group": "g", "from": "end"})
    assert spec.begin == "end"
    for each in (spec, OtlpInput(), HttpInput(), SyslogInput(udp=0)):
        assert not getattr(each, "vouches", False)


steps = st.lists(
    st.tuples(st.sampled_from(["offer", "take", "settle", "fail"]), st.integers(0, 5), st.integers(0, 3000)),
    max_size=40,
)


@given(steps, st.integers(1, 4))
def test_the_queues_laws(told: list[tuple[str, int, int]], most: int) -> None:
    """Whatever was taken in is handed out once and answered once; what is held stays within its bounds; through never passes what
    waits; and closing answers all that is left."""
    now = [1000]
    received = Received(context(JsonFormat(), clock=lambda: now[0]), max_waiting=most, max_held=8_000)
    answers: dict[int, list[Exception | None]] = {}
    out: list[Parcel] = []
    handed: list[str] = []
    number = 0
    for what, count, size in told:
        now[0] += 1
        if what == "offer":
            number += 1
            answers[number] = []
            items = [Placed(f"{number}.{index}", Row(1, {})) for index in range(count)]
            if not received.offer(items, size, "", answers[number].append):
                del answers[number]
                assert received.through() < now[0]
        elif what == "take":
            parcels = received.take(0)
            out += parcels
            handed += [placed.place for parcel in parcels for placed in parcel.items]
        elif out:
            error = ValueError() if what == "fail" else None
            out.pop(count % len(out)).settle(error)
        waiting = [parcel.known for parcel in received._waiting if parcel.known is not None]
        assert received.through() < min(waiting, default=now[0] + 1)
        assert sum(not answer for answer in answers.values()) <= most
        assert received._held <= 8_000 or sum(not answer for answer in answers.values()) == 1
    received.close()
    for parcel in out:
        parcel.settle(None)
    assert all(len(answer) == 1 for answer in answers.values())
    assert len(set(handed)) == len(handed)
    assert received.take(0) == []
    assert not received.offer([], 0, "")


def test_counts_are_told_but_not_all_the_time() -> None:
    now = [1000]
    received = Received(context(JsonFormat(), clock=lambda: now[0]))
    for _ in range(50):
        received.refused("unreadable")
        now[0] += 500_000
    assert received.counts["refused"] == received.counts["refused: unreadable"] == 50
    assert list(received.notes) == [
        f"refused {count} requests so far, now because: unreadable" for count in (1, 21, 41)
    ]
