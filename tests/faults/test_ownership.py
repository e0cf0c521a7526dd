"""Who owns a partition: rebalances, zombies, late claims, records in the wrong place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.log import LogRecord
from pipeline.log.memory import MemoryLog
from pipeline.store.contract import VerdictQuery
from pipeline.worker import Worker
from schemas.control import Own, decode_control
from schemas.times import DAY, HOUR, MINUTE
from tests.core.control_topic import compacted, fold_of
from tests.faults.site import Crash, Crashing, Site
from tests.faults.stories import START, flat, stories, told
from tests.faults.test_crash import STEPS
from tracer.record import CONTROL, EVENTS, KIND, Ack, Record, partition_of
from tracer.sinks.memory import MemorySink

ALL = flat(stories())


def ready(partitions: int = 1, *, each: int = 4) -> Site:
    site = Site(partitions)
    site.send(ALL, each=each)
    site.hear(START + 30 * DAY)
    return site


def finish(site: Site, worker: Worker, others: Sequence[Worker] = ()) -> None:
    """The others leave; one worker processes what is left. Then all is as if nothing had happened."""
    for other in others:
        other.close()
    worker.drain()
    assert site.verdicts() == site.judged(ALL, worker)
    assert site.store.count_events() == len(ALL) + 1
    assert site.store.count_quarantine() == {}


class Pausing:
    """A checkpoint at whose ``moment``-th call something else happens, and then the worker goes on: it was stopped for long."""

    def __init__(self, moment: int, meanwhile: Callable[[], None]):
        self.moment, self.meanwhile, self.calls = moment, meanwhile, 0

    def __call__(self, step: str) -> None:
        self.calls += 1
        if self.calls == self.moment:
            self.meanwhile()


@pytest.mark.parametrize("moment", range(1, 2 * len(STEPS) + 1))
def test_7_a_zombie_always_loses(moment: int) -> None:
    """A is stopped after a step of its first or second batch, past its session timeout; B does everything; A goes on."""
    site = ready()
    others: list[Worker] = []

    def meanwhile() -> None:
        site.evict(zombie)
        others.append(site.worker("B"))
        others[0].drain()

    pausing = Pausing(moment, meanwhile)
    zombie = site.worker("A", checkpoint=pausing, max_records=20)
    while not others:
        zombie.step()
    (owner,) = others
    fence = owner.fold.partitions[0].fence
    position = owner.fold.partitions[0].position
    owner._desk.read()
    assert owner.fold.partitions[0].fence == fence, "the zombie's progress changes nothing"
    assert owner.fold.partitions[0].position == position
    assert site.log.groups["lastseen"].commits == {0: position}, "nor does its commit"
    # A link that it had still to send says what the owner's said.
    owner.drain()
    assert owner.fold.partitions[0].position == site.ends()[0]
    assert site.verdicts() == site.judged(ALL, owner)
    finish(site, owner, [zombie])


@pytest.mark.parametrize("step", ["judge", "write flips", "write verdicts"])
def test_7_what_a_zombie_knew_loses_against_what_the_owner_knows(step: str) -> None:
    """A finds an order stalled and is stopped before, or while, it says so. Meanwhile its payment arrives late, and B judges."""
    site = Site()
    early, late = told("order", "x", "placed 0m, paid 5m, confirmed 6m", {})[0], []
    late = told("order", "x", "placed 0m, paid 5m, confirmed 6m", {})[1:]
    site.send([early])
    site.hear(START + 10 * MINUTE)
    others: list[Worker] = []

    def meanwhile(name: str) -> None:
        if name == step and not others:
            site.evict(zombie)
            site.send(late)
            site.hear(START + HOUR)
            others.append(site.worker("B"))
            others[0].drain()

    zombie = site.worker("A")
    zombie.drain()
    site.hear(START + HOUR)
    zombie._checkpoint = meanwhile
    while not others:
        zombie.step()
    (row,) = site.store.load_verdicts([("order", "x")])["order", "x"]
    assert row.status == "in_progress"
    assert row.version >> 32 == others[0].fold.partitions[0].fence
    said = [flip.status for flip in site.store.flips(("order", "x"))]
    assert said in ([], ["stalled", "in_progress"]), "what was said last is what is said now"


def test_6_a_rebalance_in_the_middle_of_a_batch() -> None:
    """A second worker joins after each step of each batch of the first; both go on."""
    for moment in range(1, 3 * len(STEPS)):
        site = ready(4)
        joined: list[Worker] = []

        def join(site: Site = site, joined: list[Worker] = joined) -> None:
            joined.append(site.worker("B", max_records=3))
            joined[0].step()

        first = site.worker("A", checkpoint=Pausing(moment, join), max_records=10)
        for _ in range(12):
            first.step()
            for other in joined:
                other.step()
        assert joined
        assert first.owned | joined[0].owned == {0, 1, 2, 3}
        assert first.owned.isdisjoint(joined[0].owned)
        finish(site, first, joined)


Action = tuple[int, str]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["step", "step", "step", "evict", "crash", "close"])), max_size=40),
)  # fmt: skip
def test_8_workers_come_and_go_in_any_order(partitions: int, actions: list[Action]) -> None:
    """Up to three, step by step; evicted, crashed in the middle of a step, stopped; and at last one is alone."""
    site = ready(partitions, each=2)
    workers: dict[int, Worker] = {}
    for number, action in actions:
        worker = workers.get(number)
        if worker is None:
            worker = workers[number] = site.worker(f"w{number}", max_records=4)
        if action == "step":
            worker.step()
        elif action == "evict":
            site.evict(worker)
        elif action == "close":
            workers.pop(number).close()
        else:
            worker._checkpoint = Crashing(1 + len(site.ends()) % 9)
            try:
                worker.step()
            except Crash:
                site.evict(workers.pop(number))
            else:
                worker._checkpoint = lambda _: None
    last = site.worker("last", max_records=50)
    finish(site, last, list(workers.values()))


class StallingLog(MemoryLog):
    """``before_own`` is called before a worker's *own* is written, once."""

    def __init__(self, partitions: int, clock: Callable[[], int]):
        super().__init__(partitions, clock)
        self.before_own: Callable[[], None] | None = None

    def producer(self) -> MemorySink:
        return _StallingSink(self)


