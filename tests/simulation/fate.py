"""Fate: what comes to workers, sources, store and log, as the weather has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.joined import Decision, encode_lines
from schemas.times import SECOND
from tests.simulation.fibers import FOREVER
from tests.simulation.process import Process
from tracer.record import CONTROL, EVENTS, KIND, Record, partition_of

if TYPE_CHECKING:
    from tests.simulation.world import World

SESSION = 6 * SECOND


class Fate:
    """``strikes``: what is to come to a worker, after how many points more."""

    def __init__(self, world: World):
        self.world = world
        self.strikes: dict[Process, tuple[int, str]] = {}

    def storm(self) -> None:
        weather = self.world.weather
        if self.world.now >= weather.clears_at:
            self._clear_up()
        for kind in weather.coming(self.world.now):
            if self._happens(kind):
                weather.note(kind)
                self.world.tell(f"-- {kind}")

    def _clear_up(self) -> None:
        weather, broker = self.world.weather, self.world.log.broker
        if weather.store_until <= self.world.now:
            weather.store_away = ""
        if weather.log_until <= self.world.now:
            broker.down, broker.away = False, set()
        if weather.lag_until <= self.world.now:
            weather.lagging = -1
        running = [
            until for until in (weather.store_until, weather.log_until, weather.lag_until) if until > self.world.now
        ]
        weather.clears_at = min(running, default=FOREVER)

    def _happens(self, kind: str) -> bool:
        random = self.world.random
        if kind in ("killed", "cut off", "goodbye open", "goodbye closed"):
            return self._to_source(kind)
        if kind in ("store away", "store read-only"):
            self.world.weather.store_away = "all" if kind == "store away" else "writes"
            self.world.weather.store_until = self.world.now + random.randint(1, 40) * SECOND
            self.world.weather.clears_at = 0
        elif kind in ("log away", "control away", "events away"):
            if not all(source.settled_in for source in self.world.sources) or any(
                source.asleep for source in self.world.sources
            ):
                return False
            broker = self.world.log.broker
            broker.down, broker.away = (
                kind == "log away",
                {"control away": {CONTROL}, "events away": {EVENTS}}.get(kind, set()),
            )
            self.world.weather.log_until = self.world.now + random.randint(1, 40) * SECOND
            self.world.weather.clears_at = 0
        elif kind == "partition lags":
            self.world.weather.lagging = random.randrange(self.world.partitions)
            self.world.weather.lag_until = self.world.now + random.randint(3, 60) * SECOND
            self.world.weather.clears_at = 0
        elif kind == "a word":
            return self._word()
        elif kind == "joins":
            self.world.wanted = min(4, self.world.wanted + 1)
        else:
            return self._to_worker(kind)
        return True

    def _word(self) -> bool:
        """A person says whose a number is, rightly or not."""
        if not self.world.joined or self.world.log_trouble():
            return False
        random = self.world.random
        one, other = random.choice(self.world.stories.orders), random.choice(self.world.stories.orders)
        alias = random.choice((f"payment:{one.payment}", f"parcel:{one.parcels[0]}", f"trace:{one.trace}"))
        to = f"order:{random.choice((one, one, other)).name}"
        said = Decision(alias, to, random.choice(("accept", "accept", "break")))
        record = Record(EVENTS, alias.encode(), encode_lines([said]), ((KIND, b"decision"),))
        self.world.append(record._replace(partition=partition_of(record.key, self.world.partitions)))
        return True

    def _to_source(self, kind: str) -> bool:
        source = self.world.random.choice(self.world.sources)
        self.world.tell(f"{kind}: {source.name} epoch {source.epoch}, of {len(source.spool)} unsent")
        if kind == "killed" and source.alive and source.said_hello and not self.world.log_trouble():
            source.killed()
        elif kind == "cut off" and source.alive:
            source.cut_off()
        elif kind.startswith("goodbye"):
            return source.goodbye(kind.removeprefix("goodbye "))
        else:
            return False
        return True

    def _to_worker(self, kind: str) -> bool:
        running = [one for one in self.world.processes if one.running]
        if not running:
            return False
        process = self.world.random.choice(running)
        if kind in ("crash", "pause", "zombie", "evicted"):
            self.strikes[process] = (self.world.random.choice((1, 3, 8, 12, 16, 25, 40)), kind)
        elif kind == "pacing jumps":
            process.jump -= self.world.random.choice((1, 100, 100_000)) * SECOND
        else:
            self.world.wanted = max(1, self.world.wanted - 1)
            process.leaving = True
        return True

    def _strike(self, process: Process, kind: str) -> None:
        if kind == "crash":
            self._crash(process)
        elif kind == "pause":
            self._pause(process, self.world.random.randint(1, 5) * SECOND)
        elif kind == "zombie":
            self._pause(process, self.world.random.randint(7, 60) * SECOND)
        else:
            self.world.tell(f"{process.name} is given up by the group at {process.fiber.at}")
            process.evict()

    def draw_near(self, process: Process, left: int, kind: str) -> None:
        """So many points are left until what is to come to a worker comes."""
        self.strikes[process] = (left, kind)
        if left > 0 and process.running:
            return
        del self.strikes[process]
        if process.running:
            self._strike(process, kind)

    def _crash(self, process: Process) -> None:
        self.world.weather.crashed_at[process.fiber.at] += 1
        self.world.tell(f"{process.name} crashes at {process.fiber.at}")
        process.crash()
        process.evict_at = self.world.now + self.world.random.choice((0, 1, SESSION))

    def _pause(self, process: Process, length: int) -> None:
        self.world.tell(f"{process.name} is stopped at {process.fiber.at} for {length / SECOND:.1f} s")
        process.fiber.stopped_until = self.world.now + length
        if length > SESSION:
            process.evict_at = self.world.now + SESSION
