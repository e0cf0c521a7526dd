"""What collected lines may hold: times that cannot be, or are read in two ways (fault 16), what is too large (fault 28),
and what would forge a line of a log or steer a terminal (fault 31), from the file to what the commands print."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import pytest

from schemas.times import DAY, format_time, parse_time
from tests.faults.heard import Heard
from tests.faults.stories import START

_TIMES = """\
collector: shop-log
input: {file: {paths: [shop-log.log]}}
format: json
zone: Europe/Berlin
events:
  - {system: shop, step: placed, time: at, keys: {order: order}}
"""
FORGED = "FORGED all is well"
EVIL = f"\x1b[2J\x1b]0;x\x07\r\n{FORGED}\u202e\u2066\u2028{FORGED}\x9b31m\x08\x08"


@pytest.fixture
def world(tmp_path: Path) -> Heard:
    return Heard(tmp_path)


def _lines(world: Heard, *records: Mapping[str, object]) -> None:
    with (world.folder / "shop-log.log").open("a") as stream:
        stream.writelines(json.dumps(record) + "\n" for record in records)


def test_16_times_are_set_aside_or_decided(world: Heard) -> None:
    """Each line is an event or in quarantine, with its place; what is a day ahead is not due before its day."""
    world.begin("shop-log", "shop", text=_TIMES)
    _lines(
        world,
        {"order": "twice", "at": "2026-10-25T02:30:00"},  # shown twice that night: the earlier one
        {"order": "never", "at": "2026-03-29T02:30:00"},  # skipped that night
        {"order": "one", "at": "0001-01-01T00:00:00Z"},
        {"order": "last", "at": "9999-12-31T23:59:59"},
        {"order": "behind", "at": format_time(START - DAY)},
        {"order": "ahead", "at": format_time(START + DAY)},
        {"order": "good", "at": format_time(START)},
    )
    world.passes(1)
    stored = {
        order: event.time
        for order in ("twice", "never", "one", "last", "behind", "ahead", "good")
        for event in world.site.store.load_events([("order", order)]).get(("order", order), ())
    }
    assert stored == {
        "twice": parse_time("2026-10-25T00:30:00Z"), "behind": START - DAY, "ahead": START + DAY, "good": START,
    }  # fmt: skip
    reasons = {row.reason.rpartition("shop-log.log:")[2] for row in world.site.store.quarantine()}
    assert {reason[0] for reason in reasons} == {"2", "3", "4"}
    assert sum("outside the years" in reason for reason in reasons) == 2
    assert sum("never was in Europe/Berlin" in reason for reason in reasons) == 1
    world.passes(30)
    assert set(world.said()) == set(stored)
    assert world.said()["ahead"] == "in_progress"


def test_16_a_naive_time_without_a_zone_is_no_time(world: Heard) -> None:
    world.begin("shop-log", "shop", text=_TIMES.replace("zone: Europe/Berlin\n", ""))
    _lines(world, {"order": "a", "at": "2026-03-02T10:00:00"}, {"order": "b", "at": "2026-03-02T10:00:00+01:00"})
    world.passes(1)
    assert set(world.said()) == {"b"}
    (row,) = world.site.store.quarantine()
    assert "names no zone" in row.reason


def test_28_what_is_too_large_is_set_aside_bounded_and_the_rest_goes_on(world: Heard) -> None:
    """An event beyond the contract, a number of 100,000 digits, 200,000 names, a nesting without end, a line without end."""
    world.begin(
        "shop-log",
        "shop",
        text=_TIMES.replace("keys: {order: order}", "keys: {order: order}, attributes: {note: note}"),
    )
    at = format_time(START)
    _lines(
        world,
        {"order": "a", "at": at, "note": "x" * 300_000},
        {"order": "9" * 100_000, "at": at},
        {"order": "b", "at": at, **{f"name{n}": n for n in range(200_000)}},
    )
    with (world.folder / "shop-log.log").open("a") as stream:
        stream.write('{"order": ' + "[" * 100_000 + "\n")
        stream.write("x" * 5_000_000 + "\n")
    _lines(world, *[{"order": f"n{n}", "at": at} for n in range(2_000)])  # a flood of new keys
    world.passes(1)
    said = world.said()
    assert len(said) == 2_001
    assert "b" in said
    kept = {int(row.reason.split(":")[1]): row for row in world.site.store.quarantine()}
    assert set(kept) == {1, 2, 4, 5}
    assert all(len(row.payload) < 600_000 and len(row.reason) < 1_000 for row in kept.values())


def test_31_collected_fields_forge_no_line_and_steer_no_terminal(world: Heard) -> None:
    text = (
        "collector: shop-log\ninput: {file: {paths: ['*.log']}}\nformat: json\ntimes: epoch_us\nevents:\n"
        "  - {system: {field: system}, step: placed, time: at, keys: {order: order}, attributes: {note: note}}\n"
        "vouch: [shop]\n"
    )
    records: list[dict[str, object]] = [
        {"at": START, "order": "4711", "system": "shop", "note": EVIL},
        {"at": START, "order": EVIL, "system": "shop"},
        {"at": START, "order": "4712", "system": EVIL},
        {"at": EVIL, "order": "4713", "system": "shop"},
    ]
    body = "".join(json.dumps(record, ensure_ascii=bool(n % 2)) + "\n" for n, record in enumerate(records))
    # A file's name is data too, and stands in every reason.
    sample = world.folder / "a\x1b[2J\nFORGED\u202e.log"
    sample.write_text(body + EVIL, encoding="utf-8")
    world.begin("shop-log", "shop", text=text)
    world.passes(5)
    assert world.site.store.quarantine(), "nothing to show"
    assert "4711" in world.said()
    (world.folder / "try.log").write_text(body + EVIL + "\n", encoding="utf-8")
    run, said = world.commands.invoke, []
    for command in (
        ["sources"],
        ["quarantine", "list"],
        ["quarantine", "list", "--format", "csv"],
        ["lookup", "4711"],
        ["audit"],
        ["collect", "try", str(world.folder / "shop-log.yaml"), str(world.folder / "try.log")],
        ["collect", "try", str(world.folder / "shop-log.yaml"), str(sample), "--format", "csv"],
        ["collect", "check", str(world.folder / "shop-log.yaml")],
    ):
        result = run(*command)
        assert result.exit_code in (0, 1), (command, result.output)
        said.append(result.output)
        steering = {
            char for char in result.output if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")
        }
        assert steering - ({"\r"} if "csv" in command else set()) == set(), (command, steering)
        assert not any(line.startswith("FORGED") for line in result.output.splitlines()), command
    assert "\\x1b[2J" in said[1], "it is shown, but as what it is"
    assert "\\x1b[2J" in said[5]
