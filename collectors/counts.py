"""Counts: what became of what was read, by whatever reads it."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_BAD = 100
"""The worker's measure of a source that is set aside (law 10): so many faults, and more of them than of events."""


@dataclass(slots=True)
class Counts:
    """``read``: records; each gave events, or faults, or (``without``) none of the conditions held.

    ``quarantined``: faults; a record has one per event that could not be made. ``withheld``: those of which no byte was sent, as
    they may hold personal data.
    """

    read: int = 0
    events: int = 0
    quarantined: int = 0
    without: int = 0
    withheld: int = 0
    first_fault: str = ""

    def fault(self, told: str, *, withheld: bool) -> None:
        """One more."""
        self.quarantined += 1
        self.withheld += withheld
        self.first_fault = self.first_fault or told

    def mostly_bad(self, least: int = LEAST_BAD) -> bool:
        """Whether what is read does not seem to fit what it is read by."""
        return self.quarantined >= least and self.quarantined > self.events
