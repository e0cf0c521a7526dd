"""OpenTelemetry as people run it: its Collector, telemetrygen, and the SDKs of Python and JavaScript, over HTTP and gRPC, through
Kafka in protobuf and JSON and straight to our receiver. What was sent is counted: each is an event, once, or quarantined.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka_broker import free_ports
from tests.peers.programs import Collector, kcat, sdk, telemetrygen, until
from tests.peers.site import Came, Site, numbered

ORDERS = 20
"""Orders that an SDK tells of each way it is asked to: a span and a log record each, every tenth a failure."""
WAYS = [
    ("python", "grpc"),
    ("python", "http/protobuf"),
    ("javascript", "grpc"),
    ("javascript", "http/protobuf"),
    ("javascript", "http/json"),
]

pytestmark = pytest.mark.peers("collector", "telemetrygen", "javascript")


def send(grpc: str, http: str) -> None:
    """By each client, each way that it knows."""
    for number, (language, protocol) in enumerate(WAYS):
        sdk(language, number * ORDERS, ORDERS, protocol, grpc if protocol == "grpc" else http)
    for address, over_http in ((grpc, False), (http, True)):
        telemetrygen("traces", 10, address, over_http, lastseen_key_order="probe", lastseen_step="probed")
        telemetrygen("logs", 10, address, over_http, lastseen_key_order="probe", lastseen_step="noted")


def sent_events() -> dict[tuple[str, str], int]:
    """A span is two events, a log record one; telemetrygen's traces are of two spans."""
    orders = len(WAYS) * ORDERS
    return {
        ("placed", "started"): orders, ("placed", "completed"): orders * 9 // 10, ("placed", "failed"): orders // 10,
        ("booked", "completed"): orders,
        ("probed", "started"): 40, ("probed", "completed"): 40, ("noted", "completed"): 20,
    }  # fmt: skip


def check(came: Came) -> None:
    assert came.steps() == sent_events()
    orders = numbered("py", range(2 * ORDERS)) | numbered("js", range(2 * ORDERS, 5 * ORDERS))
    assert came.orders("placed") == orders
    assert came.orders("booked") == orders
    failed = {event.error for event in came.events if event.phase == "failed"}
    assert failed == {"card refused – «déclinée»"}
    assert came.statuses == {"completed": len(WAYS) * ORDERS}


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_by_the_collector_and_kafka(site: Site, tmp_path: Path, encoding: str) -> None:
    spans, logs = site.topic("spans"), site.topic("logs")
    peer = Collector(
        tmp_path, "kafka.yaml", KAFKA_BROKERS=site.broker, OTLP_ENCODING=encoding, OTLP_SPANS=spans, OTLP_LOGS=logs
    )
    site.programs.append(peer)
    send(peer.grpc, peer.http)
    assert peer.stop() == 0
    kcat(site.broker, spans, "no request of anybody's\n")
    site.collect_once(site.declare("otlp-kafka.yaml"))
    appended, reasons = site.appended()
    assert len(appended) == len({event.id for event in appended}), "nothing stands there twice"
    assert len(reasons) == 1
    came = site.judged()
    check(came)
    assert len(came.quarantined) == 1


def test_straight_to_the_receiver(site: Site) -> None:
    grpc, http = free_ports(2)
    receiver = site.collect(site.declare("otlp.yaml", grpc=grpc, http=http), ready="collecting into")
    send(f"127.0.0.1:{grpc}", f"127.0.0.1:{http}")
    assert receiver.stop() == 0, receiver.said()
    came = site.judged()
    check(came)
    assert not came.quarantined


def test_the_collector_keeps_what_it_has_while_the_receiver_is_away(site: Site, tmp_path: Path) -> None:
    grpc, http = free_ports(2)
    declared = site.declare("otlp.yaml", grpc=grpc, http=http)
    receiver = site.collect(declared, ready="collecting into")
    where = {
        "LASTSEEN_OTLP": f"http://127.0.0.1:{http}", "LASTSEEN_OTLP_GRPC": f"127.0.0.1:{grpc}",
        "OTEL_QUEUE": str(tmp_path / "queue"),
    }  # fmt: skip
    peer = Collector(tmp_path, "lastseen.yaml", **where)
    site.programs.append(peer)
    sdk("python", 0, ORDERS, "grpc", peer.grpc)
    until(lambda: site.count() == 3 * ORDERS, receiver.said)
    receiver.kill()
    sdk("python", ORDERS, ORDERS, "http/protobuf", peer.http)
    peer.kill()
    peer = Collector(tmp_path, "lastseen.yaml", **where)
    site.programs.append(peer)
    sdk("javascript", 0, ORDERS, "grpc", peer.grpc)
    receiver = site.collect(declared, ready="collecting into")
    until(lambda: site.count() == 9 * ORDERS, lambda: peer.said() + receiver.said())
    assert receiver.stop() == 0, receiver.said()
    came = site.judged()
    orders = 3 * ORDERS
    assert came.steps() == {
        ("placed", "started"): orders, ("placed", "completed"): orders * 9 // 10, ("placed", "failed"): orders // 10,
        ("booked", "completed"): orders,
    }  # fmt: skip
    assert came.orders("booked") == numbered("py", range(2 * ORDERS)) | numbered("js", range(ORDERS))
