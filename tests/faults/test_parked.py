"""FAULTS.md 36 and 22: what waits under an alias survives that its partition moves, that workers are killed between every two
steps, and that an id is used twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from pipeline.store.contract import Store
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from pipeline.worker import Worker
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.faults.site import Crash, Crashing, Said, Site
from tests.faults.stage import LABELLED, PAID, PLACED, flows_of, value_in
from tests.faults.stories import START, Event

FLOWS = flows_of()
# Order, payment and tracking number live in three of four partitions; the last one has the orders' batch.
T1, T2 = value_in("order", 0, 4), value_in("order", 0, 4, 1)
PAYMENT, TRACKING, BATCH = value_in("payment", 1, 4), value_in("tracking", 2, 4), value_in("batch", 3, 4)


def event(id: str, what: tuple[str, str], minute: int, keys: dict[str, str]) -> Event:
    return {"id": id, "system": what[0], "step": what[1], "time": START + minute * MINUTE, "keys": keys}


PARKED = [
    event("paid", PAID, 5, {"payment": PAYMENT}),
    event("labelled", LABELLED, 2, {"batch": BATCH}),
    event("link", LABELLED, 2, {"tracking": TRACKING, "payment": PAYMENT}),
]
LINKS = [
    event("placed", PLACED, 0, {"order": T1, "tracking": TRACKING, "batch": BATCH}),
    event("other", PLACED, 1, {"order": T2, "batch": BATCH}),
]
STORED = {T1: ["labelled", "link", "paid", "placed"], T2: ["labelled", "other"]}


class Crew:
    """Workers of which one may be gone at any of their steps; another takes its place."""

    def __init__(self, site: Site, checkpoint: Crashing):
        self.site, self.checkpoint = site, checkpoint
        self.workers: list[Worker] = []
        self.made = 0

    def join(self) -> None:
        self.made += 1
        self.workers.append(self.site.worker(f"w{self.made}", checkpoint=self.checkpoint, max_records=2))

    def leave(self) -> None:
        self.workers.pop(0).close()

    def turn(self, rounds: int) -> None:
        """All of them, in turn."""
        for _ in range(rounds):
            self.site.time += SECOND
            for worker in list(self.workers):
                try:
                    worker.step()
                except Crash:
                    self.site.evict(worker)
                    self.workers.remove(worker)
                    self.join()


def send(site: Site, events: list[Event]) -> None:
    for one in events:
        site.send([one])


def moved(site: Site, crew: Crew, when: str) -> None:
    """One worker has all and parks; another joins, and then the first leaves: every alias moves, some of them twice."""
    crew.join()
    send(site, PARKED)
    crew.turn(5)
    if when == "before":
        send(site, LINKS)
        crew.turn(2)
    crew.join()
    if when == "during":
        send(site, LINKS)
    crew.turn(1)
    if when == "between":
        send(site, LINKS)
    crew.turn(5)
    crew.leave()
    crew.turn(1)
    if when == "after":
        crew.turn(5)
        send(site, LINKS)
    crew.turn(12)
    site.hear(START + HOUR)
    crew.turn(4)
    site.hear(START + 6 * DAY)
    crew.turn(4)


def as_it_should_be(site: Site) -> None:
    stored = site.store.load_events([("order", T1), ("order", T2)])
    assert {name[1]: sorted({one.id for one in events}) for name, events in stored.items()} == STORED
    said = {name[1]: one.status for name, one in site.verdicts().items()}
    assert said == {T1: "completed", T2: "lost"}, "its payment is somebody else's, and its link was not lost"
    flips = {name[1]: [told[2] for told in flips] for name, flips in site.flips().items()}
    assert flips[T1] == ["completed"], "nothing was missed meanwhile"
    assert flips[T2] in (["stalled", "lost"], ["lost"])
    assert site.store.count_parked() == 0
    assert site.store.count_quarantine() == {}


@pytest.mark.parametrize("when", ["before", "during", "between", "after"])
def test_36_a_link_around_a_move_of_its_aliass_partition(when: str) -> None:
    """Killed after each of all the steps that are taken until all is said."""
    moments = Crashing(10**9)
    site = Site(4, flows=FLOWS)
    moved(site, Crew(site, moments), when)
    as_it_should_be(site)
    assert len(moments.seen) > 40
    for moment in range(1, len(moments.seen) + 1):
        site = Site(4, flows=FLOWS)
        crew = Crew(site, Crashing(moment))
        moved(site, crew, when)
        assert crew.made == 3, moments.seen[moment - 1]
        as_it_should_be(site)


@pytest.mark.parametrize("step", ["write events", "merge", "produce", "announce"])
def test_36_killed_at_every_other_step_of_one_kind(step: str) -> None:
    """Whoever takes over is killed too, a batch later."""

    class Often(Crashing):
        def __call__(self, name: str) -> None:
            if name == self.step:
                self.calls += 1
                if self.calls % 2 and self.calls < self.after:
                    raise Crash(name)

    for when in ("during", "after"):
        site = Site(4, flows=FLOWS)
        crew = Crew(site, Often(14, step))
        moved(site, crew, when)
        assert crew.made == 9
        crew.turn(20)
        as_it_should_be(site)


def test_36_a_partition_that_comes_back_is_not_what_it_was() -> None:
    """A parks, gives the partition up, B parks more there and learns whose it is; A has it again and knows both."""
    first, second = event("noted", LABELLED, 4, {"payment": PAYMENT}), event("paid", PAID, 5, {"payment": PAYMENT})
    last = event("noted again", LABELLED, 6, {"payment": PAYMENT})
    link = event("placed", PLACED, 0, {"order": T1, "payment": PAYMENT})
    for meanwhile, afterwards in (([second], [link, last]), ([second, link], [last]), ([link], [last, second])):
        site = Site(1, flows=FLOWS)
        send(site, [first])
        one = site.worker("A")
        one.drain()
        site.evict(one)
        other = site.worker("B")
        send(site, meanwhile)
        other.drain()
        other.close()
        send(site, afterwards)
        one.drain()
        stored = site.store.load_events([("order", T1)])["order", T1]
        assert {found.id for found in stored} == {"noted", "paid", "noted again", "placed"}


def phases(site: Site) -> Iterator[None]:
    send(site, PARKED)
    yield
    send(site, LINKS)
    site.hear(START + HOUR)
    yield
    site.hear(START + 6 * DAY)
    yield


def play(site: Site, next_worker: Callable[[], Worker]) -> None:
    worker = next_worker()
    for _ in phases(site):
        while True:
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = next_worker()
    worker.close()


def test_parked_events_survive_a_kill_between_every_two_steps_on_chdb(tmp_path: Path) -> None:
    """Each worker dies one step later than the last one did, from its first step on; on a real store, which it reads back."""
    store = open_embedded(tmp_path / "store", {}, "lastseen")
    store.migrate()
    site, count = Site(4, store=store, flows=FLOWS), 0
    names: list[str] = []

    def next_worker() -> Worker:
        nonlocal count
        count += 1
        crash = Crashing(count if count < 25 else 10**9)
        crash.seen = names
        return site.worker(checkpoint=crash, max_records=2)

    play(site, next_worker)
    assert count >= 10
    assert set(names) >= {"write events", "merge", "write verdicts", "produce", "announce", "commit"}
    as_it_should_be(site)
    store.close()


# 22 ---------------------------------------------------------------------------------------------------------------------


def contents() -> list[Event]:
    """One payment told three times under one id, never alike, and by a name that is not the order's."""
    paid = event("paid", PAID, 5, {"payment": PAYMENT})
    return [paid, {**paid, "time": START + 9 * MINUTE}, {**paid, "phase": "failed", "error": "declined"}]


