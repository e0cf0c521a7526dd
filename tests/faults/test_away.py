"""Services that are away, and being asked to stop: nothing is committed, the place in the group is kept, work goes on by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pipeline.errors import Unavailable
from pipeline.log import LogRecord, PositionLost
from pipeline.log.contract import GROUP
from pipeline.log.memory import MemoryConsumer, MemoryControlReader, MemoryLog
from pipeline.store.contract import QuarantineRow
from pipeline.store.memory import MemoryStore
from pipeline.worker import Stopping, Worker
from schemas.times import DAY, MINUTE
from tests.faults.site import Site
from tests.faults.stories import START, flat, stories
from tracer.record import CONTROL, EVENTS, Record
from tracer.sinks.memory import MemoryPartition, MemorySink

ALL = flat(stories())
OPERATIONS = ["write_events", "write_flips", "write_verdicts", "write_keys", "write_hearing", "write_sources"]


class Outage:
    """The store refuses one operation ``times`` times. ``seen`` is called at each refusal."""

    def __init__(self, operation: str, times: int):
        self.operation, self.times, self.refused = operation, times, 0
        self.seen: Callable[[], object] = lambda: None

    def __call__(self, operation: str) -> None:
        if operation == self.operation and self.refused < self.times:
            self.refused += 1
            self.seen()
            raise Unavailable("the store is away")


def patient(site: Site, patience: float | None = None) -> Worker:
    return site.worker(max_records=20, patience=patience, first_backoff=0.001, longest_backoff=0.002)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_9_the_store_is_away_and_comes_back(operation: str) -> None:
    """While it is, nothing is committed or announced, membership is kept, and nothing is polled away."""
    outage = Outage(operation, 20)
    site = Site(2, store=MemoryStore(before=outage))
    site.send(ALL, each=3)
    site.hear(START + 30 * DAY)
    worker = patient(site)
    group = site.log.groups["lastseen"]
    seen: list[tuple[dict[int, int], list[object], int]] = []
    outage.seen = lambda: seen.append((dict(group.commits), list(group.members), group.generation))
    worker.drain()
    assert outage.refused == 20
    assert worker.counters.retries == 20
    commits, members, generation = zip(*seen, strict=True)
    assert all(one == commits[0] for one in commits), "nothing was committed meanwhile"
    assert all(one == [worker._consumer] for one in members)
    assert len(set(generation)) == 1
    assert site.verdicts() == site.judged(ALL, worker)
    assert group.commits == site.ends()


def test_21_the_quarantine_is_away() -> None:
    """No commit before what is bad is kept."""
    outage = Outage("write_quarantine", 10**9)
    site = Site(store=MemoryStore(before=outage))
    site.produce([Record(EVENTS, b"order:1", b"{", (), 0)])
    site.send(ALL[:5])
    worker = patient(site, patience=0.01)
    with pytest.raises(Unavailable):
        worker.drain()
    assert site.log.groups["lastseen"].commits == {}
    outage.times = 0
    site.evict_all()
    site.worker().drain()
    kept: list[QuarantineRow] = site.store.quarantine()
    assert [row.payload for row in kept] == [b"{"]
    assert site.log.groups["lastseen"].commits == site.ends()


def test_the_log_is_away_and_comes_back() -> None:
    """Cut off at every step in turn; each time it goes on as soon as the log is there again."""
    site = Site(2)
    site.send(ALL, each=3)
    site.hear(START + 30 * DAY)
    worker = patient(site)
    cut: set[str] = set()

    def disturb(step: str) -> None:
        if step not in cut:
            cut.add(step)
            site.log.broker.down = True

    wait = worker._stop.wait

    def heal(timeout: float | None = None) -> bool:
        if worker.counters.retries % 3 == 0:
            site.log.broker.down = False
        return wait(timeout)

    worker._checkpoint = disturb
    worker._stop.wait = heal  # type: ignore[method-assign]
    worker.drain()
    assert worker.counters.retries >= 3 * 5
    assert site.verdicts() == site.judged(ALL, worker)


def test_12_polls_that_fail_after_they_took_records_lose_none() -> None:
    """No adapter's does; a hole would be committed over, and nobody would hear of it."""
    site = Site(2)
    site.send(ALL, each=3)
    site.hear(START + 30 * DAY)
    worker = patient(site)
    poll, polls = worker._consumer.poll, list[int]()

    def forgetful(max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:
        records = poll(max_records, timeout_ms)
        if records:
            polls.append(len(polls))
            if len(polls) in (1, 2, 5):
                raise Unavailable("what was taken is gone")
        return records

    worker._consumer.poll = forgetful  # type: ignore[method-assign]
    worker.drain()
    assert len(polls) > 5
    assert worker.counters.events == len(ALL) + 1
    assert site.verdicts() == site.judged(ALL, worker)
    assert site.log.groups["lastseen"].commits == site.ends()


def test_12_a_position_that_is_not_known_yet_is_waited_for() -> None:
    """As after a broker's restart, when the group's coordinator cannot say where we are; not the end of the worker."""
    site = Site()
    site.send(ALL)
    site.hear(START + DAY)
    worker = patient(site)
    worker.drain()
    position, unknown = worker._consumer.position, list[int]()

    def away(partition: int) -> int:
        if len(unknown) < 3:
            unknown.append(partition)
            raise Unavailable("the position is not known yet")
        return position(partition)

    worker._consumer.position = away  # type: ignore[method-assign]
    for _ in range(3):
        site.time += MINUTE
        worker.step()
    assert len(unknown) == 3
    assert worker.fold.processed() >= site.time - 3 * MINUTE


def test_control_that_is_not_handed_out_is_waited_for_with_patience() -> None:
    """Its end was asked, then it went away: a client that has no broker reads nothing, for ever, and raises nothing."""
    site = Site()
    worker = site.worker(patience=0.01, first_backoff=0.001, longest_backoff=0.002)
    worker.step()
    read, hold, held = worker._desk._reader.read, worker._ownership.hold, list[int]()
    worker._desk._reader.read = lambda *_: []  # type: ignore[method-assign]

    def holding() -> None:
        held.append(1)
        hold()

    worker._desk._patience._hold = holding
    site.hear(START)
    with pytest.raises(Unavailable, match="not handed out"):
        worker.drain()
    assert len(held) > 3, "our place in the group is kept"
    worker._stop.set()
    with pytest.raises(Stopping):
        worker.step()
    worker._stop.clear()
    worker._desk._reader.read = read  # type: ignore[method-assign]
    worker.drain()
    assert worker.fold.position == site.log.broker.topics[CONTROL][0].end


def test_13_control_made_anew_under_a_worker_is_an_alarm() -> None:
    """Fences begin at nothing again; it neither stands still without a word nor reads on in the middle."""
    site = Site()
    site.send(ALL)
    worker = site.worker()
    worker.drain()
    site.log.broker.topics[CONTROL][0] = MemoryPartition()
    with pytest.raises(PositionLost, match=r"lastseen\.control was deleted and made anew"):
        worker.step()


def test_a_worker_that_cannot_begin_leaves_nothing_open() -> None:
    site = Site()
    closed: list[str] = []

    class Deaf(MemoryLog):
        def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> MemoryConsumer:
            made = super().consumer(group, from_beginning=from_beginning)
            made.close = lambda: closed.append("consumer")  # type: ignore[method-assign]
            return made

        def producer(self) -> MemorySink:
            made = super().producer()
            made.close = lambda: closed.append("sink")  # type: ignore[method-assign]
            return made

        def control_reader(self) -> MemoryControlReader:
            raise Unavailable("no control")

    site.log = Deaf(1, site.clock)
    with pytest.raises(Unavailable, match="no control"):
        site.worker()
    assert closed == ["consumer", "sink"]


def test_a_part_that_cannot_be_closed_keeps_no_other_open() -> None:
    site = Site()
    worker = site.worker()
    closed: list[str] = []

    def refuse() -> None:
        raise Unavailable("the group cannot be told")

    worker._consumer.close = refuse  # type: ignore[method-assign]
    worker._desk._reader.close = lambda: closed.append("control")  # type: ignore[method-assign]
    worker._sink.close = lambda: closed.append("sink")  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="cannot be told"):
        worker.close()
    assert closed == ["control", "sink"]


