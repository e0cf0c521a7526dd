"""Log records that carry keys become events; all others, and whatever is wrong with them, are left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tests.tracer.support import Shop
from tracer.log_handler import LogHandler
from tracer.spans import Rules

STEPS = {"order %s paid": "paid", "shipping *": "shipped"}
RULES = Rules(key_attributes={"order_id": "order"}, steps=STEPS, attributes=("amount",))


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    handler = LogHandler(RULES, shop.reporter)
    log = logging.getLogger("application")
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield shop
    log.removeHandler(handler)


log = logging.getLogger("application")


def test_a_message_is_a_step_and_extra_has_the_keys(shop: Shop) -> None:
    log.info("order %s paid", 7, extra={"order_id": 7, "amount": 12.5, "card": "4111"})
    log.info("shipping to %s", "Oslo", extra={"order_id": 7, "lastseen.peer": "carrier", "lastseen.phase": "sent"})
    log.info("packed", extra={"lastseen.step": "packed", "lastseen.key.parcel": "P1", "lastseen.attribute.weight": 3})
    assert shop.said("attributes", "peer") == [
        ("paid", "completed", {"amount": 12.5}, None),
        ("shipped", "sent", None, "carrier"),
        ("packed", "completed", {"weight": 3}, None),
    ]
    assert [next(iter(event["keys"].items())) for event in shop.events] == [
        ("order", "7"),
        ("order", "7"),
        ("parcel", "P1"),
    ]
    assert len({event["id"] for event in shop.events}) == 3


def test_records_without_a_step_are_none_of_our_business(shop: Shop) -> None:
    log.info("something else", extra={"order_id": 7})
    logging.getLogger("kafka").info("order %s paid", 7, extra={"order_id": 7})
    assert shop.events == []
    assert shop.aside == []


def test_an_error_has_failed(shop: Shop) -> None:
    try:
        raise ValueError("no card")
    except ValueError:
        log.exception("order %s paid", 7, extra={"order_id": 7})
    log.error("order %s paid", 7, extra={"order_id": 7})
    assert shop.said("error") == [("paid", "failed", "ValueError: no card"), ("paid", "failed", "order 7 paid")]


def test_it_belongs_to_the_current_transaction_and_span(shop: Shop) -> None:
    with shop.transaction(order="7") as order:
        log.info("order %s paid", 7)
        with TracerProvider().get_tracer("x").start_as_current_span("s") as span:
            log.info("order %s paid", 7, extra={"lastseen.key.payment": "P1"})
    assert shop.events[0]["keys"] == {"order": "7", "trace": order.at.trace_id}
    assert shop.events[1]["keys"] == {
        "order": "7",
        "payment": "P1",
        "trace": f"{span.get_span_context().trace_id:032x}",
    }


class Raises:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "extra",
    [
        *({name: Raises()} for name in ("order_id", "lastseen.step", "lastseen.phase", "lastseen.peer", "amount")),
        *({"lastseen.peer": "\ud800" * 500}, {"lastseen.phase": "nonsense"}, {"lastseen.system": "\x00"}),
    ],
)
def test_a_hostile_record_hurts_nobody(shop: Shop, extra: dict[str, Any]) -> None:
    log.info("order %s paid", 7, extra={"lastseen.key.order": "1", **extra})
    extra = {"lastseen.step": "a", "lastseen.key.order": "1"}
    record = log.makeRecord("application", logging.ERROR, "f", 1, "order %s %d paid", ("x",), None, extra=extra)
    LogHandler(RULES, shop.reporter).handle(record)
    assert len(shop.events) + len(shop.aside) == 2
