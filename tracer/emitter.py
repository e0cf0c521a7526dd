"""What everything that sends uses: numbers events, batches them, and vouches for how far they got.

Laws (DESIGN.md §4):

- A marker's ``through`` t says that all that became known before t was acknowledged by the log. So it never passes an
  event that is queued, under way, or was given up; nor does it follow a clock that is ahead of an earlier one.
- What was shed cannot be vouched for, ever: when the log is back, the emitter begins a new epoch, whose ``since`` comes
  after the last event shed. The gap between the epochs is what readers call blind.
- An epoch begins when all of the one before is acknowledged: the two never overlap. So that a source that always has something
  under way gets there, what comes meanwhile is not numbered (`Emitter.pausing`), for seconds at most.
- Everything in a marker is cumulative over the epoch: a marker that got lost is made good by the next.
- An epoch's hello is acknowledged before its first marker is sent.

No threads, no waiting (but where ``block`` says so), no clock of its own: time passes when `Emitter.tick` is called.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tracer.batch import MAX_EVENT_BYTES, Batch, encode_event, renumbered
from tracer.errors import Unavailable
from tracer.keys import Normalise, normal, route
from tracer.record import CONTROL, EPOCH, EVENTS, IMPORT, KIND, SOURCE, Ack, Headers, Record, partition_of
from tracer.shed import Shed
from tracer.sinks.contract import Sink

SECOND = 1_000_000
PAUSE = 5 * SECOND
"""After an acknowledgement that came since something was shed: as long nothing new is numbered, if the next does not come."""


class Limits(NamedTuple):
    """When a batch is sent, and how much may wait. ``linger`` is microseconds; 0 sends with every `Emitter.tick`."""

    batch_events: int = 200
    batch_bytes: int = 384 * 1024
    linger: int = 100_000
    queue_events: int = 100_000
    queue_bytes: int = 64 * 1024 * 1024


class Emitter:
    """One source under one epoch.

    Args:
        sink: where records go; its callbacks run within its methods, on our thread.
        source: name of the emitting process. ``epoch``: its boot, microseconds since the Unix epoch.
        systems: for whom it vouches.
        clock: the source's clock, microseconds since the Unix epoch.
        every: microseconds between markers.
        since: from when on it vouches; its boot if None, for an import the beginning of time.
        delay: microseconds by which records become visible late; taken off ``through``.
        transaction_types: key types that name transactions, the first that an event has routes it.
        normalise: key type to the form under which its values meet; others go as they are. (Workers normalise again.)
        block: where the queue is full, wait for the log and raise `Unavailable`, rather than shed.
        load: an import: no hello nor markers before `goodbye`, which brings both; implies ``block``.

    Attributes:
        hold: µs beyond which ``through`` does not go, for who reads what others wrote and has not read all of it; None for no
            such bound.
        told: ``through`` of the last marker that the log acknowledged, under any epoch; None before the first.
    """

    def __init__(
        self,
        sink: Sink,
        source: str,
        epoch: int,
        systems: Iterable[str],
        clock: Callable[[], int],
        *,
        every: int = 2 * SECOND,
        since: int | None = None,
        delay: int = 0,
        transaction_types: Iterable[str] = (),
        normalise: Normalise | None = None,
        limits: Limits | None = None,
        block: bool = False,
        load: bool = False,
    ):
        self.sink = sink
        self.source = source
        self.systems = tuple(systems)
        self.every = every
        self.delay = delay
        self._clock = clock
        self._limits = limits or Limits()
        self._types = tuple(transaction_types)
        self._normalise = dict(normalise or {})
        self._load = load
        self._block = block or load
        self.hold: int | None = None
        self.told: int | None = None
        self._now = 0
        self._open: dict[int, Batch] = {}
        self._unplaced: deque[tuple[str, bytes, int, int]] = deque()
        self._early: list[tuple[str, bytes, int]] = []
        self._waiting: deque[Batch] = deque()
        self._unacked: set[Batch] = set()
        self._queued = self._queued_bytes = 0
        self._begin(epoch, (0 if load else epoch) if since is None else since)

    def _begin(self, epoch: int, since: int) -> None:
        """A new epoch: everything that markers say starts at nothing."""
        self.epoch = epoch
        self.since = since
        self.sent = 0
        self._shed = Shed()
        self._seq = 0
        self._acked: dict[int, int] = {}
        self._skew: int | None = None
        self._shed_at: int | None = None
        self._heard_at: int | None = None
        self._hello: str = "due"  # due, sent, acknowledged
        self._marker_pending = False
        self._next_marker = 0
        self._ended = False
        headers = ((KIND, b"event"), (SOURCE, self.source.encode()), (EPOCH, b"%d" % epoch))
        self._headers: Headers = (*headers, (IMPORT, b"1")) if self._load else headers

    def _time(self) -> int:
        """Now, by a clock that does not go backwards: what is known later must not be dated before a marker said so."""
        self._now = max(self._now, self._clock())
        return self._now

    # Events

    def emit(self, event: Mapping[str, Any]) -> None:
        """Take an event: id, system, step, phase, time, keys, and what else the contract has; ``seq`` is added here.

        Raises:
            ValueError: no keys, not JSON, too large, or after a goodbye. Nothing was taken.
            Unavailable: with ``block`` only: there is no room, and the log is away. Nothing was taken.
        """
        if self._ended:
            raise ValueError(f"{self.source} said goodbye already")
        if self._normalise:
            event = {**event, "keys": normal(event.get("keys") or {}, self._normalise)}
        key = route(event.get("keys"), self._types)
        line = encode_event({**event, "seq": self._seq + 1})
        if self.pausing and not self._block:
            self._count(len(line) + 1)
            self._early.append((key, line, self._time()))
            return
        if self._early:
            self._number_early()
            line = renumbered(line, self._seq + 1)
        full = self._queued >= self._limits.queue_events or self._queued_bytes >= self._limits.queue_bytes
        if full and self._block:
            self.flush()
        self._seq += 1
        now = self._time()
        if full and not self._block:
            self._give_up((self._seq,), now)
            return
        self._count(len(line) + 1)
        self._unplaced.append((key, line, now, self._seq))
        self._place()

    def _count(self, size: int) -> None:
        self._queued += 1
        self._queued_bytes += size

    def _number_early(self) -> None:
        """Number what came while nothing was to be numbered."""
        early, self._early = self._early, []
        for key, line, known in early:
            self._seq += 1
            numbered = renumbered(line, self._seq)
            self._queued_bytes += len(numbered) - len(line)
            self._unplaced.append((key, numbered, known, self._seq))

    def set_aside(self, body: bytes, reason: str, key: str = "") -> None:
        """Send bytes that made no event, to be quarantined: they are counted, acknowledged and vouched for as events are.

        Args:
            body: as they stood; at most 256 KiB are kept.
            reason: one sentence; at most 1,000 characters are kept.
            key: places the record.

        Raises:
            ValueError: after a goodbye.
            Unavailable: there is no room, or the log is away. Nothing was taken.
        """
        if self._ended:
            raise ValueError(f"{self.source} said goodbye already")
        if self._queued >= self._limits.queue_events or self._queued_bytes >= self._limits.queue_bytes:
            self.flush()
        placed = key.encode("utf-8", "replace")
        partition = partition_of(placed, self.sink.partitions(EVENTS))
        told = reason[:1000].encode("utf-8", "backslashreplace") or b"no event"
        batch = Batch(partition, placed, self._time(), told)
        self._seq += 1
        batch.add(body[:MAX_EVENT_BYTES], self._seq)
        self._count(batch.size)
        self._unacked.add(batch)
        self._waiting.append(batch)
        self._hand_over()

    def _place(self) -> None:
        """Sort what came into batches; as long as the log does not say how many partitions it has, it waits."""
        try:
            count = self.sink.partitions(EVENTS)
        except Unavailable:
            return
        while self._unplaced:
            routed, line, known, number = self._unplaced.popleft()
            key = routed.encode("utf-8", "surrogatepass")
            partition = partition_of(key, count)
            batch = self._open.get(partition)
            if batch is not None and batch.size + len(line) > self._limits.batch_bytes:
                self._hand_over(batch)
                batch = None
            if batch is None:
                batch = self._open[partition] = Batch(partition, key, known)
                self._unacked.add(batch)
            batch.add(line, number)
            if len(batch.lines) >= self._limits.batch_events or known - batch.known >= self._limits.linger > 0:
                self._hand_over(batch)

    def _hand_over(self, *ready: Batch) -> None:
        """Give the sink what waits, in order, as far as it takes it; and ``ready``, which nothing is added to any more."""
        for batch in ready:
            del self._open[batch.partition]
        self._waiting.extend(ready)
        for _ in range(len(self._waiting)):
            batch = self._waiting.popleft()
            batch.handed = self._clock()
            failed = self._on_error(batch)
            try:
                self.sink.send(batch.record(self._headers), self._on_ack(batch), failed)
            except (Unavailable, ValueError) as error:
                failed(error)
            if self._waiting and self._waiting[0] is batch:
                return  # it came back: the log is away

    def _on_ack(self, batch: Batch) -> Callable[[Ack], None]:
        def acknowledged(ack: Ack) -> None:
            self._settle(batch)
            self._heard_at = self._clock()
            self.sent += len(batch.lines)
            self._acked[ack.partition] = max(self._acked.get(ack.partition, 0), ack.offset + 1)
            self._measure(ack.append_time - batch.handed)

        return acknowledged

    def _on_error(self, batch: Batch) -> Callable[[Exception], None]:
        def failed(error: Exception) -> None:
            if isinstance(error, Unavailable):
                self._waiting.appendleft(batch)
            else:  # the log will never take it
                self._settle(batch)
                self._give_up(batch.numbers, batch.known)

        return failed

    def _settle(self, batch: Batch) -> None:
        self._unacked.discard(batch)
        self._queued -= len(batch.lines)
        self._queued_bytes -= batch.size

    def _measure(self, difference: int) -> None:
        self._skew = difference if self._skew is None else min(self._skew, difference)

    def _give_up(self, numbers: Sequence[int], known: int) -> None:
        if self._shed_at is None:
            self._heard_at = None
        self.sent += len(numbers)
        self._shed.add(numbers)
        self._shed_at = known if self._shed_at is None else min(self._shed_at, known)

    def flush(self, timeout: float = 30.0) -> None:
        """Send everything and wait until it is acknowledged.

        Args:
            timeout: seconds.

        Raises:
            Unavailable: not all was; it stays queued, and is sent again.
        """
        self._number_early()
        self._place()
        self._hand_over(*self._open.values())
        self.sink.flush(timeout)
        if self._waiting:  # what the sink refused, or gave back meanwhile
            self._hand_over()
            self.sink.flush(timeout)
        self._heard_at = None  # whoever waited for the log need not pause for it
        if self._unacked or self._unplaced:
            raise Unavailable(f"{self.sink.name}: {self._queued} events are not acknowledged yet")

    # What the source says of itself

    @property
    def shed(self) -> int:
        """Events given up under this epoch."""
        return self._shed.count

    @property
    def taken(self) -> int:
        """The last running number that was given under this epoch."""
        return self._seq

    @property
    def room(self) -> bool:
        """Whether another event is taken without waiting for the log, or shedding it; with ``block``, not while `pausing`."""
        if self._block and self.pausing:
            return False
        return self._queued < self._limits.queue_events and self._queued_bytes < self._limits.queue_bytes

    @property
    def pausing(self) -> bool:
        """Nothing more is to be numbered under this epoch: something was shed, the log is back, and a new one begins when it has
        acknowledged what is under way. Not where half of the room is taken, nor for long after the last acknowledgement."""
        if self._shed_at is None or self._heard_at is None or self._waiting or self._hello != "acknowledged":
            return False
        half = 2 * self._queued >= self._limits.queue_events or 2 * self._queued_bytes >= self._limits.queue_bytes
        return not half and 0 <= self._clock() - self._heard_at < PAUSE

    @property
    def accounted(self) -> int:
        """Every running number up to this one was acknowledged or shed. ``sent`` is no such bound: what is sent later to another
        partition may be acknowledged before it."""
        first = [batch.numbers[0] for batch in self._unacked]
        if self._unplaced:
            first.append(self._unplaced[0][3])
        return min(first, default=self._seq + 1) - 1

    @property
    def through(self) -> int:
        """All that became known before this time has been acknowledged; ``delay`` is off it, and ``hold`` not passed."""
        known = [batch.known for batch in self._unacked]
        if self._unplaced:
            known.append(self._unplaced[0][2])
        if self._shed_at is not None:
            known.append(self._shed_at)
        if self.hold is not None:
            known.append(min(self.hold, self._time()))
        return min(known, default=self._time()) - self.delay

    def tick(self, now: int | None = None) -> None:
        """Let time pass: send what is due, say hello first, then markers. Never raises for a log that is away.

        Args:
            now: microseconds; the clock's if None. It only ever moves the emitter's time forward.
        """
        if self._ended:
            return
        self._now = max(self._now, self._clock() if now is None else now)
        try:
            self.sink.poll()
            pausing = self.pausing
            if not pausing:
                self._number_early()
            self._place()
            due = [batch for batch in self._open.values() if pausing or self._now - batch.known >= self._limits.linger]
            self._hand_over(*due)
            if not self._load:
                self._speak()
        except Unavailable:
            return

    def _speak(self) -> None:
        if self._hello == "due":
            self._hello = "sent"
            self._say(self.hello(), on_ack=self._hello_heard, on_error=self._hello_lost)
        if self._hello != "acknowledged" or self._marker_pending:
            return
        if self._shed_at is not None and not (self._unacked or self._unplaced):
            told = self._seq
            self._say(self.marker(), on_ack=lambda _: self._renew(told), on_error=lambda _: self._marker_done())
        elif self._now >= self._next_marker:
            self._next_marker = self._now + self.every
            self._say(self.marker(), on_ack=lambda _: self._marker_done(), on_error=lambda _: self._marker_done())

    def _say(self, value: dict[str, Any], on_ack: Callable[[Ack], None], on_error: Callable[[Exception], None]) -> None:
        self._marker_pending = value["kind"] == "marker"
        handed = self._clock()

        def heard(ack: Ack) -> None:
            self._measure(ack.append_time - handed)
            if "through" in value:
                self.told = max(value["through"], self.told or 0)
            on_ack(ack)

        try:
            self.sink.send(control_record(value), heard, on_error)
        except Unavailable as error:
            on_error(error)
            raise

    def _hello_heard(self, _: Ack) -> None:
        self._hello = "acknowledged"

    def _hello_lost(self, _: Exception) -> None:
        self._hello = "due"

    def _marker_done(self) -> None:
        self._marker_pending = False

    def _renew(self, told: int) -> None:
        """The queue is empty again after something was shed, and the log knows how far this epoch got: up to number ``told``."""
        self._marker_done()
        if self._seq == told and not (self._unacked or self._unplaced):
            epoch = max(self._time(), self.epoch) + 1  # after all that the old one carried
            self._begin(epoch, epoch)
            self._number_early()
            self._speak()

    def hello(self) -> dict[str, Any]:
        """The content of a hello."""
        named = {"kind": "hello", "source": self.source, "epoch": self.epoch, "systems": list(self.systems)}
        return {**named, "boot": self.epoch, "since": self.since, "every": self.every}

    def marker(self, kind: str = "marker") -> dict[str, Any]:
        """The content of a marker, as of now. ``sent``: events acknowledged or shed."""
        return {
            "kind": kind,
            "source": self.source,
            "epoch": self.epoch,
            "systems": list(self.systems),
            "through": max(0, self.through),
            "acked": {str(partition): offset for partition, offset in sorted(self._acked.items())},
            "skew": self._skew,
            "sent": self.sent,
            "shed": self.shed,
            "shed_ranges": self._shed.ranges(),
            "accounted": self.accounted,
        }

    def goodbye(self, state: str = "open", through: int | None = None, timeout: float = 30.0) -> list[Ack]:
        """Send everything, then say goodbye (for an import: hello and goodbye, together). Nothing can be emitted after.

        Args:
            state: ``open`` (nothing more until the name says hello again) or ``closed`` (up to ``through``, no further).
            through: until when it vouches; how far it got if None.

        Raises:
            Unavailable: not all is acknowledged, or the goodbye is not; call again.
        """
        if state not in ("open", "closed"):
            raise ValueError("a goodbye is open or closed")
        self.flush(timeout)
        last = {**self.marker("goodbye"), "state": state}
        if through is not None:
            last["through"] = through if self._shed_at is None else min(through, self._shed_at)
        said = [last] if self._hello == "acknowledged" else [self.hello(), last]
        acks = self.sink.produce([control_record(value) for value in said], timeout)
        self.told = max(last["through"], self.told or 0)
        self._ended = True
        return acks


def control_record(value: dict[str, Any]) -> Record:
    """A control record of a source; keyed by what the topic is compacted by."""
    key = f"{value['kind']}:{value['source']}:{value['epoch']}".encode()
    return Record(CONTROL, key, json.dumps(value, separators=(",", ":")).encode(), (), 0)
