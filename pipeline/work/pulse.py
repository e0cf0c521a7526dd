"""Pulse: how far we are, said now and then, whatever comes in; and whether everyone together has come to the end of the topics.

Control time is the append time of control records, and stands still where nobody writes: leases of sources that died run on it,
and waits of transactions. So somebody says something, and no more often than is of use. What is vouched for was asked of the log.
"""

from __future__ import annotations

from pipeline.core.control import ControlFold
from pipeline.core.hearing import NEVER
from pipeline.log import Consumer
from pipeline.work.desk import Desk
from pipeline.work.diary import Diary
from pipeline.work.ownership import Ownership
from pipeline.work.patience import Patience
from pipeline.work.policy import Policy


class Pulse:
    """``policy``: how often; ``desk``, ``diary``: where it is written down who is gone by now, and what was heard."""

    def __init__(
        self,
        policy: Policy,
        fold: ControlFold,
        consumer: Consumer,
        ownership: Ownership,
        desk: Desk,
        diary: Diary,
        patience: Patience,
    ):
        self._policy, self._fold, self._consumer, self._ownership = policy, fold, consumer, ownership
        self._desk, self._diary, self._insist = desk, diary, patience.insist
        self._ticked = NEVER
        self._moved = (-1, NEVER)

    def tick(self, now: int, *, force: bool = False) -> None:
        """Say how far we are; also where one partition is busy and others are idle. What was asked of the log before is what we may
        vouch for. ``now``: µs of any clock that does not go backwards; spaces ticks out, decides nothing about transactions."""
        active = self._ownership.active
        still = self._stands_still(now)
        if force or not 0 <= now - self._ticked < self._policy.tick_every:
            self._ticked, speakers = now, list(active)
        elif still:
            speakers = list(active)[:1]
        else:
            return
        if not active:
            return
        read_to = self._fold.now
        ends = self._insist(lambda: self._consumer.end_offsets(active))
        for number, owned in active.items():
            if owned.position >= ends.get(number, 0) and self._at(number) == owned.position and read_to != NEVER:
                owned.through = max(owned.through, read_to)
        self._insist(lambda: self._ownership.announce(speakers, always=True))
        self._desk.note_departed()
        self._insist(lambda: self._diary.write(self._fold))

    def _at(self, number: int) -> int | None:
        """What a poll would hand out next; None where the partition went away, as it may while we wait for the log."""
        return self._insist(lambda: self._consumer.position(number) if number in self._consumer.assignment() else None)

    def _stands_still(self, now: int) -> bool:
        """Whether nobody moved control time for long. A clock of ours that jumped back is no reason to wait."""
        position, since = self._moved
        if position != self._fold.position:
            self._moved = (self._fold.position, now)
            return False
        return not 0 <= now - since < self._policy.pulse_every

    def caught_up(self, ends: dict[int, int], control_end: int) -> bool:
        """Whether everyone together has processed both topics up to these ends, and what was forwarded on the way."""
        targets = dict(ends)
        for partition in self._fold.partitions.values():
            for offsets in partition.forwarded.values():
                for number, after in offsets.items():
                    targets[number] = max(after, targets.get(number, 0))
        done = self._fold.partitions
        return self._fold.position >= control_end and all(
            end == 0 or (number in done and (done[number].position >= end or self._empty_below(number, end)))
            for number, end in targets.items()
        )

    def _empty_below(self, number: int, end: int) -> bool:
        """Whether a partition of ours has nothing left below ``end``, though nothing was read up to it just now."""
        owned = self._ownership.active.get(number)
        return owned is not None and owned.position >= end
