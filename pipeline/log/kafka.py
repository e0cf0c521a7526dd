"""The consuming side of Kafka: a member of the group, and a reader of control outside of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from pipeline.errors import Invalid, Unavailable
from pipeline.log.contract import GROUP, Change, Fenced, LogRecord, PositionLost, made_anew, taken_away
from pipeline.log.kafka_admin import KafkaTopics
from pipeline.log.kafka_group import Notes, keep_finished_joins
from pipeline.log.kafka_records import FastRecords
from tracer.kafka_bounds import Allowance
from tracer.record import CONTROL, EVENTS
from tracer.sinks.kafka import KafkaSink
from tracer.sinks.kafka_config import KafkaAddress, read_address, unavailable
from tracer.sinks.kafka_topics import WrongTopics, create_none

REQUEST_TIMEOUT_MS = 5_000
REBALANCE_PATIENCE_MS = 2_000
"""How long a commit waits for the other members to join as well; then the worker should poll, and try again."""
CONSUMER = {
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "bootstrap_timeout_ms": REQUEST_TIMEOUT_MS,
    "request_timeout_ms": REQUEST_TIMEOUT_MS,
    "fetch_max_wait_ms": 100,
    "fetch_max_bytes": 32 * 1024 * 1024,
    "max_partition_fetch_bytes": 4 * 1024 * 1024,
    "reconnect_backoff_max_ms": 1_000,
    "metadata_max_age_ms": 5_000,  # how soon added partitions, and a topic that was made anew, are noticed
    "metrics_enabled": False,
}
MAX_POLL_INTERVAL_MS = 15 * 60_000
"""Between two polls lies a batch, of up to ten statements to the store, which may be slow: kafka-python's five minutes would have
a worker leave the group with ten of 30 s in hand, and whoever came next. That it lives, heartbeats say."""
FENCES = (
    kafka_errors.CommitFailedError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.FencedInstanceIdError,
)
GONE = (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError)

T = TypeVar("T")


def _connect(address: KafkaAddress, topic: str, **options: Any) -> Any:
    """A consumer whose fetcher reads batches with `FastRecords`."""
    try:
        client: Any = KafkaConsumer(**address.client, **CONSUMER, **options)  # type: ignore[no-untyped-call]
    except kafka_errors.KafkaError as error:
        raise unavailable(address.name, error) from error
    create_none(client._cluster)
    client._fetcher.PartitionRecords = type("Records", (FastRecords,), {"topic": topic, "allowance": Allowance()})
    return client


def _asking(name: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except kafka_errors.KafkaError as error:
        raise unavailable(name, error) from error


class KafkaEventConsumer:
    """A member of the group; it joins with its first poll. Partitions move one by one, the others are read on."""

    def __init__(self, address: KafkaAddress, group: str, from_beginning: bool):
        self._name = address.name
        self._topic = address.prefix + EVENTS
        self._from_beginning = from_beginning
        assignor = CooperativeStickyAssignor()  # type: ignore[no-untyped-call]
        self._client = _connect(
            address,
            EVENTS,
            group_id=address.prefix + group,
            partition_assignment_strategy=[assignor],
            session_timeout_ms=address.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, address.session_timeout_ms // 3),
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        )
        self._notes = Notes(self._client, assignor)
        keep_finished_joins(self._client._coordinator)
        self._topic_id: str | None = None
        self._recreated = False
        self._unasked: set[TopicPartition] = set()  # assigned; the topic of their commits was not asked for yet
        self._client.subscribe([self._topic], listener=self._notes)
        known = self._client._cluster.request_update()  # who leads a join without knowing the topic assigns nothing
        _asking(self._name, lambda: self._client._net.run(self._client._manager.wait_for, known, REQUEST_TIMEOUT_MS))

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def poll(self, max_records: int, timeout_ms: int) -> dict[int, list[LogRecord]]:
        before = len(self._notes.changes)
        self._client._fetcher.PartitionRecords.allowance.begin()
        try:
            records = self._client.poll(timeout_ms=timeout_ms, max_records=max_records)
        except kafka_errors.NoOffsetForPartitionError as error:
            self._start_new(error)
            return {}
        except GONE as error:
            raise self._trimmed(error) from error
        except kafka_errors.CorruptRecordError:
            raise
        except kafka_errors.KafkaError as error:
            raise unavailable(self._name, error) from error
        if len(self._notes.changes) > before:
            self._unasked |= self._notes.untold
        try:
            self._check_topic()
        except Unavailable:
            self._put_back(records)
            raise
        return {tp.partition: batch for tp, batch in records.items()}

    def _put_back(self, records: Mapping[TopicPartition, list[LogRecord]]) -> None:
        """What was taken and is not handed out is polled again; but for partitions that went away meanwhile."""
        for tp, batch in records.items():
            if tp in self._client.assignment() and not taken_away(self._notes.changes, {tp.partition}):
                self._client.seek(tp, batch[0].offset)

    def _start_new(self, error: kafka_errors.NoOffsetForPartitionError) -> None:
        """Partitions for which the group never committed."""
        (partitions,) = error.args
        ask = self._client.beginning_offsets if self._from_beginning else self._client.end_offsets
        starts = _asking(self._name, lambda: ask(list(partitions), timeout_ms=REQUEST_TIMEOUT_MS))
        for tp, offset in starts.items():
            self._client.seek(tp, offset)

    def _trimmed(self, error: Exception) -> PositionLost:
        """Retention was shorter than we were away, or somebody deleted records."""
        return PositionLost(
            f"{self._name}: {self._topic} no longer has the records that come next, and what they said is lost to us ({error}). "
            "To go on with what is left, reset the group's offsets with kafka-consumer-groups, while no worker runs"
        )

    def _check_topic(self) -> None:
        """A topic that was deleted and made again has other records under the same offsets; it has another id, too."""
        now = self._client._cluster.topic_id(self._topic)
        if now is None:
            return
        if self._topic_id is None:
            self._topic_id = now.hex
        self._unasked &= self._client.assignment()
        of_commits = {self._topic_of_commit(tp) for tp in self._unasked}
        self._unasked.clear()
        if self._recreated or self._topic_id != now.hex or of_commits - {"", now.hex}:
            self._recreated = True
            raise PositionLost(made_anew(self._name, self._topic))

    def _topic_of_commit(self, tp: TopicPartition) -> str:
        """The id of the topic as of the group's commit; empty where there is none."""
        there = _asking(self._name, lambda: self._client.committed(tp, metadata=True, timeout_ms=REQUEST_TIMEOUT_MS))
        return str(there.metadata) if there is not None else ""

    def assignment(self) -> frozenset[int]:
        return frozenset(tp.partition for tp in self._client.assignment())

    def take_changes(self) -> list[Change]:
        changes, self._notes.changes = self._notes.changes, []
        held, self._notes.untold = self._notes.untold, set()
        mine = self._client.assignment()
        self._client.resume(*(tp for tp in held if tp in mine))
        return changes

    def still_owns(self, partition: int) -> bool:
        """A heartbeat, now: the coordinator answers it only to a member of the present generation."""
        coordinator = self._client._coordinator
        try:
            if not self._sit_through({partition}):
                return False
            beat = coordinator._manager.call_soon(coordinator._send_heartbeat_request)
            coordinator._net.run(coordinator._manager.wait_for, beat, REQUEST_TIMEOUT_MS)
        except kafka_errors.RebalanceInProgressError:
            return True  # the group waits for us: until we rejoin nobody else is given what we have
        except FENCES:
            return False
        except kafka_errors.KafkaError as error:
            raise unavailable(self._name, error) from error
        return True

    def _sit_through(self, partitions: set[int]) -> bool:
        """See a rebalance that is under way to its end; whether all these are ours, and were since changes were taken.

        Raises:
            Unavailable: it goes on; the other members have yet to join.
        """
        coordinator = self._client._coordinator
        if coordinator.rebalance_in_progress() and not coordinator.poll(timeout_ms=REBALANCE_PATIENCE_MS):
            raise Unavailable(f"{self._name}: the group is rebalancing")
        mine = self.assignment() if coordinator.stable() else frozenset()
        return partitions <= mine and not taken_away(self._notes.changes, partitions)

    def commit(self, positions: Mapping[int, int]) -> None:
        offsets = {self._at(p): OffsetAndMetadata(offset, self._topic_id or "", -1) for p, offset in positions.items()}
        try:
            if not self._sit_through(set(positions)):
                raise Fenced(f"{self._name}: not all of partitions {sorted(positions)} are ours")
            self._client.commit(offsets, timeout_ms=REQUEST_TIMEOUT_MS)
        except kafka_errors.RebalanceInProgressError as error:
            raise Unavailable(f"{self._name}: the group is rebalancing") from error
        except FENCES as error:
            raise Fenced(f"{self._name}: {type(error).__name__}") from error
        except kafka_errors.KafkaError as error:
            raise unavailable(self._name, error) from error

    def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        wanted = [self._at(partition) for partition in partitions]
        coordinator = self._client._coordinator
        found = _asking(self._name, lambda: coordinator.fetch_committed_offsets(wanted, timeout_ms=REQUEST_TIMEOUT_MS))
        return {tp.partition: found[tp].offset if tp in found else None for tp in wanted}

    def seek(self, partition: int, offset: int) -> None:
        self._client.seek(self._at(partition), offset)

    def position(self, partition: int) -> int:
        if partition not in self.assignment():
            raise ValueError(f"partition {partition} is not assigned")
        known = self._client._subscription.assignment[self._at(partition)].position
        position = None if known is None else known.offset
        while position is None:
            try:
                position = self._client.position(self._at(partition), timeout_ms=REQUEST_TIMEOUT_MS)
            except kafka_errors.NoOffsetForPartitionError as error:
                self._start_new(error)
                continue
            except GONE as error:
                raise self._trimmed(error) from error
            except kafka_errors.KafkaError as error:
                raise unavailable(self._name, error) from error
            if position is None:
                raise Unavailable(f"{self._name}: the position of partition {partition} is not known yet")
        return int(position)

    def pause(self, partitions: Iterable[int]) -> None:
        mine = self.assignment()
        self._client.pause(*(self._at(partition) for partition in partitions if partition in mine))

    def resume(self, partitions: Iterable[int]) -> None:
        mine = self.assignment()
        wanted = {self._at(partition) for partition in partitions if partition in mine}
        self._client.resume(*(wanted - self._notes.untold))

    def end_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        return self._offsets(self._client.end_offsets, partitions)

    def beginning_offsets(self, partitions: Iterable[int]) -> dict[int, int]:
        return self._offsets(self._client.beginning_offsets, partitions)

    def _offsets(self, ask: Any, partitions: Iterable[int]) -> dict[int, int]:
        wanted = [self._at(partition) for partition in partitions]
        found = _asking(self._name, lambda: ask(wanted, timeout_ms=REQUEST_TIMEOUT_MS)) if wanted else {}
        return {tp.partition: offset for tp, offset in found.items()}

    def close(self) -> None:
        self._client.close(autocommit=False, timeout_ms=5_000)


