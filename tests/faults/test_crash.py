"""Crashes between any two steps, in memory: nothing is lost, nothing counts twice, nothing is said otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline.worker
from pipeline.errors import Unavailable
from pipeline.store.contract import VerdictQuery
from pipeline.store.memory import MemoryStore
from pipeline.worker import Worker
from schemas.times import DAY, MINUTE
from tests.faults.site import Crash, Crashing, Name, Site
from tests.faults.stories import START, flat, stories

STEPS = (
    "decode", "write events", "merge", "judge", "write flips", "write verdicts", "produce", "announce", "commit",
)  # fmt: skip
EVENTS = flat(stories())


def phases(site: Site) -> Iterator[None]:
    """What happens: the first events, a while later all that were late, and a month of silence."""
    early = [event for event in EVENTS if event["time"] < START + 10 * MINUTE]
    late = [event for event in EVENTS if event["time"] >= START + 10 * MINUTE]
    site.send(early, each=4)
    site.hear(START + 9 * MINUTE)
    yield
    site.send(late, each=4)
    site.hear(START + 2 * DAY)
    yield
    site.hear(START + 30 * DAY)
    yield


def play(site: Site, workers: Callable[[], Worker]) -> Worker:
    """Drain each phase, with a new worker whenever one crashes."""
    worker = workers()
    for _ in phases(site):
        while True:
            versions = versions_of(site)
            try:
                worker.drain()
                break
            except Crash:
                site.evict_all()
                worker = workers()
            finally:
                now = versions_of(site)
                assert all(now[name] >= version for name, version in versions.items()), "a version went back"
    return worker


def versions_of(site: Site) -> dict[Name, int]:
    rows = site.store.verdicts(VerdictQuery(excluded=None))
    return {(row.key_type, row.transaction_id, row.flow): row.version for row in rows}


def undisturbed(max_records: int, partitions: int = 1) -> tuple[Site, list[str]]:
    site, seen = Site(partitions), Crashing(10**9)
    worker = play(site, lambda: site.worker(checkpoint=seen, max_records=max_records))
    assert site.verdicts() == site.judged(EVENTS, worker)
    return site, seen.seen


def the_same(site: Site, as_in: Site, worker: Worker) -> None:
    assert site.verdicts() == as_in.verdicts() == site.judged(EVENTS, worker)
    assert site.store.count_events() == as_in.store.count_events() == len(EVENTS) + 1, "the cart's event counts for two"
    assert site.store.count_quarantine() == {}
    assert worker._consumer.committed(range(site.partitions)) == site.ends()


def test_the_steps_are_those_of_law_3() -> None:
    named = re.findall(r'_checkpoint\("([a-z ]+)"\)', Path(pipeline.worker.__file__).read_text())
    assert tuple(dict.fromkeys(sorted(named, key=STEPS.index))) == STEPS


@pytest.mark.parametrize("max_records", [7, 1_000])
def test_1_a_crash_after_any_step(max_records: int) -> None:
    """At each of all the moments at which a step of an undisturbed run was done; then a new worker goes on."""
    baseline, moments = undisturbed(max_records)
    assert set(moments) == set(STEPS)
    for moment in range(1, len(moments) + 1):
        site, crash = Site(), Crashing(moment)
        worker = play(site, lambda site=site, crash=crash: site.worker(checkpoint=crash, max_records=max_records))  # type: ignore[misc]
        the_same(site, baseline, worker)
        assert site.flips() == baseline.flips(), f"after {moments[moment - 1]}, the {moment}. in all"


@pytest.mark.parametrize("step", STEPS)
def test_1_a_worker_that_crashes_after_the_same_step_of_every_batch(step: str) -> None:
    """Each new worker gets one batch further, but for steps before the commit: there the last one lives."""
    baseline, _ = undisturbed(1_000)
    site, crashes = Site(), 0

    def worker() -> Worker:
        nonlocal crashes
        crashes += 1
        return site.worker(checkpoint=Crashing(1 if crashes < 6 else 10**9, step), max_records=1_000)

    the_same(site, baseline, play(site, worker))
    assert site.flips() == baseline.flips()


class Torn(MemoryStore):
    """A store of which a write lands in part, and then the worker is gone."""

    def __init__(self, operation: str, part: float):
        super().__init__()
        self.operation, self.part, self.armed = operation, part, True

    def tear(self, operation: str, rows: list[object]) -> list[object]:
        return rows[: int(len(rows) * self.part)] if self.armed and operation == self.operation else rows


def _torn(operation: str) -> Callable[[Torn, list[object]], None]:
    def write(self: Torn, rows: list[object]) -> None:
        part = self.tear(operation, rows)
        getattr(MemoryStore, operation)(self, part)
        if part is not rows:
            self.armed = False
            raise Crash(operation)

    return write


for _operation in ("write_events", "write_flips", "write_verdicts", "write_keys"):
    setattr(Torn, _operation, _torn(_operation))


@pytest.mark.parametrize("operation", ["write_events", "write_flips", "write_verdicts", "write_keys"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_2_a_crash_in_the_middle_of_a_write(operation: str, part: float) -> None:
    """Part of the batch is visible; the replay completes it."""
    baseline, _ = undisturbed(1_000)
    site = Site(store=Torn(operation, part))
    worker = play(site, lambda: site.worker(max_records=1_000))
    assert not site.store.armed  # type: ignore[attr-defined]
    the_same(site, baseline, worker)
    assert site.flips() == baseline.flips()


def test_3_events_stored_and_verdicts_not() -> None:
    """The worker dies after the events of every batch are stored; what is judged later rests on all of them."""
    site = Site()
    site.send(EVENTS, each=1)
    site.hear(START + 30 * DAY)
    with pytest.raises(Crash):
        site.worker(checkpoint=Crashing(1, "write events"), max_records=1_000).drain()
    assert site.store.count_events() == len(EVENTS) + 1
    assert site.verdicts() == {}
    site.evict_all()
    worker = site.worker(max_records=1)
    worker.drain()
    assert site.verdicts() == site.judged(EVENTS, worker)


def test_4_a_write_that_timed_out_but_succeeded() -> None:
    class Deaf(MemoryStore):
        """Every other write is heard to fail though it was done."""

        turn = 0

        def write_events(self, rows: object) -> None:
            super().write_events(rows)  # type: ignore[arg-type]
            self.fail()

        def write_verdicts(self, rows: object) -> None:
            super().write_verdicts(rows)  # type: ignore[arg-type]
            self.fail()

        def write_flips(self, rows: object) -> None:
            super().write_flips(rows)  # type: ignore[arg-type]
            self.fail()

        def fail(self) -> None:
            self.turn += 1
            if self.turn % 2:
                raise Unavailable("timed out")

    baseline, _ = undisturbed(1_000)
    site = Site(store=Deaf())
    worker = play(site, lambda: site.worker(max_records=1_000, patience=None, first_backoff=0.0))
    assert worker.counters.retries > 3
    the_same(site, baseline, worker)
    assert site.flips() == baseline.flips()


@pytest.mark.parametrize("again", [1, 7])
def test_5_a_restart_with_other_batch_boundaries(again: int) -> None:
    baseline, _ = undisturbed(1_000)
    site = Site()
    sizes = iter([50, again])
    crash = Crashing(12)
    worker = play(site, lambda: site.worker(checkpoint=crash, max_records=next(sizes)))
    the_same(site, baseline, worker)


def test_14_a_producer_retries_and_one_event_is_in_two_batches() -> None:
    site = Site(2)
    site.send(EVENTS, each=4)
    site.send(EVENTS[::2], each=1)
    site.send(EVENTS, each=7)
    site.hear(START + 30 * DAY)
    worker = site.worker(max_records=5)
    worker.drain()
    assert site.verdicts() == site.judged(EVENTS, worker)
    assert site.store.count_events() == len(EVENTS) + 1


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), max_size=5))
def test_any_chain_of_crashes_with_any_batches_on_any_number_of_partitions(
    partitions: int, first: int, crashes: list[tuple[int, int]]
) -> None:
    baseline, _ = undisturbed(1_000, partitions)
    site = Site(partitions)
    plan = iter([*crashes, (10**9, first)])

    def next_worker() -> Worker:
        moment, size = next(plan)
        return site.worker(checkpoint=Crashing(moment), max_records=size)

    worker = play(site, next_worker)
    assert site.verdicts() == baseline.verdicts() == site.judged(EVENTS, worker)
    assert site.store.count_events() == len(EVENTS) + 1
