"""Systems that are heard through collectors, at work on one log beside a worker, by one clock; what commands say of them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import Result

from collectors.checkpoint import Checkpoint
from collectors.collecting import Collecting
from collectors.collector_file import read_collector
from pipeline.app import App
from pipeline.config import Config
from pipeline.core.hearing import Hearing
from schemas.flow import Flows
from schemas.flow_file import parse_flow
from schemas.times import MINUTE, SECOND
from tests.cli.test_commands import World
from tests.faults.site import Site
from tests.faults.stories import START
from tracer.emitter import Limits

FLOWS = Flows(
    [
        parse_flow(
            "flow: heard\nversion: 1\nkey: order\nby: [order]\nlost_after: 5d\nsteps:\n  placed: {system: shop, start: true}\n"
            "  paid: {system: payments, after: placed, within: 15m, end: completed}\n"
        )
    ]
)
_STEPS = {"shop": "placed", "payments": "paid"}


class _Commands(World):
    """The commands over this log and store, at this clock."""

    def __init__(self, site: Site):
        super().__init__()
        self._site = site
        self.memory, self.events, self.flows = site.store, site.log, FLOWS  # type: ignore[assignment]

    def app(self, config: Config) -> App:
        made = super().app(config)
        made.clock = self._site.clock
        return made


class Heard:
    """Each collector tails the log of its own name, which says what its system did."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.site = Site(flows=FLOWS)
        self.site.time = START
        self.worker = self.site.worker()
        self.commands = _Commands(self.site)
        self.running: dict[str, Collecting] = {}

    def begin(self, name: str, system: str, *, once: bool = False, text: str = "") -> None:
        """A collector's process begins. ``text``: its file, if it is not the usual one."""
        path = self.folder / f"{name}.yaml"
        (self.folder / f"{name}.log").touch()
        path.write_text(
            text
            or f"collector: {name}\ninput: {{file: {{paths: [{name}.log]}}}}\nformat: json\ntimes: epoch_us\n"
            f"events:\n  - {{system: {system}, step: {_STEPS[system]}, time: at, keys: {{order: order}}}}\n"
        )
        self.running[name] = Collecting(
            read_collector(path), self.site.log.producer(), Checkpoint(self.folder / "positions", name), self.site.clock, {},
            landscape=self.site.landscape, limits=Limits(linger=0), once=once, through=self.site.time if once else None,
        )  # fmt: skip

    def once(self, name: str, system: str) -> None:
        """A nightly job: it reads what there is, and ends."""
        self.begin(name, system, once=True)
        while not self.running[name].done:
            self.running[name].step()
            self.site.time += 1
        self.running.pop(name).stop()

    def kill(self, name: str) -> None:
        """By SIGKILL: nothing is said, and what is not acknowledged is lost to this process."""
        self.running.pop(name).abandon()

    def stop(self, name: str) -> None:
        """By SIGTERM, as a pod that is scaled down."""
        self.running.pop(name).stop()

    def write(self, name: str, *orders: str) -> None:
        with (self.folder / f"{name}.log").open("a") as stream:
            stream.writelines(json.dumps({"at": self.site.time, "order": order}) + "\n" for order in orders)

    def passes(self, minutes: float) -> None:
        """Everybody who runs goes on, every two seconds."""
        end = self.site.time + int(minutes * MINUTE)
        while self.site.time < end:
            self.site.time += 2 * SECOND
            for one in self.running.values():
                one.step()
            self.worker.step()
        self.worker.drain()

    def said(self) -> dict[str, str]:
        """Order to status."""
        return {name[1]: one.status for name, one in self.site.verdicts().items()}

    def ever_said(self) -> set[str]:
        """Every status that any order was ever said to have."""
        return {str(flip[2]) for flips in self.site.flips().values() for flip in flips}

    def hearing(self, system: str) -> Hearing:
        return self.worker.fold.hearing(system)

    def deaf(self, system: str, since: int = START) -> list[tuple[int, int]]:
        return list(self.hearing(system).deaf_within(since, self.site.time))

    def sources(self, *options: str, code: int = 0) -> Result:
        return self.commands.run("sources", *options, code=code)