class KafkaControlReader:
    """Reads control, which every worker reads whole."""

    def __init__(self, address: KafkaAddress):
        self._name = address.name
        self._at = TopicPartition(address.prefix + CONTROL, 0)
        self._client = _connect(address, CONTROL)
        self._client.assign([self._at])
        first = _asking(self._name, lambda: self._client.beginning_offsets([self._at], timeout_ms=REQUEST_TIMEOUT_MS))
        self._client.seek(self._at, first[self._at])
        self._topic_id = self._client._cluster.topic_id(self._at.topic)

    def _check_topic(self) -> None:
        """As for events: records of another topic continue none of what was read."""
        now = self._client._cluster.topic_id(self._at.topic)
        self._topic_id = self._topic_id or now
        if now not in (None, self._topic_id):
            raise PositionLost(made_anew(self._name, self._at.topic))

    def read(self, max_records: int, timeout_ms: int = 0) -> list[LogRecord]:
        self._client._fetcher.PartitionRecords.allowance.begin()
        try:
            records = self._client.poll(timeout_ms=timeout_ms, max_records=max_records)
        except GONE as error:
            raise PositionLost(f"{self._name}: {self._at.topic}: {error}") from error
        except kafka_errors.CorruptRecordError:
            raise
        except kafka_errors.KafkaError as error:
            raise unavailable(self._name, error) from error
        self._check_topic()
        found: list[LogRecord] = records.get(self._at, [])
        return found

    def position(self) -> int:
        # It was sought at the beginning, so the client knows it; asking as `KafkaConsumer.position` does waits for brokers.
        return int(self._client._subscription.assignment[self._at].position.offset)

    def end_offset(self) -> int:
        ends = _asking(self._name, lambda: self._client.end_offsets([self._at], timeout_ms=REQUEST_TIMEOUT_MS))
        self._check_topic()
        return int(ends[self._at])

    def close(self) -> None:
        self._client.close(autocommit=False, timeout_ms=5_000)


