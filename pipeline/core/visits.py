"""Visits: what happened at one (step, instance), in order of time (DESIGN.md §2 and §6).

Observations of one fact by two sources corroborate one visit; attempts count visits, parted by failures; a second completion
within an attempt is one too many.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.hearing import SKEW_LIMIT
from pipeline.core.plan import StepPlan
from schemas.verdict import Hop, Outcome
from schemas.wire import Observed

# Clocks are not corrected below this; nor is an order of events doubted that rests on less.
SLACK = SKEW_LIMIT
_RANK = {"received": 0, "started": 1, "failed": 2, "cancelled": 3, "completed": 4, "sent": 5}
# A flood of one source's events within seconds would else cost the square of their number.
_LOOK_BACK = 64
_ARRIVALS = frozenset(("received", "started"))
_FAILURES = frozenset(("failed", "cancelled"))

Seen = tuple[int, Observed]


class Fact(NamedTuple):
    """One thing that happened, however many observed it. ``time``: µs, in the log's clock. ``ids``: of the events that say so."""

    time: int
    event: Observed
    ids: tuple[str, ...]


class Visit(NamedTuple):
    """A ``Hop`` before anybody asked for one: building the hops of a ten-step order was a quarter of judging it."""

    arrived: int | None
    left: int | None
    outcome: Outcome
    attempt: int
    error: str | None
    ids: tuple[str, ...]


class Visits:
    """All visits to one (step, instance).

    ``seen``: its events with their times, µs. ``first``, ``last``: of all facts; ``progress``: of the latest that was no failure,
    0 if there is none. ``done``, ``done_events``: completions. ``arrived``: when the visit under way began, None if there is none.
    ``failed_at``, ``error``: of the latest failure without success since, None if there is none. ``extra``: completions beyond one
    an attempt. ``disorder``: by how much an arrival came after its own completion, µs;
    ``in_order``: it is plain that it was done after what it comes after. ``ids``: of all events.
    """

    __slots__ = (
        "arrived", "disorder", "done", "done_events", "error", "extra", "failed_at", "first", "ids", "in_order", "instance",
        "last", "progress", "step", "visits",
    )  # fmt: skip

    def __init__(self, step: StepPlan, instance: str, seen: list[Seen], same_within: int):
        self.step, self.instance = step, instance
        self.arrived: int | None = None
        self.failed_at: int | None = None
        self.error: str | None = None
        self.extra = self.disorder = 0
        self.in_order = False
        time, event = seen[0]
        if len(seen) == 1 and event.phase in step.done_phases:
            self.first = self.last = self.progress = time
            self.ids: tuple[str, ...] = (event.id,)
            self.done, self.done_events = [time], [event]
            self.visits = [Visit(None, time, Outcome.DONE, 1, None, self.ids)]
            return
        self.done, self.done_events, self.visits = [], [], []
        facts = corroborate(seen, same_within)
        self.first, self.last, self.progress = facts[0].time, facts[-1].time, 0
        self.ids = tuple([i for fact in facts for i in fact.ids])
        _Walk(self).through(facts)

    def hops(self) -> list[Hop]:
        """As a verdict tells them."""
        step, instance = self.step, self.instance
        return [
            Hop(step.name, step.system, instance, visit.attempt, *visit[:3], visit.error, visit.ids)
            for visit in self.visits
        ]


def corroborate(seen: list[Seen], same_within: int) -> list[Fact]:
    """Facts in order of time: observations of another source within ``same_within`` µs, or equal in content, are one."""
    if len(seen) == 1:
        return [Fact(seen[0][0], seen[0][1], (seen[0][1].id,))]
    facts: list[Fact] = []
    sources: list[set[str]] = []
    for time, event in sorted(seen, key=_order):
        place = _same_fact(facts, sources, time, event, same_within)
        if place is None:
            facts.append(Fact(time, event, (event.id,)))
            sources.append({event.source})
        else:
            fact = facts[place]
            facts[place] = fact._replace(ids=(*fact.ids, event.id))
            sources[place].add(event.source)
    return facts


