"""An order traced through two services in two languages, a log file and an EDI file comes out as one path; and without its EDI file
it is missed where it is missing.

The services are OpenTelemetry's SDKs for Python and for JavaScript; they know nothing of Lastseen. The shop's spans travel by the
OpenTelemetry Collector and Kafka, the gateway's straight to our receiver; `lastseen up` judges while all this runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from pipeline.app import App
from pipeline.config import read_config
from tests.kafka_broker import free_ports
from tests.peers import install
from tests.peers.programs import PATIENCE, Collector, Program, until
from tests.peers.site import HERE, Site

SHOP = HERE / "one_path"

pytestmark = pytest.mark.peers("collector", "javascript")


class Journey:
    """All of it, up and running. ``folder``: where the depot logs and the carrier drops its files."""

    def __init__(self, folder: Path, broker: str):
        self.folder = folder
        (folder / "edi").mkdir()
        (folder / "depot.log").touch()
        self.site = Site(folder, broker, SHOP / "flows")
        self.app = App(read_config(None, None, os.environ | self.site.env))
        self._shop = 0
        self._started: list[Program] = []

    def start(self) -> None:
        site = self.site
        site.topic("otlp_spans")
        http, payments, self._shop = free_ports(3)
        self._run("up", [*site.command, "up"], site.env)
        # The folders hold all that was ever written. Without this a collector vouches from its start on, and a shipment that may
        # have been announced before, under another order's number, makes what is missing unknown.
        collectors = site.collect(
            site.declare("webshop.yaml"), site.declare("cardgate.yaml", http=http),
            site.declare("depot.yaml"), site.declare("haulier.yaml"), since="2d",
        )  # fmt: skip
        peer = Collector(
            self.folder, "kafka.yaml", KAFKA_BROKERS=site.broker, OTLP_SPANS=f"{site.prefix}otlp_spans",
            OTLP_LOGS=f"{site.prefix}otlp_logs",
        )  # fmt: skip
        site.programs.append(peer)
        otlp = {"OTEL_BSP_SCHEDULE_DELAY": "100", "NODE_PATH": str(install.node_modules())}
        gateway = {"OTEL_SERVICE_NAME": "cardgate", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{http}"}
        self._run("payments", ["node", SHOP / "payments.cjs", payments], otlp | gateway)
        checkout = [sys.executable, "-m", "tests.peers.one_path.checkout", self._shop, f"http://127.0.0.1:{payments}"]
        shop = {"OTEL_SERVICE_NAME": "webshop", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{peer.grpc}"}
        self._run("checkout", checkout, otlp | shop)
        collectors.until_said("collecting into")
        for program in self._started:
            program.until_said("ready")

    def _run(self, name: str, command: list[Any], env: dict[str, str]) -> None:
        program = Program(command, self.folder / f"{name}.out", env=env)
        self.site.programs.append(program)
        self._started.append(program)

    def order(self, number: str) -> None:
        """A customer clicks: the shop has it paid by the gateway."""
        with urlopen(Request(f"http://127.0.0.1:{self._shop}/orders/{number}", b""), timeout=PATIENCE) as answer:
            assert answer.status == 201

    def pick(self, *numbers: str) -> None:
        with (self.folder / "depot.log").open("a") as log:
            for number in numbers:
                now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")
                log.write(f"{now} [pick] PO {number} picked by ann, 2 of 2 lines\n")

    def drop(self, name: str, text: str) -> None:
        """A file from the carrier, written beside and then renamed, as file gateways do."""
        path = self.folder / "edi" / name
        path.with_suffix(".part").write_text(text)
        path.with_suffix(".part").rename(path)

    def ship(self, shipment: str, number: str) -> None:
        self.drop(f"{shipment}-856.x12", notice(shipment, number, _next_second()))

    def deliver(self, shipment: str) -> None:
        self.drop(f"{shipment}-214.x12", delivery(shipment, _next_second()))

    def until(self, number: str, status: str, steps: int) -> dict[str, Any]:
        """What is said of an order, once it is this, and so many of its steps were reported."""
        transaction = ("order", number)
        with self.app.store(create=False) as store:

            def said() -> tuple[list[str], int]:
                reported = {event.step for event in store.load_events([transaction]).get(transaction, [])}
                return [row.status for row in store.load_verdicts([transaction]).get(transaction, [])], len(reported)

            until(lambda: said() == ([status], steps), lambda: f"{self.site.lookup(number)}\n{self.site.said()}")
        (found,) = self.site.lookup(number)
        return found


def _next_second() -> datetime:
    """EDI tells seconds, and what was picked in this one must not look as if it had been shipped before."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)


