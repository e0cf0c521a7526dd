"""The laws of inputs that can be read again (`collectors.inputs.live`), inherited by the tests of each.

A *source* is what an adapter reads, filled by the test. Crashes come at any moment: what was handed out and not settled comes
again, under the same streams and places; a position is never ahead of what was settled; ``through`` never ahead of what was handed
out.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.formats.contract import Format, Ready
from collectors.inputs.live import Context, InputSpec, LiveInput, Parcel
from collectors.inputs.record import Unreadable
from tests.collectors.receiving import Remembered
from tracer.errors import Unavailable

START = 1_800_000_000_000_000


class Source:
    """What is read. ``folder``: of its own."""

    def __init__(self, folder: Path):
        self.folder = folder

    @abstractmethod
    def spec(self) -> InputSpec: ...

    @abstractmethod
    def layout(self) -> Format: ...

    @abstractmethod
    def write(self, numbers: list[int]) -> None:
        """Records with a field ``order`` each."""


class World:
    """A source, an input that is opened anew after each crash, and what came of it."""

    def __init__(self, source: Source, *, once: bool = False):
        self.source, self.once = source, once
        self.now = START
        self.positions = Remembered()
        self.written: dict[int, int] = {}  # order to when it was there
        self.handed: dict[str, int] = {}  # stream and place to order
        self.settled: set[int] = set()
        self.run: set[int] = set()  # orders that were handed out since it was opened
        self.waiting: list[tuple[Parcel, list[int]]] = []
        self.live = self._open()

    def clock(self) -> int:
        self.now += 1
        return self.now

    def _open(self) -> LiveInput:
        return self.source.spec().open(
            Context(self.source.layout(), self.positions, self.clock, {}, self.source.folder, self.once)
        )

    def write(self, count: int) -> None:
        first = len(self.written) + 1
        numbers = list(range(first, first + count))
        self.source.write(numbers)
        self.written.update(dict.fromkeys(numbers, self.clock()))

    def poll(self) -> bool:
        self.now += 3_000_000
        parcels = self.live.poll(0.0)
        for parcel in parcels:
            orders = [self._taken(parcel, number) for number in range(len(parcel.items))]
            self.waiting.append((parcel, orders))
        through = self.live.through()
        if through is not None:
            missing = [
                order for order, at in self.written.items() if at < through and order not in self.run | self.settled
            ]
            assert not missing, f"vouched through {through}, and {missing} was not handed out"
        return bool(parcels)

    def _taken(self, parcel: Parcel, number: int) -> int:
        place, item = parcel.items[number]
        assert not isinstance(item, Unreadable), item
        fields = item.event if isinstance(item, Ready) else item.fields
        order = int(fields["order"])
        assert self.handed.setdefault(f"{parcel.stream}|{place}", order) == order, "one place, two records"
        self.run.add(order)
        return order

    def settle(self, count: int) -> None:
        """The log has acknowledged the oldest parcels: in order, as a runner does."""
        for parcel, orders in self.waiting[:count]:
            parcel.settle(None)
            self.settled.update(orders)
        del self.waiting[:count]

    def crash(self) -> None:
        self.waiting.clear()
        self.live.close()
        self.run.clear()
        self.live = self._open()

    def give_up(self) -> None:
        """The collector stops while the log is away."""
        for parcel, _ in self.waiting:
            parcel.settle(Unavailable("stopping"))
        self.crash()

    def to_the_end(self) -> None:
        for _ in range(20):
            self.poll()
            self.settle(1000)


operations = st.lists(
    st.tuples(st.sampled_from(["write", "poll", "poll", "settle", "crash", "give_up"]), st.integers(1, 5)), max_size=30
)


class InputLaws:
    """For one adapter."""

    @abstractmethod
    def source(self, folder: Path) -> Source: ...

    @given(operations)
    # Inherited by several classes, each with a source of its own.
    @settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    def test_all_is_handed_out_whenever_it_crashes(self, steps: list[tuple[str, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(self.source(Path(folder)))
            for name, number in [("write", 2), *steps]:
                if name == "write":
                    world.write(number)
                elif name == "settle":
                    world.settle(number)
                else:
                    getattr(world, name)()
            world.to_the_end()
            assert world.settled == set(world.written)
            assert len(world.handed) == len(world.written), "one record, two places"
            through = world.live.through()
            assert through is None or through > max(world.written.values())
            world.live.close()

    def test_what_was_settled_does_not_come_again(self, tmp_path: Path) -> None:
        world = World(self.source(tmp_path))
        world.write(30)
        world.to_the_end()
        world.crash()
        world.write(1)
        world.to_the_end()
        assert len(world.run) <= 2  # a table's last value is read again
        world.live.close()

    def test_once_ends(self, tmp_path: Path) -> None:
        world = World(self.source(tmp_path), once=True)
        world.write(7)
        for _ in range(5):
            world.poll()
        assert world.live.finished
        assert world.run == set(range(1, 8))
        world.live.close()
