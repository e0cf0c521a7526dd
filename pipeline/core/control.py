"""The fold of control: one total order in, each system's clock, blind intervals and silence out (DESIGN.md §4).

Laws: the fold is a pure function of the records and their append times, in order; batches do not matter; every worker that has
read as far says the same. Leases and silence run on control time and on nothing else. A marker is settled when what it
vouches for has been processed through every forwarding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline.core.epoch import Epoch, Mark, Trust
from pipeline.core.hearing import (
    FOREVER,
    NEVER,
    Covered,
    Hearing,
    Interval,
    gaps,
    merge_intervals,
)
from pipeline.core.settling import Partition, Settling
from schemas.control import (
    Control,
    Distrust,
    FlowPublished,
    Gone,
    Goodbye,
    Hello,
    Marker,
    Own,
    Partitions,
    Progress,
)
from schemas.errors import Invalid
from schemas.event import first_fault
from schemas.flow import Flow, Flows
from schemas.landscape import Landscape

EpochKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Heard:
    """How a system was heard, which stays while no epoch of it becomes another: only the clocks of ``speaking`` go on.
    ``clock``: where nobody speaks; None where nobody ever spoke."""

    speaking: tuple[Epoch, ...] = ()
    clock: int | None = None
    deaf: tuple[Interval, ...] = ()
    silent: bool = False


class ControlFold:
    """What the control topic says, up to ``position``.

    ``now``: control time, the greatest append time read, µs. ``version`` changes whenever an answer may have.
    """

    def __init__(self, landscape: Landscape):
        self.landscape = landscape
        self.now = NEVER
        self.position = 0
        self.version = 0
        self.log = ""
        self.epochs: dict[EpochKey, Epoch] = {}
        self.published: dict[tuple[str, int], FlowPublished] = {}
        self.conflicts: list[FlowPublished] = []
        self.invalid = 0
        self._names: dict[str, list[Epoch]] = {}
        self._trusts: dict[EpochKey, Trust] = {}
        self._by_system: dict[str, list[EpochKey]] = {}
        self._unsettled: dict[EpochKey, None] = {}
        self._watched: dict[EpochKey, Epoch] = {}
        # What is asked in every step, kept: with a thousand killed pods, finding it anew took 660 ms.
        self._heard: dict[str, _Heard] = {}
        self._speaks_for: dict[str, set[str]] = {}
        self._departed: dict[EpochKey, Epoch] = {}
        self._skews: dict[EpochKey, int] = {}
        self._distrusted: set[EpochKey] = set()
        self._settling = Settling()

    @property
    def partitions(self) -> Mapping[int, Partition]:
        """How far each partition is of which anything was said."""
        return self._settling.partitions

    @property
    def partition_count(self) -> int:
        """How many the events have, 0 while nobody said so."""
        return self._settling.count

    # Records -------------------------------------------------------------------------------------------------------

    def apply(self, offset: int, append_time: int, record: Control | None) -> None:
        """Take the next record. ``None`` is one that could not be read: it is counted, and its append time counts."""
        adjacent = offset == self.position
        self.position = offset + 1
        self.version += 1
        self._advance(append_time, adjacent=adjacent)
        if record is None:
            self.invalid += 1
        elif isinstance(record, Marker | Goodbye):
            self._marker(offset, record)
        elif isinstance(record, Progress):
            self._progress(record)
        elif isinstance(record, Hello):
            self._hello(offset, record)
        elif isinstance(record, Own):
            self._settling.own(offset, record)
        elif isinstance(record, Partitions):
            self._settling.count = record.count
            self.log = record.log or self.log
        elif isinstance(record, FlowPublished):
            self._published(record)
        elif isinstance(record, Gone):
            self._gone(record)
        elif isinstance(record, Distrust):
            self._distrust(record)

    def _advance(self, append_time: int, *, adjacent: bool) -> None:
        before, self.now = self.now, max(self.now, append_time)
        gap = self.now - before if before != NEVER and adjacent else 0
        for key, epoch in list(self._watched.items()):
            if epoch.goodbye or epoch.gone_at is not None:
                del self._watched[key]
                continue
            if epoch.expired_at is None:
                # After an outage of control nobody could have renewed: a gap longer than half a lease renews it. Where offsets
                # are missing too, the gap is what compaction left, and says nothing.
                if gap > epoch.lease // 2:
                    epoch.last_at = self.now
                elif epoch.last_at + epoch.lease < self.now:
                    epoch.expired_at = epoch.last_at + epoch.lease
                    self._changed(epoch.source)
            if epoch.expired_at is not None and epoch.expired_at + self.landscape.gone_after <= self.now:
                epoch.gone_at = epoch.expired_at + self.landscape.gone_after
                self._departed[key] = epoch
                self._changed(epoch.source)

    def _changed(self, source: str) -> None:
        """What was kept of its systems is found anew. Of all that its name speaks for: one epoch ends where the next begins."""
        for system in self._speaks_for.get(source, ()):
            self._heard.pop(system, None)

    def _epoch(self, offset: int, record: Hello | Marker | Goodbye) -> Epoch:
        key = (record.source, record.epoch)
        epoch = self.epochs.get(key)
        if epoch is None:
            epoch = Epoch(
                source=record.source,
                epoch=record.epoch,
                number=offset,
                systems=(),
                boot=self.now,
                since=self.now,
                every=getattr(record, "every", None) or 2_000_000,
                first_at=self.now,
                last_at=self.now,
                trust=self._trusts.setdefault(key, Trust()),
            )
            self.epochs[key] = epoch
            self._supersede(epoch)
        self._watched[key] = epoch
        for system in record.systems:
            name = self.landscape.current_name(system)
            if name not in epoch.systems:
                epoch.systems = (*epoch.systems, name)
                self._by_system.setdefault(name, []).append(key)
                self._speaks_for.setdefault(epoch.source, set()).add(name)
                self._changed(epoch.source)
        return epoch

    def _supersede(self, epoch: Epoch) -> None:
        """A new epoch of a name ends those before it, provisionally: from when, its own ``since`` says."""
        others = self._names.setdefault(epoch.source, [])
        for other in others:
            if other.ended_by is None and other.epoch < epoch.epoch:
                other.ended_by = epoch
        others.append(epoch)
        self._changed(epoch.source)

    def _hello(self, offset: int, record: Hello) -> None:
        epoch = self._epoch(offset, record)
        if epoch.hello_at is None:
            epoch.hello_at = self.now
        if not epoch.goodbye:
            epoch.revive(self.now)
        epoch.boot, epoch.since, epoch.every = record.boot, record.since, record.every
        self._changed(epoch.source)

    def _marker(self, offset: int, record: Marker | Goodbye) -> None:
        epoch = self._epoch(offset, record)
        if epoch.goodbye and isinstance(record, Marker) and record.through <= epoch.through:
            return
        standing = epoch.standing(self.landscape.grace)
        if epoch.goodbye and isinstance(record, Marker):
            epoch.come_back(self.now)
        epoch.revive(self.now)
        if isinstance(record, Marker) and record.every:
            epoch.every = record.every
        if record.skew is not None:
            epoch.skew = record.skew if epoch.skew is None else min(epoch.skew, record.skew)
            if epoch.correction:
                self._skews[epoch.source, epoch.epoch] = epoch.skew
            else:
                self._skews.pop((epoch.source, epoch.epoch), None)
        epoch.count(record.sent, record.shed, record.shed_ranges)
        epoch.numbered = epoch.numbered or record.accounted is not None
        for partition, offset_after in record.acked.items():
            epoch.acked[partition] = max(offset_after, epoch.acked.get(partition, 0))
        epoch.goodbye = record.state if isinstance(record, Goodbye) else ""
        epoch.goodbye_settled, epoch.goodbye_at = False, self.now
        accounted = record.sent if record.accounted is None else record.accounted
        epoch.add(Mark(record.through, dict(epoch.acked), isinstance(record, Goodbye), accounted))
        self._unsettled[epoch.source, epoch.epoch] = None
        self._settle(epoch)
        self._compare(epoch, standing)

    def _compare(self, epoch: Epoch, before: tuple[object, ...] | None) -> None:
        if before is None or before != epoch.standing(self.landscape.grace):
            self._changed(epoch.source)

    def _progress(self, record: Progress) -> None:
        if self._settling.progress(record):
            for key in list(self._unsettled):
                self._settle(self.epochs[key])

    def _published(self, record: FlowPublished) -> None:
        known = self.published.setdefault((record.flow, record.version), record)
        if known.digest != record.digest:
            self.conflicts.append(record)

    def _gone(self, record: Gone) -> None:
        """A person's decision, or (with ``at``) what a worker saw come to pass, kept for those who read control compacted."""
        for epoch in self._names.get(record.source, ()):
            if record.epoch not in (None, epoch.epoch) or epoch.goodbye:
                continue
            if record.at is None:
                epoch.gone_at = self.now if epoch.gone_at is None else epoch.gone_at
                epoch.expired_at = self.now if epoch.expired_at is None else epoch.expired_at
            elif epoch.expired_at is not None:
                epoch.gone_at, epoch.gone_told = record.at, True
            self._departed[epoch.source, epoch.epoch] = epoch
        self._changed(record.source)

    def _distrust(self, record: Distrust) -> None:
        key = (record.source, record.epoch)
        trust = self._trusts.setdefault(key, Trust())
        if record.lifted:
            trust.lift(record.since, self.now)
            self._distrusted.discard(key)
        else:
            trust.withdraw(record.since, self.now)
            self._distrusted.add(key)
        self._changed(record.source)

    def _settle(self, epoch: Epoch) -> None:
        while self._settling.ready(epoch):
            standing = epoch.standing(self.landscape.grace)
            epoch.settle_first()
            self._compare(epoch, standing)
        if not epoch.pending:
            self._unsettled.pop((epoch.source, epoch.epoch), None)

    # Answers -------------------------------------------------------------------------------------------------------

    def processed(self) -> int:
        """How far all partitions have been processed, and what that sent on, µs of the log's time, less the settling time."""
        through = self._settling.processed()
        return NEVER if through == NEVER else through - self.landscape.settling

    def systems(self) -> list[str]:
        """Systems of which a source ever spoke."""
        return sorted(self._by_system)

    def hearing(self, system: str) -> Hearing:
        """How a system was heard, as far as control was read."""
        found = self._heard.get(system)
        if found is None:
            found = self._heard[system] = self._listen(system)
        if found.clock is None:
            return Hearing(system, self.processed(), unvouched=True)
        grace = self.landscape.grace
        clock = min([epoch.clock(self.now, grace) for epoch in found.speaking], default=found.clock)
        return Hearing(system, clock, found.deaf, silent=found.silent)

    def _listen(self, system: str) -> _Heard:
        epochs = [epoch for key in self._by_system.get(system, ()) if not (epoch := self.epochs[key]).begins]
        if not epochs:
            return _Heard()
        active = tuple(epoch for epoch in epochs if epoch.live or epoch.open or epoch.leaving)
        down = [epoch for epoch in epochs if self._lost(epoch)]
        silent = not active and bool(down)
        if down:
            # Its clock stays where it was: at what the last that fell silent had vouched for.
            last = max(epoch.fell_at for epoch in down)
            clock = min(epoch.vouched() for epoch in down if epoch.fell_at == last)
        else:
            clock = max(epoch.log_time(epoch.settled) for epoch in epochs)
        return _Heard(active, clock, self._deaf(epochs, silent=silent), silent)

    def _lost(self, epoch: Epoch) -> bool:
        """Neither live nor said goodbye, and nobody took its place."""
        return epoch.ended_by is None and (epoch.distrusted or not (epoch.live or epoch.goodbye))

    def _deaf(self, epochs: list[Epoch], *, silent: bool) -> tuple[Interval, ...]:
        covers = [epoch.covers() for epoch in epochs]
        missing, covered = gaps(covers), Covered(covers)
        if not silent and missing and missing[-1][1] == FOREVER:
            # A closed source is no silence: what comes after it is awaited, not missed.
            missing.pop()
        for epoch, own in zip(epochs, covers, strict=True):
            missing.extend(epoch.trust.deaf)
            missing.extend(epoch.late(self.landscape.grace))
            missing.extend(epoch.cut())
            if epoch.trust.since is not None:
                end = FOREVER if epoch.ended_by is None else epoch.ended_since
                missing.append((min(epoch.vouched(), epoch.trust.since), end))
            elif not (epoch.live or epoch.goodbye):
                missing.append((epoch.vouched(), self._blind_until(epoch, own, covered)))
        return merge_intervals(missing)

    def _blind_until(self, epoch: Epoch, own: Interval, covered: Covered) -> int:
        """A dead source is blind until its name has a new epoch, or it is gone and another speaks for the system."""
        if epoch.ended_by is not None:
            return epoch.ended_since
        return FOREVER if epoch.gone_at is None else covered.by_another(own, epoch.gone_at)

    def departed(self) -> list[Gone]:
        """What came to pass by time alone and stands in no record yet: sources that are gone."""
        for key, epoch in list(self._departed.items()):
            if epoch.gone_at is None or epoch.gone_told or epoch.ended_by is not None:
                del self._departed[key]
        return [
            Gone(source=epoch.source, epoch=epoch.epoch, at=epoch.gone_at)
            for epoch in sorted(self._departed.values(), key=lambda epoch: epoch.number)
        ]

    def distrusted(self) -> set[EpochKey]:
        """Sources that are set aside: their input is mostly bad."""
        return set(self._distrusted)

    def skews(self) -> dict[EpochKey, int]:
        """Sources whose clock is off by more than two seconds: what is added to their times, µs."""
        return dict(self._skews)

    def flows(self) -> Flows:
        """All published flows; of two with one version the first. Raises ``Invalid`` for one that this code cannot read: to leave
        it out would be to judge otherwise than those who can."""
        return Flows([_flow_of(record) for record in self.published.values()])


def _flow_of(record: FlowPublished) -> Flow:
    try:
        return Flow.model_validate(record.content)
    except ValidationError as error:
        fault = first_fault(error)
        raise Invalid(
            f"control holds version {record.version} of the flow {record.flow}, which this lastseen cannot read"
            f" ({fault.reason}): it was published by a newer one, or is none",
            field=fault.field,
        ) from None
