"""kcat: lines and CloudEvents that somebody puts into a topic, keyed and not, compressed and not; and a collector that is killed
while it reads them. Each is an event, once, or quarantined.
"""

from __future__ import annotations

import json

import pytest

from collectors.inputs.kafka import KafkaInput
from pipeline.log.contract import GROUP
from tests.peers.programs import kcat, until
from tests.peers.site import Site, numbered

LINES = 5000

pytestmark = pytest.mark.peers("kcat")


def line(number: int, step: str = "placed") -> str:
    return f"2026-03-01T10:{number // 100 % 60:02d}:{number % 60:02d}.25Z INFO order k-{number} {step}\n"


def test_lines_in_every_compression(site: Site) -> None:
    topic = site.topic("lines")
    for begin, codec in enumerate(["none", "gzip", "snappy", "lz4", "zstd"]):
        numbers = range(50 * begin, 50 * begin + 50)
        kcat(site.broker, topic, "".join(map(line, numbers)), "-z", codec)
        kcat(site.broker, topic, "".join(f"k{n}|{line(n, 'booked')}" for n in numbers), "-z", codec, "-K|")
        kcat(site.broker, topic, f"2026-03-01T10:00:00Z WARN {codec}: no order at all\n", "-z", codec)
    site.collect_once(site.declare("lines-kafka.yaml", topic="lines"))
    came = site.judged()
    assert came.steps() == {("placed", "completed"): 250, ("booked", "completed"): 250}
    assert came.orders("placed") == came.orders("booked") == numbered("k", range(250))
    assert len(came.quarantined) == 5


def test_the_group_of_our_own_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="Lastseen's own workers"):
        KafkaInput(url="kafka://127.0.0.1:9092/", topics=("lines",), group=GROUP)


def test_cloudevents(site: Site) -> None:
    topic = site.topic("cloudevents")
    common = {"specversion": "1.0", "source": "/shop", "time": "2026-03-01T10:00:00Z"}
    for number in range(3):
        about = common | {"type": "shop.order.placed", "id": str(number), "subject": f"ce-{number}"}
        headers = [word for name, value in about.items() for word in ("-H", f"ce_{name}={value}")]
        kcat(site.broker, topic, '{"amount": 12.5}\n', "-H", "content-type=application/json", *headers)
    structured = [
        json.dumps(
            common | {"type": "shop.order.booked", "id": f"b{number}", "subject": f"ce-{number}", "data": {"n": number}}
        )
        for number in range(3)
    ]
    kcat(
        site.broker,
        topic,
        "\n".join(structured) + "\n",
        "-H",
        "content-type=application/cloudevents+json; charset=UTF-8",
    )
    kcat(site.broker, topic, '{"specversion": "1.0"}\n', "-H", "content-type=application/cloudevents+json")
    site.collect_once(site.declare("cloudevents-kafka.yaml", topic="cloudevents"))
    came = site.judged()
    assert came.steps() == {("placed", "completed"): 3, ("booked", "completed"): 3}
    assert came.orders("placed") == came.orders("booked") == numbered("ce", range(3))
    assert len(came.quarantined) == 1


def test_a_collector_is_killed_while_it_reads(site: Site) -> None:
    topic = site.topic("lines", 2)
    file = site.declare("lines-kafka.yaml", topic="lines")
    kcat(site.broker, topic, "".join(map(line, range(LINES))))
    for _ in range(2):
        there = site.records()
        collector = site.collect(file)
        until(lambda there=there: site.records() > there, collector.said)  # type: ignore[misc]
        collector.kill()
    kcat(site.broker, topic, "".join(line(number, "booked") for number in range(LINES)))
    site.collect_once(file)
    came = site.judged()
    assert came.steps() == {("placed", "completed"): LINES, ("booked", "completed"): LINES}
    assert came.orders("placed") == came.orders("booked") == numbered("k", range(LINES))
    assert not came.quarantined
    assert came.statuses == {"completed": LINES}
