"""An emitter of what was numbered elsewhere, and may stand in a spool: running numbers and times of knowing come with the entries.

It never sheds by itself: whoever feeds it looks at ``room``, and tells it what was shed. A new epoch begins when the feeder agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tracer.batch import MAX_EVENT_BYTES, Batch
from tracer.emitter import Emitter
from tracer.errors import Unavailable
from tracer.record import EVENTS, partition_of
from tracer.sinks.contract import Sink
from tracer.spool_format import Entry


class Relay(Emitter):
    """As `Emitter`, with `take` in place of ``emit``.

    Attributes:
        renewing: asked with the number of the epoch that would begin; False while something is numbered under this one and was not
            taken yet. On True the numbers begin anew.
    """

    renewing: Callable[[int], bool] = staticmethod(lambda _: True)

    def take(self, entries: Iterable[Entry]) -> None:
        """Take entries in the order of their numbers. Numbers that are missing are lost, and counted as shed.

        Raises:
            Unavailable: bytes are to be set aside, and the log cannot say how many partitions it has. Those before them are taken;
                offer all again: what is taken already is passed over.
        """
        for entry in entries:
            if entry.number <= self._seq:
                continue
            if entry.number > self._seq + 1:
                self.give_up(entry.number - self._seq - 1, entry.known)
            if not entry.line:
                self.give_up(entry.numbers, entry.known)
            elif entry.reason:
                self._aside(entry)
            else:
                self._seq += 1
                self._count(len(entry.line) + 1)
                self._unplaced.append((entry.key, entry.line, entry.known, self._seq))
        self._place()

    def _aside(self, entry: Entry) -> None:
        key = entry.key.encode("utf-8", "replace")
        batch = Batch(partition_of(key, self.sink.partitions(EVENTS)), key, entry.known, entry.reason[:1000].encode())
        batch.add(entry.line[:MAX_EVENT_BYTES], entry.number)
        self._seq += 1
        self._count(batch.size)
        self._unacked.add(batch)
        self._waiting.append(batch)

    def give_up(self, count: int, known: int) -> None:
        """The next ``count`` numbers were shed, the first of them known at ``known`` (µs)."""
        first = self._seq + 1
        self._seq += count
        self._give_up(range(first, first + count), known)

    @property
    def idle(self) -> bool:
        """Everything that was taken is acknowledged or shed."""
        return not (self._unacked or self._unplaced)

    def adopt(self, sink: Sink) -> None:
        """Go on with another sink, when the one before is closed: what it had not acknowledged is sent again."""
        self.sink = sink
        there = {*self._waiting, *self._open.values()}
        under_way = sorted((batch for batch in self._unacked if batch not in there), key=lambda batch: batch.numbers[0])
        self._waiting.extendleft(reversed(under_way))
        self._marker_done()
        if self._hello == "sent":
            self._hello_lost(Unavailable())

    def state(self) -> dict[str, Any]:
        """What `resume` goes on from: a marker's content, and since when something is shed."""
        return {**self.marker(), "shed_at": self._shed_at}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state` of the same epoch: everything up to its ``accounted`` is done with."""
        done = state["accounted"]
        self._seq = self.sent = done
        self._acked = {int(partition): offset for partition, offset in state["acked"].items()}
        self._skew, self._shed_at = state["skew"], state["shed_at"]
        known = [(first, min(last, done)) for first, last in state["shed_ranges"] if first <= done]
        beyond = sum(last - max(first, done + 1) + 1 for first, last in state["shed_ranges"] if last > done)
        self._shed.restore(state["shed"] - beyond, known)

    def _renew(self, told: int) -> None:
        epoch = max(self._time(), self.epoch) + 1
        if self._seq == told and self.idle and self.renewing(epoch):
            self._marker_done()
            self._begin(epoch, epoch)
            self._speak()
        else:
            self._marker_done()
