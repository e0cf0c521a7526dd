"""The OTLP receiver with the Python SDK's own exporters, over HTTP and gRPC, and with bytes as nobody should send them.

Proves: OK comes only after the log's acknowledgement; generated = accepted ∪ refused under random faults, each once by its id; what
is full or away asks senders to come again, what can never be read is set aside and refused, what is wrong in part is told as such;
bombs, slow senders and strangers are bounded."""

from __future__ import annotations

import gzip
import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc as untyped_grpc
import pytest
import requests
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from collectors.formats.json import JsonFormat
from collectors.formats.otlp import OtlpFormat
from collectors.inputs.live import Parcel
from collectors.inputs.otlp import OtlpInput, OtlpLive
from schemas.errors import Invalid
from tests.collectors.receiving import Loop, context, event, fields, looping, reason, until
from tests.collectors.test_format_otlp import request, span
from tracer.errors import Unavailable

grpc: Any = untyped_grpc
RetryInfo: Any = error_details_pb2.RetryInfo
Status: Any = status_pb2.Status
ExportTraceServiceRequest: Any = trace_service_pb2.ExportTraceServiceRequest
ExportTraceServiceResponse: Any = trace_service_pb2.ExportTraceServiceResponse
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
JSON = {"Content-Type": "application/json"}
QUICK: dict[str, Any] = {"patience": "1s"}


def opened(layout: OtlpFormat | None = None, env: dict[str, str] | None = None, **options: Any) -> OtlpLive:
    spec = OtlpInput.model_validate({"http": 0, "grpc": 0, **options})
    live = spec.open(context(layout or OtlpFormat(), env=env))
    assert isinstance(live, OtlpLive)
    return live


@pytest.fixture
def loop() -> Iterator[Loop]:
    with looping(opened()) as running:
        yield running


def url(live: Any, path: str = "/v1/traces") -> str:
    return f"http://127.0.0.1:{live.http}{path}"


def post(live: Any, document: Any, **options: Any) -> requests.Response:
    return requests.post(
        url(live), json.dumps(document), headers={**JSON, **options.pop("headers", {})}, timeout=20, **options
    )


def exporters(live: Any) -> list[Any]:
    address = f"127.0.0.1:{live.grpc}"
    return [
        HttpSpans(endpoint=url(live)),
        HttpSpans(endpoint=url(live), compression=Compression.Gzip),
        HttpSpans(endpoint=url(live), compression=Compression.Deflate),
        GrpcSpans(endpoint=address, insecure=True),
        GrpcSpans(endpoint=address, insecure=True, compression=grpc.Compression.Gzip),
    ]


def body_of(count: int = 1, **more: Any) -> bytes:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for number in range(count):
        scope.spans.add(
            trace_id=b"t" * 16,
            span_id=number.to_bytes(7, "big") + b"s",
            name="pay",
            start_time_unix_nano=10**18,
            **more,
        )
    return bytes(made.SerializeToString())


def call(live: Any, body: bytes, **options: Any) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{live.grpc}") as channel:
        return channel.unary_unary(TRACES)(body, timeout=20, **options)


def test_the_python_sdk_in_all_its_ways() -> None:
    """One span in five ways is one event: its places and ids are the same."""
    layout = OtlpFormat(keys={"order.id": "order"}, steps={"pay *": "paid"})
    with looping(opened(layout)) as loop:
        provider = TracerProvider(resource=Resource({"service.name": "payments"}))
        for exporter in exporters(loop.live):
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("pay it") as made:
            made.set_attribute("order.id", 7)
        provider.shutdown()
        events = [event(item) for item in loop.items(10)]
    assert {found["phase"] for found in events} == {"started", "completed"}
    assert {(found["system"], found["step"], found["keys"]["order"]) for found in events} == {("payments", "paid", "7")}
    assert len({place for place, _ in loop.accepted}) == len({found["id"] for found in events}) == 2
    assert len({parcel.name for parcel in loop.parcels}) == 5