@pytest.mark.parametrize("adapter", ["memory", "chdb"])
def test_22_an_id_used_again_under_an_alias(adapter: str, tmp_path: Path) -> None:
    """In every order, before and after the link, by one worker and by several: one of them wins, all are stored and counted."""
    link = event("placed", PLACED, 0, {"order": T1, "payment": PAYMENT})
    said: set[Said] = set()
    for number, order in enumerate(permutations([*contents(), link])):
        if adapter == "chdb" and number % 6:
            continue
        store: Store = MemoryStore() if adapter == "memory" else open_embedded(tmp_path / "store", {}, f"n{number}")
        store.migrate()
        site = Site(4, store=store, flows=FLOWS)
        conflicts = 0
        for part in (order[:2], order[2:]):
            send(site, list(part))
            site.hear(START + HOUR)
            worker = site.worker(max_records=1 + number % 3)
            worker.drain()
            conflicts += worker.counters.conflicts
            worker.close()
        said.update(site.verdicts().values())
        stored = store.load_events([("order", T1)])["order", T1]
        assert len({one.content() for one in stored if one.id == "paid"}) == 3
        assert len(store.load_kept([("payment", PAYMENT)])["payment", PAYMENT]) == 3
        assert conflicts >= 2
        store.close()
    assert len(said) == 1, "whatever came first"
