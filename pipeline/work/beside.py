"""Beside: a write to the store begun in another thread while the worker goes on with what only it remembers.

A store outside this interpreter works without holding it up (chDB spends 1.8 of the 3.1 µs that an event's row takes on threads
of its own), and merging and judging change memory only: what is not acknowledged when they are done is waited for, and nothing is
said, produced, announced or committed before. Whatever happens in between, memory goes with the process.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Write = Callable[[], None]


class Beside:
    """``thread``: whether to use one; without it every write is done when it is begun, in an order that never varies."""

    def __init__(self, insist: Callable[[Write], None], *, thread: bool):
        self._insist = insist
        self._pool = ThreadPoolExecutor(1, "lastseen-store") if thread else None

    @property
    def active(self) -> bool:
        return self._pool is not None

    def begin(self, write: Write) -> Write:
        """Begin a write; what is returned waits for it, and tries again in this thread as long as the store is away."""
        if self._pool is None:
            self._insist(write)
            return _nothing
        begun: list[Future[None]] = [self._pool.submit(write)]
        return lambda: self._insist(lambda: begun.pop().result() if begun else write())

    def close(self) -> None:
        """What is under way is seen to its end."""
        if self._pool is not None:
            self._pool.shutdown()


def _nothing() -> None:
    """It is written."""
