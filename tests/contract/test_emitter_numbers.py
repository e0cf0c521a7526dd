"""Running numbers: what an emitter says of them is enough to count by, whatever was lost, held back, shed or refused."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Unavailable
from pipeline.log import LogRecord
from schemas import wire
from schemas.control import Goodbye, Marker
from tests.contract.test_emitter import PARTITIONS, World, events_of
from tests.contract.test_emitter_laws import STEPS, Witness
from tracer import record
from tracer.emitter import SECOND, Limits
from tracer.record import CONTROL, EVENTS, Ack
from tracer.shed import MAX_RANGES, Shed


def numbers_of(said: LogRecord) -> tuple[int, ...]:
    name, value = said.headers[-1]
    assert name == record.SEQ
    return wire.unpack_numbers(value)


def told(marker: Marker | Goodbye) -> list[int]:
    return [number for first, last in marker.shed_ranges for number in range(first, last + 1)]


def markers(world: World) -> list[Marker | Goodbye]:
    return [said for said in world.control() if isinstance(said, Marker | Goodbye)]


def refuse(world: World, ids: set[str]) -> None:
    """The log will never take records that hold one of these."""
    taken = world.log.broker.append

    def append(given_: record.Record) -> Ack:
        if given_.topic == EVENTS:
            body = wire.decompress(given_.value, dict(given_.headers).get(record.ENCODING))
            if any(f'"{id_}"'.encode() in body for id_ in ids):
                raise ValueError("too large for this broker")
        return taken(given_)

    world.log.broker.append = append  # type: ignore[method-assign, assignment]


def test_every_record_says_the_numbers_of_its_lines() -> None:
    world = World(limits=Limits(batch_events=7))
    for _ in range(100):
        world.emit()
    world.emitter.set_aside(b"no event", "orders.csv:7: no date")
    world.emitter.flush()
    aside = [r for r in world.records() if record.REASON in dict(r.headers)]
    assert [numbers_of(r) for r in aside] == [(101,)]
    for said in world.records():
        if said not in aside:
            assert numbers_of(said) == tuple(event.seq for event in events_of(said))


def test_a_batch_sent_again_has_its_numbers_still() -> None:
    world = World(limits=Limits(linger=0))
    world.log.broker.lose_acks = True
    for _ in range(9):
        world.emit({"order": "1"})
    world.pass_time()
    world.log.broker.lose_acks = False
    world.pass_time()
    assert [numbers_of(r) for r in world.records()] == [tuple(range(1, 10))] * 2


def test_numbers_under_way_are_not_accounted_for() -> None:
    """What is sent later may be acknowledged before: ``sent`` bounds no number."""
    world = World(limits=Limits(linger=SECOND, batch_events=2))
    assert world.emitter.marker()["accounted"] == 0
    first, second = ({"order": str(n)} for n in (1, 2))
    assert record.partition_of(b"order:1", PARTITIONS) != record.partition_of(b"order:2", PARTITIONS)
    world.emit(second)
    world.emit(first)
    world.emit(first)
    assert (world.emitter.sent, world.emitter.marker()["accounted"]) == (2, 0)
    world.emitter.flush()
    assert (world.emitter.sent, world.emitter.marker()["accounted"]) == (3, 3)
    world.log.broker.away = {EVENTS}
    world.emit(first)
    assert world.emitter.marker()["accounted"] == 3


def test_a_marker_says_which_were_shed() -> None:
    world = World(limits=Limits(queue_events=10))
    world.pass_time()
    refuse(world, {"e3"})
    for _ in range(3):
        world.emit({"order": "1"})
        world.emitter.flush()
    world.log.broker.down = True
    for _ in range(14):
        world.emit()
    assert world.emitter.marker()["shed_ranges"] == [[3, 3], [14, 17]]
    world.log.broker.down = False
    epoch = world.emitter.epoch
    world.pass_time()
    last = [said for said in markers(world) if said.epoch == epoch][-1]
    assert (told(last), last.shed, last.accounted) == ([3, 14, 15, 16, 17], 5, 17)
    assert world.emitter.epoch != epoch
    assert world.emitter.marker()["shed_ranges"] == []


def test_an_epoch_is_not_left_before_all_its_numbers_were_told() -> None:
    """Shed between the last marker and its acknowledgement, when the queue is empty: told by one marker more."""
    world = World(limits=Limits(linger=0))
    world.pass_time()
    refuse(world, {"e1", "e2"})
    epoch = world.emitter.epoch
    world.emit()
    world.log.broker.hold_acks = True
    world.pass_time()  # refused: what was shed is told, its acknowledgement is on the way
    world.emit()
    world.emitter.tick()
    world.log.broker.hold_acks = False
    for _ in range(3):
        world.pass_time()
    last = [said for said in markers(world) if said.epoch == epoch][-1]
    assert (told(last), last.shed, last.accounted) == ([1, 2], 2, 2)


def test_a_goodbye_accounts_for_all() -> None:
    world = World(load=True)
    for _ in range(500):
        world.emit()
    world.emitter.set_aside(b"x", "why")
    world.emitter.goodbye("closed")
    (last,) = markers(world)
    assert (last.accounted, last.sent, last.shed_ranges) == (501, 501, ())


def test_what_is_refused_for_want_of_room_takes_no_number() -> None:
    world = World(limits=Limits(queue_events=2), block=True)
    world.log.broker.down = True
    world.emit()
    world.emit()
    with pytest.raises(Unavailable):
        world.emit()
    with pytest.raises(Unavailable):
        world.emitter.set_aside(b"x", "why")
    world.log.broker.down = False
    world.emitter.set_aside(b"x", "why")
    world.emitter.flush()
    assert sorted(number for said in world.records() for number in numbers_of(said)) == [1, 2, 3]


@given(st.permutations(range(1, 40)), st.integers(0, 39))
def test_what_is_shed_in_any_order_is_in_ranges(order: list[int], how_many: int) -> None:
    shed = Shed()
    for number in order[:how_many]:
        shed.add([number])
    ranges = shed.ranges()
    assert sorted(order[:how_many]) == [n for first, last in ranges for n in range(first, last + 1)]
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


def test_more_ranges_than_a_marker_carries_are_left_out_and_counted() -> None:
    shed, numbers = Shed(), list(range(1, 4 * MAX_RANGES, 2))
    random.Random(1).shuffle(numbers)
    shed.add(numbers)
    ranges = shed.ranges()
    assert (shed.count, len(ranges)) == (2 * MAX_RANGES, MAX_RANGES)
    assert all(first == last and first in numbers for first, last in ranges)
    shed.add([numbers[0] + 1])  # next to one that is told
    assert sum(last - first + 1 for first, last in shed.ranges()) >= MAX_RANGES


@settings(max_examples=400, deadline=None)
@given(
    steps=STEPS,
    queue=st.sampled_from([1, 5, 50]),
    batch=st.integers(1, 4),
    refused=st.sets(st.integers(1, 40), max_size=6),
)
def test_every_number_accounted_for_is_on_the_log_or_told_as_shed(
    steps: list[Any], queue: int, batch: int, refused: set[int]
) -> None:
    """Law 8 from the sender's side, at every marker and at the end."""
    world = World(limits=Limits(queue_events=queue, batch_events=batch, linger=SECOND), every=SECOND)
    refuse(world, {f"e{number}" for number in refused})
    witness = Witness(world)
    for step in steps:
        witness.step(step)
    broker = world.log.broker
    broker.down = broker.lose_acks = broker.hold_acks = False
    broker.away, broker.only = set(), {EVENTS, CONTROL}
    for _ in range(4):
        world.emitter.flush()
        world.now = max(world.now, witness.latest) + 2 * SECOND
        world.emitter.tick()
    there: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for said in world.records():
        epoch = int(dict(said.headers)[record.EPOCH])
        for number in numbers_of(said):
            there.setdefault((epoch, number), []).append((said.partition, said.offset))
    for marker in markers(world):
        assert marker.accounted is not None
        shed = told(marker)
        assert len(shed) == marker.shed
        for number in range(1, marker.accounted + 1):
            places = there.get((marker.epoch, number), [])
            assert number in shed or any(offset < marker.acked.get(p, 0) for p, offset in places), (number, marker)
    last = {marker.epoch: marker for marker in markers(world)}
    assert sum(marker.accounted or 0 for marker in last.values()) == world.n
