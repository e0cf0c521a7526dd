"""Desk: control, as a worker reads it and what it writes there of its own accord."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipeline.core.control import ControlFold
from pipeline.errors import Invalid, Unavailable
from pipeline.log import Consumer, Log, LogRecord, PositionLost
from pipeline.log.contract import made_anew
from pipeline.work.ownership import control_record
from pipeline.work.patience import Patience
from schemas.control import Control, Distrust, FlowPublished, Partitions, decode_control
from schemas.event import MAX_INTEGER
from schemas.flow import Flow, Flows
from tracer.record import CONTROL, EVENTS
from tracer.sinks.contract import Sink

log = logging.getLogger("lastseen.worker")
_AT_ONCE = 10_000
_IN_TIME_MS = 2_000


class Desk:
    """Reads control into ``fold``; agrees on partitions and flows; notes who left, and who is not to be trusted."""

    def __init__(self, source: Log, fold: ControlFold, sink: Sink, patience: Patience):
        self._log, self._fold, self._sink, self._patience = source, fold, sink, patience
        self._reader = source.control_reader()

    def close(self) -> None:
        self._reader.close()

    def end(self) -> int:
        """The offset after control's last record, asked now."""
        return self._patience.insist(self._reader.end_offset)

    def read(self) -> None:
        """Fold what is new in control, to its present end. Raises ``PositionLost`` where that lies before what was read."""
        end = self.end()
        position = self._patience.insist(self._reader.position)
        if end < position:
            raise PositionLost(made_anew(self._log.name, CONTROL))
        while position < end:
            for record in self._patience.insist(lambda: self._some(end)):
                try:
                    control = decode_control(record.value)
                except Invalid as error:
                    log.warning("control record %d is skipped: %s", record.offset, error)
                    self._fold.apply(record.offset, record.append_time, None)
                else:
                    self._fold.apply(record.offset, record.append_time, control)
            position = self._patience.insist(self._reader.position)

    def _some(self, end: int) -> list[LogRecord]:
        """The next records. Raises ``Unavailable`` where there are some below ``end`` and none comes: a client that lost its
        broker reads nothing, and says nothing."""
        records = self._reader.read(_AT_ONCE, _IN_TIME_MS)
        if not records and self._reader.position() < end:
            raise Unavailable(f"{self._log.name}: control is not handed out, though there is more of it")
        return records

    def agree_on_partitions(self, consumer: Consumer) -> int:
        """How many the events have; says so where nobody did. Raises ``Invalid`` where control says otherwise, and ``PositionLost``
        where it speaks of another topic, or of none though the group has read this one: one of the two was made anew."""
        count = self._patience.insist(self._log.partitions)
        topic = self._patience.insist(self._log.identity)
        if not self._fold.position:
            committed = self._patience.insist(lambda: consumer.committed(range(count)))
            # Others may have begun since control was found empty: what they wrote there came before what they committed.
            self.read()
            if not self._fold.position and any(position is not None for position in committed.values()):
                raise PositionLost(made_anew(self._log.name, CONTROL))
        if self._fold.log not in ("", topic):
            raise PositionLost(made_anew(self._log.name, EVENTS))
        if self._fold.partition_count and self._fold.partition_count != count:
            raise Invalid(
                f"{self._log.name} has {count} partitions where control says {self._fold.partition_count}: "
                "their number is changed by `lastseen setup --partitions`, with workers stopped"
            )
        if not self._fold.partition_count or self._fold.log != topic:
            self._write([Partitions(count=count, log=topic)])
        return count

    def publish(self, flows: Flows) -> Flows:
        """Publish what is not; whoever publishes a version second with other content is refused (one version decides)."""
        new = []
        for flow in flows.all():
            known = self._fold.published.get((flow.flow, flow.version))
            if known is None:
                new.append(_publication(flow))
            elif known.digest != flow.digest():
                raise Invalid(
                    f"version {flow.version} of flow {flow.flow} was published with other content; give the change a new version"
                )
        if new:
            self._write(new)
            self.read()
            return self.publish(flows)
        return self._fold.flows()

    def note_departed(self) -> None:
        """Write down who is gone by time alone: whoever reads control when it is compacted cannot tell any more."""
        departed = self._fold.departed()
        if departed:
            self._write(departed)
            self.read()

    def set_aside(self, sources: Iterable[tuple[str, int]]) -> None:
        """Say that these sources (name, epoch) are not to be trusted from what they last vouched for on."""
        for source, epoch in sources:
            log.error(
                "source %s (epoch %d) is set aside: its input is mostly bad; it counts as not heard", source, epoch
            )
            known = self._fold.epochs.get((source, epoch))
            since = min(max(known.vouched() if known is not None else self._fold.now, 0), MAX_INTEGER)
            self._write([Distrust(source=source, epoch=epoch, since=since, reason="its input is mostly bad")])

    def _write(self, controls: Iterable[Control]) -> None:
        records = [control_record(control) for control in controls]
        self._patience.insist(lambda: self._sink.produce(records))


def _publication(flow: Flow) -> FlowPublished:
    content = flow.model_dump(mode="json")
    return FlowPublished(flow=flow.flow, version=flow.version, digest=flow.digest(), since=flow.since, content=content)
