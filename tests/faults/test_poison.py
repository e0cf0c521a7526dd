"""Bytes that make no event: one among many, of every kind, from one source, from all (faults 18 to 20)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.store.contract import Store, VerdictQuery
from pipeline.store.embedded import open_embedded
from pipeline.store.memory import MemoryStore
from pipeline.work.trust import Flooded, Trust, TrustPolicy
from pipeline.worker import Worker
from schemas import wire
from schemas.control import Distrust, Hello, Marker, decode_control
from schemas.event import MAX_INTEGER
from schemas.times import DAY, HOUR, MINUTE
from tests.faults.site import Site
from tests.faults.stories import START, Event, flat, records_of, stories, told
from tracer.record import CONTROL, ENCODING, EPOCH, EVENTS, KIND, LZ4, SOURCE, Record

GOOD = flat(stories())


def record(body: bytes, source: str = "app", epoch: int = 1, partition: int = 0) -> Record:
    headers = ((KIND, b"event"), (SOURCE, source.encode()), (EPOCH, b"%d" % epoch)) if source else ()
    return Record(EVENTS, b"order:1", body, headers, partition)


def events(count: int, source: str) -> list[Event]:
    found = []
    for number in range(count):
        (event,) = told("order", f"{source}-{number}", "placed 0m", {})
        found.append(event)
    return found


def lines(found: Sequence[Event]) -> list[bytes]:
    return [json.dumps(event).encode() for event in found]


@pytest.mark.parametrize("packed", [False, True])
def test_18_one_poison_event_among_a_hundred_in_a_record(packed: bool) -> None:
    site = Site()
    whole = lines(events(99, "app"))
    whole.insert(41, b'{"id": "poison", "step": 7}')
    body = b"\n".join(whole)
    sent = record(body)
    if packed:
        sent = sent._replace(value=wire.compress(body), headers=(*sent.headers, (ENCODING, LZ4)))
    site.produce([sent])
    worker = site.worker()
    worker.drain()
    assert site.store.count_events() == 99
    (row,) = site.store.quarantine()
    assert row.id == "lastseen.events:0:0:41"
    assert (row.source, row.epoch, row.payload) == ("app", 1, whole[41])
    assert row.reason


def test_18_two_that_turn_out_bad_only_when_they_are_filed_are_two() -> None:
    site = Site()
    found = events(5, "app")
    for number in (1, 3):
        found[number] = {**found[number], "keys": {"order": "   ", "account": "000"}}
    site.produce([record(b"\n".join([*lines(found[:2]), b"{", *lines(found[2:])]))])
    site.worker().drain()
    assert sorted(row.id.rpartition(":")[2] for row in site.store.quarantine()) == ["1", "2", "4"]
    assert site.store.count_events() == 3


POISON = {
    "nothing": b"",
    "white space": b"  \n ",
    "a number": b"17",
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "bad UTF-8": b'{"id": "\xff\xfe", "keys": {"order": "1"}}',
    "a lone surrogate": json.dumps({**events(1, "x")[0], "id": "\ud800"}).encode(),
    "a lone surrogate in a key": json.dumps({**events(1, "x")[0], "keys": {"order": "\udfff"}}).encode(),
    "a huge number": json.dumps(events(1, "x")[0]).replace('"time": ', '"time": 9' + "9" * 400).encode(),
    "a huge exponent": json.dumps({**events(1, "x")[0], "attributes": {"amount": "?"}}).replace('"?"', "1e999999").encode(),
    "not a number": json.dumps({**events(1, "x")[0], "attributes": {"amount": float("nan")}}).encode(),
    "NUL": json.dumps({**events(1, "x")[0], "id": "a\0b"}).encode(),
    "NUL bytes": b"\0" * 1_000,
    "a year 9999": json.dumps({**events(1, "x")[0], "time": "9999-12-31T23:59:59Z"}).encode(),
    "a naive time": json.dumps({**events(1, "x")[0], "time": "2026-03-02T09:00:00"}).encode(),
    "a field that is ours": json.dumps({**events(1, "x")[0], "via": "payment:1"}).encode(),
    "half an event": json.dumps(events(1, "x")[0]).encode()[:50],
    "no key": json.dumps({**events(1, "x")[0], "keys": {}}).encode(),
}  # fmt: skip


NUMBERS = {
    "hello": ("epoch", "boot", "since", "every"),
    "marker": ("epoch", "through", "every", "skew", "sent", "shed", "accounted"),
    "goodbye": ("epoch", "through", "skew", "sent", "shed", "accounted"),
}


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64, -(2**63) - 1])
def test_19_numbers_in_control_that_fit_no_column_are_skipped_and_counted(number: int) -> None:
    """Every worker reads them, at every start."""
    site = Site()
    source = {"source": "app", "epoch": 1, "systems": ["shop"], "boot": START, "since": START, "through": START}
    bodies = [{**source, "kind": kind, "state": "open", field: number} for kind in NUMBERS for field in NUMBERS[kind]]
    bodies.append({"kind": "progress", "partition": 0, "fence": -1, "position": 0, "forwarded": {str(2**62): {}}})
    site.produce([Record(CONTROL, b"", json.dumps(body).encode(), (), 0) for body in bodies])
    worker = site.worker()
    worker.drain()
    assert worker.fold.invalid == len(bodies)
    assert worker.fold.systems() == []


def test_19_the_largest_numbers_that_control_may_have_fit_their_columns(tmp_path: Path) -> None:
    site = Site(store=open_embedded(tmp_path / "store", {}, "lastseen"))
    site.store.migrate()
    counts = {"sent": MAX_INTEGER, "shed": MAX_INTEGER, "accounted": MAX_INTEGER, "every": MAX_INTEGER}
    for name, most in (("ahead", MAX_INTEGER), ("behind", -MAX_INTEGER)):
        who = {"source": name, "epoch": MAX_INTEGER, "systems": ("shop",)}
        site.write(Hello.model_validate({**who, "boot": most, "since": most, "every": MAX_INTEGER}))
        site.write(Marker.model_validate({**who, **counts, "through": most, "skew": most}))
    worker = site.worker()
    worker.drain()
    assert {row.source for row in site.store.sources()} == {"ahead", "behind"}
    worker.close()
    site.store.close()


@pytest.fixture(params=["memory", "chdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else open_embedded(tmp_path / "store", {}, "lastseen")
    opened.migrate()
    yield opened
    opened.close()


def test_19_poison_of_every_kind_between_good_events(store: Store) -> None:
    """The worker lives, all of it is kept as it came, with a reason, and what comes after is processed."""
    site = Site(store=store)
    for number, body in enumerate(POISON.values()):
        site.produce([record(body, source=f"s{number}")])
        site.send([GOOD[number]])
    site.send(GOOD[len(POISON) :])
    site.hear(START + 30 * DAY)
    worker = site.worker(max_records=7)
    worker.drain()
    assert site.verdicts() == site.judged(GOOD, worker)
    kept = {row.source: row for row in store.quarantine(limit=1_000)}
    assert {f"s{number}" for number in range(len(POISON))} - set(kept) == set(), "nothing of it became an event"
    assert sum(store.count_quarantine().values()) >= len(POISON)
    for number, body in enumerate(POISON.values()):
        row = kept[f"s{number}"]
        assert row.reason
        assert row.payload in (body, body.strip(), body[: 256 * 1024])


def test_19_hostile_headers_and_keys_change_nothing(store: Store) -> None:
    site = Site(store=store)
    (good,) = records_of([GOOD[0]])
    for headers in (
        ((KIND, b"\xff"),), ((SOURCE, b"\xff\0\n" * 100),), ((EPOCH, b"-1"),), ((EPOCH, b"9" * 500),), (("ls-depth", b"99"),),
        (("ls-depth", b"9" * 40),), (("ls-import", b"1"), ("x" * 300, b"\0")), ((ENCODING, b"zstd"),), ((ENCODING, b"\xff"),),
        ((ENCODING, LZ4),), (("ls-via", b"\xff" * 900),), (("ls-reason", b"\xff"),),
    ):  # fmt: skip
        site.produce([good._replace(headers=headers), good._replace(headers=headers, key=b"\xff\0" * 900)])
    site.send(GOOD)
    site.hear(START + 30 * DAY)
    worker = site.worker()
    worker.drain()
    assert site.verdicts() == site.judged(GOOD, worker)
    assert sum(store.count_quarantine().values()) > 5


def poison(count: int, source: str, each: int = 10) -> list[Record]:
    bad = [b'{"id": "%d", "broken": true}' % number for number in range(count)]
    return [record(b"\n".join(bad[start : start + each]), source) for start in range(0, count, each)]


@pytest.mark.parametrize("sources", [2, 3, 40])
@pytest.mark.parametrize("max_records", [10, 5_000])
def test_20_everything_is_poison(sources: int, max_records: int) -> None:
    """A bad deploy: the worker stops and says so before the quarantine floods, and does so again when it is started again."""
    site = Site()
    parcels = [poison(9_000 // sources, f"pod-{number}", each=1) for number in range(sources)]
    site.produce([each for row in zip(*parcels, strict=True) for each in row])
    kept = 0
    for _ in range(3):
        worker = site.worker(max_records=max_records)
        with pytest.raises(Flooded, match="stopped before the quarantine floods"):
            worker.drain()
        site.evict_all()
        more = sum(site.store.count_quarantine().values()) - kept
        kept += more
        assert more <= 2_500
    assert site.store.count_events() == 0
    committed = site.log.groups["lastseen"].commits.get(0, 0)
    assert committed <= kept, "nothing of the batch in hand was committed"


def test_20_a_deploy_in_the_middle_of_good_times_is_noticed_too() -> None:
    site = Site()
    site.produce([record(b"\n".join(lines(events(100, f"s{n}")))) for n in range(100)])
    worker = site.worker(max_records=50)
    worker.drain()
    parcels = [poison(4_000, f"pod-{number}", each=1) for number in range(4)]
    site.produce([each for row in zip(*parcels, strict=True) for each in row])
    with pytest.raises(Flooded):
        worker.drain()
    assert sum(site.store.count_quarantine().values()) < 8_000


def distrusted(site: Site) -> list[Distrust]:
    rows = [decode_control(row.value) for row in site.log.broker.topics[CONTROL][0].rows]
    return [row for row in rows if isinstance(row, Distrust)]


def bad_payments(site: Site, worker: Worker) -> list[Event]:
    """The only source of the payments sends good events, then rubbish in the place of what it saw."""
    found = events(20, "app")
    site.send(found, each=5, source="shop-1")
    site.hear(START + MINUTE)
    worker.drain()
    site.produce(poison(3_000, "payments-1"))
    worker.drain()
    return found


def test_20_one_source_alone_is_set_aside_and_counts_as_not_heard() -> None:
    site = Site()
    worker = site.worker(max_records=100)
    found = bad_payments(site, worker)
    assert [(one.source, one.epoch) for one in distrusted(site)] == [("payments-1", 1)], "said once"
    site.hear(START + DAY)
    worker.drain()
    assert worker.fold.hearing("payments").silent
    said = {name[1]: one.status for name, one in site.verdicts().items()}
    assert set(said.values()) == {"unknown"}, "nothing is called stalled or lost for what it may have said"
    site.send([event for n in range(5) for event in told("login", f"l{n}", "requested 0s", {})], source="portal-1")
    site.hear(START + 2 * DAY)
    worker.drain()
    assert [one.status for name, one in site.verdicts().items() if name[0] == "login"] == ["lost"] * 5, (
        "the rest runs on"
    )
    assert site.store.count_events() == len(found) + 5


@pytest.mark.parametrize("restarted", [False, True])
def test_20_its_later_records_are_kept_whole_and_can_be_retried(restarted: bool) -> None:
    """By every worker: what one says in control holds for all, and for those that are started later."""
    site = Site()
    worker = site.worker("A", max_records=100)
    found = bad_payments(site, worker)
    if restarted:
        worker.close()
        worker = site.worker("B", max_records=100)
    paid = [{**event, "id": f"p{n}", "step": "paid", "system": "payments"} for n, event in enumerate(found)]
    whole = records_of(paid, each=20, source="payments-1")
    site.produce(whole)
    worker.drain()
    assert site.store.count_events() == len(found)
    (row,) = [row for row in site.store.quarantine(limit=10_000) if row.payload == whole[0].value]
    assert "set aside" in row.reason
    headers = tuple((name, value.encode()) for name, value in json.loads(row.headers).items())
    mended = tuple((name, b"2" if name == EPOCH else value) for name, value in headers)
    site.produce([Record(EVENTS, row.key, row.payload, mended)])
    worker.drain()
    assert site.store.count_events() == len(found) + len(paid), "as another epoch it is read"


def test_20_a_source_that_is_trusted_again_is_read_and_its_interval_stays() -> None:
    site = Site()
    worker = site.worker(max_records=100)
    bad_payments(site, worker)
    (said,) = distrusted(site)
    site.hear(START + HOUR)
    site.write(said.model_copy(update={"lifted": True}))
    site.send(told("order", "later", "paid 30m", {}), source="payments-1")
    site.hear(START + 2 * HOUR)
    worker.drain()
    assert site.store.load_events([("order", "later")])["order", "later"]
    heard = worker.fold.hearing("payments")
    assert not heard.silent
    assert heard.deaf_within(START, START + DAY)


def test_20_records_without_a_source_are_told_apart_by_their_partition() -> None:
    site = Site(2)
    bad = [b'{"broken": true}'] * 500
    site.produce([record(line, source="", partition=0) for line in bad])
    good = events(200, "app")
    site.produce([one._replace(headers=()) for one in records_of(good, partitions=2)])
    worker = site.worker(max_records=50)
    worker.drain()
    kept = sum(site.store.count_quarantine().values())
    assert site.store.count_events() + kept == 700
    assert 0 < site.store.count_events() < 200, "partition 0 is set aside, partition 1 is not"
    assert distrusted(site) == []
    stored = site.store.count_events()
    site.evict(worker)
    site.produce([one._replace(headers=()) for one in records_of(events(20, "later"), partitions=2)])
    worker.drain()
    assert site.store.count_events() == stored + 20, "who takes a partition over counts from nothing"


def test_20_what_a_collector_sets_aside_counts_against_its_source() -> None:
    """Lines that made no event, told as such, are bad input like any other."""
    site = Site()
    reason = ("ls-reason", b"the date is no date")
    site.produce([one._replace(headers=(*one.headers, reason)) for one in poison(300, "load", each=1)])
    site.worker(max_records=50).drain()
    assert [one.source for one in distrusted(site)] == ["load"]
    assert sum(site.store.count_quarantine().values()) == 300


def test_20_two_bad_sources_do_not_stop_the_many_good_ones() -> None:
    """One floods, another is broken too: both are set aside, and everybody else is worked for."""
    site = Site()
    flood, broken = poison(8_000, "flood", each=1), poison(400, "broken", each=1)
    fine = [record(b"\n".join(lines(events(10, f"fine-{number}"))), f"fine-{number}") for number in range(400)]
    site.produce([one for n in range(400) for one in (*flood[20 * n : 20 * n + 20], broken[n], fine[n])])
    site.worker(max_records=500).drain()
    assert site.store.count_events() == 4_000
    assert {one.source for one in distrusted(site)} == {"flood", "broken"}


def test_20_nothing_bad_is_aside_because_others_are() -> None:
    """A source with a few bad ones among many good is nobody's concern, whatever another one sends."""
    site = Site()
    mixed = []
    for number, line in enumerate(lines(events(900, "fine"))):
        mixed.append(record(line, "fine"))
        if number % 10 == 0:
            mixed.append(record(b"{", "fine"))
    bad = poison(60_000, "flood")
    step = len(bad) // len(mixed)
    both = [one for n, fine in enumerate(mixed) for one in (*bad[n * step : (n + 1) * step], fine)]
    site.produce(both)
    site.worker(max_records=500).drain()
    assert site.store.count_events() == 900
    assert [one.source for one in distrusted(site)] == ["flood"]
    assert len(list(site.store.verdicts(VerdictQuery()))) == 900


