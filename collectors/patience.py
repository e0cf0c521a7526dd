"""Patience with what is away: when it is asked again, and that people hear of it once and not each time."""

from __future__ import annotations

from collections.abc import Callable

from schemas.times import SECOND

_RETRY = (SECOND // 2, 30 * SECOND)

Tell = Callable[[str], None]


class Patience:
    """``until``: µs on ``clock``, when to ask again."""

    def __init__(self, name: str, clock: Callable[[], int], tell: Tell):
        self.until = 0
        self._name, self._clock, self._tell = name, clock, tell
        self._wait, self._away = _RETRY[0], ""

    def later(self, reason: str) -> None:
        """Ask again after a while, longer each time."""
        self.until = self._clock() + self._wait
        self._wait = min(2 * self._wait, _RETRY[1])
        self.waiting(reason)

    def waiting(self, reason: str) -> None:
        """It cannot go on for now."""
        if not self._away:
            self._tell(f"{self._name}: waiting: {reason}")
        self._away = reason

    def going_on(self, reason: str, but: str) -> None:
        """It goes on, ``but`` for something; each reason is told once in a row."""
        if self._away != reason:
            self._tell(f"{self._name}: {reason}; {but}")
        self._away = reason

    def back(self) -> None:
        """It is there again."""
        if self._away:
            self._tell(f"{self._name}: goes on")
        self._away, self._wait = "", _RETRY[0]
