"""Membership: coming by partitions and losing them, as the group says, and committing what was done in them (laws 3 and 4).

Nothing is read from a partition before it is proved to be ours, and then from what is committed on. What the group takes back
leaves memory at once; a commit it refuses is no error: whoever has the partition reads it again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipeline.core.control import ControlFold
from pipeline.log import Assigned, Consumer, Fenced
from pipeline.work.book import Book
from pipeline.work.desk import Desk
from pipeline.work.knowing import Knowing
from pipeline.work.ledger import Ledger
from pipeline.work.ownership import Ownership
from pipeline.work.patience import Patience
from pipeline.work.retention import Retention

log = logging.getLogger("lastseen.worker")


class Membership:
    """``ledger``, ``book``, ``retention``: what is opened for a partition, and closed. ``name``: for messages."""

    def __init__(
        self,
        name: str,
        fold: ControlFold,
        consumer: Consumer,
        ownership: Ownership,
        desk: Desk,
        patience: Patience,
        knowing: Knowing,
        ledger: Ledger,
        book: Book,
        retention: Retention,
    ):
        self._name, self._fold, self._consumer, self._ownership, self._desk = name, fold, consumer, ownership, desk
        self._insist, self._knowing = patience.insist, knowing
        self._ledger, self._book, self._retention = ledger, book, retention
        self._uncommitted: dict[int, int] = {}

    def follow(self) -> None:
        """Take note of what the group assigned and revoked, prove what is ours, begin where it is proved."""
        for change in self._consumer.take_changes():
            if isinstance(change, Assigned):
                self._ownership.assigned(change.partitions)
            else:
                self._give_up(change.partitions)
        lost = self._ownership.fenced()
        if lost:
            log.warning("%s: partitions %s are in other hands", self._name, lost)
            self._give_up(lost)
            self._ownership.assigned(set(lost) & self._consumer.assignment())
        if not self._ownership.wanted:
            return
        self._desk.read()
        self._insist(lambda: self._ownership.claim(at_end=True))
        self._desk.read()
        proved = self._insist(lambda: self._ownership.claim(at_end=False))
        if proved:
            self._knowing.refresh()
        # Waiting for a service polls, and a poll may take back what was just proved; the change is taken next time.
        begun = []
        for partition in proved:
            if self._insist(lambda number=partition: self._rewind(number)):  # type: ignore[misc]
                self._ledger.processed[partition] = self._ownership.activate(partition).through
                begun.append(partition)
        if begun:
            self._insist(lambda: self._book.open(begun))
            self._insist(lambda: self._retention.open(begun, self._fold.now))
            self._knowing.ask_again(self._insist(lambda: self._ledger.open(begun)))
        self._consumer.resume(self._consumer.assignment() & set(begun))

    def _give_up(self, partitions: Iterable[int]) -> None:
        lost = self._ownership.revoked(partitions)
        self._ledger.close(lost)
        self._book.close(lost)

    def _rewind(self, partition: int) -> bool:
        """Read on from what is committed: what was polled before ownership was proved was not worked on. False where the partition
        went away meanwhile."""
        committed = self._consumer.committed([partition])[partition]
        if committed is None:
            committed = self._consumer.beginning_offsets([partition])[partition]
        if partition not in self._consumer.assignment():
            return False
        if self._consumer.position(partition) != committed:
            self._consumer.seek(partition, committed)
        return True

    def commit(self, positions: dict[int, int]) -> None:
        """Commit these; what the group refuses, since it gave us up, is read again by whoever comes next."""
        self._uncommitted.update(positions)
        self._commit(positions)

    def _commit(self, positions: dict[int, int]) -> None:
        try:
            self._insist(lambda: self._consumer.commit(positions))
        except Fenced:
            log.warning("%s: the group gave us up; what was not committed is read again by the next owner", self._name)
        else:
            for number in positions:
                self._uncommitted.pop(number, None)

    def commit_left(self) -> None:
        """A commit is refused as a whole for the sake of one partition: what is still ours of it is committed now."""
        active = self._ownership.active
        left = {n: p for n, p in self._uncommitted.items() if n in active and active[n].position == p}
        self._uncommitted = dict(left)
        if left:
            self._commit(left)
