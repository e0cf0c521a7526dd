"""Answers among millions, unmerged, while somebody writes: lookups by id and by alias, and the night's report."""

from __future__ import annotations

import random
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.answers.judging import Bench
from pipeline.answers.lookup import lookup
from pipeline.answers.report import build
from pipeline.log import open_log
from pipeline.store import open_store
from pipeline.store.serve import serve
from pipeline.worker import Policy, Worker
from schemas.times import HOUR
from tests.bench.database import PARTITIONS, definitions, fill, model
from tests.bench.standing import now
from tests.bench.throughput import Figures
from tests.bench.workload import COMPLETED, LOST, value_of

DAY = 24 * HOUR
DAYS = 30
# Of the logins of 30 days: one in 500 is missing.
MISSING = 500
PER_SECOND = 2_000
# Only what the writer adds is merged; the millions stay in the parts in which they came.
LARGEST_MERGE = 1 << 22


def serve_until_told(folder: str) -> Figures:
    """Serve a store to other processes until this one's input ends."""
    server = serve(Path(folder), 0, {})
    print("served", flush=True)
    sys.stdin.read()
    server.stop()
    return {}


def prepare(folder: str, count: str) -> Figures:
    """``count`` logins of the last thirty days, nearly all completed, in parts that are never merged."""
    store = open_store(f"chdb:///{folder}", {})
    store.migrate()
    client: Any = store._client  # type: ignore[attr-defined]
    moment, total = now(), int(count)
    started = time.perf_counter()
    for table in ("events", "verdicts", "keys", "keys_by_transaction"):
        client.command(f"ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = {LARGEST_MERGE}")
    begin, every = moment - (DAYS + 2) * DAY, DAYS * DAY // total
    fill(client, model(COMPLETED, begin, moment), total, every=every)
    missing = model(LOST, begin, moment)
    fill(client, missing, total // MISSING, first=total, every=every * MISSING)
    parts = client.rows(
        "SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'verdicts'"
    )
    store.close()
    return {"prepared": time.perf_counter() - started, "parts": parts[0][0], "missing": total // MISSING}


def write(url: str, folder: str) -> Figures:
    """A worker that stores and judges what comes, at ``PER_SECOND`` events, until its input ends."""
    store = open_store(f"chdb:///{folder}", {})
    flows, landscape = definitions()
    policy = Policy(max_records=PER_SECOND // 4)
    job = Worker(open_log(url), store, flows=flows, landscape=landscape, name="writer", group="writer", policy=policy)
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    while len(job.owned) < PARTITIONS:
        job.step(0)
    print("writing", flush=True)
    began = time.monotonic()
    while not ended.is_set():
        job.step(0)
        ended.wait(max(0.0, began + job.counters.events / PER_SECOND - time.monotonic()))
    job.close()
    return {"events": job.counters.events, "seconds": time.monotonic() - began}


def _await_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def lookups(folder: str, count: str, times: str) -> Figures:
    """Milliseconds of a lookup: who it is and what is said; and the whole answer."""
    store = open_store(f"chdb:///{folder}", {})
    bench = _bench(store)
    dice = random.Random(1)
    figures: Figures = {}
    for name, kind in (("id", "login"), ("alias", "trace")):
        for how, ask in (("found", _find), ("told", _tell)):
            took = []
            for turn in range(int(times) + 20):
                value = value_of(kind, dice.randrange(int(count)))
                began = time.perf_counter()
                ask(bench, value)
                took.append((time.perf_counter() - began) * 1e3)
                if turn == 20:
                    took.clear()
            took.sort()
            figures[f"{name} {how} p50"], figures[f"{name} {how} p99"] = (
                took[len(took) // 2],
                took[int(len(took) * 0.99)],
            )
    store.close()
    return figures


def _find(bench: Bench, value: str) -> None:
    """Which transaction it is, and what is said of it."""
    keys = bench.store.find_keys(value)
    found = bench.store.load_verdicts([(row.transaction_type, row.transaction_id) for row in keys])
    assert len(keys) == len(found) == 1, (value, keys)


def _tell(bench: Bench, value: str) -> None:
    found, total = lookup(bench, value)
    assert total == len(found) == 1, (value, total)


def report(folder: str) -> Figures:
    """Seconds of the night's report on a day in the middle."""
    store = open_store(f"chdb:///{folder}", {})
    day = datetime.fromtimestamp((now() - 10 * DAY) / 1e6, UTC).date().isoformat()
    began = time.perf_counter()
    made = build(_bench(store), day)
    took = time.perf_counter() - began
    store.close()
    return {"seconds": took, "started": made.started, "missing": len(made.missing)}


def _bench(store: Any) -> Bench:
    flows, landscape = definitions()
    return Bench(store, flows, landscape, now)


__all__ = ["lookups", "prepare", "report", "serve_until_told", "write"]
