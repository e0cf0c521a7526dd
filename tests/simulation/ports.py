"""The log and the store as one process has them: every call is a point at which others go on, the process may end, or the call
may fail before it was done, in part, or after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.errors import Unavailable
from pipeline.log.contract import GROUP, LogRecord
from pipeline.log.memory import MemoryConsumer, MemoryLog
from pipeline.store.memory import MemoryStore
from schemas.times import SECOND
from tests.simulation.fibers import Crash
from tests.simulation.weather import AFTER, BEFORE, PART, SLOW
from tracer.record import CONTROL, EVENTS, Ack, Record

if TYPE_CHECKING:
    from tests.simulation.process import Process

# Of a consumer, what asks nobody.
_AT_HAND = frozenset({"take_changes", "assignment", "position", "seek", "pause", "resume", "name"})
_LONG = 6 * SECOND


class Port:
    """Passes every call on to ``target``, through ``Process.call``."""

    def __init__(self, target: Any, process: Process, service: str):
        self._target, self._process, self._service = target, process, service

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found) or name in _AT_HAND:
            return found
        call = partial(self._process.call, self._service, name, found)
        self.__dict__[name] = call
        return call


class LaggingConsumer(MemoryConsumer):
    """Hands out nothing of the partition that lags."""

    process: Process

    def _take(self, partition: int, max_records: int) -> list[LogRecord]:
        if partition == self.process.world.weather.lagging:
            return []
        return super()._take(partition, max_records)


class ProcessLog(Port):
    """A ``Log`` for one process; ``shared`` is everybody's."""

    def __init__(self, shared: MemoryLog, process: Process):
        super().__init__(shared, process, "log")
        self.shared, self.process = shared, process
        self.member: LaggingConsumer | None = None

    def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> Any:
        known = self.shared.consumer(group, from_beginning=from_beginning)
        self.member = LaggingConsumer(self.shared.broker, known._group, from_beginning)
        self.member.process = self.process
        return Port(self.member, self.process, "log")

    def control_reader(self) -> Any:
        return Port(self.shared.control_reader(), self.process, "log")

    def producer(self) -> Any:
        return Port(self.shared.producer(), self.process, "log")


def produce(process: Process, target: Callable[..., list[Ack]], records: Sequence[Record], outcome: str) -> list[Ack]:
    """Records reach the log one by one; others may write between them, and the process may end there."""
    world = process.world
    done: list[Ack] = []
    count = world.random.randint(0, len(records)) if outcome == PART else len(records)
    for record in records[:count]:
        if outcome == PART and done:
            process.point("produce, in part")
        done.extend(target([record]))
        world.observer.produced(process, record, done[-1])
    if outcome in (PART, AFTER):
        raise Unavailable("the log did not answer")
    return done


def write(process: Process, target: Callable[[Any], None], name: str, rows: Sequence[Any], outcome: str) -> None:
    world = process.world
    if outcome == PART:
        # Rows of one insert land in blocks, in no order.
        rows = world.random.sample(list(rows), world.random.randint(0, len(rows)))
    target(rows)
    world.observer.written(process, name, rows)
    if outcome in (PART, AFTER):
        raise Unavailable("the store did not answer")


class Calls:
    """Makes a process's calls, as the weather has it."""

    world: Any
    dead: bool

    def point(self, label: str) -> None:
        raise NotImplementedError

    def nap(self, micros: int, label: str) -> None:
        raise NotImplementedError

    def call(self, service: str, name: str, target: Callable[..., Any], *args: Any, **rest: Any) -> Any:
        if self.dead:
            raise Crash
        if name == "close":
            return target()
        self.point(name)
        weather = self.world.weather
        writes = name.startswith("write_") or name in ("produce", "commit")
        outcome = weather.of_call(service, writes)
        if outcome == SLOW:
            self.nap(self.world.random.choice((SECOND // 10, SECOND, _LONG)), f"{name}, slowly")
        if service == "store" and (weather.store_away == "all" or (weather.store_away and writes)):
            raise Unavailable("the store is away")
        if outcome == BEFORE:
            raise Unavailable(f"{name}: the {service} is out of reach")
        process: Any = self
        if name == "produce":
            acks = produce(process, target, args[0], outcome)
            self.point("produced")
            return acks
        if name.startswith("write_"):
            write(process, target, name, args[0], outcome)
            self.point(name.replace("write", "wrote"))
            return None
        result = target(*args, **rest)
        if name == "commit":
            self.world.observer.committed(process, args[0])
            if outcome in (PART, AFTER):
                raise Unavailable("the log did not answer")
        return result


__all__ = ["CONTROL", "EVENTS", "Calls", "MemoryStore", "Port", "ProcessLog"]
