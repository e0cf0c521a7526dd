"""What is received waits here, between the threads of a server and the collector's: bounded, and answered once it is settled.

Laws:

- What was taken in (`Received.offer` said True) is handed out once, and its ``answer`` is called once: with None when the log has
  acknowledged it, with an error when it was given up. A sender that hears nothing sends again; what makes a record the same
  (`places`) does not depend on how often.
- What is taken in and not settled is bounded, in requests and in bytes; beyond it `Received.offer` says False, and the sender is
  told to come again. What is larger than the bound is taken when there is nothing else.
- ``through`` never passes what waits here, nor the moment at which something was refused, until something was taken in again; nor,
  where it is declared within which time senders say something (``expect``), the last that anybody said. That it is asked at all
  takes a collector's file that says for whom: who sends may go away, and nobody here would know.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from collectors.formats.cloudevents import readable
from collectors.formats.contract import Item, Ready
from collectors.inputs.live import Context, Parcel, Placed
from collectors.inputs.record import as_json
from schemas.errors import Invalid
from schemas.times import SECOND, format_time
from tracer.errors import Unavailable

Answer = Callable[[Exception | None], None]
MAX_WAITING = 64
MAX_HELD = 64 * 1024 * 1024
_TELL_EVERY = 10 * SECOND
_PER_ITEM = 2_000
"""Bytes that a decoded record takes beside its own: a row of twenty fields measured 1.8 KB."""


class Received:
    """The queue. Its server's threads `offer`; the collector's `take`. Raises ``Invalid`` where it is to be read once.

    Args:
        context: what the input is opened with. max_waiting: requests that may be taken in and not settled. max_held: bytes of them.
        expect: microseconds within which somebody who is there sends something; 0 where nobody can tell.
    """

    def __init__(
        self,
        context: Context,
        *,
        max_waiting: int = MAX_WAITING,
        max_held: int = MAX_HELD,
        expect: int = 0,
    ) -> None:
        if context.once:
            raise Invalid("receives what others send, which has no end: it cannot be run once", field="input")
        self._clock = context.clock
        self._max_waiting = max_waiting
        self._max_held = max_held
        self._news = threading.Condition()
        self._waiting: deque[Parcel] = deque()
        self._open: dict[int, tuple[int, Answer]] = {}
        self._held = 0
        self._next = 0
        self._blocked: int | None = None
        self._expect = expect
        self._heard = context.clock()
        self._for_room: list[Callable[[], None]] = []
        self._closed = self._last = False
        self._told: dict[str, int] = {}
        self.notes: deque[str] = deque(maxlen=100)
        """What people should know, told as it happens; of one kind at most every ten seconds."""
        self.counts: Counter[str] = Counter()
        """Cumulative: ``received`` records; ``refused`` requests, by `refused` and why; ``dropped`` datagrams; ``gone`` senders."""

    def offer(
        self, items: list[Placed], size: int, name: str, answer: Answer = lambda _: None, stream: str = ""
    ) -> bool:
        """Take it in, if there is room. ``size``: bytes as received."""
        cost = size + _PER_ITEM * len(items)
        with self._news:
            if not self._fits(cost):
                self._refuse()
                return False
            number, self._next = self._next, self._next + 1
            self._held += cost
            self._open[number] = cost, answer
            self._blocked = None
            self._heard = self._clock()
            self.counts["received"] += len(items)
            self._waiting.append(
                Parcel(stream, items, name, self._clock(), settle=lambda error: self._settled(number, error))
            )
            self._news.notify()
        return True

    def _fits(self, cost: int) -> bool:
        if self._closed or self._last or not self._open:
            return not self._closed
        return len(self._open) < self._max_waiting and self._held + cost <= self._max_held

    def reserve(self, size: int) -> bool:
        """Room for bytes that are still being read. False where there is none; what was reserved must be given back (`free`)."""
        with self._news:
            if self._closed or (self._held and self._held + size > self._max_held):
                self._refuse()
                return False
            self._held += size
            return True

    def free(self, size: int) -> None:
        with self._news:
            self._held -= size

    def heard(self) -> None:
        """Somebody spoke, though nothing is to be taken in of it."""
        with self._news:
            self._heard = self._clock()

    def has_room(self) -> bool:
        """Whether it makes sense to read on."""
        with self._news:
            return not self._closed and len(self._open) < self._max_waiting and self._held < self._max_held

    def when_room(self, call: Callable[[], None]) -> None:
        """Call, once, when something is settled, or this is closed; on whichever thread does it."""
        with self._news:
            if not self._closed:
                self._for_room.append(call)
                return
        call()

    @property
    def closed(self) -> bool:
        return self._closed

    def blocked(self) -> None:
        """A reader stopped for want of room: what came meanwhile is not known."""
        with self._news:
            self._refuse()

    def _refuse(self) -> None:
        if self._blocked is None:
            self._blocked = self._clock()

    def refused(self, why: str, count: int = 1) -> None:
        """Count what was not taken in; for ``sources`` and for the audit."""
        with self._news:
            self.counts["refused"] += count
            self.counts[f"refused: {why}"] += count
            self._note("refused", f"refused {self.counts['refused']} requests so far, now because: {why}")

    def count(self, what: str, count: int = 1, note: str = "") -> None:
        """``note``: what to tell people, with ``{}`` for how many there were."""
        with self._news:
            self.counts[what] += count
            if note:
                self._note(what, note.format(self.counts[what]))

    def _note(self, kind: str, text: str) -> None:
        now = self._clock()
        if now >= self._told.get(kind, now):
            self._told[kind] = now + _TELL_EVERY
            self.notes.append(text)

    def take(self, timeout: float) -> list[Parcel]:
        """All that waits, waiting up to ``timeout`` seconds for the first."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed, timeout)
            parcels = list(self._waiting)
            self._waiting.clear()
            return parcels

    def last(self) -> list[Parcel]:
        """All that waits; and from now on whatever is offered is taken, so that readers can hand in what they hold (`take`)."""
        with self._news:
            self._last = True
            calls, self._for_room = self._for_room, []
        for call in calls:
            call()
        return self.take(0)

    def through(self) -> int:
        with self._news:
            now = self._clock()
            known = [now]
            if self._expect:
                known.append(self._heard)
                if now - self._heard > self._expect:
                    self._note("quiet", f"nobody has sent anything since {format_time(self._heard)}")
            if self._waiting:
                known.append((self._waiting[0].known or 0) - 1)
            if self._blocked is not None:
                known.append(self._blocked - 1)
            return min(known)

    def _settled(self, number: int, error: Exception | None) -> None:
        with self._news:
            cost, answer = self._open.pop(number, (0, _nothing))
            self._held -= cost
            calls, self._for_room = self._for_room, []
        answer(error)
        for call in calls:
            call()

    def close(self) -> None:
        """Nothing more is taken in; what is not settled is given up, and its senders are told so."""
        with self._news:
            self._closed = True
            self._waiting.clear()
            answers = [answer for _, answer in self._open.values()]
            self._open.clear()
            calls, self._for_room = self._for_room, []
            self._news.notify_all()
        for answer in answers:
            answer(Unavailable("the collector is stopping"))
        for call in calls:
            call()


