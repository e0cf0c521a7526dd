"""Whatever acknowledgements, outages and clocks do: a marker never vouches for what was not acknowledged."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Unavailable
from schemas.control import Goodbye, Hello, Marker
from tests.contract.test_emitter import World, events_of
from tracer.emitter import SECOND, Limits
from tracer.record import CONTROL, EVENTS

STEPS = st.lists(
    st.one_of(
        st.just("emit"),
        st.tuples(st.just("order"), st.integers(min_value=1, max_value=3)),
        st.tuples(st.just("time"), st.sampled_from([1, 1, SECOND // 2, SECOND, 2 * SECOND, 5 * SECOND, -SECOND])),
        st.just("tick"),
        st.sampled_from(["hold", "release"]),
        st.sampled_from(["flush", "down", "up", "lose", "keep", "away", "back", "control too", "events only"]),
    ),
    min_size=25,
    max_size=80,
)


LATE = st.sampled_from([None, 1, SECOND])
"""Microseconds after which acknowledgements come."""


class Witness:
    """Watches an emitter: when each event became known (on a clock that it looks at, and lets not go back), and the log."""

    def __init__(self, world: World):
        self.world = world
        world.emitter.tick()
        world.log.broker.only = {EVENTS}
        self.known: dict[str, int] = {}
        self.latest = 0

    def step(self, step: object) -> None:
        world, broker = self.world, self.world.log.broker
        if step == "emit" or (isinstance(step, tuple) and step[0] == "order"):
            keys = {"order": str(step[1])} if isinstance(step, tuple) else None
            self.latest = max(self.latest, world.now)
            self.known[f"e{world.emit(keys)}"] = self.latest
        elif isinstance(step, tuple):
            world.now += step[1]
        elif step == "tick":
            self.latest = max(self.latest, world.now)
            world.emitter.tick()
        elif step == "flush":
            with contextlib.suppress(Unavailable):
                world.emitter.flush()
        elif step in ("down", "up"):
            broker.down = step == "down"
        elif step in ("lose", "keep"):
            broker.lose_acks = step == "lose"
        elif step in ("hold", "release"):
            broker.hold_acks = step == "hold"
        elif step in ("away", "back"):
            broker.away = {EVENTS} if step == "away" else set()
        else:
            broker.only = {EVENTS} if step == "events only" else {EVENTS, CONTROL}

    def check(self) -> None:
        """All that became known before ``through`` is on the log, below the offsets that the same marker names."""
        hellos = {said.epoch: said.since for said in self.world.control() if isinstance(said, Hello)}
        places = {event.id: set[tuple[int, int]]() for event in self.world.events().values()}
        for record in self.world.records(EVENTS):
            for event in events_of(record):
                places[event.id].add((record.partition, record.offset))
        for said in self.world.control():
            if isinstance(said, Marker | Goodbye):
                for id_, known in self.known.items():
                    if hellos[said.epoch] <= known < said.through:
                        there = places.get(id_, set())
                        assert any(offset < said.acked.get(partition, 0) for partition, offset in there), (
                            id_,
                            known,
                            said,
                        )


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, queue=st.sampled_from([1, 5, 50]), batch=st.integers(min_value=1, max_value=4), late=LATE)
def test_through_never_skips_what_was_not_acknowledged(
    steps: list[object], queue: int, batch: int, late: int | None
) -> None:
    world = World(late, limits=Limits(queue_events=queue, batch_events=batch, linger=SECOND), every=SECOND)
    witness = Witness(world)
    for step in steps:
        witness.step(step)
    witness.check()


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, queue=st.sampled_from([1, 5, 50]), batch=st.integers(min_value=1, max_value=4), late=LATE)
def test_after_the_outage_everything_is_accounted_for(
    steps: list[object], queue: int, batch: int, late: int | None
) -> None:
    """I1 and law 8: once the log is back, each event is on the log or counted as shed, and through moves on (I6)."""
    world = World(late, limits=Limits(queue_events=queue, batch_events=batch, linger=SECOND), every=SECOND)
    witness = Witness(world)
    for step in steps:
        witness.step(step)
    broker = world.log.broker
    broker.down = broker.lose_acks = broker.hold_acks = False
    broker.away = set()
    for _ in range(4):
        world.emitter.flush()
        world.now = max(world.now, witness.latest) + 2 * SECOND
        world.emitter.tick()
    witness.check()
    last: dict[int, Marker] = {said.epoch: said for said in world.control() if isinstance(said, Marker)}
    stored = world.events()
    assert len(stored) + sum(marker.shed for marker in last.values()) == len(witness.known)
    assert sum(marker.sent for marker in last.values()) == len(witness.known)
    assert last[world.emitter.epoch].through >= witness.latest
    for epoch, marker in last.items():
        assert marker.sent - marker.shed == sum(event.epoch == epoch for event in stored.values())