def test_34_cut_off_from_the_log_no_verdict_changes() -> None:
    """For as long as it lasts, whatever the clock on the wall says; and the leases of those who could not renew are renewed."""
    site = Site()
    site.send(ALL)
    site.hear(START + DAY, every=DAY)
    worker = site.worker()
    worker.drain()
    before = site.verdicts()
    site.log.broker.down = True
    for _ in range(10):
        site.time += DAY
        with pytest.raises(Unavailable):
            worker.step()
    assert site.verdicts() == before
    site.log.broker.down = False
    for _ in range(5):
        site.time += 1
        worker.step()
    assert site.verdicts() == before
    assert not worker.fold.hearing("payments").silent
    site.hear(START + 30 * DAY)
    worker.drain()
    assert site.verdicts() == site.judged(ALL, worker)


@pytest.mark.parametrize("step", ["decode", "write events", "write verdicts", "announce"])
def test_asked_to_stop_it_finishes_the_batch_commits_and_leaves(step: str) -> None:
    site = Site()
    site.send(ALL, each=3)
    site.hear(START + 30 * DAY)
    stop = threading.Event()

    def ask(name: str) -> None:
        if name == step:
            stop.set()

    worker = site.worker(checkpoint=ask, max_records=10)
    worker._stop = stop
    worker.run()
    group = site.log.groups["lastseen"]
    assert group.commits == {0: 10}
    assert group.members == []
    assert worker.counters.batches == 1
    site.worker().drain()
    assert site.store.count_events() == len(ALL) + 1


def test_asked_to_stop_while_a_service_is_away_it_leaves_at_once() -> None:
    outage = Outage("write_events", 10**9)
    site = Site(store=MemoryStore(before=outage))
    site.send(ALL)
    worker = patient(site)
    outage.seen = lambda: worker._stop.set() if outage.refused == 3 else None
    worker.run()
    assert outage.refused <= 4
    assert site.log.groups["lastseen"].commits == {}
    assert site.log.groups["lastseen"].members == []


def test_asked_to_stop_a_drain_says_so_too() -> None:
    outage = Outage("write_events", 10**9)
    site = Site(store=MemoryStore(before=outage))
    site.send(ALL)
    worker = patient(site)
    outage.seen = lambda: worker._stop.set() if outage.refused == 3 else None
    with pytest.raises(Stopping):
        worker.drain()