def test_log_records_of_the_python_sdk(loop: Loop) -> None:
    import logging

    provider, live = LoggerProvider(resource=Resource({"service.name": "shop"})), cast(OtlpLive, loop.live)
    provider.add_log_record_processor(SimpleLogRecordProcessor(HttpLogs(endpoint=url(loop.live, "/v1/logs"))))
    provider.add_log_record_processor(
        SimpleLogRecordProcessor(GrpcLogs(endpoint=f"127.0.0.1:{live.grpc}", insecure=True))
    )
    logger = logging.Logger("shop")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.error("order %s is late", 7, extra={"order": "7"})
    provider.shutdown()
    for item in loop.items(2):
        found = fields(item)
        assert (found["body"], found["severity"], found["attributes.order"]) == ("order 7 is late", "error", "7")
    assert len({place for place, _ in loop.accepted}) == 1


def test_ok_comes_after_the_acknowledgement() -> None:
    """Over both: while the log has not answered, nobody is answered."""
    may = threading.Event()
    live = opened()

    def settle(_: Parcel) -> None:
        assert may.wait(20)

    with looping(live, settle) as loop:
        answers: list[str] = []
        senders = [
            threading.Thread(target=lambda: answers.append(f"http {post(live, request(span())).status_code}")),
            threading.Thread(target=lambda: answers.append(f"grpc {len(call(live, body_of()))}")),
        ]
        for sender in senders:
            sender.start()
        until(lambda: live.counts["received"] == 2)
        assert answers == []
        may.set()
        for sender in senders:
            sender.join(20)
        assert sorted(answers) == ["grpc 0", "http 200"]
        assert len(loop.items(2)) == 2


def test_the_log_is_away() -> None:
    """503 with Retry-After, UNAVAILABLE with RetryInfo; and what was taken in stays taken in."""
    live = opened(**QUICK)
    with looping(live, lambda _: Unavailable("the log is away")):
        answer = post(live, request(span()))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        with pytest.raises(grpc.RpcError) as raised:
            call(live, body_of())
        comes_again(raised.value)
    assert live.counts["refused"] == 2


def comes_again(error: Any) -> None:
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    trailers: dict[str, Any] = dict(error.trailing_metadata())
    wait = RetryInfo()
    assert Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(wait)
    assert wait.retry_delay.seconds == 1
    assert RetryInfo.FromString(trailers["google.rpc.retryinfo-bin"]) == wait


def test_nobody_reads() -> None:
    """The queue is full and stays so: bounded, and through stands still from the first that was refused on."""
    live = opened(max_waiting=2, patience="1s")
    try:
        refused = [post(live, request(span(spanId=f"{number:016x}"))).status_code for number in range(1, 4)]
        assert refused == [503, 503, 503]
        assert live.counts["received"] == 2
        with pytest.raises(grpc.RpcError) as raised:
            call(live, body_of())
        comes_again(raised.value)
        stood = live.through()
        assert live.through() == stood
        parcels = live.poll(0)
        assert len(parcels) == 2
        for parcel in parcels:
            parcel.settle(None)
        loop = Loop(live).start()
        assert post(live, request(span())).status_code == 200
        until(lambda: (live.through() or 0) > (stood or 0))
        loop.close()
    finally:
        live.close()


def test_what_is_wrong_in_part(loop: Loop) -> None:
    """Partial success: how many, and why; they are set aside with the rest."""
    answer = post(loop.live, request(span(), span(spanId="00"), span(traceId="xyz", spanId="1" * 16)))
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
    assert "8 bytes" in answer.json()["partialSuccess"]["errorMessage"]
    made = ExportTraceServiceRequest.FromString(body_of(2))
    made.resource_spans[0].scope_spans[0].spans[1].span_id = b""
    told = ExportTraceServiceResponse.FromString(call(loop.live, made.SerializeToString()))
    assert told.partial_success.rejected_spans == 1
    assert len(loop.items(5)) == 5


