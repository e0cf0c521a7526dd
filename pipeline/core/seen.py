"""Seen: what follows from what was seen, before anything is asked of time: instances, what must have been passed, attributes."""

from __future__ import annotations

from pipeline.core.path import Key, Path
from pipeline.core.plan import Plan, StepPlan
from pipeline.core.state import State
from pipeline.core.visits import Visits
from schemas.wire import Observed

_NO_NAME = ("",)
_MAX_COUNT = 100_000


class Seen:
    """Of one state under one plan.

    ``implied``: (step, instance) to the earliest time (µs) at which something that needs it was seen, so that it must have been
    passed by then. ``instead``: to the alternatives (``after: {any: …}``), where it is not certain which of them was passed.
    ``bypassed``: alternatives that something was seen without.
    """

    __slots__ = ("_latest", "_named", "bypassed", "implied", "instead", "path", "plan", "state")

    def __init__(self, state: State, plan: Plan, path: Path):
        self.state, self.plan, self.path = state, plan, path
        self.implied: dict[Key, int] = {}
        self.instead: dict[Key, tuple[str, ...]] = {}
        self.bypassed: set[Key] = set()
        self._latest: dict[str, Observed | None] = {}
        self._named: dict[str, tuple[str, ...]] = {}
        if plan.instance_types:
            self._name()
        self._imply()

    # Instances ------------------------------------------------------------------------------------------------------

    def _name(self) -> None:
        found: dict[str, set[str]] = {}
        for name, instances in self.path.instances.items():
            per = self.plan.steps[name].per
            if per is not None:
                found.setdefault(per, set()).update(instances)
        self._named = {per: tuple(sorted(names - {""})) for per, names in found.items()}

    def named(self, step: StepPlan) -> tuple[str, ...]:
        """Instances that a step has by name, seen at whichever step of the same ``per``; ("",) for a step without instances."""
        return _NO_NAME if step.per is None else self._named.get(step.per, ())

    def before(self, prior: StepPlan, step: StepPlan, instance: str) -> tuple[str, ...]:
        """The instances of ``prior`` that (step, instance) comes after."""
        if prior.per is None:
            return _NO_NAME
        if prior.per == step.per:
            return (instance,) if instance else ()
        return self.named(prior)

    # What must have been passed -------------------------------------------------------------------------------------

    def _imply(self) -> None:
        """A step is passed when something that needs it was seen, if only arriving: backwards, the earliest such time."""
        visits, implied = self.path.visits, self.implied
        for step in self.plan.backwards:
            name = step.name
            if step.per is not None:
                instances = (*self.named(step), "") if (name, "") in visits else self.named(step)
            else:
                instances = _NO_NAME
            for instance in instances:
                found = visits.get((name, instance))
                time = implied.get((name, instance))
                if found is not None and (time is None or found.first < time):
                    time = found.first
                if time is not None:
                    for before in self._needed(step, instance):
                        prior = self.plan.steps[before]
                        for other in self.before(prior, step, instance):
                            known = implied.get((before, other))
                            if known is None or time < known:
                                implied[before, other] = time

    def _needed(self, step: StepPlan, instance: str) -> tuple[str, ...]:
        """Those of its predecessors without which the step cannot have been reached."""
        before = step.before
        if len(before) < 2:
            return before
        if not step.any:
            return tuple([name for name in before if self.needed(self.plan.steps[name])])
        taken = self._taken(step, instance)
        for name in before:
            if name != taken:
                self.bypassed.update((name, other) for other in self.before(self.plan.steps[name], step, instance))
        return (taken,) if taken else ()

    def _taken(self, step: StepPlan, instance: str) -> str:
        """Of alternatives, the one by which the step was reached: one that was seen, else the one most likely; "" where there is
        nothing to imply, because it is done."""
        ways = [(name, other) for name in step.before for other in self.before(self.plan.steps[name], step, instance)]
        seen = [way for way in ways if way in self.path.visits]
        if any(self.path.visits[way].done for way in seen):
            return ""
        certain = seen or [way for way in ways if way in self.implied]
        if certain:
            return certain[0][0]
        likely = [way for way in ways if self.when(self.plan.steps[way[0]], None)] or ways
        if not likely:
            return ""
        self.instead[likely[0]] = step.before
        return likely[0][0]

    def needed(self, prior: StepPlan) -> bool:
        """Whether a predecessor among several has to be done: it is owed, or seen, or an end whose obligation this is."""
        return prior.closing or prior.name in self.path.instances or (prior.owed and self.when(prior, None))

    def passed(self, name: str) -> int | None:
        """By when a step was done or must have been (any instance of it), µs; None where it was not."""
        step = self.plan.steps[name]
        times = []
        for instance in (*self.named(step), ""):
            visits = self.path.visits.get((name, instance))
            time = visits.done[0] if visits is not None and visits.done else self.implied.get((name, instance))
            if time is not None:
                times.append(time)
        return min(times, default=None)

    def all_visits(self, name: str) -> list[Visits]:
        """Of a step, by instance."""
        return [self.path.visits[name, instance] for instance in sorted(self.path.instances.get(name, ()))]

    # Conditions and attributes --------------------------------------------------------------------------------------

    def when(self, step: StepPlan, at: str | None) -> bool:
        """Whether a step's condition holds; ``at``: the step it comes after. A step whose last word was a failure was not seen
        in the sense meant: no money is owed back for a charge that failed."""
        when = step.spec.when
        if when is None:
            return True
        if when.seen is not None and all(visits.failed_at is not None for visits in self.all_visits(when.seen)):
            return False
        for name, wanted in when.attributes.items():
            value = self.attribute(name, at)
            if value is None or attribute_text(value) not in [attribute_text(want) for want in wanted]:
                return False
        return True

    def attribute(self, name: str, at: str | None, instance: str = "") -> object:
        """From the event of the step ``at`` (of the same instance, if it has it), else from the latest event that has it."""
        if at is not None:
            own = self.path.visits.get((at, instance))
            for visits in [own] if own is not None else self.all_visits(at):
                for event in reversed(visits.done_events):
                    if name in event.attributes:
                        return event.attributes[name]
        if name not in self._latest:
            self._latest[name] = max(self._having(name), key=_age, default=None)
        latest = self._latest[name]
        return None if latest is None else latest.attributes[name]

    def earliest(self, attribute: str) -> Observed | None:
        """The event that says first what the transaction is worth: its start's, else the earliest that has the attribute."""
        for name in self.plan.starts:
            for visits in self.all_visits(name):
                for event in visits.done_events:
                    if attribute in event.attributes:
                        return event
        return min(self._having(attribute), key=_age, default=None)

    def _having(self, attribute: str) -> list[Observed]:
        contested = {event.id for events in self.path.contested.values() for event in events}
        return [event for event in self.state if attribute in event.attributes and event.id not in contested]

    def expected(self, step: StepPlan, at: str | None) -> int | None:
        """How many instances there should be; None where nobody said, or not in a way that can be read."""
        count = step.counted
        if count is None:
            return None
        if count.number is not None:
            return count.number
        if count.announced_by is not None:
            announced = self.all_visits(count.announced_by)
            per = self.plan.steps[count.announced_by].per
            return (len(announced) if per else sum(len(visits.done) for visits in announced)) or None
        value = self.attribute(count.attribute or "", at)
        try:
            number = int(attribute_text(value)) if value is not None else -1
        except ValueError:
            return None
        return number if 0 <= number <= _MAX_COUNT else None


def _age(event: Observed) -> tuple[int, str]:
    return (event.time, event.id)


def attribute_text(value: object) -> str:
    """How attributes are compared: True is "true", 3.0 is "3"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
