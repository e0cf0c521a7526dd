"""Collectors as processes that are killed, and what they brought into a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.log import Log, open_log
from schemas import wire
from schemas.control import Control, decode_control
from tests.faults.real import REPOSITORY, until
from tracer.record import ENCODING, REASON

START = 1_800_000_000_000_000
COLLECTOR = """\
collector: shop-log
input: {file: {paths: ['logs/app.log*']}}
format: json
times: epoch_us
events:
  - {system: shop, step: placed, time: at, keys: {order: order}}
"""


def line(number: int) -> str:
    return json.dumps({"at": START + number, "order": str(number), "note": "x" * 80}) + "\n"


class Collector:
    """``lastseen collect run`` in a folder, begun again as often as a test likes."""

    def __init__(self, folder: Path, log_url: str, text: str = COLLECTOR):
        self.folder, self.url = folder, log_url
        (folder / "collector.yaml").write_text(text)
        (folder / "logs").mkdir(exist_ok=True)
        self.app = folder / "logs" / "app.log"
        self.positions = folder / "positions"
        self.output = folder / "collect.out"
        self.process: subprocess.Popen[bytes] | None = None
        self._log: Log | None = None
        self.found: dict[str, str] = {}  # event id to order
        self.sent = self.aside = 0
        self._next: dict[int, int] = {}

    def begin(self, *options: str, before: str = "") -> None:
        """``before``: Python that the process runs first."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}
        env = {
            **clean,
            "LASTSEEN_LOG": self.url,
            "LASTSEEN_DATA": str(self.folder / "data"),
            "PYTHONPATH": str(REPOSITORY),
        }
        command = [sys.executable, "-c", f"{before}\nimport pipeline; pipeline.main()"]
        words = ["collect", "run", "collector.yaml", "--positions", str(self.positions), *options]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen([*command, *words], cwd=self.folder, env=env, stdout=output, stderr=output)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(60)
        self.process = None
        return code

    def memory(self) -> int:
        """Resident bytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def said(self) -> str:
        return self.output.read_text() if self.output.exists() else ""

    # What is in the log

    @property
    def log(self) -> Log:
        if self._log is None:
            self._log = open_log(self.url)
            self._log.create()
            self._consumer = self._log.consumer("a-test")
        return self._log

    def orders(self) -> list[str]:
        """Orders of the events that count, among all that came until now."""
        _ = self.log
        while (batch := self._consumer.poll(5000, 200)) or self._assigned():
            for record in (record for records in batch.values() for record in records):
                headers = dict(record.headers)
                self._next[record.partition] = record.offset + 1
                if REASON in headers:
                    self.aside += 1
                    continue
                events, _, bad = wire.decode(wire.decompress(record.value, headers.get(ENCODING)), "shop-log", 1)
                assert not bad
                self.sent += len(events)
                for event in events:
                    assert self.found.setdefault(event.id, event.keys["order"]) == event.keys["order"], (
                        "one id, two events"
                    )
        return sorted(self.found.values(), key=int)

    def _assigned(self) -> bool:
        """Begins where it was, or at the beginning: what a worker committed is not asked."""
        changed = bool(self._consumer.take_changes())
        for partition in self._consumer.assignment() if changed else ():
            self._consumer.seek(partition, self._next.get(partition, 0))
        return changed

    def control(self) -> list[Control]:
        reader = self.log.control_reader()
        found: list[Control] = []
        try:
            while reader.position() < reader.end_offset():
                found += [decode_control(record.value) for record in reader.read(1000, 1000)]
            return found
        finally:
            reader.close()

    def until_all(self, count: int) -> None:
        until(lambda: len(self.orders()) >= count, f"{count} orders")

    def close(self) -> None:
        self.kill()
        if self._log is not None:
            self._consumer.close()
            self._log.close()
