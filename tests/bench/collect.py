"""What a collector does in a second, by format, beside the same bytes read and parsed with nothing else."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import kafka as untyped

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import read_collector
from pipeline.log import Log, open_log
from schemas.landscape import KeyType, Landscape
from tests.bench.collect_formats import SORTS, SPANS, Sort
from tests.bench.table import Part, median, number
from tracer.sinks.memory import wall_clock

if TYPE_CHECKING:
    from tests.bench.parts import Run

COLUMNS = (
    "format", "parsed beside it by", "records/s, read and parsed", "records/s, collected", "ratio", "CPU µs/record", "CPU ratio",
)  # fmt: skip
RECORDS = 10_000
clients: Any = untyped


def measure(log_url: str, name: str, records: str, rounds: str) -> dict[str, float]:
    """Medians of seconds and processor seconds: of reading, and of collecting into a log. Raises where not all came."""
    sort, count = SORTS[name], int(records)
    log = open_log(log_url)
    log.create()
    found = []
    with tempfile.TemporaryDirectory() as base, closing(log):
        folder = Path(base)
        source = _written(folder, sort, count, urlsplit(log_url).netloc)
        for turn in range(int(rounds)):
            found.append({**_bare(folder, sort, count), **_collected(log, folder, sort, source, turn, count)})
    return {what: median([one[what] for one in found]) for what in found[0]}


def _written(folder: Path, sort: Sort, count: int, broker: str) -> str:
    """The records, in a file; and in a topic where it carries messages. The input that reads them."""
    pieces: Iterable[bytes] = sort.write(count)
    topic = f"spans-{uuid.uuid4().hex[:8]}"
    if sort.topic:
        messages = list(pieces)
        with closing(clients.KafkaProducer(bootstrap_servers=broker)) as producer:
            for message in messages:
                producer.send(topic, value=message)
            producer.flush(30)
        pieces = (len(message).to_bytes(4, "big") + message for message in messages)
    with (folder / "a.log").open("wb") as stream:
        stream.writelines(pieces)
    if sort.topic:
        return f"{{kafka: {{url: 'kafka://{broker}/', topics: {topic}, group: GROUP}}}}"
    return "{file: {paths: [a.log]}}"


def _bare(folder: Path, sort: Sort, count: int) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    with (folder / "a.log").open("rb") as stream:
        parsed = sort.parse(stream)
    took = {"bare": time.perf_counter() - began, "bare cpu": time.process_time() - cpu}
    assert parsed == count, f"{parsed} of {count} records were parsed"
    return took


def _collected(log: Log, folder: Path, sort: Sort, source: str, turn: int, count: int) -> dict[str, float]:
    path = folder / "collector.yaml"
    source = source.replace("GROUP", f"bench-{uuid.uuid4().hex[:8]}")
    path.write_text(f"collector: bench\ninput: {source}\nformat: {sort.declared}\nzone: UTC\n{sort.mapping}")
    sink = log.producer()
    checkpoint = Checkpoint(folder / f"positions-{turn}", "bench")
    landscape = Landscape(keys={"order": KeyType(transaction=True)})
    collecting = Collecting(read_collector(path), sink, checkpoint, wall_clock, {}, landscape=landscape, once=True)
    began, cpu = time.perf_counter(), time.process_time()
    while not collecting.done:
        if not collecting.step():
            time.sleep(0.001)
    took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    collecting.stop()
    sink.close()
    made = collecting.counts
    assert (made.events, made.quarantined) == (count * sort.events, 0), f"{made}"
    return took


def part(run: Run) -> list[Part]:
    """A collector of each format on the real log."""
    from tests.bench.parts import child

    rows = []
    for name, sort in SORTS.items():
        run.say(f"collecting {name}")
        one = child("collect", run.log(), name, RECORDS, run.sizes.rounds)
        bare, took, bare_cpu, cpu = (one[what] for what in ("bare", "seconds", "bare cpu", "cpu"))
        made = (number(RECORDS / bare), number(RECORDS / took), number(took / bare))
        rows.append((name, sort.beside, *made, number(cpu / RECORDS * 1e6), number(cpu / max(bare_cpu, 1e-9))))
    note = (
        f"{RECORDS:,} records, each one event, of OTLP two (a span's start and end, {SPANS} spans a request). Beside: the same"
        " bytes read and parsed as far as the order's number by a bare library, with nothing else. Collected: through `lastseen"
        " collect`'s own code, from a file (OTLP in protobuf from a topic; beside it, the same messages from a file), a place for"
        " each, mapped, checked, sent to Kafka and acknowledged."
    )
    return [Part("Collectors", COLUMNS, tuple(rows), note)]
