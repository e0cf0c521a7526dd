"""Emitters, a log, a worker and a store, with everything between that loses, doubles or damages; and what is missing by rights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.answers.audit import Audit, audit
from pipeline.errors import Unavailable
from pipeline.store.contract import Store
from schemas import wire
from schemas.control import Goodbye, Marker, decode_control
from schemas.times import SECOND
from tests.faults.site import Crash, Crashing, Site
from tracer.emitter import Emitter, Limits
from tracer.record import CONTROL, EPOCH, EVENTS, SEQ, SOURCE, Ack, Record, partition_of

EpochKey = tuple[str, int]


class Wire:
    """Between the emitters and the log. ``fate``: what becomes of the next records for events, the last of them for good.

    ``there``: the numbers that the log has got in one form or another, by source and epoch.
    """

    def __init__(self, site: Site):
        self.append: Callable[[Record], Ack] = site.log.broker.append
        self.site = site
        self.fate = "kept"
        self.there: dict[EpochKey, set[int]] = {}
        self.records: list[Record] = []
        site.log.broker.append = self._append  # type: ignore[method-assign]

    def _append(self, record: Record) -> Ack:
        headers = dict(record.headers)
        if record.topic != EVENTS or SEQ not in headers:
            return self.append(record)
        fate = self.fate
        if fate == "refused":
            raise ValueError("too large for this broker")
        if fate == "lost":
            partition = record.partition if record.partition is not None else partition_of(record.key, 1)
            end = self.site.log.broker.topics[EVENTS][partition].end
            return Ack(EVENTS, partition, end - 1, self.site.time)
        key = (headers[SOURCE].decode(), int(headers[EPOCH]))
        self.there.setdefault(key, set()).update(wire.unpack_numbers(headers[SEQ]))
        if fate == "damaged":
            record = record._replace(value=record.value[: len(record.value) // 2] + b"\xff")
        if fate == "doubled":
            self.append(record)
        self.records.append(record)
        return self.append(record)


class World:
    """``n``: events emitted."""

    def __init__(self, partitions: int = 3, store: Store | None = None):
        self.site = Site(partitions, store)
        self.wire = Wire(self.site)
        self.emitters: list[Emitter] = []
        self.n = 0
        self.worker = self.site.worker()

    def source(self, name: str = "shop-1", **options: Any) -> Emitter:
        limits = options.pop("limits", Limits(linger=0, batch_events=5, queue_events=20))
        emitter = Emitter(
            self.site.log.producer(), name, self.site.time, ["shop"], self.site.clock, every=SECOND, limits=limits,
            transaction_types=("order", "cart"), **options,
        )  # fmt: skip
        self.emitters.append(emitter)
        self.pass_time()
        return emitter

    def pass_time(self, micros: int = SECOND) -> None:
        self.site.time += micros
        for emitter in self.emitters:
            emitter.tick()

    def emit(self, emitter: Emitter, keys: dict[str, str] | None = None, **more: Any) -> None:
        self.n += 1
        event = {
            "id": f"e{self.n}",
            "system": "shop",
            "step": "placed",
            "time": self.site.time,
            "keys": keys or {"order": str(self.n)},
        }
        emitter.emit({**event, **more})

    def send(self, emitter: Emitter, fate: str) -> None:
        """All that waits, in this way."""
        self.wire.fate = fate
        try:
            emitter.flush()
        except Unavailable:
            pass
        finally:
            self.wire.fate = "kept"

    def crash(self, after: int) -> None:
        """The worker dies at its ``after``-th step, if it gets there; another goes on."""
        self.site.evict(self.worker)
        worker = self.site.worker(checkpoint=Crashing(after))
        try:
            worker.drain()
        except Crash:
            self.site.evict_all()
        else:
            self.site.evict(worker)
        self.worker = self.site.worker()

    def settle(self) -> Audit:
        self.worker.drain()
        return audit(self.site.store)

    def told(self) -> dict[EpochKey, Marker | Goodbye]:
        """The last that each epoch said."""
        said = [decode_control(row.value) for row in self.site.log.broker.topics[CONTROL][0].rows]
        return {(one.source, one.epoch): one for one in said if isinstance(one, Marker | Goodbye)}

    def missing(self) -> dict[EpochKey, set[int]]:
        """What is missing by rights: accounted for in the last marker, neither shed nor on the log."""
        found = {}
        for key, said in self.told().items():
            shed = numbers(said.shed_ranges)
            found[key] = set(range(1, (said.accounted or 0) + 1)) - shed - self.wire.there.get(key, set())
        return found


def numbers(ranges: Iterable[tuple[int, int]]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}
