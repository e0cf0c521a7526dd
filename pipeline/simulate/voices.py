"""Voices: how a pod comes to be heard. An instrumented one emits by itself, as ``tracer`` does; what others only write is read by a
collector's own code, in this process and on the simulator's clock.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import CollectorFile, read_collector
from collectors.formats.contract import Format
from collectors.inputs.live import Context, LiveInput, Parcel, Placed
from pipeline.simulate.deeds import Deed
from pipeline.simulate.written import Interchanges, LogFile, Spans, Writer
from schemas.landscape import Landscape
from tracer.emitter import Emitter, Limits
from tracer.sinks.contract import Sink

FILES = Path(__file__).with_name("collectors")
READ = frozenset(path.stem for path in FILES.glob("*.yaml"))
"""Systems that nobody instruments: a collector's file is there for each."""
# A spool may hold a day of a system; nothing is shed, and nothing is sent before it is time.
LIMITS = Limits(batch_events=1_000, linger=0, queue_events=10_000_000, queue_bytes=2**40)


class Voice(Protocol):
    """One boot of a pod. ``observe``: the system did something. ``send``: what was observed reaches the log; ``whole``: all of
    it, acknowledged. ``mark``: it says how far it has got. ``leave``: it says goodbye. ``fall_silent``: what was observed is sent,
    and nothing more is ever heard."""

    def observe(self, deed: Deed) -> None: ...

    def send(self, *, whole: bool) -> None: ...

    def mark(self) -> None: ...

    def leave(self) -> None: ...

    def fall_silent(self) -> None: ...


class Told(NamedTuple):
    """Of a boot: ``name`` of the pod, whose ``system`` it speaks for; its ``clock``, which is ``skew`` µs ahead; µs between markers
    (``every``)."""

    name: str
    system: str
    clock: Callable[[], int]
    skew: int
    every: int


class Instrumented:
    """A pod that emits."""

    def __init__(self, sink: Sink, told: Told, landscape: Landscape):
        name, system, clock, skew, every = told
        self._skew = skew
        self._emitter = Emitter(
            sink, name, clock(), (system,), clock, every=every,
            transaction_types=landscape.transaction_types(), limits=LIMITS,
        )  # fmt: skip
        # Hello, its acknowledgement, the first marker: with every log within the same instant.
        for _ in range(2):
            self._emitter.tick()
            sink.poll()

    def observe(self, deed: Deed) -> None:
        self._emitter.emit(deed.event(self._skew))

    def send(self, *, whole: bool) -> None:
        if whole:
            self._emitter.flush()
        else:
            self._emitter.tick()

    def mark(self) -> None:
        self._emitter.tick()

    def leave(self) -> None:
        self._emitter.goodbye("open")

    def fall_silent(self) -> None:
        self._emitter.flush()


class Read:
    """A pod whose system writes, and a collector beside it reads. Each boot has a folder of its own: what a host that died had
    written and nobody read went with it."""

    def __init__(self, sink: Sink, told: Told, landscape: Landscape):
        name, system, clock, skew, every = told
        self._sink, self._skew = sink, skew
        self._folder = tempfile.TemporaryDirectory(prefix="lastseen-simulate-")
        folder = Path(self._folder.name)
        file = read_collector(FILES / f"{system}.yaml")
        self._writer: Writer = _writer(system, folder)
        if isinstance(self._writer, Spans):
            file = replace(file, input=_Exported(self._writer))
        self._collecting = Collecting(
            _named(file, name, folder), sink, _Unsaved(), clock, {}, landscape=landscape, limits=LIMITS, every=every
        )
        for _ in range(2):
            self.mark()

    def observe(self, deed: Deed) -> None:
        self._writer.write(deed, self._skew)

    def send(self, *, whole: bool) -> None:
        self._writer.done()
        while whole and self._collecting.read():
            self._collecting.flush()
        while not whole and self._collecting.step():
            self._sink.poll()

    def mark(self) -> None:
        self._collecting.step()
        self._sink.poll()

    def leave(self) -> None:
        self.send(whole=True)
        self._collecting.stop()
        self._close()

    def fall_silent(self) -> None:
        self.send(whole=True)
        self._collecting.abandon()
        self._close()

    def _close(self) -> None:
        self._writer.close()
        self._folder.cleanup()


def voice_of(sink: Sink, told: Told, landscape: Landscape, read: frozenset[str] = READ) -> Voice:
    """How a pod of a system is heard; ``read``: systems of which a collector reads what they write."""
    return (Read if told.system in read else Instrumented)(sink, told, landscape)


def _writer(system: str, folder: Path) -> Writer:
    made: dict[str, Callable[[], Writer]] = {
        "shop": lambda: Spans("shop"),
        "warehouse": lambda: LogFile(folder),
        "carrier": lambda: Interchanges(folder),
    }
    return made[system]()


def _named(file: CollectorFile, name: str, folder: Path) -> CollectorFile:
    """A collector is heard under its pod's name, and reads the pod's folder."""
    return replace(file, collector=file.collector.model_copy(update={"collector": name}), path=folder / file.path.name)


class _Unsaved(Checkpoint):
    """Positions that live as long as the pod. (Saved to a disk, as a real collector's are, three weeks took a minute more.)"""

    def __init__(self) -> None:
        self.through: int | None = None
        self.dirty = False
        self._streams = {}
        self._lock = -1

    def save(self) -> None:
        self.dirty = False


class _Exported:
    """An input in which requests are handed over, as a receiver would have them. It vouches as who declares it says."""

    vouches = False

    def __init__(self, spans: Spans):
        self._spans = spans

    def open(self, context: Context) -> LiveInput:
        return _Handed(self._spans, context.format)


class _Handed:
    name = "handed over"
    finished = False

    def __init__(self, spans: Spans, form: Format):
        self._spans, self._format = spans, form
        self._number = 0

    def poll(self, _timeout: float) -> list[Parcel]:
        requests, parcels = deque(self._spans.requests), []
        self._spans.requests.clear()
        for request in requests:
            self._number += 1
            items = self._format.message(request, {"content-type": "application/x-protobuf"})
            parcels.append(Parcel("", [Placed(f"{self._number}:{place}", item) for place, item in enumerate(items)]))
        return parcels

    def through(self) -> int | None:
        return None

    def close(self) -> None:
        self._spans.requests.clear()
