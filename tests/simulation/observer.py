"""Observer: sees all that reaches the log and the store, and what is broken at once; the rest is looked into at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pipeline.store.contract import VerdictRow
from schemas.control import Own, Progress, decode_control
from schemas.joined import Copy, Decision, Lines, parts
from schemas.verdict import Status
from schemas.wire import Observed, decode, decompress
from tests.simulation.process import Process
from tracer.record import CONTROL, ENCODING, EPOCH, KIND, SOURCE, Ack, Record, partition_of
from tracer.sinks.memory import MemoryBroker

if TYPE_CHECKING:
    from tests.simulation.world import World

_COPIES, _DECISIONS = Lines(Copy), Lines(Decision)
PROVEN = (Status.FAILED.value, Status.LOST.value, Status.STALLED.value)
TRANSACTIONS = ("order", "cart")


class Read(NamedTuple):
    """A record of events as anybody can read it. ``bad``: places of what makes no event."""

    record: Record
    ack: Ack
    events: list[Observed]
    bad: list[int]
    by_source: bool


class Word(NamedTuple):
    """What a person said of an alias, and when."""

    alias: str
    to: tuple[str, str]
    decision: str
    at: int


class Alarm(NamedTuple):
    """A verdict that says something is missing, and the events that its worker had for the transaction's."""

    row: VerdictRow
    events: frozenset[str]


class WatchedBroker(MemoryBroker):
    """Tells of every record that it took."""

    def __init__(self, observer: Observer, partitions: int, clock: Callable[[], int]):
        super().__init__(partitions, clock)
        self.observer = observer

    def append(self, record: Record) -> Ack:
        ack = super().append(record)
        self.observer.appended(record, ack)
        return ack


class Observer:
    """``logged``: all records of events, by partition and offset. ``claims``: verdicts that say something is missing, as
    anybody could read them at the time."""

    def __init__(self, world: World):
        self.world = world
        self.logged: list[list[Read]] = [[] for _ in range(world.partitions)]
        self.ids: list[set[str]] = [set() for _ in range(world.partitions)]
        self.control: list[tuple[int, Record]] = []
        self.fences: dict[int, int] = {}
        self.words: list[Word] = []
        self.claims: dict[tuple[object, ...], Alarm] = {}
        self.versions: dict[tuple[str, ...], int] = {}
        self._secured = [0] * world.partitions
        self.produced_by_workers = 0

    # The log -------------------------------------------------------------------------------------------------------

    def appended(self, record: Record, ack: Ack) -> None:
        if record.topic == CONTROL:
            self.control.append((ack.append_time, record))
            control = decode_control(record.value) if record.value.startswith(b'{"kind":"own"') else None
            if isinstance(control, Own) and self.fences.get(control.partition, -1) == control.after:
                self.fences[control.partition] = ack.offset
            return
        headers = dict(record.headers)
        events: list[Observed] = []
        bad: list[int] = []
        if headers.get(KIND) == b"event":
            body = decompress(record.value, headers.get(ENCODING))
            events, _, faults = decode(body, headers.get(SOURCE, b"").decode(), int(headers.get(EPOCH, b"0")))
            bad = [fault.place for fault in faults]
        elif headers.get(KIND) == b"copy":
            copies = _COPIES.read(decompress(record.value, headers.get(ENCODING)))
            self.ids[ack.partition].update(msgspec.json.decode(bytes(copy.event))["id"] for copy in copies)
        elif headers.get(KIND) == b"decision":
            for said in _DECISIONS.read(record.value):
                self.words.append(Word(said.alias, parts(said.to), said.decision, ack.append_time))
        for event in events:
            event.recorded_at = ack.append_time
        by_source = SOURCE in headers
        self.produced_by_workers += not by_source
        self.logged[ack.partition].append(Read(record, ack, events, bad, by_source))
        self.ids[ack.partition].update(event.id for event in events)

    def produced(self, process: Process, record: Record, ack: Ack) -> None:
        """By a worker. What it announces as done has to be done."""
        if record.topic != CONTROL or not record.value.startswith(b'{"kind":"progress"'):
            return
        progress = decode_control(record.value)
        assert isinstance(progress, Progress)
        if self.fences.get(progress.partition) == progress.fence:
            self.secure(progress.partition, progress.position, f"{process.name} announced")

    def committed(self, process: Process, positions: Mapping[int, int]) -> None:
        for partition, position in positions.items():
            self.secure(partition, position, f"{process.name} committed")

    def secure(self, partition: int, position: int, who: str) -> None:
        """I4: all below ``position`` is stored, or in the log once more for whom it concerns."""
        world = self.world
        for read in self.logged[partition][self._secured[partition] : position]:
            for event in read.events:
                for kind in TRANSACTIONS:
                    if kind not in event.keys:
                        continue
                    name = (kind, world.landscape.normalise(kind, event.keys[kind]))
                    home = partition_of(f"{kind}:{name[1]}".encode(), world.partitions)
                    if home != partition and event.id not in self.ids[home]:
                        world.broken(
                            f"I4: {who} {position} of partition {partition}; {event.id} was not sent to {home}"
                        )
                    if home == partition and not self.stored(name, event.id):
                        world.broken(
                            f"I4: {who} {position} of partition {partition}; {event.id} of {name} is not stored"
                        )
            if read.bad and not self.quarantined(read):
                world.broken(
                    f"I4: {who} {position} of partition {partition}; what is bad in {read.ack.offset} is not kept"
                )
        self._secured[partition] = max(position, self._secured[partition])

    def stored(self, name: tuple[str, str], identity: str) -> bool:
        marked = f'"id":"{identity}"'.encode()
        spaced = f'"id": "{identity}"'.encode()
        return any(marked in row[0] or spaced in row[0] for row in self.world.store._events.get(name, ()))  # type: ignore[operator]

    def quarantined(self, read: Read) -> bool:
        ids = [f"{read.record.topic}:{read.ack.partition}:{read.ack.offset}:{place}" for place in read.bad]
        return all(one in self.world.store._quarantine and self.world.store._quarantine[one].reason for one in ids)

    # The store -----------------------------------------------------------------------------------------------------

    def written(self, process: Process, name: str, rows: Sequence[Any]) -> None:
        if name != "write_verdicts":
            return
        for row in rows:
            winner = self.world.store._verdicts[row[:2]][row.flow]
            if winner.version < self.versions.get(row[:3], 0):
                self.world.broken(f"I4: the version of {row[:3]} went back")
            self.versions[row[:3]] = winner.version
            if winner is row and row.status in PROVEN and not row.excluded:
                key = (*row[:3], row.status, row.drop_kind, row.drop_to, row.drop_due)
                if key not in self.claims:
                    self.claims[key] = Alarm(row, _evidence(process, row[:2]))


def _evidence(process: Process, name: tuple[str, str]) -> frozenset[str]:
    worker = process.worker
    entry = None if worker is None else worker._ledger._entries.get(name)
    return frozenset() if entry is None else frozenset(entry.state.events)
