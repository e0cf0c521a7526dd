"""A whole Lastseen in memory: a log, a store, workers that can be crashed, evicted and continued; and what a pure judge says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pipeline.core.judge import judge, meets
from pipeline.core.knowledge import knowledge_of
from pipeline.core.state import State
from pipeline.log.memory import MemoryConsumer, MemoryLog
from pipeline.store.contract import Store, VerdictQuery, VerdictRow
from pipeline.store.memory import MemoryStore
from pipeline.worker import Policy, Worker
from schemas.control import Control, Goodbye, Hello, Marker, encode_control
from schemas.flow import Flows
from schemas.times import DAY, HOUR, SECOND
from schemas.verdict import VERDICT, Verdict
from schemas.wire import Observed, decode
from tests.faults.stories import START, Event, definitions, records_of, systems
from tracer.record import CONTROL, EVENTS, Record

Name = tuple[str, str, str]
"""Key type, transaction, flow."""


class Said(NamedTuple):
    """What a verdict says, without how far it was heard and how it is numbered."""

    status: str
    drops: tuple[object, ...]
    findings: tuple[object, ...]
    started_at: int
    last_at: int
    ended_at: int
    excluded: bool
    value: float | None


class Crash(BaseException):
    """The process is gone."""


class Crashing:
    """A checkpoint that crashes at the ``after``-th call, of those named ``step`` if it is given."""

    def __init__(self, after: int, step: str = ""):
        self.after, self.step, self.calls = after, step, 0
        self.seen: list[str] = []

    def __call__(self, step: str) -> None:
        self.seen.append(step)
        if not self.step or step == self.step:
            self.calls += 1
            if self.calls == self.after:
                raise Crash(step)


class Site:
    """``time``: µs, the log's append clock and the workers' pacing; moved by hand."""

    def __init__(self, partitions: int = 1, store: Store | None = None, flows: Flows | None = None):
        shipped, self.landscape = definitions()
        self.flows = flows or shipped
        self.time = START - DAY
        self.log = MemoryLog(partitions, self.clock)
        self.partitions = partitions
        self.store: Store = store or MemoryStore()
        self.sink = self.log.producer()
        self.systems = systems()
        self._hello: set[tuple[str, int]] = set()

    def clock(self) -> int:
        return self.time

    def worker(
        self, name: str = "w", *, checkpoint: Callable[[str], None] = lambda _: None, flows: Flows | None = None, **policy: Any
    ) -> Worker:  # fmt: skip
        return Worker(
            self.log, self.store, flows=flows or self.flows, landscape=self.landscape, name=name, pacing=self.clock,
            checkpoint=checkpoint, policy=Policy(**{"poll_ms": 0, "patience": 0.0, **policy}),
        )  # fmt: skip

    def evict(self, worker: Worker) -> None:
        """The group gives a member up, as it does when heartbeats stop; it hears of it when it asks."""
        consumer = worker._consumer
        assert isinstance(consumer, MemoryConsumer)
        self.log.evict(consumer)

    def evict_all(self) -> None:
        for group in self.log.groups.values():
            for member in list(group.members):
                group.remove(member)

    def send(self, events: Sequence[Event], **how: Any) -> None:
        self.produce(records_of(events, **{"partitions": self.partitions, **how}))

    def produce(self, records: Sequence[Record]) -> None:
        self.sink.produce(records)

    def write(self, *records: Control) -> None:
        self.sink.produce([Record(CONTROL, record.key(), encode_control(record), (), 0) for record in records])

    def ends(self) -> dict[int, int]:
        return {number: part.end for number, part in enumerate(self.log.broker.topics[EVENTS])}

    def hear(self, until: int, *, but: Sequence[str] = (), epoch: int = 1, every: int = 40 * DAY) -> None:
        """Every system but those named has one source that vouches for all until then, which is now, less a grace."""
        self.time = max(self.time, until + self.landscape.grace + SECOND)
        for system in self.systems:
            if system in but:
                continue
            source = {"source": f"{system}-1", "epoch": epoch, "systems": (system,)}
            if (system, epoch) not in self._hello:
                self._hello.add((system, epoch))
                begin = START - 2 * DAY
                self.write(Hello.model_validate({**source, "boot": self.time, "since": begin, "every": every}))
            self.write(Marker.model_validate({**source, "through": until, "acked": self.ends()}))

    def leave(self, system: str, through: int, state: str, epoch: int = 1) -> None:
        said = {"source": f"{system}-1", "epoch": epoch, "systems": (system,), "through": through, "acked": self.ends()}
        self.write(Goodbye.model_validate({**said, "state": state}))

    # What is said

    def verdicts(self) -> dict[Name, Said]:
        return verdicts_of(self.store)

    def flips(self) -> dict[Name, list[tuple[object, ...]]]:
        """What was said when, without the time and the numbering by fences."""
        found: dict[Name, list[tuple[object, ...]]] = {}
        for row in self.store.verdicts(VerdictQuery(excluded=None)):
            for flip in self.store.flips(row[:2]):
                if flip.flow == row.flow:
                    told = (flip.number, flip.before, flip.status, flip.drop_kind, flip.drop_to, flip.findings)
                    found.setdefault((*row[:2], row.flow), []).append(told)
        return found

    def judged(self, events: Sequence[Event], worker: Worker) -> dict[Name, Said]:
        """What a pure judge says of these events, by what the worker's fold of control knows."""
        return judged(events, worker)


def verdicts_of(store: Store) -> dict[Name, Said]:
    return {(row.key_type, row.transaction_id, row.flow): _said(row) for row in _rows(store)}


def _rows(store: Store) -> list[VerdictRow]:
    return list(store.verdicts(VerdictQuery(excluded=None)))


def _said(row: VerdictRow) -> Said:
    told = VERDICT.validate_json(row.body) if row.body else None
    return Said(
        row.status, told.drops if told else (), told.findings if told else (), row.started_at, row.last_at, row.ended_at,
        row.excluded, row.value,
    )  # fmt: skip


def judged(events: Sequence[Event], worker: Worker) -> dict[Name, Said]:
    """The set of events, filed by every transaction that they name, judged under every flow at once."""
    flows, landscape = worker.flows, worker.fold.landscape
    knowledge = knowledge_of(worker.fold, flows)
    filed: dict[tuple[str, str], list[Observed]] = {}
    for event in events:
        (observed,), _, _ = decode(json.dumps(event).encode(), "app", 1)
        for kind in landscape.transaction_types():
            if kind in observed.keys:
                filed.setdefault((kind, landscape.normalise(kind, observed.keys[kind])), []).append(observed)
    found: dict[Name, Said] = {}
    for (kind, identity), own in filed.items():
        for name in flows.by_key.get(kind, ()):
            instances = {step.per for flow in flows.versions[name] for step in flow.steps.values() if step.per}
            state = State.of(kind, identity, own, tuple(sorted(instances)))
            flow = flows.in_force(name, state.earliest, ended=False)
            if meets(state, flow, knowledge):
                found[kind, identity, name] = _of(judge(state, flow, knowledge))
    return found


def _of(verdict: Verdict) -> Said:
    return Said(
        verdict.status.value, verdict.drops, verdict.findings, verdict.started_at, verdict.last_at, verdict.ended_at or 0,
        verdict.excluded, verdict.value,
    )  # fmt: skip


__all__ = ["DAY", "HOUR", "Crash", "Crashing", "Name", "Said", "Site", "judged", "verdicts_of"]