class _StallingSink(MemorySink):
    def __init__(self, log: StallingLog):
        super().__init__(log.broker)
        self._log = log

    def produce(self, records: Sequence[Record], timeout: float = 30.0) -> list[Ack]:
        stall = self._log.before_own
        if stall is not None and any(record.topic == CONTROL and b'"own"' in record.value for record in records):
            self._log.before_own = None
            stall()
        return super().produce(records, timeout)


def test_h3_a_worker_that_stalls_before_its_own() -> None:
    """A is assigned and stalls before it writes *own*; B is assigned, owns, works; A wakes and writes."""
    site = Site()
    log = StallingLog(1, site.clock)
    site.log, site.sink = log, log.producer()
    site.send(ALL, each=4)
    site.hear(START + 30 * DAY)
    others: list[Worker] = []

    def stall() -> None:
        site.evict(late)
        others.append(site.worker("B", max_records=10))
        for _ in range(3):
            others[0].step()

    late = site.worker("A")
    log.before_own = stall
    late.step()
    (owner,) = others
    assert late.owned == frozenset(), "its own does not count, and the group does not confirm it"
    assert owner.owned == {0}
    assert [one.worker for one in owns(site)] == ["B", "A"]
    before = owner.fold.partitions[0].position
    owner.step()
    assert owner.fold.partitions[0].worker == "B"
    owner._desk.read()
    assert owner.fold.partitions[0].position > before, "B's progress counts as before"
    finish(site, owner, [late])


