"""FAULTS.md 38 and H11: partitions added, by us and behind our back; foreign partitioners; workers with two numbers."""

from __future__ import annotations

from zlib import crc32

import pytest

from pipeline.errors import Invalid, Unavailable
from pipeline.store.contract import VerdictQuery
from pipeline.work.growth import Growth, said_otherwise, why_not
from pipeline.worker import Worker
from schemas.control import Partitions
from schemas.times import DAY
from tests.faults.site import Crash, Site
from tests.faults.stories import START, Event, flat, stories, told
from tests.faults.test_crash import STEPS
from tracer.record import CONTROL, EVENTS, Record

ALL = flat(stories())
HALF = len(ALL) // 2
OLD, NEW = 2, 5


def foreign(key: bytes) -> int:
    """Another partitioner than ours."""
    return crc32(key[::-1]) // 7


def grow(site: Site, count: int = NEW) -> None:
    growth = Growth(site.log, site.landscape, count)
    try:
        growth.change()
    finally:
        growth.close()
    site.partitions = count


def standing(site: Site, count: int = NEW) -> str:
    growth = Growth(site.log, site.landscape, count)
    try:
        found = growth.standing()
        return "" if found.ready else why_not(found)
    finally:
        growth.close()


def undisturbed() -> Site:
    site = Site(OLD)
    site.send(ALL, each=3)
    site.hear(START + 30 * DAY)
    worker = site.worker()
    worker.drain()
    worker.close()
    return site


def finish(site: Site, *workers: Worker) -> None:
    """One worker processes what is left: everything is where it belongs, and as if the number had been this one always."""
    for other in workers:
        other.close()
    site.hear(START + 30 * DAY)
    last = site.worker("last")
    last.drain()
    assert site.verdicts() == site.judged(ALL, last) == undisturbed().verdicts()
    rows = list(site.store.verdicts(VerdictQuery(excluded=None)))
    assert len(rows) == len({row[:3] for row in rows}), "no transaction is split"
    assert site.store.count_events() == len(ALL) + 1
    assert site.store.count_quarantine() == {}
    last.close()


def half_done() -> Site:
    """Half of every story is told, and processed, and nobody works."""
    site = Site(OLD)
    site.send(ALL[:HALF], each=3)
    worker = site.worker()
    worker.drain()
    worker.close()
    return site


def test_38_partitions_are_added_between_two_halves_of_every_story() -> None:
    site = half_done()
    grow(site)
    assert site.log.partitions() == NEW
    site.send(ALL[HALF:], each=3)
    finish(site)


def test_38_sources_go_on_with_the_old_number_meanwhile() -> None:
    site = half_done()
    growth = Growth(site.log, site.landscape, NEW)
    site.send(ALL[HALF : HALF + 20], each=1)
    growth.change()
    growth.close()
    site.send(ALL[HALF + 20 :], each=1)
    finish(site)


@pytest.mark.parametrize("each", [1, 4])
def test_38_a_foreign_producer_with_another_partitioner(each: int) -> None:
    site = half_done()
    grow(site)
    sent = Site(NEW)
    sent.send(ALL[HALF:], each=each)
    for partition in sent.log.broker.topics[EVENTS]:
        for row in partition.rows:
            site.produce([Record(EVENTS, row.key, row.value, row.headers, foreign(row.key) % NEW)])
    finish(site)


def test_38_it_is_not_changed_before_all_is_processed_and_nobody_works() -> None:
    site = Site(OLD)
    site.send(ALL[:HALF], each=3)
    worker = site.worker("A")
    worker.step()
    worker.step()
    assert "not processed yet by member 0" in standing(site)
    with pytest.raises(Unavailable, match=r"stays 2: .* not processed yet"):
        grow(site)
    worker.drain()
    assert standing(site) == "all is processed; now stop the worker: member 0"
    with pytest.raises(Unavailable, match="now stop the worker"):
        grow(site)
    worker.close()
    site.send(ALL[HALF:], each=3)
    assert "no worker runs: lastseen worker --drain" in standing(site)
    with pytest.raises(Unavailable):
        grow(site)
    assert site.log.partitions() == OLD
    worker = site.worker("B")
    worker.drain()
    worker.close()
    grow(site)
    finish(site)


def test_38_what_was_forwarded_is_waited_for() -> None:
    """Everything lies in partition 0 and half of it belongs to 1: it is not processed when 0 has been read."""
    site = Site(OLD)
    site.send(ALL[:HALF], each=3, at=0)
    growth = Growth(site.log, site.landscape, NEW)
    first, second = site.worker("A", max_records=2), site.worker("B", max_records=2)
    while not (first.owned and second.owned):
        first.step()
        second.step()
    reader, other = (first, second) if 0 in first.owned else (second, first)
    assert reader.owned == {0}
    assert other.owned == {1}
    while reader.step():
        pass
    reader._tick(force=True)
    assert growth.standing().behind > 0
    while other.step():
        pass
    other._tick(force=True)
    assert growth.standing().behind == 0
    reader.close()
    other.close()
    growth.change()
    growth.close()
    site.partitions = NEW
    site.send(ALL[HALF:], each=3)
    finish(site)


