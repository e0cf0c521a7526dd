"""The workloads of DESIGN.md §8, as (record key, JSON) of every event.

W1: every event carries the transaction's key; ten events an order, about 265 bytes of JSON each.
W2: three aliases (payment; parcel, shared; trace, weak), half of the events without the order's number.
W3: one more event for orders that have long been open, 90 % of which the worker does not hold in memory.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

MINUTE = 60_000_000
HOUR = 60 * MINUTE
START = 1_790_000_000_000_000
TOGETHER = 500
# Of W3's events: those that hit an order which was hit shortly before, and is therefore in memory.
AGAIN = 0.1


class Told(NamedTuple):
    """One event of a story. ``after``: µs after its beginning. ``keys``: the key types it names."""

    step: str
    system: str
    phase: str
    after: int
    keys: tuple[str, ...] = ("order", "parcel", "customer")
    second: bool = False
    """Of the order's second parcel."""


W1 = (
    Told("placed", "shop", "completed", 0),
    Told("reviewed", "fraud", "completed", 5_000_000),
    Told("paid", "payments", "received", 10_000_000),
    Told("paid", "payments", "completed", 40_000_000),
    Told("confirmed", "mailer", "completed", 60_000_000),
    Told("picked", "warehouse", "started", 3_000_000_000),
    Told("picked", "warehouse", "completed", 3_600_000_000),
    Told("packed", "warehouse", "completed", 7_200_000_000),
    Told("shipped", "carrier", "completed", 20_000_000_000),
    Told("delivered", "carrier", "completed", 90_000_000_000),
)
W2 = (
    Told("placed", "shop", "completed", 0, ("order", "payment", "customer")),
    Told("reviewed", "fraud", "completed", 5_000_000, ("order", "trace")),
    Told("paid", "payments", "received", 10_000_000, ("payment", "trace")),
    Told("paid", "payments", "completed", 40_000_000, ("payment",)),
    Told("confirmed", "mailer", "completed", 60_000_000, ("trace",)),
    Told("picked", "warehouse", "started", 3_000_000_000, ("order",)),
    Told("picked", "warehouse", "completed", 3_600_000_000, ("order",)),
    Told("packed", "warehouse", "completed", 7_200_000_000, ("order", "parcel")),
    Told("shipped", "carrier", "completed", 20_000_000_000, ("parcel",)),
    Told("delivered", "carrier", "completed", 90_000_000_000, ("parcel",)),
)
# Open: nothing is due before the warehouse's two days are over.
OPEN = (
    Told("placed", "shop", "completed", 0),
    Told("paid", "payments", "completed", 2 * MINUTE),
    Told("confirmed", "mailer", "completed", 3 * MINUTE),
)
# Open after ten events: of two parcels one was packed.
OPEN_LONG = (
    Told("placed", "shop", "completed", 0),
    Told("reviewed", "fraud", "completed", 5_000_000),
    Told("reviewed", "fraud", "completed", 50_000_000),
    Told("paid", "payments", "received", 1 * MINUTE),
    Told("paid", "payments", "completed", 2 * MINUTE),
    Told("confirmed", "mailer", "completed", 3 * MINUTE),
    Told("picked", "warehouse", "received", 50 * MINUTE),
    Told("picked", "warehouse", "started", 55 * MINUTE),
    Told("picked", "warehouse", "completed", 60 * MINUTE),
    Told("packed", "warehouse", "completed", 70 * MINUTE),
)
# Few events that make a whole, for millions of them: a login.
LOGIN = ("login", "trace")
COMPLETED = (
    Told("requested", "portal", "completed", 0, LOGIN),
    Told("password", "identity", "completed", 1_000_000, LOGIN),
    Told("security_check", "security", "completed", 2_000_000, LOGIN),
    Told("session", "sessions", "completed", 3_000_000, LOGIN),
)
LOST = COMPLETED[:2]
# A move whose new line is awaited: the deadline is an attribute.
MOVE = (Told("ordered", "crm", "completed", 0, ("move", "customer")),)
NEXT = Told("picked", "warehouse", "received", 0)


def line(told: Told, number: int, start: int, seq: int, attributes: dict[str, object] | None = None) -> bytes:
    """One event's JSON. ``number``: of the order; ``seq``: the source's running number."""
    return json.dumps(
        {
            "id": f"{told.system}-1:{seq:012d}",
            "system": told.system,
            "step": told.step,
            "phase": told.phase,
            "time": start + told.after,
            "keys": {kind: value_of(kind, number, second=told.second) for kind in told.keys},
            "source": f"{told.system}-1",
            "epoch": 1,
            "seq": seq,
            "attributes": attributes or _attributes(told),
        },
        separators=(",", ":"),
    ).encode()


def _attributes(told: Told) -> dict[str, object]:
    return {"amount": 25.5, "currency": "EUR", "parcels": 1} if told.step == "placed" else {"region": "eu"}


def value_of(kind: str, number: int, *, second: bool = False) -> str:
    """What an order's number of this kind is."""
    if kind == "parcel":
        return f"{number:09d}-{2 if second else 1}"
    if kind == "customer":
        return f"C{number % 50_000:06d}"
    return f"{number:09d}" if kind in ("order", "move") else f"{kind[:2]}{number:09d}"


def events(story: tuple[Told, ...], orders: int, start: int = START) -> Iterator[tuple[bytes, bytes]]:
    """Orders interleave as in life, ``TOGETHER`` of them at a time. A sender keys by the order where the event names it,
    otherwise by the first key."""
    seq = 0
    for first in range(0, orders, TOGETHER):
        for told in story:
            kind = told.keys[0]
            for order in range(first, min(first + TOGETHER, orders)):
                seq += 1
                yield f"{kind}:{value_of(kind, order)}".encode(), line(told, order, start + order * 1_000, seq)


def later(count: int, opened: int, start: int, seed: int) -> Iterator[tuple[bytes, bytes]]:
    """W3: ``count`` events, each for an order out of ``opened``: at random, but ``AGAIN`` of them for one that was hit before."""
    dice = random.Random(seed)
    recent: list[int] = []
    for seq in range(1, count + 1):
        again = recent and dice.random() < AGAIN
        order = dice.choice(recent) if again else dice.randrange(opened)
        recent.append(order)
        yield f"order:{order:09d}".encode(), line(NEXT, order, start, seed * 10_000_000 + seq)
