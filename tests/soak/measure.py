"""What is measured while the soak runs: how far behind the workers are, and what each process holds in memory."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import Unavailable
from pipeline.log import Consumer, open_log
from tests.soak.site import PARTITIONS, Site

_EVERY = 0.5
_LEVEL = 2.0
_LONG = 3


class Sample(NamedTuple):
    """``lag``: records that are not committed. ``behind``: seconds since everything that was in the log then is committed."""

    time: float
    lag: int
    behind: float


class Recovery(NamedTuple):
    """``most``: records, and ``longest``: seconds, that the workers were behind. ``level``: seconds from the end of the fault until
    they were less than two seconds behind again (after the worst moment, three samples long, or as many as there are yet); 0 where
    they never were more, None where they still are."""

    most: int
    longest: float
    level: float | None


class Lag:
    """Samples twice a second on a thread of its own; while the broker is away there are none."""

    def __init__(self, log_url: str):
        self._url = log_url
        self._ends: deque[tuple[float, dict[int, int]]] = deque(maxlen=2_000)
        self.samples: list[Sample] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lag", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            with contextlib.suppress(Unavailable), contextlib.closing(open_log(self._url, os.environ)) as log:
                consumer = log.consumer()
                try:
                    while not self._done.wait(_EVERY):
                        self._sample(consumer)
                finally:
                    consumer.close()
            self._done.wait(_EVERY)

    def _sample(self, consumer: Consumer) -> None:
        now = time.time()
        ends = consumer.end_offsets(range(PARTITIONS))
        committed = {number: position or 0 for number, position in consumer.committed(range(PARTITIONS)).items()}
        self._ends.append((now, ends))
        while self._ends and all(committed[number] >= end for number, end in self._ends[0][1].items()):
            reached, _ = self._ends.popleft()
            self._reached = reached
        lag = sum(end - committed[number] for number, end in ends.items())
        behind = 0.0 if not self._ends else now - self._ends[0][0]
        self.samples.append(Sample(now, lag, behind))

    def recovery(self, since: float, healed: float) -> Recovery:
        """What a fault that began at ``since`` and was over at ``healed`` did, up to now."""
        samples = [sample for sample in self.samples if sample.time >= since]
        if not samples:
            return Recovery(0, 0.0, None)
        worst = max(range(len(samples)), key=lambda number: samples[number].behind)
        level = None if samples[worst].behind >= _LEVEL else 0.0
        for number in range(worst, len(samples)):
            if level is None and all(sample.behind < _LEVEL for sample in samples[number : number + _LONG]):
                level = max(0.0, samples[number].time - healed)
        return Recovery(max(sample.lag for sample in samples), samples[worst].behind, level)

    def close(self) -> None:
        self._done.set()
        self._thread.join(30)


def rss_of(pid: int) -> int:
    """Bytes."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024
    return 0


def memory(site: Site) -> dict[str, int]:
    """Resident bytes by process; the four sources as one."""
    found: dict[str, int] = {}
    for name, pid in site.processes():
        group = "sources" if name in site.sources else name
        found[group] = found.get(group, 0) + rss_of(pid)
    return found
