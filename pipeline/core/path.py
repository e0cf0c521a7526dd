"""Path: from events to visits and hops (DESIGN.md §2 and §6).

Observations of one fact by two sources corroborate one hop; attempts count visits within an instance, parted by failures;
completions beyond what is normal are duplicates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.core.hearing import SKEW_LIMIT, Knowledge
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.state import State
from schemas.verdict import Hop, Outcome
from schemas.wire import Observed

# Clocks are not corrected below this; nor is an order of events doubted that rests on less.
SLACK = SKEW_LIMIT
_RANK = {"received": 0, "started": 1, "failed": 2, "cancelled": 3, "completed": 4, "sent": 5}
_ARRIVALS = frozenset(("received", "started"))
_FAILURES = frozenset(("failed", "cancelled"))


class Fact(NamedTuple):
    """One thing that happened, however many observed it. ``time``: µs, in the log's clock."""

    time: int
    phase: str
    event: Observed
    ids: tuple[str, ...]


@dataclass(slots=True)
class Visits:
    """All visits to one (step, instance), earliest first.

    ``done``: times of completion; ``arrived``: of the current visit, None where it has not; ``failed_at``/``error``: of the latest
    failure without success since, None if there is none; ``strays``: arrivals that were seen after the completion;
    ``before_arrival``: a completion more than ``SLACK`` before its arrival.
    """

    step: str
    instance: str
    hops: list[Hop] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    done_events: list[Observed] = field(default_factory=list)
    first: int = 0
    last: int = 0
    arrived: int | None = None
    failed_at: int | None = None
    error: str | None = None
    disordered: int = 0
    events: tuple[str, ...] = ()


@dataclass(slots=True)
class Path:
    """``visits``: by (step, instance). ``events``: by step, for evidence. ``unexpected``: events that no flow knows.
    ``contested``: visits that would be, if it were certain whose the alias is. ``skewed``: (source, epoch, system) to µs."""

    visits: dict[tuple[str, str], Visits]
    instances: dict[str, list[str]]
    unexpected: list[Observed]
    contested: dict[tuple[str, str], Observed]
    skewed: dict[tuple[str, int, str], int]
    times: dict[str, int]


def build(state: State, plan: Plan, knowledge: Knowledge) -> Path:
    """Group a state's events into visits under a flow."""
    facts: dict[tuple[str, str], list[tuple[int, Observed]]] = {}
    path = Path({}, {}, [], {}, {}, {})
    skews, renamed, contested = knowledge.skews, knowledge.renamed, knowledge.contested
    steps, by_event = plan.steps, plan.by_event
    for event in state.events.values():
        system = renamed.get(event.system, event.system) if renamed else event.system
        if (event.step, system) not in by_event:
            if not _known_elsewhere(event, system, knowledge):
                path.unexpected.append(event)
            continue
        time = event.time
        if skews:
            skew = skews.get((event.source, event.epoch), 0)
            if skew:
                time += skew
                path.skewed[event.source, event.epoch, system] = skew
        path.times[event.id] = time
        per = steps[event.step].spec.per
        instance = event.keys.get(per, "") if per else ""
        if contested and event.via in contested:
            path.contested[event.step, instance] = event
            continue
        found = facts.get((event.step, instance))
        if found is None:
            facts[event.step, instance] = [(time, event)]
        else:
            found.append((time, event))
    for key in sorted(facts):
        step = steps[key[0]]
        path.visits[key] = _visits(step, key[1], facts[key], plan.flow.same_within)
        path.instances.setdefault(key[0], []).append(key[1])
    return path


def _known_elsewhere(event: Observed, system: str, knowledge: Knowledge) -> bool:
    known = knowledge.known_steps
    return any((event.step, system) in known[kind] for kind in event.keys if kind in known)


def _visits(step: StepPlan, instance: str, seen: list[tuple[int, Observed]], same_within: int) -> Visits:
    visits = Visits(step.name, instance)
    if len(seen) == 1:
        time, event = seen[0]
        facts = [Fact(time, event.phase, event, (event.id,))]
    else:
        facts = _corroborate(seen, same_within)
    visits.first, visits.last = facts[0].time, max(fact.time for fact in facts)
    visits.events = tuple(i for fact in facts for i in fact.ids)
    walk = _Walk(step, instance, visits)
    for fact in facts:
        walk.take(fact)
    walk.close()
    return visits


