"""Northwind once more, and its warehouse never heard of an order number: it ships under tracking numbers made for the test.

Which tracking number is whose says a third system, by one event for each order; or two of them, by way of a parcel. Whatever comes
first, what is said of the orders is what is said where every event names its order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from pipeline.log.memory import MemoryLog
from pipeline.store.contract import Store, VerdictQuery
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from schemas import wire
from schemas.control import Goodbye, decode_control, encode_control
from schemas.flow import Flows
from schemas.flow_file import SHIPPED_FLOWS, load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import load_landscape
from tests.integration.test_northwind import DATABASE, EXAMPLE, Said, Truth, check, drain, load, said, truth
from tracer.record import CONTROL, EVENTS, Record, partition_of

__all__ = ["truth"]

pytestmark = pytest.mark.skipif(not DATABASE.exists(), reason=f"no Northwind database at {DATABASE}")

# Seventeen is no divisor: every order has a number of its own, which looks like no other's order number.
TRACKING = "'1Z' || ((OrderID * 7919) % 100003)"
PARCEL = "'box-' || ((OrderID * 31) % 10007)"
ORDERS, LABELS, SHIPPED = "orders", "labels", "shipped"

FLOW = """
flow: northwind
version: 1
key: order
by: [order]
keys: {customer: search, tracking: alias, parcel: alias}
value: amount
currency: currency
lost_after: 60d
steps:
  placed: {system: orders, start: true}
  labelled: {system: labels, after: placed, optional: true, by: [LABEL, tracking]}
  shipped: {system: shipping, after: placed, due: required_at, end: completed, by: [tracking]}
"""


class Variant(NamedTuple):
    """``files``: mappings to load, by what they say. ``undeclared``: the flow does not say what events carry."""

    flow: str
    files: tuple[str, ...]
    events: int


PACKED = "  packed: {system: packing, after: placed, optional: true, by: [order, parcel]}\n"
DIRECT = Variant(FLOW.replace("LABEL", "order"), (ORDERS, LABELS, SHIPPED), 830 + 830 + 809)
CHAIN = Variant(
    FLOW.replace("LABEL", "parcel") + PACKED, (ORDERS, "packing", "manifest", SHIPPED), 830 + 830 + 830 + 809
)
NO_BY = DIRECT._replace(
    flow="".join(line.partition(", by:")[0] + "}\n" if ", by:" in line else f"{line}\n" for line in DIRECT.flow.splitlines())
    .replace("by: [order]\n", "")
)  # fmt: skip


def mapping(name: str) -> dict[str, object]:
    """The example's mapping, of which only one part is told; or what says which number is whose."""
    shipped = yaml.safe_load((EXAMPLE / "mapping.yaml").read_text(encoding="utf-8"))
    query = shipped["query"].replace("SELECT ", f"SELECT {TRACKING} AS Tracking, {PARCEL} AS Parcel, ", 1)
    query = query.replace("(OrderID", "(o.OrderID")
    placed, sent = shipped["events"]
    order, parcel, tracking = {"order": "OrderID"}, {"parcel": "Parcel"}, {"tracking": "Tracking"}
    label = {"step": "labelled", "system": "labels", "time": "OrderDate"}
    event = {
        ORDERS: placed,
        SHIPPED: {**sent, "keys": tracking},
        LABELS: {**label, "keys": order | tracking},
        "manifest": {**label, "keys": parcel | tracking},
        "packing": {**label, "step": "packed", "system": "packing", "keys": order | parcel},
    }[name]
    return {**shipped, "mapping": name, "query": query, "events": [event]}


@pytest.fixture
def setting(tmp_path: Path) -> Callable[[Variant], tuple[Flows, Landscape]]:
    """Writes a variant's files into ``tmp_path`` and reads them as any other."""

    def write(variant: Variant) -> tuple[Flows, Landscape]:
        landscape = yaml.safe_load((EXAMPLE / "landscape.yaml").read_text(encoding="utf-8"))
        landscape["keys"] |= {"tracking": {"case": "upper"}, "parcel": {}}
        # Until its list was loaded, a system was not heard.
        for system in ("orders", "shipping", "labels", "packing"):
            landscape["systems"][system] = {"reporting": "scheduled", "assume": "silent"}
        (tmp_path / "landscape.yaml").write_text(yaml.safe_dump(landscape))
        (tmp_path / "flow.yaml").write_text(variant.flow)
        for name in variant.files:
            (tmp_path / f"map-{name}.yaml").write_text(yaml.safe_dump(mapping(name), sort_keys=False))
        folders = [SHIPPED_FLOWS, tmp_path]
        read = load_landscape(folders)
        return load_flows(folders, read), read

    return write


