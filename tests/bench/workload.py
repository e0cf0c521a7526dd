"""W1 of DESIGN.md §8: every event carries the transaction's key; ten events an order, about 265 bytes of JSON each."""

from __future__ import annotations

import json
from collections.abc import Iterator

# step, system, phase, µs after the order was placed
STEPS = (
    ("placed", "shop", "completed", 0),
    ("reviewed", "fraud", "completed", 5_000_000),
    ("paid", "payments", "received", 10_000_000),
    ("paid", "payments", "completed", 40_000_000),
    ("confirmed", "mailer", "completed", 60_000_000),
    ("picked", "warehouse", "started", 3_000_000_000),
    ("picked", "warehouse", "completed", 3_600_000_000),
    ("packed", "warehouse", "completed", 7_200_000_000),
    ("shipped", "carrier", "completed", 20_000_000_000),
    ("delivered", "carrier", "completed", 90_000_000_000),
)
START = 1_790_000_000_000_000
TOGETHER = 500


def events(orders: int) -> Iterator[tuple[bytes, bytes]]:
    """(record key, JSON) of every event: orders interleave as in life, ``TOGETHER`` of them at a time."""
    number = 0
    for first in range(0, orders, TOGETHER):
        for step, system, phase, after in STEPS:
            for order in range(first, min(first + TOGETHER, orders)):
                number += 1
                yield f"order:{order:09d}".encode(), event(order, number, step, system, phase, after)


def event(order: int, number: int, step: str, system: str, phase: str, after: int) -> bytes:
    """One event's JSON."""
    keys = {"order": f"{order:09d}", "parcel": f"{order:09d}-1", "customer": f"C{order % 50_000:06d}"}
    return json.dumps(
        {
            "id": f"{system}-1:{number:012d}",
            "system": system,
            "step": step,
            "phase": phase,
            "time": START + order * 1_000 + after,
            "keys": keys,
            "source": f"{system}-1",
            "epoch": 1,
            "seq": number,
            "attributes": {"amount": 25.5, "currency": "EUR", "parcels": 1} if step == "placed" else {"region": "eu"},
        },
        separators=(",", ":"),
    ).encode()
