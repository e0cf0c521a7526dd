"""Law 9 on real threads: a log that is away, hangs or breaks costs the application nothing, and what has no room is counted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tracer.agent
import tracer.sender
from schemas.control import Goodbye, Hello
from tests.tracer.support import LateSink, Read, read_memory, until
from tracer.agent import Agent, Settings
from tracer.errors import Unavailable
from tracer.outbox import Handed, Outbox
from tracer.sender import Identity, Sender
from tracer.sinks.memory import MemoryBroker, MemorySink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between attempts, and not what happens in them."""
    monkeypatch.setattr(tracer.sender, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(tracer.agent, "BEAT", 0.01)
    monkeypatch.setattr(tracer.sender, "BEAT", 0.01)


class Site:
    """A log in memory that can be away, hang, or break; and an agent on it."""

    def __init__(self, spool: Path | None = None, **options: Any):
        self.broker = MemoryBroker(2)
        self.opened = 0
        self.fault: Callable[[], None] = lambda: None
        self.agent = Agent(Settings("shop-1", ("shop",), self._open, spool, **options))
        self.n = 0

    def _open(self) -> MemorySink:
        self.opened += 1
        self.fault()
        site = self

        class Sink(MemorySink):
            def send(self, *args: Any) -> Any:
                site.fault()
                return super().send(*args)

        return Sink(self.broker)

    def report(self, count: int = 1, size: int = 0) -> None:
        for _ in range(count):
            self.n += 1
            event = {"id": f"e{self.n}", "system": "shop", "step": "placed", "time": 1_750_000_000_000_000}
            body = {
                **event,
                "keys": {"order": str(self.n)},
                "attributes": {str(n): "x" * 4096 for n in range(size // 4096)},
            }
            self.agent.hand_over(Handed(f"order:{self.n}", json.dumps(body).encode()[:-1]))

    def drained(self) -> None:
        until(lambda: not self.agent.stats()["queued"])

    def end(self) -> Read:
        assert self.agent.close(20), self.agent.stats()
        return read_memory(self.broker)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.fault = lambda: None
    made.agent.close(5)


def away() -> None:
    raise Unavailable("away")


def conserved(found: Read, site: Site) -> int:
    """Stored and shed are all that was reported; returns how many were shed."""
    shed = sum(said.shed for said in found.last().values())
    assert len(found.ids) + shed == site.n
    assert len(found.events) == len(found.ids)
    return shed


def test_everything_arrives_from_many_threads(site: Site) -> None:
    def report(part: list[Handed]) -> None:
        for made in part:
            site.agent.hand_over(made)

    threads = [threading.Thread(target=report, args=(part,)) for part in parts(8, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = site.end()
    assert len(found.ids) == len(found.events) == 4000
    (goodbye,) = found.of(Goodbye)
    assert (goodbye.sent, goodbye.shed) == (4000, 0)


def parts(count: int, size: int) -> list[list[Handed]]:
    def made(n: int) -> Handed:
        event = {
            "id": f"e{n}",
            "system": "shop",
            "step": "placed",
            "time": 1_750_000_000_000_000,
            "keys": {"order": str(n)},
        }
        return Handed(f"order:{n}", json.dumps(event).encode()[:-1])

    return [[made(part * size + n) for n in range(size)] for part in range(count)]


def test_a_log_that_hangs_stops_nothing_but_itself(site: Site) -> None:
    """Every call into it hangs; the application goes on, its events are numbered meanwhile, and nothing is lost."""
    hang = threading.Event()

    def hangs() -> None:
        hang.wait(30)

    site.fault = hangs
    site.report(3000)
    site.drained()
    assert site.agent.stats()["waiting"] == 3000
    site.fault = lambda: None
    hang.set()
    assert conserved(site.end(), site) == 0


def test_the_broker_is_away_at_the_start_and_comes_later(site: Site) -> None:
    site.fault = away
    site.report(10)
    until(lambda: site.opened > 3)
    site.fault = lambda: None
    found = site.end()
    assert conserved(found, site) == 0
    assert found.control[0].kind == "hello"


def test_a_sink_that_breaks_is_opened_anew(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Not by an error of its own kind, but by a bug; it is said once, not once an attempt."""

    def breaks() -> None:
        raise RuntimeError("a bug in the sink")

    site.report(1)
    until(lambda: not site.agent.stats()["unacknowledged"] and site.opened == 1 and not site.agent.stats()["queued"])
    site.fault = breaks
    site.report(10)
    until(lambda: site.opened > 5)
    site.fault = lambda: None
    assert conserved(site.end(), site) == 0
    assert len([record for record in caplog.records if record.name == "lastseen"]) == 1


def test_a_sink_in_which_nothing_moves_is_opened_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are taken, and nothing is heard of them again."""
    monkeypatch.setattr(tracer.sender, "STUCK", 0.05)
    site.broker.hold_acks = True
    site.report(5)
    until(lambda: site.opened > 2)
    site.broker.hold_acks = False
    found = site.end()
    assert {event["id"] for event in found.events} == {f"e{n}" for n in range(1, 6)}


def test_a_full_queue_sheds_counts_and_begins_a_new_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer sleeps while more comes than the queue holds: bounded in bytes, counted exactly, and vouched for up to there."""
    monkeypatch.setattr(tracer.agent, "BEAT", 0.5)
    site = Site(queue=100)
    site.agent.start()
    site.report(60)
    site.report(40, size=40_000)
    assert site.agent.stats()["queued"] <= 100, "a large one takes more places"
    site.report(1000)
    until(lambda: site.agent.stats()["shed"] > 0)
    until(lambda: len({said.epoch for said in read_memory(site.broker).of(Hello)}) == 2)
    site.report(7)
    found = site.end()
    assert conserved(found, site) > 900
    first, second = found.of(Hello)
    last = found.last()[("shop-1", first.epoch)]
    assert last.through < second.since
    assert last.shed == sum(end - begin + 1 for begin, end in last.shed_ranges)
    (goodbye,) = found.of(Goodbye)
    assert (goodbye.epoch, goodbye.shed, goodbye.sent) == (second.epoch, 0, 7)


@pytest.mark.parametrize("rate", [10, 50, 200])
def test_a_source_that_always_has_something_under_way_begins_its_new_epoch(rate: int) -> None:
    """I6: acknowledgements come later than the next event. Without threads, beat by beat on a clock set by hand."""
    now = boot = 1_750_000_000_000_000
    broker = MemoryBroker(12, clock=lambda: now)
    agent = Agent(Settings("shop-1", ("shop",), lambda: LateSink(broker, 5_000), clock=lambda: now))
    run = agent._run
    run.started = True
    run.outbox = Outbox(boot)
    run.sender = Sender(Identity("shop-1", boot, ("shop",)), agent.settings.open_sink, run.outbox, lambda: now)
    reported = 0
    for beat in range(1, 1_001):
        now += 5_000
        if beat % (200 // rate) == 0:
            reported += 1
            agent.hand_over(
                Handed(
                    f"order:{reported}",
                    b'{"id":"%d","system":"shop","step":"placed","time":%d,"keys":{"order":"1"}' % (reported, now),
                )
            )
        if beat == 200:
            next(run.dropped)
        if beat % 10 == 0:
            agent._drain(run)
        if beat % 10 == 3:
            run.sender._turn()
    found = read_memory(broker)
    first, second = found.of(Hello)
    last = found.last()
    assert second.since < boot + 2 * 1_000_000
    assert last["shop-1", first.epoch].through < second.since < last["shop-1", second.epoch].through
    assert last["shop-1", first.epoch].shed == 1
    assert {event["id"] for event in found.events} >= {str(number) for number in range(1, reported - rate)}


def test_without_a_spool_memory_is_bounded_while_the_log_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.outbox.WINDOW", 100_000)
    monkeypatch.setattr(tracer.outbox.Outbox.__init__, "__defaults__", (None, 100_000))
    site = Site()
    site.fault = away
    for _ in range(20):
        site.report(100)
        site.drained()
    stats = site.agent.stats()
    assert stats["waiting"] * 300 < 150_000
    assert stats["shed"] > 1000
    site.fault = lambda: None
    assert conserved(site.end(), site) == stats["shed"]


def test_a_spool_holds_what_memory_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS 26: away until the spool is full, then back: what had room arrives, in bounded memory, the rest is counted."""
    monkeypatch.setattr(tracer.outbox.Outbox.__init__, "__defaults__", (None, 50_000))
    site = Site(tmp_path, spool_bytes=400_000)
    site.fault = away
    for _ in range(30):
        site.report(100)
        site.drained()
    assert 300_000 < site.agent.stats()["spooled"] <= 410_000
    outbox = site.agent._run.outbox
    assert outbox is not None
    assert outbox._bytes <= 50_000
    shed = site.agent.stats()["shed"]
    assert 500 < shed < 2500
    site.fault = lambda: None
    assert conserved(site.end(), site) == shed
    assert not list(tmp_path.rglob("*.spool"))


def test_a_spool_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = tmp_path / "a file"
    nowhere.write_text("")
    site = Site(nowhere)
    site.report(5)
    assert conserved(site.end(), site) == 0
    assert "no spool" in caplog.text


def test_a_writer_that_breaks_says_no_goodbye(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application lives on and its events are dropped: that is silence, which is loud, and no orderly end."""

    def broken(*_: Any) -> None:
        raise MemoryError

    site = Site(tmp_path)
    site.report(3)
    until(lambda: len(read_memory(site.broker).ids) == 3)
    run = site.agent._run
    assert run.outbox is not None
    assert run.thread is not None
    monkeypatch.setattr(run.outbox, "put", broken)
    run.thread.join(20)
    assert not run.thread.is_alive()
    site.report(1)
    assert not site.agent.close(1)
    assert "nothing is sent any more" in caplog.text
    assert read_memory(site.broker).of(Goodbye) == []
    again = Site(tmp_path)
    again.broker = site.broker
    again.report(1)
    assert [said.state for said in again.end().of(Goodbye)] == ["closed", "open"]


def test_nothing_is_taken_after_the_end_and_nothing_raises(site: Site) -> None:
    site.report(1)
    site.end()
    site.report(5)
    assert site.agent.close(1)
    assert len(read_memory(site.broker).events) == 1


def test_an_agent_that_was_never_used_ends_at_once() -> None:
    began = time.monotonic()
    site = Site()
    site.fault = away
    assert site.agent.close(20)
    assert time.monotonic() - began < 10
    assert site.opened == 0
