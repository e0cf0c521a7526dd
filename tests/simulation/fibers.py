"""Fibers: each worker runs on a stack of its own and hands control back wherever it asks something of the world.

So any two workers interleave at any two points, a crash can come at each, and nothing depends on threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from greenlet import getcurrent, greenlet

FOREVER = 2**62


class Crash(BaseException):
    """The process is gone. Not an ``Exception``: nothing in the product may catch it."""


class Fiber:
    """One worker's thread of control.

    ``at``: the last point that it reached. ``wake_at``: µs before which it sleeps. ``failed``: what ended it but its own will or
    a crash.
    """

    def __init__(self, name: str, body: Callable[[Fiber], None], clock: Callable[[], int]):
        self.name, self.at, self.wake_at = name, "start", 0
        self.failed: BaseException | None = None
        self.stopped_until = 0
        self.left = 0
        self._clock = clock
        self._green = greenlet(lambda: body(self))

    @property
    def done(self) -> bool:
        return bool(self._green.dead)

    @property
    def ready_at(self) -> int:
        return FOREVER if self.done else max(self.wake_at, self.stopped_until)

    def run(self, points: int) -> None:
        """Go on for so many points, to the next sleep, or to the end."""
        self.left = points
        try:
            self._green.parent = getcurrent()
            self._green.switch()
        except Crash:
            pass
        except Exception as error:
            self.failed = error

    def crash(self) -> None:
        """The process is gone, at the point at which it is."""
        try:
            if self._green:
                self._green.parent = getcurrent()
            self._green.throw(Crash(self.at))
        except Crash:
            pass
        except Exception as error:
            self.failed = error

    # Called within the fiber

    def point(self, label: str) -> None:
        """Others may go on here, and the process may end here."""
        self.at = label
        self.left -= 1
        if self.left <= 0:
            self._yield()

    def sleep(self, micros: int, label: str) -> None:
        self.at = label
        self.wake_at = self._clock() + micros
        self._yield()

    def _yield(self) -> None:
        parent = self._green.parent
        assert parent is not None
        parent.switch()


class Stop(threading.Event):
    """A worker's wish to stop; waiting for it takes simulated time."""

    def __init__(self, fiber: Callable[[], Fiber | None]):
        super().__init__()
        self._fiber = fiber

    def wait(self, timeout: float | None = None) -> bool:
        fiber = self._fiber()
        if fiber is not None and not self.is_set():
            fiber.sleep(int((timeout or 0.001) * 1_000_000), "back off")
        return self.is_set()
