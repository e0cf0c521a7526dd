"""What happened: deeds (one each for what a system did at a step), told as the case of one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.flow import Flow
from schemas.times import SECOND
from schemas.verdict import DropKind, FindingKind

# Whose messages have no finer times: what a truth says that nobody can hear is no truth to hold anybody to.
_BY_THE_SECOND = frozenset(("carrier",))
Attributes = Mapping[str, str | int | float | bool]


@dataclass(slots=True, eq=False)
class Deed:
    """One thing that a system did, at ``time`` µs, true time. ``pod``: the source that observes it."""

    id: str
    system: str
    step: str
    phase: str
    time: int
    keys: dict[str, str]
    pod: str
    attributes: Attributes
    error: str | None = None
    peer: str | None = None

    def event(self, skew: int = 0) -> dict[str, Any]:
        """The event as its system's clock has it, which is off by ``skew`` µs."""
        event: dict[str, Any] = {
            "id": self.id,
            "system": self.system,
            "step": self.step,
            "phase": self.phase,
            "time": self.time + skew,
            "keys": self.keys,
        }
        if self.peer:
            event["peer"] = self.peer
        if self.attributes:
            event["attributes"] = dict(self.attributes)
        if self.error:
            event["error"] = self.error
        return event


@dataclass(frozen=True, slots=True)
class Intent:
    """What a story was written to show, once it is old enough to be seen and everybody was heard.

    ``kind``: of the drop between ``from_step`` and ``to_step``, None where nothing goes missing. ``findings``: kind and step.
    """

    kind: DropKind | None = None
    from_step: str = ""
    to_step: str = ""
    findings: tuple[tuple[FindingKind, str], ...] = ()


@dataclass(slots=True, eq=False)
class Case:
    """A transaction under a flow, as it really went. ``fault``: the story's name, "" for a plain one."""

    flow: str
    key_type: str
    id: str
    fault: str = ""
    intent: Intent = field(default_factory=Intent)
    excluded: bool = False
    deeds: list[Deed] = field(default_factory=list)

    @property
    def name(self) -> tuple[str, str, str]:
        return (self.flow, self.key_type, self.id)


class Teller:
    """Writes the deeds of one case. Ids come from the case and the running number, so a seed gives the same ids."""

    def __init__(self, flow: Flow, case: Case, pods: Mapping[str, tuple[str, ...]], spread: int = 0):
        self.case = case
        self._flow = flow
        self._pods = pods
        self._spread = spread

    def tell(
        self,
        step: str,
        time: int,
        phase: str = "completed",
        *,
        system: str = "",
        keys: Mapping[str, str] | None = None,
        peer: str | None = None,
        error: str | None = None,
        **attributes: str | int | float | bool,
    ) -> Deed:
        """Add a deed at ``step`` (its flow's system, unless another is named); the transaction's own key goes with it."""
        case = self.case
        system = system or self._flow.steps[step].system
        pods = self._pods[system]
        if system in _BY_THE_SECOND:
            time -= time % SECOND
        deed = Deed(
            id=f"{case.key_type}-{case.id}-{len(case.deeds) + 1:02d}-{step}-{phase}",
            system=system,
            step=step,
            phase=phase,
            time=time,
            keys={case.key_type: case.id, **(keys or {})},
            pod=pods[self._spread % len(pods)],
            attributes=attributes,
            error=error,
            peer=peer,
        )
        case.deeds.append(deed)
        return deed

    def took(self, step: str, arrives: int, takes: int, **rest: Any) -> int:
        """A step that reports its arrival, then that it is done. The time at which it is."""
        self.tell(step, arrives, "received", **rest)
        self.tell(step, arrives + takes, **rest)
        return arrives + takes
