"""The soak's processes: a Kafka, a served store, workers and sources; each can be killed, stopped and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.log import open_log
from pipeline.store import open_store
from tests.contract.stores import SERVE
from tests.kafka_broker import Broker
from tests.soak.plan import SYSTEMS
from tests.soak.source import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 4
SESSION_MS = 6_000


class Process:
    """One process that can be started again. ``unexpected``: how often it was gone though nobody had ended it."""

    def __init__(self, name: str, command: list[str], log: Path):
        self.name, self._command, self._log = name, command, log
        self._process: subprocess.Popen[bytes] | None = None
        self.unexpected = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=REPOSITORY, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self, patience: float = 30.0) -> None:
        """Ask it to end; end it if it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def look_after(self) -> None:
        """Start it again where it ended by itself, and count that."""
        if self._process is not None and self._process.poll() is not None:
            self.unexpected += 1
            self.start()


class Site:
    """``workers``: those that are there all the time, and one that joins and leaves. Everything under ``folder``."""

    def __init__(self, folder: Path, *, minutes: float, rate: float, seed: int, aliases: bool):
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True)
        self.broker = Broker(folder / "kafka")
        self.broker.start()
        self.log_url = f"kafka://{self.broker.address}/?session_timeout_ms={SESSION_MS}"
        self.store_url = f"chdb://{folder / 'store'}"
        self.store = self._python("store", "-c", SERVE, str(folder / "store"))
        self.begin = time.time()
        self.until = self.begin + 60 * minutes
        self.settings = Settings(self.log_url, str(self.notes), seed, rate, int(self.until * 1e6), aliases)
        names = ("worker 1", "worker 2", "worker 3")
        self.workers = [self._python(name, "-m", "tests.soak.worker", self.log_url, self.store_url) for name in names]
        text = json.dumps(self.settings._asdict())
        self.sources = {name: self._python(name, "-m", "tests.soak.source", name, text) for name in SYSTEMS}

    def _python(self, name: str, *arguments: str) -> Process:
        return Process(name, [sys.executable, *arguments], self.folder / f"{name.replace(' ', '-')}.log")

    def start(self) -> None:
        log = open_log(self.log_url, os.environ)
        log.create(PARTITIONS)
        log.close()
        self.start_store()
        store = open_store(self.store_url, os.environ)
        store.migrate()
        store.close()
        for process in (*self.workers[:2], *self.sources.values()):
            process.start()

    def start_store(self) -> None:
        """Start it, and wait until it is served."""
        served = self.folder / "store" / "served.json"
        before = served.read_text() if served.exists() else ""
        self.store.start()
        deadline = time.monotonic() + 60
        while not served.exists() or served.read_text() == before:
            if time.monotonic() > deadline:
                raise RuntimeError("the store does not start")
            time.sleep(0.05)

    def processes(self) -> Iterator[tuple[str, int]]:
        """Name and pid of all that run."""
        if self.broker.pid is not None:
            yield "broker", self.broker.pid
        for process in (self.store, *self.workers, *self.sources.values()):
            if process.pid is not None:
                yield process.name, process.pid

    def look_after(self) -> None:
        for process in (self.store, *self.workers, *self.sources.values()):
            process.look_after()

    def stop(self) -> None:
        for process in (*self.sources.values(), *self.workers, self.store):
            process.stop()
        self.broker.stop()
