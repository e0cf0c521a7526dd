"""When a source itself was not heard: for those who look at sources; what its systems come to is told elsewhere."""

from __future__ import annotations

import pytest

from schemas.control import Gone
from tests.core.control_topic import S, Topic


@pytest.fixture
def topic() -> Topic:
    made = Topic()
    made.hello(90, "other", system="B")
    return made


def blind(topic: Topic, source: str = "a", epoch: int = 1) -> list[tuple[float, float]]:
    found = topic.fold.epochs[source, epoch].blind(topic.fold.landscape.grace)
    return [(begin / S, end / S if end < 2**62 else float("inf")) for begin, end in found]


def test_who_speaks_is_not_blind(topic: Topic) -> None:
    topic.hello(100)
    topic.alive(102, 120, "a")
    assert blind(topic) == []


def test_who_falls_silent_is_blind_from_what_was_settled_last_until_it_is_back(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102)
    topic.alive(104, 114, "other", system="B")
    assert blind(topic) == [(102, float("inf"))]
    topic.marker(115)
    assert blind(topic) == [], "the same epoch with its spool: the interval is lifted"


def test_a_new_epoch_of_the_name_ends_it_and_so_does_being_gone(topic: Topic) -> None:
    topic.hello(100)
    topic.marker(102)
    topic.hello(130, epoch=2)
    assert blind(topic) == [(102, 130)]
    assert blind(topic, epoch=2) == []
    topic.alive(132, 140, "other", system="B")
    assert topic.fold.epochs["a", 2].state == "silent"
    topic.write(141, Gone(source="a"))
    topic.marker(142, "other", system="B")
    assert blind(topic, epoch=2) == [(130, 141)]


def test_a_goodbye_is_no_blindness_nor_is_an_import(topic: Topic) -> None:
    topic.hello(100)
    topic.goodbye(102)
    topic.hello(100, "load", since=-10)
    topic.goodbye(102, "load", state="closed")
    topic.alive(104, 130, "other", system="B")
    assert (blind(topic), blind(topic, "load")) == ([], [])
    topic.hello(200, epoch=2)
    assert blind(topic) == [], "a nightly job: between its runs there was nothing to say"


def test_who_is_distrusted_is_blind_since_then_and_that_stays_told_when_it_is_lifted(topic: Topic) -> None:
    topic.hello(100)
    topic.alive(102, 120, "a")
    topic.distrust(121, since=110)
    assert blind(topic) == [(110, float("inf"))]
    topic.alive(122, 130, "a")
    topic.distrust(131, since=110, lifted=True)
    assert blind(topic) == [(110, 131)]


def test_its_times_are_the_logs(topic: Topic) -> None:
    topic.hello(100, boot=90)
    topic.marker(102, through=92, skew=10)
    topic.alive(104, 114, "other", system="B")
    assert blind(topic) == [(102, float("inf"))], "its clock is ten seconds slow"
