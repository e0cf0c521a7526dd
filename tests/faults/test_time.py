"""Time: late and disordered events, clocks that jump, workers that are behind, sources that die while nobody else speaks."""

from __future__ import annotations

from itertools import permutations

import pytest

from pipeline.store.contract import FlipRow
from pipeline.worker import Worker
from schemas.control import Gone, Hello, Marker, decode_control
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.faults.site import Site
from tests.faults.stories import ORDER, START, Event, flat, stories, told
from tracer.record import partition_of

ALL = flat(stories())
FINE = ORDER.replace("shipped 1.5d #p1, delivered 3d #p1", "shipped 1.5d #p1, delivered 2d #p1")


def flips(site: Site, order: str) -> list[FlipRow]:
    return site.store.flips(("order", order))


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    "story", ["placed 0m, paid 1m received, paid 2m, cancelled 5m", "placed 5m, paid 4m failed, paid 3m, paid 9m"]
)
def test_15_events_in_every_order(size: int, story: str) -> None:
    """End before start, failure before success, an event after the end: each permutation is judged alike."""
    site = Site()
    expected: dict[str, Event] = {}
    for number, shuffled in enumerate(permutations(range(4))):
        events = told("order", f"o{number}", story, {})
        site.send([events[place] for place in shuffled], each=1)
        expected |= {event["id"]: event for event in events}
    site.hear(START + 30 * DAY)
    worker = site.worker(max_records=size)
    worker.drain()
    said = site.verdicts()
    assert said == site.judged(list(expected.values()), worker)
    assert len({repr(one).replace(name[1], "") for name, one in said.items()}) == 1


def test_15_events_that_come_after_the_verdict() -> None:
    """Each event only once everything before it was judged missing, the earliest last."""
    site = Site()
    events = told("order", "x", FINE, {"parcels": 1})
    worker = site.worker()
    for number, event in enumerate(reversed(events)):
        site.send([event])
        site.hear(START + (30 + number) * DAY)
        worker.drain()
    assert site.verdicts() == site.judged(events, worker)
    assert site.verdicts()["order", "x", "order"].status == "completed"
    numbers = [flip.number for flip in flips(site, "x")]
    assert numbers == list(range(1, len(numbers) + 1))


def behind(site: Site) -> list[Event]:
    """A day of orders that all go well, each system marking every quarter of an hour."""
    events = [
        event for n in range(20) for event in told("order", f"o{n}", FINE, {"parcels": 1}, START + n * 5 * MINUTE)
    ]
    events.sort(key=lambda event: event["time"])
    now = START
    while events and now < START + 3 * DAY:
        now += 15 * MINUTE
        due = [event for event in events if event["time"] <= now]
        del events[: len(due)]
        if due or now < START + 6 * HOUR:
            site.time = now
            site.send(due, each=3)
            site.hear(now)
    site.hear(START + 3 * DAY)
    return [event for n in range(20) for event in told("order", f"o{n}", FINE, {"parcels": 1}, START + n * 5 * MINUTE)]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
@pytest.mark.parametrize("partitions", [1, 4])
def test_42_a_worker_that_is_behind_accuses_nobody(size: int, partitions: int) -> None:
    """Control is read at once, the events little by little: no flip ever says that an order is missing."""
    site = Site(partitions)
    events = behind(site)
    worker = site.worker(max_records=size)
    worker.drain()
    assert site.verdicts() == site.judged(events, worker)
    said = {(flip.status, flip.drop_to) for n in range(20) for flip in flips(site, f"o{n}")}
    assert said == {("completed", "")}


@pytest.mark.parametrize("slow", [0, 1])
def test_42_one_partition_is_behind_and_the_others_are_not(slow: int) -> None:
    """Its owner stands still for hours; what the other one owns may have its events there, so it waits."""
    site = Site(2)
    misplaced = [event for n in range(20) for event in told("order", f"o{n}", FINE, {"parcels": 1})]
    for event in misplaced:
        home = partition_of(f"order:{event['keys']['order']}".encode(), 2)
        site.send([event], at=slow if event["step"] in ("paid", "picked") else home)
    first, second = site.worker("A"), site.worker("B")
    for _ in range(4):
        first.step()
        second.step()
    assert [set(first.owned), set(second.owned)] == [{0}, {1}]
    workers = {0: first, 1: second}
    stuck, other = workers[slow], workers[1 - slow]
    stuck_at = site.ends()[slow]
    site.send([{**misplaced[0], "id": "more"}], at=slow)
    site.send(flat(told("order", f"p{n}", "placed 0m", {}) for n in range(20)), at=None)
    late = [event for n in range(20) for event in told("order", f"p{n}", "placed 0m, paid 5m", {})[1:]]
    site.send(late, at=slow)
    for hour in range(1, 8):
        site.hear(START + hour * HOUR)
        for _ in range(4):
            other.step()
    assert site.ends()[slow] > stuck_at
    assert not [flip for n in range(20) for flip in flips(site, f"p{n}") if flip.status in ("stalled", "lost")]
    assert other.fold.hearing("payments").clock < START + HOUR
    for _ in range(8):
        stuck.step()
        other.step()
    stuck.close()
    other.drain()
    accused = {flip.drop_to for n in range(20) for flip in flips(site, f"p{n}") if flip.status in ("stalled", "lost")}
    assert "paid" not in accused
    assert accused == {"confirmed"}


