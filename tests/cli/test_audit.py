"""``lastseen audit``: in every form, for people and for scripts; over a store that another process serves."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from pipeline.store.accounts import AccountRow
from pipeline.store.contract import QuarantineRow, SourceRow
from pipeline.store.embedded import open_embedded
from schemas.times import DAY, HOUR, MINUTE, SECOND
from tests.answers.test_audit import row, stored
from tests.answers.world import NOW
from tests.cli.test_commands import HOSTILE, World
from tests.cli.test_processes import Place
from tests.contract.stores import serving

BOOT = NOW - 2 * HOUR


@pytest.fixture
def world() -> World:
    """A source that balances, one of which numbers are missing, one that was just begun, one that does not number."""
    made = World()
    store = made.memory
    store.write_sources(
        [
            row("mailer-1", BOOT, owed=3, sent=3),
            row("shop-1", BOOT, owed=1_200, sent=1_205, shed=3, shed_ranges=((30, 32),)),
            row("shop-1", BOOT - DAY, owed=2, sent=2, state="ended", last_record_at=BOOT - DAY + HOUR),
            row("fresh", NOW - MINUTE, sent=4),
        ]
    )
    store.write_events([*stored(1, 2, 3, source="mailer-1", epoch=BOOT), *stored(1, 2, epoch=BOOT - DAY)])
    missing = {7, 8, 9, 1_100}
    store.write_events(stored(*({*range(1, 1_201)} - missing - {30, 31, 32, 40}), epoch=BOOT, at=BOOT))
    store.write_quarantine([QuarantineRow("q", BOOT, "shop-1", BOOT, "bad", "", b"", numbers=(40,))])
    store.write_quarantine([QuarantineRow("r", BOOT, "old", 5, "bad", "", b"")])
    return made


def test_the_table_says_what_is_missing_and_between_which_times(world: World) -> None:
    said = world.run("audit").output
    lines = said.splitlines()
    assert lines[1].split() == ["shop-1", "2026-03-09", "08:00", "missing", "1,200", "1,192", "1", "3", "4", "5"]
    assert [line.split()[0] for line in lines[2:6]] == ["old", "fresh", "mailer-1", "shop-1"]
    assert "shop-1, 2026-03-09 08:00: missing are" in said
    assert "7 to 9 (3), recorded after 2026-03-09 08:00:06 and before 2026-03-09 08:00:10" in said
    assert "1,100, recorded after 2026-03-09 08:18:19 and before 2026-03-09 08:18:21" in said
    assert (
        "old, boot 5: 0 events stored and 1 record in quarantine without running numbers: nothing to balance by" in said
    )
    assert "2 boots of 5 balanced; 4 of 1,205 numbers missing." in said
    assert "Times in America/New_York." in said
    assert max(map(len, lines[:7])) <= 100
    assert "of what is stored" not in said
    assert "in flight" not in world.run("audit", "--source", "mailer-1").output


def test_what_was_stored_once_is_told_beside(world: World) -> None:
    world.memory.write_accounts(
        [AccountRow("shop-1", BOOT, 7, 9, "expired", NOW), AccountRow("shop-1", BOOT, 1_100, 1_100, "repeated", NOW)]
    )
    said = world.run("audit", "--source", "shop-1").output
    head, first = (line.split() for line in said.splitlines()[:2])
    assert head[3:] == ["settled", "stored", "quarantined", "shed", "missing", "in", "flight"]
    assert first[3:] == ["balanced", "1,200", "1,196", "1", "3", "0", "5"]
    assert "of what is stored 1 stored under another number and 3 stored until they expired" in said
    assert "2 boots of 2 balanced; none of 1,202 numbers missing." in said


def test_json_and_csv(world: World) -> None:
    told = json.loads(world.run("audit", "--format", "json").stdout)
    assert (told["balanced"], told["missing"], told["from"]) == (False, 4, None)
    first = told["epochs"][0]
    assert (first["source"], first["epoch"], first["result"], first["stored"], first["in_flight"]) == (
        "shop-1",
        BOOT,
        "missing",
        1_192,
        5,
    )
    assert first["missing_ranges"][0] == {
        "first": 7, "last": 9, "after": "2026-03-09T12:00:06Z", "before": "2026-03-09T12:00:10Z",
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(world.run("audit", "--format", "csv").stdout)))
    assert [(one["source"], one["result"], one["missing_ranges"]) for one in rows[:2]] == [
        ("shop-1", "missing", "7-9;1100"),
        ("old", "not_numbered", ""),
    ]
    for one in rows:
        parts = ("stored", "repeated", "expired", "forgotten", "quarantined", "shed", "missing")
        assert int(one["owed"]) == sum(int(one[part]) for part in parts)


def test_scripts_are_told_by_the_exit_code(world: World) -> None:
    world.run("audit", code=0)
    world.run("audit", "--fail-on", "missing", code=1)
    world.run("audit", "--fail-on", "missing", "--source", "mailer-1", code=0)
    world.run("audit", "--fail-on", "missing", "--to", "2026-03-09T07:00", code=0)
    world.run("audit", "--fail-on", "missing", "--source", "old", code=0)
    world.run("audit", "--fail-on", "any", "--source", "old", code=1)
    world.run("audit", "--fail-on", "any", "--source", "fresh", code=0)
    for wrong in (
        ["--fail-on", "odd"],
        ["--source", "nobody"],
        ["--from", "then"],
        ["--from", "1h", "--to", "2h"],
        ["--format", "xml"],
        ["more"],
    ):
        world.run("audit", *wrong, code=2)
    world.away = Unavailable("ClickHouse cannot be reached")
    assert "cannot be reached" in world.run("audit", code=3).stderr


def test_a_period_chooses_boots(world: World) -> None:
    def boots(*options: str) -> list[tuple[str, int]]:
        told = json.loads(world.run("audit", "--format", "json", *options).stdout)
        return [(one["source"], one["epoch"]) for one in told["epochs"]]

    assert boots("--to", "1d", "--source", "shop-1") == [("shop-1", BOOT - DAY)]
    assert boots("--from", "3h", "--source", "shop-1") == [("shop-1", BOOT)]
    assert json.loads(world.run("audit", "--format", "json", "--to", "1d").stdout)["to"] == "2026-03-08T14:00:00Z"


def test_many_that_balance_are_summed_up(world: World) -> None:
    world.memory.write_sources([row("night", BOOT + number, owed=0, sent=0) for number in range(100)])
    said = world.run("audit").output
    assert "and 72 more that balance (--format csv lists all)" in said
    assert "102 boots of 105 balanced" in said
    assert len(world.run("audit", "--format", "csv").stdout.splitlines()) == 106


def test_more_gaps_than_a_screen_holds(world: World) -> None:
    store = world.memory
    store.write_sources([row("mailer-1", BOOT, owed=900, sent=900, shed=2, shed_ranges=((5, 5),), position=1)])
    store.write_events(stored(*range(8, 900, 2), source="mailer-1", epoch=BOOT))
    said = world.run("audit", "--source", "mailer-1").output
    assert "and 443 more ranges (--format json has 100)" in said
    assert "1 of these were shed; the source could not tell which" in said


def test_nothing_was_sent(world: World) -> None:
    empty = World()
    assert "No source has sent anything." in empty.run("audit").output
    assert json.loads(empty.run("audit", "--format", "json").stdout)["epochs"] == []
    assert empty.run("audit", "--format", "csv").stdout.startswith("source,epoch,")


def test_nothing_was_sent_in_a_period(world: World) -> None:
    assert "No source has sent anything in that period." in world.run("audit", "--to", "2020-01-01").output


def test_names_of_sources_steer_no_terminal(world: World) -> None:
    world.memory.write_sources(
        [SourceRow(HOSTILE, BOOT, (HOSTILE,), HOSTILE, BOOT, BOOT, BOOT, BOOT, SECOND, 0, 5, 0, BOOT, 0, 5)]
    )
    for form in ("table", "json", "csv"):
        said = world.run("audit", "--format", form).output
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "[bold]" in said or "\\x1b" in said


def test_through_a_store_that_another_process_serves(tmp_path: Path) -> None:
    place = Place(tmp_path)
    folder = tmp_path / "data" / "store"
    with serving(folder):
        store = open_embedded(folder, {}, "lastseen")
        store.migrate()
        store.write_sources([row("shop-1", BOOT, owed=70_000, sent=70_000)])
        store.write_events(stored(*({*range(1, 70_001)} - {65_536, 65_537, 69_000}), epoch=BOOT))
        store.close()
        said = place.run("audit", "--format", "csv", "--fail-on", "missing", code=1)
    (one,) = csv.DictReader(io.StringIO(said))
    assert (one["stored"], one["missing"], one["missing_ranges"]) == ("69997", "3", "65536-65537;69000")