@pytest.mark.parametrize("body", [b"\x0a\xff\xff", b"hello"])
def test_what_can_never_be_read(loop: Loop, body: bytes) -> None:
    """Refused for good, and set aside with its bytes."""
    headers = {"Content-Type": "application/x-protobuf"}
    answer = requests.post(url(loop.live), body, headers=headers, timeout=20)
    assert answer.status_code == 400
    assert "protobuf" in Status.FromString(answer.content).message
    assert requests.post(url(loop.live), b"{", headers=JSON, timeout=20).status_code == 400
    with pytest.raises(grpc.RpcError) as raised:
        call(loop.live, body)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    items = loop.items(3)
    assert [item.raw for item in items] == [body, b"{", body]
    assert all(reason(item) for item in items)


def test_what_is_asked_wrongly(loop: Loop) -> None:
    """None of it is taken for a request."""
    live = loop.live
    assert requests.post(url(live), b"x", headers={"Content-Type": "text/plain"}, timeout=20).status_code == 415
    assert requests.get(url(live), timeout=20).status_code == 405
    assert requests.post(url(live, "/v1/metrics"), b"", headers=JSON, timeout=20).status_code == 404
    assert post(live, {}, headers={"Content-Encoding": "br"}).status_code == 415
    assert post(live, {}).json() == {}
    assert call(live, b"") == b""
    assert loop.accepted == []


def test_bombs_and_excess(loop: Loop) -> None:
    """Fault 28: 64 MiB of nothing in 64 KiB; more than a request may be. Set aside with their beginning, and counted."""
    bomb = gzip.compress(b"\x00" * (64 << 20))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    assert requests.post(url(loop.live), bomb, headers=headers, timeout=20).status_code == 413
    assert "more than" in reason(loop.items(1)[0])
    with pytest.raises(grpc.RpcError) as raised:
        call(loop.live, b"\x00" * (64 << 20), compression=grpc.Compression.Gzip)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for wrong in (b"no gzip", gzip.compress(body_of())[:-9]):
        assert requests.post(url(loop.live), wrong, headers=headers, timeout=20).status_code == 400
    assert post(loop.live, request(span())).status_code == 200