def test_42_what_was_forwarded_is_waited_for_by_whoever_owns_the_source() -> None:
    site = Site(2)
    events = [event for n in range(10) for event in told("order", f"o{n}", "placed 0m, paid 5m, confirmed 6m", {})]
    first, second = site.worker("A"), site.worker("B")
    for _ in range(4):
        first.step()
        second.step()
    assert second.owned == {1}
    site.send(events, at=1)
    site.hear(START + 2 * HOUR)
    for _ in range(5):
        second.step()
    assert second.counters.forwarded > 0
    assert second.fold.partitions[1].position == site.ends()[1]
    assert second.fold.hearing("payments").clock < START, "partition 0 has not read what was forwarded to it"
    for _ in range(3):
        first.step()
        second.step()
    assert second.fold.hearing("payments").clock == START + 2 * HOUR


def test_42_where_no_source_speaks_the_slowest_partition_counts() -> None:
    site = Site(2)
    events = [event for n in range(10) for event in told("order", f"o{n}", "placed 0m", {})]
    first, second = site.worker("A"), site.worker("B")
    for _ in range(3):
        first.step()
        second.step()
    site.time = START
    site.send(events)
    for _ in range(200):
        site.time += MINUTE
        second.step()
    assert not [flip for n in range(10) for flip in flips(site, f"o{n}")]
    for _ in range(3):
        first.step()
        second.step()
        site.time += 6 * SECOND
    first.close()
    second.drain()
    site.time += 6 * SECOND
    second.drain()
    assert {flip.status for n in range(10) for flip in flips(site, f"o{n}")} == {"stalled"}


def test_42_one_partition_that_is_never_quiet_does_not_stop_the_others_clocks() -> None:
    """An event a second in one of two, a turn after each: the other has nothing to read, and is read to its end."""
    site = Site(2)
    worker = site.worker()
    for _ in range(5):
        worker.step()
        site.time += 6 * SECOND
    before, begin = worker.fold.processed(), site.time
    orders = [f"o{number}" for number in range(250) if partition_of(f"order:o{number}".encode(), 2) == 0]
    for order in orders:
        site.time += SECOND
        site.send(told("order", order, "placed 0m", {}))
        worker.step()
    assert worker.fold.processed() - before >= site.time - begin - 12 * SECOND
    assert worker.fold.processed() <= site.time


@pytest.mark.parametrize("jump", [-DAY, -10 * SECOND, DAY])
def test_17_the_workers_own_clock_jumps(jump: int) -> None:
    """Pacing decides nothing about transactions, and a jump back does not silence the worker."""
    site = Site(2)
    site.send(told("order", "x", "placed 0m, paid 5m", {}))
    site.hear(START + 10 * MINUTE)
    worker = site.worker()
    ahead = 0
    worker._pacing = lambda: site.time + ahead
    worker.drain()
    before = site.verdicts()
    ahead = jump
    for _ in range(20):
        worker.step()
    assert site.verdicts() == before, "no false overdue"
    known = worker.fold.position
    for _ in range(20):
        site.time += SECOND
        worker.step()
    assert worker.fold.position > known + 5, "it goes on to tick"
    assert worker.fold.now >= site.time - 3 * SECOND
    assert worker.fold.processed() >= site.time - MINUTE - 8 * SECOND, "of every partition"


def test_17_the_logs_clock_jumps_back() -> None:
    """Append times never go back; what is judged stands still until the clock has caught up."""
    site = Site()
    site.send(told("order", "x", "placed 0m, paid 5m", {}))
    site.hear(START + 10 * MINUTE)
    worker = site.worker()
    worker.drain()
    before, control = site.verdicts(), worker.fold.now
    site.time -= DAY
    site.send(told("order", "y", "placed 0m", {}))
    for _ in range(30):
        site.time += SECOND
        worker.step()
    assert worker.fold.now == control
    assert {name: said for name, said in site.verdicts().items() if name[1] == "x"} == before
    assert not flips(site, "y")
    site.time += DAY
    site.hear(START + HOUR)
    worker.drain()
    assert [flip.drop_to for flip in flips(site, "y")] == ["paid"]


def silent_at(site: Site, worker: Worker, system: str, limit: int) -> int:
    begin = site.time
    while not worker.fold.hearing(system).silent:
        site.time += SECOND // 2
        assert site.time < begin + limit, "a lease that never ends"
        worker.step()
    return site.time


