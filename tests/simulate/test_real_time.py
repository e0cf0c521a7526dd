"""The shop in real time: on any log, in the order in which it happens, through the collectors' own code."""

from __future__ import annotations

import json
from collections import Counter

from pipeline.log.memory import MemoryLog
from pipeline.simulate.clock import SimulatedClock
from pipeline.simulate.real_time import Heard, RealTime
from pipeline.simulate.statements import SHIFTS
from pipeline.simulate.voices import READ
from pipeline.store.contract import VerdictQuery
from pipeline.store.memory import MemoryStore
from pipeline.worker import Policy, Worker
from schemas.control import Goodbye, Marker, decode_control
from schemas.flow_file import load_flows
from schemas.landscape_file import SHIPPED_FLOWS, load_landscape
from schemas.times import HOUR, MINUTE, SECOND, parse_time
from schemas.wire import decode, decompress
from tracer.record import CONTROL, ENCODING, EPOCH, EVENTS, SOURCE

NOW = parse_time("2026-11-05T12:00:00Z")
LANDSCAPE = load_landscape([SHIPPED_FLOWS])
FLOWS = load_flows([SHIPPED_FLOWS], LANDSCAPE)


class Time:
    """Time that goes on while somebody waits."""

    def __init__(self, log: MemoryLog, clock: SimulatedClock, away: tuple[int, int], step: int):
        self.log, self.clock, self.away, self.step = log, clock, away, step

    def wait(self, _seconds: float) -> bool:
        self.clock.advance(self.clock() + self.step)
        self.log.broker.down = self.away[0] <= self.clock() < self.away[1]
        return False


def played(
    length: int, rate: int = 1200, away: tuple[int, int] = (0, 0), step: int = 2 * SECOND
) -> tuple[MemoryLog, Heard]:
    clock = SimulatedClock(NOW)
    log = MemoryLog(4, clock)
    time = Time(log, clock, away, step)
    shop = RealTime(1, rate, length, FLOWS, LANDSCAPE, clock)
    return log, shop.run(log, time.wait)


def said(log: MemoryLog) -> Counter[str]:
    """Events by source."""
    found: Counter[str] = Counter()
    for part in log.broker.topics[EVENTS]:
        for row in part.rows:
            headers = dict(row.headers)
            body = decompress(row.value, headers.get(ENCODING))
            events, _, bad = decode(body, headers[SOURCE].decode(), int(headers[EPOCH]))
            assert not bad
            for event in events:
                assert NOW <= event.time <= row.append_time < event.time + 20 * MINUTE
                found[event.source] += 1
    return found


def test_what_happens_is_heard_when_it_happens_and_everybody_says_goodbye() -> None:
    log, heard = played(10 * MINUTE)
    sent = said(log)
    assert heard.deeds == sent.total() > 500
    assert heard.begun["order"] > 100
    assert heard.faults.total() > 0
    assert sent["shop-1"] + sent["shop-2"] > 100
    control = [decode_control(row.value) for row in log.broker.topics[CONTROL][0].rows]
    marked = {record.source for record in control if isinstance(record, Marker)}
    left = {record.source: record.state for record in control if isinstance(record, Goodbye)}
    assert {"shop-1", "warehouse-1", "carrier-1", "payments-2"} <= marked
    assert marked == set(left)


def test_who_orders_now_is_judged_by_what_is_heard_now() -> None:
    log, heard = played(10 * MINUTE)
    store = MemoryStore()
    worker = Worker(log, store, flows=FLOWS, landscape=LANDSCAPE, policy=Policy(poll_ms=0))
    worker.drain()
    worker.close()
    orders = [row for row in store.verdicts(VerdictQuery(excluded=None)) if row.flow == "order"]
    assert abs(len(orders) - heard.begun["order"]) <= 1
    assert Counter(row.status for row in orders)["in_progress"] > 0.7 * len(orders)


def test_a_log_that_is_away_for_ten_minutes_loses_nothing() -> None:
    away = (NOW + 2 * MINUTE, NOW + 12 * MINUTE)
    log, heard = played(14 * MINUTE, 300, away)
    assert said(log) == said(played(14 * MINUTE, 300)[0])
    assert said(log).total() == heard.deeds


def test_a_goodbye_waits_until_the_log_is_there_again() -> None:
    """The night's systems introduce themselves for ten seconds, and leave just while the log is away."""
    log, _ = played(2 * MINUTE, 300, (NOW + 5 * SECOND, NOW + 30 * SECOND))
    control = [(row.append_time, decode_control(row.value)) for row in log.broker.topics[CONTROL][0].rows]
    left = {record.source: at for at, record in control if isinstance(record, Goodbye) and at < NOW + MINUTE}
    assert {name.rpartition("-")[0] for name in left} == set(SHIFTS)
    assert min(left.values()) >= NOW + 30 * SECOND


def test_two_shops_one_after_the_other_have_no_number_in_common() -> None:
    numbers: list[set[str]] = []
    for later in (0, 10 * SECOND):
        clock = SimulatedClock(NOW + later)
        shop = RealTime(1, 3600, 10 * SECOND, FLOWS, LANDSCAPE, clock)
        numbers.append({case.id for cases in shop._cases.values() for case in cases if case.flow == "order"})
    assert numbers[0]
    assert not numbers[0] & numbers[1]


def test_what_a_system_only_writes_is_read_by_a_collector() -> None:
    """Its events have ids that the collector made of what it read."""
    log, _ = played(30 * HOUR, 20, step=2 * MINUTE)
    ids: dict[str, list[str]] = {}
    for part in log.broker.topics[EVENTS]:
        for row in part.rows:
            headers = dict(row.headers)
            system = headers[SOURCE].decode().rpartition("-")[0]
            lines = decompress(row.value, headers.get(ENCODING)).splitlines()
            ids.setdefault(system, []).extend(json.loads(line)["id"] for line in lines)
    assert {"shop", "warehouse", "carrier"} == READ
    for system in READ:
        assert ids[system]
        assert all(identity.startswith(f"{system}-") for identity in ids[system])
    assert not any(identity.startswith("payments-") for identity in ids["payments"])
