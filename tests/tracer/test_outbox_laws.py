"""Whatever the log, the disk and the process do: nothing that is vouched for is missing, and everything is stored, shed or blind.

The outbox, its spool on a real disk, and the sender run as they are, turn by turn, on a clock set by hand; a crash lets go of
everything that is in memory.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracer.sender
from pipeline.core.control import ControlFold
from pipeline.errors import Unavailable
from schemas.control import Goodbye, Hello, Marker
from schemas.landscape import Landscape
from tests.tracer.support import LateSink, Read, read_memory
from tracer.emitter import SECOND, Limits
from tracer.leftovers import leftovers
from tracer.outbox import Handed, Outbox
from tracer.record import CONTROL, EVENTS
from tracer.sender import Identity, Sender
from tracer.sinks.memory import MemoryBroker, MemorySink
from tracer.spool import Lock, Spool

BOOT = 1_750_000_000_000_000


class World:
    """One source, boot after boot."""

    def __init__(
        self, folder: Path, window: int = 3_000, limit: int = 20_000, spooled: bool = True, late: int | None = None
    ):
        """``late``: µs after which acknowledgements come; None for at once."""
        self.folder, self.window, self.limit, self.spooled = folder, window, limit, spooled
        self.now = BOOT
        self.broker = MemoryBroker(3, clock=lambda: self.now)
        self.late = late
        self.known: dict[str, tuple[int, int]] = {}
        self.dropped = 0
        self.boot()

    def boot(self) -> None:
        self.now += 1
        self.epoch = self.drained = self.now
        spool, left = None, []
        if self.spooled:
            lock = Lock.take(self.folder)
            assert lock is not None
            left = leftovers(self.folder)
            spool = Spool(lock, "shop-1", ["shop"], self.limit)
            spool.begin(self.epoch, self.epoch)
        self.outbox = Outbox(self.epoch, spool, self.window)
        who = Identity("shop-1", self.epoch, ("shop",), SECOND)
        self.sender = Sender(who, self.open_sink, self.outbox, lambda: self.now, left)

    def open_sink(self) -> MemorySink:
        return MemorySink(self.broker) if self.late is None else LateSink(self.broker, self.late)

    def put(self, count: int, dropped: int = 0) -> None:
        handed = []
        for _ in range(count):
            id = f"e{len(self.known) + 1}"
            self.known[id] = (self.drained, self.sender.relay.epoch if self.sender.relay else self.epoch)
            event = {"id": id, "system": "shop", "step": "placed", "time": self.now, "keys": {"order": id}}
            handed.append(Handed(f"order:{id}", json.dumps(event).encode()[:-1]))
        self.dropped += dropped
        self.outbox.put(handed, dropped, self.now)
        self.drained = self.now

    def turn(self) -> None:
        with contextlib.suppress(Unavailable):
            self.sender._turn()

    def crash(self) -> None:
        if self.outbox.spool is not None:
            self.outbox.spool.close()
        self.boot()

    def step(self, step: object) -> None:
        broker, spool = self.broker, self.outbox.spool
        if isinstance(step, tuple):
            name, number = step
            if name == "time":
                self.now += number
            else:
                self.put(number, dropped=number if name == "drop" else 0)
        elif step == "turn":
            self.turn()
        elif step == "crash":
            self.crash()
        elif step in ("full", "room"):
            if spool is not None:
                spool.limit = 0 if step == "full" else self.limit
        elif step == "new sink":
            self.sender._close()
        elif step in ("down", "up"):
            broker.down = step == "down"
        elif step in ("lose", "keep"):
            broker.lose_acks = step == "lose"
        elif step in ("hold", "release"):
            broker.hold_acks = step == "hold"
        elif step in ("away", "back"):
            broker.away = {EVENTS} if step == "away" else set()

    def end(self) -> Read:
        """The log is there again, and the application ends as it should."""
        broker = self.broker
        broker.down = broker.lose_acks = broker.hold_acks = False
        broker.away = set()
        self.now += 10 * SECOND
        self.put(0)
        self.outbox.end()
        self.sender.stop(time.monotonic() + 20)
        for _ in range(500):
            self.now += SECOND
            self.turn()
            if self.sender.done:
                break
        assert self.sender.done
        self.sender._let_go()
        return read_memory(broker)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "put", "drop"]), st.integers(1, 12)),
        st.tuples(st.just("time"), st.sampled_from([1, SECOND // 2, SECOND, 3 * SECOND])),
        st.sampled_from(["turn", "turn", "turn", "crash", "full", "room", "new sink"]),
        st.sampled_from(["down", "up", "lose", "keep", "hold", "release", "away", "back"]),
    ),
    min_size=10,
    max_size=60,
)
LATE = st.sampled_from([None, 1, SECOND])


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the second that hides what a thread does between two looks, and with little under way, so that more waits."""
    monkeypatch.setattr(tracer.sender, "SLACK", 0)
    monkeypatch.setattr(tracer.sender, "BATCH", 3)
    monkeypatch.setattr(tracer.sender, "LIMITS", Limits(batch_events=4, queue_events=5))


