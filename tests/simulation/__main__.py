"""``make simulate SEEDS=n``: so many seeds, on all cores; a table of what was exercised; which seeds failed.

python -m tests.simulation --seeds 1000 [--first 0]
python -m tests.simulation --seed 123 [--trace]      one seed again, exactly; with its schedule
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.runs import Outcome, run
from tests.simulation.weather import KINDS

_PORTION = 20


def main() -> int:
    """How many of the seeds failed, at most 1."""
    options = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    options.add_argument("--seeds", type=int, default=1_000, help="how many seeds")
    options.add_argument("--first", type=int, default=0, help="the first of them")
    options.add_argument("--seed", type=int, help="this one alone")
    options.add_argument("--trace", action="store_true", help="with --seed: print the schedule")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    args = options.parse_args()
    if args.seed is not None:
        return _one(args.seed, trace=args.trace)
    console = Console()
    begun = time.perf_counter()
    outcomes = _many(range(args.first, args.first + args.seeds), args.jobs, console)
    for table in tables(outcomes):
        console.print(table)
    failed = [outcome for outcome in outcomes if outcome.broken]
    took = time.perf_counter() - begun
    each = 1000 * sum(outcome.took for outcome in outcomes) / max(1, len(outcomes))
    console.print(f"{len(outcomes)} seeds in {took:.0f} s, {each:.0f} ms each; {len(failed)} with a broken invariant")
    for outcome in failed[:50]:
        console.print(f"seed {outcome.seed}: {outcome.broken[0][:600]}", markup=False, highlight=False)
    if failed:
        console.print(f"again: python -m tests.simulation --seed {failed[0].seed} --trace")
    return int(bool(failed))


def _one(seed: int, *, trace: bool) -> int:
    outcome = run(seed, trace=print if trace else None)
    for sentence in outcome.broken:
        print(sentence)
    if not outcome.broken:
        print(f"seed {seed}: all invariants hold; {dict(sorted(outcome.statuses.items()))}")
    return int(bool(outcome.broken))


def _many(seeds: range, jobs: int, console: Console) -> list[Outcome]:
    portions = [seeds[place : place + _PORTION] for place in range(0, len(seeds), _PORTION)]
    outcomes: list[Outcome] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, ProcessPoolExecutor(jobs) as pool:
        task = progress.add_task("seeds", total=len(seeds))
        for done in as_completed([pool.submit(_portion, portion) for portion in portions]):
            for outcome in done.result():
                outcomes.append(outcome)
                progress.advance(task)
                if outcome.broken:
                    progress.console.print(
                        f"seed {outcome.seed}: {outcome.broken[0][:200]}", markup=False, highlight=False
                    )
    return sorted(outcomes, key=lambda outcome: outcome.seed)


def _portion(seeds: Iterable[int]) -> list[Outcome]:
    return [run(seed) for seed in seeds]


def tables(outcomes: list[Outcome]) -> list[Table]:
    """What was exercised: faults by kind, crashes by the point at which they came, steps of the worker."""
    seen, crashed, steps, statuses = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for outcome in outcomes:
        seen += outcome.seen
        crashed += outcome.crashed_at
        steps += outcome.steps
        statuses += outcome.statuses
    faults = {kind: seen[kind] for kind in KINDS}
    rest = {kind: count for kind, count in seen.items() if kind not in faults} | dict(statuses)
    return [
        _table("what went wrong", faults),
        _table("where workers were killed", dict(crashed.most_common(60))),
        _table("steps done", dict(steps)),
        _table("what came of it", rest),
    ]


def _table(title: str, counts: dict[str, int], columns: int = 3) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for _ in range(columns):
        table.add_column()
        table.add_column(justify="right")
    items = [(name, f"{count:,}") for name, count in counts.items()]
    height = -(-len(items) // columns)
    for row in range(height):
        cells = [items[place] if place < len(items) else ("", "") for place in range(row, height * columns, height)]
        table.add_row(*(text for cell in cells for text in cell))
    return table


if __name__ == "__main__":
    sys.exit(main())
