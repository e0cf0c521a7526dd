"""The simulator's clock: the only one in a demo, for the log, for every source and for the worker alike."""

from __future__ import annotations


class SimulatedClock:
    """Calling it gives the simulated now, µs since 1970 UTC. It moves when the simulation moves it, and never back."""

    __slots__ = ("now",)

    def __init__(self, now: int):
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, to: int) -> None:
        """Move to ``to`` µs; a time that has passed already is now."""
        self.now = max(self.now, to)