@pytest.mark.parametrize("every", [SECOND // 10, 2 * SECOND, 30 * SECOND])
def test_h12_the_last_worker_idles_while_a_source_dies(every: int) -> None:
    """Nothing moves but its own ticks: silence is noticed, and what waits on it is raised."""
    site = Site()
    site.send(told("order", "x", "placed 0m", {}))
    site.hear(START + MINUTE, every=every)
    worker = site.worker()
    worker.drain()
    lease = max(3 * every, 6 * SECOND)
    assert silent_at(site, worker, "payments", 5 * MINUTE) <= START + 3 * MINUTE + lease
    for _ in range(2_000):
        site.time += SECOND
        worker.step()
    said = site.verdicts()["order", "x", "order"]
    assert said.status == "unknown"
    assert [flip.status for flip in flips(site, "x")] == ["unknown"]


def test_h12_every_worker_ends_a_lease_at_the_same_time() -> None:
    """Also one that reads control hours later."""
    site = Site(2)
    site.hear(START + MINUTE, every=2 * SECOND)
    workers = [site.worker("A"), site.worker("B")]
    for _ in range(80):
        site.time += SECOND
        for worker in workers:
            worker.step()
    site.time += 3 * HOUR
    workers.append(site.worker("C"))
    ends = [worker.fold.epochs["payments-1", 1].expired_at for worker in workers]
    assert ends[0] is not None
    assert len(set(ends)) == 1


def test_h12_who_is_gone_is_written_down_once_by_whoever_ticks() -> None:
    site = Site(2)
    site.hear(START + MINUTE, every=2 * SECOND)
    workers = [site.worker("A"), site.worker("B")]
    for _ in range(1_200):
        site.time += SECOND
        for worker in workers:
            worker.step()
    rows = [decode_control(row.value) for row in site.log.broker.topics["lastseen.control"][0].rows]
    gone = [row for row in rows if isinstance(row, Gone)]
    assert {row.source for row in gone} == {f"{system}-1" for system in site.systems}
    assert len(gone) <= 2 * len(site.systems)


def test_h7_a_source_that_was_cut_off_comes_back_with_its_spool() -> None:
    """Meanwhile nothing is called stalled; afterwards nothing stays unknown, and no restart is needed for that."""
    site = Site()
    site.send(flat(told("order", f"o{n}", "placed 0m", {}) for n in range(5)))
    site.hear(START + MINUTE, every=2 * SECOND)
    worker = site.worker()
    worker.drain()
    for minute in range(2, 90):
        for second in range(0, 60, 2):
            site.time = START + minute * MINUTE + second * SECOND
            for system in site.systems:
                if system != "payments":
                    said = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
                    site.write(Marker.model_validate({**said, "through": site.time, "acked": site.ends()}))
        worker.step()
    worker.drain()
    said = {name[1]: one.status for name, one in site.verdicts().items()}
    assert set(said.values()) == {"unknown"}
    spool = flat(told("order", f"o{n}", "placed 0m, paid 5m", {})[1:] for n in range(4))
    site.send(spool)
    site.hear(site.time, every=2 * SECOND)
    worker.drain()
    now = {name[1]: one.status for name, one in site.verdicts().items()}
    assert now == {"o0": "stalled", "o1": "stalled", "o2": "stalled", "o3": "stalled", "o4": "stalled"}
    drops = {name[1]: one.drops[0].to_step for name, one in site.verdicts().items()}  # type: ignore[attr-defined]
    assert drops == {"o0": "confirmed", "o1": "confirmed", "o2": "confirmed", "o3": "confirmed", "o4": "paid"}


def test_h8_a_late_hello_takes_back_what_was_said_for_want_of_it() -> None:
    """A second pod of the payments observed from the beginning and says hello only now: nothing is proved any more."""
    site = Site()
    site.send(told("order", "x", "placed 0m", {}))
    site.hear(START + HOUR)
    worker = site.worker()
    worker.drain()
    assert site.verdicts()["order", "x", "order"].status == "stalled"
    site.time += MINUTE
    who = {"source": "payments-2", "epoch": 9, "systems": ("payments",)}
    site.write(Hello.model_validate({**who, "boot": START - MINUTE, "since": START - MINUTE, "every": DAY}))
    worker.drain()
    assert site.verdicts()["order", "x", "order"].status in ("unknown", "in_progress")
    site.send(told("order", "x", "placed 0m, paid 5m, confirmed 6m", {})[1:], source="payments-2", epoch=9)
    site.write(Marker.model_validate({**who, "through": site.time, "acked": site.ends()}))
    site.hear(START + 2 * HOUR)
    worker.drain()
    assert site.verdicts()["order", "x", "order"].status == "in_progress"
