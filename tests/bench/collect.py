"""What a collector does in a second, by format, beside the same lines read and parsed with nothing else."""

from __future__ import annotations

import csv
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import read_collector
from pipeline.log import open_log
from schemas.landscape import KeyType, Landscape
from tests.bench.table import Part, median, number
from tracer.sinks.memory import wall_clock

if TYPE_CHECKING:
    from tests.bench.parts import Run

COLUMNS = ("format", "lines/s, read and parsed", "lines/s, collected", "ratio", "CPU µs/line", "CPU ratio")
LINES = 100_000
_START = 1_800_000_000
_LOG = re.compile(
    r'(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d+) (?P<bytes>\S+)'
)
_PAIR = re.compile(r"(\w+)=(\"[^\"]*\"|\S+)")


class Sort(NamedTuple):
    """A format: its declaration, the fields of time and order, how line ``n`` is written, and how others parse it."""

    declared: str
    time: str
    order: str
    line: Callable[[int], str]
    parse: Callable[[Iterable[str]], int]
    times: str = "epoch_s"


def _json_lines(lines: Iterable[str]) -> int:
    return sum(1 for line in lines if json.loads(line)["order"])


def _csv_lines(lines: Iterable[str]) -> int:
    return sum(1 for row in csv.DictReader(lines) if row["order"])


def _logfmt_lines(lines: Iterable[str]) -> int:
    return sum(1 for line in lines if dict(_PAIR.findall(line))["order"])


def _log_lines(lines: Iterable[str]) -> int:
    return sum(1 for line in lines if (found := _LOG.match(line)) is not None and found["user"])


def _log_line(number_: int) -> str:
    return (
        f'10.0.0.{number_ % 250} - o{number_} [15/Jan/2027:08:00:00 +0000] "GET /orders/{number_} HTTP/1.1" 200 512\n'
    )


SORTS = {
    "json": Sort(
        "json", "at", "order",
        lambda n: json.dumps({"at": _START + n, "order": f"o{n}", "customer": "VINET", "total": 12.5, "note": "x" * 40}) + "\n",
        _json_lines,
    ),
    "logfmt": Sort(
        "logfmt", "at", "order", lambda n: f'at={_START + n} order=o{n} customer=VINET total=12.5 note="of this order"\n',
        _logfmt_lines,
    ),
    "regex": Sort(
        "{regex: {pattern: '" + _LOG.pattern + "'}}", "time", "user", _log_line, _log_lines, "'%d/%b/%Y:%H:%M:%S %z'"
    ),
    "csv": Sort(
        "csv", "at", "order", lambda n: ("at,order,customer,total\n" if n == 1 else "") + f"{_START + n},o{n},VINET,12.5\n",
        _csv_lines,
    ),
}  # fmt: skip


def measure(log: str, name: str, lines: str) -> dict[str, float]:
    """Seconds and processor seconds of reading, and of collecting into a log; ``lines`` that made events."""
    sort, count = SORTS[name], int(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.log"
        with path.open("w", encoding="utf-8") as stream:
            stream.writelines(sort.line(each) for each in range(1, count + 1))
        began, cpu = time.perf_counter(), time.process_time()
        with path.open(encoding="utf-8") as read:
            parsed = sort.parse(read)
        bare, busy = time.perf_counter() - began, time.process_time() - cpu
        assert parsed == count
        return {"bare": bare, "bare cpu": busy, **_collected(log, Path(folder), sort)}


def _collected(log_url: str, folder: Path, sort: Sort) -> dict[str, float]:
    path = folder / "collector.yaml"
    path.write_text(
        f"collector: bench\ninput: {{file: {{paths: [a.log]}}}}\nformat: {sort.declared}\ntimes: {sort.times}\n"
        f"events:\n  - {{system: shop, step: placed, time: {sort.time}, keys: {{order: {sort.order}}}}}\n"
    )
    log = open_log(log_url)
    log.create()
    sink = log.producer()
    checkpoint = Checkpoint(folder / "positions", "bench")
    landscape = Landscape(keys={"order": KeyType(transaction=True)})
    collecting = Collecting(read_collector(path), sink, checkpoint, wall_clock, {}, landscape=landscape, once=True)
    began, cpu = time.perf_counter(), time.process_time()
    while not collecting.done:
        if not collecting.step():
            time.sleep(0.001)
    took, busy = time.perf_counter() - began, time.process_time() - cpu
    collecting.stop()
    sink.close()
    log.close()
    return {"seconds": took, "cpu": busy, "events": float(collecting.counts.events)}


def part(run: Run) -> list[Part]:
    """A collector of each format on the real log."""
    from tests.bench.parts import child

    rows = []
    for name in SORTS:
        run.say(f"collecting {name}")
        found = [child("collect", run.log(), name, LINES) for _ in range(run.sizes.rounds)]
        bare, took, bare_cpu, cpu = (
            median([one[what] for one in found]) for what in ("bare", "seconds", "bare cpu", "cpu")
        )
        each = cpu / LINES * 1e6
        made = (number(LINES / bare), number(LINES / took), number(took / bare), number(each), number(cpu / bare_cpu))
        rows.append((name, *made))
    note = (
        f"{LINES:,} lines of a file, each one event: read and parsed by the standard library with nothing else, and through "
        "`lastseen collect`'s own code (a place in the file for each, mapped, checked, sent and acknowledged)."
    )
    return [Part("Collectors", COLUMNS, tuple(rows), note)]
