"""Growth: the number of partitions of the events, changed while nobody works (DESIGN.md §5).

Laws:

- Two workers with two numbers would both own a transaction: the number changes while the group has no member. (One that was only
  stopped finds the new number in control before it claims anything, and its fence is older than any of theirs that know it.)
- It changes when all that the log held when it was asked for has been processed, through every forwarding. What came since lies
  where the old number put it, as whatever a foreign producer misplaces, and is sent on.
- First the log gets its partitions, then control says so. Whoever dies in between leaves two numbers, of which every worker says
  that it will not work; the same again mends it. So it does where somebody added partitions by other means: then nobody can
  process what is there by the old number, and it is all sent on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.core.control import ControlFold
from pipeline.errors import Invalid, Unavailable
from pipeline.log import ControlReader, Log
from pipeline.log.contract import fewer, made_anew
from pipeline.work.ownership import control_record
from schemas.control import Partitions, decode_control
from schemas.landscape import Landscape
from tracer.record import EVENTS

_AT_ONCE = 10_000
_WAIT_MS = 5_000


class Standing(NamedTuple):
    """``behind``: records that have to be processed first. ``members``: who works, as a message names them."""

    behind: int
    members: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return not self.behind and not self.members


class Growth:
    """A change to ``count`` partitions, asked for now.

    Raises (from its methods too): ``Invalid`` where the log or control has more already, ``Unavailable``.
    """

    def __init__(self, log: Log, landscape: Landscape, count: int):
        self.count = count
        self._log = log
        self._fold = ControlFold(landscape)
        self._reader = log.control_reader()
        try:
            self.have = log.partitions()
            self._begins, self._ends = _bounds(log, self.have)
            self._read()
            if self._fold.log not in ("", log.identity()):
                raise Invalid(made_anew(log.name, EVENTS))
            for known in (self.have, self.said):
                if count < known:
                    raise fewer(log.name, known, count)
        except BaseException:
            self._reader.close()
            raise

    @property
    def said(self) -> int:
        """The number that workers go by; 0 where none ever worked."""
        return self._fold.partition_count

    @property
    def needed(self) -> bool:
        """Whether there is anything to change: a log that nobody works yet needs no word in control."""
        return self.have != self.count or self.said not in (0, self.count)

    @property
    def apart(self) -> bool:
        """Whether the log has another number than workers go by, so that none will work."""
        return self.said not in (0, self.have)

    def standing(self) -> Standing:
        """What there is to wait for, now."""
        self._read()
        members = tuple(self._log.members())
        # Where nobody works by a number, nothing has its place by one.
        return Standing(0 if self.apart or not self.said else self._behind(), members)

    def _behind(self) -> int:
        targets = dict(self._ends)
        for partition in self._fold.partitions.values():
            for offsets in partition.forwarded.values():
                for number, after in offsets.items():
                    targets[number] = max(after, targets.get(number, 0))
        return sum(max(0, end - self._done(number)) for number, end in targets.items())

    def _done(self, number: int) -> int:
        known = self._fold.partitions.get(number)
        return max(known.position if known else 0, self._begins.get(number, 0))

    def change(self) -> None:
        """Do it. Raises ``Unavailable`` where there is still something to wait for."""
        standing = self.standing()
        if not standing.ready:
            raise Unavailable(f"the number of partitions stays {self.said or self.have}: {why_not(standing)}")
        self._log.extend(self.count)
        sink = self._log.producer()
        try:
            sink.produce([control_record(Partitions(count=self.count, log=self._log.identity()))])
        finally:
            sink.close()

    def _read(self) -> None:
        read_control(self._reader, self._fold)

    def close(self) -> None:
        self._reader.close()


def why_not(standing: Standing) -> str:
    """What a person has to do or wait for."""
    many = len(standing.members)
    who = f"{', '.join(standing.members[:3])}{f' and {many - 3} more' if many > 3 else ''}"
    if standing.behind:
        waiting = f"{standing.behind:,} record{'s' * (standing.behind != 1)} not processed yet"
        return (
            f"{waiting} by {who}" if many else f"{waiting}, and no worker runs: lastseen worker --drain processes them"
        )
    return f"all is processed; now stop {'the worker' if many == 1 else f'the {many} workers'}: {who}"


def said_otherwise(log: Log, landscape: Landscape) -> str:
    """What is wrong where control has another number than the log, and how to mend it; "" where all is well."""
    fold, reader = ControlFold(landscape), log.control_reader()
    try:
        read_control(reader, fold)
    finally:
        reader.close()
    have, said = log.partitions(), fold.partition_count
    if said in (0, have):
        return ""
    return (
        f"the events have {have} partitions where control says {said}, so no worker works: "
        f"lastseen setup --partitions {max(have, said)} mends it"
    )


def read_control(reader: ControlReader, fold: ControlFold) -> None:
    """Fold control up to its present end. Raises ``Unavailable``."""
    end = reader.end_offset()
    while reader.position() < end:
        records = reader.read(_AT_ONCE, _WAIT_MS)
        if not records and reader.position() < end:
            raise Unavailable("control cannot be read to its end just now")
        for record in records:
            try:
                control = decode_control(record.value)
            except Invalid:
                fold.apply(record.offset, record.append_time, None)
            else:
                fold.apply(record.offset, record.append_time, control)


def _bounds(log: Log, partitions: int) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """First offset and end of each partition. Asked by a consumer that never polls, and so is no member."""
    consumer = log.consumer()
    try:
        return consumer.beginning_offsets(range(partitions)), consumer.end_offsets(range(partitions))
    finally:
        consumer.close()
