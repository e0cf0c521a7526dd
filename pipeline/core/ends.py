"""Ends: which legitimate other end (``end: closed``) was reached, and what time alone has completed (``lapses``)."""

from __future__ import annotations

from pipeline.core.path import Key
from pipeline.core.plan import StepPlan
from pipeline.core.point import Point
from pipeline.core.proof import Asked, Proof, Prover, Standing
from pipeline.core.seen import Seen


class Ends:
    """The ends of one state.

    ``reached``: (step, instance) of valid ends to when (µs). ``closed``: the one that ended the whole transaction, the earliest.
    ``gone``: what an end of one instance has lifted for it. ``lapsed``: what time alone has completed. ``open``: lapses that
    are not decided: step, until when, and the proof so far.
    """

    __slots__ = ("_kept", "closed", "gone", "lapsed", "open", "prover", "reached", "seen")

    def __init__(self, seen: Seen, prover: Prover):
        self.seen, self.prover = seen, prover
        self.reached: dict[Key, int] = {}
        self.closed: StepPlan | None = None
        self.lapsed: dict[Key, Point] = {}
        self.open: list[tuple[StepPlan, int, Proof]] = []
        self._kept: frozenset[str] = frozenset()
        self.gone: set[Key] = set()
        first = 0
        for step in seen.plan.closing:
            for instance in seen.named(step):
                time = self._reach(step, instance)
                if time is None:
                    continue
                self.reached[step.name, instance] = time
                if instance:
                    self._lift(step, instance)
                elif self.closed is None or time < first:
                    self.closed, first = step, time
        if self.closed is not None:
            under = seen.plan.under
            self._kept = frozenset().union(*(under[name] for name, instance in self.reached if not instance))

    def lifts(self, step: StepPlan, instance: str) -> bool:
        """Whether an end has lifted what is owed: all but its own, or for one instance that of this instance."""
        if self.closed is not None and step.name not in self._kept:
            return True
        return (step.name, instance) in self.gone

    def _lift(self, end: StepPlan, instance: str) -> None:
        for step in self.seen.plan.order:
            if step.per == end.per and step.name not in self.seen.plan.under[end.name]:
                self.gone.add((step.name, instance))

    def _reach(self, step: StepPlan, instance: str) -> int | None:
        """When an end was reached, if it counts: a cancellation after the point of no return lifts nothing."""
        visits = self.seen.path.visits.get((step.name, instance))
        time = visits.done[0] if visits is not None and visits.done else self.seen.implied.get((step.name, instance))
        if time is None and step.spec.lapses is not None:
            lapsed = self.lapse(step, instance)
            time = None if lapsed is None else lapsed.time
        if time is not None and step.spec.until is not None:
            passed = self.seen.passed(step.spec.until)
            if passed is not None and passed < time:
                return None
        return time

    def lapse(self, step: StepPlan, instance: str) -> Point | None:
        """That time alone completed the step: heard past ``lapses`` with nothing else seen.

        Where it cannot be proven over so short a time, for want of a few seconds that nobody heard, it may be over
        ``lost_after``: else an order would be proven lost before its cart is proven abandoned.
        """
        last = self._quiet_since(step, instance)
        if last is None:
            return None
        flow = self.seen.plan.flow
        end = last.time + (step.spec.lapses or 0)
        proof = self._quiet(step, last.time, end)
        if proof.standing is Standing.DEAF:
            longer = self._quiet(step, last.time, last.time + flow.lost_after)
            proof = (
                longer if longer.standing is Standing.PROVEN else proof._replace(waits=(*proof.waits, *longer.waits))
            )
        if proof.standing is not Standing.PROVEN:
            self.open.append((step, end, proof))
            return None
        self.lapsed[step.name, instance] = point = Point(end, last.step, last.time, end)
        return point

    def _quiet_since(self, step: StepPlan, instance: str) -> Point | None:
        """The last that was seen before, if what the step comes after is done and nothing else was seen since."""
        seen, visits = self.seen, self.seen.path.visits
        own = [item for item in visits.items() if not instance or item[0][1] in ("", instance)]
        # The end itself may carry an earlier time than what it comes after; it came all the same.
        if step.closing and any(name in seen.plan.ends and found.done for (name, _), found in own):
            return None
        done = [
            (before, found)
            for before in step.before
            for other in seen.before(seen.plan.steps[before], step, instance)
            if (found := visits.get((before, other))) is not None and found.done
        ]
        if not done or (not step.any and len({before for before, _ in done}) < len(step.before)):
            return None
        # What came before and came again has begun the wait anew.
        done += [(other, found) for (other, _), found in own if other in step.ancestors]
        name, last = max(done, key=lambda item: (item[1].last, item[0]))
        return (
            None
            if any(other in step.hush and found.last > last.last for (other, _), found in own)
            else Point(last.last, name, last.last, last.last)
        )

    def _quiet(self, step: StepPlan, begin: int, end: int) -> Proof:
        """Heard by whoever would have said that it went on."""
        steps = self.seen.plan.steps
        others = {steps[after].system for before in step.before for after in steps[before].successors}
        asked = self.prover.witnesses(step, begin, end)
        asked += [Asked(system, begin, end) for system in sorted(others - {system for system, _, _ in asked})]
        return self.prover.heard(asked)

    def unheard(self, step: StepPlan, instance: str, begins: dict[Key, Point], end: int) -> list[Asked]:
        """What has to be heard through ``end`` µs to know that no legitimate end, unheard, has lifted the step.

        A law beyond §4's witnesses of a single step: a cancellation in its system's blackout would otherwise make an order
        lost that is not. It costs nothing once the end's ``until`` is passed.
        """
        asked: list[Asked] = []
        if self.closed is not None:
            return asked
        for name in step.lifters:
            closing = self.seen.plan.steps[name]
            key = (name, instance if closing.per is not None else "")
            if (closing.per is not None and closing.per != step.per) or self._came(key):
                continue
            begin = self._could_begin(closing, key[1], begins)
            if begin is None:
                continue
            passed = self.seen.passed(closing.spec.until) if closing.spec.until else None
            until = end if passed is None else min(end, passed)
            if until > begin:
                asked += self.prover.witnesses(closing, begin, until)
        return asked

    def _came(self, key: Key) -> bool:
        visits = self.seen.path.visits.get(key)
        return visits is not None and bool(visits.done)

    def _could_begin(self, closing: StepPlan, instance: str, begins: dict[Key, Point]) -> int | None:
        """The earliest that an end can have come; None while what it comes after is not done."""
        found: list[int] = []
        for name in closing.before:
            times: list[int] = []
            for other in self.seen.before(self.seen.plan.steps[name], closing, instance):
                visits = self.seen.path.visits.get((name, other))
                if (name, other) in begins:
                    times.append(begins[name, other].begin)
                elif visits is not None and visits.done:
                    times.append(visits.done[0])
                elif (name, other) in self.seen.implied:
                    times.append(self.seen.path.first)
            if times:
                found.append(min(times))
            elif not closing.any:
                return None
        return (min(found) if closing.any else max(found)) if found else None
