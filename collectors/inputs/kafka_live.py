"""Topics that others write: a member of a consumer group that commits an offset only once our log has acknowledged all before it.

A place is topic, partition, offset (and the item's number within the message), so whatever comes again after a crash or a rebalance
makes the same events; where the format knows a record by itself (a span's ids, a CloudEvent's source and id), by that. A topic is
known by its id beside its name: one that was deleted and made anew has other records under the same offsets, and is an alarm to
whoever read the old one.

Only what was committed is read. Until a transaction ends, what comes after its first record waits behind it, and ``through`` waits
too; brokers end one that was forgotten after ``transaction.timeout.ms`` (a minute unless a producer asks for more).

Beside its own fields a record has ``kafka.topic``, ``kafka.partition``, ``kafka.offset``, ``kafka.time`` (RFC 3339, the message's),
``kafka.key`` and ``kafka.headers.*``, as text.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.protocol.consumer import IsolationLevel

from collectors.formats.cloudevents import readable
from collectors.formats.contract import Item
from collectors.formats.syslog import RECEIVED
from collectors.inputs.kafka_bounded import read_within_bounds, too_much
from collectors.inputs.kafka_fields import Listener, beside, with_these
from collectors.inputs.kafka_offsets import Share
from collectors.inputs.live import Context, Parcel, Placed
from collectors.inputs.received import identity_of
from schemas.errors import Invalid
from schemas.times import SECOND
from tracer.errors import Unavailable
from tracer.sinks.kafka_config import unavailable
from tracer.sinks.kafka_topics import create_none

if TYPE_CHECKING:
    from collectors.inputs.kafka import KafkaInput

REQUEST_TIMEOUT_MS = 5_000
MAX_RECORDS = 500
CONSUMER = {
    "auto_offset_reset": "none",
    "isolation_level": "read_committed",  # what a transaction took back never happened
    "enable_auto_commit": False,
    "bootstrap_timeout_ms": REQUEST_TIMEOUT_MS,
    "request_timeout_ms": REQUEST_TIMEOUT_MS,
    "fetch_max_wait_ms": 100,
    "fetch_max_bytes": 16 * 1024 * 1024,
    "max_partition_fetch_bytes": 2 * 1024 * 1024,
    "reconnect_backoff_max_ms": 1_000,
    "metadata_max_age_ms": 5_000,  # how soon added partitions, and a topic that was made anew, are noticed
    "metrics_enabled": False,
    # A log that is away for ten minutes holds what was handed out that long; the membership goes on with it.
    "max_poll_interval_ms": 15 * 60_000,
}
_LEAST_MS = 50
"""A poll of kafka-python's without any time never joins its group (243 in 25 s did not), and one of 50 ms does with the third; so a
runner that may not wait, since it has other collectors, waits as long for this one."""
_ASK_EVERY = SECOND
_MOVED = (
    kafka_errors.CommitFailedError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
)


class KafkaLive:
    """A member of the group; it joins with its first polls."""

    def __init__(self, spec: KafkaInput, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._identity = identity_of(context.format)
        address = spec.address(context.env)
        self._topics = [address.prefix + topic for topic in spec.topics]
        self.name = f"{address.name}, {', '.join(self._topics)}"
        self._shares: dict[TopicPartition, Share] = {}
        self._unchecked: set[TopicPartition] = set()
        self._known: dict[str, str] = {}
        self._ends: dict[TopicPartition, int] | None = None
        self._through: int | None = None
        self._asked = 0
        try:
            self._client: Any = KafkaConsumer(  # type: ignore[no-untyped-call]
                **address.client, **CONSUMER,
                group_id=address.prefix + spec.group,
                session_timeout_ms=address.session_timeout_ms,
                heartbeat_interval_ms=min(3_000, address.session_timeout_ms // 3),
            )  # fmt: skip
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from None
        self._allowance = read_within_bounds(self._client)
        create_none(self._client._cluster)
        self._client.subscribe(self._topics, listener=Listener(self._assigned, self._revoked))  # type: ignore[no-untyped-call]
        self._know_topics()

    def _know_topics(self) -> None:
        """Who leads a join without knowing a topic assigns nothing of it."""
        known = self._client._cluster.request_update()
        with contextlib.suppress(kafka_errors.KafkaError):
            self._client._net.run(self._client._manager.wait_for, known, REQUEST_TIMEOUT_MS)

    def poll(self, timeout: float) -> list[Parcel]:
        self._commit()
        self._rewind()
        mine = self._client.assignment()
        full = sum(share.held for share in self._shares.values()) >= self._spec.max_held
        (self._client.pause if full else self._client.resume)(*mine)
        before = self._context.clock()
        records = self._fetch(timeout)
        self._check_topics()  # before any of it is handed out
        parcels = [self._parcel(tp, batch) for tp, batch in records.items() if tp in self._shares]
        if not parcels:
            self._look_ahead(before)
        return parcels

    def _fetch(self, timeout: float) -> dict[TopicPartition, list[Any]]:
        self._allowance.begin()
        try:
            found: dict[TopicPartition, list[Any]] = self._client.poll(
                timeout_ms=max(int(timeout * 1000), _LEAST_MS), max_records=MAX_RECORDS
            )
        except kafka_errors.NoOffsetForPartitionError as error:
            self._begin(error.args[0])
            return {}
        except (kafka_errors.OffsetOutOfRangeError, kafka_errors.LogTruncationError) as error:
            raise Invalid(
                f"{self.name}: the records that come next are gone ({error}), and what they said is lost to us. To go on with what "
                f"is left, reset the offsets of group {self._spec.group} with kafka-consumer-groups, while no collector runs"
            ) from None
        except kafka_errors.TopicAuthorizationFailedError:
            raise Invalid(f"{self.name}: this user may not read them") from None
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from None
        return found

    def _check_topics(self) -> None:
        """Whether each topic is the one that was read before: by this process, and by whoever committed, for a commit says in its
        metadata of which topic it is. Raises ``Invalid``."""
        for topic, then in self._known.items():
            self._same(topic, then)
        new, self._unchecked = [tp for tp in self._unchecked if tp in self._shares], set()
        if not new:
            return
        coordinator = self._client._coordinator
        try:
            there = self._asking(lambda: coordinator.fetch_committed_offsets(new, timeout_ms=REQUEST_TIMEOUT_MS))
        except Unavailable:
            self._unchecked.update(new)
            raise
        for tp in new:
            self._same(tp.topic, getattr(there.get(tp), "metadata", ""))
            self._known.setdefault(tp.topic, self._id(tp.topic))

    def _same(self, topic: str, then: str) -> None:
        now = self._id(topic)
        if now and then and now != then:
            raise Invalid(
                f"{self.name}: {topic} was deleted and made anew, and the offsets of group {self._spec.group} are those of the old "
                "one. To read the new one from its beginning, start again; if the offsets are still there, with another group"
            )

    def _id(self, topic: str) -> str:
        """A topic's id, "" where the brokers are too old to tell."""
        found = self._client._cluster.topic_id(topic)
        return found.hex if found is not None else ""

    def _stream(self, tp: TopicPartition) -> str:
        return f"{tp.topic}@{self._id(tp.topic)}/{tp.partition}".replace("@/", "/")

    def _begin(self, partitions: Iterable[TopicPartition]) -> None:
        """Partitions that the group never committed. The place is committed: whoever comes after a crash begins there too."""
        wanted = list(partitions)
        ask = self._client.beginning_offsets if self._spec.begin == "beginning" else self._client.end_offsets
        for tp, offset in self._asking(lambda: ask(wanted, timeout_ms=REQUEST_TIMEOUT_MS)).items():
            self._client.seek(tp, offset)
            if tp in self._shares:
                self._shares[tp].begin(offset)

    def _parcel(self, tp: TopicPartition, batch: list[Any]) -> Parcel:
        placed: list[Placed] = []
        size = 0
        for record in batch:
            size += len(record.value or b"") + 200
            placed += self._items(record, self._stream(tp))
        share = self._shares[tp]
        first, last = batch[0].offset, batch[-1]
        number = share.handed_out(first, last.offset + 1, size)
        return Parcel(
            "" if self._identity is not None else self._stream(tp),
            placed,
            f"{tp.topic}[{tp.partition}]@{first}",
            around=last.timestamp * 1000 if last.timestamp and last.timestamp > 0 else None,
            settle=lambda error: share.settled(number, given_up=error is not None),
        )

    def _items(self, record: Any, stream: str) -> list[Placed]:
        """Of a tombstone, which has no value, none; of what is set aside, whatever it stands for, one."""
        if record.value is None:
            return []
        refused = too_much(record)
        if refused is not None:
            place, whole = refused
            return [Placed(place if self._identity is None else f"{stream}/{place}", whole)]
        headers = {name.lower(): (value or b"").decode("utf-8", "replace") for name, value in record.headers}
        at = record.timestamp * 1000 if record.timestamp and record.timestamp > 0 else None
        fields = beside(record, headers, at)
        if at is not None:
            headers[RECEIVED] = str(at)
        placed = []
        for number, item in enumerate(self._context.format.message(record.value, headers)):
            placed.append(Placed(self._place(record, item, number, stream), with_these(item, fields)))
        return placed

    def _place(self, record: Any, item: Item, number: int, stream: str) -> str:
        own = self._identity(item) if self._identity is not None else None
        if own is not None:
            return readable(own)
        place = f"{record.offset}.{number}" if number else str(record.offset)
        return place if self._identity is None else f"{stream}/{place}"

    def _look_ahead(self, before: int) -> None:
        """Where nothing came: whether there is nothing. Asked of the brokers, since what a client last knew of a topic's end has no
        date: cut off, it would still say that all was read."""
        now = self._context.clock()
        if now - self._asked < _ASK_EVERY and not self._context.once:
            return
        self._asked = now
        mine = list(self._shares)
        if not mine and not self._client._coordinator.stable():
            return
        ends = self._asking(lambda: self._all_ends(mine)) if mine else {}
        if self._context.once and self._ends is None:
            self._ends = ends
        if all(self._position(tp) >= end for tp, end in (self._ends or ends).items()):
            self._through = before

    def _all_ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Behind the last record, committed or not: what a transaction holds that is still open may have happened long ago.

        The client's own answer ends where the first open transaction begins, and its isolation is one for all that it asks.
        """
        asking = copy.copy(self._client._fetcher)
        asking._isolation_level = IsolationLevel.READ_UNCOMMITTED
        ends: dict[TopicPartition, int] = asking.end_offsets(partitions, timeout_ms=REQUEST_TIMEOUT_MS)
        return ends

    def _position(self, tp: TopicPartition) -> int:
        """-1 where it is not known yet, or the partition has moved."""
        with contextlib.suppress(kafka_errors.KafkaError, AssertionError, AttributeError):
            position = self._client.position(tp, timeout_ms=0)
            return -1 if position is None else int(position)
        return -1

    def through(self) -> int | None:
        return self._through

    @property
    def finished(self) -> bool:
        """What there was when it was asked first is handed out; what was written since is another run's."""
        return self._context.once and self._ends is not None and self._through is not None

    def _rewind(self) -> None:
        """What was given up comes again."""
        for tp, share in self._shares.items():
            offset = share.take_rewind()
            if offset is not None:
                self._client.seek(tp, offset)

    def _commit(self) -> None:
        offsets = {tp: offset for tp, share in self._shares.items() if (offset := share.to_commit()) is not None}
        mine = self._client.assignment()
        wanted = {tp: OffsetAndMetadata(offset, self._id(tp.topic), -1) for tp, offset in offsets.items() if tp in mine}
        if not wanted:
            return
        try:
            self._client.commit(wanted, timeout_ms=REQUEST_TIMEOUT_MS)
        except _MOVED:
            return  # whoever has the partition now reads from the last commit on, and makes the same events
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from None
        for tp in wanted:
            if tp in self._shares:
                self._shares[tp].committed(offsets[tp])

    def _assigned(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            self._shares[tp] = Share()
            self._unchecked.add(tp)

    def _revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Parcels of these that are still under way are another's to commit."""
        for tp in partitions:
            self._shares.pop(tp, None)

    def _asking(self, ask: Callable[[], dict[TopicPartition, Any]]) -> dict[TopicPartition, Any]:
        try:
            return ask()
        except kafka_errors.KafkaError as error:
            raise unavailable(self.name, error) from None

    def close(self) -> None:
        """Commit what was settled, and leave the group."""
        with contextlib.suppress(Unavailable):
            self._commit()
        self._client.close(autocommit=False, timeout_ms=REQUEST_TIMEOUT_MS)
