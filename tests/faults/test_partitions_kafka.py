"""FAULTS.md 38 on a real Kafka: setup waits for the group to be empty, topics are extended, and other tools extend them too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.errors import Invalid, Unavailable
from pipeline.log import open_log
from pipeline.log.kafka import KafkaLog
from pipeline.work.growth import Growth, said_otherwise
from pipeline.worker import Worker
from schemas.times import DAY
from tests.faults.site import Site
from tests.faults.stories import START, flat, stories
from tests.faults.test_partitions import HALF, NEW, OLD, undisturbed
from tracer.record import EVENTS

ALL = flat(stories())
PATIENCE = 60.0


class KafkaSite(Site):
    """The log is a real Kafka, whose append time is the wall's; all else as ever."""

    def __init__(self, url: str, partitions: int):
        super().__init__(partitions)
        opened = open_log(url)
        assert isinstance(opened, KafkaLog)
        self.kafka: KafkaLog = opened
        self.kafka.create(partitions)
        self.log = self.kafka  # type: ignore[assignment]
        self.sink = self.kafka.producer()  # type: ignore[assignment]

    def ends(self) -> dict[int, int]:
        consumer = self.kafka.consumer()
        try:
            return consumer.end_offsets(range(self.kafka.partitions()))
        finally:
            consumer.close()

    def reopen(self) -> None:
        """As another process would: a sink knows how many partitions there were."""
        self.sink.close()
        self.sink = self.kafka.producer()  # type: ignore[assignment]
        self.partitions = self.kafka.partitions()

    def worker(self, name: str = "w", **options: Any) -> Worker:
        return super().worker(name, poll_ms=50, patience=30.0, **options)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


@pytest.fixture
def site(kafka: str) -> Iterator[KafkaSite]:
    made = KafkaSite(kafka, OLD)
    with contextlib.closing(made.kafka), contextlib.closing(made.sink):
        made.send(ALL[:HALF], each=3)
        yield made


def drain(site: KafkaSite, *workers: Worker) -> None:
    for worker in workers:
        worker.drain()
        worker.close()


def finish(site: KafkaSite) -> None:
    site.hear(START + 30 * DAY)
    last = site.worker("last")
    last.drain()
    assert site.verdicts() == site.judged(ALL, last) == undisturbed().verdicts()
    assert site.store.count_events() == len(ALL) + 1
    assert site.store.count_quarantine() == {}
    last.close()


def test_38_more_partitions_on_kafka(site: KafkaSite) -> None:
    worker = site.worker("A")
    worker.drain()
    growth = Growth(site.kafka, site.landscape, NEW)
    assert growth.standing().behind == 0
    assert len(growth.standing().members) == 1
    with pytest.raises(Unavailable, match="now stop the worker: "):
        growth.change()
    assert site.kafka.partitions() == OLD
    worker.close()
    until(lambda: growth.standing().ready)
    growth.change()
    growth.close()
    assert site.kafka.partitions() == NEW
    assert site.kafka.check() == []
    # Who sends already goes on with the old number for as long as it likes.
    site.send(ALL[HALF : HALF + 20], each=1)
    site.reopen()
    site.send(ALL[HALF + 20 :], each=1)
    finish(site)


def test_38_partitions_added_by_other_tools(site: KafkaSite) -> None:
    worker = site.worker("A")
    worker.drain()
    worker.close()
    site.kafka._topics._admin().create_partitions({site.kafka._address.prefix + EVENTS: NEW})
    until(lambda: site.kafka.partitions() == NEW)
    site.send(ALL[HALF : HALF + 20], each=1)
    site.reopen()
    site.send(ALL[HALF + 20 :], each=1)
    with pytest.raises(Invalid, match="has 5 partitions where control says 2"):
        site.worker("B")
    assert "lastseen setup --partitions 5" in said_otherwise(site.kafka, site.landscape)
    growth = Growth(site.kafka, site.landscape, NEW)
    until(lambda: growth.standing().ready)
    growth.change()
    growth.close()
    assert said_otherwise(site.kafka, site.landscape) == ""
    finish(site)