@pytest.fixture(scope="module")
def plain() -> dict[str, Said]:
    """What is said where every event names its order."""
    landscape = load_landscape([SHIPPED_FLOWS, EXAMPLE])
    log, store = MemoryLog(4), MemoryStore()
    load(log, landscape)
    drain(log, store, (load_flows([SHIPPED_FLOWS, EXAMPLE], landscape), landscape))
    return said(store)


def same(store: Store, plain: dict[str, Said], truth: Truth, events: int) -> None:
    found = said(store)
    check(found, truth)
    assert found == plain, "with the same drops, times and money"
    assert store.count_parked() == 0
    assert store.count_events() == events


@pytest.mark.parametrize("order", list(permutations(DIRECT.files)), ids="-".join)
def test_one_file_after_the_other_each_processed_before_the_next(
    order: Sequence[str], plain: dict[str, Said], truth: Truth, tmp_path: Path,
    setting: Callable[[Variant], tuple[Flows, Landscape]],
) -> None:  # fmt: skip
    """Nobody is accused falsely meanwhile: who knows whose number it is, is a witness of the shipment."""
    definitions = setting(DIRECT)
    log, store = MemoryLog(3), MemoryStore()
    for number, name in enumerate(order, 1):
        load(log, definitions[1], tmp_path / f"map-{name}.yaml")
        drain(log, store, definitions)
        if number < len(order):
            accused = {
                row.transaction_id for row in store.verdicts(VerdictQuery()) if row.status in ("lost", "stalled")
            }
            assert accused == (set() if {*order[:number]} != {LABELS, SHIPPED} else set(truth.unshipped))
    same(store, plain, truth, DIRECT.events)


@pytest.mark.parametrize("variant", [DIRECT, CHAIN, NO_BY], ids=["links", "by way of parcels", "nothing declared"])
def test_everything_shuffled(
    variant: Variant, plain: dict[str, Said], truth: Truth, tmp_path: Path,
    setting: Callable[[Variant], tuple[Flows, Landscape]],
) -> None:  # fmt: skip
    """Every event a record of its own, in any order, some of them in a wrong partition; batches of any size."""
    definitions = setting(variant)
    for seed in range(2):
        chance = random.Random(seed)
        log, store = MemoryLog(4), MemoryStore()
        events, controls = records(variant, definitions[1], tmp_path)
        chance.shuffle(events)
        sink = log.producer()
        sink.produce([one._replace(partition=chance.randrange(4)) if chance.random() < 0.1 else one for one in events])
        ends = {number: part.end for number, part in enumerate(log.broker.topics[EVENTS])}
        for record in controls:
            control = decode_control(record.value)
            if isinstance(control, Goodbye):
                record = record._replace(value=encode_control(control.model_copy(update={"acked": ends})))
            sink.produce([record])
        drain(log, store, definitions)
        same(store, plain, truth, variant.events)


def records(variant: Variant, landscape: Landscape, folder: Path) -> tuple[list[Record], list[Record]]:
    """What a load of each file writes: events, one each, and control."""
    log = MemoryLog(4)
    for name in variant.files:
        load(log, landscape, folder / f"map-{name}.yaml")
    events = []
    for partition in log.broker.topics[EVENTS]:
        for row in partition.rows:
            headers = tuple(pair for pair in row.headers if pair[0] != "content-encoding")
            for line in lines_of(row.value, row.headers):
                keys = json.loads(line)["keys"]
                name = next(iter(sorted(keys, key=lambda kind: kind != "order")))
                key = f"{name}:{keys[name]}".encode()
                events.append(Record(EVENTS, key, line, headers, partition_of(key, 4)))
    control = [Record(CONTROL, row.key, row.value, (), 0) for row in log.broker.topics[CONTROL][0].rows]
    return events, control


def lines_of(value: bytes, headers: tuple[tuple[str, bytes], ...]) -> list[bytes]:
    return wire.decompress(value, dict(headers).get(wire.ENCODING, b"").decode()).split(b"\n")


def test_by_way_of_parcels_on_the_embedded_store(
    plain: dict[str, Said], truth: Truth, tmp_path: Path,
    setting: Callable[[Variant], tuple[Flows, Landscape]],
) -> None:  # fmt: skip
    """The middle of the chain comes first and its beginning last; each file finds another worker."""
    definitions = setting(CHAIN)
    log = MemoryLog(3)
    store = open_embedded(tmp_path / "store", {}, "lastseen")
    store.migrate()
    try:
        for name in ("manifest", ORDERS, SHIPPED, "packing"):
            load(log, definitions[1], tmp_path / f"map-{name}.yaml")
            drain(log, store, definitions)
        same(store, plain, truth, CHAIN.events)
    finally:
        store.close()
