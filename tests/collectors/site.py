"""A collector at work on a log in memory, by a clock set by hand; killed and begun again as often as a test likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import read_collector
from schemas import wire
from schemas.control import Control, Goodbye, Hello, Marker, decode_control
from schemas.landscape import KeyType, Landscape
from schemas.times import SECOND
from schemas.wire import Observed
from tracer.emitter import Limits
from tracer.record import CONTROL, EVENTS, REASON
from tracer.sinks.memory import MemoryBroker, MemorySink

START = 1_800_000_000_000_000
LANDSCAPE = Landscape(keys={"order": KeyType(transaction=True)})
COLLECTOR = """\
collector: shop-log
input: {file: {paths: ['logs/app.log*']}}
format: json
times: epoch_us
events:
  - {system: shop, step: placed, time: at, keys: {order: order}}
"""


class Site:
    """Where collectors run: a folder, a log, a clock. Every look at the clock lets a microsecond pass."""

    def __init__(self, folder: Path, text: str = COLLECTOR, **options: Any):
        self.folder = folder
        self.now = START
        self.broker = MemoryBroker(4, self.clock)
        self.told: list[str] = []
        self.options = options
        self.path = folder / "collector.yaml"
        self.path.write_text(text, encoding="utf-8")
        (folder / "logs").mkdir(exist_ok=True)
        self.collecting: Collecting | None = None
        self._checkpoint: Checkpoint | None = None

    def clock(self) -> int:
        self.now += 1
        return self.now

    def begin(self, **options: Any) -> Collecting:
        """A process that begins."""
        assert self.collecting is None
        file = read_collector(self.path)
        self._checkpoint = Checkpoint(self.folder / "positions", file.collector.name)
        settings = {
            "landscape": LANDSCAPE,
            "tell": self.told.append,
            "limits": Limits(linger=0),
            **self.options,
            **options,
        }
        try:
            self.collecting = Collecting(file, MemorySink(self.broker), self._checkpoint, self.clock, {}, **settings)
        except BaseException:
            self._checkpoint.close()
            raise
        return self.collecting

    def kill(self) -> None:
        """The process ends as by SIGKILL: nothing is said, nothing saved."""
        if self.collecting is not None and self._checkpoint is not None:
            self.collecting._live.close()
            self._checkpoint.close()
        self.collecting = None

    def stop(self) -> None:
        if self.collecting is not None:
            self.collecting.stop()
        self.collecting = None

    def steps(self, count: int = 1, apart: int = 2 * SECOND) -> None:
        """Rounds, with time between them."""
        for _ in range(count):
            assert self.collecting is not None
            self.collecting.step()
            self.now += apart

    def until_done(self) -> None:
        """With ``once``: to its end."""
        for _ in range(1000):
            assert self.collecting is not None
            self.collecting.step()
            if self.collecting.done or self.collecting.failed:
                return
        raise AssertionError("it never ends")

    # What is in the log

    def _rows(self) -> Iterator[tuple[int, dict[str, bytes], bytes]]:
        for partition in self.broker.topics[EVENTS]:
            for stored in partition.rows:
                headers = dict(stored.headers)
                yield stored.append_time, headers, wire.decompress(stored.value, headers.get("content-encoding"))

    def observed(self) -> list[tuple[int, Observed]]:
        """Events, each with its append time, as often as they were sent."""
        found = []
        for when, headers, body in self._rows():
            if REASON not in headers:
                events, _, bad = wire.decode(body, headers["ls-source"].decode(), int(headers["ls-epoch"]))
                assert not bad
                found += [(when, event) for event in events]
        return found

    def events(self) -> dict[str, Observed]:
        """By id; whatever was sent twice is the same."""
        found: dict[str, Observed] = {}
        for _, event in self.observed():
            first = found.setdefault(event.id, event)
            assert (first.system, first.step, first.time, first.keys) == (
                event.system,
                event.step,
                event.time,
                event.keys,
            ), "one id, two events"
        return found

    def orders(self) -> list[str]:
        """The orders of all events that count."""
        return sorted(event.keys["order"] for event in self.events().values())

    def quarantined(self) -> list[tuple[str, bytes]]:
        return [(headers[REASON].decode(), body) for _, headers, body in self._rows() if REASON in headers]

    def control(self) -> list[tuple[int, Control]]:
        rows = self.broker.topics[CONTROL][0].rows
        return [(stored.append_time, decode_control(stored.value)) for stored in rows]

    def said(self, kind: type[Any] = Marker) -> list[Any]:
        return [record for _, record in self.control() if isinstance(record, kind)]

    @property
    def hellos(self) -> list[Hello]:
        return self.said(Hello)

    @property
    def goodbyes(self) -> list[Goodbye]:
        return self.said(Goodbye)
