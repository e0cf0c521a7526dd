"""Proof: was every witness of a step heard, and what it sent processed, through a time? (law 5)"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from pipeline.core.hearing import FOREVER, Hearing, Knowledge
from pipeline.core.plan import StepPlan
from pipeline.core.state import State
from schemas.flow import Flow, Role
from schemas.verdict import Wait, Witness

_JOINING = (Role.ALIAS, Role.SHARED, Role.WEAK)


class Standing(Enum):
    """``PROVEN``: heard through the time asked. ``DEAF``: a witness is silent or was blind. ``WAITING``: alive, but its
    clock is not there yet (we or they are behind)."""

    PROVEN = "proven"
    DEAF = "deaf"
    WAITING = "waiting"


class Asked(NamedTuple):
    """That ``system`` be heard over [begin, end] µs."""

    system: str
    begin: int
    end: int


class Proof(NamedTuple):
    """``deaf``: the systems that were not heard. ``resumed``: µs, the last moment at which nobody listened; None where that
    cannot be said or does not matter. ``waits``: what would change it."""

    standing: Standing
    deaf: tuple[str, ...] = ()
    resumed: int | None = None
    waits: tuple[Wait, ...] = ()


PROVEN = Proof(Standing.PROVEN)


class Prover:
    """Asks about witnesses for one verdict and remembers what it asked, for the verdict's completeness."""

    __slots__ = ("_asked", "_flow", "_hearing", "_named", "_state", "knowledge")

    def __init__(self, knowledge: Knowledge, state: State, flow: Flow):
        self.knowledge = knowledge
        self._state, self._flow = state, flow
        self._named: list[Asked] | None = None
        self._asked: dict[str, tuple[int, int]] = {}
        self._hearing: dict[str, Hearing] = {}

    def through(self, step: StepPlan, begin: int, end: int) -> Proof:
        """Proof of ``step``'s silence over [begin, end] µs, by its witnesses."""
        proof = self.heard(self.witnesses(step, begin, end))
        if proof.standing is not Standing.DEAF:
            return proof
        if proof.deaf != (step.system,) or step.system in step.witnesses[1:]:
            # What was to come by a carrier of links that was deaf may be unjoined at any time, also now.
            return proof._replace(resumed=None)
        return proof

    def witnesses(self, step: StepPlan, begin: int, end: int) -> list[Asked]:
        """Its system from ``begin`` on, and carriers of links from ``link_age`` before; and whoever named the transaction anew."""
        asked = [Asked(step.system, begin, end)]
        if len(step.witnesses) > 1:
            earlier = begin - self.knowledge.landscape.link_age
            asked += [Asked(system, earlier, end) for system in step.witnesses[1:]]
            asked += self.named()
        return asked

    def named(self) -> list[Asked]:
        """The last moment at which each system gave the transaction another name, in their order. Until its clock has passed that,
        what is kept under the name may be on its way, by one link after another, also what would meet an obligation long due. Not
        of a system that is silent: nobody waits for it."""
        if self._named is None:
            joins = [name for name, spec in self._flow.keys.items() if spec.role in _JOINING]
            skews, renamed = self.knowledge.skews, self.knowledge.renamed
            last: dict[str, int] = {}
            for event in self._state.events.values() if joins else ():
                if any(name in event.keys for name in joins):
                    time = event.time + skews.get((event.source, event.epoch), 0)
                    time = min(time, event.recorded_at or time)
                    system = renamed.get(event.system, event.system)
                    last[system] = max(time, last.get(system, time))
            self._named = [
                Asked(system, at, at) for system, at in sorted(last.items()) if not self.hearing(system).silent
            ]
        return self._named

    def heard(self, asked: Iterable[Asked]) -> Proof:
        """Whether all of it was heard. Waits name the slowest clock, and whoever was not heard, if its clock is not there yet."""
        tolerate = self.knowledge.landscape.tolerate
        deaf: list[str] = []
        waits: list[Wait] = []
        behind: Wait | None = None
        slowest = FOREVER
        resumed = None
        for system, begin, end in asked:
            hearing = self._of(system, begin, end)
            there = hearing.clock > end
            if not there and hearing.clock < slowest:
                slowest, behind = hearing.clock, Wait(system, end)
            mute = hearing.silent and not there
            if not mute and hearing.heard(begin, end, tolerate):
                continue
            if system not in deaf:
                deaf.append(system)
            if not there:
                waits.append(Wait(system, end))
            resumed = None if mute else hearing.resumed(begin, end)
        if behind is not None:
            waits.append(behind)
        if deaf:
            return Proof(Standing.DEAF, tuple(deaf), None if resumed == FOREVER else resumed, tuple(waits))
        return Proof(Standing.WAITING, waits=tuple(waits)) if waits else PROVEN

    def slowest(self, step: StepPlan, begin: int, end: int) -> tuple[int, str]:
        """The smallest clock among a step's witnesses, µs, and whose it is."""
        return min((self._of(system, begin, end).clock, system) for system in step.witnesses)

    def hearing(self, system: str) -> Hearing:
        """How a system was heard."""
        found = self._hearing.get(system)
        if found is None:
            found = self._hearing[system] = self.knowledge.of(system)
        return found

    def completeness(self) -> tuple[Witness, ...]:
        """How each system was heard over what was asked of it."""
        return tuple(self.knowledge.witness(system, *asked) for system, asked in sorted(self._asked.items()))

    def _of(self, system: str, begin: int, end: int) -> Hearing:
        known = self._asked.get(system)
        self._asked[system] = (begin, end) if known is None else (min(begin, known[0]), max(end, known[1]))
        return self.hearing(system)
