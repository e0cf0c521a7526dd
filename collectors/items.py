"""Items: what becomes of each that a collector reads. It is mapped and emitted, or set aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from collectors.counts import LEAST_BAD, Counts
from collectors.formats.contract import Item
from collectors.inputs.live import Parcel, Placed
from collectors.patience import Patience, Tell
from collectors.personal import bytes_of
from collectors.reader import Reader
from collectors.withheld import Kept, Withheld
from schemas.errors import Invalid
from tracer.emitter import Emitter
from tracer.errors import Unavailable


class Items:
    """Of the collector ``name``. ``withheld``: where bytes are kept that may not leave this machine."""

    def __init__(
        self, name: str, reader: Reader, emitter: Emitter, clock: Callable[[], int], patience: Patience, tell: Tell,
        withheld: Withheld | None = None,
    ):  # fmt: skip
        self.counts = Counts()
        self._name, self._reader, self._emitter, self._clock = name, reader, emitter, clock
        self._patience, self._tell, self._withheld = patience, tell, withheld
        self._bad_told = LEAST_BAD

    def emit(self, parcel: Parcel) -> Iterator[bool]:
        """Item after item: whether it was taken. Goes on where it was. Raises ``NoKey``."""
        around = parcel.around or parcel.known or self._clock()
        beside = [placed.item for placed in parcel.items]
        for placed in parcel.items:
            self.counts.read += 1
            output = self._reader.read(parcel.stream, placed, around)
            aside = list(output.aside)
            for event in output.events:
                while not self._sent(event, aside):
                    yield False
                yield True
            for reason in aside:
                while not self._set_aside(parcel, placed, reason, beside):
                    yield False
                yield True
            self.counts.without += not output.events and not aside

    def _sent(self, event: dict[str, Any], aside: list[str]) -> bool:
        try:
            self._emitter.emit(event)
        except Unavailable:
            return False
        except ValueError as error:
            aside.append(f"{event['step']}: {error}")
        else:
            self.counts.events += 1
        return True

    def _set_aside(self, parcel: Parcel, placed: Placed, reason: str, beside: list[Item]) -> bool:
        item, name = placed.item, parcel.name or self._name
        told = str(Invalid(reason, file=name, line=item.line))
        body, withheld = self._reader.guard.aside(item, f"{name}:{item.line}", beside)
        try:
            if withheld and self._withheld is not None:
                digest = json.loads(body).get("digest", "")
                self._withheld.keep(Kept(self._name, parcel.stream, placed.place, told, digest, bytes_of(item)))
            self._emitter.set_aside(body, told, f"{self._name}:{self._reader.guard.place(placed.place, item)}")
        except Unavailable as error:
            self._patience.waiting(str(error))
            return False
        counts = self.counts
        counts.fault(told, withheld=withheld)
        if counts.mostly_bad(self._bad_told):
            self._bad_told = 10 * counts.quarantined
            self._tell(
                f"{self._name}: MOSTLY BAD: {counts.quarantined} faults and {counts.events} events, so the collector's file does "
                f"not seem to fit, and workers set the source aside. The first: {counts.first_fault}"
            )
        return True
