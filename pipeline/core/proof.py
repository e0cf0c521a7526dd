"""Proof: was every witness of a step heard, and what it sent processed, through a time? (law 5)"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pipeline.core.hearing import FOREVER, Knowledge
from pipeline.core.plan import StepPlan
from schemas.verdict import Wait


class Standing(Enum):
    """``PROVEN``: heard through the time asked. ``DEAF``: a witness is silent or was blind. ``WAITING``: alive, but its
    clock is not there yet (we or they are behind)."""

    PROVEN = "proven"
    DEAF = "deaf"
    WAITING = "waiting"


class Proof(NamedTuple):
    """``deaf``: the systems that were not heard. ``resumed``: µs, the last moment at which nobody listened, None where that
    cannot be said (still silent, or a carrier of links was deaf: what came by it may be unjoined at any time).
    ``waits``: what would change it."""

    standing: Standing
    deaf: tuple[str, ...] = ()
    resumed: int | None = None
    waits: tuple[Wait, ...] = ()


class Prover:
    """Asks about witnesses for one verdict and remembers what it asked, for the verdict's completeness."""

    __slots__ = ("asked", "knowledge")

    def __init__(self, knowledge: Knowledge):
        self.knowledge = knowledge
        self.asked: dict[str, tuple[int, int]] = {}

    def through(self, step: StepPlan, begin: int, end: int, others: tuple[str, ...] = ()) -> Proof:
        """Proof of ``step``'s silence over [begin, end] µs; carriers of links from ``link_age`` before."""
        knowledge, tolerate = self.knowledge, self.knowledge.landscape.tolerate
        own = step.spec.system
        deaf: list[str] = []
        behind: Wait | None = None
        slowest = FOREVER
        resumed: int | None = begin
        for system in (*step.witnesses, *others):
            since = begin if system == own or system in others else begin - knowledge.landscape.link_age
            self._note(system, since, end)
            hearing = knowledge.of(system)
            if hearing.clock <= end and hearing.clock < slowest:
                slowest, behind = hearing.clock, Wait(system, end)
            if hearing.heard(since, end, tolerate) and not (hearing.silent and hearing.clock <= end):
                continue
            deaf.append(system)
            if system != own or hearing.silent or resumed is None:
                resumed = None
                continue
            ends = [b for a, b in hearing.deaf if a < end and b > since]
            resumed = max([resumed, *ends])
        waits = (behind,) if behind else ()
        if deaf:
            if resumed is not None and resumed >= FOREVER:
                resumed = None
            return Proof(Standing.DEAF, tuple(deaf), resumed, waits)
        return Proof(Standing.WAITING, waits=waits) if behind else Proof(Standing.PROVEN)

    def slowest(self, step: StepPlan) -> int:
        """The smallest clock among a step's witnesses, µs."""
        return min(self.knowledge.of(system).clock for system in step.witnesses)

    def _note(self, system: str, begin: int, end: int) -> None:
        known = self.asked.get(system)
        self.asked[system] = (begin, end) if known is None else (min(begin, known[0]), max(end, known[1]))