def _corroborate(seen: list[tuple[int, Observed]], same_within: int) -> list[Fact]:
    """Facts in order of time: observations of another source within ``same_within``, or equal in content, are one."""
    seen = sorted(seen, key=lambda pair: (pair[0], _RANK[pair[1].phase], pair[1].id))
    facts: list[Fact] = []
    sources: list[set[str]] = []
    for time, event in seen:
        place = _same_fact(facts, sources, time, event, same_within)
        if place is None:
            facts.append(Fact(time, event.phase, event, (event.id,)))
            sources.append({event.source})
        else:
            fact = facts[place]
            facts[place] = Fact(fact.time, fact.phase, fact.event, (*fact.ids, event.id))
            sources[place].add(event.source)
    facts.sort(key=lambda fact: (fact.time, _RANK[fact.phase]))
    return facts


def _same_fact(facts: list[Fact], sources: list[set[str]], time: int, event: Observed, same_within: int) -> int | None:
    for place in range(len(facts) - 1, -1, -1):
        fact = facts[place]
        if time - fact.time > same_within:
            return None
        if fact.phase == event.phase and (
            event.source not in sources[place] or fact.event.content() == event.content()
        ):
            return place
    return None


class _Walk:
    """Turns the facts of one (step, instance), in order of time, into hops."""

    __slots__ = ("arrival", "attempt", "departed", "ids", "instance", "open", "step", "stray", "visits")

    def __init__(self, step: StepPlan, instance: str, visits: Visits):
        self.step, self.instance, self.visits = step, instance, visits
        self.attempt = 1
        self.open = False
        self.arrival: int | None = None
        self.departed: int | None = None
        self.ids: list[str] = []
        self.stray: list[Fact] = []

    def take(self, fact: Fact) -> None:
        if fact.phase in self.step.done_phases:
            self._complete(fact)
        elif fact.phase in _FAILURES:
            self._fail(fact)
        elif self.visits.done and not self.open and self.visits.failed_at is None and not has_again(self.step):
            self.stray.append(fact)
        else:
            self._arrive(fact)

    def _arrive(self, fact: Fact) -> None:
        if not self.open:
            self.open, self.arrival, self.departed, self.ids = True, None, None, []
        if fact.phase in _ARRIVALS and self.arrival is None:
            self.arrival = fact.time
        elif fact.phase not in _ARRIVALS:
            self.departed = fact.time
        self.ids.extend(fact.ids)

    def _complete(self, fact: Fact) -> None:
        if self.stray:
            strays, self.stray = self.stray, []
            for stray in strays:
                self._arrive(stray)
        if not self.open:
            self.arrival, self.ids = None, []
        self.ids.extend(fact.ids)
        self._hop(Outcome.DONE, fact.time, None)
        self.visits.done.append(fact.time)
        self.visits.done_events.append(fact.event)
        self.visits.failed_at = self.visits.error = None

    def _fail(self, fact: Fact) -> None:
        if not self.open:
            self.arrival, self.ids = None, []
        self.ids.extend(fact.ids)
        failed = fact.phase == "failed"
        self._hop(Outcome.FAILED if failed else Outcome.CANCELLED, fact.time, fact.event.error)
        self.attempt += 1
        self.visits.failed_at = fact.time
        self.visits.error = fact.event.error or ("" if failed else "cancelled")

    def _hop(self, outcome: Outcome, left: int | None, error: str | None) -> None:
        self.visits.hops.append(
            Hop(
                step=self.step.name,
                system=self.step.spec.system,
                instance=self.instance,
                attempt=self.attempt,
                arrived_at=self.arrival,
                left_at=left,
                outcome=outcome,
                error=error,
                events=tuple(self.ids),
            )
        )
        self.open = False

    def close(self) -> None:
        visits = self.visits
        if self.open:
            visits.arrived = visits.first if self.arrival is None else self.arrival
            self._hop(Outcome.OPEN, self.departed, None)
        if self.stray and visits.hops:
            late = max(fact.time for fact in self.stray)
            last = visits.hops[-1]
            # An arrival noted after its departure belongs to the visit that it was late for; one `sent` after is no disorder.
            if last.arrived_at is None and any(fact.phase in _ARRIVALS for fact in self.stray):
                arrival = min(fact.time for fact in self.stray if fact.phase in _ARRIVALS)
                if last.left_at is not None and arrival - last.left_at > SLACK:
                    visits.disordered = late
            ids = (*last.events, *(i for fact in self.stray for i in fact.ids))
            visits.hops[-1] = Hop(
                last.step,
                last.system,
                last.instance,
                last.attempt,
                last.arrived_at,
                last.left_at,
                last.outcome,
                last.error,
                ids,
            )


def has_again(step: StepPlan) -> bool:
    """Whether repeating the step is normal."""
    return step.spec.again is not None or bool(step.loops)