def test_20_what_was_bad_weeks_ago_does_not_stop_a_worker_for_one_bad_source() -> None:
    """Sixty jobs with a few bad ones each, then good times; then one source sends nothing but poison, and is set aside."""
    trust = Trust()
    for number in range(60):
        for _ in range(20):
            trust.note((f"job-{number}", 1), 29, 1)
    for _ in range(2_000):
        trust.note(("fine", 1), 500, 0)
    for _ in range(500):
        for _ in range(40):
            trust.note(("poison", 1), 0, 1)
        trust.note(("fine", 1), 1, 0)
    assert trust.aside == {("poison", 1)}


def test_20_a_slow_source_that_sends_poison_is_set_aside_however_much_good_comes_in() -> None:
    trust = Trust()
    for _ in range(100):
        trust.note(("fine", 1), 10_000, 0)
        trust.note(("mixed", 1), 9_999, 1)
        trust.note(("slow", 1), 0, 1)
    assert trust.aside == {("slow", 1)}


def test_20_counts_are_kept_of_so_many_sources_and_no_more() -> None:
    """Every job's run is a source of its own: each has one bad event, for ever."""
    trust = Trust(TrustPolicy(sources=500))
    for epoch in range(20_000):
        trust.note(("job", epoch), 9, 1)
        assert len(trust._counts) <= 500
        assert len(trust._recent) <= 300 + 1, "a tenth of the last 3,000 events is bad"


def test_20_a_partition_that_was_set_aside_is_trusted_again_once_it_has_left() -> None:
    trust = Trust()
    for partition in (0, 1):
        for _ in range(100):
            trust.note(("", partition), 1, 1)
            trust.note(("", partition), 0, 1)
    distrusted = {("app", 7)}
    trust.follow(distrusted, {0, 1})
    assert trust.aside == {("", 0), ("", 1), ("app", 7)}
    trust.follow(distrusted, {1})
    assert trust.aside == {("", 1), ("app", 7)}
    trust.note(("", 0), 0, 1)
    assert ("", 0) not in trust.aside, "counted from nothing"