def test_fewer_are_refused() -> None:
    site = half_done()
    with pytest.raises(Invalid, match="has 2 partitions, which cannot become 1"):
        Growth(site.log, site.landscape, 1)
    grow(site)
    with pytest.raises(Invalid, match="has 5 partitions, which cannot become 2"):
        Growth(site.log, site.landscape, OLD)
    assert said_otherwise(site.log, site.landscape) == ""


def test_a_crash_between_log_and_control_is_mended_by_the_same_again() -> None:
    site = half_done()
    growth = Growth(site.log, site.landscape, NEW)
    extend, produced = site.log.extend, site.log.broker.topics[CONTROL][0].end

    def crash(count: int) -> None:
        extend(count)
        raise Crash

    site.log.extend = crash  # type: ignore[assignment, method-assign]
    with pytest.raises(Crash):
        growth.change()
    site.log.extend = extend  # type: ignore[method-assign]
    assert (site.log.partitions(), site.log.broker.topics[CONTROL][0].end) == (NEW, produced)
    with pytest.raises(Invalid, match="has 5 partitions where control says 2"):
        site.worker()
    assert "lastseen setup --partitions 5 mends it" in said_otherwise(site.log, site.landscape)
    grow(site)
    site.send(ALL[HALF:], each=3)
    finish(site)


def test_38_partitions_added_behind_our_back_and_used_at_once() -> None:
    """Nobody can process what is there by the old number any more, and what comes is placed by the new one."""
    site = half_done()
    site.send(ALL[HALF : HALF + 20], each=1)
    site.log.extend(NEW)
    site.partitions = NEW
    site.send(ALL[HALF + 20 : HALF + 30], each=1)
    with pytest.raises(Invalid, match="setup --partitions"):
        site.worker()
    grow(site)
    site.send(ALL[HALF + 30 :], each=1)
    finish(site)


def test_a_log_that_nobody_ever_worked_on_needs_not_be_drained() -> None:
    site = Site(OLD)
    site.send(ALL, each=2)
    grow(site)
    finish(site)


# H11: a worker with the old number beside one with the new


class Stopped:
    """A checkpoint at whose ``moment``-th call the process stops for long, while the number changes and B does all there is."""

    def __init__(self, site: Site, moment: int):
        self.site, self.moment, self.calls = site, moment, 0
        self.others: list[Worker] = []

    def __call__(self, _: str) -> None:
        self.calls += 1
        if self.calls == self.moment:
            self.site.evict_all()
            self.site.log.extend(NEW)
            self.site.write(Partitions(count=NEW))
            self.site.partitions = NEW
            self.others.append(self.site.worker("B"))
            self.others[0].drain()


def go_on(worker: Worker) -> None:
    for _ in range(30):
        worker.step()


@pytest.mark.parametrize("moment", range(1, 2 * len(STEPS) + 1))
def test_h11_a_worker_with_the_old_number_beside_one_with_the_new(moment: int) -> None:
    """It goes on after any step of its first or second batch, finishes it, and stops; what it says loses."""
    site = Site(OLD)
    site.send(ALL[:HALF], each=3)
    stopped = Stopped(site, moment)
    old = site.worker("A", checkpoint=stopped, max_records=20)
    with pytest.raises(Invalid, match="5 partitions now and had 2 when this worker started: start it again"):
        go_on(old)
    (new,) = stopped.others
    site.send(ALL[HALF:], each=3)
    finish(site, old, new)


def test_h11_the_old_one_claims_nothing_once_the_number_changed() -> None:
    """It is only about to own partitions when the number changes."""
    site = Site(OLD)
    site.send(ALL, each=3)
    old = site.worker("A")
    site.log.extend(NEW)
    site.write(Partitions(count=NEW))
    site.partitions = NEW
    new = site.worker("B")
    with pytest.raises(Invalid, match="start it again"):
        go_on(old)
    assert old.owned == frozenset()
    assert old.counters.records == 0
    finish(site, old, new)


def test_38_aliases_move_too() -> None:
    """Half of all events name the order only by its payment; links and what is kept are in other partitions afterwards."""
    site, direct = Site(OLD), Site(NEW)
    events = joined_by_payment()
    for one in (site, direct):
        one.send(events[: len(events) // 2], each=2)
    worker = site.worker()
    worker.drain()
    worker.close()
    grow(site)
    for one in (site, direct):
        one.send(events[len(events) // 2 :], each=2)
        one.hear(START + 20 * DAY)
        worker = one.worker()
        worker.drain()
        worker.close()
    assert site.verdicts() == direct.verdicts()
    assert site.store.count_parked() == 0
    assert site.store.count_quarantine() == {}
    assert len(site.verdicts()) == 40


def joined_by_payment() -> list[Event]:
    """Forty orders: some paid before anybody knew whose payment it is, some after, some with the link between the halves."""
    events = []
    for number in range(40):
        placed, paid, confirmed = told("order", f"p{number}", "placed 0m, paid 5m, confirmed 6m", {})
        payment = {"payment": f"PAY-{number}"}
        own = [
            {**placed, "keys": {**placed["keys"], **payment}},
            {**paid, "keys": payment},
            {**confirmed, "keys": payment},
        ]
        events.append(own if number % 2 else own[::-1])
    return [own[place] for place in range(3) for own in events]
