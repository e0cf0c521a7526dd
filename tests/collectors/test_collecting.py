"""One collector at work: what is settled when, what is vouched for, and what happens while the log or the disk is away."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from collectors.inputs.live import Parcel
from collectors.personal import privacy_of
from collectors.runner import Runner
from schemas.control import Marker
from schemas.errors import Invalid
from schemas.landscape import KeyType, Landscape
from schemas.times import DAY, HOUR, MINUTE, SECOND, parse_time
from tests.collectors.site import COLLECTOR, START, Site
from tracer.emitter import Limits
from tracer.errors import Unavailable
from tracer.keyring import KeyRing
from tracer.record import EVENTS


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def write(site: Site, first: int, last: int, name: str = "app.log") -> None:
    with (site.folder / "logs" / name).open("a") as stream:
        for number in range(first, last + 1):
            stream.write(json.dumps({"at": START + number, "order": str(number)}) + "\n")


def positions(site: Site) -> dict[str, Any]:
    path = site.folder / "positions" / "shop-log.json"
    found: dict[str, Any] = json.loads(path.read_text())["streams"] if path.exists() else {}
    return found


def test_nothing_is_saved_before_the_log_has_it(site: Site) -> None:
    write(site, 1, 50)
    site.begin()
    site.broker.hold_acks = True
    site.steps(5)
    assert len(site.observed()) == 50
    assert positions(site) == {}
    site.broker.hold_acks = False
    site.steps(3)
    assert [position["line"] for position in positions(site).values()] == [51]


def test_ten_minutes_without_a_log_lose_nothing_double_nothing_and_bound_what_is_held(tmp_path: Path) -> None:
    """Kafka away for ten minutes, by the clock: FAULTS 26's back-pressure and recovery."""
    site = Site(tmp_path, limits=Limits(linger=0, queue_events=500), max_unsettled=300)
    site.begin()
    write(site, 1, 10)
    site.steps(2)
    vouched = site.said(Marker)[-1].through
    site.broker.down = True
    for minute in range(10):
        write(site, 11 + minute * 1000, 10 + (minute + 1) * 1000)
        site.steps(3, apart=20 * SECOND)
        assert site.collecting is not None
        # A parcel is a chunk of 64 KiB, and what one poll brought is taken.
        assert site.collecting._emitter.taken - site.collecting._emitter.accounted <= 500
        assert site.collecting._unsettled < 30_000
    site.broker.down = False
    assert site.said(Marker)[-1].through == vouched
    for _ in range(200):
        site.steps(1, apart=SECOND // 10)
    assert len(site.observed()) == 10_010
    assert len(site.orders()) == 10_010
    assert site.said(Marker)[-1].through > vouched + 10 * MINUTE


def test_a_log_that_loses_acknowledgements_makes_no_order_two(site: Site) -> None:
    write(site, 1, 20)
    site.begin()
    site.broker.lose_acks = True
    site.steps(4)
    assert positions(site) == {}
    site.broker.lose_acks = False
    site.steps(4)
    assert len(site.observed()) > 20
    assert len(site.orders()) == 20
    assert positions(site)


def test_a_disk_that_is_full_stops_no_reading_and_doubles_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write(site, 1, 5)
    site.begin()
    checkpoint = site.collecting._checkpoint  # type: ignore[union-attr]

    def full() -> None:
        raise Unavailable("shop-log.json cannot be saved: No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    site.steps(3)
    write(site, 6, 9)
    site.steps(3)
    assert len(site.orders()) == 9
    assert [told for told in site.told if "No space left" in told]
    monkeypatch.undo()
    site.kill()
    site.begin()
    site.steps(3)
    assert len(site.orders()) == 9
    assert positions(site)


def test_the_next_run_goes_on_vouching_where_the_last_one_ended(site: Site) -> None:
    write(site, 1, 2)
    site.begin()
    site.steps(3)
    site.stop()
    assert site.goodbyes[-1].state == "closed"  # what is read may go on being written without us
    ended = site.goodbyes[-1].through
    site.now += HOUR
    write(site, 3, 4)
    site.begin()
    assert site.collecting is not None
    site.broker.away = {EVENTS}
    site.steps(3)
    assert site.hellos[-1].since == ended
    assert site.said(Marker)[-1].through == ended  # what came meanwhile is not in the log yet
    site.broker.away = set()
    site.steps(3)
    assert site.said(Marker)[-1].through > ended + HOUR


def test_a_run_that_was_killed_is_made_good_by_the_next(site: Site) -> None:
    write(site, 1, 2)
    site.begin()
    site.steps(3)
    site.kill()
    site.now += MINUTE
    site.begin()
    site.steps(1)
    told = [marker.through for marker in site.said(Marker) if marker.epoch == site.hellos[0].epoch]
    assert site.hellos[-1].since <= max(told)


def test_a_source_that_vouches_for_nobody_is_counted_all_the_same(tmp_path: Path) -> None:
    site = Site(tmp_path, COLLECTOR + "vouch: none\n")
    write(site, 1, 3)
    site.begin()
    site.steps(3)
    marker = site.said(Marker)[-1]
    assert (marker.systems, marker.sent, marker.accounted) == ((), 3, 3)


def test_a_delay_and_a_clock_that_is_ahead(tmp_path: Path) -> None:
    site = Site(tmp_path, COLLECTOR + "delay: 30s\nclock_offset: 2m\n")
    write(site, 1, 1)
    site.begin()
    site.steps(3)
    (event,) = site.events().values()
    assert event.time == START + 1 - 2 * MINUTE
    assert site.said(Marker)[-1].through <= site.now - 30 * SECOND


def test_what_makes_no_event_is_set_aside_with_file_and_line(site: Site) -> None:
    write(site, 1, 1)
    with (site.folder / "logs" / "app.log").open("a") as stream:
        stream.write('not json\n{"order": "7"}\n{"at": 1, "order": "8"}\n')
    site.begin()
    site.steps(3)
    told = sorted(reason for reason, _ in site.quarantined())
    path = site.folder / "logs" / "app.log"
    assert [reason.partition(": ")[0] for reason in told] == [f"{path}:{line}" for line in (2, 3, 4)]
    assert "the time is missing" in told[1]
    assert "outside the years" in told[2]
    counts = site.collecting.counts  # type: ignore[union-attr]
    assert (counts.read, counts.events, counts.quarantined) == (4, 1, 3)


def test_a_file_that_does_not_fit_says_so_loudly_and_goes_on(site: Site) -> None:
    with (site.folder / "logs" / "app.log").open("a") as stream:
        stream.write("nonsense\n" * 150)
    site.begin()
    site.steps(2)
    write(site, 1, 1)
    site.steps(3)
    assert len([told for told in site.told if "MOSTLY BAD" in told]) == 1
    assert site.orders() == ["1"]


YEARLESS = COLLECTOR.replace("times: epoch_us", "times: '%b %d %H:%M:%S'\nzone: Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "now", "time"),
    [
        ("Dec 31 23:59:59", "2027-01-01T00:00:10+01:00", "2026-12-31T23:59:59+01:00"),
        ("Jan  1 00:00:01", "2026-12-31T23:59:59+01:00", "2027-01-01T00:00:01+01:00"),
        ("Feb 29 12:00:00", "2029-01-10T00:00:00+01:00", "2028-02-29T12:00:00+01:00"),
        ("Oct 25 02:30:00", "2026-10-26T00:00:00+01:00", "2026-10-25T02:30:00+02:00"),  # shown twice: the earlier one
        ("Mar 29 02:30:00", "2026-03-30T00:00:00+02:00", None),  # skipped that night
    ],
)  # fmt: skip
def test_times_without_a_year_are_the_nearest(tmp_path: Path, text: str, now: str, time: str | None) -> None:
    site = Site(tmp_path, YEARLESS)
    site.now = parse_time(now)
    with (site.folder / "logs" / "app.log").open("a") as stream:
        stream.write(json.dumps({"at": text, "order": "1"}) + "\n")
    os.utime(site.folder / "logs" / "app.log", ns=(site.now * 1000, site.now * 1000))
    site.begin()
    site.steps(2)
    assert [event.time for event in site.events().values()] == ([parse_time(time)] if time else [])
    assert len(site.quarantined()) == (time is None)


@pytest.mark.parametrize("year", ["0001", "9999", "1989", "2100"])
def test_years_that_cannot_be_are_set_aside(tmp_path: Path, year: str) -> None:
    site = Site(tmp_path, COLLECTOR.replace("times: epoch_us", "times: iso"))
    with (site.folder / "logs" / "app.log").open("a") as stream:
        stream.write(json.dumps({"at": f"{year}-01-01T00:00:00Z", "order": "1"}) + "\n")
    site.begin()
    site.steps(2)
    assert site.orders() == []
    assert "outside the years" in site.quarantined()[0][0]


def test_an_id_does_not_depend_on_the_year_that_was_told(tmp_path: Path) -> None:
    site = Site(tmp_path, YEARLESS)
    with (site.folder / "logs" / "app.log").open("a") as stream:
        stream.write(json.dumps({"at": "Jun 01 12:00:00", "order": "1"}) + "\n")
    site.begin()
    site.steps(2)
    first = {event.id for _, event in site.observed()}
    site.kill()
    (site.folder / "positions" / "shop-log.json").unlink(missing_ok=True)
    os.utime(site.folder / "logs" / "app.log", ns=((START - 400 * DAY) * 1000,) * 2)
    site.begin()
    site.steps(2)
    assert {event.id for _, event in site.observed()} == first


def test_a_runner_stops_all_and_names_what_failed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    site = Site(tmp_path / "a")
    write(site, 1, 3)
    collecting = site.begin(once=True)
    waits = iter(range(1000))

    def wait(_: float) -> bool:
        site.now += SECOND // 5
        return next(waits) > 500

    Runner([collecting], wait, site.told.append).run()
    assert collecting.done
    assert site.goodbyes[-1].state == "closed"
    site.collecting = None
    collecting = site.begin()
    collecting.failed = Invalid("can never be read", file="x")
    with pytest.raises(Invalid, match="can never be read"):
        Runner([collecting], wait, site.told.append).run()


# What fails in the middle of a parcel (law 10, fault 24)


@pytest.mark.parametrize("bug", [RuntimeError("a bug, at the fourth line"), KeyboardInterrupt()], ids=["bug", "signal"])
def test_what_follows_a_bug_comes_again(site: Site, monkeypatch: pytest.MonkeyPatch, bug: BaseException) -> None:
    write(site, 1, 10)
    collecting = site.begin()
    real, lines = collecting._reader.read, iter(range(1, 11))

    def read(*record: Any) -> Any:
        if next(lines) == 4:
            raise bug
        return real(*record)

    monkeypatch.setattr(collecting._reader, "read", read)
    with pytest.raises(type(bug)):
        Runner([collecting], lambda _: False).run()
    assert (site.orders(), positions(site)) == (["1", "2", "3"], {})
    assert site.goodbyes == [], "its system is to be missed, as after a kill"
    assert all(marker.through <= START + 10 for marker in site.said(Marker))
    site.collecting = None
    site.begin()
    site.steps(3)
    assert site.orders() == sorted(str(number) for number in range(1, 11))


NAMED = (
    COLLECTOR.replace("times: epoch_us", "times: epoch_us\nkey: [ref]\npii: {who: remove}")
    .replace("keys: {order: order}}", "keys: {order: order}, attributes: {who: {field: who, optional: true}}}")
)  # fmt: skip


def test_what_follows_a_record_for_which_there_is_no_key_comes_again(tmp_path: Path) -> None:
    """A personal value stands in an id, which then is hashed; nobody could tell that before it came."""
    landscape = Landscape(keys={"order": KeyType(transaction=True)})
    site = Site(tmp_path, NAMED, privacy=privacy_of(landscape, KeyRing.read({}), {"who": "remove"}))
    with (tmp_path / "logs" / "app.log").open("a") as stream:
        for number in range(1, 11):
            who = "alice" if number == 4 else None
            record = {"at": START + number, "order": str(number), "ref": f"r-{who or number}", "who": who}
            stream.write(json.dumps(record) + "\n")
    collecting = site.begin()
    with pytest.raises(Invalid, match="takes a key"):
        Runner([collecting], lambda _: False).run()
    assert (site.orders(), positions(site), site.goodbyes) == (["1", "2", "3"], {}, [])
    site.collecting = None
    keys = KeyRing.read({"LASTSEEN_PII_KEY": "k1:0123456789abcdef"})
    site.begin(privacy=privacy_of(landscape, keys, {"who": "remove"}))
    site.steps(3)
    assert len(site.orders()) == 10


def test_what_was_received_and_not_sent_is_refused_when_it_stops(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Collecting.stop` takes in what an input still holds, and must not wait for what is never worked on."""
    write(site, 1, 2)
    collecting = site.begin()
    monkeypatch.setattr(collecting._reader, "read", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        site.steps(1)
    answers: list[Any] = []
    last = [Parcel("", [], "received", settle=answers.append)]
    monkeypatch.setattr(collecting._live, "last", lambda: last, raising=False)
    site.stop()
    assert [type(answer) for answer in answers] == [Unavailable]
