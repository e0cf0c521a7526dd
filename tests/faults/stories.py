"""Transactions of every flow that ships, short, with what goes wrong in them; as events and as records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from schemas.flow import Flows
from schemas.flow_file import load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import SHIPPED_FLOWS, load_landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND, format_time, parse_time
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record, partition_of

START = parse_time("2026-03-02T09:00:00Z")  # a Monday
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
Event = dict[str, Any]

ORDER = (
    "placed 0m, paid 1m received, paid 2m, confirmed 5m, picked 1d, packed 1.2d #p1, shipped 1.5d #p1, delivered 3d #p1"
)
_ORDER: Event = {"parcels": 1, "promised_at": format_time(START + 3 * DAY), "amount": 20, "currency": "EUR"}
_NIGHT: Event = {"deadline": format_time(START + 9 * HOUR)}
_MOVE: Event = {"switch_by": format_time(START + 20 * DAY)}

STORIES: list[tuple[str, str, Event]] = [
    ("order", ORDER, _ORDER),
    ("order", "placed 0m", _ORDER),
    ("order", "placed 0m, paid 1m received", _ORDER),
    ("order", "placed 0m, paid 1m failed", _ORDER),
    ("order", "placed 0m, paid 1m failed, paid 4m failed, paid 6m, confirmed 7m", _ORDER),
    ("order", "placed 0m, paid 2m, paid 3m, confirmed 5m, picked 1d", _ORDER),  # charged twice
    ("order", ORDER.replace("confirmed 5m, ", ""), _ORDER),
    ("order", ORDER, {**_ORDER, "parcels": 3}),  # two of three are missing
    ("order", ORDER.replace("shipped 1.5d", "shipped 3.5d").replace("delivered 3d", "delivered 4d"), _ORDER),  # late
    ("order", ORDER.replace("paid 1m received, paid 2m", "paid 2m").replace("placed 0m", "placed 3m"), _ORDER),  # disorder
    ("order", ORDER.partition("placed 0m, ")[2], _ORDER),  # without a start
    ("order", "placed 0m, rejected 1m", _ORDER),
    ("order", "placed 0m, paid 2m, cancelled 5m, refunded 1d", _ORDER),
    ("order", "placed 0m, paid 2m, cancelled 5m", _ORDER),
    ("order", "placed 0m", {**_ORDER, "test": "true"}),
    ("checkout", "opened 0m, checked_out 5m, placed 8m", {}),
    ("checkout", "opened 0m", {}),
    ("checkout", "opened 0m, checked_out 20m", {}),
    ("login", "requested 0s, password 1s, security_check 2s, session 3s", {}),
    ("login", "requested 0s, password 1s received", {}),
    ("login", "requested 0s, password 1s, blocked 2s", {}),
    ("statement", "scheduled 0h, produced 2h, printed 5h, posted 8h", _NIGHT),
    ("statement", "scheduled 0h, produced 2h", _NIGHT),
    ("statement", "scheduled 0h, suppressed 1h", _NIGHT),
    ("service-move", "ordered 0d, old_line_ended 9d, new_line_started 10d, billing_transferred 12d, finished 13d", _MOVE),
    ("service-move", "ordered 0d, new_line_started 10d, billing_transferred 12d", _MOVE),
    ("service-move", "ordered 0d, cancelled 3d", _MOVE),
]  # fmt: skip


@cache
def definitions() -> tuple[Flows, Landscape]:
    """The flows that ship, under a landscape that tolerates no blind time."""
    landscape = load_landscape([SHIPPED_FLOWS])
    return load_flows([SHIPPED_FLOWS], landscape), landscape.model_copy(update={"tolerate": 0.0})


def told(flow_name: str, name: str, story: str, attributes: Event, start: int = START) -> list[Event]:
    """Events of ``"placed 0m, paid 2m failed, packed 1d #p1"``; the first carries the attributes."""
    flow = definitions()[0].latest(flow_name)
    events = []
    for number, part in enumerate(story.split(", ")):
        step, after, *rest = part.split()
        phase = next((word for word in rest if not word.startswith("#")), "completed")
        marks = [word[1:] for word in rest if word.startswith("#")]
        parcels = {"parcel": f"{name}-{marks[0]}".upper()} if marks else {}
        events.append(
            {
                "id": f"{name}/{number}", "system": flow.steps[step].system, "step": step, "phase": phase,
                "time": start + int(float(after[:-1]) * _UNITS[after[-1]]), "keys": {flow.key: name, **parcels},
                "attributes": attributes if number == 0 else {},
            }
            | ({"error": "declined"} if phase == "failed" else {})
        )  # fmt: skip
    return events


def stories(copies: int = 1) -> list[list[Event]]:
    """The events of every story, ``copies`` times; and carts that become orders in one event, which is sent once."""
    found = []
    for copy in range(copies):
        for number, (flow, story, attributes) in enumerate(STORIES):
            found.append(told(flow, f"{flow}-{number}-{copy}", story, attributes))
        cart, order = f"c{copy}", f"o{copy}"
        opened, placed = told("checkout", cart, "opened 0m, placed 8m", {})
        placed = {**placed, "keys": {"cart": cart, "order": order}, "attributes": {"amount": 5, "currency": "EUR"}}
        found.append([opened, placed])
    return found


def records_of(
    events: Sequence[Event], *, each: int = 1, source: str = "app", epoch: int = 1, partitions: int = 1,
    at: int | None = None,
) -> list[Record]:  # fmt: skip
    """Records of ``each`` events. Keyed and placed as an emitter does it, by the first key that names a transaction; ``at``
    puts all into one partition, as a producer that knows nothing would."""
    homes: dict[int, list[Event]] = {}
    for event in events:
        homes.setdefault(partition_of(key_of(event), partitions) if at is None else at, []).append(event)
    headers = ((KIND, b"event"), (SOURCE, source.encode()), (EPOCH, b"%d" % epoch))
    found = []
    for home, own in homes.items():
        for begin in range(0, len(own), each):
            part = own[begin : begin + each]
            body = b"\n".join(json.dumps(event).encode() for event in part)
            found.append(Record(EVENTS, key_of(part[0]), body, headers, home))
    return found


def key_of(event: Event) -> bytes:
    types = definitions()[1].transaction_types()
    name = next((name for name in types if name in event["keys"]), next(iter(event["keys"])))
    return f"{name}:{event['keys'][name]}".encode()


def systems() -> list[str]:
    return sorted({step.system for flow in definitions()[0].all() for step in flow.steps.values()})


def flat(told_: Iterable[Iterable[Event]]) -> list[Event]:
    return [event for story in told_ for event in story]
