"""What a message of a topic says beside its value, and who hears of partitions that come and go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from kafka import ConsumerRebalanceListener

from collectors.formats.contract import Item
from collectors.inputs.record import Row
from schemas.times import format_time


def beside(record: Any, headers: Mapping[str, str], at: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kafka.topic": record.topic, "kafka.partition": record.partition, "kafka.offset": record.offset,
    }  # fmt: skip
    if record.key is not None:
        fields["kafka.key"] = record.key.decode("utf-8", "replace")
    if at is not None:
        with contextlib.suppress(OverflowError):
            fields["kafka.time"] = format_time(at)
    fields.update({f"kafka.headers.{name}": value for name, value in headers.items()})
    return fields


def with_these(item: Item, fields: Mapping[str, Any]) -> Item:
    return Row(item.line, {**fields, **item.fields}, item.raw) if isinstance(item, Row) else item


class Listener(ConsumerRebalanceListener):
    """Called inside `KafkaConsumer.poll`; nothing is asked of the brokers here."""

    def __init__(self, assigned: Callable[[Any], None], revoked: Callable[[Any], None]) -> None:
        self._assigned, self._revoked = assigned, revoked

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._assigned(assigned)

    def on_partitions_revoked(self, revoked: Any) -> None:
        self._revoked(revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        self._revoked(lost)