def _nothing(_: Exception | None) -> None:
    """A parcel that was settled already, or given up when the input was closed."""


def places(items: Iterable[Item], identity: Callable[[Item], str | None] | None, key: str = "") -> list[Placed]:
    """A place for each record, the same whenever it is sent again: what it says of itself (``identity``), else the request's own
    key (``key``) and its number in it, else its content, equal ones in one request counted."""
    seen: Counter[str] = Counter()
    placed = []
    for number, item in enumerate(items):
        own = identity(item) if identity is not None else None
        if own is None and key:
            own = f"{key}#{number}"
        place = readable(own) if own is not None else f"sha256:{digest(item)}"
        seen[place] += 1
        placed.append(Placed(place if seen[place] == 1 else f"{place}#{seen[place]}", item))
    return placed


def digest(item: Item) -> str:
    content = item.raw if item.raw is not None else as_json(item.event if isinstance(item, Ready) else item.fields)
    return hashlib.sha256(content).hexdigest()[:40]


def identity_of(layout: Any) -> Callable[[Item], str | None] | None:
    """A format's own ``identity``, where it has one: what the sender itself says makes a record one."""
    found: Callable[[Item], str | None] | None = getattr(layout, "identity", None)
    return found


def event_identity(item: Item) -> str | None:
    """The id of an event that brings its own."""
    event: Mapping[str, Any] = getattr(item, "event", {})
    return str(event["id"]) if event.get("id") else None