def test_h9_an_own_whose_acknowledgement_was_lost_counts_also_for_who_reads_control_compacted() -> None:
    """It arrived, and the worker that does not know writes another after the same fence: of the two the first counts."""
    site = ready()
    worker = site.worker("A", patience=None, first_backoff=0.0)
    broker = site.log.broker
    broker.lose_acks = True

    def heal(_: float) -> bool:
        broker.lose_acks = False
        return False

    worker._stop.wait = heal  # type: ignore[assignment, method-assign]
    worker.drain()
    assert [one.after for one in owns(site)][:2] == [-1, -1]
    site.hear(START + 31 * DAY)
    worker.drain()
    rows = [
        (offset, row.append_time, decode_control(row.value))
        for offset, row in enumerate(broker.topics[CONTROL][0].rows)
    ]
    left = compacted(rows, 0)
    assert len(left) < len(rows)
    known, told = worker.fold.partitions[0], fold_of(left, site.landscape).partitions[0]
    assert known.position == site.ends()[0]
    assert told == known


def test_a_no_while_the_group_leaves_us_a_partition_is_not_the_last_word() -> None:
    """Who is asked in the middle of a join says no, and assigns nothing anew afterwards."""
    site = ready(2)
    worker = site.worker()
    asked, ask = list[int](), worker._consumer.still_owns

    def still_owns(partition: int) -> bool:
        asked.append(partition)
        return len(asked) > 2 and ask(partition)

    worker._consumer.still_owns = still_owns  # type: ignore[method-assign]
    worker.step()
    assert worker.owned == frozenset()
    assert owns(site) == [], "nothing is claimed against a no"
    finish(site, worker)
    assert worker.owned == {0, 1}


def owns(site: Site) -> list[Own]:
    rows = [decode_control(row.value) for row in site.log.broker.topics[CONTROL][0].rows]
    return [row for row in rows if isinstance(row, Own)]


