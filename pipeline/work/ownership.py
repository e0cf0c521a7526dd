"""Ownership: which partitions are this worker's, proved by *own* and read back (law 4); and the progress it announces."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.control import ControlFold
from pipeline.core.hearing import NEVER
from pipeline.errors import Unavailable
from pipeline.log import Consumer, LogRecord
from pipeline.work.saying import VersionSource
from schemas.control import Control, Own, Progress, encode_control
from schemas.event import MAX_INTEGER
from tracer.record import CONTROL, Record
from tracer.sinks.contract import Sink


def control_record(record: Control) -> Record:
    """A control record, keyed for compaction."""
    return Record(CONTROL, record.key(), encode_control(record), (), 0)


@dataclass(slots=True)
class Owned:
    """A partition in work. ``position``: next offset to read. ``known``: how far it was when we took over, by a progress that
    counts: its owner may have announced what it did not commit any more. ``announced``: the last progress, to write none twice."""

    partition: int
    versions: VersionSource
    position: int
    known: int = 0
    through: int = NEVER
    forwarded: dict[int, dict[int, int]] = field(default_factory=dict)
    announced: tuple[object, ...] = ()

    def forward(self, depth: int, target: int, after: int) -> None:
        known = self.forwarded.setdefault(depth, {})
        known[target] = max(after, known.get(target, 0))

    def progress(self) -> Progress:
        return Progress(
            partition=self.partition,
            fence=self.versions.fence,
            position=max(self.position, self.known),
            through=min(max(self.through, 0), MAX_INTEGER),
            forwarded=self.forwarded,
        )


class Ownership:
    """``active``: partitions in work. ``wanted``: assigned by the group and not proved yet, to our *own*'s offset, if written."""

    def __init__(self, fold: ControlFold, consumer: Consumer, sink: Sink, worker: str):
        self._fold, self._consumer, self._sink, self._worker = fold, consumer, sink, worker
        self.active: dict[int, Owned] = {}
        self.wanted: dict[int, int | None] = {}
        self._doubted: set[int] = set()

    def doubt(self) -> None:
        """A poll failed; whether it had taken anything is not known."""
        self._doubted |= set(self.active)

    def read_on(self, polled: dict[int, list[LogRecord]]) -> dict[int, list[LogRecord]]:
        """What was polled of partitions in work; but where a poll that failed may have taken something, it is read again from where
        we are. A gap may be the log's own (a transaction's mark, compaction), and is believed then. Raises ``Unavailable``."""
        again = {number for number in self._doubted & self.active.keys() if self._missed(number, polled.get(number))}
        self._doubted.clear()
        return {n: records for n, records in polled.items() if records and n in self.active and n not in again}

    def _missed(self, number: int, records: list[LogRecord] | None) -> bool:
        """Whether what comes next is not handed out; then it is sought, unless the partition went away."""
        if number not in self._consumer.assignment():
            return True
        owned = self.active[number]
        if (records[0].offset if records else self._consumer.position(number)) <= owned.position:
            return False
        self._consumer.seek(number, owned.position)
        return True

    def assigned(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            if partition not in self.active:
                self.wanted[partition] = None
        self._consumer.pause(list(self.wanted))

    def revoked(self, partitions: Iterable[int]) -> list[int]:
        """Those of ``partitions`` that were in work."""
        lost = []
        for partition in partitions:
            self.wanted.pop(partition, None)
            if self.active.pop(partition, None) is not None:
                lost.append(partition)
        return lost

    def hold(self) -> None:
        """Poll with everything paused, so that the group does not give us up while a service is away."""
        with contextlib.suppress(Unavailable):
            self._consumer.pause(self._consumer.assignment())
            self._consumer.poll(1, 0)

    def go_on(self) -> None:
        """Poll what is ours again."""
        self._consumer.resume([number for number in self.active if number in self._consumer.assignment()])

    def claim(self, at_end: bool) -> list[int]:
        """Go on proving what is wanted; returns the partitions that are proved now. ``at_end``: control was read to its end.

        Nothing is claimed from memory of control that may be old: *own* is written when control was read to its end and
        the group confirms; it counts if it is read back as the fence.
        """
        proved: list[int] = []
        claims: list[tuple[int, Record]] = []
        for partition, claimed in list(self.wanted.items()):
            written = claimed
            known = self._fold.partitions.get(partition)
            fence = known.fence if known else -1
            if written is not None and self._fold.position > written:
                if fence == written:
                    proved.append(partition)
                    continue
                written = None
            if written is None and at_end:
                # A no is no end: if it is, we are told that it was revoked; if not, nobody would assign it to us again.
                if not self._consumer.still_owns(partition):
                    continue
                # Each its own: of two that compaction took for one, it would drop the one that counts (H9).
                own = Own(partition=partition, after=fence, worker=self._worker, claim=secrets.token_hex(8))
                claims.append((partition, control_record(own)))
        if claims:
            acks = self._sink.produce([record for _, record in claims])
            for (partition, _), ack in zip(claims, acks, strict=True):
                self.wanted[partition] = ack.offset
        return proved

    def activate(self, partition: int) -> Owned:
        """Begin work under the fence that was read back; forwarding goes on from the last that counted."""
        fence = self.wanted.pop(partition)
        assert fence is not None
        known = self._fold.partitions[partition]
        owned = Owned(
            partition,
            VersionSource(fence),
            position=self._consumer.position(partition),
            known=known.position,
            through=known.through,
            forwarded={depth: dict(offsets) for depth, offsets in known.forwarded.items()},
        )
        self.active[partition] = owned
        return owned

    def fenced(self) -> list[int]:
        """Partitions in work that control says are somebody else's by now."""
        return [
            number
            for number, owned in self.active.items()
            if self._fold.partitions[number].fence != owned.versions.fence
        ]

    def announce(self, partitions: Iterable[int], *, always: bool = False) -> int:
        """Write progress where there is any to tell, or ``always``: control time stands still unless somebody writes, and two
        ticks that got one append time must not be the last ones. Returns how many records."""
        news: list[tuple[Owned, tuple[object, ...], Record]] = []
        for number in partitions:
            owned = self.active.get(number)
            if owned is None:
                continue
            told: tuple[object, ...] = (owned.position, owned.through, repr(owned.forwarded))
            if always or told != owned.announced:
                news.append((owned, told, control_record(owned.progress())))
        if news:
            self._sink.produce([record for *_, record in news])
        for owned, said, _ in news:
            owned.announced = said
        return len(news)
