"""The topics of a Kafka log as its clients must find them. What is here asks; nothing here makes a topic.

A broker with ``auto.create.topics.enable=true`` (Kafka's default) makes any topic that a client's metadata request names,
with its own number of partitions and with ``CreateTime``: then control is no total order, and times are the producers'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from tracer.errors import Unavailable
from tracer.record import CONTROL, EVENTS
from tracer.sinks.kafka_config import KafkaAddress, unavailable

TIMESTAMPS = "message.timestamp.type"
LOG_TIME = "LogAppendTime"
NOT_THERE = kafka_errors.UnknownTopicOrPartitionError.errno
NOT_ALLOWED = kafka_errors.TopicAuthorizationFailedError.errno
T = TypeVar("T")


class WrongTopics(ValueError):  # noqa: N818  (as `Invalid`, which the tracer does not know)
    """The topics are there, and not such as a log may have; says how to mend them."""


def create_none(cluster: Any) -> None:
    """Have a client's metadata requests create no topic.

    Call it before the client knows any topic. kafka-python 3.0.12 takes ``allow_auto_create_topics`` and hands it on to
    nobody: the cluster that writes these requests has its own default, True.
    """
    cluster.config["allow_auto_create_topics"] = False


class KafkaTopicsAsked:
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
            create_none(self._client._manager.cluster)
        return self._client

    def _asked(self, question: Callable[[Any], T], *handled: type[kafka_errors.KafkaError]) -> T:
        """The cluster's answer; errors that the caller has ``handled`` reach him as they are.

        A client whose brokers were away knows none for a while after they came back, and has asked nobody then: it is
        opened anew, once.

        Raises:
            Unavailable: the cluster cannot be asked, or refuses.
        """
        try:
            try:
                return question(self._admin())
            except kafka_errors.NodeNotReadyError:
                self.close()
                return question(self._admin())
        except handled:
            raise
        except kafka_errors.KafkaError as error:
            raise unavailable(self._address.name, error) from error

    def _ask(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._asked(lambda admin: admin.describe_topics(list(self._names.values())))
        return found

    def _describe(self) -> dict[str, dict[str, Any]]:
        """What the cluster says of each topic that there is."""
        logical = {name: topic for topic, name in self._names.items()}
        return {logical[each["name"]]: each for each in self._ask() if each["error_code"] == 0}

    def _configs(self, topic: str) -> dict[str, str]:
        """Empty where this user may not read them."""
        name = self._names[topic]
        resource = ConfigResource(ConfigResourceType.TOPIC, name)  # type: ignore[no-untyped-call]
        found = self._asked(lambda admin: admin.describe_configs([resource], config_filter="all"))
        return {key: entry["value"] for key, entry in found["topic"][name].items()}

    def require(self) -> None:
        """See that both topics are there and right, before a client is made for them.

        A user who may not describe a topic, or not its settings, is believed: an emitter needs no more than to write.

        Raises:
            Unavailable: a topic is not there yet, or the cluster cannot be asked.
            WrongTopics: control has not exactly one partition, or a topic's times are not the log's.
        """
        found = self._ask()
        self._require_there({each["name"] for each in found if each["error_code"] == NOT_THERE})
        for each in found:
            if each["error_code"] not in (0, NOT_ALLOWED):
                error = kafka_errors.for_code(each["error_code"])  # type: ignore[no-untyped-call]
                raise Unavailable(f"{self._address.name}: {each['name']}: {error.__name__}")
        described = {each["name"]: each for each in found if each["error_code"] == 0}
        control = described.get(self._names[CONTROL])
        if control is not None and len(control["partitions"]) != 1:
            raise WrongTopics(f"{self._address.name}: {self._wrong_control(len(control['partitions']), self._names)}")
        for topic in (EVENTS, CONTROL):
            if self._names[topic] in described:
                self._require_log_time(topic)

    def _require_there(self, missing: set[str]) -> None:
        if len(missing) == len(self._names):
            raise Unavailable(f"{self._address.name} has no topics yet: run `lastseen setup`")
        if missing:
            raise Unavailable(f"{self._address.name} has no topic {', '.join(missing)} yet: run `lastseen setup`")

    def _require_log_time(self, topic: str) -> None:
        kind = self._configs(topic).get(TIMESTAMPS, LOG_TIME)
        if kind != LOG_TIME:
            raise WrongTopics(
                f"{self._address.name}: {self._names[topic]} has {TIMESTAMPS}={kind} instead of {LOG_TIME}:"
                " run `lastseen setup`, which sets it right, or says what to delete"
            )

    def _wrong_control(self, partitions: int, there: Iterable[str]) -> str:
        name = self._names[CONTROL]
        return f"{name} has {partitions} partitions and must have one, as it is one total order; {self._remedy(there)}"

    def _remedy(self, there: Iterable[str]) -> str:
        names = [self._names[topic] for topic in (EVENTS, CONTROL) if topic in there]
        return f"delete the topic{'s' * (len(names) > 1)} {' and '.join(names)}, then run `lastseen setup` again"

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def require_topics(address: KafkaAddress) -> None:
    """`KafkaTopicsAsked.require`, over a connection of its own."""
    topics = KafkaTopicsAsked(address)
    try:
        topics.require()
    finally:
        topics.close()
