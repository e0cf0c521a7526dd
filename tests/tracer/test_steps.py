"""Transactions and steps: what is said when, whose error comes out, and that contexts are kept apart."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer
from tests.tracer.support import Shop, instrumented, read_memory
from tracer.transaction import Transaction


def test_a_step_starts_and_completes_with_the_keys_known_by_then() -> None:
    shop = Shop()
    with shop.transaction(order=10248) as order, order.step("placed", attributes={"amount": 12.5}) as step:
        step.set(lines=3)
        order.also(payment="PAY-1")
    trace = order.at.trace_id
    assert shop.said("keys", "attributes") == [
        ("placed", "started", {"order": "10248", "trace": trace}, None),
        ("placed", "completed", {"order": "10248", "payment": "PAY-1", "trace": trace}, {"amount": 12.5, "lines": 3}),
    ]
    ids = [event["id"] for event in shop.events]
    assert ids == [f"{trace}:{step.span_id}:{phase}" for phase in ("started", "completed")]


def test_a_step_that_raises_has_failed_and_the_error_comes_out_as_it_is() -> None:
    shop = Shop()
    own = KeyError("no such card")
    with pytest.raises(KeyError) as caught, shop.transaction(order="1") as order, order.step("paid"):
        raise own
    assert caught.value is own
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert shop.said("error") == [("paid", "started", None), ("paid", "failed", "KeyError: 'no such card'")]


def test_phases_peers_and_outcomes() -> None:
    shop = Shop()
    with shop.transaction(order="1") as order:
        with order.step("packed", received_from="shop", sent_to="carrier"):
            pass
        with order.step("paid") as paid:
            paid.fail("declined")
        with order.step("picked") as picked:
            picked.cancel("out of stock")
        order.started("a", time=1_700_000_000_000_000)
        order.sent("b", peer="carrier", attributes={"n": 1})
        order.received("c", peer="bank", system="mailer")
        order.failed("d", ValueError("x"))
        order.failed("e")
        order.cancelled("f")
    assert shop.said("peer", "error") == [
        ("packed", "received", "shop", None),
        ("packed", "sent", "carrier", None),
        ("paid", "started", None, None),
        ("paid", "failed", None, "declined"),
        ("picked", "started", None, None),
        ("picked", "cancelled", None, "out of stock"),
        ("a", "started", None, None),
        ("b", "sent", "carrier", None),
        ("c", "received", "bank", None),
        ("d", "failed", None, "ValueError: x"),
        ("e", "failed", None, "failed, without saying why"),
        ("f", "cancelled", None, None),
    ]
    assert shop.events[6]["time"] == 1_700_000_000_000_000
    assert shop.events[8]["system"] == "mailer"


def test_decorators_of_every_kind_of_function() -> None:
    shop = Shop()
    step = Transaction(shop.reporter, {"order": "1"})

    @step.step("plain")
    def plain(a: int, *, b: int) -> int:
        """Adds."""
        return a + b

    @step.step("async")
    async def waits(a: int) -> int:
        await asyncio.sleep(0)
        return a

    @step.step("generator")
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    @step.step("async generator")
    async def later() -> AsyncIterator[int]:
        yield 1

    async def all_of(made: AsyncIterator[int]) -> list[int]:
        return [each async for each in made]

    assert plain(1, b=2) == 3
    assert (plain.__name__, plain.__doc__) == ("plain", "Adds.")
    assert asyncio.run(waits(7)) == 7
    assert list(numbers()) == [1, 2]
    assert asyncio.run(all_of(later())) == [1]
    kinds = ["plain", "async", "generator", "async generator"]
    assert shop.said() == [(name, phase) for name in kinds for phase in ("started", "completed")]
    plain(1, b=2)
    visits = {event["id"].split(":")[1] for event in shop.events if event["step"] == "plain"}
    assert len(visits) == 2, "each call is a visit of its own"


def test_a_transaction_as_decorator_takes_its_keys_from_the_call() -> None:
    with instrumented() as broker:

        @tracer.transaction(order=lambda order, **_: order["id"], payment=lambda *_, **__: 1 / 0)
        @tracer.step("placed")
        def place(order: dict[str, str]) -> None:
            tracer.also(parcel="P1")

        place({"id": "7"})
        place(order={"id": "8"})
        assert tracer.close(10)
    keys = [
        {**event["keys"], "trace": ""} for event in sorted(read_memory(broker).events, key=lambda each: each["seq"])
    ]
    assert keys == [{"order": n, **more, "trace": ""} for n in "78" for more in ({}, {"parcel": "P1"})]


def test_a_cancelled_task_is_cancelled_and_not_failed() -> None:
    shop = Shop()

    async def works() -> None:
        async with shop.transaction(order="1") as order, order.step("picked"):
            await asyncio.sleep(60)

    async def cancels() -> None:
        task = asyncio.create_task(works())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancels())
    assert shop.said("error") == [("picked", "started", None), ("picked", "cancelled", "CancelledError")]


@settings(max_examples=30, deadline=None)
@given(pauses=st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=8))
def test_tasks_keep_their_transactions_apart(pauses: list[list[int]]) -> None:
    shop = Shop()

    async def handle(number: int, waits: list[int]) -> None:
        async with shop.transaction(order=number):
            for step, turns in enumerate(waits):
                async with tracer.step(f"{number}.{step}"):
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    tracer.also(payment=f"P{number}")

    async def serve() -> None:
        await asyncio.gather(*(handle(number, waits) for number, waits in enumerate(pauses)))
        assert tracer.current() is None

    asyncio.run(serve())
    assert len(shop.events) == 6 * len(pauses)
    for event in shop.events:
        number = event["step"].partition(".")[0]
        assert event["keys"]["order"] == number
        assert event["keys"].get("payment", f"P{number}") == f"P{number}"


def test_threads_do_not_share_and_a_copied_context_does() -> None:
    shop = Shop()
    with shop.transaction(order="1"):
        found: list[Transaction | None] = []
        thread = threading.Thread(target=lambda: found.append(tracer.current()))
        thread.start()
        thread.join()
        copied = threading.Thread(target=contextvars.copy_context().run, args=(lambda: found.append(tracer.current()),))
        copied.start()
        copied.join()
    assert found[0] is None
    assert found[1] is not None
    assert found[1].keys == {"order": "1"}


def test_scopes_nest_and_end_as_they_began() -> None:
    shop = Shop()
    with shop.transaction(order="1") as outer:
        with outer.part(parcel="P1") as part:
            assert tracer.current() is part
            assert part.keys == {"order": "1", "parcel": "P1"}
            assert part.at == outer.at
        assert tracer.current() is outer
        with shop.transaction(batch="B"):
            carried: dict[str, str] = {}
            tracer.inject(carried)
            assert carried["baggage"] == "lastseen.key.batch=B", "the outer one's keys do not travel along"
        assert outer.keys == {"order": "1"}
    assert tracer.current() is None


def test_without_init_nothing_happens_and_nothing_raises() -> None:
    assert tracer.close() is True
    with tracer.transaction(order="1") as order, tracer.step("placed"), order.step("paid") as paid:
        tracer.completed("x")
        tracer.also(payment="1")
        paid.set(a=1)
    with tracer.step("alone"):
        tracer.failed("x", error="y")
    assert tracer.stats() == {}


@pytest.mark.parametrize("log", ["nowhere", "kafka://user:secret@h:1", "memory://", 7, "sqlite:///"])
def test_a_wrong_address_is_said_and_hurts_nobody(log: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is wrong is found in the background; the password is not repeated."""
    tracer.init("shop", log, spool="")  # type: ignore[arg-type]
    with tracer.transaction(order="1"), tracer.step("placed"):
        pass
    tracer.close(0.3)
    assert "secret" not in caplog.text