@contextlib.contextmanager
def world(**options: object) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder), **options)  # type: ignore[arg-type]


def check_vouched(found: Read, made: World) -> None:
    """All that became known before a ``through`` is on the log, below the offsets that the same record names."""
    hellos = {said.epoch: said.since for said in found.of(Hello)}
    places: dict[str, set[tuple[int, int, int]]] = {}
    for number, partition in enumerate(made.broker.topics[EVENTS]):
        for offset, row in enumerate(partition.rows):
            one = MemoryBroker(1)
            one.topics[EVENTS][0].rows.append(row)
            for event in read_memory(one).events:
                places.setdefault(event["id"], set()).add((event["epoch"], number, offset))
    for said in found.control:
        if not isinstance(said, Marker | Goodbye):
            continue
        for id, (known, epoch) in made.known.items():
            if epoch == said.epoch and hellos[epoch] <= known < said.through:
                there = places.get(id, set())
                assert any(offset < said.acked.get(partition, 0) for _, partition, offset in there), (id, known, said)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, window=st.sampled_from([600, 3_000]), spooled=st.booleans(), late=LATE)
def test_nothing_that_is_vouched_for_is_missing(
    steps: list[object], window: int, spooled: bool, late: int | None
) -> None:
    with world(window=window, spooled=spooled, late=late) as made:
        for step in steps:
            made.step(step)
        check_vouched(made.end(), made)


@settings(max_examples=120, deadline=None)
@given(steps=STEPS, window=st.sampled_from([600, 3_000]), spooled=st.booleans(), late=LATE)
def test_everything_is_stored_or_counted_as_shed(
    steps: list[object], window: int, spooled: bool, late: int | None
) -> None:
    """Law 8, while the process lives: sent = stored and shed, by running numbers."""
    with world(window=window, spooled=spooled, late=late) as made:
        for step in steps:
            if step != "crash":
                made.step(step)
        found = made.end()
    last = found.last().values()
    assert sum(said.sent for said in last) == len(made.known) + made.dropped
    assert len(found.ids) + sum(said.shed for said in last) == len(made.known) + made.dropped
    for said in last:
        numbers = {event["seq"] for event in found.events if event["epoch"] == said.epoch}
        shed = {number for first, end in said.shed_ranges for number in range(first, end + 1)}
        assert numbers | shed == set(range(1, said.sent + 1))
        assert not numbers & shed


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_with_room_on_disk_a_crash_loses_nothing(steps: list[object]) -> None:
    with world(limit=10_000_000, window=600) as made:
        for step in steps:
            if step != "full" and not (isinstance(step, tuple) and step[0] == "drop"):
                made.step(step)
        found = made.end()
    assert found.ids == set(made.known)
    for (_, epoch), said in found.last().items():
        numbers = [event["seq"] for event in found.events if event["epoch"] == epoch]
        assert set(numbers) == set(range(1, said.sent + 1))
        assert isinstance(said, Goodbye) or not numbers


def test_what_a_killed_process_left_lifts_its_blind_interval() -> None:
    """FAULTS 35, H7: the old epoch comes back with its numbers, vouches for what it knew, and is closed before the next hello."""
    with world() as made:
        made.broker.down = True
        made.put(5)
        made.now += 2 * SECOND
        made.put(0)
        made.turn()
        dead, died = made.epoch, made.now
        made.crash()
        made.broker.down = False
        made.put(2)
        found = made.end()
    goodbyes = found.of(Goodbye)
    assert [(said.epoch, said.state) for said in goodbyes] == [(dead, "closed"), (made.epoch, "open")]
    assert goodbyes[0].through == died
    assert (goodbyes[0].sent, goodbyes[0].accounted) == (5, 5)
    assert sorted(event["seq"] for event in found.events if event["epoch"] == dead) == [1, 2, 3, 4, 5]
    order = [(said.kind, said.epoch) for said in found.control if isinstance(said, Hello | Goodbye)]
    assert order.index(("goodbye", dead)) < order.index(("hello", made.epoch))


