"""The simulated shop as tests use it: small, seeded, on a log in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from pipeline.log.memory import MemoryLog
from pipeline.simulate.simulation import Simulation
from pipeline.simulate.truth import Truth
from schemas.flow import Flows
from schemas.flow_file import load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import SHIPPED_FLOWS, load_landscape
from schemas.times import HOUR, parse_time

END = parse_time("2026-11-22T17:00:00Z")
# In holidays: the warehouse is closed for three days at a stretch.
END_IN_HOLIDAYS = parse_time("2026-12-28T09:00:00Z")


@cache
def definitions() -> tuple[Flows, Landscape]:
    landscape = load_landscape([SHIPPED_FLOWS])
    return load_flows([SHIPPED_FLOWS], landscape), landscape


def strict() -> tuple[Flows, Landscape]:
    """Not even a thousandth of blind time is tolerated: what the laws are tested with."""
    flows, landscape = definitions()
    return flows, landscape.model_copy(update={"tolerate": 0.0})


def shop(seed: int, orders: int, *, end: int = END, faults: bool = True, hours: int = 6) -> Simulation:
    """A shop with the stories of ``faults`` and nothing disturbed but what the test disturbs. Everybody emits by himself: what
    collectors read is heard the same (`test_simulation`), in three times the time."""
    flows, landscape = strict()
    return Simulation(
        seed, orders, end, flows, landscape, faults=faults, every=hours * HOUR, tick=hours * HOUR, disturbed=False,
        read=frozenset(),
    )  # fmt: skip


def played(simulation: Simulation, on_step: Callable[[int], None] | None = None) -> MemoryLog:
    log = MemoryLog(clock=simulation.clock)
    simulation.run(log, on_step)
    return log


@cache
def whole_demo(seed: int, end: int) -> tuple[Simulation, list[Truth]]:
    """The shop in the size of the demo, played, and its truth."""
    flows, landscape = definitions()
    simulation = Simulation(seed, 2_000, end, flows, landscape)
    played(simulation)
    return simulation, simulation.truths()
