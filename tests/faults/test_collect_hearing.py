"""Systems that are heard through collectors, and fall silent: a collector that is killed, a pod that is scaled down, a nightly job
(fault 35); a whole system that dies, its application and its telemetry (fault 40). From a line in a file to what commands say.

The same of applications that report by the tracer is in tests/tracer/test_replay.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from schemas.times import HOUR, MINUTE, SECOND, parse_time
from tests.faults.heard import Heard
from tests.faults.stories import START


@pytest.fixture
def world(tmp_path: Path) -> Heard:
    made = Heard(tmp_path)
    made.begin("shop-log", "shop")
    return made


def test_35_a_collector_is_killed_with_unsent_events(world: Heard) -> None:
    """One interval in which its system was not heard, which its next run lifts; nobody is accused, and the rest goes on."""
    world.begin("pay-log", "payments")
    world.passes(1)
    world.write("shop-log", "early", "late", "unpaid")
    world.write("pay-log", "early")
    world.passes(1)
    assert world.said()["early"] == "completed"
    world.write("pay-log", "late")  # and is killed before it reads it
    world.kill("pay-log")
    killed = world.site.time
    world.passes(30)
    assert world.said() == {"early": "completed", "late": "unknown", "unpaid": "unknown"}
    ((begin, end),) = world.deaf("payments")
    assert killed - MINUTE <= begin <= killed
    assert end == world.site.time
    assert world.deaf("shop") == []
    world.write("shop-log", "meanwhile")
    world.passes(1)
    assert world.said()["meanwhile"] == "in_progress"
    world.begin("pay-log", "payments")
    world.write("pay-log", "meanwhile")
    world.passes(2)
    # Its file was there all the time, and was read from where it had been read to.
    assert world.deaf("payments") == []
    assert world.said() == {"early": "completed", "late": "completed", "unpaid": "stalled", "meanwhile": "completed"}
    assert "lost" not in world.ever_said()
    world.sources("--fail-on", "silent")


def test_35_a_pod_is_scaled_down(world: Heard) -> None:
    """It says goodbye: nobody waits for it, and the others of its system are believed."""
    world.begin("pay-1", "payments")
    world.begin("pay-2", "payments")
    world.write("shop-log", "a", "b", "c")
    world.passes(1)
    world.write("pay-1", "a")
    world.write("pay-2", "b")  # its last words, not even read when it is told to end
    world.stop("pay-2")
    world.passes(30)
    assert world.said() == {"a": "completed", "b": "completed", "c": "stalled"}
    assert "unknown" not in world.ever_said()
    assert world.deaf("payments") == []
    world.sources("--fail-on", "silent")
    assert "pay-2" in world.sources().output


def test_35_a_nightly_job_is_not_missed_between_its_runs(world: Heard) -> None:
    """Until the next run nothing is said of what that one will bring."""
    world.write("shop-log", "a", "b")
    world.passes(1)
    world.write("pay-night", "a")
    world.once("pay-night", "payments")
    world.passes(60)
    assert world.said() == {"a": "completed", "b": "in_progress"}
    world.sources("--fail-on", "silent")
    world.write("shop-log", "c")
    world.passes(60)
    world.write("pay-night", "c")
    world.once("pay-night", "payments")
    world.passes(1)
    assert world.said() == {"a": "completed", "b": "stalled", "c": "completed"}
    assert "unknown" not in world.ever_said()
    assert world.deaf("payments") == []


def test_40_a_whole_system_dies(world: Heard) -> None:
    """Raised within minutes, with what waits on it, which is unknown; and where it probably is."""
    world.begin("pay-log", "payments")
    world.passes(1)
    world.write("shop-log", "before", "after")
    world.write("pay-log", "before")
    world.passes(1)
    world.kill("pay-log")
    died = world.site.time
    world.passes(2)
    assert world.hearing("payments").silent
    said = " ".join(world.sources("--fail-on", "silent", code=1).output.split())
    assert "payments silent" in said
    assert "2 minutes since" in said
    assert "shop heard" in said
    assert world.said()["before"] == "completed"
    world.passes(20)
    assert world.said() == {"before": "completed", "after": "unknown"}
    assert world.ever_said() <= {"in_progress", "completed", "unknown"}
    (row,) = [row for name, row in world.site.verdicts().items() if name[1] == "after"]
    assert [drop.to_step for drop in row.drops] == ["paid"]  # type: ignore[attr-defined]
    told = " ".join(world.commands.run("lookup", "after").output.split())
    assert "unknown" in told
    assert "somewhere before “paid”" in told, told
    (silent,) = [
        one for one in json.loads(world.sources("--format", "json").output)["sources"] if one["source"] == "pay-log"
    ]
    assert died - 10 * SECOND <= parse_time(silent["silent_since"]) <= died


def test_40_a_system_that_falls_mute_while_its_collector_lives_is_no_silence(world: Heard) -> None:
    """Its file was read to its end, again and again: what is not in it did not happen."""
    world.begin("pay-log", "payments")
    world.write("shop-log", "a")
    world.passes(30)
    assert world.said() == {"a": "stalled"}
    world.sources("--fail-on", "silent")
    assert world.hearing("payments").clock > START + HOUR / 3