def test_records_polled_while_ownership_is_doubtful_are_read_again() -> None:
    """After a poll another worker's *own* is read, and when we claim anew a third is faster: what was polled is nobody's yet."""
    site = Site()
    log = StallingLog(1, site.clock)
    site.log, site.sink = log, log.producer()
    site.send(ALL, each=4)
    site.hear(START + 30 * DAY)
    worker = site.worker(max_records=5)
    worker.step()
    poll, known = worker._consumer.poll, worker.fold.partitions[0]
    rivals: list[int] = []

    def rival() -> None:
        fence = max([known.fence, *rivals])
        site.write(Own(partition=0, after=fence, worker=f"rival {len(rivals)}"))
        rivals.append(len(log.broker.topics[CONTROL][0].rows) - 1)

    def disturbed(max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:
        records = poll(max_records, timeout_ms)
        if records and not rivals:
            rival()
            log.before_own = rival
            worker._desk.read()
        return records

    worker._consumer.poll = disturbed  # type: ignore[method-assign]
    finish(site, worker)
    assert len(rivals) == 2


def test_an_acknowledgement_of_progress_that_got_lost_is_made_good() -> None:
    site = ready()
    worker = site.worker(max_records=1_000, patience=None, first_backoff=0.0)

    def lose(step: str) -> None:
        if step == "produce":
            site.log.broker.down = True

    def heal(_: float) -> bool:
        site.log.broker.down = False
        return False

    worker._checkpoint = lose
    worker._stop.wait = heal  # type: ignore[assignment, method-assign]
    while not worker.counters.batches:
        worker.step()
    worker._desk.read()
    assert worker.counters.retries == 1
    assert worker.fold.partitions[0].position == site.log.groups["lastseen"].commits[0]


def test_what_lies_in_a_wrong_partition_is_forwarded_to_its_own() -> None:
    """A foreign producer with another partitioner: everything is in partition 0, or one further than it should be."""
    for at in (0, 1, 3):
        site = Site(4)
        site.send(ALL, each=5, at=at)
        site.hear(START + 30 * DAY)
        worker = site.worker(max_records=7)
        finish(site, worker)
        assert worker.counters.forwarded > 0
        rows = list(site.store.verdicts(VerdictQuery(excluded=None)))
        assert all(row.partition == partition_of(f"{row[0]}:{row[1]}".encode(), 4) for row in rows)


def test_an_event_that_names_two_transactions_is_copied_to_the_other() -> None:
    site = Site(4)
    shared = [event for event in ALL if len(event["keys"]) == 2 and "cart" in event["keys"]]
    assert len(shared) == 1
    site.send(shared)
    site.hear(START + DAY)
    worker = site.worker()
    worker.drain()
    loaded = site.store.load_events([("cart", "c0"), ("order", "o0")])
    assert [event.id for event in loaded["cart", "c0"]] == [event.id for event in loaded["order", "o0"]]
    assert worker.counters.forwarded == 2, "the copy, and the link of the cart that the order must not share"


def test_markers_wait_for_what_was_forwarded() -> None:
    """With everything misplaced nothing is called missing in between, whatever the batches."""
    for size in (1, 3, 50):
        site = Site(3)
        site.send(ALL, each=1, at=2)
        site.hear(START + 30 * DAY)
        finish(site, site.worker(max_records=size))
        flips = site.flips()
        direct = Site(3)
        direct.send(ALL, each=1)
        direct.hear(START + 30 * DAY)
        finish(direct, direct.worker(max_records=size))
        missing = {name: [flip[2] for flip in told if flip[2] in ("lost", "stalled")] for name, told in flips.items()}
        other = direct.flips()
        assert missing == {
            name: [flip[2] for flip in told if flip[2] in ("lost", "stalled")] for name, told in other.items()
        }


def test_events_too_big_to_share_a_record_are_forwarded_in_several() -> None:
    import random

    site = Site(2)
    noise = random.Random(1)
    big = [
        {**event, "attributes": {str(n): "".join(chr(noise.randrange(0x4E00, 0x9000)) for _ in range(900)) for n in range(30)}}
        for event in ALL[:40]
    ]  # fmt: skip
    for event in big:
        site.send([event], at=1)
    site.hear(START + DAY)
    worker = site.worker()
    worker.drain()
    assert site.store.count_events() == len({event["id"] for event in big})


def test_a_request_to_judge_again_is_taken_where_the_transaction_lives() -> None:
    site = ready(4)
    worker = site.worker()
    worker.drain()
    key = b"order:order-1-0"
    home = partition_of(key, 4)
    before = {row[:3]: row.version for row in site.store.verdicts(VerdictQuery(excluded=None))}
    for partition in range(4):
        site.produce([Record(EVENTS, key, b"", ((KIND, b"rejudge"),), partition)])
    worker.drain()
    rows = list(site.store.verdicts(VerdictQuery(excluded=None)))
    (row,) = [row for row in rows if row.transaction_id == "order-1-0"]
    assert row.partition == home
    assert all(after.version >> 32 == worker.fold.partitions[after.partition].fence for after in rows), before
    assert sum(site.store.count_quarantine().values()) == 3


def test_what_no_flow_knew_at_first_is_not_forgotten_by_the_next_owner() -> None:
    """An event of an unknown step makes no verdict; with the step that does, it is part of the whole, whoever owns it by then."""
    site = Site()
    first, *rest = told("order", "x", "placed 0m, paid 5m", {})
    strange = {**first, "id": "strange", "step": "weighed"}
    site.send([strange])
    site.hear(START + MINUTE)
    worker = site.worker("A")
    worker.drain()
    assert site.verdicts() == {}
    worker.close()
    site.send([first, *rest])
    site.hear(START + HOUR)
    other = site.worker("B")
    other.drain()
    assert site.verdicts() == site.judged([strange, first, *rest], other)
    assert "unexpected" in str(site.verdicts())


def test_two_workers_that_start_at_once_on_an_empty_control_take_nothing_for_made_anew() -> None:
    """A finds control empty and stalls; B starts, works and commits; A goes on."""
    site = Site()
    log = SlowToSay(1, site.clock)
    site.log, site.sink = log, log.producer()
    site.send(ALL, each=4)
    others: list[Worker] = []
    log.before = lambda: others.append(site.worker("B")) or others[0].drain()  # type: ignore[func-returns-value]
    late = site.worker("A")
    assert others[0].counters.events
    site.hear(START + 30 * DAY)
    finish(site, others[0], [late])


class SlowToSay(MemoryLog):
    """``before`` is called, once, before it says what it is."""

    before: Callable[[], object] | None = None

    def identity(self) -> str:
        stall, self.before = self.before, None
        if stall is not None:
            stall()
        return super().identity()
