"""``lastseen unlinked`` and ``lastseen link``: what they print, what they write, and how they end."""

from __future__ import annotations

import csv
import io
import json

import pytest

from pipeline.core.correlate import BROKEN, CLAIMED, DECISION
from pipeline.store.contract import LinkRow
from schemas import wire
from schemas.joined import Decision, Lines
from schemas.times import DAY, HOUR, MINUTE
from schemas.wire import Observed
from tests.answers.world import NOW, fill, keep
from tests.cli.test_commands import HOSTILE, World
from tests.cli.test_processes import Place, emit, place
from tracer.record import EVENTS, Record, partition_of
from tracer.sinks import open_sink
from tracer.sinks.memory import wall_clock

__all__ = ["place"]


@pytest.fixture
def world() -> World:
    made = World()
    fill(made.memory)
    keep(made.memory, "payment", "P1", NOW - 3 * DAY, "k1")
    keep(made.memory, "payment", "P1", NOW - MINUTE, "k2", "shipped")
    keep(made.memory, "shipment", "S1", NOW - MINUTE, "k5")
    return made


def claim(world: World, whose: str, by: str = "", state: str = CLAIMED, version: int = 1, *said: str) -> None:
    world.memory.write_links([LinkRow("payment", "P1", "order", whose, by, 0, False, state, version, *said)])


def test_unlinked_in_every_form(world: World) -> None:
    said = world.run("unlinked").output
    head, payment, shipment = (line.split() for line in said.splitlines()[:3])
    assert head[:3] == ["number", "events", "values"]
    assert payment == ["payment", "2", "1", "1", "1", "3", "days", "ago"]
    assert shipment[:5] == ["shipment", "1", "1", "1", "1"]
    assert "payment P1   paid completed     the payment service" in said
    data = json.loads(world.run("unlinked", "--format", "json", "--samples", "1").stdout)
    assert [(one["alias_type"], len(one["samples"])) for one in data] == [("payment", 1), ("shipment", 1)]
    assert data[0]["samples"][0] == {
        "alias": "P1", "event_id": "k1", "system": "payments", "step": "paid", "phase": "completed",
        "time": "2026-03-06T13:59:00Z", "kept_at": "2026-03-06T14:00:00Z", "source": "payments-1", "keys": {"payment": "P1"},
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(world.run("unlinked", "--format", "csv", "--type", "payment").stdout)))
    assert [(row["alias_type"], row["events"], row["under_7d"], row["older"]) for row in rows] == [
        ("payment", "2", "1", "0")
    ]
    world.memory = type(world.memory)()
    assert "No event waits under a number that nobody claims" in world.run("unlinked").output


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--fail-on", "any"], 1), (["--fail-on", "2d"], 1), (["--fail-on", "4d"], 0),
        (["--fail-on", "2d", "--type", "shipment"], 0), (["--fail-on", "soon"], 2), (["--type", "shoe"], 2), ([], 0),
    ],
)  # fmt: skip
def test_unlinked_fails_on_what_it_is_told_to(world: World, args: list[str], code: int) -> None:
    world.run("unlinked", *args, code=code)


def test_a_lookup_of_a_number_that_nobody_claims_says_so(world: World) -> None:
    result = world.run("lookup", " p1", code=1)
    assert "We hold 2 events under payment reference P1, which no order has claimed yet:" in result.stdout
    assert "paid completed" in result.stdout
    assert "the payment service" in result.stdout
    assert "link payment:P1 TYPE:NUMBER --accept" in result.stdout
    assert "nothing is known" not in result.output
    result = world.run("lookup", "P1", "--format", "json", code=1)
    assert json.loads(result.stdout) == []
    assert "We hold 2 events" in result.stderr
    assert "We hold 1 event under" in world.run("lookup", "P1", "--as-of", "2d", code=1).stdout
    claim(world, "17")
    assert "nothing is known by 'P1'" in world.run("lookup", "P1", code=1).stderr


def test_doctor_and_sources_mention_what_is_unlinked(world: World) -> None:
    assert "3 events that no transaction claims, for up to 3 days: lastseen unlinked" in " ".join(
        world.run("doctor").output.split()
    )
    assert "3 events under numbers that no transaction claims: " in world.run("sources").output


