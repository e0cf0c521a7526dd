"""The world of one seed: workers, sources, log, store and clock, and the weather; played until all is healed and done."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from pipeline.log.memory import MemoryLog
from pipeline.store.memory import MemoryStore
from pipeline.worker import Policy
from schemas.times import SECOND
from tests.simulation.definitions import GONE_AFTER, LOST_AFTER, START, SYSTEMS, definitions
from tests.simulation.fate import Fate
from tests.simulation.fibers import FOREVER
from tests.simulation.observer import Observer, WatchedBroker
from tests.simulation.process import Process, policy_of
from tests.simulation.sources import Source
from tests.simulation.stories import Stories
from tests.simulation.weather import Weather
from tracer.record import EVENTS, Ack, Record

if TYPE_CHECKING:
    from collections.abc import Callable

# Less than half a lease: a longer gap would renew those of the dead.
LEAP = 8 * SECOND
# What sources and workers do in so many turns, at most, before the run counts as one that does not come to rest.
PATIENCE = 20_000
_STORY = 170 * SECOND


class Violation(AssertionError):
    """An invariant was broken."""


class World:
    """``now``: µs. ``joined``: with aliases. ``trace``: called with each line of the schedule."""

    def __init__(
        self, seed: int, *, joined: bool = False, only: frozenset[str] | None = None, trace: Callable[[str], None] | None = None
    ) -> None:  # fmt: skip
        self.seed, self.joined = seed, joined
        self.random = Random(seed)
        self.now = START
        self.flows, self.landscape = definitions(joined)
        self.weather = Weather(self.random, only)
        self.steps: Counter[str] = Counter()
        self.partitions = self.random.choice((1, 2, 3, 4))
        self.observer = Observer(self)
        self.log = MemoryLog(self.partitions, self.clock)
        self.log.broker = WatchedBroker(self.observer, self.partitions, self.clock)
        self.store = MemoryStore()
        self.stories = Stories(self.random, joined, self.random.randint(2, 6))
        self.sources = self._sources()
        self.processes: list[Process] = []
        self.wanted = self.random.choice((1, 2, 3, 4))
        self.started = 0
        self._actors: list[Source | Process] = []
        self._trace = trace
        self.fate = Fate(self)

    def clock(self) -> int:
        return self.now

    def random_policy(self) -> Policy:
        return policy_of(self.random)

    def _sources(self) -> list[Source]:
        found = []
        for system in SYSTEMS:
            own = [Source(self, f"{system}-{n}", system) for n in range(self.random.choice((1, 1, 2)))]
            for happening in self.stories.happenings:
                if happening.system == system:
                    self.random.choice(own).ahead.append(happening)
            found.extend(own)
        return found

    # What others ask of it -----------------------------------------------------------------------------------------

    def append(self, record: Record) -> Ack:
        return self.log.broker.append(record)

    def log_trouble(self) -> bool:
        return self.log.broker.down or bool(self.log.broker.away)

    def poison(self) -> bytes:
        return self.random.choice((b"{", b'{"id": 1}', b"\xff\xfe", b'{"id":"x","system":"shop"}', b"[1,2"))

    def at(self, time: int) -> str:
        return f"{(time - START) / SECOND:.3f}"

    def tell(self, line: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.at(self.now):>9} {line}")

    def broken(self, what: str) -> None:
        raise Violation(what)

    # Time ----------------------------------------------------------------------------------------------------------

    def play(self) -> None:
        """All that happens; then everything heals, and comes to rest. Raises ``Violation``."""
        end = START + _STORY
        for _ in range(PATIENCE):
            if self.now >= end:
                break
            self._turn()
        else:
            raise Violation("I5: the run does not get on")
        self.heal()
        self._come_to_rest()

    def _turn(self) -> None:
        self.fate.storm()
        self._staff()
        now, next_at = self.now, FOREVER
        ready: list[Source | Process] = []
        for actor in self._actors:
            at = actor.ready_at
            if at <= now:
                ready.append(actor)
            elif at < next_at:
                next_at = at
        if ready:
            self._act(self.random.choice(ready))
        else:
            self.now = max(now + 1, next_at)

    def _act(self, actor: Source | Process) -> None:
        if isinstance(actor, Source):
            before = (actor.epoch, actor.alive, actor.sent)
            actor.act()
            if self._trace is not None and before != (actor.epoch, actor.alive, actor.sent):
                self.tell(f"{actor.name} epoch {actor.epoch} {'alive' if actor.alive else 'down'} sent {actor.sent}")
            return
        # Mostly to the end of a turn; at times to the next call only.
        count = self.random.choice((1, 2, 5, 20, 1_000, 1_000))
        left, kind = self.fate.strikes.get(actor, (count + 1, ""))
        actor.fiber.run(min(count, left))
        if self._trace is not None:
            self.tell(f"{actor.name} at {actor.fiber.at}")
        if kind:
            self.fate.draw_near(actor, left - (min(count, left) - max(0, actor.fiber.left)), kind)
        if isinstance(actor.fiber.failed, Violation):
            raise actor.fiber.failed
        if actor.fiber.failed is not None:
            raise Violation(
                f"{actor.name} failed at {actor.fiber.at!r}: {actor.fiber.failed!r}"
            ) from actor.fiber.failed

    # Workers -------------------------------------------------------------------------------------------------------

    def _staff(self) -> None:
        """The group gives up whose heartbeats stopped; and there are as many workers as there should be."""
        working, gone = 0, False
        for process in self.processes:
            if process.evict_at and process.evict_at <= self.now:
                process.evict_at = 0
                process.evict()
                self.tell(f"{process.name} is given up by the group")
            if process.running:
                working += not process.leaving
            else:
                gone = gone or not process.evict_at
        if gone:
            self.processes = [one for one in self.processes if one.running or one.evict_at]
        if working < self.wanted:
            self.started += 1
            self.processes.append(Process(self, f"w{self.started}"))
            self.tell(f"w{self.started} is started")
        if gone or working < self.wanted:
            self._actors = [*self.sources, *self.processes]

    # The end -------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing goes wrong any more; what is down stays down or comes back, and goes on by itself."""
        self.tell("-- everything heals")
        self.weather.heal()
        self.fate.strikes.clear()
        self.log.broker.down, self.log.broker.away = False, set()
        self.wanted = self.random.choice((1, 1, 2, 4))
        for process in self.processes:
            process.fiber.stopped_until = 0
        for source in self.sources:
            source.cut_off_until = 0

    def _come_to_rest(self) -> None:
        """First until leases are over and all has been sent; then in larger steps past the last deadline."""
        self._go_on(self.now + 30 * SECOND)
        for source in self.sources:
            if source.alive and self.random.random() < 0.5:
                source.goodbye("open")
        for _ in range((GONE_AFTER + LOST_AFTER) // (LEAP) + 3):
            self._leap(LEAP)
        for _ in range(40):
            if self._at_rest():
                return
            self._leap(3 * SECOND)
        raise Violation(f"I6: does not come to rest: {self._restless()}")

    def _go_on(self, until: int) -> None:
        for _ in range(PATIENCE):
            if self.now >= until:
                return
            self._turn()
        raise Violation("I6: does not get on after everything has healed")

    def _leap(self, length: int) -> None:
        """Time passes while nothing happens; then everybody has a turn or two."""
        self.now += length
        self._staff()
        for source in self.sources:
            source.act()
        self._round()

    def _round(self) -> None:
        for process in [one for one in self.processes if one.running]:
            process.fiber.wake_at = 0
            for _ in range(200):
                self._act(process)
                if process.fiber.wake_at > self.now or process.fiber.done:
                    break

    def _at_rest(self) -> bool:
        """Everybody has read what everybody wrote, and nobody has anything to do."""
        for _ in range(30):
            written = len(self.observer.control)
            self._round()
            if len(self.observer.control) == written and not self._restless():
                return True
        return False

    def _restless(self) -> list[str]:
        ends = {number: part.end for number, part in enumerate(self.log.broker.topics[EVENTS])}
        commits = self.log.groups["lastseen"].commits
        found = [
            f"partition {n}: {commits.get(n, 0)} of {end}" for n, end in ends.items() if end and commits.get(n, 0) < end
        ]
        found += [f"{one.name} is busy" for one in self.processes if one.running and one.busy]
        return found + [
            f"{one.name} has not sent all" for one in self.sources if one.alive and (one.spool or one.under_way)
        ]
