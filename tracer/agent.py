"""The process's own sender: takes events from any thread without waiting, and sends them in the background.

Law 9: `Agent.hand_over` never blocks and never raises; it appends to a bounded queue (appending is one step of the interpreter, no
lock), or counts what has no room. Two daemon threads do the rest: one empties the queue into the `Outbox` (numbers, spool), the
other (`Sender`) owns the log. So a log that keeps a call waiting for ten seconds stops nothing but itself.

A forked child forgets all of it and begins a source of its own with its first event; what was queued is its parent's. At the
interpreter's exit everything is sent and goodbye is said, for `Settings.exit_timeout` seconds at most; what is not sent by then
stays in the spool, for the next process of the same source.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.emitter import SECOND
from tracer.leftovers import Left, leftovers
from tracer.outbox import Handed, Outbox
from tracer.sender import Identity, Sender, log
from tracer.sinks.contract import Sink
from tracer.spool import LIMIT, Lock, Spool, folder_of, take_slot

SLOT = 4096
"""Bytes that one place of the queue stands for; what is larger takes several. So its length bounds its bytes, without a lock."""
QUEUE = 16_384
"""Places: of 64 MiB at most, of 5 MiB with events of 300 bytes."""
DRAIN = 5_000
BEAT = 0.05


def wall_clock() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Settings:
    """Attributes:
    source: name of the emitting process; further processes at the same time get ``#1``, ``#2`` and so on behind it.
    systems: for whom it vouches.
    open_sink: makes the sink, on a thread of the agent's.
    spool: folder; None for none.
    spool_bytes: what may stand there.
    queue: places in memory (`SLOT`).
    every: microseconds between markers.
    exit_timeout: seconds that the interpreter's exit waits.
    """

    source: str
    systems: tuple[str, ...]
    open_sink: Callable[[], Sink]
    spool: Path | None = None
    spool_bytes: int = LIMIT
    queue: int = QUEUE
    every: int = 2 * SECOND
    exit_timeout: float = 3.0
    clock: Callable[[], int] = wall_clock


class _Run:
    """What belongs to one process: after a fork the child makes another."""

    def __init__(self) -> None:
        self.queue: deque[Handed | None] = deque()
        self.dropped = itertools.count()
        self.dropped_read = 0
        self.starting = threading.Lock()
        self.stopping = threading.Event()
        self.started = False
        self.closed = False
        self.until = 0.0
        self.writer: threading.Thread | None = None
        self.thread: threading.Thread | None = None
        self.outbox: Outbox | None = None
        self.sender: Sender | None = None
        self.locks: list[Lock] = []
        self.shed = 0
        self.in_hand = 0
        self.held = False

    def take_dropped(self) -> int:
        """How many were dropped since the last time. The counter is only ever stepped, here too, which needs no lock."""
        count = next(self.dropped) - self.dropped_read
        self.dropped_read += count + 1
        return count


class Agent:
    """See the module. Used by any thread."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._run = _Run()
        self._child = False
        _AGENTS.add(self)

    # From the application

    def hand_over(self, event: Handed) -> None:
        """Take an event; never waits, never raises."""
        run = self._run
        if not run.started:
            self.start()
        places = 1 + len(event.head) // SLOT
        if run.closed or len(run.queue) + places > self.settings.queue:
            next(run.dropped)
            return
        for _ in range(places - 1):
            run.queue.append(None)
        run.queue.append(event)

    def start(self) -> None:
        """Say hello, in the background. Without it, the first event does."""
        run = self._run
        if not run.starting.acquire(blocking=False):
            return
        try:
            if not run.started and not run.closed:
                run.started = True
                run.writer = threading.Thread(target=self._write, args=(run,), name="lastseen-writer", daemon=True)
                run.writer.start()
                self._at_exit()
        except RuntimeError as error:  # no thread can be started any more
            log.warning("%s: nothing is sent: %s", self.settings.source, error)
        finally:
            run.starting.release()

    def close(self, timeout: float | None = None) -> bool:
        """Send everything and say goodbye.

        Args:
            timeout: seconds; `Settings.exit_timeout` if None.

        Returns:
            Whether all was acknowledged. What was not stays in the spool, if there is one.
        """
        run = self._run
        until = run.until = time.monotonic() + (self.settings.exit_timeout if timeout is None else timeout)
        run.closed = True
        run.stopping.set()
        _AGENTS.discard(self)
        atexit.unregister(self._exit)
        if run.writer is None:
            return True
        run.writer.join(max(0.0, until - time.monotonic()))
        if run.thread is None or run.writer.is_alive():
            return False
        run.thread.join(max(0.0, until - time.monotonic()))
        return run.sender is not None and run.sender.done

    def stats(self) -> dict[str, int]:
        """Events ``queued`` (not numbered yet), ``unacknowledged`` (numbered), ``waiting`` (of these not under way), ``shed``; and
        bytes that are ``spooled``. Looked at in the order in which an event goes: none is passed over."""
        run = self._run
        queued = len(run.queue) + run.in_hand
        outbox, relay = run.outbox, run.sender and run.sender.relay
        return {
            "queued": queued,
            "waiting": outbox.waiting if outbox else 0,
            "unacknowledged": max(0, outbox.number - (relay.accounted if relay else 0)) if outbox else 0,
            "shed": run.shed,
            "spooled": outbox.spool.size if outbox and outbox.spool else 0,
        }

    # In the background

    def _write(self, run: _Run) -> None:
        """The first thread: from the queue to the outbox."""
        try:
            self._prepare(run)
            while not run.stopping.wait(BEAT):
                self._drain(run)
            self._drain(run)
        except Exception as error:
            log.warning("%s: nothing is sent any more: %s", self.settings.source, error, exc_info=True)
            run.closed = True
            if run.sender is not None:
                run.sender.fall_silent()
            return
        if run.outbox is not None and run.sender is not None:
            run.outbox.end()
            run.sender.stop(run.until)

    def _prepare(self, run: _Run) -> None:
        settings = self.settings
        epoch = settings.clock()
        number, spool, left = self._spool(run)
        source = settings.source if number == 0 else f"{settings.source}#{number}"
        if spool is not None:
            spool.source = source
            spool.begin(epoch, epoch)
        run.outbox = Outbox(epoch, spool)
        who = Identity(source, epoch, settings.systems, settings.every)
        run.sender = Sender(who, settings.open_sink, run.outbox, settings.clock, left, self._sent(run), self._at_exit)
        run.thread = threading.Thread(target=run.sender.run, name="lastseen-sender", daemon=True)
        run.thread.start()

    def _spool(self, run: _Run) -> tuple[int, Spool | None, list[Left]]:
        """Our slot, the spool in it, and what earlier processes left in any slot that nobody has."""
        settings = self.settings
        if settings.spool is None:
            return self._of_process(), None, []
        try:
            folder = folder_of(settings.spool, settings.source)
            number, lock = take_slot(folder)
        except OSError as error:
            log.warning("%s: no spool, what cannot be sent is kept in memory only: %s", settings.source, error)
            return self._of_process(), None, []
        left = self._left(lock.folder)
        for other in sorted(folder.iterdir()):
            if other != lock.folder and any(other.glob("*.spool")) and (more := Lock.take(other)) is not None:
                run.locks.append(more)
                left += self._left(other)
        room = settings.spool_bytes - sum(each.size for each in left)
        return number, Spool(lock, settings.source, settings.systems, max(0, room)), left

    def _left(self, folder: Path) -> list[Left]:
        try:
            return leftovers(folder)
        except Exception as error:
            log.warning("%s: %s cannot be read and stays as it is: %s", self.settings.source, folder, error)
            return []

    def _of_process(self) -> int:
        """Without slots to tell the processes of one source apart, a child's number does. The first of them has the name as it is:
        when it comes again, it is the same source."""
        return os.getpid() if self._child else 0

    def _sent(self, run: _Run) -> Callable[[list[Left]], None]:
        def sent(left: list[Left]) -> None:
            if run.outbox is not None and run.outbox.spool is not None:
                run.outbox.spool.limit = self.settings.spool_bytes - sum(each.size for each in left)
            if not left:
                for lock in run.locks:
                    lock.release()
                run.locks.clear()

        return sent

    def _drain(self, run: _Run) -> None:
        """Everything that was queued before we looked at the clock is in the outbox afterwards; or nothing, while a new epoch is
        awaited and there is room."""
        outbox, sender = run.outbox, run.sender
        assert outbox is not None
        room = 2 * len(run.queue) < self.settings.queue and not run.stopping.is_set()
        if room and sender is not None and sender.pausing:
            return
        known = self.settings.clock()
        left = len(run.queue)
        while True:
            run.in_hand = min(left, DRAIN)
            taken = [run.queue.popleft() for _ in range(min(left, DRAIN))]
            left -= len(taken)
            handed = [event for event in taken if event is not None]
            outbox.put(handed, run.take_dropped(), known if not left else 0)
            run.in_hand, run.shed = 0, outbox.shed
            if not left:
                return

    # Exit and fork

    def _at_exit(self) -> None:
        """Last in, first out: before kafka-python's own, which closes the producer that we are to flush. Asked for again whenever
        a sink was opened."""
        atexit.unregister(self._exit)
        if not self._run.closed:
            atexit.register(self._exit)

    def _exit(self) -> None:
        with suppress(Exception):
            self.close()

    def _before_fork(self) -> None:
        sender = self._run.sender
        with suppress(Exception):
            self._run.held = sender is not None and sender.before_fork()

    def _after_fork(self) -> None:
        """In the parent: the sender goes on."""
        run = self._run
        if run.held and run.sender is not None:
            run.held = False
            run.sender.at_work.release()

    def _forked(self) -> None:
        """In the child: its parent's locks, files and connections are left alone, and kept, so that nothing closes them."""
        run, self._run, self._child = self._run, _Run(), True
        _INHERITED.append(run)
        with suppress(Exception):
            for lock in run.locks:
                lock.release()
            if run.outbox is not None and run.outbox.spool is not None:
                run.outbox.spool.forget()
            abandon = getattr(run.sender and run.sender.sink, "abandon", None)
            if abandon is not None:
                abandon()


_AGENTS: weakref.WeakSet[Agent] = weakref.WeakSet()
_INHERITED: list[Any] = []


def _each(work: Callable[[Agent], None]) -> Callable[[], None]:
    def all_of_them() -> None:
        for agent in list(_AGENTS):
            work(agent)

    return all_of_them


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(Agent._before_fork),
        after_in_parent=_each(Agent._after_fork),
        after_in_child=_each(Agent._forked),
    )