class KafkaLog:
    """Kafka from both sides. See `tracer.sinks.kafka_config` for the address."""

    def __init__(self, url: str, env: Mapping[str, str] | None = None):
        self._url = url
        self._env = env
        self._address = read_address(url, env)
        self._topics = KafkaTopics(self._address)
        self.name = self._address.name

    def partitions(self) -> int:
        return self._topics.partitions()

    def identity(self) -> str:
        return self._topics.identity()

    def consumer(self, group: str = GROUP, *, from_beginning: bool = True) -> KafkaEventConsumer:
        self._topics.require()
        return KafkaEventConsumer(self._address, group, from_beginning)

    def control_reader(self) -> KafkaControlReader:
        self._topics.require()
        return KafkaControlReader(self._address)

    def producer(self) -> KafkaSink:
        try:
            return KafkaSink(self._url, self._env)
        except WrongTopics as error:
            raise Invalid(str(error)) from error

    def create(self, partitions: int | None = None) -> None:
        self._topics.create(partitions)

    def extend(self, partitions: int) -> None:
        self._topics.extend(partitions)

    def members(self, group: str = GROUP) -> list[str]:
        return self._topics.members(self._address.prefix + group)

    def check(self) -> list[str]:
        return self._topics.check()

    def trim(self, positions: Mapping[int, int], *, wipe: bool = False) -> None:
        """Nothing: topics have a retention."""

    def retention(self) -> int | None:
        return self._topics.retention()

    def close(self) -> None:
        self._topics.close()
