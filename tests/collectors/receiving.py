"""A collector's loop for tests of inputs: polls on a thread of its own and settles, or fails to, as it is told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from collectors.formats.contract import Format, Item, Ready
from collectors.inputs.live import Context, LiveInput, Parcel
from collectors.inputs.record import Row, Unreadable
from tracer.errors import Unavailable

PATIENCE = 20.0


class Remembered:
    """`Positions` in memory."""

    def __init__(self) -> None:
        self.streams: dict[str, Mapping[str, Any]] = {}

    def get(self, stream: str) -> Mapping[str, Any] | None:
        return self.streams.get(stream)

    def all(self) -> Mapping[str, Mapping[str, Any]]:
        return self.streams

    def put(self, stream: str, position: Mapping[str, Any]) -> None:
        self.streams[stream] = position

    def drop(self, stream: str) -> None:
        self.streams.pop(stream, None)


def wall() -> int:
    return time.time_ns() // 1000


def context(
    layout: Format,
    *,
    env: Mapping[str, str] | None = None,
    once: bool = False,
    base: Path = Path(),
    clock: Callable[[], int] = wall,
) -> Context:
    return Context(layout, Remembered(), clock, env or {}, base, once)


class Loop:
    """``settle``: decides of each parcel what the log says: None, an error, or (by `later`) nothing yet."""

    def __init__(self, live: LiveInput, settle: Callable[[Parcel], Exception | None] = lambda _: None) -> None:
        self.live = live
        self.parcels: list[Parcel] = []
        self.accepted: list[tuple[str, Item]] = []
        self._settle = settle
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                parcels = self.live.poll(0.05)
            except Unavailable:
                continue
            for parcel in parcels:
                error = self._settle(parcel)
                with self._news:
                    self.parcels.append(parcel)
                    if error is None:
                        self.accepted += [(parcel.stream + "|" + placed.place, placed.item) for placed in parcel.items]
                    self._news.notify_all()
                parcel.settle(error)

    def wait(self, done: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(done, PATIENCE), f"only {len(self.accepted)} items in {PATIENCE:g} s"

    def items(self, count: int) -> list[Item]:
        """The first ``count`` items that were accepted."""
        self.wait(lambda: len(self.accepted) >= count)
        return [item for _, item in self.accepted[:count]]

    def close(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        self.live.close()

    def start(self) -> Loop:
        self._thread.start()
        return self


@contextlib.contextmanager
def looping(live: LiveInput, settle: Callable[[Parcel], Exception | None] = lambda _: None) -> Iterator[Loop]:
    loop = Loop(live, settle).start()
    try:
        yield loop
    finally:
        loop.close()


def fields(item: Item) -> Mapping[str, Any]:
    assert isinstance(item, Row), item
    return item.fields


def event(item: Item) -> Mapping[str, Any]:
    assert isinstance(item, Ready), item
    return item.event


def reason(item: Item) -> str:
    assert isinstance(item, Unreadable), item
    return item.reason


def until(done: Callable[[], bool]) -> None:
    """Asked again and again, bounded."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
