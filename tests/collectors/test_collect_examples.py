"""The collectors that ship as examples: each is right, and every record of its sample gives the events that it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collectors.collector_file import read_collector
from collectors.reader import Reader
from collectors.sample import Told, try_sample
from schemas.times import format_time, parse_time
from tracer.privacy import Privacy

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples" / "collect"
NOW = parse_time("2026-03-02T12:00:00Z")


def tried(name: str, sample: str) -> list[Told]:
    file = read_collector(EXAMPLES / name)
    data = (EXAMPLES / sample).read_bytes()
    return list(try_sample(Reader(file, Privacy()), file.format, sample, [data[:70], data[70:]], NOW, 1000))


def said(told: list[Told]) -> list[tuple[Any, ...]]:
    assert not [reason for one in told for reason in one.quarantined]
    events = [event for one in told for event in one.events]
    assert len({event["id"] for event in events}) == len(events)
    return [
        (
            event["system"],
            event["step"],
            event["phase"],
            format_time(event["time"]),
            event["keys"],
            event.get("attributes", {}),
        )
        for event in events
    ]


def test_orders_by_x12_and_their_acknowledgements() -> None:
    told = tried("orders-850.yaml", "orders-850.edi")
    first, second = "EXAMPLESHOP:123456789:7:0001", "EXAMPLESHOP:123456789:7:0002"
    assert said(told) == [
        ("edi-gateway", "sent", "sent", "2026-03-01T15:36:00Z",
         {"order": "4711", "edi_set": first, "customer_order": "C-1042"}, {"amount": 105.9}),
        ("edi-gateway", "sent", "sent", "2026-03-01T15:36:00Z",
         {"order": "4712", "edi_set": second, "customer_order": "C-1043"}, {"amount": 19.95}),
        ("supplier", "acknowledged", "completed", "2026-03-01T16:04:00Z", {"edi_set": first}, {}),
        ("supplier", "acknowledged", "failed", "2026-03-01T16:04:00Z", {"edi_set": second}, {}),
    ]  # fmt: skip
    assert told[-1].events[0]["error"] == "PO1 at 4: code 8; element 7: code 7 AB12; code 5"


def test_a_mainframes_nightly_batch() -> None:
    header, line = {"amount": 105.9, "currency": "EUR"}, "2026-03-02T00:30:00Z"
    assert said(tried("billing.yaml", "billing.dat")) == [
        ("billing", "billed", "completed", line, {"order": "4711", "customer": "C-1042"}, header),
        ("billing", "line-billed", "completed", line, {"order": "4711", "line": "4711-AB12"}, {"quantity": 10}),
        ("billing", "line-billed", "completed", line, {"order": "4711", "line": "4711-CD34"}, {"quantity": 4}),
        ("billing", "billed", "completed", "2026-03-02T00:30:01Z", {"order": "4712", "customer": "C-1043"},
         {"amount": 19.95, "currency": "EUR"}),
        ("billing", "line-billed", "completed", "2026-03-02T00:30:01Z", {"order": "4712", "line": "4712-AB12"}, {"quantity": 1}),
    ]  # fmt: skip


def test_every_example_is_tried() -> None:
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == {"orders-850.yaml", "billing.yaml"}
