"""The consuming side of a log in memory. Deterministic: nothing happens but within a call, and nothing ever waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pipeline.errors import Invalid
from pipeline.log.contract import GROUP, Assigned, Change, Fenced, LogRecord, PositionLost, Revoked, fewer, taken_away
from tracer.record import CONTROL, EVENTS
from tracer.sinks.memory import MemoryBroker, MemoryPartition, MemorySink, wall_clock


class MemoryGroup:
    """A consumer group: who should have what, who has what, and what was committed.

    Partitions move as in Kafka's cooperative protocol: on a member's next poll it gives up what it should no longer
    have, and only then can another take it. An evicted member gives up nothing: it is told when it asks.
    """

    def __init__(self, partitions: int):
        self.generation = 0
        self.members: list[MemoryConsumer] = []
        self.targets: dict[MemoryConsumer, set[int]] = {}
        self.owners: list[MemoryConsumer | None] = [None] * partitions
        self.commits: dict[int, int] = {}

    def join(self, member: MemoryConsumer) -> None:
        self.members.append(member)
        self._rebalance()

    def remove(self, member: MemoryConsumer) -> None:
        """Take a member out at once; what it had is free."""
        if member in self.members:
            self.members.remove(member)
            self.owners = [None if owner is member else owner for owner in self.owners]
            self._rebalance()

    def extend(self, partitions: int) -> None:
        """Share so many partitions from now on."""
        self.owners += [None] * (partitions - len(self.owners))
        if self.members:
            self._rebalance()

    def _rebalance(self) -> None:
        """Share evenly; a member keeps what it has up to its share, the rest goes in order of partition and joining."""
        self.generation += 1
        count = len(self.owners)
        shares = {m: count // len(self.members) + (i < count % len(self.members)) for i, m in enumerate(self.members)}
        targets: dict[MemoryConsumer, set[int]] = {member: set() for member in self.members}
        free = []
        for partition in range(count):
            holder = next((m for m, had in self.targets.items() if partition in had), None)
            if holder is not None and holder in shares and len(targets[holder]) < shares[holder]:
                targets[holder].add(partition)
            else:
                free.append(partition)
        for member in self.members:
            while len(targets[member]) < shares[member]:
                targets[member].add(free.pop(0))
        self.targets = targets


class MemoryConsumer:
    """A member of a `MemoryGroup`; it joins with its first poll."""

    def __init__(self, broker: MemoryBroker, group: MemoryGroup, from_beginning: bool):
        self._broker = broker
        self._group = group
        self._from_beginning = from_beginning
        self._positions: dict[int, int] = {}
        self._paused: set[int] = set()
        self._untold: set[int] = set()
        self._changes: list[Change] = []
        self._turn = 0

    @property
    def _partitions(self) -> list[MemoryPartition]:
        return self._broker.topics[EVENTS]

    def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:  # noqa: ARG002
        self._broker.require()
        self._follow_group()
        out: dict[int, list[LogRecord]] = {}
        owned = sorted(self._positions)
        self._turn += 1
        for i in range(len(owned)):
            partition = owned[(i + self._turn) % len(owned)]
            if partition in self._paused or partition in self._untold or max_records <= 0:
                continue
            records = self._take(partition, max_records)
            if records:
                out[partition] = records
                max_records -= len(records)
        return out

    def _take(self, partition: int, max_records: int) -> list[LogRecord]:
        records = read_rows(EVENTS, partition, self._partitions[partition], self._positions[partition], max_records)
        self._positions[partition] += len(records)
        return records

    def _follow_group(self) -> None:
        group = self._group
        if self not in group.members:
            self._give_up(set(self._positions))
            group.join(self)
        target = group.targets[self]
        leaving = set(self._positions) - target
        for partition in leaving:
            group.owners[partition] = None
        self._give_up(leaving)
        arriving = {p for p in target - set(self._positions) if group.owners[p] is None}
        for partition in arriving:
            group.owners[partition] = self
            self._positions[partition] = self._start_of(partition)
        if arriving:
            self._untold |= arriving
            self._changes.append(Assigned(frozenset(arriving)))

    def _give_up(self, partitions: set[int]) -> None:
        for partition in partitions:
            del self._positions[partition]
        self._paused -= partitions
        self._untold -= partitions
        if partitions:
            self._changes.append(Revoked(frozenset(partitions)))

    def _start_of(self, partition: int) -> int:
        there = self._partitions[partition]
        return self._group.commits.get(partition, there.first if self._from_beginning else there.end)

    def assignment(self) -> frozenset[int]:
        return frozenset(self._positions)

    def take_changes(self) -> list[Change]:
        changes, self._changes = self._changes, []
        self._untold.clear()
        return changes

    def still_owns(self, partition: int) -> bool:
        self._broker.require()
        ours = partition in self._positions and self._group.owners[partition] is self
        return ours and not taken_away(self._changes, (partition,))

    def commit(self, positions: Mapping[int, int]) -> None:
        self._broker.require()
        lost = [partition for partition in positions if self._group.owners[partition] is not self]
        if lost or taken_away(self._changes, positions):
            raise Fenced(f"partitions {lost or list(positions)} belonged to another member meanwhile")
        self._group.commits.update(positions)

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        self._broker.require()
        return {partition: self._group.commits.get(partition) for partition in partitions}

    def seek(self, partition: int, offset: int) -> None:
        self.position(partition)
        self._positions[partition] = offset

    def position(self, partition: int) -> int:
        if partition not in self._positions:
            raise ValueError(f"partition {partition} is not assigned")
        return self._positions[partition]

    def pause(self, partitions: Iterable[int]) -> None:
        self._paused |= set(partitions) & set(self._positions)

    def resume(self, partitions: Iterable[int]) -> None:
        self._paused -= set(partitions)

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        self._broker.require()
        return {partition: self._partitions[partition].end for partition in partitions}

    def beginning_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        self._broker.require()
        return {partition: self._partitions[partition].first for partition in partitions}

    def close(self) -> None:
        self._group.remove(self)
        self._positions.clear()


class MemoryControlReader:
    """Reads control in memory."""

    def __init__(self, broker: MemoryBroker):
        self._broker = broker
        self._position = 0

    def read(self, max_records: int, timeout_ms: int = 0) -> list[LogRecord]:  # noqa: ARG002
        self._broker.require()
        records = read_rows(CONTROL, 0, self._broker.topics[CONTROL][0], self._position, max_records)
        self._position += len(records)
        return records

    def position(self) -> int:
        return self._position

    def end_offset(self) -> int:
        self._broker.require()
        return self._broker.topics[CONTROL][0].end

    def close(self) -> None:
        pass


class MemoryLog:
    """A log in memory from both sides; its parts share one `MemoryBroker`."""

    name = "the log in memory"

    def __init__(self, partitions: int = 4, clock: Callable[[], int] = wall_clock):
        self.broker = MemoryBroker(partitions, clock)
        self.groups: dict[str, MemoryGroup] = {}

    def partitions(self) -> int:
        self.broker.require()
        return len(self.broker.topics[EVENTS])

    def identity(self) -> str:
        return ""

    def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> MemoryConsumer:
        known = self.groups.setdefault(group, MemoryGroup(len(self.broker.topics[EVENTS])))
        return MemoryConsumer(self.broker, known, from_beginning)

    def evict(self, consumer: MemoryConsumer, group: str = GROUP) -> None:
        """Give a member up, as a broker does whose heartbeats stopped; the member hears of it when it asks."""
        self.groups[group].remove(consumer)

    def control_reader(self) -> MemoryControlReader:
        return MemoryControlReader(self.broker)

    def producer(self) -> MemorySink:
        return MemorySink(self.broker)

    def create(self, partitions: int | None = None) -> None:
        have = self.partitions()
        if partitions is not None and partitions != have:
            raise Invalid(f"the log has {have} partitions, not {partitions}")

    def extend(self, partitions: int) -> None:
        have = self.partitions()
        if partitions < have:
            raise fewer(self.name, have, partitions)
        self.broker.topics[EVENTS].extend(MemoryPartition() for _ in range(partitions - have))
        for group in self.groups.values():
            group.extend(partitions)

    def members(self, group: str = GROUP) -> list[str]:
        self.broker.require()
        known = self.groups.get(group)
        return [f"member {number}" for number in range(len(known.members))] if known else []

    def check(self) -> list[str]:
        return ["the log in memory is switched off"] if self.broker.down else []

    def trim(self, positions: Mapping[int, int], *, wipe: bool = False) -> None:  # noqa: ARG002
        self.broker.require()
        for partition, offset in positions.items():
            self.broker.topics[EVENTS][partition].trim(offset)

    def retention(self) -> int | None:
        return 0

    def close(self) -> None:
        pass


def read_rows(topic: str, partition: int, there: MemoryPartition, start: int, count: int) -> list[LogRecord]:
    """Up to ``count`` records from offset ``start`` on; raises PositionLost where that is not a place in the log."""
    if not there.first <= start <= there.end:
        raise PositionLost(f"{topic}/{partition} has offsets {there.first} to {there.end}, and {start} comes next")
    rows = there.rows[start - there.first : start - there.first + count]
    return [
        LogRecord(topic, partition, offset, row.append_time, row.key, row.value, row.headers)
        for offset, row in enumerate(rows, start)
    ]
