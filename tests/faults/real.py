"""A real site for faults: a Kafka log and a store of one's own, worker processes on them, and what ought to be said."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pipeline.core.control import ControlFold
from pipeline.errors import Unavailable
from pipeline.log import Consumer, Log, open_log
from pipeline.store import Store, open_store
from pipeline.store.contract import VerdictQuery
from pipeline.worker import Worker
from schemas.control import Control, Hello, Marker, Own, decode_control, encode_control
from schemas.flow import Flows
from schemas.times import DAY
from tests.contract.stores import SERVE, database
from tests.faults.site import judged, verdicts_of
from tests.faults.stories import START, Event, definitions, records_of, systems
from tracer.record import CONTROL, Record
from tracer.sinks.contract import Sink
from tracer.sinks.memory import wall_clock

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
SESSION_MS = 1_500
PARTITIONS = 4
HEARD = START + 30 * DAY


def until(condition: Callable[[], bool], what: str = "what was waited for", patience: float = PATIENCE) -> None:
    """Wait until something is so; being cut off from a service is no answer."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(Unavailable):
            if condition():
                return
        assert time.monotonic() < deadline, f"{what} did not come about in {patience:.0f} s"
        time.sleep(0.05)


class Running:
    """A worker process."""

    def __init__(self, log_url: str, store_url: str, settings: dict[str, Any], env: dict[str, str]):
        command = [sys.executable, "-m", "tests.faults.real_worker", log_url, store_url, json.dumps(settings)]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **env}, stdout=subprocess.PIPE)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def stopped(self) -> bool:
        """By SIGSTOP."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    @property
    def resident(self) -> int:
        """Bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024

    def stop(self) -> dict[str, int]:
        """Ask it to end; its counters."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0
        counters: dict[str, int] = json.loads(out)
        return counters

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class View:
    """Control as a test reads it; enough of a worker for ``judged``."""

    flows: Flows
    fold: ControlFold


@dataclass
class Real:
    """``env``: what worker processes get beside ours (a password). ``sent``: all events that were acknowledged."""

    log_url: str
    store_url: str
    store: Store
    env: dict[str, str] = field(default_factory=dict)
    sent: list[Event] = field(default_factory=list)
    workers: list[Running] = field(default_factory=list)
    heard: bool = False
    _log: Log | None = None
    _sink: Sink | None = None
    _asked: Consumer | None = None

    # What a test does ------------------------------------------------------------------------------------------------

    @property
    def log(self) -> Log:
        self._log = self._log or open_log(self.log_url, os.environ)
        return self._log

    @property
    def sink(self) -> Sink:
        self._sink = self._sink or self.log.producer()
        return self._sink

    def worker(self, **settings: Any) -> Running:
        self.workers.append(Running(self.log_url, self.store_url, settings, self.env))
        return self.workers[-1]

    def send(self, events: Sequence[Event], **how: Any) -> None:
        """To the log, once it has been acknowledged."""
        self.produce(records_of(events, **{"partitions": PARTITIONS, "each": 4, **how}))
        self.sent += events

    def produce(self, records: Sequence[Record]) -> None:
        self.sink.produce(records, 60.0)

    def hear(self, through: int = HEARD) -> None:
        """Every system has one source that vouches for all that is in the log by now."""
        # While leaders change nobody may be there to ask; a worker waits, and so does this.
        until(lambda: bool(self.ends()), "somebody to ask for the ends")
        ends = self.ends()
        said: list[Control] = []
        for system in systems():
            who = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
            if not self.heard:
                said.append(Hello.model_validate({**who, "boot": wall_clock(), "since": START - 2 * DAY, "every": DAY}))
            said.append(Marker.model_validate({**who, "through": through, "acked": ends}))
        self.produce([Record(CONTROL, one.key(), encode_control(one), (), 0) for one in said])
        self.heard = True

    # What is seen ----------------------------------------------------------------------------------------------------

    @property
    def asked(self) -> Consumer:
        """Outside of the group: it only asks."""
        self._asked = self._asked or self.log.consumer()
        return self._asked

    def ends(self) -> dict[int, int]:
        return self.asked.end_offsets(range(PARTITIONS))

    def committed(self) -> dict[int, int]:
        return {number: position or 0 for number, position in self.asked.committed(range(PARTITIONS)).items()}

    def lag(self) -> int:
        """Records that are not committed."""
        return sum(self.ends().values()) - sum(self.committed().values())

    def control(self) -> list[Control]:
        """All of it, in order."""
        reader = self.log.control_reader()
        found: list[Control] = []
        try:
            end = reader.end_offset()
            while reader.position() < end:
                found += [decode_control(record.value) for record in reader.read(10_000, 500)]
        finally:
            reader.close()
        return found

    def owns(self) -> list[Own]:
        """One for each time that a worker took a partition over: whoever is evicted writes another."""
        return [record for record in self.control() if isinstance(record, Own)]

    def view(self) -> View:
        flows, landscape = definitions()
        fold = ControlFold(landscape)
        reader = self.log.control_reader()
        try:
            end = reader.end_offset()
            while reader.position() < end:
                for record in reader.read(10_000, 500):
                    fold.apply(record.offset, record.append_time, decode_control(record.value))
        finally:
            reader.close()
        return View(flows, fold)

    # What has to be so -----------------------------------------------------------------------------------------------

    def finished(self) -> bool:
        """I6: lag is zero. I3: what is said is what a pure judge says of all events."""
        return self.lag() == 0 and verdicts_of(self.store) == judged(self.sent, cast(Worker, self.view()))

    def settle(self) -> None:
        """Wait until it is finished, without help; then see to the rest."""
        try:
            until(self.finished, "lag zero and the right verdicts")
        except AssertionError:
            said, right = verdicts_of(self.store), judged(self.sent, cast(Worker, self.view()))
            wrong = [f"{name} is {said.get(name)}, ought to be {right.get(name)}" for name in said | right
                     if said.get(name) != right.get(name)]  # fmt: skip
            raise AssertionError(f"lag {self.lag()}; {len(wrong)} wrong: " + "; ".join(wrong[:3])) from None
        self.whole()

    def whole(self, poison: int = 0) -> None:
        """I1, I2: each event stored, once; what was bad in quarantine, once. No flip missing or said twice."""
        types = definitions()[1].transaction_types()
        filed = {(event["id"], name) for event in self.sent for name in types if name in event["keys"]}
        assert self.store.count_events() == len(filed)
        assert sum(self.store.count_quarantine().values()) == poison
        for row in self.store.verdicts(VerdictQuery(excluded=None)):
            numbers = [flip.number for flip in self.store.flips(row[:2]) if flip.flow == row.flow]
            assert numbers == list(range(1, row.flip + 1))

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
        for opened in (self._sink, self._asked):
            if opened is not None:
                opened.close()
        if self._log is not None:
            self._log.close()
        self.store.close()


def log_url(broker: str, session_ms: int = SESSION_MS) -> str:
    return f"kafka://{broker}/?prefix=r{uuid.uuid4().hex[:12]}.&session_timeout_ms={session_ms}"


def served_url(folder: Path) -> str:
    return f"chdb://{folder}?database={database()}"


@contextlib.contextmanager
def real(
    broker: str,
    store_url: str,
    *,
    session_ms: int = SESSION_MS,
    through_url: str = "",
    env: dict[str, str] | None = None,
) -> Iterator[Real]:
    """Topics and tables that nobody else has. ``through_url``: by which worker processes reach the store."""
    url = log_url(broker, session_ms)
    store = open_store(store_url, os.environ)
    store.migrate()
    site = Real(url, through_url or store_url, store, env or {})
    try:
        site.log.create(PARTITIONS)
        # Who never spoke is judged by how far we are, which is today.
        site.hear(START - DAY)
        yield site
    finally:
        site.close()


class StoreProcess:
    """A served folder that can be killed and started again."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """The URL that it is served at now."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        url = self.process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        return url

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=30)
            self.process = None
