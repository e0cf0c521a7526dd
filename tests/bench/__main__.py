"""``make bench``: what one run on one broker measured, next to DESIGN.md §8's targets.

Each measurement is a process of its own, so that none inherits another's garbage, caches or consumers. Nothing is asserted here.

    make bench                                     about ten minutes on two cores
    make bench ARGS='--only w1,lookup'             some parts
    make bench ARGS='--full --save'                W3 and restart with 10M open, RESULTS.md written anew
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tests.bench.parts import PARTS, Failed, Run, Sizes
from tests.bench.table import RESULTS, save, show
from tests.kafka_broker import Broker, NoBroker


def main() -> int:
    """Run what was asked for and print the tables."""
    args = _arguments()
    console = Console()
    wanted = list(PARTS) if args.only == "all" else args.only.split(",")
    if unknown := [name for name in wanted if name not in PARTS]:
        console.print(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
        return 2
    sizes = Sizes(args.orders, args.rounds, args.open, args.transactions)
    if args.full:
        sizes = sizes._replace(opened=10_000_000)
    with tempfile.TemporaryDirectory(prefix="lastseen-bench-") as folder:
        broker = Broker(Path(folder) / "kafka")
        try:
            broker.start()
        except NoBroker as reason:
            console.print(f"no Kafka, no bench: {reason}")
            return 3
        try:
            _measure(Run(broker.address, Path(folder), sizes), wanted, console, saved=args.save)
        finally:
            broker.stop()
    return 0


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="make bench ARGS=…", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--only", default="all", metavar="PARTS", help=f"of {','.join(PARTS)}")
    options.add_argument("--orders", type=int, default=20_000, help="of W1 and W2, ten events each")
    options.add_argument("--rounds", type=int, default=3, help="how often throughput is measured; the median counts")
    options.add_argument("--open", type=int, default=1_000_000, help="open transactions of W3, restart and deadline")
    options.add_argument("--transactions", type=int, default=10_000_000, help="of lookup and report")
    options.add_argument("--full", action="store_true", help="10M open transactions; takes half an hour")
    options.add_argument("--save", action="store_true", help=f"write the tables to {RESULTS.name}")
    return options.parse_args()


def _measure(run: Run, wanted: list[str], console: Console, *, saved: bool) -> None:
    """Show each part's table when it is done, and write it down at once: a run takes long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(wanted))
        run.say = lambda text: progress.update(task, description=text)
        for name in wanted:
            run.say(name)
            try:
                made = PARTS[name](run)
                show(made, console)
                if saved:
                    save(made, f"make bench ARGS='{' '.join(sys.argv[1:])}'")
            except Failed as reason:
                console.print(f"{name}: {reason}")
            progress.advance(task)


if __name__ == "__main__":
    raise SystemExit(main())