def test_an_epoch_with_something_shed_is_vouched_for_only_until_then() -> None:
    """FAULTS 26: the spool is full, the log away; when it is back there is a new epoch, whose since comes after what was shed."""
    with world(limit=4_000, window=600) as made:
        made.broker.down = True
        made.put(3)
        made.now += SECOND
        for _ in range(20):
            made.put(5)
            made.now += SECOND
            made.turn()
        assert made.outbox.shed > 50
        assert made.outbox.spool is not None
        assert made.outbox.spool.size < 8_000
        found = made.end()
    first, second = found.of(Hello)
    last = found.last()[("shop-1", first.epoch)]
    assert last.shed == made.outbox.shed
    assert last.through < second.since
    assert last.sent == 103
    assert len(found.ids) == 103 - last.shed


def test_a_spool_that_stays_full_hardly_grows() -> None:
    """I5: what was shed is noted beyond the bound, once a second at most; all of it is counted."""
    with world(limit=4_000, window=600) as made:
        made.broker.down = True
        spool = made.outbox.spool
        assert spool is not None
        while spool.size < 3_500:
            made.put(1)
        before = spool.size
        for _ in range(2_000):
            made.now += SECOND // 20
            made.put(5)
        assert made.outbox.shed > 9_900
        assert spool.size - before < 100 * 100
        found = made.end()
    assert sum(said.shed for said in found.last().values()) == made.outbox.shed == len(made.known) - len(found.ids)


def test_what_was_in_memory_only_is_not_vouched_for_by_the_spool() -> None:
    """The disk was full for a moment, the log away, and the process died: what is lost is blind, not vouched for."""
    with world(window=10_000) as made:
        made.broker.down = True
        made.put(1)
        made.step("full")
        made.now += SECOND
        made.put(1)
        made.step("room")
        for _ in range(3):
            made.now += 2 * SECOND
            made.put(0)
        made.crash()
        found = made.end()
        check_vouched(found, made)
    assert found.ids == {"e1"}
    assert found.of(Goodbye)[0].through <= made.known["e2"][0]


def test_no_epoch_begins_while_something_is_numbered_under_the_old_one() -> None:
    outbox = Outbox(BOOT)
    assert outbox.renew(BOOT + 1)
    outbox.put([Handed("order:1", b'{"id":"e1"')], 0, BOOT + 2)
    assert not outbox.renew(BOOT + 3)
    assert [entry.number for entry in outbox.take(10)] == [1]
    assert outbox.renew(BOOT + 3)
    outbox.put([Handed("order:1", b'{"id":"e2"')], 0, BOOT + 4)
    assert [(entry.number, entry.line) for entry in outbox.take(10)] == [(1, b'{"id":"e2","seq":1}')]


def test_what_was_shed_last_is_blind_though_the_goodbye_is_open() -> None:
    with world(late=5_000) as made:
        for _ in range(3):
            made.now += SECOND
            made.put(0)
            made.turn()
        made.now += SECOND
        shed_at = made.drained
        made.put(1, dropped=3)
        found = made.end()
        ended = made.now
    fold = ControlFold(Landscape())
    for offset, (row, said) in enumerate(zip(made.broker.topics[CONTROL][0].rows, found.control, strict=True)):
        fold.apply(offset, row.append_time, said)
    (goodbye,) = found.of(Goodbye)
    assert (goodbye.state, goodbye.shed) == ("open", 3)
    ((blind, heard),) = fold.epochs["shop-1", made.epoch].blind(0)
    assert blind <= shed_at < heard == ended


def test_what_was_shed_last_is_told_before_the_goodbye() -> None:
    with world(window=3_000, spooled=False) as made:
        made.now += SECOND
        made.put(8)
        made.turn()
        made.put(30)
        found = made.end()
    assert sum(said.sent for said in found.last().values()) == 38
    assert sum(said.shed for said in found.last().values()) == 38 - len(found.ids) > 0
