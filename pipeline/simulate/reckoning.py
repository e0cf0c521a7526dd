"""Reckoning: one transaction's obligations, reckoned at the end of the simulation by §6's table.

Simple where the judge has to be fast: everything has happened, every clock stands still, deeds carry true times. Two
cautions follow from law 5 and go beyond a single step's witnesses: what was owed since an unknown time needs hearing from the
earliest it may have been, and a legitimate end that nobody could have heard may have lifted what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.simulate.deeds import Case, Deed
from pipeline.simulate.rhythm import OpenHours
from pipeline.simulate.telemetry import FOREVER, Ear
from pipeline.simulate.truth import Place, Truth, descendants, instant, rank, text_of
from schemas.flow import Flow, Step
from schemas.landscape import Landscape
from schemas.times import SECOND
from schemas.verdict import DropKind, FindingKind, Status

_ARRIVALS = ("received", "started")
_FAILURES = ("failed", "cancelled")
_SLACK = 2 * SECOND

Key = tuple[str, str]


class World(NamedTuple):
    """What holds for all cases at the end. ``now``: control time, µs. ``known``: key type to the (step, system) of its flows."""

    ears: Mapping[str, Ear]
    now: int
    landscape: Landscape
    hours: Mapping[str, OpenHours]
    known: Mapping[str, frozenset[tuple[str, str]]]
    skewed: frozenset[str]


class Point(NamedTuple):
    """Something counts as done between ``low`` and ``high`` µs (equal where it was heard). ``seen``: the last step heard before.
    ``assumed``: it may not have been done at all."""

    low: int
    high: int
    seen: str
    heard: bool = True
    assumed: bool = False


class Proof(NamedTuple):
    """``deaf``: systems that were not heard over the time asked. ``behind``: a clock is not there yet."""

    deaf: frozenset[str]
    behind: bool

    @property
    def given(self) -> bool:
        return not self.deaf and not self.behind


class Reckoning:
    """Of one case under its flow, from the deeds that were ``heard``, earliest first."""

    def __init__(self, flow: Flow, case: Case, heard: Sequence[Deed], world: World):
        self.flow, self.case, self.world, self.heard = flow, case, world, heard
        self.drops: list[Place] = []
        self.findings: set[tuple[FindingKind, str]] = set()
        self.pending = False
        self.blind = False
        self.closed = ""
        self.points: dict[Key, Point] = {}
        self.visits: dict[Key, list[Deed]] = {}
        for deed in heard:
            spec = flow.steps.get(deed.step)
            if spec is not None and spec.system == deed.system:
                instance = deed.keys.get(spec.per, "") if spec.per else ""
                self.visits.setdefault((deed.step, instance), []).append(deed)
                if deed.pod in world.skewed:
                    self.findings.add((FindingKind.CLOCK_SKEW, ""))
            elif not any((deed.step, deed.system) in world.known.get(kind, ()) for kind in deed.keys):
                self.findings.add((FindingKind.UNEXPECTED, deed.step))
        self.implied = self._imply()

    def truth(self) -> Truth:
        """The reckoning."""
        judged = bool(self.visits)
        excluded = any(
            text_of(deed.attributes.get(name)) == text_of(value)
            for deed in self.heard
            for name, value in self.flow.exclude.items()
        )
        status = Status.CLOSED
        if judged and not excluded:
            status = self._reckon()
        else:
            self.findings.clear()
        return Truth(
            self.case.name,
            self.case.fault,
            judged,
            excluded,
            status,
            frozenset(self.drops),
            frozenset(self.findings),
            self.blind,
        )

    def _reckon(self) -> Status:
        self.closed = closed = self._closed()
        allowed = descendants(self.flow, closed) if closed else frozenset(self.flow.steps)
        for name, spec in self.flow.steps.items():
            self._step(name, spec, lifted=name not in allowed)
        if closed:
            self._after(closed, allowed)
        self._repeats()
        if self.drops:
            return min((place.status for place in self.drops), key=rank)
        if self.pending:
            return Status.IN_PROGRESS
        if closed:
            return Status.CLOSED
        ends = [name for name, spec in self.flow.steps.items() if spec.end == "completed"]
        done = any(name in ends and point.heard for (name, _), point in self.points.items())
        return Status.COMPLETED if done else Status.IN_PROGRESS

    # What was heard -------------------------------------------------------------------------------------------------

    def _done(self, step: str, instance: str = "") -> list[int]:
        phase = self.flow.steps[step].satisfied_by
        return [deed.time for deed in self.visits.get((step, instance), ()) if deed.phase == phase]

    def _instances(self, step: str) -> list[str]:
        per = self.flow.steps[step].per
        if per is None:
            return [""]
        steps = [name for name, spec in self.flow.steps.items() if spec.per == per]
        return sorted({instance for name, instance in self.visits if name in steps and instance})

    def _imply(self) -> dict[Key, int]:
        """Steps that were not heard, but something after them was: the earliest time of that."""
        implied: dict[Key, int] = {}
        for name, spec in reversed(self.flow.steps.items()):
            for instance in self._instances(name):
                done = self._done(name, instance)
                time = done[0] if done else implied.get((name, instance))
                if time is None or (spec.after.mode == "any" and len(spec.after.steps) > 1):
                    continue
                for before in spec.after.steps:
                    same = self.flow.steps[before].per == spec.per
                    for other in [instance] if same else self._instances(before):
                        if not self._done(before, other):
                            implied[before, other] = min(time, implied.get((before, other), time))
        return implied

    def _closed(self) -> str:
        """The legitimate other end that holds; "" for none."""
        ends: list[tuple[int, str]] = []
        for name, spec in self.flow.steps.items():
            if spec.end != "closed":
                continue
            done = self._done(name)
            time = done[0] if done else self.implied.get((name, ""))
            if time is None and spec.lapses is not None:
                time = self._lapsed(name, spec)
            if time is None:
                continue
            passed = (
                [t for other in self._instances(spec.until) for t in self._done(spec.until, other)]
                if spec.until
                else []
            )
            if not passed or min(passed) >= time:
                ends.append((time, name))
        return min(ends)[1] if ends else ""

    def _lapsed(self, name: str, spec: Step) -> int | None:
        before = [time for prior in spec.after.steps for time in self._done(prior)[-1:]]
        if not before:
            return None
        start = max(before)
        if any(deed.time > start for deeds in self.visits.values() for deed in deeds):
            return None
        end = start + (spec.lapses or 0)
        proof = self._proof(spec, start, end)
        if proof.given:
            self.points[name, ""] = Point(end, end, name)
            return end
        self.pending |= not proof.deaf
        return None

    def _after(self, closed: str, allowed: frozenset[str]) -> None:
        done = self._done(closed)
        time = done[0] if done else self.implied.get((closed, ""))
        for (name, _), deeds in self.visits.items():
            if time is not None and name not in allowed and deeds[-1].time > time + _SLACK:
                self.findings.add((FindingKind.AFTER_CANCEL, name))

    def _repeats(self) -> None:
        for name, instance in self.visits:
            spec, done = self.flow.steps[name], self._done(name, instance)
            if len(done) > 1 + (spec.again or 0):
                self.findings.add((FindingKind.DUPLICATE if spec.again is None else FindingKind.UNEXPECTED, name))
            before = [
                times[0]
                for prior in spec.after.steps
                for other in ([instance] if self.flow.steps[prior].per == spec.per else self._instances(prior))
                if (times := self._done(prior, other))
            ]
            if done and before and max(before) - done[0] > _SLACK:
                self.findings.add((FindingKind.OUT_OF_ORDER, name))

    # Hearing --------------------------------------------------------------------------------------------------------

    def _proof(self, spec: Step, begin: int, end: int, others: Mapping[str, tuple[int, int]] | None = None) -> Proof:
        """Whether the witnesses of a step were heard over [begin, end]; ``others`` over their own."""
        asked = [(spec.system, begin, end)]
        by = spec.by or self.flow.by or ()
        if self.flow.key not in by:
            linking = {s.system for s in self.flow.steps.values() if len(s.by or ()) > 1 and set(s.by or ()) & set(by)}
            asked += [(system, begin - self.world.landscape.link_age, end) for system in linking - {spec.system}]
        asked += [(system, since, until) for system, (since, until) in (others or {}).items()]
        deaf = set()
        behind = False
        for system, since, until in asked:
            ear = self.world.ears[system]
            behind |= ear.clock <= until
            heard = ear.missed(since, until) <= self.world.landscape.tolerate * (until - since)
            if not heard or (ear.silent and ear.clock <= until):
                deaf.add(system)
        return Proof(frozenset(deaf), behind)

    def _lifters(self, name: str, since: int, until: int) -> dict[str, tuple[int, int]]:
        """Systems that could have ended the transaction legitimately since then, unheard: the step would not be owed."""
        asked: dict[str, tuple[int, int]] = {}
        for other, spec in self.flow.steps.items():
            if spec.end != "closed" or self._done(other) or name in descendants(self.flow, other):
                continue
            begun = any((prior, "") in self.points for prior in spec.after.steps)
            passed = spec.until is not None and any(self._done(spec.until, i) for i in self._instances(spec.until))
            if begun and not passed and (spec.until, "") not in self.implied:
                asked[spec.system] = (since, until)
        return asked

    # One step -------------------------------------------------------------------------------------------------------

    def _step(self, name: str, spec: Step, *, lifted: bool) -> None:
        if spec.start:
            self._start(name, spec)
            return
        instances = self._instances(name)
        for instance in instances:
            self._instance(name, spec, instance, lifted=lifted)
        if spec.per and spec.count is not None:
            at = self._since(spec, "")
            count = int(str(self._attribute(spec.count.attribute or "", at) or 0))
            if count > len(instances) and at is not None and not lifted:
                self._owe(name, spec, "", at, missing=count - len(instances))
            elif count < len(instances):
                self.findings.add((FindingKind.UNEXPECTED, name))

    def _start(self, name: str, spec: Step) -> None:
        done = self._done(name)
        if done:
            self.points[name, ""] = Point(done[0], done[0], name)
            return
        first = min(deeds[0].time for deeds in self.visits.values())
        firsts = [self.flow.steps[step].within for (step, _), deeds in self.visits.items() if deeds[0].time == first]
        window = min((within for within in firsts if within), default=self.flow.lost_after)
        self.points[name, ""] = Point(first - window, self.implied.get((name, ""), first), name, heard=False)
        self._finding(self._proof(spec, first - window, first), FindingKind.NO_START, name, first)

    def _since(self, spec: Step, instance: str) -> Point | None:
        """Since when the step is owed; None while something before it is awaited."""
        found = []
        for prior in spec.after.steps:
            same = self.flow.steps[prior].per == spec.per
            point = self.points.get((prior, instance if same else ""))
            if point is not None and self.flow.steps[prior].end == "closed" and prior != self.closed:
                continue  # an end that did not hold has no consequences
            if point is not None:
                found.append(point)
            elif spec.after.mode == "all":
                return None
        if not found:
            return None
        return min(found) if spec.after.mode == "any" else max(found, key=lambda point: (point.high, point.seen))

    def _instance(self, name: str, spec: Step, instance: str, *, lifted: bool) -> None:
        key, done, at = (name, instance), self._done(name, instance), self._since(spec, instance)
        if done:
            self.points[key] = Point(done[0], done[0], name)
            if at is not None and at.heard and not at.assumed and spec.owed and done[0] > self._due(spec, at):
                self.findings.add((FindingKind.LATE, name))
            return
        if key in self.points:
            return
        implied = self.implied.get(key)
        owed = spec.owed and self._when(spec)
        if implied is not None:
            self.points[key] = Point(at.low if at else implied, implied, at.seen if at else name, heard=False)
            if spec.must and at is not None and not lifted:
                self._owe(name, spec, instance, at)
            elif not spec.must and (owed or spec.end == "closed"):
                self._passed_over(name, spec, at, implied)
        elif at is not None and owed and not lifted:
            self._owe(name, spec, instance, at)

    def _passed_over(self, name: str, spec: Step, at: Point | None, implied: int) -> None:
        begin, end = (at.high if at else implied - self.flow.lost_after), implied
        if at is not None and at.heard and (spec.within is not None or spec.due is not None):
            end = max(end, self._due(spec, at))
        self._finding(self._proof(spec, min(begin, end), end), FindingKind.SKIPPED, name, end)

    def _finding(self, proof: Proof, kind: FindingKind, name: str, end: int) -> None:
        if proof.deaf and self.world.now > end:
            self.findings.add((FindingKind.UNOBSERVED, name))
            self.blind = True
        elif proof.given:
            self.findings.add((kind, name))

    def _when(self, spec: Step) -> bool:
        return spec.when is None or spec.when.seen is None or any(step == spec.when.seen for step, _ in self.visits)

    def _attribute(self, name: str, at: Point | None) -> object:
        """From the step before, else the latest there is."""
        for deeds in [d for (step, _), d in self.visits.items() if at is not None and step == at.seen]:
            for deed in reversed(deeds):
                if name in deed.attributes:
                    return deed.attributes[name]
        return next((deed.attributes[name] for deed in reversed(self.heard) if name in deed.attributes), None)

    def _due(self, spec: Step, at: Point) -> int:
        if spec.within is not None:
            hours = self.world.hours.get(spec.calendar or "")
            return hours.after(at.high, spec.within) if hours else at.high + spec.within
        promised = instant(self._attribute(spec.due, at)) if spec.due else None
        return at.high + self.flow.lost_after if promised is None else promised

    # §6's table -----------------------------------------------------------------------------------------------------

    def _owe(self, name: str, spec: Step, instance: str, at: Point, missing: int = 0) -> None:
        deeds = self.visits.get((name, instance), [])
        last = deeds[-1] if deeds else None
        arrived = last is not None and last.phase in _ARRIVALS
        failed = any(deed.phase in _FAILURES for deed in deeds)
        due = self._due(spec, at)
        lost_at = max(due, at.high + self.flow.lost_after)
        begin = at.low
        if failed:
            begin = max(deed.time for deed in deeds if deed.phase in _FAILURES)
            due = lost_at = begin + spec.retry_within
        if at.assumed or not (arrived or spec.reports_arrival):
            kind = DropKind.BETWEEN
        else:
            kind = DropKind.INSIDE if arrived else DropKind.IN_TRANSIT
        kind = DropKind.FAILED if failed else kind

        def drop(status: Status) -> None:
            self.drops.append(Place(status, kind, at.seen, name, instance, missing))

        proof = self._proof(spec, begin, due, self._lifters(name, begin, due))
        if self._proof(spec, begin, lost_at, self._lifters(name, begin, lost_at)).given:
            drop(Status.FAILED if failed else Status.LOST)
        elif proof.given:
            drop(Status.STALLED)
        elif proof.deaf and self.world.now > due:
            self.blind = True
            if not at.assumed:
                drop(Status.UNKNOWN)
                if self.world.now > lost_at:
                    self.findings.add((FindingKind.UNRESOLVED, name))
            if proof.deaf == {spec.system} and not missing and not failed:
                self._assume((name, instance), spec, at, due)
        else:
            self.pending |= not at.assumed

    def _assume(self, key: Key, spec: Step, at: Point, due: int) -> None:
        """Go on as if it had been done at the last moment at which nobody listened; not while nobody does."""
        ear = self.world.ears[spec.system]
        resumed = max((end for begin, end in ear.deaf if begin < due and end > at.low), default=FOREVER)
        if resumed < FOREVER and not ear.silent:
            self.points[key] = Point(at.low, resumed, at.seen, heard=False, assumed=True)


def reckon(flow: Flow, case: Case, heard: Sequence[Deed], world: World) -> Truth:
    """The truth of one case."""
    return Reckoning(flow, case, heard, world).truth()
