"""The topics on Kafka: made, and looked after."""

from __future__ import annotations

from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.errors import Invalid, Unavailable
from tracer.record import CONTROL, EVENTS
from tracer.sinks.kafka_config import KafkaAddress, unavailable

PARTITIONS = 12
"""Of the events, where nobody says otherwise: as many workers can share them, and 12 divides well."""

CONFIGS = {
    EVENTS: {"message.timestamp.type": "LogAppendTime"},
    CONTROL: {
        "message.timestamp.type": "LogAppendTime",
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(24 * 3600 * 1000),
    },
}


class KafkaTopics:
    """Connects when it is first asked something."""

    def __init__(self, address: KafkaAddress):
        self._address = address
        self._names = {topic: address.prefix + topic for topic in (EVENTS, CONTROL)}
        self._client: Any = None

    def _admin(self) -> Any:
        if self._client is None:
            try:
                self._client = KafkaAdminClient(  # type: ignore[no-untyped-call]
                    **self._address.client, bootstrap_timeout_ms=5_000, request_timeout_ms=15_000
                )
            except kafka_errors.KafkaError as error:
                raise unavailable(self._address.name, error) from error
        return self._client

    def _describe(self) -> dict[str, dict[str, Any]]:
        """What the cluster says of each topic that there is."""
        try:
            found = self._admin().describe_topics(list(self._names.values()))
        except kafka_errors.KafkaError as error:
            raise unavailable(self._address.name, error) from error
        logical = {name: topic for topic, name in self._names.items()}
        return {logical[each["name"]]: each for each in found if each["error_code"] == 0}

    def partitions(self) -> int:
        found = self._describe()
        if EVENTS not in found:
            raise Unavailable(
                f"{self._address.name}: there is no topic {self._names[EVENTS]}; `lastseen setup` makes it"
            )
        return len(found[EVENTS]["partitions"])

    def create(self, partitions: int | None) -> None:
        """Make what is not there and set right how it is kept; safe to run at the same time as others do."""
        if partitions is not None and partitions < 1:
            raise Invalid("a log needs at least one partition")
        there = self._describe()
        if EVENTS in there and partitions is not None and len(there[EVENTS]["partitions"]) != partitions:
            raise Invalid(
                f"{self._names[EVENTS]} has {len(there[EVENTS]['partitions'])} partitions already, not {partitions}"
            )
        if CONTROL in there and len(there[CONTROL]["partitions"]) != 1:
            raise Invalid(f"{self._names[CONTROL]} must have one partition: it is one total order")
        counts = {EVENTS: partitions or PARTITIONS, CONTROL: 1}
        wanted = {
            self._names[topic]: {"num_partitions": counts[topic], "configs": configs}
            for topic, configs in CONFIGS.items()
            if topic not in there
        }
        try:
            if wanted:
                self._admin().create_topics(wanted, wait_for_metadata=True)
            for topic in there:
                self._set_right(topic)
        except kafka_errors.TopicAlreadyExistsError:
            self.create(partitions)
        except kafka_errors.KafkaError as error:
            raise unavailable(self._address.name, error) from error

    def _set_right(self, topic: str) -> None:
        now = self._configs(topic)
        wrong = {key: value for key, value in CONFIGS[topic].items() if now.get(key) != value}
        if wrong:
            resource = ConfigResource(ConfigResourceType.TOPIC, self._names[topic], wrong)  # type: ignore[no-untyped-call]
            self._admin().alter_configs([resource])

    def _configs(self, topic: str) -> dict[str, str]:
        name = self._names[topic]
        resource = ConfigResource(ConfigResourceType.TOPIC, name)  # type: ignore[no-untyped-call]
        found = self._admin().describe_configs([resource], config_filter="all")
        return {key: entry["value"] for key, entry in found["topic"][name].items()}

    def check(self) -> list[str]:
        """What is wrong, with how to mend it."""
        try:
            there = self._describe()
            problems = [
                f"there is no topic {name}; `lastseen setup` makes it"
                for topic, name in self._names.items()
                if topic not in there
            ]
            for topic in there:
                problems += self._problems_of(topic, there[topic])
        except Unavailable as error:
            return [str(error)]
        except kafka_errors.KafkaError as error:
            return [str(unavailable(self._address.name, error))]
        return problems

    def _problems_of(self, topic: str, described: dict[str, Any]) -> list[str]:
        name, now = self._names[topic], self._configs(topic)
        problems = [
            f"{name} has {key}={now.get(key)} instead of {value}; `lastseen setup` sets it right"
            for key, value in CONFIGS[topic].items()
            if now.get(key) != value
        ]
        if topic == CONTROL and len(described["partitions"]) != 1:
            problems.append(f"{name} has {len(described['partitions'])} partitions; it must have one: make it anew")
        if int(now.get("max.message.bytes") or 0) < 1_048_576:
            problems.append(
                f"{name} takes messages of {now.get('max.message.bytes')} bytes; set max.message.bytes=1048588"
            )
        without = [each["partition_index"] for each in described["partitions"] if each["leader_id"] < 0]
        if without:
            problems.append(f"{name} has no leader for partitions {without}: a broker is away")
        return problems

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
