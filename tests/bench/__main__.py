"""``make bench``: what one run on one broker measured, as ratios to raw kafka-python polling of single records.

Each measurement is a process of its own, so that none inherits another's garbage, caches or consumers. Times are of the
whole job: from the first poll to the last commit. Nothing is asserted here.

    python -m tests.bench [--orders 20000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.kafka_broker import Broker, NoBroker

RESULTS = Path(__file__).with_name("RESULTS.md")
# §8, W1: first step and goal, against raw polling of single records.
TARGETS = {"worker, single": "0.35", "worker, batched": "0.7, then 1.0"}


def main() -> int:
    """Run all measurements and print the table."""
    options = argparse.ArgumentParser(prog="python -m tests.bench")
    options.add_argument("--orders", type=int, default=20_000, help="orders of ten events each")
    options.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts")
    options.add_argument("--save", action="store_true", help=f"write the table to {RESULTS.name}")
    args = options.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="lastseen-bench-") as folder:
        broker = Broker(Path(folder) / "kafka")
        try:
            broker.start()
        except NoBroker as reason:
            console.print(f"no Kafka, no bench: {reason}")
            return 3
        try:
            figures = _measure(broker.address, args.orders, args.rounds, console)
        finally:
            broker.stop()
    _print(figures, args.orders, console, save=args.save)
    return 0


def _measure(address: str, orders: int, rounds: int, console: Console) -> dict[str, list[float]]:
    topics: dict[str, str] = {}
    for form in ("single", "batched"):
        prefix = f"bench{uuid.uuid4().hex[:8]}."
        topics[form] = f"kafka://{address}/?prefix={prefix}"
        with console.status(f"producing {orders * 10:,} events, {form}"):
            _child("produce", topics[form], form, str(orders))
    figures: dict[str, list[float]] = {}
    jobs = (
        ("raw polling, single", "raw", "single"),
        ("raw polling, batched", "raw", "batched"),
        ("worker, single", "worker", "single"),
        ("worker, batched", "worker", "batched"),
    )
    for turn in range(rounds):
        for label, job, form in jobs:
            with console.status(f"{label}, round {turn + 1} of {rounds}"):
                figures.setdefault(label, []).append(_child(job, topics[form], f"g{uuid.uuid4().hex[:8]}", str(orders)))
    return figures


def _child(*args: str) -> float:
    """µs per event, as the child measured it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.jobs", *args], capture_output=True, text=True, check=False, timeout=1_800
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(args)} failed:\n{done.stderr[-4000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["micros"])


def _print(figures: dict[str, list[float]], orders: int, console: Console, *, save: bool) -> None:
    medians = {label: sorted(found)[len(found) // 2] for label, found in figures.items()}
    base = medians["raw polling, single"]
    table = Table(title=f"W1: {orders * 10:,} events, ten an order; stored and judged, from poll to commit")
    for column in ("what", "µs/event (median)", "min to max", "events/s", "ratio to raw single", "target (§8)"):
        table.add_column(column, justify="left" if column == "what" else "right")
    lines = []
    for label, found in figures.items():
        median = medians[label]
        row = (
            label,
            f"{median:.2f}",
            f"{min(found):.2f} to {max(found):.2f}",
            f"{1e6 / median:,.0f}",
            f"{base / median:.2f}",
            TARGETS.get(label, ""),
        )
        table.add_row(*row)
        lines.append("| " + " | ".join(row) + " |")
    console.print(table)
    if save:
        RESULTS.write_text(_report(lines, orders))
        console.print(f"written to {RESULTS}")


def _report(lines: list[str], orders: int) -> str:
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("kafka-python", "clickhouse-connect", "chdb-core", "msgspec")
    )
    return "\n".join(
        (
            "# Measured",
            "",
            f"`make bench ARGS='--orders {orders} --save'`, {time.strftime('%Y-%m-%d', time.gmtime())}, "
            f"{platform.machine()}, Python {platform.python_version()}, Apache Kafka 4.2.1, {packages}. "
            "One broker, one run; each figure is the median of its rounds. Ratios hold better than absolutes.",
            "",
            "W1: every event carries the transaction's key, ten events an order; from poll to commit, stored and judged.",
            "",
            "| what | µs/event | min to max | events/s | ratio to raw polling of single records | target |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
        )
    )


if __name__ == "__main__":
    raise SystemExit(main())
