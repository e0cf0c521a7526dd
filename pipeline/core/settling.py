"""Settling: how far each partition is, by its owner, and which markers were processed through every forwarding (DESIGN.md §4).

A marker is settled when all that it vouches for was processed, and all that this sent on, however often: what an event says may be
joined two aliases further.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.epoch import Epoch, Mark, Offsets
from pipeline.core.hearing import NEVER
from schemas.control import Own, Progress


@dataclass(slots=True)
class Partition:
    """How far a partition is, by its owner. ``fence``: offset of the *own* that counts, -1 before the first."""

    fence: int = -1
    worker: str = ""
    position: int = 0
    through: int = NEVER
    forwarded: dict[int, Offsets] = field(default_factory=dict)


class Settling:
    """``partitions``: those of which anything was said, by number. ``count``: how many there are, 0 while nobody said so."""

    def __init__(self) -> None:
        self.partitions: dict[int, Partition] = {}
        self.count = 0
        # Nobody's source: what the partitions vouch for themselves is settled as a marker is.
        self._read = Epoch("", 0, -1, (), boot=NEVER, since=NEVER, every=0, first_at=NEVER, last_at=NEVER)

    def own(self, offset: int, record: Own) -> None:
        """Of several that would follow one owner the first counts."""
        partition = self.partitions.setdefault(record.partition, Partition())
        if partition.fence == record.after:
            partition.fence, partition.worker = offset, record.worker

    def progress(self, record: Progress) -> bool:
        """Take note of it; whether it counts: nobody else owns the partition by now."""
        partition = self.partitions.setdefault(record.partition, Partition())
        if partition.fence != record.fence:
            return False
        partition.position = max(partition.position, record.position)
        partition.through = max(partition.through, record.through)
        for depth, offsets in record.forwarded.items():
            known = partition.forwarded.setdefault(depth, {})
            for target, after in offsets.items():
                known[target] = max(after, known.get(target, 0))
        read = self._read_through()
        if read > self._read.through:
            self._read.add(Mark(read, {}))
        while self.ready(self._read):
            self._read.settle_first()
        return True

    def ready(self, epoch: Epoch) -> bool:
        """Whether the first of its markers is settled by now.

        Round 0: every position has passed ``acked``. Round k: every position has passed what was forwarded at depth k and
        announced when round k-1 ended. Settled at the first round that reaches the deepest depth announced.
        """
        if not epoch.pending:
            return False
        if epoch.round is None:
            epoch.round, epoch.targets = 0, epoch.pending[0].acked
        while self._passed(epoch.targets):
            epoch.round += 1
            targets = self._forwarded(epoch.round)
            if targets is None:
                return True
            epoch.targets = targets
        return False

    def _passed(self, targets: Offsets) -> bool:
        return all(
            (partition := self.partitions.get(number)) is not None and partition.position >= after
            for number, after in targets.items()
            if after > 0
        )

    def _forwarded(self, depth: int) -> Offsets | None:
        """Offsets after all that was announced as forwarded at ``depth``; None past the deepest depth announced."""
        targets: Offsets = {}
        deeper = False
        for partition in self.partitions.values():
            for known, offsets in partition.forwarded.items():
                deeper = deeper or known >= depth
                if known == depth:
                    for target, after in offsets.items():
                        targets[target] = max(after, targets.get(target, 0))
        return targets if deeper else None

    def processed(self) -> int:
        """How far all partitions have been processed, and what that sent on, µs of the log's time."""
        return min(self._read.settled, self._read_through())

    def _read_through(self) -> int:
        """How far all partitions were read, µs."""
        count = self.count or len(self.partitions)
        return min((p.through if (p := self.partitions.get(n)) else NEVER for n in range(count)), default=NEVER)
