"""A worker's process: it is started, works in turns, is stopped, goes on, crashes, leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline.worker import Policy, Worker
from schemas.times import SECOND
from tests.simulation.fibers import FOREVER, Crash, Fiber, Stop
from tests.simulation.ports import Calls, Port, ProcessLog

if TYPE_CHECKING:
    from tests.simulation.world import World

_A_CALL = 1_000


class Process(Calls):
    """``busy``: whether its last turn found anything to do. ``evict_at``: when the group gives it up."""

    def __init__(self, world: World, name: str):
        self.world: World = world
        self.name, self.dead, self.leaving, self.busy = name, False, False, True
        self.evict_at = 0
        self.jump = 0
        self.worker: Worker | None = None
        self.log = ProcessLog(world.log, self)
        self.policy = world.random_policy()
        self.fiber = Fiber(name, self._live, world.clock)

    def _live(self, fiber: Fiber) -> None:
        worker = Worker(
            cast(Any, self.log), cast(Any, Port(self.world.store, self, "store")),
            flows=self.world.flows, landscape=self.world.landscape, name=self.name, policy=self.policy,
            pacing=lambda: self.world.now + self.jump, stop=Stop(lambda: self.fiber), checkpoint=self._checkpoint,
        )  # fmt: skip
        self.worker = worker
        while not self.leaving:
            self.busy = worker.step()
            fiber.at = "between two turns"
            if not self.busy:
                fiber.sleep(self.world.random.randint(SECOND // 3, 4 * SECOND), "idle")
        worker.close()

    def _checkpoint(self, step: str) -> None:
        self.world.steps[step] += 1
        self.point(f"step: {step}")

    def point(self, label: str) -> None:
        if self.dead:
            raise Crash
        self.world.now += _A_CALL
        self.fiber.point(label)

    def nap(self, micros: int, label: str) -> None:
        self.fiber.sleep(micros, label)

    # From outside

    @property
    def ready_at(self) -> int:
        return FOREVER if self.dead else self.fiber.ready_at

    @property
    def running(self) -> bool:
        return not self.dead and not self.fiber.done

    def crash(self) -> None:
        """At the very point at which it is; the group hears of it by its silence."""
        self.fiber.crash()
        self.dead = True

    def evict(self) -> None:
        if self.log.member is not None:
            self.world.log.evict(self.log.member)


def policy_of(random: Any) -> Policy:
    return Policy(
        max_records=random.choice((1, 3, 8, 30)), poll_ms=0, max_due=random.choice((1, 3, 5_000)),
        capacity=random.choice((1, 10, 1_000_000)), tick_every=random.choice((5, 10)) * SECOND, pulse_every=4 * SECOND,
        trim_every=random.choice((3, 10_000)),
    )  # fmt: skip
