"""Sources: they observe what happens, send it, vouch for it; are cut off, killed, come back, say goodbye."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import Unavailable
from schemas.control import Control, Goodbye, Hello, Marker, encode_control
from schemas.times import SECOND
from schemas.wire import compress
from tests.simulation.definitions import GONE_AFTER, GRACE, LINK_AGE, START
from tests.simulation.fibers import FOREVER
from tests.simulation.stories import Event, Happening
from tracer.record import CONTROL, ENCODING, EPOCH, EVENTS, KIND, LZ4, SOURCE, Ack, Record, partition_of

if TYPE_CHECKING:
    from tests.simulation.world import World

EVERY = 8 * SECOND
LEASE = 3 * EVERY

_FORMS: dict[str, Callable[[str], str]] = {
    "parcel": lambda value: value.lower(),
    "account": lambda value: f"00{value}",
    "order": lambda value: f" {value} ",
}


class Sent(NamedTuple):
    """A record under way: what is in it, when its sender hears of it (or gives it up, without an ``ack``)."""

    events: list[tuple[int, Event]]
    ack: Ack | None
    due: int


class Source:
    """``alive``: the process runs and observes. ``asleep``: it said goodbye, and wakes before it has something to observe."""

    def __init__(self, world: World, name: str, system: str):
        self.world, self.name, self.system = world, name, system
        self.ahead: deque[Happening] = deque()
        self.epoch, self.boot, self.since = 1, START - 3 * LINK_AGE, START - 3 * LINK_AGE
        self.alive, self.asleep, self.said_hello = True, False, False
        self.hello_at = START
        self.cut_off_until = self.back_at = self.next_at = self.mark_at = 0
        self.spool: list[tuple[int, Event]] = []
        self.under_way: list[Sent] = []
        self.acked: dict[int, int] = {}
        self.sent = self.number = 0
        self.last_at = START

    # Its life ------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        now = self.world.now
        self.next_at = now + self.world.random.randint(SECOND // 3, 4 * SECOND)
        if self.asleep and self.ahead and self.ahead[0].at <= now + 4 * SECOND:
            self._boot()
        if not self.alive and not self.asleep and now >= self.back_at:
            self._boot()
        if self.alive and not self.said_hello and now < self.hello_at:
            self.next_at = min(self.next_at, self.hello_at)
        self._observe(now)
        if not self.alive or self.cut_off_until > now:
            return
        with contextlib.suppress(Unavailable):
            self._speak(now)

    def _observe(self, now: int) -> None:
        others = self._others()
        while self.ahead and self.ahead[0].at <= now:
            if not self.alive and self.ahead[0].at > self.gone_at and any(other.alive for other in others):
                break
            happening = self.ahead.popleft()
            if self.alive:
                self._take(happening)
        for other in others if self.alive else ():
            while not other.alive and other.ahead and other.gone_at < other.ahead[0].at <= now:
                self._take(other.ahead.popleft())

    def _take(self, happening: Happening) -> None:
        self.number += 1
        self.spool.append((happening.at, {**happening.event, "seq": self.number}))

    def _speak(self, now: int) -> None:
        if not self.said_hello and now >= self.hello_at:
            self.write(
                Hello(
                    source=self.name,
                    epoch=self.epoch,
                    systems=(self.system,),
                    boot=self.boot,
                    since=self.since,
                    every=EVERY,
                )
            )
            self.said_hello = True
        self._hear(now)
        if self.spool and self.world.random.random() < 0.8:
            self._send(now)
        if self.said_hello and now >= self.mark_at:
            self.mark_at = now + EVERY
            self.write(Marker.model_validate(self.vouched()))

    def _boot(self) -> None:
        """A new process under the old name. It says hello within the grace that new sources have."""
        world = self.world
        if world.log_trouble():
            return
        self.epoch += 1
        self.boot = self.since = world.now
        self.alive, self.asleep, self.said_hello = True, False, False
        self.hello_at = self.boot + world.random.choice((0, 0, GRACE * 9 // 10))
        self.acked, self.mark_at, self.number, self.sent = {}, 0, 0, 0

    def killed(self) -> None:
        """What it had not sent is lost; what it had sent may have arrived."""
        self.alive = False
        self.spool.clear()
        self.under_way.clear()
        self.cut_off_until = 0
        self.back_at = self.world.now + self.world.random.choice((1, 5, 30, 90, 10_000)) * SECOND
        for other in self._others():
            if other.asleep:
                other._boot()

    def _others(self) -> list[Source]:
        return [source for source in self.world.sources if source.system == self.system and source is not self]

    @property
    def gone_at(self) -> int:
        """Who is gone has nothing to say any more (DESIGN.md §4): what would be its to observe then, others of its system do."""
        return self.last_at + LEASE + GONE_AFTER

    def cut_off(self) -> None:
        """Not before it said hello: who was never heard cannot be missed; and not for so long that it counts as gone."""
        if self.said_hello and self.alive and self.world.now - self.last_at < 2 * EVERY:
            self.cut_off_until = self.world.now + self.world.random.choice((3, 12, 30, 36)) * SECOND

    def goodbye(self, state: str) -> bool:
        """All is sent and acknowledged, nothing is to come for a while; whether it could."""
        quiet = not self.ahead or self.ahead[0].at > self.world.now + 8 * SECOND
        idle = self.alive and self.said_hello and not (self.spool or self.under_way)
        idle = idle and all(other.alive or other.asleep for other in self._others())
        if not (quiet and idle) or self.cut_off_until > self.world.now or self.world.log_trouble():
            return False
        self.write(Goodbye.model_validate({**self.vouched(), "state": state}))
        self.alive, self.asleep = False, True
        return True

    @property
    def settled_in(self) -> bool:
        """Whether control knows of it, or need not."""
        return self.said_hello or not (self.alive or self.asleep)

    @property
    def ready_at(self) -> int:
        return self.next_at if self.alive or self.ahead or self.back_at < FOREVER else FOREVER

    # What it sends -------------------------------------------------------------------------------------------------

    def _hear(self, now: int) -> None:
        """Acknowledgements come in; what was given up is sent once more."""
        waiting = []
        for sent in self.under_way:
            if sent.due > now:
                waiting.append(sent)
            elif sent.ack is None:
                self.spool = [*sent.events, *self.spool]
            else:
                known = self.acked.get(sent.ack.partition, 0)
                self.acked[sent.ack.partition] = max(known, sent.ack.offset + 1)
        self.under_way = waiting

    def _send(self, now: int) -> None:
        random, weather = self.world.random, self.world.weather
        if random.random() < 0.3:
            random.shuffle(self.spool)
        count = random.randint(1, len(self.spool))
        part, self.spool = self.spool[:count], self.spool[count:]
        for record, events in self._records(part):
            try:
                ack = self.world.append(record)
            except Unavailable:
                self.spool = [*events, *self.spool]
                continue
            self.sent += len(events)
            if weather.strikes("doubled"):
                self.world.append(record)
            due = now
            if weather.strikes("ack late"):
                due += random.randint(1, 9) * SECOND
            lost = weather.strikes("ack lost")
            self.under_way.append(Sent(events, None if lost else ack, due + (3 * SECOND if lost else 0)))
        self._hear(now)

    def _records(self, part: list[tuple[int, Event]]) -> list[tuple[Record, list[tuple[int, Event]]]]:
        """One record per partition, at times one per event; at times in a partition where it doesn't belong."""
        world, random = self.world, self.world.random
        homes: dict[tuple[int, int], list[tuple[int, Event]]] = {}
        single = random.random() < 0.4
        for place, (at, event) in enumerate(part):
            home = partition_of(_key(event), world.partitions)
            if world.weather.strikes("foreign"):
                home = random.randrange(world.partitions)
            homes.setdefault((home, place if single else -1), []).append((at, event))
        found = []
        for (home, _), own in homes.items():
            lines = [json.dumps(self._written(event)).encode() for _, event in own]
            if world.weather.strikes("poison"):
                lines.insert(random.randint(0, len(lines)), world.poison())
            body, headers = (
                b"\n".join(lines),
                [(KIND, b"event"), (SOURCE, self.name.encode()), (EPOCH, b"%d" % self.epoch)],
            )
            if random.random() < 0.1:
                body, headers = compress(body), [*headers, (ENCODING, LZ4)]
            found.append((Record(EVENTS, _key(own[0][1]), body, tuple(headers), home), own))
        return found

    def _written(self, event: Event) -> Event:
        """Numbers as some write them: with white space, in lower case, with leading zeros."""
        if self.world.random.random() < 0.9:
            return event
        return {**event, "keys": {kind: _FORMS.get(kind, str)(value) for kind, value in event["keys"].items()}}

    def vouched(self) -> dict[str, object]:
        """All that it knew before ``through`` has been acknowledged."""
        waiting = [at for at, _ in self.spool] + [at for sent in self.under_way for at, _ in sent.events]
        return {
            "source": self.name, "epoch": self.epoch, "systems": (self.system,), "through": min(waiting, default=self.world.now),
            "acked": dict(self.acked), "sent": self.sent,
        }  # fmt: skip

    def write(self, control: Control) -> None:
        self.last_at = self.world.append(Record(CONTROL, control.key(), encode_control(control), (), 0)).append_time


def _key(event: Event) -> bytes:
    keys = event["keys"]
    name = next((kind for kind in ("order", "cart") if kind in keys), next(iter(keys)))
    return f"{name}:{keys[name]}".encode()
