"""Workers that are really stopped, that really come and go, on a real Kafka and a served store (faults 6, 7, 8)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.times import HOUR, MINUTE
from tests.contract.stores import served_folder
from tests.faults.real import Real, Running, real, served_url, until
from tests.faults.stories import START, flat, stories, told

__all__ = ["served_folder"]

ALL = flat(stories(2))


@pytest.fixture
def site(kafka_broker: dict[str, str], served_folder: Path, request: pytest.FixtureRequest) -> Iterator[Real]:
    with real(kafka_broker["address"], served_url(served_folder), session_ms=getattr(request, "param", 1_500)) as made:
        yield made


def owners(site: Real) -> set[str]:
    return {partition.worker for partition in site.view().fold.partitions.values()}


def name_of(worker: Running) -> str:
    return f"real-{worker.process.pid}"


def members(site: Real) -> int:
    return len(site.log.members())


@pytest.mark.parametrize("site", [20_000], indirect=True)
@pytest.mark.parametrize("step", ["decode", "write verdicts"])
def test_6_a_rebalance_in_the_middle_of_a_batch(site: Real, step: str) -> None:
    """A second worker joins while the first has stopped in its second batch, within its session: the group waits for it, the
    batch is finished or done again, and both go on."""
    site.send(ALL)
    site.hear()
    first = site.worker(max_records=10, at=[step, 2, "STOP"])
    until(lambda: first.stopped)
    second = site.worker(max_records=10)
    until(lambda: members(site) == 2, "a second member")
    first.process.send_signal(signal.SIGCONT)
    site.settle()
    until(lambda: owners(site) == {name_of(first), name_of(second)}, "both owning")
    first.stop()
    second.stop()
    site.whole()


@pytest.mark.parametrize("step", ["judge", "write flips"])
def test_7_what_a_zombie_knew_loses_and_it_works_again(site: Real, step: str) -> None:
    """A finds orders stalled and is stopped past its session before, while or after it says so. Their payments arrive, B takes over
    and judges; A goes on with what it knew: neither its verdicts nor its flips nor its progress count, and it rejoins."""
    names = [f"o{number}" for number in range(20)]
    stories_ = [told("order", name, "placed 0m, paid 5m, confirmed 6m", {}) for name in names]
    site.send([events[0] for events in stories_])
    zombie = site.worker(at=[step, 2, "STOP"])
    until(lambda: site.lag() == 0)
    site.hear(START + HOUR)
    site.send(told("order", "last", "placed 0m", {}))
    until(lambda: zombie.stopped)
    site.send(flat(events[1:] for events in stories_))
    other = site.worker()
    until(lambda: owners(site) == {name_of(other)}, "the other taking over")
    site.hear(START + 2 * HOUR)
    site.settle()
    fences = {number: partition.fence for number, partition in site.view().fold.partitions.items()}
    zombie.process.send_signal(signal.SIGCONT)
    until(lambda: name_of(zombie) in owners(site), "the zombie owning again")
    after = {number: partition.fence for number, partition in site.view().fold.partitions.items()}
    assert any(after[number] > fence for number, fence in fences.items()), "under a fence of its own"
    site.send(told("order", "after", "placed 90m", {}))
    site.hear(START + 2 * HOUR + MINUTE)
    site.settle()
    assert site.store.flips(("order", "o1"))[-1:] in ([], site.store.flips(("order", "o1"))[1:2])
    zombie.stop()
    other.stop()
    site.whole()


def test_8_from_one_worker_to_four_and_back_under_load(site: Real) -> None:
    """They come, are asked to leave and are killed while events go on arriving; in the end all is as if one had done it alone."""
    everything = stories(8)
    parts = [flat(everything[start::12]) for start in range(12)]
    workers = [site.worker(max_records=20)]
    for number, part in enumerate(parts):
        site.send(part)
        if number in (1, 2, 3):
            workers.append(site.worker(max_records=20))
        if number == 5:
            until(lambda: owners(site) == {name_of(worker) for worker in workers}, "four owners")
        if number in (7, 8):
            workers.pop(0).stop()
        if number == 9:
            workers.pop(0).kill()
        time.sleep(0.1)  # load, not synchronisation: so that batches are many
    site.hear()
    site.settle()
    until(lambda: owners(site) == {name_of(workers[0])}, "the last owning all")
    workers[0].stop()
    site.whole()
