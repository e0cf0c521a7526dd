"""Loading: one source, read once from beginning to end, through a mapping into the event log.

A run is an epoch of the source that its mapping names. What it vouches for (hello and closed goodbye) is written together,
after the last acknowledgement: a run that was killed, or that could not read to the end, changes no hearing, and is simply
run again, since the same rows make the same event ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from collectors.counts import Counts
from collectors.inputs.record import Input, Row, Unreadable
from collectors.mapper import Mapper
from collectors.mapping_file import MappingFile
from collectors.personal import Guard
from schemas.errors import Invalid
from schemas.event import Event
from schemas.times import EARLIEST, format_time
from tracer.emitter import Emitter
from tracer.keyring import NoKey
from tracer.keys import Normalise
from tracer.privacy import Privacy
from tracer.sinks.contract import Sink

_BREATH = 500


@dataclass(slots=True, kw_only=True)
class Tally(Counts):
    """What a run did. ``epoch``, ``through``: µs."""

    epoch: int
    through: int


class Loader:
    """Loads sources through one mapping.

    Args:
        file: the mapping.
        sink: the event log.
        clock: µs; what an epoch and "now" are.
        transaction_types: key types by which records are placed (the landscape's).
        normalise: key type to the form under which its values meet (the landscape's).
        privacy: what is personal; it leaves this machine hashed, or not at all.
    """

    def __init__(
        self,
        file: MappingFile,
        sink: Sink,
        clock: Callable[[], int],
        transaction_types: Iterable[str] = (),
        normalise: Normalise | None = None,
        privacy: Privacy | None = None,
    ) -> None:
        self._file = file
        self._sink = sink
        self._clock = clock
        self._types = tuple(transaction_types)
        self._normalise = normalise
        self._privacy = privacy or Privacy()

    def load(
        self,
        source: Input,
        *,
        through: int | None = None,
        since: int = EARLIEST,
        progress: Callable[[Tally], None] = lambda _: None,
    ) -> Tally:
        """Read the source to its end and vouch for it.

        Args:
            through: µs; until when the list is complete, when it was drawn if None.
            since: µs from which on it is; the beginning of time unless it is told otherwise.
            progress: called now and then.

        Raises:
            Invalid: the source does not fit the mapping, ends in the middle, or is mostly bad; ``through`` makes no sense; there
                is no key by which to hash what is personal.
            Unavailable: the source or the log is away.
        """
        epoch = self._clock()
        tally = Tally(epoch=epoch, through=self._through(source, through, since, epoch))
        if source.columns is not None:
            self._file.check_columns(source.columns)
        mapping, mapper = self._file.mapping, Mapper(self._file.mapping)
        guard = Guard(self._privacy, mapper, source.columns or ())
        try:
            guard.require()
        except NoKey as error:
            raise Invalid(str(error)) from None
        emitter = Emitter(
            self._sink, mapping.mapping, epoch, mapping.systems(), self._clock,
            since=since, transaction_types=self._types, normalise=self._normalise, load=True,
        )  # fmt: skip
        _Run(source, mapper, guard, emitter, tally).read(progress)
        if not emitter.systems:
            raise self._file.mistake("no record names a system, so there is none to vouch for", "events.0.system")
        emitter.goodbye("closed", tally.through)
        return tally

    def _through(self, source: Input, told: int | None, since: int, now: int) -> int:
        # A file's time is the file server's, which may be ahead of ours.
        through = min(source.drawn, now) if told is None else told
        if through > now:
            raise Invalid(f"the list cannot be complete through {format_time(through)}: that is still to come")
        if through <= since:
            reason = f"complete through {format_time(through)}, which is before it begins; use --complete-through"
            raise Invalid(reason, file=source.name)
        return through


class _Run:
    """One source on its way through."""

    def __init__(self, source: Input, mapper: Mapper, guard: Guard, emitter: Emitter, tally: Tally):
        self._source, self._mapper, self._guard = source, mapper, guard
        self._emitter, self._tally = emitter, tally
        self._systems = dict.fromkeys(emitter.systems)

    def read(self, progress: Callable[[Tally], None]) -> None:
        tally = self._tally
        for row in self._source:
            tally.read += 1
            if isinstance(row, Unreadable):
                self._set_aside(row, row.reason)
            else:
                self._row(row)
            if tally.read % _BREATH == 0:
                self._emitter.tick()
                progress(tally)
        self._emitter.systems = tuple(self._systems)
        progress(tally)

    def _row(self, row: Row) -> None:
        events, faults = self._mapper.map(row.fields)
        for event, form in zip(events, self._guard.clear(row, map(wire_form, events)).events, strict=True):
            try:
                self._emitter.emit(form)
            except ValueError as error:
                self._set_aside(row, f"{event.step}: {error}")
            else:
                self._tally.events += 1
                self._systems[event.system] = None
        for fault in faults:
            self._set_aside(row, str(fault), fault.field)
        self._tally.without += not events and not faults

    def _set_aside(self, row: Row | Unreadable, reason: str, field: str = "") -> None:
        tally = self._tally
        told = str(Invalid(self._guard.reason(reason, row, field), file=self._source.name, line=row.line))
        body, withheld = self._guard.aside(row, f"{self._source.name}:{row.line}")
        self._emitter.set_aside(body, told, f"{self._emitter.source}:{row.line}")
        tally.fault(told, withheld=withheld)
        if tally.mostly_bad():
            self._emitter.flush()
            raise Invalid(
                f"stopped after {tally.read} records: {tally.quarantined} faults and {tally.events} events, "
                f"so the mapping does not seem to fit. The first: {tally.first_fault}"
            )


def wire_form(event: Event) -> dict[str, Any]:
    """The event as it travels: without what is empty."""
    data: dict[str, Any] = {
        "id": event.id, "system": event.system, "step": event.step, "phase": event.phase.value, "time": event.time,
        "keys": event.keys,
    }  # fmt: skip
    for name in ("peer", "attributes", "error"):
        value = getattr(event, name)
        if value:
            data[name] = value
    return data
