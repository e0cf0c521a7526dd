"""FAULTS.md 34: the log out of reach for ten minutes while a worker holds thousands open. The outage alone changes no verdict."""

from __future__ import annotations

import pytest

from pipeline.errors import Unavailable
from schemas.control import Hello, Marker
from schemas.times import DAY, MINUTE, SECOND
from tests.faults.site import Site
from tests.faults.stage import PAID, PLACED, SYSTEMS, flows_of
from tests.faults.stories import START, Event

OPEN = 3_000
LATE = OPEN // 3
FLOWS = flows_of(placed="order, payment", paid="payment")


def event(id: str, what: tuple[str, str], time: int, **keys: str) -> Event:
    return {"id": id, "system": what[0], "step": what[1], "time": time, "keys": keys}


class Sources:
    """One a system, as they are: a marker every two seconds, a lease of six; a spool for what they know while cut off."""

    def __init__(self, site: Site):
        self.site = site
        for system in SYSTEMS:
            who = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
            self.site.write(
                Hello.model_validate({**who, "boot": site.time, "since": START - 3 * DAY, "every": 2 * SECOND})
            )

    def speak(self, through: int) -> None:
        for system in SYSTEMS:
            who = {"source": f"{system}-1", "epoch": 1, "systems": (system,)}
            self.site.write(Marker.model_validate({**who, "through": through, "acked": self.site.ends()}))


def test_34_ten_minutes_without_the_log_and_thousands_open() -> None:
    """Payments fall due in the outage. A third was paid before it, a third in it (told when it is over), a third never."""
    site = Site(4, flows=FLOWS)
    site.time = START
    sources = Sources(site)
    site.send([event(f"o{n}", PLACED, START + n, order=str(n), payment=f"P{n}") for n in range(OPEN)], each=500)
    paid = [event(f"p{n}", PAID, START + (5 + 6 * (n >= LATE)) * MINUTE, payment=f"P{n}") for n in range(2 * LATE)]
    site.send(paid[: LATE // 2], each=100)
    worker = site.worker(tick_every=SECOND)
    minute = START
    while minute < START + 8 * MINUTE:
        minute += 2 * SECOND
        site.time = minute
        if minute == START + 6 * MINUTE:
            site.send(paid[LATE // 2 : LATE], each=100)
        sources.speak(minute - SECOND)
        worker.step()
    before, flips = site.verdicts(), site.flips()
    assert sorted({one.status for one in before.values()}) == ["completed", "in_progress"]
    assert sum(one.status == "in_progress" for one in before.values()) == OPEN - LATE
    site.log.broker.down = True
    for _ in range(20):
        site.time += 30 * SECOND
        with pytest.raises(Unavailable):
            worker.step()
    site.log.broker.down = False
    # The worker comes back before any source does; every payment has long been due, and every lease has run out.
    for _ in range(4):
        site.time += SECOND
        worker.step()
    assert worker.fold.now > START + 18 * MINUTE
    assert not any(worker.fold.hearing(system).silent for system in SYSTEMS)
    assert (site.verdicts(), site.flips()) == (before, flips)
    # What was told by the sources last is in no doubt; what they have in their spools comes before they vouch for it.
    sources.speak(START + 8 * MINUTE)
    worker.step()
    site.send(paid[LATE:], each=100)
    for _ in range(6):
        worker.step()
        sources.speak(START + 8 * MINUTE)
    assert not {told[2] for told_ in site.flips().values() for told in told_} & {"stalled", "unknown", "lost"}
    site.time += 2 * SECOND
    sources.speak(START + 18 * MINUTE)
    site.time += 11 * SECOND
    sources.speak(START + 18 * MINUTE + SECOND)
    worker.drain()
    said = {int(name[1]): one.status for name, one in site.verdicts().items()}
    assert {said[n] for n in range(2 * LATE)} == {"completed"}
    assert {said[n] for n in range(2 * LATE, OPEN)} == {"stalled"}
    told = {int(name[1]): [one[2] for one in flips] for name, flips in site.flips().items()}
    assert all(told[n] == ["completed"] for n in range(2 * LATE)), "and nothing else was ever said of them"
