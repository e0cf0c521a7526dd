"""The simulated shop: what it puts on the log, and when."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pipeline.log.memory import MemoryLog
from pipeline.simulate import faults
from pipeline.simulate.simulation import SKEW, SKEWED_POD, Simulation
from pipeline.simulate.stories import Size
from pipeline.simulate.voices import READ
from schemas.control import Goodbye, Hello, Marker, decode_control
from schemas.event import Event, parse_event
from schemas.times import DAY, HOUR
from schemas.wire import decompress
from tests.simulate.shop import END, END_IN_HOLIDAYS, definitions, played, shop, whole_demo
from tracer.record import CONTROL, ENCODING, EPOCH, EVENTS, SOURCE
from tracer.sinks.memory import Stored


def _whole(seed: int = 1, end: int = END, orders: int = 300) -> Simulation:
    flows, landscape = definitions()
    return Simulation(seed, orders, end, flows, landscape)


def _records(log: MemoryLog) -> list[tuple[str, int, Stored]]:
    return [
        (topic, n, row)
        for topic, parts in log.broker.topics.items()
        for n, part in enumerate(parts)
        for row in part.rows
    ]


def _lines(row: Stored) -> list[bytes]:
    encoding = dict(row.headers).get(ENCODING)
    return decompress(row.value, encoding.decode() if encoding else None).splitlines()


def _events(log: MemoryLog) -> list[tuple[Stored, Event]]:
    found = []
    for part in log.broker.topics[EVENTS]:
        for row in part.rows:
            headers = dict(row.headers)
            named = {"source": headers[SOURCE].decode(), "epoch": int(headers[EPOCH])}
            found += [(row, parse_event({**json.loads(line), **named})) for line in _lines(row)]
    return found


def _skew(event: Event) -> int:
    return SKEW if event.source == SKEWED_POD else 0


def test_a_seed_decides_everything() -> None:
    assert _records(played(_whole(7))) == _records(played(_whole(7)))
    assert _records(played(_whole(7))) != _records(played(_whole(8)))


def test_what_is_sent_are_events_of_the_contract_in_order_of_time_and_each_once() -> None:
    simulation = _whole()
    events = _events(played(simulation))
    numbers = Counter((event.source, event.epoch) for _, event in events)
    # By what they say: what a collector has read is known by another id than what an emitter sent.
    heard = {
        (d.pod, d.step, d.phase, d.time, *sorted(d.keys.items())) for c in simulation.cases for d in simulation.heard(c)
    }
    said = {(e.source, e.step, e.phase.value, e.time - _skew(e), *sorted(e.keys.items())) for _, e in events}
    assert said == heard
    assert len({event.id for _, event in events}) == len(events)
    for row, event in events:
        assert simulation.begin <= event.time - _skew(event) <= row.append_time
        assert event.seq <= numbers[event.source, event.epoch]


def test_what_a_collector_reads_is_heard_as_what_is_emitted() -> None:
    """The same events from the same sources, and the same word of how far each has got."""
    found = []
    for read in (READ, frozenset[str]()):
        flows, landscape = definitions()
        simulation = Simulation(5, 60, END, flows, landscape, read=read)
        log = played(simulation)
        said = Counter(
            (e.source, e.epoch, e.step, e.phase, e.time, *sorted(e.keys.items()), *sorted(e.attributes.items()))
            for _, e in _events(log)
        )
        control = [decode_control(row.value) for row in log.broker.topics[CONTROL][0].rows]
        marks = sorted((r.source, r.epoch, r.through, r.sent) for r in control if isinstance(r, Marker | Goodbye))
        found.append((said, marks))
    assert found[0][0] == found[1][0]
    assert found[0][1] == found[1][1]


def test_append_times_go_forward_in_every_partition() -> None:
    for parts in played(_whole()).broker.topics.values():
        for part in parts:
            times = [row.append_time for row in part.rows]
            assert times == sorted(times)


def test_every_event_carries_its_own_transactions_key_and_the_cart_and_the_order_share_one() -> None:
    simulation = _whole()
    said = {
        (event.source, event.step, event.phase.value, event.time - _skew(event), *sorted(event.keys.items()))
        for _, event in _events(played(simulation))
    }
    shared = 0
    for case in simulation.cases:
        for deed in simulation.heard(case):
            assert deed.keys[case.key_type] == case.id
            assert (deed.pod, deed.step, deed.phase, deed.time, *sorted(deed.keys.items())) in said
            shared += case.flow == "checkout" and "order" in deed.keys
    assert shared > 200


@pytest.mark.parametrize("end", [END, END_IN_HOLIDAYS])
def test_markers_are_said_when_the_truth_believes_they_were(end: int) -> None:
    simulation = _whole(3, end)
    log = played(simulation)
    said: dict[tuple[str, int], list[int]] = {}
    for row in log.broker.topics[CONTROL][0].rows:
        record = decode_control(row.value)
        assert isinstance(record, Hello | Marker | Goodbye)
        skew = SKEW if record.source == SKEWED_POD else 0
        if isinstance(record, Marker):
            assert record.through - skew == row.append_time
            said.setdefault((record.source, record.epoch - skew), []).append(record.through - skew)
    believed = {(pod.name, s.boot): s.markers for pod in simulation.pods.values() for s in pod.sessions if s.markers}
    assert said == believed


def test_nightly_systems_say_goodbye_and_nothing_happens_there_by_day() -> None:
    simulation = _whole()
    log = played(simulation)
    left = {
        record.source
        for row in log.broker.topics[CONTROL][0].rows
        if isinstance(record := decode_control(row.value), Goodbye) and record.state == "open"
    }
    assert left == {"composer-1", "printer-1", "post-1"}
    night = [d for c in simulation.cases for d in c.deeds if d.system in ("composer", "printer", "post")]
    assert night
    for deed in night:
        assert simulation.pods[deed.pod].session_at(deed.time), deed


def test_a_blackout_takes_what_was_seen_and_ends_with_a_new_epoch() -> None:
    simulation = shop(1, 50)
    start, length = END - 10 * DAY, 3 * DAY
    simulation.blackout("payments", start, length)
    events = _events(played(simulation))
    times = [event.time for _, event in events if event.system == "payments"]
    assert times
    assert not [time for time in times if start <= time < start + length]
    assert len({event.epoch for _, event in events if event.source == "payments-1"}) == 2


def test_what_is_delayed_comes_at_the_end_of_the_delay_under_the_same_epoch() -> None:
    simulation = shop(1, 50)
    start, length = END - 10 * DAY, 3 * DAY
    simulation.delay("payments", start, length)
    rows = [(row, event) for row, event in _events(played(simulation)) if event.system == "payments"]
    late = [row.append_time for row, event in rows if start < event.time < start + length]
    assert late
    assert all(start + length - 1 <= time <= start + length for time in late)
    assert len({event.epoch for _, event in rows if event.source == "payments-1"}) == 1


def test_every_story_is_told_at_least_twice_in_the_size_of_the_demo() -> None:
    simulation, _ = whole_demo(1, END)
    told = Counter((case.flow, case.fault) for case in simulation.cases)
    shares = {
        "order": faults.ORDER, "checkout": faults.CART, "login": faults.LOGIN, "statement": faults.STATEMENT,
        "service-move": faults.MOVE,
    }  # fmt: skip
    for flow, names in shares.items():
        for name in names:
            assert told[flow, name] >= 2, (flow, name)


def test_customers_come_back_and_there_is_less_at_night() -> None:
    simulation = _whole(orders=1_000)
    placed = [d for c in simulation.cases if c.flow == "order" for d in c.deeds if d.step == "placed"]
    customers = Counter(deed.keys["customer"] for deed in placed)
    assert max(customers.values()) > 5
    hours = Counter(deed.time // HOUR % 24 for deed in placed)
    assert sum(hours[h] for h in range(1, 5)) * 5 < sum(hours[h] for h in range(17, 21))
    assert {deed.attributes["currency"] for deed in placed} == {"EUR", "GBP", "USD", "CHF"}


def test_steps_are_called_at_simulated_times_and_once_at_the_end() -> None:
    simulation = shop(1, 20)
    seen: list[int] = []
    log = MemoryLog(clock=simulation.clock)
    simulation.run(log, seen.append, step=2 * DAY)
    assert seen == sorted(set(seen))
    assert seen[-1] == END == log.broker.clock()
    assert 9 <= len(seen) <= 11


def test_systems_that_work_in_shifts_cannot_be_disturbed() -> None:
    simulation = shop(1, 20)
    simulation.blackout("composer", END - DAY, HOUR)
    with pytest.raises(ValueError, match="shifts"):
        played(simulation)


def test_nothing_that_an_event_carries_tells_its_story() -> None:
    """Truth is kept apart: but for test orders, which say so, no event names what was done to it."""
    simulation = _whole()
    names = {case.fault for case in simulation.cases if case.intent.kind or case.intent.findings}
    assert len(names) > 10
    for _, event in _events(played(simulation)):
        text = event.model_dump_json()
        assert not [name for name in names if name in text]


def test_size_follows_orders() -> None:
    assert Size.of(2_000) == Size(orders=2_000, carts=800, logins=2_000, statements=666, moves=100)
