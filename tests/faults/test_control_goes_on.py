"""Control time goes on while anybody lives; what is published later reaches what is open; what was heard is written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from pipeline.core.control import ControlFold
from pipeline.core.knowledge import facts_of, knowledge_from_facts
from pipeline.errors import Unavailable
from pipeline.log import Log
from pipeline.log.memory import MemoryLog
from pipeline.log.sqlite import SqliteLog
from pipeline.store.contract import Transaction, VerdictQuery
from pipeline.store.memory import MemoryStore
from pipeline.work import diary
from pipeline.worker import Policy, Worker
from schemas.flow import Flow, Flows
from schemas.landscape import KeyType, Landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.wire import Observed, encode
from tests.core.control_topic import Topic
from tracer.record import EVENTS, Record

T0 = 1_790_000_000 * SECOND
LANDSCAPE = Landscape(keys={"order": KeyType(transaction=True), "loan": KeyType(transaction=True)})
FLOW = {
    "flow": "order", "version": 1, "key": "order", "by": ["order"], "lost_after": "2d",
    "steps": {
        "placed": {"system": "shop", "start": True},
        "paid": {"system": "payments", "after": "placed", "within": "1h", "end": "completed"},
    },
}  # fmt: skip
FIRST = Flow.model_validate(FLOW)


class World:
    """A log on a clock of its own, and what is appended to it."""

    def __init__(self, log: Log | None = None):
        self.now = self.pace = T0
        self.log: Log = log or MemoryLog(2, lambda: self.now)
        self.store = MemoryStore()

    def worker(self, *flows: Flow, **policy: int) -> Worker:
        return Worker(
            self.log,
            self.store,
            flows=Flows(list(flows)),
            landscape=LANDSCAPE,
            pacing=lambda: self.pace,
            policy=Policy(**policy),  # type: ignore[arg-type]
        )

    def place(self, order: str, step: str = "placed", system: str = "shop", kind: str = "order") -> None:
        event = Observed(id=order, system=system, step=step, time=self.now, keys={kind: order})
        key = f"{kind}:{order}".encode()
        self.log.producer().produce([Record(EVENTS, key, encode([event]), (), crc32(key) % self.log.partitions())])

    def statuses(self) -> dict[str, tuple[str, int]]:
        rows = self.store.verdicts(VerdictQuery())
        return {row.transaction_id: (row.status, row.flow_version) for row in rows}


def test_17_a_wall_clock_that_jumped_back_does_not_stop_control_time_for_ever(tmp_path: Path) -> None:
    clock = [T0]
    log = SqliteLog(tmp_path / "log.sqlite", clock=lambda: clock[0])
    log.create(2)
    world = World(log)
    world.place("A")
    worker = world.worker(FIRST)
    for second in range(0, 3 * 3600, 6):
        clock[0] = T0 + second * SECOND - (100 * SECOND if second > 30 else 0)
        world.pace = T0 + second * SECOND
        worker.step()
    worker.close()
    assert world.statuses()["A"][0] == "stalled"


def test_a_worker_that_was_drained_twice_at_one_time_goes_on_when_time_does() -> None:
    world = World()
    world.place("A")
    worker = world.worker(FIRST)
    worker.drain()
    worker.drain()
    world.now += 2 * HOUR
    worker.drain()
    assert world.statuses()["A"][0] == "stalled"


def test_a_version_that_applies_to_open_takes_over_what_is_open() -> None:
    world = World()
    world.place("A")
    worker = world.worker(FIRST)
    worker.drain()
    assert world.statuses()["A"] == ("in_progress", 1)
    second = Flow.model_validate({**FLOW, "version": 2, "since": "2030-01-01T00:00:00Z", "applies_to": "open"})
    world.worker(FIRST, second).close()
    worker.drain()
    assert world.statuses()["A"] == ("in_progress", 2)
    worker.close()


def test_whoever_takes_over_judges_by_the_version_in_force() -> None:
    world = World()
    world.place("A")
    worker = world.worker(FIRST)
    worker.drain()
    worker.close()
    second = Flow.model_validate({**FLOW, "version": 2, "since": "2030-01-01T00:00:00Z", "applies_to": "open"})
    world.worker(FIRST, second).drain()
    assert world.statuses()["A"] == ("in_progress", 2)


def test_events_that_came_before_their_flow_are_judged_once_it_is_published() -> None:
    world = World()
    world.place("A", step="lent", system="library")
    worker = world.worker(FIRST)
    worker.drain()
    assert world.statuses() == {}
    steps = {"lent": {"system": "library", "start": True}, "back": {"system": "library", "after": "lent"}}
    lending = Flow.model_validate({"flow": "lending", "version": 1, "key": "order", "steps": steps})
    world.worker(FIRST, lending).close()
    worker.drain()
    assert world.statuses()["A"] == ("in_progress", 1)
    worker.close()


LENDING = Flow.model_validate({
    "flow": "lending", "version": 1, "key": "loan",
    "steps": {"lent": {"system": "library", "start": True}, "back": {"system": "library", "after": "lent"}},
})  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
def test_what_no_flow_judges_is_in_the_store_alone_until_one_is_published(members: int) -> None:
    """Of a key type without any flow nothing is open and nothing packed, before a restart and after it."""
    world = World()
    for number in range(100):
        world.place(f"L{number}", step="lent", system="library", kind="loan")
    workers = [world.worker(FIRST, capacity=10, max_records=5)]
    workers[0].drain()
    if members == 2:
        workers.append(world.worker(FIRST, capacity=10, max_records=5))
        for _ in range(5):
            for worker in workers:
                worker.step()
    assert [len(worker.owned) for worker in workers] == [2 // members] * members
    for worker in workers:
        ledger = worker._ledger
        assert not ledger.partition_of
        assert not len(ledger._packed)
        assert len(ledger._entries) <= 10
    world.worker(FIRST, LENDING).close()
    for _ in range(5):
        for worker in workers:
            worker.step()
    assert world.statuses() == {f"L{number}": ("in_progress", 1) for number in range(100)}
    assert sum(len(worker._ledger.partition_of) for worker in workers) == 100


def test_a_flow_for_what_none_judged_waits_for_the_store() -> None:
    world = World()
    world.place("L", step="lent", system="library", kind="loan")
    worker = world.worker(FIRST)
    worker.drain()
    unjudged, away = world.store.unjudged, [True, True]

    def sometimes(partitions: Sequence[int], of: int) -> Iterator[Transaction]:
        if away:
            away.pop()
            raise Unavailable("the store is away")
        return unjudged(partitions, of)

    world.store.unjudged = sometimes  # type: ignore[method-assign]
    world.worker(FIRST, LENDING).close()
    worker.drain()
    assert world.statuses() == {"L": ("in_progress", 1)}
    worker.close()


def test_what_a_drain_knew_at_its_end_is_in_the_store() -> None:
    world = World()
    world.place("A")
    worker = world.worker(FIRST)
    worker.drain()
    world.now += SECOND
    worker.drain()
    facts = [row[:4] + row[5:8] for row in world.store.hearing()]
    told = knowledge_from_facts(facts, LANDSCAPE, worker.flows)
    assert told.control_time == worker.fold.now > T0
    assert told.processed == worker.fold.processed() > T0 - DAY - MINUTE


def test_what_was_heard_is_worked_out_when_it_is_written_and_at_once_where_it_is_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def counted(fold: ControlFold) -> object:
        asked.append(fold.now // SECOND)
        return facts_of(fold)

    monkeypatch.setattr(diary, "facts_of", counted)
    topic, written = Topic(), diary.Diary(MemoryStore())
    topic.hello(100)
    written.write(topic.fold)
    for second in range(101, 114):
        topic.marker(second)
        written.write(topic.fold)
    topic.hello(115, "b", system="B")
    written.write(topic.fold)
    for second in range(116, 123):
        topic.marker(second)
        written.write(topic.fold)
    assert asked == [100, 110, 115, 122], (
        "every ten seconds; a system that speaks for the first time; and one that fell silent"
    )
