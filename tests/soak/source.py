"""One system of the soak as a process of its own, observed through the real emitter.

    python -m tests.soak.source SYSTEM SETTINGS

Does what the system before it has done (it reads that one's notebook) a little later. What it does, it notes down before it tells
the emitter: whoever is killed has forgotten what was not sent, and goes on with the rest.
"""

from __future__ import annotations

import contextlib
import faulthandler
import heapq
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from schemas.times import SECOND
from tests.soak.plan import SYSTEM_OF, delay_of, fate_of, keys_of, next_step
from tracer.emitter import Emitter
from tracer.errors import Unavailable
from tracer.sinks import open_sink
from tracer.sinks.contract import Sink
from tracer.sinks.memory import wall_clock

_UPSTREAM = {"payments": "shop", "warehouse": "payments", "carrier": "warehouse"}
_BEAT = 0.02


class Settings(NamedTuple):
    """``until``: µs, when no new orders are placed any more. ``rate``: orders a second."""

    log_url: str
    folder: str
    seed: int
    rate: float
    until: int
    aliases: bool


class Note(NamedTuple):
    """A line of a notebook: what was done, when (µs), by which boot."""

    number: int
    step: str
    time: int
    epoch: int


def notebook(folder: Path, system: str) -> Path:
    return folder / f"{system}.notes"


def read_notes(path: Path, offset: int = 0) -> tuple[list[Note], int]:
    """Whole lines from an offset on, and where to read on."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data.rpartition(b"\n")[0]
    notes = []
    for line in whole.decode().splitlines():
        number, step, at, epoch = line.split()
        notes.append(Note(int(number), step, int(at), int(epoch)))
    return notes, offset + (len(whole) + 1 if whole else 0)


class Source:
    """``due``: heap of (time, number, step). ``before``: what earlier boots did; what this one does, it does once anyway."""

    def __init__(self, system: str, settings: Settings, sink: Sink):
        self._system, self._settings = system, settings
        folder = Path(settings.folder)
        own, _ = read_notes(notebook(folder, system))
        self._before = {(note.number, note.step) for note in own}
        self._upstream = notebook(folder, _UPSTREAM[system]) if system in _UPSTREAM else None
        self._read = 0
        self._due: list[tuple[int, int, str]] = []
        self._number = max((note.number for note in own), default=-1) + 1
        self._next_order = wall_clock()
        self._notes = os.open(notebook(folder, system), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.epoch = wall_clock()
        self.emitter = Emitter(sink, f"{system}-1", self.epoch, [system], wall_clock, transaction_types=["order"])
        for note in own:
            self._follow(note)

    def _follow(self, note: Note) -> None:
        """If what comes next is ours, it becomes due."""
        step = next_step(fate_of(self._settings.seed, note.number), note.step)
        if step and SYSTEM_OF[step] == self._system and (note.number, step) not in self._before:
            delay = delay_of(self._settings.seed, note.number, step)
            heapq.heappush(self._due, (note.time + delay, note.number, step))

    def turn(self) -> None:
        """Do all that is due by now."""
        now = wall_clock()
        if self._upstream is None:
            self._place_orders(now)
        else:
            notes, self._read = read_notes(self._upstream, self._read)
            for note in notes:
                self._follow(note)
        while self._due and self._due[0][0] <= now:
            _, number, step = heapq.heappop(self._due)
            self._do(number, step)
        self.emitter.tick()

    def _place_orders(self, now: int) -> None:
        # A shop that was away has not taken the orders of that time; it does not take them all at once afterwards.
        self._next_order = max(self._next_order, now - SECOND)
        while self._next_order <= now < self._settings.until:
            self._do(self._number, "placed")
            self._number += 1
            self._next_order += int(SECOND / self._settings.rate)

    def _do(self, number: int, step: str) -> None:
        note = Note(number, step, wall_clock(), self.epoch)
        os.write(self._notes, f"{note.number} {note.step} {note.time} {note.epoch}\n".encode())
        attributes: dict[str, Any] = {"amount": number % 90 + 10} if step == "placed" else {}
        self.emitter.emit({
            "id": f"{number}/{step}", "system": self._system, "step": step, "phase": "completed", "time": note.time,
            "keys": keys_of(number, step, aliases=self._settings.aliases), "attributes": attributes,
        })  # fmt: skip
        if SYSTEM_OF.get(next_step(fate_of(self._settings.seed, number), step)) == self._system:
            self._follow(note)


def patient_sink(url: str, stop: threading.Event) -> Sink:
    """Tries until the log is there."""
    while True:
        try:
            return open_sink(url)
        except Unavailable:
            if stop.wait(0.3):
                raise


def main(system: str, text: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # A Kafka client that hangs or gives up says why here alone.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    faulthandler.register(signal.SIGUSR1)
    settings = Settings(**json.loads(text))
    sink = patient_sink(settings.log_url, stop)
    source = Source(system, settings, sink)
    while not stop.is_set():
        source.turn()
        time.sleep(_BEAT)
    with contextlib.suppress(Unavailable):
        source.emitter.goodbye("closed")
    sink.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
