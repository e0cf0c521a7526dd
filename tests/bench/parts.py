"""The parts of the bench: which measurements each consists of, and the table that they make."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.work.policy import Policy
from tests.bench import collect, peers, tracer_cost
from tests.bench.table import Part, median, number

Figures = dict[str, float]
BASE = "raw polling, single"
THROUGHPUT = (
    "what",
    "µs/event",
    "min to max",
    "events/s",
    "ratio to raw single",
    "target",
    "CPU µs/event",
    "CPU ratio",
)
W3_EVENTS = 20_000
DUE = 1_000
WEIGHED = 60_000
# Events that a worker which is weighed holds as objects: few, so that it is what is packed that counts.
FEW = 20_000
LOOKUPS = 500


class Failed(Exception):
    """A measurement ended with an error; the others go on."""


class Sizes(NamedTuple):
    """``orders`` of W1 and W2; ``rounds``; ``opened`` transactions of W3 and restart; ``transactions`` of lookup and report."""

    orders: int
    rounds: int
    opened: int
    transactions: int


@dataclass
class Run:
    """One run on one broker. ``folder``: for stores. ``base``: µs per event of raw polling, by the wall and of processors, once
    measured."""

    broker: str
    folder: Path
    sizes: Sizes
    say: Callable[[str], None] = print
    base: tuple[float, float] = (0.0, 0.0)
    _topics: dict[str, str] = field(default_factory=dict)
    _stores: dict[str, Path] = field(default_factory=dict)

    def log(self) -> str:
        """The URL of a log that nobody has used."""
        return f"kafka://{self.broker}/?prefix=bench{uuid.uuid4().hex[:8]}."

    def topic(self, form: str, workload: str, count: int, *more: object) -> str:
        """A log with a workload in it, for those who only read; made once."""
        name = f"{form} {workload} {count} {more}"
        if name not in self._topics:
            self._topics[name] = self.fresh(form, workload, count, *more)
        return self._topics[name]

    def fresh(self, form: str, workload: str, count: int, *more: object) -> str:
        """One of its own for a worker: it sends links into it, which nobody else should read."""
        self.say(f"producing {workload}, {form}")
        url = self.log()
        child("produce", url, form, workload, count, *more)
        return url

    def store(self, job: str, *arguments: object) -> Path:
        """A store made by a job; made once."""
        name = "-".join(map(str, (job, *arguments)))
        if name not in self._stores:
            self.say(f"making a store: {' '.join(map(str, (job, *arguments)))}")
            child(job, self.folder / name, *arguments)
            self._stores[name] = self.folder / name
        return self._stores[name]

    def drop(self, folder: Path) -> None:
        """A store that nobody needs any more."""
        shutil.rmtree(folder, ignore_errors=True)
        self._stores = {name: kept for name, kept in self._stores.items() if kept != folder}

    def raw(self) -> tuple[float, float]:
        """µs per event of raw polling of single records, in this run."""
        if not self.base[0]:
            orders = self.sizes.orders
            url = self.topic("single", "w1", orders)
            found = [child("raw", url, orders * 10) for _ in range(self.sizes.rounds)]
            wall, cpu = (median([one[name] for one in found]) / orders / 10 * 1e6 for name in ("seconds", "cpu"))
            self.base = (wall, cpu)
        return self.base


def child(job: str, *arguments: object, limit: float = 3_000) -> Figures:
    """What a process of its own measured. Raises Failed."""
    command = [sys.executable, "-m", "tests.bench.jobs", job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    if done.returncode:
        raise Failed(f"{job} failed: {done.stderr.strip()[-1500:]}")
    found: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def beside(job: str, *arguments: object) -> Iterator[None]:
    """A job that goes on in a process of its own until the block ends. It says a word when it is ready."""
    command = [sys.executable, "-m", "tests.bench.jobs", job, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise Failed(f"{job} did not begin")
            yield
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


# Throughput ------------------------------------------------------------------------------------------------------------


def _line(run: Run, label: str, found: list[Figures], events: int, target: str = "") -> tuple[str, ...]:
    each, cpu = ([one[name] / events * 1e6 for one in found] for name in ("seconds", "cpu"))
    middle = median(each)
    spread = f"{number(min(each))} to {number(max(each))}"
    base, base_cpu = run.raw()
    ratio, ratio_cpu = base / middle, base_cpu / median(cpu)
    return (
        label, number(middle), spread, f"{1e6 / middle:,.0f}", f"{ratio:.2f}", target, number(median(cpu)), f"{ratio_cpu:.2f}",
    )  # fmt: skip


def raw(run: Run) -> list[Part]:
    """kafka-python polls and does nothing else."""
    rows, orders = [], run.sizes.orders
    run.raw()
    for form in ("single", "batched"):
        url = run.topic(form, "w1", orders)
        run.say(f"raw polling, {form}")
        found = [child("raw", url, orders * 10) for _ in range(run.sizes.rounds)]
        rows.append(_line(run, f"raw polling, {form}", found, orders * 10))
    return [Part("Raw kafka-python polling", THROUGHPUT, tuple(rows))]


def _workload(run: Run, name: str, title: str, targets: tuple[str, str]) -> list[Part]:
    rows, orders, done = [], run.sizes.orders, []
    for form, target in zip(("single", "batched"), targets, strict=True):
        found = []
        for turn in range(run.sizes.rounds):
            url = run.fresh(form, name, orders)
            run.say(f"{name}, {form}, round {turn + 1} of {run.sizes.rounds}")
            figures = child("worker", url, name, orders * 10)
            found.append(figures)
        done.append(figures["completed"])
        rows.append(_line(run, f"worker, {form}", found, orders * 10, target))
    note = f"{orders * 10:,} events; {min(done):,.0f} of {orders:,} orders came out complete."
    return [Part(title, THROUGHPUT, tuple(rows), note)]


def w1(run: Run) -> list[Part]:
    return _workload(run, "w1", "W1: every event carries the transaction's key", ("0.35", "0.7, then 1.0"))


def w2(run: Run) -> list[Part]:
    title = "W2: three aliases, half of the events without the transaction's key"
    return _workload(run, "w2", title, ("", ""))


def w3(run: Run) -> list[Part]:
    opened, rows = run.sizes.opened, []
    folder = run.store("prepare", opened)
    for form in ("single", "batched"):
        url = run.fresh(form, "w3", W3_EVENTS, opened, time.time_ns() // 1_000)
        run.say(f"w3, {form}")
        figures = child("standing", url, folder, W3_EVENTS)
        rows.append(_line(run, f"worker, {form}", [figures], W3_EVENTS))
    note = (
        f"{W3_EVENTS:,} events for orders out of {opened:,} open ones of three events, 90 % of them read back from the store"
        " for it; one round."
    )
    return [Part("W3: open transactions that live for weeks", THROUGHPUT, tuple(rows), note)]


def peer(run: Run) -> list[Part]:
    """What others take to count, on the same topic of single records."""
    rows, notes, orders = [], [], run.sizes.orders
    url = run.topic("single", "w1", orders)
    topic = url.partition("prefix=")[2] + "lastseen.events"
    cases = (
        ("bytewax", "stateless", "Bytewax, counts events"),
        ("bytewax", "stateful", "Bytewax, counts per order"),
        ("quix", "stateless", "Quix Streams, counts events"),
        ("quix", "stateful", "Quix Streams, counts per order"),
        ("quix", "changelog", "Quix Streams, counts per order, with changelog"),
    )
    for name, form, label in cases:
        run.say(label)
        try:
            found = [peers.measure(name, form, run.broker, topic, orders * 10) for _ in range(run.sizes.rounds)]
        except peers.Absent as reason:
            notes.append(f"{label}: skipped, {reason}.")
            continue
        rows.append(_line(run, label, found, orders * 10))
    notes.append("Nothing is stored, joined or judged here.")
    return [Part("Peers that count only, single records", THROUGHPUT, tuple(rows), " ".join(notes))]


# A million open --------------------------------------------------------------------------------------------------------


def deadline(run: Run) -> list[Part]:
    folder = run.store("prepare", run.sizes.opened)
    run.say("deadline")
    figures = child("deadline", run.log(), folder, run.sizes.opened, DUE)
    rows = (
        (f"{DUE:,} deadlines at once, median of 5", f"{figures['seconds']:.2f} s", "1 s"),
        ("the slowest of the 5", f"{figures['worst']:.2f} s", ""),
    )
    note = (
        f"From the append of the marker that proves them to the last verdict in the store; {run.sizes.opened:,} open."
    )
    return [Part("From a deadline's proof to a visible verdict", ("what", "figure", "target"), rows, note)]


def memory(run: Run) -> list[Part]:
    rows = []
    begin = time.time_ns() // 1_000 - 36_000_000_000
    for story, events in (("open", 3), ("open-long", 10)):
        for capacity, how in ((FEW, "not worked on, packed"), (100 * WEIGHED, "in work, as objects")):
            url = run.fresh("batched", story, WEIGHED, 0, begin)
            run.say(f"memory, {events} events, {how}")
            each = child("weigh", url, WEIGHED, events, capacity)["bytes"]
            target = "900 MB" if capacity == FEW else ""
            rows.append((f"{events} events, {how}", f"{number(each / 1e3)} KB", f"{each:,.0f} MB", target))
    note = (
        f"Resident, of {WEIGHED:,} open orders that a worker took from the log; all that it holds for them. It holds as objects the"
        f" {Policy().capacity:,} events that were worked on last (its policy)."
    )
    return [Part("Memory of an open transaction", ("what", "each", "a million", "target"), tuple(rows), note)]


def restart(run: Run) -> list[Part]:
    opened = run.sizes.opened
    folder = run.store("prepare", opened)
    run.say("restart")
    with beside("serve", folder):
        figures = child("restart", run.log(), folder, opened)
    rows = (
        ("until all partitions are in work", f"{figures['opened']:.1f} s", ""),
        ("until the first event is judged", f"{figures['seconds']:.1f} s", ""),
        ("memory taken, each", f"{figures['bytes']:,.0f} B", ""),
        ("memory taken, all", f"{figures['megabytes']:,.0f} MB", f"{900 * opened / 1e6:,.0f} MB"),
    )
    note = f"{opened:,} open, four partitions, one worker, the store served by another process."
    return [Part("Restart", ("what", "figure", "target"), rows, note)]


# Answers ---------------------------------------------------------------------------------------------------------------


def lookup(run: Run) -> list[Part]:
    total = run.sizes.transactions
    folder = run.store("many", total)
    url = run.fresh("batched", "w1", run.sizes.orders * 10)
    rows = []
    with beside("serve", folder):
        run.say("lookup")
        figures = {"idle": child("lookup", folder, total, LOOKUPS)}
        with beside("write", url, folder):
            run.say("lookup while writing")
            figures["while writing"] = child("lookup", folder, total, LOOKUPS)
    for when, found in figures.items():
        for what in ("id", "alias"):
            for how in ("found", "told"):
                label = "the transaction and its verdict" if how == "found" else "the whole answer"
                target = "15 ms" if when == "while writing" else ""
                middle, slow = found[f"{what} {how} p50"], found[f"{what} {how} p99"]
                rows.append((f"by {what}, {label}, {when}", f"{middle:.1f} ms", f"{slow:.1f} ms", target))
    note = (
        f"{total:,} transactions, unmerged, in a store that another process serves; {LOOKUPS} lookups each. The whole answer:"
        " every key, verdict, path, history, what was heard, and the words. While writing: a worker stores and judges 2,000"
        " events a second."
    )
    return [Part("Lookup", ("what", "p50", "p99", "target (p99)"), tuple(rows), note)]


def report(run: Run) -> list[Part]:
    total = run.sizes.transactions
    folder = run.store("many", total)
    run.say("report")
    figures = child("report", folder)
    rows = ((f"{total:,} transactions", f"{figures['seconds']:.1f} s", "10 s"),)
    note = f"{figures['started']:,.0f} began that day, {figures['missing']:,.0f} are missing."
    return [Part("The nightly report", ("what", "figure", "target"), rows, note)]


# The report comes before the writer of the lookups: a worker judges again what it takes over, and then nothing is missing.
PARTS: dict[str, Callable[[Run], list[Part]]] = {
    "raw": raw, "w1": w1, "w2": w2, "peers": peer, "w3": w3, "deadline": deadline, "restart": restart, "memory": memory,
    "report": report, "lookup": lookup, "tracer": tracer_cost.part, "collect": collect.part,
}  # fmt: skip
