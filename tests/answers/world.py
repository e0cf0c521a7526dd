"""A small world in a store: a shop with orders and carts, written by hand, for the answers and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

from pipeline.answers.judging import Bench
from pipeline.core.hearing import FOREVER, NEVER
from pipeline.store.contract import (
    EventRow,
    FlipRow,
    HearingRow,
    KeyRow,
    ParkedRow,
    QuarantineRow,
    Reader,
    SourceRow,
    Store,
    VerdictRow,
)
from schemas import wire
from schemas.flow import Flow, Flows
from schemas.landscape import KeyType, Landscape, System
from schemas.times import DAY, HOUR, MINUTE, SECOND, parse_time
from schemas.verdict import VERDICT, Drop, DropKind, Finding, FindingKind, Status, Verdict, Witness
from schemas.wire import Observed

ZONE = "America/New_York"
# The report's day: clocks go forward in it, so it has 23 hours.
DAY_D = "2026-03-08"
BEGIN = parse_time("2026-03-08T00:00:00-05:00")
END = parse_time("2026-03-09T00:00:00-04:00")
NOW = END + 10 * HOUR

LANDSCAPE = Landscape(
    zone=ZONE,
    keys={
        "order": KeyType(transaction=True, customer_knows=True, leading_zeros="drop", says="order number"),
        "cart": KeyType(transaction=True, says="cart"),
        "payment": KeyType(customer_knows=True, case="upper", says="payment reference"),
        "customer": KeyType(customer_knows=True, says="customer number"),
    },
    systems={"shop": System(says="the web shop"), "payments": System(says="the payment service")},
)
ORDER = Flow.model_validate(
    {
        "flow": "order", "version": 1, "key": "order", "by": ["order"], "keys": {"payment": "alias", "customer": "search"},
        "value": "amount", "lost_after": "2d",
        "steps": {
            "placed": {"system": "shop", "start": True},
            "paid": {"system": "payments", "after": "placed", "within": "1h", "reports": ["received", "completed", "failed"]},
            "shipped": {"system": "warehouse", "after": "paid", "within": "1d", "end": "completed"},
        },
    }
)  # fmt: skip
CART = Flow.model_validate(
    {
        "flow": "checkout", "version": 1, "key": "cart", "by": ["cart"],
        "steps": {
            "opened": {"system": "shop", "start": True},
            "ordered": {"system": "shop", "after": "opened", "end": "completed"},
        },
    }
)  # fmt: skip
FLOWS = Flows([ORDER, CART])

PLACE = {"from_step": "placed", "from_system": "shop", "to_step": "paid", "system": "payments"}


def event(id_: str, step: str, time: int, keys: dict[str, str], **more: object) -> Observed:
    system = {"placed": "shop", "paid": "payments", "shipped": "warehouse", "opened": "shop", "ordered": "shop"}[step]
    values = {"source": f"{system}-1", "epoch": 7, "recorded_at": time + SECOND, **more}
    return Observed(id=id_, system=system, step=step, time=time, keys=keys, **values)  # type: ignore[arg-type]


def write_events(reader: Reader, key_type: str, id_: str, *events: Observed) -> None:
    """With the keys by which they are found."""
    store = cast("Store", reader)
    store.write_events([EventRow(key_type, id_, one, wire.encode([one])) for one in events])
    keys = {(kind, value): one.time for one in reversed(events) for kind, value in one.keys.items()}
    store.write_keys([KeyRow(kind, value, key_type, id_, seen) for (kind, value), seen in keys.items()])


def keep(reader: Reader, kind: str, value: str, kept_at: int, id_: str, step: str = "paid") -> None:
    """An event that names no transaction, kept under one number; it happened a minute before it came."""
    one = event(id_, step, kept_at - MINUTE, {kind: value})
    row = ParkedRow(f"{id_}|{kind}:{value}", kind, value, 0, one, wire.encode([one]), kept_at)
    cast("Store", reader).write_parked([row])


def write_verdict(reader: Reader, key_type: str, id_: str, said: Verdict, *, version: int = 1) -> VerdictRow:
    store = cast("Store", reader)
    drop = said.drop
    row = VerdictRow(
        key_type, id_, said.flow, said.version, 0, version, said.status.value, bool(said.drops), said.started_at, said.last_at,
        said.ended_at or 0, NOW, findings=tuple(f.kind.value for f in said.findings), value=said.value,
        currency=said.currency, excluded=said.excluded, flip=9,
        body=VERDICT.dump_json(replace(said, hops=(), edges=())).decode() if said.drops or said.findings else "",
    )  # fmt: skip
    if drop is not None:
        row = row._replace(
            drop_kind=drop.kind.value, drop_from=drop.from_step or "", drop_to=drop.to_step, drop_system=drop.system,
            drop_from_system=drop.from_system or "", drop_since=drop.since, drop_due=drop.due,
        )  # fmt: skip
    store.write_verdicts([row])
    return row


def write_flip(reader: Reader, key_type: str, id_: str, number: int, at: int, before: str, said: Verdict) -> None:
    store = cast("Store", reader)
    drop = said.drop
    place = {} if drop is None else {
        "drop_kind": drop.kind.value, "drop_from": drop.from_step or "", "drop_to": drop.to_step, "drop_system": drop.system,
    }  # fmt: skip
    store.write_flips([FlipRow(key_type, id_, said.flow, number, 1, at, before, said.status.value, **place)])  # type: ignore[arg-type]


def missing(status: Status, since: int, due: int, **more: object) -> Verdict:
    """An order that dropped between shop and payments."""
    kind = DropKind.FAILED if status == Status.FAILED else DropKind.IN_TRANSIT
    options = {name: more.pop(name) for name in ("silent", "error") if name in more}
    drop = Drop(status, kind, since=since, due=due, **PLACE, **options)  # type: ignore[arg-type]
    values = {
        "started_at": since,
        "last_at": since,
        "drops": (drop,),
        "completeness": (Witness("payments", NOW),),
        **more,
    }
    return Verdict("order", 1, status, **values)  # type: ignore[arg-type]


def done(started: int, ended: int, flow: str = "order", **more: object) -> Verdict:
    return Verdict(flow, 1, Status.COMPLETED, started, ended, ended, **more)  # type: ignore[arg-type]


def fill(reader: Reader) -> Bench:
    """Customer C7 has order 17 (lost), order 18 (completed) and a cart that is called 17 as well; order 19 is not judged yet."""
    store = cast("Store", reader)
    when = BEGIN + 9 * HOUR
    keys = {"order": "17", "payment": "PAY-1", "customer": "C7"}
    write_events(
        store, "order", "17", event("e1", "placed", when, keys),
        event("e2", "paid", when + MINUTE, keys, phase="received", recorded_at=when + 5 * HOUR),
    )  # fmt: skip
    lost = missing(Status.LOST, when, when + HOUR, value=49.9, currency="EUR")
    write_verdict(store, "order", "17", lost, version=2)
    write_flip(store, "order", "17", 1, when + SECOND, "", Verdict("order", 1, Status.IN_PROGRESS, when, when))
    write_flip(store, "order", "17", 2, when + 2 * HOUR, "in_progress", missing(Status.STALLED, when, when + HOUR))
    write_flip(store, "order", "17", 3, NOW - HOUR, "stalled", lost)
    older = BEGIN - 2 * DAY
    keys = {"order": "18", "payment": "PAY-2", "customer": "C7"}
    write_events(
        store, "order", "18", event("f1", "placed", older, keys), event("f2", "paid", older + MINUTE, keys),
        event("f3", "shipped", older + 3 * HOUR, keys),
    )  # fmt: skip
    late = (Finding(FindingKind.LATE, "paid", "payments", "", 5 * MINUTE),)
    write_verdict(store, "order", "18", done(older, older + 3 * HOUR, findings=late, value=10.0, currency="EUR"))
    write_events(store, "cart", "17", event("g1", "opened", when - HOUR, {"cart": "17", "customer": "C7"}))
    write_verdict(store, "cart", "17", done(when - HOUR, when, "checkout"))
    write_events(store, "order", "19", event("h1", "placed", NOW - MINUTE, {"order": "19", "customer": "C8"}))
    write_hearing(store)
    return Bench(store, FLOWS, LANDSCAPE, lambda: NOW)


def write_hearing(
    reader: Reader, known_at: int = NOW, deaf: tuple[tuple[int, int], ...] = (), clock: int = NOW
) -> None:
    """Shop and payments were heard (payments but for ``deaf``), the warehouse is silent since the day began."""
    store = cast("Store", reader)
    silent = ((NEVER, BEGIN - 30 * DAY), (BEGIN, FOREVER))
    systems = {"shop": (clock, (), False), "payments": (clock, deaf, False), "warehouse": (BEGIN, silent, True)}
    rows = [HearingRow("", "control", "", 0, 0, known_at, known_at - MINUTE, "", known_at)]
    for name, (heard, gaps, mute) in systems.items():
        detail = json.dumps({"deaf": gaps, "silent": mute})
        rows.append(HearingRow(name, "system", "", 0, 0, heard, 0, detail, known_at))
    store.write_hearing(rows)
    source = SourceRow("shop-1", 7, ("shop",), "live", BEGIN, NOW, NOW, NOW, 2 * SECOND, 0, 100, 0, NOW)
    mute_one = SourceRow(
        "wh\x1b[31m-1", 7, ("warehouse",), "silent", BEGIN, BEGIN, BEGIN, BEGIN, 2 * SECOND, 3 * SECOND, 5, 1, NOW
    )
    store.write_sources([source, mute_one])


def quarantined(id_: str = "lastseen.events:0:5:1", **more: object) -> QuarantineRow:
    good = b'{"id":"q1","system":"shop","step":"placed","time":1770000000000000,"keys":{"order":"31"}}'
    headers = json.dumps(
        {"ls-source": "shop-1", "ls-epoch": "7", "content-encoding": "lz4", "ls-count": "9", "ls-depth": "3"}
    )
    values = {
        "at": NOW,
        "source": "shop-1",
        "epoch": 7,
        "reason": "not JSON",
        "field": "",
        "payload": good,
        "key": b"order:31",
    }
    return QuarantineRow(id_, **{"headers": headers, **values, **more})  # type: ignore[arg-type]
