"""One number written in several ways is one number: when sent, when loaded, when judged, when asked for (`0001234 ` and `1234`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collectors.inputs import open_input
from collectors.loader import Loader
from collectors.mapping_file import read_mapping
from pipeline.answers import links
from pipeline.answers.judging import Bench
from pipeline.answers.lookup import find, lookup
from pipeline.log.memory import MemoryLog
from pipeline.store import MemoryStore
from pipeline.worker import Policy, Worker
from schemas import wire
from schemas.times import MINUTE
from tests.answers.world import BEGIN, FLOWS, LANDSCAPE, NOW
from tracer.emitter import Emitter
from tracer.record import EVENTS, Record, partition_of

FORMS = ("1234", "0001234 ", " 01234", "00001234")


class Shop:
    """A log in memory with several partitions, and who sends to it."""

    def __init__(self) -> None:
        self.log, self.store = MemoryLog(4, lambda: NOW), MemoryStore()
        self.n = 0

    def event(self, step: str, **keys: str) -> dict[str, Any]:
        self.n += 1
        system = {"placed": "shop", "paid": "payments"}[step]
        return {
            "id": f"e{self.n}", "system": system, "step": step, "phase": "completed", "time": BEGIN + self.n * MINUTE, "keys": keys,
        }  # fmt: skip

    def emitter(self, **options: Any) -> Emitter:
        return Emitter(
            self.log.producer(), "shop-1", NOW, ["shop"], lambda: NOW, transaction_types=LANDSCAPE.transaction_types(), **options
        )  # fmt: skip

    def placed(self) -> list[tuple[int, bytes, dict[str, Any]]]:
        """Partition, key and event of what was sent."""
        return [
            (number, row.key, json.loads(line))
            for number, partition in enumerate(self.log.broker.topics[EVENTS])
            for row in partition.rows
            for line in wire.decompress(row.value, dict(row.headers).get("content-encoding")).splitlines()
        ]

    def bench(self) -> Bench:
        worker = Worker(
            self.log, self.store, flows=FLOWS, landscape=LANDSCAPE, pacing=lambda: NOW, policy=Policy(poll_ms=0, patience=0.0)
        )  # fmt: skip
        worker.drain()
        worker.close()
        return Bench(self.store, FLOWS, LANDSCAPE, lambda: NOW)


@pytest.mark.parametrize("normalise", [LANDSCAPE.normalisers(), None])
def test_however_it_is_written_it_is_one_transaction(normalise: Any) -> None:
    """By a sender that knows the landscape, and by one that does not."""
    shop = Shop()
    emitter = shop.emitter(normalise=normalise)
    for form in FORMS:
        emitter.emit(shop.event("placed", order=form, customer=f" C-{form.strip()}"))
    emitter.flush()
    at = {(number, event["keys"]["order"]) for number, _, event in shop.placed()}
    if normalise:
        assert at == {(partition_of(b"order:1234", 4), "1234")}
    else:
        assert {form for _, form in at} == set(FORMS)
    bench = shop.bench()
    assert find(bench, "1234") == [("order", "1234")]
    for form in FORMS:
        (found,), total = lookup(bench, form)
        assert (found.transaction, total, len(found.events)) == (("order", "1234"), 1, len(FORMS))


def test_what_nothing_is_left_of_is_sent_as_it_is_and_refused() -> None:
    shop = Shop()
    emitter = shop.emitter(normalise=LANDSCAPE.normalisers())
    emitter.emit(shop.event("placed", payment="  ", customer="C1"))
    emitter.emit({**shop.event("placed"), "keys": {"payment": 7}})
    emitter.flush()
    assert sorted(repr(event["keys"]["payment"]) for *_, event in shop.placed()) == ["'  '", "7"]
    bench = shop.bench()
    reasons = {reason for _, reason in bench.store.count_quarantine()}
    assert any("nothing is left of the key" in reason for reason in reasons)


def test_an_event_without_keys_is_refused_when_it_is_sent() -> None:
    shop = Shop()
    with pytest.raises(ValueError, match="at least one key"):
        shop.emitter(normalise=LANDSCAPE.normalisers()).emit({**shop.event("placed"), "keys": None})


def test_what_is_loaded_meets_what_was_sent(tmp_path: Path) -> None:
    shop = Shop()
    (tmp_path / "m.yaml").write_text(
        "mapping: bank\nkey: id\nzone: UTC\nevents:\n"
        "  - {system: payments, step: paid, time: at, keys: {order: id, payment: ref}}\n"
    )
    (tmp_path / "m.csv").write_text("id,at,ref\n0001234,2026-03-08 12:00:00,pay-9\n")
    file = read_mapping(tmp_path / "m.yaml")
    source = open_input(str(tmp_path / "m.csv"), file.mapping, lambda: NOW, env={})
    loader = Loader(file, shop.log.producer(), lambda: NOW, LANDSCAPE.transaction_types(), LANDSCAPE.normalisers())
    loader.load(source)
    source.close()
    ((partition, key, event),) = shop.placed()
    assert (partition, key, event["keys"]) == (
        partition_of(b"order:1234", 4), b"order:1234", {"order": "1234", "payment": "PAY-9"},
    )  # fmt: skip
    emitter = shop.emitter()
    emitter.emit(shop.event("placed", order="1234"))
    emitter.flush()
    (found,), _ = lookup(shop.bench(), " pay-9", "payment")
    assert [event.step for event in found.events] == ["placed", "paid"]


def test_a_person_may_write_it_in_any_way() -> None:
    """To `link`, and by it to the worker; and one who writes to the log without us."""
    shop = Shop()
    emitter = shop.emitter()
    emitter.emit(shop.event("placed", order="1234"))
    emitter.emit(shop.event("paid", payment="PAY-9"))
    emitter.flush()
    bench = shop.bench()
    assert lookup(bench, "PAY-9") == ([], 0)
    alias, whose = links.named(bench, "payment: pay-9", "ALIAS"), links.named(bench, "order:0001234 ", "TRANSACTION")
    shop.log.producer().produce([links.decide(bench, alias, whose, accept=True)])
    (found,), _ = lookup(shop.bench(), "pay-9")
    assert [(event.step, event.via) for event in found.events] == [("placed", ""), ("paid", "payment:PAY-9")]
    raw = b'{"alias":"payment:pay-9 ","to":"order:01234","decision":"break"}'
    key = b"payment:pay-9 "
    shop.log.producer().produce([Record(EVENTS, key, raw, (("ls-kind", b"decision"),), 0)])
    bench = shop.bench()
    (one,) = links.page(bench, ("payment", "PAY-9")).claimants
    assert (one.transaction, one.decided, one.standing.joined) == (("order", "1234"), "broken", False)
