"""Verdict: what ``judge`` says of one transaction under one flow.

Slotted dataclasses: ``judge`` makes one per transaction and batch, and pydantic's construction was measured to cost more
than the judging. ``VERDICT`` validates, dumps and describes them (JSON Schema) at the edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pydantic import TypeAdapter


class Status(StrEnum):
    """Worst first is failed, lost, stalled, unknown, in_progress; then completed and closed."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CLOSED = "closed"
    FAILED = "failed"
    STALLED = "stalled"
    LOST = "lost"
    UNKNOWN = "unknown"


# Statuses that a person should look at; the order is the order of reports.
MISSING = (Status.LOST, Status.FAILED, Status.STALLED, Status.UNKNOWN)


class DropKind(StrEnum):
    """``in_transit`` from X to Y; ``inside`` Y; ``between`` X and Y (the two cannot be told apart); ``failed`` in Y."""

    IN_TRANSIT = "in_transit"
    INSIDE = "inside"
    BETWEEN = "between"
    FAILED = "failed"


class FindingKind(StrEnum):
    DUPLICATE = "duplicate"
    DOUBLED = "doubled"
    OUT_OF_ORDER = "out_of_order"
    SKIPPED = "skipped"
    UNOBSERVED = "unobserved"
    UNEXPECTED = "unexpected"
    SLOW = "slow"
    LATE = "late"
    AT_RISK = "at_risk"
    NO_START = "no_start"
    AFTER_CANCEL = "after_cancel"
    ALIAS_CONFLICT = "alias_conflict"
    CLOCK_SKEW = "clock_skew"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Drop:
    """Where one obligation was not met.

    ``status`` is what this drop alone amounts to (failed, lost, stalled, unknown). ``from_step``/``from_system``: the last
    place it was seen (None where nothing came before); ``to_step``/``system``: where it is missing or stuck. ``instance``:
    the parcel or line, "" where the step has none; ``missing``: how many unnamed instances of how many (``1 of 3``).
    ``since``: µs, when it was last seen; ``due``: µs. ``silent``: systems whose silence leaves it unknown.
    """

    status: Status
    kind: DropKind
    from_step: str | None
    from_system: str | None
    to_step: str
    system: str
    since: int
    due: int
    instance: str = ""
    missing: int = 0
    expected: int = 0
    error: str | None = None
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong beside the status. ``amount``: µs for late, slow, at_risk and clock_skew; a count otherwise."""

    kind: FindingKind
    step: str
    system: str = ""
    instance: str = ""
    amount: int = 0
    detail: str = ""


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Hop:
    """One visit to a step (and its instance) in one system. Derived from events, never stored as truth. Times in µs."""

    step: str
    system: str
    instance: str
    attempt: int
    arrived_at: int | None
    left_at: int | None
    outcome: Outcome
    error: str | None = None
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """What is known of time between two hops: ``took`` µs from leaving ``from_step`` to being done at ``to_step``."""

    from_step: str
    to_step: str
    instance: str
    took: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that the verdict rests on, by its source."""

    event_id: str
    source: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Witness:
    """How a system was heard, as far as the verdict leans on it.

    ``heard_through``: its clock, µs; None where it never spoke. ``blind``: intervals (µs) within what was asked.
    ``share``: share of the time asked in which it was blind. ``unvouched``: no source ever spoke for it.
    """

    system: str
    heard_through: int | None
    blind: tuple[tuple[int, int | None], ...] = ()
    share: float = 0.0
    unvouched: bool = False
    silent: bool = False


class Wait(NamedTuple):
    """Judge again when the clock of ``system`` is past ``time`` (µs)."""

    system: str
    time: int


# Not frozen, though a value: to make a frozen one takes 1.8 µs instead of 0.4.
@dataclass(unsafe_hash=True, slots=True)
class Verdict:
    """What is said of a transaction under a flow. Equal inputs give equal verdicts, byte by byte.

    ``started_at``, ``last_at``: µs, first and last event. ``ended_at``: µs when an end was reached, else None. ``value``: money in
    ``currency``, from the flow's ``value`` attribute. ``drops`` are worst first.
    """

    flow: str
    version: int
    status: Status
    started_at: int
    last_at: int
    ended_at: int | None = None
    drops: tuple[Drop, ...] = ()
    findings: tuple[Finding, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    completeness: tuple[Witness, ...] = ()
    waits: tuple[Wait, ...] = ()
    hops: tuple[Hop, ...] = field(default=(), compare=True)
    edges: tuple[Edge, ...] = ()
    excluded: bool = False
    value: float | None = None
    currency: str = ""

    @property
    def drop(self) -> Drop | None:
        """The worst drop."""
        return self.drops[0] if self.drops else None


VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)
