"""A stage for schedules: one worker for each partition, so that any of them lags as long as one likes; sources that vouch for what
they have sent and nothing else; and after every move a look at what has been said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from pipeline.core.hearing import Hearing
from pipeline.store.contract import Alias, LinkRow
from pipeline.worker import Worker
from schemas.control import Hello, Marker
from schemas.flow import Flows
from schemas.flow_file import parse_flow
from schemas.joined import Decision, encode_lines
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.faults.site import Site
from tests.faults.stories import START, Event, records_of
from tracer.record import EVENTS, KIND, Record, partition_of

DUE = START + 15 * MINUTE
LATER = START + HOUR
STEADY = 40 * DAY
SYSTEMS = ("shop", "payments", "warehouse")
PLACED, LABELLED, PAID = ("shop", "placed"), ("warehouse", "labelled"), ("payments", "paid")

_STEPS = {"placed": "system: shop, start: true", "labelled": "system: warehouse, after: placed, optional: true, again: 5",
          "paid": "system: payments, after: placed, within: 15m, end: completed"}  # fmt: skip


def flows_of(**by: str) -> Flows:
    """A flow whose payment may come under other names than the order's. ``by``: what a step's events carry; none: not declared."""
    steps = "".join(
        f"\n  {name}: {{{spec}{f', by: [{by[name]}]' if name in by else ''}}}" for name, spec in _STEPS.items()
    )
    keys = "payment: alias, tracking: alias, label: alias, parcel: {alias: shared}, batch: {alias: shared}, trace: {alias: weak}"
    return Flows([
        parse_flow(f"flow: joined\nversion: 1\nkey: order\nkeys: {{{keys}}}\nlost_after: 5d\nsteps:{steps}\n")
    ])  # fmt: skip


def value_in(kind: str, partition: int, partitions: int, skip: int = 0) -> str:
    """A value of a key type that lives in a partition: the ``skip``-th."""
    found = (f"{kind[0].upper()}{n}" for n in range(10_000))
    there = [v for v, _ in zip(_homed(found, kind, partition, partitions), range(skip + 1), strict=False)]
    return there[skip]


def _homed(values: Iterable[str], kind: str, partition: int, partitions: int) -> Iterable[str]:
    return (value for value in values if crc32(f"{kind}:{value}".encode()) % partitions == partition)


class Stage:
    """``never``: statuses that must not be said at any moment of any order."""

    def __init__(self, flows: Flows, partitions: int = 3, never: Sequence[str] = ("stalled", "lost", "failed")):
        self.site = Site(partitions, flows=flows)
        self.never = frozenset(never)
        self.site.time = START - 3 * DAY
        self._sent = 0
        self._acked: dict[str, dict[int, int]] = {}
        self._epochs: dict[str, int] = {}
        self.workers: dict[int, Worker] = {}
        found = [self.site.worker(f"w{n}", max_records=3, tick_every=SECOND) for n in range(partitions)]
        while not all(len(worker.owned) == 1 for worker in found):
            for worker in found:
                worker.step()
        self.workers = {next(iter(worker.owned)): worker for worker in found}

    # Sources

    def at(self, time: int) -> None:
        """The log's clock moves on to ``time``."""
        self.site.time = max(self.site.time, time)

    def hello(self, system: str, *, every: int = STEADY, since: int = START - 3 * DAY) -> None:
        epoch = self._epochs[system] = self._epochs.get(system, 0) + 1
        self._acked[system] = {}
        boot = self.site.time
        self.site.write(
            Hello(source=f"{system}-1", epoch=epoch, systems=(system,), boot=boot, since=since, every=every)
        )

    def all_speak(self) -> None:
        """Every system is heard, up to just before anything happens."""
        for system in SYSTEMS:
            self.hello(system)
        self.at(START)
        for system in SYSTEMS:
            self.vouch(system, START - MINUTE)

    def tell(
        self, what: tuple[str, str], keys: dict[str, str], *, after: int = 0, at: int | None = None, id: str = ""
    ) -> Event:
        """An event is sent and acknowledged; ``after``: µs since ``START``; ``at``: a wrong partition."""
        self._sent += 1
        event: Event = {
            "id": id or f"e{self._sent}", "system": what[0], "step": what[1], "time": START + after, "keys": keys,
        }  # fmt: skip
        (record,) = records_of([event], partitions=self.site.partitions, at=at)
        (ack,) = self.site.sink.produce([record])
        self._acked.setdefault(what[0], {})[ack.partition] = ack.offset + 1
        return event

    def vouch(self, system: str, through: int, acked: dict[int, int] | None = None) -> None:
        """All that the system knows up to then was sent, and acknowledged as it was."""
        self.at(through + 11 * SECOND)
        said = self._acked.get(system, {}) if acked is None else acked
        self.site.write(
            Marker(
                source=f"{system}-1", epoch=self._epochs[system], systems=(system,), through=through, acked=dict(said)
            )
        )

    # Workers

    def work(self, *partitions: int) -> None:
        """The workers of these partitions turn once each, in this order; all others lag."""
        for partition in partitions:
            self.workers[partition].step()
            self.look()

    def finish(self) -> None:
        """All work until nothing moves any more."""
        for _ in range(30):
            self.site.time += SECOND
            self.work(*self.workers)

    def look(self) -> None:
        """What is said now, and all that was ever said."""
        for name, one in self.site.verdicts().items():
            assert one.status not in self.never, (name, one)
        for name, flips in self.site.flips().items():
            told = [status for _, _, status, *_ in flips]
            assert self.never.isdisjoint(told), (name, told)

    def hearing(self, system: str) -> Hearing:
        """As whoever read furthest knows it."""
        furthest = max(self.workers.values(), key=lambda worker: worker.fold.position)
        return furthest.fold.hearing(system)

    def said(self) -> dict[str, str]:
        """Order to status."""
        return {name[1]: one.status for name, one in self.site.verdicts().items()}

    def joined(self, order: str) -> set[str]:
        """Ids of the events that are stored with an order."""
        return {event.id for event in self.site.store.load_events([("order", order)])["order", order]}

    def kept(self, alias: Alias) -> list[str]:
        return sorted(row.event.id for row in self.site.store.load_kept([alias]).get(alias, ()))

    def links(self, alias: Alias) -> list[LinkRow]:
        return list(self.site.store.load_links([alias]).get(alias, ()))


def decided(alias: str, order: str, word: str, partitions: int) -> Record:
    """A person's word, as a record."""
    body = encode_lines([Decision(alias, f"order:{order}", word)])  # type: ignore[arg-type]
    return Record(EVENTS, alias.encode(), body, ((KIND, b"decision"),), partition_of(alias.encode(), partitions))
