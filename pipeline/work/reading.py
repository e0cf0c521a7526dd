"""Reading: whether a person's word was read wherever it had to be, as far as workers say so in control."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.control import ControlFold
from pipeline.log import Log
from pipeline.work.growth import read_control
from schemas.landscape import Landscape
from tracer.record import Ack


class Reading:
    """How far workers have read words that were written, and what these made them tell each other, by what they say in control.

    ``acks``: of the words' records. Raises (from its methods too) ``Unavailable``."""

    def __init__(self, log: Log, landscape: Landscape, acks: Iterable[Ack]):
        self._fold, self._reader = ControlFold(landscape), log.control_reader()
        self._targets = {ack.partition: ack.offset + 1 for ack in acks}
        self._told = False

    def unread(self) -> list[int]:
        """Partitions of which no worker says yet that it is through with it: each has its own part of what is kept."""
        read_control(self._reader, self._fold)
        if not self._left() and not self._told:
            # Of each transaction that goes its owner has told all partitions, before it said that it is through.
            self._told = True
            for partition in self._fold.partitions.values():
                for number, after in partition.forwarded.get(1, {}).items():
                    self._targets[number] = max(after, self._targets.get(number, 0))
        return self._left()

    def _left(self) -> list[int]:
        known = self._fold.partitions
        return sorted(
            number for number, after in self._targets.items() if number not in known or known[number].position < after
        )

    def close(self) -> None:
        self._reader.close()
