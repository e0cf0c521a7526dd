"""rsyslog as people run it: lines that applications log over syslog and into files, on to Kafka raw and as JSON, and straight to
our syslog input over TCP. Each line is an event, once, or quarantined.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kafka_broker import free_ports
from tests.peers.programs import Rsyslog, until
from tests.peers.site import Site, numbered

LINES = 50

pytestmark = pytest.mark.peers("rsyslog")


def spoken(rsyslog: Rsyslog) -> None:
    """Over syslog, by ``logger``."""
    rsyslog.log(*(f'order=spoken-{number} step=placed text="it\'s \\"so\\" – ü"' for number in range(LINES)))


def test_by_kafka(site: Site, tmp_path: Path) -> None:
    raw, as_json = site.topic("raw"), site.topic("json")
    rsyslog = Rsyslog(tmp_path, "lastseen.conf", KAFKA_BROKERS=site.broker, RAW_TOPIC=raw, JSON_TOPIC=as_json)
    site.programs.append(rsyslog)
    spoken(rsyslog)
    with rsyslog.file.open("a") as file:
        for number in range(LINES):
            file.write(json.dumps({"order": f"written-{number}", "step": "booked", "text": "«ü»\t\\"}) + "\n")
    until(lambda: all(len(site.messages(topic)) >= 2 * LINES for topic in (raw, as_json)), rsyslog.said)
    assert rsyslog.stop() == 0
    site.collect_once(site.declare("syslog-kafka.yaml", topic="raw"), site.declare("json-kafka.yaml", topic="json"))
    came = site.judged()
    assert came.steps() == {("placed", "completed"): LINES, ("booked", "completed"): LINES}
    assert came.orders("placed") == numbered("spoken", range(LINES))
    assert came.orders("booked") == numbered("written", range(LINES))
    # In each topic the other half: JSON is no logfmt, and what was spoken has no place in a file.
    assert len(came.quarantined) == 2 * LINES


def test_over_tcp(site: Site, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    receiver = site.collect(site.declare("syslog-tcp.yaml", port=port), ready="collecting into")
    env = {"LASTSEEN_SYSLOG_HOST": "127.0.0.1", "LASTSEEN_SYSLOG_PORT": str(port)}
    rsyslog = Rsyslog(tmp_path, "lastseen-tcp.conf", **env)
    site.programs.append(rsyslog)
    spoken(rsyslog)
    with rsyslog.file.open("a") as file:
        for number in range(LINES):
            file.write(f"order=written-{number} step=booked\n")
        file.write("order=written-nowhere and nothing more\n")
    until(lambda: sum(len(found) for found in site.appended()) > 2 * LINES, receiver.said)
    assert rsyslog.stop() == 0
    assert receiver.stop() == 0, receiver.said()
    came = site.judged()
    assert came.steps() == {("placed", "completed"): LINES, ("booked", "completed"): LINES}
    assert came.orders("placed") == numbered("spoken", range(LINES))
    assert came.orders("booked") == numbered("written", range(LINES))
    assert len(came.quarantined) == 1