def notice(shipment: str, order: str, at: datetime) -> str:
    """X12 856, as the published guides have it: a shipment, its order, an item."""
    when = f"{at:%Y%m%d}*{at:%H%M%S}"
    return interchange(
        "SH", at,
        "ST*856*0001", f"BSN*00*{shipment}*{when}*0001",
        "HL*1**S", "TD5**2*HAUL*M", f"DTM*011*{when}*UT",
        "HL*2*1*O", f"PRF*{order}",
        "HL*3*2*I", "LIN*1*VN*0054321", "SN1*1*2*EA",
        "CTT*3",
    )  # fmt: skip


def delivery(shipment: str, at: datetime) -> str:
    """X12 214: a shipment's state."""
    state = f"AT7*D1*NS***{at:%Y%m%d}*{at:%H%M%S}*UT"
    return interchange("QM", at, "ST*214*0001", f"B10*4711*{shipment}*HAUL", "LX*1", state, "MS1*BRATTLEBORO*VT")


def interchange(functional: str, at: datetime, *body: str) -> str:
    parties = f"*ZZ*{'HAULIER':<15}*ZZ*{'WEBSHOP':<15}"
    segments = [
        f"ISA*00*{'':10}*00*{'':10}{parties}*{at:%y%m%d}*{at:%H%M}*U*00401*000000001*0*P*>",
        f"GS*{functional}*HAULIER*WEBSHOP*{at:%Y%m%d}*{at:%H%M}*1*X*004010",
        *body, f"SE*{len(body) + 1}*0001", "GE*1*1", "IEA*1*000000001",
    ]  # fmt: skip
    return "".join(f"{segment}~\n" for segment in segments)


@pytest.fixture
def journey(tmp_path: Path, kafka_broker: dict[str, str]) -> Iterator[Journey]:
    made = Journey(tmp_path, kafka_broker["address"])
    try:
        made.start()
        yield made
    finally:
        made.site.close()


STEPS = [
    ("placed", "webshop"), ("paid", "cardgate"), ("picked", "depot"), ("shipped", "haulier"), ("delivered", "haulier"),
]  # fmt: skip


def path_of(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(hop["step"], hop["system"]) for hop in found["path"]]


def test_two_services_a_log_and_edi_files_are_one_path(journey: Journey) -> None:
    for number in ("PO-1001", "PO-1002", "PO-1003"):
        journey.order(number)
    journey.pick("PO-1001", "PO-1002", "PO-1003")
    journey.ship("SH77", "PO-1001")
    journey.deliver("SH77")
    journey.ship("SH78", "PO-1002")
    whole = journey.until("PO-1001", "completed", 5)
    assert path_of(whole) == STEPS
    assert [hop["known_by"] for hop in whole["path"]] == [[], [], [], [], ["shipment:SH77"]]
    assert {event["source"] for event in whole["evidence"]} == {
        "webshop-spans", "cardgate-spans", "depot-log", "haulier-edi",
    }  # fmt: skip
    assert (whole["drops"], whole["findings"]) == ([], [])
    # By its shipment's number alone it is the same one order.
    assert [found["transaction_id"] for found in journey.site.lookup("SH77")] == ["PO-1001"]

    # No status message came for one order, and no ship notice for another. Every witness was heard through what was due, so both
    # are stalled, each where it was last seen.
    for number, steps, since, missing in (("PO-1002", 4, "shipped", "delivered"), ("PO-1003", 3, "picked", "shipped")):
        found = journey.until(number, "stalled", steps)
        assert path_of(found) == STEPS[:steps]
        (drop,) = found["drops"]
        assert (drop["kind"], drop["from_step"], drop["to_step"]) == ("between", since, missing)
        assert drop["silent"] == []

    # It was only late.
    journey.deliver("SH78")
    assert path_of(journey.until("PO-1002", "completed", 5)) == STEPS