def test_a_sender_that_takes_its_time() -> None:
    """Slow headers, a slow body, a call without its message: each is ended, and others are served meanwhile."""
    live = opened(idle="1s", max_connections=20)
    with looping(live) as loop:
        slow = [socket.create_connection(("127.0.0.1", live.http)) for _ in range(5)]
        for number, each in enumerate(slow):
            head = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n"
            each.sendall(
                head if number % 2 else head + b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
        stop = threading.Event()
        with grpc.insecure_channel(f"127.0.0.1:{live.grpc}") as channel:
            stuck = channel.stream_unary(TRACES).future(iter(lambda: (stop.wait(30) and b"") or b"", b""), timeout=30)
            assert post(live, request(span())).status_code == 200
            assert call(live, body_of()) == b""
            for each in slow:
                each.settimeout(20)
                assert each.recv(100)[:12] in (b"", b"HTTP/1.1 408")
                each.close()
            assert stuck.exception().code() is grpc.StatusCode.CANCELLED
            stop.set()
        assert len(loop.items(2)) == 2


def test_a_token(tmp_path: Path) -> None:
    """Fault 29: closed by default beyond this machine; without the token nothing is read."""
    env = {"LASTSEEN_INTAKE_TOKEN": "s3cret"}
    with looping(opened(env=env)) as loop:
        for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic s3cret"}):
            assert post(loop.live, request(span()), headers=headers).status_code == 401
        with pytest.raises(grpc.RpcError) as raised:
            call(loop.live, body_of())
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert loop.accepted == []
        assert post(loop.live, request(span()), headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert call(loop.live, body_of(), metadata=[("authorization", "Bearer s3cret")]) == b""
        assert "s3cret" not in repr(loop.parcels)
    for host in ("0.0.0.0", "::", "example.com"):
        with pytest.raises(Invalid, match="LASTSEEN_INTAKE_TOKEN"):
            opened(host=host)


def certificate(folder: Path) -> tuple[str, str]:
    key, cert = str(folder / "key.pem"), str(folder / "cert.pem")
    new = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
    try:
        subprocess.run([*new.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return key, cert


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both transports, and no plaintext beside it."""
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # requests would trust this, and not what it is told
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    key, cert = certificate(tmp_path)
    with looping(opened(tls={"key": key, "cert": cert})) as loop:
        live: Any = loop.live
        provider = TracerProvider()
        credentials = grpc.ssl_channel_credentials(Path(cert).read_bytes())
        secure = f"https://127.0.0.1:{live.http}/v1/traces"
        provider.add_span_processor(SimpleSpanProcessor(HttpSpans(endpoint=secure, certificate_file=cert)))
        provider.add_span_processor(
            SimpleSpanProcessor(GrpcSpans(endpoint=f"localhost:{live.grpc}", credentials=credentials))
        )
        provider.get_tracer("t").start_span("pay").end()
        provider.shutdown()
        assert len(loop.items(2)) == 2
        with pytest.raises(requests.ConnectionError):
            post(live, request(span()))
    for wrong in ({"key": cert, "cert": cert}, {"key": key, "cert": str(tmp_path / "nowhere")}):
        with pytest.raises(Invalid, match="tls"):
            opened(tls=wrong)


def test_declarations() -> None:
    with pytest.raises(Invalid, match="format otlp"):
        OtlpInput(http=0).open(context(JsonFormat()))
    with pytest.raises(ValueError, match="nowhere"):
        OtlpInput(http=None, grpc=None)
    with pytest.raises(ValueError, match="max_held"):
        OtlpInput(max_held=2048)
    with looping(opened(grpc=None)) as loop:
        taken: Any = loop.live
        assert taken.grpc == 0
        for name in ("http", "grpc"):
            with pytest.raises(Unavailable, match="cannot listen"):
                opened(**{"http": None, "grpc": None, name: taken.http})


@given(st.integers(0, 2**32))
@settings(max_examples=4, deadline=None)
def test_generated_is_accepted_or_refused(seed: int) -> None:
    """As the OpenTelemetry Collector's contract checker: the log fails, stalls, and the collector is stopped and started anew;
    senders come again until they are told OK, or that it can never be read. In the end each record is accepted, once by its place,
    and none that was refused is."""
    dice = random.Random(seed)
    log: dict[str, int] = {}
    hurt = threading.Event()
    lock = threading.Lock()

    def settle(parcel: Parcel) -> Exception | None:
        with lock:
            fate = dice.random() if not hurt.is_set() else 1.0
        if fate < 0.25:
            return Unavailable("the log is away")
        if fate < 0.35:
            time.sleep(0.12)  # past the sender's patience: it comes again with what is in the log already
        with lock:
            for placed in parcel.items:
                log[placed.place] = log.get(placed.place, 0) + 1
        return None

    spec = OtlpInput.model_validate({"http": 0, "grpc": 0, "patience": "100ms", "max_waiting": 3})
    running = [Loop(spec.open(context(OtlpFormat())), settle).start()]
    refused: list[str] = []

    def send(first: int) -> None:
        for number in range(first, first + 6):
            bad = number % 5 == 0
            document = request(span(spanId=f"{number + 1:016x}")) if not bad else {"resourceSpans": number}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    status = post(running[-1].live, document).status_code
                except requests.RequestException:
                    continue
                if status == 400:
                    refused.append(str(number))
                if status in (200, 400):
                    break
                time.sleep(0.01)
            else:
                raise AssertionError("nobody ever answered")

    senders = [threading.Thread(target=send, args=(number * 6,)) for number in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(2):
        time.sleep(0.1)
        port = cast(OtlpLive, running[-1].live).http
        running[-1].close()
        again = spec.model_copy(update={"http": port})
        running.append(Loop(again.open(context(OtlpFormat())), settle).start())
    hurt.set()
    for sender in senders:
        sender.join(90)
    running[-1].close()
    good = {f"{'5b8efff798038103d269b633813fc60c'}:{n + 1:016x}" for n in range(24) if n % 5}
    assert {place for place in log if not place.startswith("sha256")} == good
    assert sorted(refused, key=int) == [str(number) for number in range(24) if number % 5 == 0]
    assert sum(place.startswith("sha256") for place in log) == 5
