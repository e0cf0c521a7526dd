"""What an earlier process left is sent under its own name, epoch and numbers; then the epoch is ended.

After a crash with ``closed``: it vouches until when everything it knew is in the spool, and no further, for between its death and
the next boot something may have gone unseen. Of a process that ended in an orderly way, only without reaching the log, with
``open``.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from tracer.emitter import Limits
from tracer.leftovers import Left
from tracer.relay import Relay
from tracer.sinks.contract import Sink
from tracer.spool_format import Entry

CHUNK = 2_000


class Replay:
    """One epoch's leftovers on their way. ``slack``: microseconds taken off what is vouched for."""

    def __init__(self, left: Left, sink: Sink, clock: Callable[[], int], slack: int, limits: Limits):
        self.left = left
        self.relay = Relay(
            sink, left.source, left.epoch, left.systems, clock, since=left.since, limits=limits, delay=slack
        )
        if left.state is not None:
            self.relay.resume(left.state)
        self._entries = left.entries()
        self._pending: list[Entry] = []
        self._slack = slack

    def run(self, patience: float = 5.0) -> None:
        """Send all of it, say goodbye, remove the files.

        Raises:
            Unavailable: not yet; call again, which goes on where it was.
        """
        while self._pending or self._next():
            self.relay.take(self._pending)
            self._pending = []
            if not self.relay.room:
                self.relay.flush(patience)
        if self.left.through or self.relay.taken:
            slack = 0 if self.left.orderly else self._slack
            through = max(0, self.left.through - slack)
            self.relay.goodbye("open" if self.left.orderly else "closed", through=through, timeout=patience)
        self.left.remove()

    def _next(self) -> bool:
        self._pending = list(islice(self._entries, CHUNK))
        return bool(self._pending)
