"""Real processes that end, die and fork: what they reported is on the log, or comes with the next process of the same source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.log import open_log
from schemas.control import Goodbye, Hello
from tests.tracer.support import REPOSITORY, Read, read_log

AWAY = "sqlite:////proc/nowhere/log.db"


class Site:
    """A log and a spool on disk."""

    def __init__(self, folder: Path):
        self.log, self.spool = f"sqlite:///{folder}/log.db", folder / "spool"
        with_log = open_log(self.log)
        with_log.create()
        with_log.close()

    def start(self, what: str, log: str | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.tracer.program", what, log or self.log, str(self.spool)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, what: str, log: str | None = None, code: int = 0) -> str:
        out, err = (process := self.start(what, log)).communicate(timeout=60)
        assert process.returncode == code, err
        return out

    def read(self) -> Read:
        return read_log(self.log)

    def spooled(self) -> list[Path]:
        return list(self.spool.rglob("*.spool"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def orders(found: Read) -> list[str]:
    return sorted(event["keys"]["order"] for event in found.events if event["phase"] == "completed")


def balanced(found: Read) -> bool:
    """Each epoch's numbers are all there, each once, as its last word says."""
    for (source, epoch), said in found.last().items():
        numbers = [event["seq"] for event in found.events if (event["source"], event["epoch"]) == (source, epoch)]
        if sorted(numbers) != list(range(1, said.sent + 1)) or said.shed or said.accounted != said.sent:
            return False
    return True


def test_an_exit_sends_everything_and_says_goodbye(site: Site) -> None:
    site.run("exits")
    found = site.read()
    assert orders(found) == sorted(map(str, range(50)))
    assert balanced(found)
    (goodbye,) = found.of(Goodbye)
    assert (goodbye.state, goodbye.sent) == ("open", 100)
    assert goodbye.through >= max(event["time"] for event in found.events)
    assert site.spooled() == []


def test_the_applications_own_end_is_its_own(site: Site) -> None:
    site.run("raises", code=7)
    assert orders(site.read()) == ["1"]


def test_what_could_not_be_sent_at_exit_comes_with_the_next_process(site: Site) -> None:
    """The exit waits half a second and no longer; the next process says the goodbye that was due, before its own hello."""
    site.run("away", AWAY)
    assert site.spooled()
    site.run("exits")
    found = site.read()
    assert len(orders(found)) == 70
    assert balanced(found)
    said = [
        (said.kind, said.state if isinstance(said, Goodbye) else "") for said in found.control if said.kind != "marker"
    ]
    assert said == [("hello", ""), ("goodbye", "open")] * 2
    first = found.of(Goodbye)[0]
    assert first.through >= max(event["time"] for event in found.events if event["epoch"] == first.epoch)
    assert site.spooled() == []


def test_a_killed_process_loses_nothing_that_it_had_spooled(site: Site) -> None:
    """FAULTS 35: two of one source die, the log away; the third sends for both, under their own names, epochs and numbers."""
    both = [site.start("killed", AWAY), site.start("killed", AWAY)]
    for dying in both:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "ready\n"
        dying.kill()
        dying.communicate()
    site.run("exits")
    found = site.read()
    assert len(orders(found)) == 250
    assert balanced(found)
    goodbyes = found.of(Goodbye)
    assert [said.state for said in goodbyes] == ["closed", "closed", "open"]
    assert {said.source for said in goodbyes[:2]} == {"shop-1", "shop-1#1"}
    for said in goodbyes[:2]:
        own = [event["time"] for event in found.events if event["epoch"] == said.epoch]
        assert said.through >= max(own), "the blind interval begins after what it knew"
    assert site.spooled() == []


def test_forked_children_are_sources_of_their_own(site: Site) -> None:
    """Nothing of the parent's is sent twice, and no number is given twice."""
    out = site.run("forks")
    assert out.split("\n")[:2] == ["ended 0", "ended 0"]
    found = site.read()
    assert orders(found) == sorted(["before", "queued before", "child one", "child two", "grandchild", "after"])
    assert balanced(found)
    by_epoch: dict[tuple[str, int], set[str]] = {}
    for event in found.events:
        by_epoch.setdefault((event["source"], event["epoch"]), set()).add(event["keys"]["order"])
    parent = min(epoch for _, epoch in by_epoch)
    assert by_epoch.pop(("shop-1", parent)) == {"before", "queued before", "after"}
    assert sorted(map(len, by_epoch.values())) == [1, 1, 1], "a name may be taken again once its process has ended"
    assert "shop-1" not in {source for source, _ in by_epoch}
    assert len({event["id"] for event in found.events}) == len(found.events)
    assert {(said.source, said.epoch) for said in found.of(Goodbye)} == {
        (said.source, said.epoch) for said in found.of(Hello)
    }
    assert site.spooled() == []


def test_a_child_that_reports_nothing_says_nothing(site: Site) -> None:
    assert site.run("forks_idle").startswith("ended 0")
    assert {said.source for said in site.read().of(Hello)} == {"shop-1"}
