"""Truth: what a perfect judge could say at the end, of everything that really happened.

Worked out from the plan of what happened, of who listened when, and DESIGN.md §6's table; never by asking the judge. The
reckoning itself is `pipeline.simulate.reckoning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.flow import Flow
from schemas.times import parse_time
from schemas.verdict import MISSING, DropKind, FindingKind, Status

Name = tuple[str, str, str]


class Place(NamedTuple):
    """Where something is missing, and what that amounts to. ``missing``: instances without a name."""

    status: Status
    kind: DropKind
    from_step: str
    to_step: str
    instance: str = ""
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one transaction under one flow. ``judged``: whether anything of it was heard that the flow knows. ``blind``: somebody
    who could have said more was not heard."""

    name: Name
    fault: str
    judged: bool
    excluded: bool
    status: Status
    drops: frozenset[Place] = frozenset()
    findings: frozenset[tuple[FindingKind, str]] = frozenset()
    blind: bool = False

    @property
    def missing(self) -> bool:
        return self.judged and not self.excluded and self.status in MISSING

    @property
    def worst(self) -> frozenset[Place]:
        """The drops that make the status; more than one where several parcels share it."""
        return frozenset(place for place in self.drops if place.status is self.status)


def rank(status: Status) -> int:
    """Worst first."""
    return (Status.FAILED, Status.LOST, Status.STALLED, Status.UNKNOWN).index(status)


def text_of(value: object) -> str:
    """Attributes are compared as text: True is "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def descendants(flow: Flow, step: str) -> frozenset[str]:
    """The step and all that comes after it, however far."""
    found = {step}
    while True:
        more = {name for name, spec in flow.steps.items() if found & set(spec.after.steps)} - found
        if not more:
            return frozenset(found)
        found |= more


def instant(value: object) -> int | None:
    """An attribute that holds a time; None for anything else."""
    try:
        return parse_time(value)
    except ValueError:
        return None
