"""The thread that owns the sink: sends what earlier processes left, then what the outbox has, and vouches for it.

The log may be away when it begins, and at any time later: it waits, asks again, and opens the sink anew where nothing moves.
Whatever goes wrong here is said to the logger ``lastseen``, once for each kind of thing, and never to the application.

Order: what was left is sent before this process says hello. A goodbye that came after would be taken for a sign of life.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from tracer.emitter import SECOND, Limits
from tracer.errors import Unavailable
from tracer.leftovers import Left
from tracer.outbox import Outbox
from tracer.relay import Relay
from tracer.replay import Replay
from tracer.sinks.contract import Sink
from tracer.spool_format import Entry

log = logging.getLogger("lastseen")

BEAT = 0.05
"""Seconds between two looks at what there is to do. An event waits for two of them and the emitter's linger at most."""
SLACK = SECOND
"""Taken off what is vouched for: a thread may be stopped between looking at the clock and handing over. (Readers look ten seconds
behind anyway.)"""
STUCK = 60.0
"""Seconds without an acknowledgement, while some are awaited, after which the sink is opened anew."""
LONGEST_PAUSE = 5.0
BATCH = 2_000
LIMITS = Limits(queue_events=20_000, queue_bytes=16 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks. ``epoch``, ``every``: microseconds."""

    source: str
    epoch: int
    systems: tuple[str, ...]
    every: int = 2 * SECOND


@dataclass(slots=True)
class Sender:
    """``run`` is the thread's body; it ends after `stop`, when everything was sent or its time is over.

    Attributes:
        open_sink: makes a sink; raises `Unavailable` (asked again) or ValueError (said, and asked again).
        clock: microseconds since 1970 UTC.
        left: of earlier processes. ``sent`` is called with what is still left when one of them is sent.
        at_work: held during each turn.
        opened: called when a sink was opened.
    """

    who: Identity
    open_sink: Callable[[], Sink]
    outbox: Outbox
    clock: Callable[[], int]
    left: list[Left] = field(default_factory=list)
    sent: Callable[[list[Left]], None] = lambda _: None
    opened: Callable[[], None] = lambda: None
    sink: Sink | None = None
    relay: Relay | None = None
    done: bool = False
    at_work: threading.Lock = field(default_factory=threading.Lock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _until: float = 0.0
    _silent: bool = False
    _pause: float = BEAT
    _replay: Replay | None = None
    _pending: list[Entry] = field(default_factory=list)
    _moved: float = 0.0
    _accounted: int = 0
    _settled_at: int = 0
    _said: set[str] = field(default_factory=set)

    @property
    def pausing(self) -> bool:
        """As `Relay.pausing`, and all that is numbered was taken."""
        return self.relay is not None and self.relay.pausing and not self._pending and self.outbox.empty

    def stop(self, until: float) -> None:
        """Send what there is, until then at most (of the monotonic clock)."""
        self._until = until
        self._stopping.set()

    def fall_silent(self) -> None:
        """End at once and without a goodbye, for nobody hands over what the application still does. What is spooled stays so."""
        self._silent = True
        self._stopping.set()

    def run(self) -> None:
        while not self.done:
            pause = BEAT
            try:
                with self.at_work:
                    self._turn()
                self._pause = BEAT
            except (Unavailable, ValueError) as error:
                self._say(error)
                pause = self._pause = min(2 * self._pause, LONGEST_PAUSE)
            except Exception as error:
                self._say(error)
                self._close()
                pause = LONGEST_PAUSE
            if self._stopping.is_set():
                if time.monotonic() >= self._until:
                    break
                time.sleep(0 if self.done else BEAT)
            else:
                self._stopping.wait(pause)
        self._let_go()

    def _say(self, error: Exception) -> None:
        """Once a kind: an outage of a night is not a line for each attempt."""
        kind = f"{type(error).__name__}: {error}"[:40]
        if kind not in self._said and len(self._said) < 100:
            self._said.add(kind)
            log.warning("%s: events wait until the log can be reached: %s", self.who.source, error)

    def _turn(self) -> None:
        sink = self.sink or self._open()
        while self.left:
            self._send_left(self.left[0], sink)
            self._replay = None
            del self.left[0]
            self.sent(self.left)
        if self.relay is None:
            self.relay = self._new_relay(sink)
        self._pass_on(self.relay)
        if self._stopping.is_set() and not (self._silent or self._pending) and self.outbox.empty:
            self._end(self.relay)

    def _send_left(self, left: Left, sink: Sink) -> None:
        """What of it can never be sent must not keep back what is new."""
        try:
            self._replay = self._replay or Replay(left, sink, self.clock, SLACK, LIMITS)
            self._replay.run()
        except Unavailable:
            raise
        except Exception as error:
            log.warning("%s: what it left under epoch %d is set aside: %s", left.source, left.epoch, error)
            left.set_aside()

    def _open(self) -> Sink:
        sink = self.sink = self.open_sink()
        self.opened()
        self._moved = time.monotonic()
        for relay in (self.relay, self._replay.relay if self._replay else None):
            if relay is not None:
                relay.adopt(sink)
        return sink

    def _new_relay(self, sink: Sink) -> Relay:
        who = self.who
        relay = Relay(sink, who.source, who.epoch, who.systems, self.clock, every=who.every, delay=SLACK, limits=LIMITS)
        relay.renewing = self.outbox.renew
        return relay

    def _pass_on(self, relay: Relay) -> None:
        while relay.room:
            self._pending = self._pending or self.outbox.take(BATCH)
            if not self._pending:
                break
            relay.take(self._pending)
            self._pending = []
        relay.hold = self._pending[0].known if self._pending else self.outbox.horizon
        relay.tick()
        self._settle(relay)

    def _settle(self, relay: Relay) -> None:
        accounted, now = relay.accounted, time.monotonic()
        if accounted != self._accounted or relay.idle:
            self._moved = now
        if now - self._moved > STUCK:
            self._close()
        if accounted != self._accounted and (relay.idle or self.clock() - self._settled_at > SECOND):
            self._accounted, self._settled_at = accounted, self.clock()
            self.outbox.settle(relay.state())

    def _end(self, relay: Relay) -> None:
        """Everything was taken: goodbye, open, for the name may come again."""
        relay.hold, relay.delay = self.outbox.horizon, 0
        relay.goodbye("open", timeout=max(0.1, self._until - time.monotonic()))
        self.done = True

    def before_fork(self, patience: float = 1.0) -> bool:
        """Let go of a sink that must not be open while the process forks; True where `at_work` is to be released afterwards."""
        if getattr(self.sink, "survives_fork", True) or not self.at_work.acquire(timeout=patience):
            return False
        self._close()
        return True

    def _close(self) -> None:
        """The next turn opens it anew."""
        sink, self.sink = self.sink, None
        with suppress(Exception):
            if sink is not None:
                sink.close()

    def _let_go(self) -> None:
        with suppress(Exception):
            if self.relay is not None and not self.done:
                self.outbox.settle(self.relay.state())
        with suppress(Exception):
            self.outbox.close(remove=self.done and not self.left)
        self._close()