def test_link_shows_who_claims_a_number(world: World) -> None:
    said = world.run("link", "payment:P1", code=1).output
    assert "No transaction claims payment reference P1." in said
    assert "2 events came under it alone" in said
    claim(world, "17")
    claim(world, "18", by="shipment:S1")
    for args in (["link", "payment: p1 "], ["link", "show", "payment:P1"]):
        said = world.run(*args).output
        assert "payment reference P1 is contested" in said
        assert "order 17     contested  names both" in said
        assert "order 18     contested  known by shipment S1" in said
        assert "link payment:P1 order:17 --accept" in said
        assert "link payment:P1 order:17 --break" in said
    claim(world, "18", DECISION, BROKEN, NOW // 1_000 << 22, "kim", "a typing error")
    said = world.run("link", "payment:P1").output
    assert "is claimed by 2 transactions" in said
    assert "order 17     joined" in said
    assert "not its, a person said  known by shipment S1  broken, 2026-03-09 10:00" in said
    assert "by kim: a typing error" in " ".join(said.split())
    data = json.loads(world.run("link", "payment:P1", "--format", "json").stdout)
    assert [(one["transaction_id"], one["state"], one["decision"]) for one in data["claims"]] == [
        ("17", "clear", None), ("18", "foreign", "broken"),
    ]  # fmt: skip


def test_a_word_is_written_to_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "kim")
    said = world.run("link", "payment:p1", "order:0017", "--accept", "--why", "the bank says so").stderr
    assert "noted: payment P1 names order 17" in said
    assert "a worker settles it within seconds; look with lastseen link payment:P1 and lastseen lookup 17" in said
    world.run("link", "payment:P1", "order:17", "--accept")
    partitions = world.events.broker.topics[EVENTS]
    here = partitions[partition_of(b"payment:P1", len(partitions))]
    assert sum(partition.end for partition in partitions) == here.end == 2
    assert {row.key for row in here.rows} == {b"payment:P1"}
    assert here.rows[0].headers == (("ls-kind", b"decision"),)
    assert Lines(Decision).read(here.rows[0].value) == [
        Decision("payment:P1", "order:17", "accept", "kim", "the bank says so")
    ]
    claim(world, "17")
    assert "noted: payment P1 does not name order 17" in world.run("link", "payment:P1", "order:17", "--break").stderr


@pytest.mark.parametrize(
    "args",
    [
        ["payment:P1", "order:17"], ["payment:P1", "--accept"], ["payment:P1", "order:404", "--accept"],
        ["P1", "order:17", "--break"],
        ["customer:C7", "order:17", "--accept"], ["payment:P1", "order:17", "--break"], ["show"], [],
        ["payment:P1", "order:17", "--accept", "--why", "x" * 5_000], [f"payment:{HOSTILE}", "order:17", "--accept"],
    ],
)  # fmt: skip
def test_a_word_that_makes_no_sense_is_refused(world: World, args: list[str]) -> None:
    result = world.run("link", *args, code=2)
    assert result.stderr.strip()
    assert "\x1b" not in result.output
    assert sum(partition.end for partition in world.events.broker.topics[EVENTS]) == 0


@pytest.mark.parametrize(
    "args",
    [
        ["link", "payment:P1", "order:17", "--accept", "--why", "\udcff"],
        ["link", "payment:P1\udcff", "order:17", "--accept"],
        ["link", "payment:P1\udcff"],
        ["lookup", "P1\udcff"],
    ],
)
def test_bytes_that_are_no_text_are_refused_in_a_sentence(world: World, args: list[str]) -> None:
    done = world.invoke(*args)
    assert done.exit_code in (1, 2)
    assert "unexpected" not in done.output
    assert "Traceback" not in done.output


def test_nothing_from_data_steers_the_terminal(world: World) -> None:
    keep(world.memory, "payment", HOSTILE.upper(), NOW - MINUTE, HOSTILE)
    claim(world, HOSTILE, by=f"shipment:{HOSTILE}")
    for args in (["unlinked"], ["lookup", HOSTILE], ["link", "payment:P1"], ["link", f"payment:{HOSTILE}"]):
        for form in ([], ["--format", "json"]):
            said = world.invoke(*args, *form).output
            assert "\x1b" not in said
            assert "\u202e" not in said


def test_a_folder_of_ones_own_from_unlinked_to_joined(place: Place) -> None:
    """Real commands on the embedded log and store: what nobody claims is found, a person says whose it is, and it is joined."""
    place.env["LOGNAME"] = "kim"
    place.run("setup")
    emit(place, "1")
    sink = open_sink(f"sqlite:///{place.folder / 'data' / 'log.sqlite'}")
    paid = Observed(id="p9", system="payments", step="paid", time=wall_clock() - 5 * HOUR, keys={"payment": " P9"})
    sink.produce([Record(EVENTS, b"payment: P9", wire.encode([paid]))])
    sink.close()
    place.run("worker", "--drain")
    (one,) = json.loads(place.run("unlinked", "--format", "json"))
    assert (one["alias_type"], one["events"], one["under_1h"], one["samples"][0]["alias"]) == ("payment", 1, 1, "P9")
    place.run("unlinked", "--fail-on", "any", code=1)
    assert "which no order has claimed yet" in place.run("lookup", "P9", code=1)
    assert "names no transaction" not in place.run("link", "payment:P9", code=1)
    place.run("link", "payment:P9", "order:1", "--accept", "--why", "the customer showed the receipt")
    assert json.loads(place.run("unlinked", "--format", "json")) == []
    (found,) = json.loads(place.run("lookup", "P9", "--format", "json"))
    assert (found["transaction_id"], [hop["known_by"] for hop in found["path"]]) == ("1", [[], ["payment:P9"]])
    (claim,) = json.loads(place.run("link", "payment:P9", "--format", "json"))["claims"]
    assert (claim["transaction_id"], claim["joined"], claim["decision"]) == ("1", True, "accepted")
    assert (claim["decided_by"], claim["why"]) == ("kim", "the customer showed the receipt")
    place.run("link", "payment:P9", "order:1", "--break")
    assert len(json.loads(place.run("unlinked", "--format", "json"))) == 1
