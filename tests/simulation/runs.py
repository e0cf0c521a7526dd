"""Runs: a seed in, what came of it out."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from time import process_time

import pipeline.work.desk
from schemas.control import decode_control
from tests.simulation.invariants import broken
from tests.simulation.world import Violation, World

# What control says is a frozen value, and each worker reads it from the beginning: read once, it took a third of a run.
pipeline.work.desk.decode_control = lru_cache(maxsize=20_000)(decode_control)  # type: ignore[attr-defined]


@dataclass
class Outcome:
    """What came of a seed. ``broken``: the invariants that did not hold. ``seen``: faults by kind; ``crashed_at``: by point."""

    seed: int
    broken: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    crashed_at: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    took: float = 0.0


def run(seed: int, joined: bool | None = None, trace: Callable[[str], None] | None = None) -> Outcome:
    """Play a seed and check it. Every other seed is one with aliases, unless it is told."""
    disabled = logging.root.manager.disable
    if trace is None:
        logging.disable(logging.CRITICAL)
    begun = process_time()
    outcome = Outcome(seed)
    world = World(seed, joined=bool(seed % 2) if joined is None else joined, trace=trace)
    handler = _Telling(world)
    try:
        if trace is not None:
            logging.getLogger("lastseen").addHandler(handler)
        world.play()
        outcome.broken = list(broken(world))
    except Violation as error:
        cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ is not None else ""
        outcome.broken = [f"{error}\n{cause}".rstrip()]
    finally:
        for process in world.processes:
            process.crash()
        logging.getLogger("lastseen").removeHandler(handler)
        logging.disable(disabled)
    outcome.seen, outcome.crashed_at, outcome.steps = world.weather.seen, world.weather.crashed_at, world.steps
    outcome.seen["workers started"] = world.started
    outcome.seen["ownership taken"] = len(world.observer.fences)
    outcome.seen["records"] = sum(map(len, world.observer.logged))
    outcome.statuses = Counter(row.status for row in world.store._all_verdicts())
    outcome.seen["alarms raised"] = len(world.observer.claims)
    outcome.took = process_time() - begun
    return outcome


class _Telling(logging.Handler):
    """What workers log becomes part of the trace."""

    def __init__(self, world: World):
        super().__init__()
        self.world = world

    def emit(self, record: logging.LogRecord) -> None:
        self.world.tell(f"   log: {record.getMessage()}")
