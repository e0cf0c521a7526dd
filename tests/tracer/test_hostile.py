"""Whatever an application passes in: nothing raises, what is sent is as the contract has it, and what cannot be sent is counted."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import schemas.event
import schemas.times
from schemas.event import parse_event
from tests.tracer.support import Shop
from tracer import clean
from tracer.keyring import KeyRing
from tracer.privacy import Privacy


class Raises:
    """Everything that can be asked of it raises."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    items = __iter__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")


class Lies(str):
    """A text that says something else when it is asked."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]  # noqa: PLE0307


class Endless:
    """Its text never ends."""

    def __str__(self) -> str:
        return str(self)


def knot() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["itself"] = made
    return made


PAYLOADS: list[Any] = [
    *(
        Raises(),
        Lies("x"),
        Endless(),
        knot(),
        object,
        Enum("Colour", "RED"),
        Decimal("1.10"),
        UUID(int=1),
        ValueError("\ud800"),
    ),
    *("\ud800", "\x00", "x" * 300_000, "a\u202eb", "\r\nforged", b"\xff", "", "  ", "↻", "10248↻2"),
    *(float("nan"), float("inf"), -0.0, 1e308, 10**5000, 2**53, -(2**63), True, None),
    *(["10248"], ["a", "b"], [["a"]], ("x",), set()),
]
# By number, for Hypothesis asks its values for their hash and their text.
HOSTILE = st.integers(0, len(PAYLOADS) - 1).map(PAYLOADS.__getitem__)
ANY = st.one_of(HOSTILE, st.text(max_size=300), st.integers(), st.floats(), st.binary(max_size=10))
NAMES = st.one_of(st.sampled_from(["order", "payment"]), st.text(max_size=120))
MAPS = st.one_of(HOSTILE, st.dictionaries(st.one_of(NAMES, st.integers(), st.none()), ANY, max_size=40))


@settings(max_examples=120, deadline=None)
@given(step=ANY, phase=ANY, keys=MAPS, attributes=MAPS, error=ANY, peer=ANY, system=ANY, time=st.one_of(st.none(), ANY))
@example(
    "placed",
    "completed",
    {"order": "1"},
    {"a": "😀" * 4096} | {str(n): "😀" * 4096 for n in range(63)},
    "",
    "",
    "",
    None,
)
def test_whatever_is_reported_is_sent_or_set_aside(
    step: Any, phase: Any, keys: Any, attributes: Any, error: Any, peer: Any, system: Any, time: Any
) -> None:
    shop = Shop()
    shop.reporter.report(
        step, phase, keys, id="i", attributes=attributes, error=error, peer=peer, system=system, time=time
    )
    assert len(shop.events) + len(shop.aside) == 1
    for event in shop.events:
        parse_event(event)
    for reason, body in shop.aside:
        assert reason.startswith("the application reported")
        assert set(json.loads(body)) <= {"system", "step", "phase"}
        assert shop.reporter.refused == 1


@settings(max_examples=80, deadline=None)
@given(keys=MAPS, name=ANY, more=MAPS, value=ANY)
def test_a_transaction_takes_anything(keys: Any, name: Any, more: Any, value: Any) -> None:
    """And the caller's own error comes out as it went in."""
    shop = Shop()
    own = ValueError("mine")
    transaction = shop.transaction(order=value)

    def application() -> None:
        with transaction, transaction.step(name, attributes=more) as step:
            step.set(a=value, b=more).also(payment=value)
            transaction.completed(name, attributes=keys, peer=value)
            raise own

    with pytest.raises(ValueError, match="mine") as caught:
        application()
    assert caught.value is own
    assert len(shop.events) + len(shop.aside) == 3
    for event in shop.events:
        parse_event(event)


def test_half_a_number_is_no_key() -> None:
    """A name is repaired; a key's value is taken as it stands or left out, and counted."""
    shop = Shop()
    shop.reporter.report("pl\x00aced", "completed", {"order": "1" * 257, "payment": " P1 ", "x": "a\nb"}, id="i")
    (event,) = shop.events
    assert event["step"] == "pl\ufffdaced"
    assert event["keys"] == {"payment": "P1"}
    assert shop.reporter.repaired == 2


def test_numbers_are_the_texts_that_people_write() -> None:
    values = {"a": 10248, "b": 10248.0, "c": UUID(int=1), "d": Decimal("7"), "e": ["9"], "f": True, "g": 1.5, "h": b"x"}
    assert clean.keys_of(values) == (
        {"a": "10248", "b": "10248", "c": "00000000-0000-0000-0000-000000000001", "d": "7", "e": "9"},
        3,
    )


def test_an_event_too_large_goes_without_its_attributes() -> None:
    shop = Shop()
    shop.reporter.report(
        "placed", "completed", {"order": "1"}, id="i", attributes={str(n): "😀" * 4096 for n in range(64)}
    )
    (event,) = shop.events
    assert "attributes" not in event
    assert shop.reporter.repaired == 64


def test_limits_are_those_of_the_contract() -> None:
    for name in ("MAX_NAME", "MAX_ID", "MAX_KEYS", "MAX_KEY_VALUE", "MAX_ATTRIBUTES", "MAX_TEXT", "MAX_INTEGER"):
        assert getattr(clean, name) == getattr(schemas.event, name), name
    assert (clean.EARLIEST, clean.LATEST) == (schemas.times.EARLIEST, schemas.times.LATEST)


@given(st.text(max_size=20))
def test_what_is_taken_as_a_key_is_one_by_the_contract(text: str) -> None:
    found = clean.key_of(text)
    data = {"id": "i", "system": "s", "step": "p", "time": 1_750_000_000_000_000}
    if found is not None:
        assert parse_event({**data, "keys": {"order": found}}).keys == {"order": text.strip()}


@pytest.mark.parametrize("ring", [KeyRing(), KeyRing({"k1": b"a secret of enough bytes"})])
def test_personal_data_is_gone_before_anything_is_queued(ring: KeyRing) -> None:
    """Without a key for hashing, nothing of it is sent at all."""
    shop = Shop(privacy=Privacy({"email": "hash"}, {"name": "remove"}, ring))
    with shop.transaction(order="1", email="a@example.org") as order:
        order.completed("placed", attributes={"name": "Ada Lovelace", "amount": 3})
        leaving = order.leaving()
    said = json.dumps(
        [shop.events, [body.decode() for _, body in shop.aside], [reason for reason, _ in shop.aside], leaving]
    )
    assert "example.org" not in said
    assert "Lovelace" not in said
    assert len(shop.aside) == (0 if ring else 1)
    if ring:
        assert shop.events[0]["keys"]["email"].startswith("h:k1:")
        assert leaving["email"] == shop.events[0]["keys"]["email"]
