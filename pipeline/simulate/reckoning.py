"""Reckoning: one transaction's obligations, reckoned at the end of the simulation by §6's table.

Simple where the judge has to be fast: everything has happened, every clock stands still, deeds carry true times. Two
cautions follow from law 5 and go beyond a single step's witnesses: what was owed since an unknown time needs hearing from the
earliest it may have been, and a legitimate end that nobody could have heard may have lifted what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.simulate.account import Account, Key, Point, World
from pipeline.simulate.deeds import Case, Deed
from pipeline.simulate.telemetry import FOREVER
from pipeline.simulate.truth import Place, Truth, descendants, rank, text_of
from schemas.flow import Flow, Step
from schemas.times import SECOND
from schemas.verdict import DropKind, FindingKind, Status

_ARRIVALS = ("received", "started")
_FAILURES = ("failed", "cancelled")
_SLACK = 2 * SECOND


class Proof(NamedTuple):
    """``deaf``: systems that were not heard over the time asked. ``behind``: a clock is not there yet."""

    deaf: frozenset[str]
    behind: bool

    @property
    def given(self) -> bool:
        return not self.deaf and not self.behind


class Reckoning(Account):
    """Of one case under its flow, from the deeds that were ``heard``, earliest first."""

    def __init__(self, flow: Flow, case: Case, heard: Sequence[Deed], world: World):
        super().__init__(flow, case, heard, world)
        self.drops: list[Place] = []
        self.findings: set[tuple[FindingKind, str]] = set()
        self.pending = False
        self.blind = False
        self.closed = ""
        self.points: dict[Key, Point] = {}
        if any(deed.pod in world.skewed for deeds in self.visits.values() for deed in deeds):
            self.findings.add((FindingKind.CLOCK_SKEW, ""))
        for deed in self.strangers:
            if not any((deed.step, deed.system) in world.known.get(kind, ()) for kind in deed.keys):
                self.findings.add((FindingKind.UNEXPECTED, deed.step))

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

    def _closed(self) -> str:
        """The legitimate other end that holds; "" for none."""
        ends: list[tuple[int, str]] = []
        for name, spec in self.flow.steps.items():
            if spec.end != "closed":
                continue
            done = self.done(name)
            time = done[0] if done else self.implied.get((name, ""))
            if time is None and spec.lapses is not None:
                time = self._lapsed(name, spec)
            if time is None:
                continue
            passed = (
                [t for other in self.instances(spec.until) for t in self.done(spec.until, other)] if spec.until else []
            )
            if not passed or min(passed) >= time:
                ends.append((time, name))
        return min(ends)[1] if ends else ""

    def _lapsed(self, name: str, spec: Step) -> int | None:
        before = [time for prior in spec.after.steps for time in self.done(prior)[-1:]]
        if not before:
            return None
        start = max(before)
        if any(deed.time > start for deeds in self.visits.values() for deed in deeds):
            return None
        end = start + (spec.lapses or 0)
        proof = self._proof(spec, start, end)
        if proof.given:
            self.points[name, ""] = Point(end, end, name, start)
            return end
        self.pending |= not proof.deaf
        return None

    def _after(self, closed: str, allowed: frozenset[str]) -> None:
        done = self.done(closed)
        time = done[0] if done else self.implied.get((closed, ""))
        for (name, _), deeds in self.visits.items():
            if time is not None and name not in allowed and deeds[-1].time > time + _SLACK:
                self.findings.add((FindingKind.AFTER_CANCEL, name))

    def _repeats(self) -> None:
        for name, instance in self.visits:
            spec, done = self.flow.steps[name], self.done(name, instance)
            if len(done) > 1 + (spec.again or 0):
                self.findings.add((FindingKind.DUPLICATE if spec.again is None else FindingKind.UNEXPECTED, name))
            before = [
                times[0]
                for prior in spec.after.steps
                for other in ([instance] if self.flow.steps[prior].per == spec.per else self.instances(prior))
                if (times := self.done(prior, other))
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

    def _lifters(self, name: str, until: int) -> dict[str, tuple[int, int]]:
        """Systems that could have ended the transaction legitimately, and when: unheard, the step would not be owed."""
        asked: dict[str, tuple[int, int]] = {}
        for other, spec in self.flow.steps.items():
            begun = [point.low for prior in spec.after.steps if (point := self.points.get((prior, "")))]
            if spec.end != "closed" or spec.lapses is not None or not begun or self.done(other) or self.closed:
                continue
            passed = [t for i in self.instances(spec.until) for t in self.done(spec.until, i)] if spec.until else []
            passed += [time for (step, _), time in self.implied.items() if step == spec.until]
            since, latest = max(begun), min([until, *passed])
            if name not in descendants(self.flow, other) and latest > since:
                known = asked.get(spec.system, (since, latest))
                asked[spec.system] = (min(known[0], since), max(known[1], latest))
        return asked

    # One step -------------------------------------------------------------------------------------------------------

    def _step(self, name: str, spec: Step, *, lifted: bool) -> None:
        if spec.start:
            self._start(name, spec)
            return
        instances = self.instances(name)
        for instance in instances:
            self._instance(name, spec, instance, lifted=lifted)
        if spec.per and spec.count is not None:
            at = self._since(spec, "")
            count = int(str(self.attribute(spec.count.attribute or "", at) or len(instances)))
            if count > len(instances) and at is not None and not lifted:
                self._owe(name, spec, "", at, missing=count - len(instances))
            elif count < len(instances):
                self.findings.add((FindingKind.UNEXPECTED, name))

    def _start(self, name: str, spec: Step) -> None:
        done = self.done(name)
        if done:
            self.points[name, ""] = Point(done[0], done[0], name, done[0])
            return
        first = min(deeds[0].time for deeds in self.visits.values())
        reaches = [self.reach(step) for step, _ in self.visits]
        window = min((reach for reach in reaches if reach), default=self.flow.lost_after)
        self.points[name, ""] = Point(first - window, self.implied.get((name, ""), first), name, first, heard=False)
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
        if not found or spec.after.mode == "any":
            return min(found, default=None)
        latest = max(found, key=lambda point: (point.last, point.seen))
        low, high = max(point.low for point in found), max(point.high for point in found)
        heard, assumed = all(point.heard for point in found), any(point.assumed for point in found)
        return Point(low, high, latest.seen, latest.last, heard, assumed)

    def _instance(self, name: str, spec: Step, instance: str, *, lifted: bool) -> None:
        key, done, at = (name, instance), self.done(name, instance), self._since(spec, instance)
        if done:
            self.points[key] = Point(done[0], done[0], name, done[0])
            if at is not None and at.heard and not at.assumed and spec.owed and done[0] > self.due(spec, at):
                self.findings.add((FindingKind.LATE, name))
            return
        if key in self.points:
            return
        implied = self.implied.get(key)
        owed = spec.owed and self.when(spec)
        if implied is not None:
            low = at.low if at else implied - self.flow.lost_after
            seen, last = self.last(name, instance, at) or (name, implied)
            self.points[key] = Point(min(low, implied), max(low, implied), seen, last, heard=False)
            if spec.must and at is not None and not lifted:
                self._owe(name, spec, instance, at)
            elif not spec.must and (owed or spec.end == "closed"):
                self._passed_over(name, spec, at, implied)
        elif at is not None and owed and not lifted:
            self._owe(name, spec, instance, at)

    def _passed_over(self, name: str, spec: Step, at: Point | None, implied: int) -> None:
        begin, end = (at.low if at else implied - self.flow.lost_after), implied
        if at is not None and spec.end != "closed":
            end = max(end, self.due(spec, at))
        self._finding(self._proof(spec, min(begin, end), end), FindingKind.SKIPPED, name, end)

    def _finding(self, proof: Proof, kind: FindingKind, name: str, end: int) -> None:
        if proof.deaf and self.world.now > end:
            self.findings.add((FindingKind.UNOBSERVED, name))
            self.blind = True
        elif proof.given:
            self.findings.add((kind, name))

    # §6's table -----------------------------------------------------------------------------------------------------

    def _owe(self, name: str, spec: Step, instance: str, at: Point, missing: int = 0) -> None:
        deeds = self.visits.get((name, instance), [])
        last = deeds[-1] if deeds else None
        arrived = last is not None and last.phase in _ARRIVALS
        failed = any(deed.phase in _FAILURES for deed in deeds)
        due = self.due(spec, at)
        late = lost_at = max(due, at.high + self.flow.lost_after)
        begin = at.low
        if failed:
            begin = max(deed.time for deed in deeds if deed.phase in _FAILURES)
            due = lost_at = begin + spec.retry_within
        kind = DropKind.IN_TRANSIT if at.heard and spec.reports_arrival else DropKind.BETWEEN
        if arrived or failed:
            kind = DropKind.FAILED if failed else DropKind.INSIDE

        def drop(status: Status) -> None:
            self.drops.append(Place(status, kind, at.seen, name, instance, missing))

        proof = self._proof(spec, begin, due, self._lifters(name, due))
        if self._proof(spec, begin, lost_at, self._lifters(name, lost_at)).given:
            drop(Status.FAILED if failed else Status.LOST)
        elif proof.given:
            drop(Status.STALLED)
        elif proof.deaf and self.world.now > due:
            self.blind = True
            if not at.assumed:
                drop(Status.UNKNOWN)
                if self.world.now > late:
                    self.findings.add((FindingKind.UNRESOLVED, name))
            if self._proof(spec, begin, due).deaf == {spec.system} and not missing:
                self._assume((name, instance), spec, at, begin, due)
        else:
            self.pending |= not at.assumed

    def _assume(self, key: Key, spec: Step, at: Point, begin: int, due: int) -> None:
        """Go on as if it had been done at the last moment at which nobody listened; not while nobody does."""
        ear = self.world.ears[spec.system]
        resumed = max((b for a, b in ear.deaf if a < due and b > begin), default=FOREVER)
        if resumed < FOREVER and not (ear.silent and ear.clock <= due):
            seen, last = self.last(*key, at) or (at.seen, at.last)
            low = max(at.low, last) if key in self.visits else at.low
            self.points[key] = Point(low, max(low, resumed), seen, last, heard=False, assumed=True)


def reckon(flow: Flow, case: Case, heard: Sequence[Deed], world: World) -> Truth:
    """The truth of one case."""
    return Reckoning(flow, case, heard, world).truth()