def _order(seen: Seen) -> tuple[int, int, str]:
    return (seen[0], _RANK[seen[1].phase], seen[1].id)


def _same_fact(facts: list[Fact], sources: list[set[str]], time: int, event: Observed, same_within: int) -> int | None:
    for place in range(len(facts) - 1, max(-1, len(facts) - _LOOK_BACK), -1):
        fact = facts[place]
        if time - fact.time > same_within:
            return None
        if fact.event.phase == event.phase and (
            event.source not in sources[place]
            or (fact.event.time == event.time and fact.event.content() == event.content())
        ):
            return place
    return None


class _Walk:
    """Turns facts, in order of time, into visits."""

    __slots__ = ("arrival", "attempt", "complete", "departed", "ids", "open", "to", "waiting")

    def __init__(self, to: Visits):
        self.to = to
        self.attempt = 1
        self.complete = self.open = False
        self.arrival: int | None = None
        self.departed: int | None = None
        self.ids: list[str] = []
        self.waiting: list[Fact] = []

    def through(self, facts: list[Fact]) -> None:
        for fact in facts:
            phase = fact.event.phase
            if phase in self.to.step.done_phases:
                self._done(fact)
            elif phase in _FAILURES:
                self._failed(fact)
            elif self.complete and not self.open and not self.to.step.repeats:
                # Noted after the step was done: of this visit, late, or of another that may follow.
                self.waiting.append(fact)
            else:
                self._arrived(fact)
        self._close()

    def _arrived(self, fact: Fact) -> None:
        if not self.open:
            self.open, self.arrival, self.departed, self.ids = True, None, None, []
        if fact.event.phase not in _ARRIVALS:
            self.departed = fact.time
        elif self.arrival is None:
            self.arrival = fact.time
        self.ids.extend(fact.ids)
        self.to.progress = max(self.to.progress, fact.time)

    def _leave(self, fact: Fact, outcome: Outcome, error: str | None) -> None:
        for late in self.waiting:
            self._arrived(late)
        self.waiting = []
        if not self.open:
            self.arrival, self.ids = None, []
        self.to.visits.append(Visit(self.arrival, fact.time, outcome, self.attempt, error, (*self.ids, *fact.ids)))
        self.open = False

    def _done(self, fact: Fact) -> None:
        to = self.to
        self._leave(fact, Outcome.DONE, None)
        to.extra += self.complete
        self.complete = True
        to.done.append(fact.time)
        to.done_events.append(fact.event)
        to.failed_at = to.error = None
        to.progress = max(to.progress, fact.time)

    def _failed(self, fact: Fact) -> None:
        to, failed = self.to, fact.event.phase == "failed"
        self._leave(fact, Outcome.FAILED if failed else Outcome.CANCELLED, fact.event.error)
        self.attempt += 1
        self.complete = False
        # Two clocks may differ by the slack: a failure as close as that behind a success is none "since".
        if not to.done or fact.time - to.done[-1] > SLACK:
            to.failed_at = fact.time
            to.error = fact.event.error or ("" if failed else "cancelled")

    def _close(self) -> None:
        to = self.to
        if self.open:
            to.arrived = to.first if self.arrival is None else self.arrival
            to.visits.append(Visit(self.arrival, self.departed, Outcome.OPEN, self.attempt, None, tuple(self.ids)))
        elif self.waiting:
            last = to.visits[-1]
            arrivals = [fact.time for fact in self.waiting if fact.event.phase in _ARRIVALS]
            # An arrival after the only completion is its own, out of order; a word of having sent it on is in order.
            if arrivals and last.arrived is None and last.left is not None:
                to.disorder = max(0, arrivals[0] - last.left)
            ids = (*last.ids, *(i for fact in self.waiting for i in fact.ids))
            to.visits[-1] = last._replace(ids=ids)
            to.progress = max(to.progress, self.waiting[-1].time)
