"""Membership in the consumer group: what kafka-python's coordinator is told, and what it gets wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from pipeline.log.contract import Assigned, Change, Revoked


class Notes(ConsumerRebalanceListener):
    """Called inside `KafkaConsumer.poll`, on its heartbeat loop: it notes, and holds back what is new; it never waits.

    Attributes:
        changes: not taken yet, oldest first.
        untold: assigned, and paused until the worker has taken the change.
    """

    def __init__(self, client: Any, assignor: CooperativeStickyAssignor):
        self.changes: list[Change] = []
        self.untold: set[TopicPartition] = set()
        self._client = client
        self._assignor = assignor

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        new = set(assigned)
        if new:
            self._client.pause(*new)
            self.untold |= new
            self.changes.append(Assigned(frozenset(tp.partition for tp in new)))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        gone = set(revoked)
        if gone:
            self.untold -= gone
            self.changes.append(Revoked(frozenset(tp.partition for tp in gone)))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """kafka-python's assignor would claim, on rejoining, what it had: another member owns that by now."""
        self._assignor.member_assignment = None
        self.on_partitions_revoked(lost)


def keep_finished_joins(coordinator: Any) -> None:
    """Keep the outcome of a join that ends between two polls.

    A poll may return before the other members have joined as well. kafka-python 3.0.12 then goes on joining in the
    background, but when that ends before the next poll, it forgets the outcome and joins again, which throws the whole
    group into another rebalance: two busy workers chase each other for ever. Here the second attempt is given the outcome
    of the first, as long as no other generation came after it.

    Where partitions were added it is the other way round: the leader's assignment in the background takes away the reason to
    join, so that no poll asks for the outcome, and nobody beats any more. Whoever began to join needs to, until it is done.
    """
    join = coordinator._do_join_and_sync_async
    finished: list[tuple[Any, bytes]] = []

    async def join_or_keep() -> bytes:
        if finished and coordinator.rebalance_in_progress() and finished[0][0] == coordinator._generation:
            return finished.pop()[1]
        finished.clear()
        assignment: bytes = await join()
        finished.append((coordinator._generation, assignment))
        return assignment

    needed = coordinator.need_rejoin
    coordinator._do_join_and_sync_async = join_or_keep
    coordinator.need_rejoin = lambda: coordinator.rejoining or needed()
