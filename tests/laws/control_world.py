"""A small world with sources, partitions, workers and a control topic, played at random, that knows the truth.

Everything is in seconds (floats, rounded to milliseconds) outside of records. Sources observe events, send them in order, mark,
are cut off, die with what they had not sent, restart, say goodbye. Workers claim partitions, process, forward, announce,
crash before they commit, and go on as zombies when others have taken over. The world never looks at the fold but to write
down, as workers do, who is gone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from schemas.control import Goodbye, Hello, Marker, Own, Partitions, Progress
from schemas.landscape import Landscape
from tests.core.control_topic import S, Topic

LANDSCAPE = Landscape.model_validate({"tolerate": 0, "gone_after": "40s"})
PARTITIONS = 3
SYSTEMS = {"a1": "A", "a2": "A", "b1": "B"}


@dataclass(eq=False)
class Event:
    """``path``: the partitions it goes through, the first by its sender, each further one forwarded to by a worker."""

    system: str
    known: float
    path: list[int]
    boot: Process = field(repr=False)
    reached: int = 0  # how many of its path's copies an owner has processed, and said so

    @property
    def complete(self) -> bool:
        return self.reached == len(self.path)


@dataclass(eq=False)
class Process:
    """One boot of a source."""

    name: str
    epoch: int
    booted: float
    hello_due: float
    said_hello: bool = False
    cut_off: bool = False
    ended: bool = False  # it died, or said goodbye
    unsent: list[Event] = field(default_factory=list, repr=False)
    shed: int = 0
    shed_at: float | None = None
    acked: dict[int, int] = field(default_factory=dict)
    news: dict[int, int] = field(default_factory=dict)  # of ``acked``, what no marker has told yet


@dataclass(eq=False)
class Worker:
    """The owner of a partition, or what was one."""

    partition: int
    fence: int
    position: int
    known_position: int
    forwarded: dict[int, dict[int, int]]
    done: list[tuple[Event, int]] = field(default_factory=list)  # processed, and not announced yet


class World:
    """``step`` does one thing. ``topic`` is what was written to control, and the fold of it."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.topic = Topic(LANDSCAPE)
        self.now = 1_000.0
        self.events: list[Event] = []
        self.logs: list[list[tuple[Event, int]]] = [[] for _ in range(PARTITIONS)]
        self.committed = [0] * PARTITIONS
        self.sources: dict[str, Process | None] = dict.fromkeys(SYSTEMS)
        self.owners: list[Worker | None] = [None] * PARTITIONS
        self.zombies: list[Worker] = []
        self._epochs = 0
        self.write(Partitions(count=PARTITIONS))

    def write(self, record: object) -> int:
        return self.topic.write(self.now, record)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)

    def step(self) -> None:
        if self.random.random() < 0.01:
            self.pass_time(self.random.uniform(5, 30))  # control cannot be reached
        else:
            self.pass_time(self.random.uniform(0.01, 0.9))
            if self.now - self.topic.now > 2:
                self.tick()
        if self.random.random() < 0.6:
            self.source_acts(self.random.choice(sorted(SYSTEMS)))
        else:
            self.worker_acts(self.random.randrange(PARTITIONS))
        for record in self.topic.fold.departed():
            self.write(record)

    # Sources

    def source_acts(self, name: str) -> None:
        process = self.sources[name]
        if process is None or process.ended:
            if self.random.random() < 0.3:
                self.boot(name)
            return
        chance = self.random.random()
        if not process.said_hello and (self.now >= process.hello_due or chance < 0.5):
            self.hello(process)
        elif chance < 0.35:
            self.observe(process)
        elif chance < 0.6:
            self.send(process, self.random.randint(1, 3))
        elif chance < 0.9:
            self.marker(process)
        elif chance < 0.94:
            process.cut_off = not process.cut_off
        elif chance < 0.97:
            process.ended = True  # killed: what it had not sent is lost
        elif not process.cut_off and process.said_hello:
            self.goodbye(process)

    def boot(self, name: str) -> None:
        self._epochs += 1
        late = self.random.choice((0.0, 0.0, 5.0))
        process = Process(name, self._epochs, self.now, self.now + late)
        self.sources[name] = process

    def hello(self, process: Process) -> None:
        at = int(process.booted * S)
        process.said_hello = True
        self.write(Hello(source=process.name, epoch=process.epoch, systems=(SYSTEMS[process.name],), boot=at, since=at))

    def observe(self, process: Process) -> None:
        path = [self.random.randrange(PARTITIONS) for _ in range(self.random.choice((1, 1, 1, 2, 3, 4)))]
        event = Event(SYSTEMS[process.name], self.now, path, process)
        self.events.append(event)
        if self.random.random() < 0.05:
            process.shed += 1
            process.shed_at = self.now if process.shed_at is None else process.shed_at
        else:
            process.unsent.append(event)

    def send(self, process: Process, count: int) -> None:
        if process.cut_off:
            return
        for event in process.unsent[:count]:
            log = self.logs[event.path[0]]
            log.append((event, 0))
            process.acked[event.path[0]] = process.news[event.path[0]] = len(log)
        del process.unsent[:count]

    def vouched(self, process: Process) -> dict[str, object]:
        """A marker's content. Some sources tell only what is new since the last one: it is cumulative all the same."""
        acked, process.news = (process.news if process.name == "a2" else process.acked), {}
        shed = self.now if process.shed_at is None else process.shed_at
        through = min([shed, *(event.known for event in process.unsent)])
        return {
            "source": process.name, "epoch": process.epoch, "systems": (SYSTEMS[process.name],), "through": int(through * S),
            "acked": dict(acked), "shed": process.shed, "sent": process.shed,
        }  # fmt: skip

    def marker(self, process: Process) -> None:
        if process.said_hello and not process.cut_off:
            self.write(Marker.model_validate(self.vouched(process)))
            if process.shed and not process.unsent:
                self.renew(process)

    def renew(self, process: Process) -> None:
        """The log is back after something was shed: a new epoch, from after the last of it."""
        self._epochs += 1
        at = round(self.now + 0.001, 3)
        renewed = self.sources[process.name] = Process(process.name, self._epochs, at, at)
        self.hello(renewed)

    def goodbye(self, process: Process) -> None:
        self.send(process, len(process.unsent))
        state = self.random.choice(("open", "closed"))
        self.write(Goodbye.model_validate({**self.vouched(process), "state": state}))
        process.ended = True

    # Workers

    def tick(self) -> None:
        """Where nobody else speaks, an idle worker does: leases and silence run on control time."""
        partition = next((n for n, owner in enumerate(self.owners) if owner is not None), 0)
        if self.owners[partition] is None:
            self.claim(partition)
        owner = self.owners[partition]
        assert owner is not None
        self.announce(owner)

    def worker_acts(self, partition: int) -> None:
        owner = self.owners[partition]
        if owner is None or self.random.random() < 0.05:
            if owner is not None:
                self.zombies.append(owner)
            self.claim(partition)
        elif self.random.random() < 0.05:
            self.owners[partition] = None  # crashed: what it had not announced is processed again
        else:
            self.work(owner, self.random.randint(0, 4))
        if self.zombies and self.random.random() < 0.3:
            self.work(self.random.choice(self.zombies), self.random.randint(0, 4))

    def claim(self, partition: int) -> None:
        known = self.topic.fold.partitions.get(partition)
        if known is not None and self.random.random() < 0.1:
            self.write(Own(partition=partition, after=max(-1, known.fence - 1), worker="late"))  # does not count
        after = known.fence if known else -1
        fence = self.write(Own(partition=partition, after=after, worker="w", claim=str(self.now)))
        if self.random.random() < 0.1:  # its acknowledgement was lost: once more, and the first counts
            self.write(Own(partition=partition, after=after, worker="w", claim=f"{self.now} again"))
        forwarded = {depth: dict(offsets) for depth, offsets in known.forwarded.items()} if known else {}
        position = self.committed[partition]
        self.owners[partition] = Worker(partition, fence, position, known.position if known else 0, forwarded)

    def work(self, worker: Worker, count: int) -> None:
        log = self.logs[worker.partition]
        for event, place in log[worker.position : worker.position + count]:
            worker.position += 1
            worker.done.append((event, place))
            if place + 1 < len(event.path):
                home = event.path[place + 1]
                self.logs[home].append((event, place + 1))
                worker.forwarded.setdefault(place + 1, {})[home] = len(self.logs[home])
        if self.random.random() < 0.7:
            self.announce(worker)

    def announce(self, worker: Worker) -> None:
        self.write(
            Progress(
                partition=worker.partition, fence=worker.fence, position=max(worker.position, worker.known_position),
                through=int(self.now * S), forwarded=worker.forwarded,
            )
        )  # fmt: skip
        if worker is not self.owners[worker.partition]:
            return  # a zombie: nothing that it says or writes counts
        for event, place in worker.done:
            event.reached = max(event.reached, place + 1)
        worker.done.clear()
        if self.random.random() < 0.8:
            self.committed[worker.partition] = max(worker.position, self.committed[worker.partition])

    def finish(self) -> None:
        """All that was sent is processed."""
        for _ in range(100):
            behind = [n for n in range(PARTITIONS) if self._behind(n)]
            if not behind:
                return
            for partition in behind:
                if self.owners[partition] is None:
                    self.claim(partition)
                owner = self.owners[partition]
                assert owner is not None
                self.pass_time(0.1)
                self.work(owner, 1_000)
                self.announce(owner)

    def _behind(self, partition: int) -> bool:
        known = self.topic.fold.partitions.get(partition)
        owner = self.owners[partition]
        log = self.logs[partition]
        return bool(log) and (owner is None or known is None or min(known.position, owner.position) < len(log))
