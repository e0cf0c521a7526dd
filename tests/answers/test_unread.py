"""What is in quarantine and names a lost order is told beside the verdict, which cannot count it."""

from __future__ import annotations

from typing import cast

import pytest

from pipeline.answers.judging import Bench
from pipeline.answers.lookup import Found, lookup
from pipeline.answers.unread import unread_naming
from pipeline.store import MemoryStore
from pipeline.store.contract import Store
from schemas import wire
from schemas.times import HOUR
from schemas.verdict import Status
from tests.answers.world import NOW, fill, missing, quarantined, write_verdict


@pytest.fixture
def bench() -> Bench:
    return fill(MemoryStore())


def put(bench: Bench, payload: bytes, id_: str = "t:0:1:0", **more: object) -> None:
    cast("Store", bench.store).write_quarantine([quarantined(id_, payload=payload, **{"key": b"", **more})])


def found(bench: Bench, value: str = "17", as_of: int = 0) -> Found:
    return next(one for one in lookup(bench, value, "order", as_of)[0] if one.transaction[0] == "order")


def test_a_lost_order_says_that_a_report_of_it_could_not_be_read(bench: Bench) -> None:
    assert "kept reporting" in found(bench).explanation.text
    put(bench, b'{"payment": "pay-1", "at": "sun')
    one = found(bench)
    assert one.verdict.status == Status.LOST
    assert one.answer.unread == ("t:0:1:0",)
    assert "kept reporting" not in one.explanation.text
    assert "A report that names it came that could not be read, so please have it checked first" in one.explanation.text


@pytest.mark.parametrize(
    "payload",
    [
        b'{"order": "0017"',
        b"order=17;",
        b'<x payment="PAY-1"/>',
        b"\xff\xfePAY-1\x00",
        wire.compress(b"paid PAY-1 now\n"),
    ],
)
def test_in_any_form_that_means_it(bench: Bench, payload: bytes) -> None:
    put(bench, payload)
    assert found(bench).answer.unread == ("t:0:1:0",)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"amount": 17}',  # two digits stand for much
        b'{"payment": "PAY-12"}',
        b'{"customer": "C7"}',  # all that he ever ordered
        b'{"order": "18", "payment": "PAY-2"}',
    ],
)
def test_what_may_be_anything_else_names_nothing(bench: Bench, payload: bytes) -> None:
    put(bench, payload)
    assert found(bench).answer.unread == ()


def test_only_where_something_is_missing(bench: Bench) -> None:
    put(bench, b"PAY-2")
    assert found(bench, "18").answer.unread == ()
    assert "could not be read" not in found(bench, "18").explanation.text


def test_what_was_tried_again_is_no_longer_unread(bench: Bench) -> None:
    put(bench, b"PAY-1", state="retried")
    assert found(bench).answer.unread == ()


def test_as_of_a_time_what_came_later_is_not_known(bench: Bench) -> None:
    put(bench, b"PAY-1", at=NOW)
    put(bench, b"PAY-1", "t:0:2:0", at=NOW + HOUR)
    assert found(bench, as_of=NOW).answer.unread == ("t:0:1:0",)


def test_each_of_several_is_told_of_its_own(bench: Bench) -> None:
    write_verdict(bench.store, "order", "18", missing(Status.STALLED, NOW - HOUR, NOW), version=3)
    put(bench, b"PAY-1", "t:0:1:0", at=1)
    put(bench, b"PAY-2", "t:0:2:0", at=2)
    put(bench, b"PAY-1 and PAY-2", "t:0:3:0", at=3)
    told = {one.transaction[1]: one.answer.unread for one in lookup(bench, "C7", "customer")[0] if one.answer.unread}
    assert told == {"17": ("t:0:1:0", "t:0:3:0"), "18": ("t:0:2:0", "t:0:3:0")}


def test_what_names_a_number_that_nobody_knows_is_found(bench: Bench) -> None:
    put(bench, b"order 4711 paid")
    assert [row.id for row in unread_naming(bench, [("order", "4711"), ("payment", "4711")])] == ["t:0:1:0"]
    assert unread_naming(bench, [("order", " ")]) == []
