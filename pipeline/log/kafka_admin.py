"""The topics on Kafka: made, and looked after."""

from __future__ import annotations

import time
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from pipeline.errors import Invalid, Unavailable
from pipeline.log.contract import fewer
from tracer.record import CONTROL, EVENTS
from tracer.sinks.kafka_topics import LOG_TIME, TIMESTAMPS, KafkaTopicsAsked, WrongTopics

PARTITIONS = 12
"""Of the events, where nobody says otherwise: as many workers can share them, and 12 divides well."""
PATIENCE = 30.0
"""Seconds in which partitions that were added get their leaders."""

CONFIGS = {
    EVENTS: {TIMESTAMPS: LOG_TIME},
    CONTROL: {
        TIMESTAMPS: LOG_TIME,
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(24 * 3600 * 1000),
    },
}


class KafkaTopics(KafkaTopicsAsked):
    """Asks as any client does (`KafkaTopicsAsked`); it alone makes topics."""

    def require(self) -> None:
        """As any client's; Invalid instead of `WrongTopics`."""
        try:
            super().require()
        except WrongTopics as error:
            raise Invalid(str(error)) from error

    def partitions(self) -> int:
        found = self._describe()
        if EVENTS not in found:
            raise Unavailable(
                f"{self._address.name}: there is no topic {self._names[EVENTS]}; `lastseen setup` makes it"
            )
        return len(found[EVENTS]["partitions"])

    def identity(self) -> str:
        """The id that Kafka gave the topic of events when it was made."""
        return str(self._describe().get(EVENTS, {}).get("topic_id", ""))

    def create(self, partitions: int | None) -> None:
        """Make what is not there and set right how it is kept; safe to run at the same time as others do.

        Raises:
            Invalid: the topics that are there cannot be set right; says which to delete.
        """
        if partitions is not None and partitions < 1:
            raise Invalid("a log needs at least one partition")
        there = self._describe()
        beyond = self._beyond_mending(there)
        if beyond:
            raise Invalid(f"{self._address.name}: {beyond[0]}")
        if EVENTS in there and partitions is not None and len(there[EVENTS]["partitions"]) != partitions:
            raise Invalid(
                f"{self._names[EVENTS]} has {len(there[EVENTS]['partitions'])} partitions already, not {partitions}"
            )
        counts = {EVENTS: partitions or PARTITIONS, CONTROL: 1}
        wanted = {
            self._names[topic]: {"num_partitions": counts[topic], "configs": configs}
            for topic, configs in CONFIGS.items()
            if topic not in there
        }
        exists = kafka_errors.TopicAlreadyExistsError
        try:
            if wanted:
                self._asked(lambda admin: admin.create_topics(wanted, wait_for_metadata=True), exists)
            for topic in there:
                self._set_right(topic)
        except exists:
            self.create(partitions)

    def extend(self, partitions: int) -> None:
        """See `pipeline.log.contract.Log`; waits until every new partition has a leader."""
        have = self.partitions()
        if partitions < have:
            raise fewer(self._names[EVENTS], have, partitions)
        added = kafka_errors.InvalidPartitionsError
        try:
            if partitions > have:
                self._asked(lambda admin: admin.create_partitions({self._names[EVENTS]: partitions}), added)
                self._await_leaders(partitions)
        except added:
            # Somebody else added some at the same time.
            self.extend(partitions)

    def _await_leaders(self, partitions: int) -> None:
        """A broker confirms before all of them know it."""
        until = time.monotonic() + PATIENCE
        while True:
            there = self._describe().get(EVENTS, {}).get("partitions", [])
            if len(there) >= partitions and all(each["leader_id"] >= 0 for each in there):
                return
            if time.monotonic() > until:
                raise Unavailable(f"{self._address.name}: not all of the {partitions} partitions have a leader yet")
            time.sleep(0.1)

    def members(self, group: str) -> list[str]:
        """Of a group, as ``client on host``; none where there is no such group."""
        nobody = kafka_errors.GroupIdNotFoundError
        try:
            found = self._asked(lambda admin: admin.describe_groups([group]), nobody)
        except nobody:
            return []
        return [f"{each['client_id']} on {each['client_host'].lstrip('/')}" for each in found[group]["members"]]

    def _beyond_mending(self, there: dict[str, dict[str, Any]]) -> list[str]:
        """What only new topics mend. A record keeps the time that it was written with, whatever the topic says later."""
        found = []
        if CONTROL in there and len(there[CONTROL]["partitions"]) != 1:
            found.append(self._wrong_control(len(there[CONTROL]["partitions"]), there))
        for topic in there:
            kind = self._configs(topic).get(TIMESTAMPS, LOG_TIME)
            if kind != LOG_TIME and self._holds_records(topic, len(there[topic]["partitions"])):
                found.append(
                    f"{self._names[topic]} holds records with {TIMESTAMPS}={kind} instead of {LOG_TIME}: their times are"
                    f" not the log's; {self._remedy(there)}"
                )
        return found

    def _holds_records(self, topic: str, partitions: int) -> bool:
        latest = {TopicPartition(self._names[topic], each): OffsetSpec.LATEST for each in range(partitions)}
        ends = self._asked(lambda admin: admin.list_partition_offsets(latest))
        return any(end.offset > 0 for end in ends.values())

    def _set_right(self, topic: str) -> None:
        now = self._configs(topic)
        wrong = {key: value for key, value in CONFIGS[topic].items() if now.get(key) != value}
        if wrong:
            resource = ConfigResource(ConfigResourceType.TOPIC, self._names[topic], wrong)  # type: ignore[no-untyped-call]
            self._asked(lambda admin: admin.alter_configs([resource]))

    def retention(self) -> int | None:
        """See `pipeline.log.contract.Log`. A segment goes as a whole, once its newest record is old enough, and is open for as long
        as ``segment.ms``; brokers look every five minutes."""
        now = self._configs(EVENTS)
        kept, open_for = int(now.get("retention.ms") or -1), int(now.get("segment.ms") or 0)
        if kept < 0 or "delete" not in now.get("cleanup.policy", "delete"):
            return None
        return (kept + open_for + 5 * 60 * 1000) * 1000

    def check(self) -> list[str]:
        """What is wrong, with how to mend it."""
        try:
            there = self._describe()
            beyond = self._beyond_mending(there)
            problems = beyond + [
                f"there is no topic {name}; `lastseen setup` makes it"
                for topic, name in self._names.items()
                if topic not in there
            ]
            for topic in there:
                problems += self._problems_of(topic, there[topic], mendable=not beyond)
        except Unavailable as error:
            return [str(error)]
        return problems

    def _problems_of(self, topic: str, described: dict[str, Any], mendable: bool) -> list[str]:
        name, now = self._names[topic], self._configs(topic)
        problems = [
            f"{name} has {key}={now.get(key)} instead of {value}; `lastseen setup` sets it right"
            for key, value in CONFIGS[topic].items()
            if mendable and now.get(key) != value
        ]
        if int(now.get("max.message.bytes") or 0) < 1_048_576:
            problems.append(
                f"{name} takes messages of {now.get('max.message.bytes')} bytes; set max.message.bytes=1048588"
            )
        without = [each["partition_index"] for each in described["partitions"] if each["leader_id"] < 0]
        if without:
            problems.append(f"{name} has no leader for partitions {without}: a broker is away")
        return problems
