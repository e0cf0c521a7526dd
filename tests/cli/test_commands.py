"""The commands over a store in memory: what they print, in every form, and how they end."""

from __future__ import annotations

import csv
import errno
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.app import App
from pipeline.cli.main import COMMANDS, cli
from pipeline.cli.service import make_worker, stopping
from pipeline.config import Config, read_config
from pipeline.errors import Unavailable
from pipeline.log.memory import MemoryLog
from pipeline.store import MemoryStore
from pipeline.store.contract import KeyRow
from schemas.control import FlowPublished, Gone, decode_control, encode_control
from schemas.flow import Flows
from schemas.flow_file import SHIPPED_FLOWS
from schemas.landscape import Landscape
from schemas.times import HOUR
from schemas.verdict import Status
from tests.answers.world import (
    BEGIN,
    FLOWS,
    LANDSCAPE,
    NOW,
    event,
    fill,
    missing,
    quarantined,
    write_events,
    write_verdict,
)
from tracer.record import CONTROL, EVENTS, Record

READING = (
    ("list",), ("list", "--flow", "order"), ("list", "--drop", "paid.."), ("list", "--format", "json"), ("lookup", "C7"),
    ("lookup", "PAY-1", "--key", "payment"), ("lookup", "PAY-1", "--as-of", "2026-03-08T13:00"), ("report", "--format", "json"),
    ("report", "--flow", "order", "--format", "csv"), ("sources",),
)  # fmt: skip
HOSTILE = "x\x1b[2J\u202egnp.exe[bold]"


class World:
    """The real commands over adapters in memory."""

    def __init__(self) -> None:
        self.memory, self.events = MemoryStore(), MemoryLog(clock=lambda: NOW)
        self.away: Exception | None = None
        self.flows = FLOWS
        self.configs: list[Config] = []

    def app(self, config: Config) -> App:
        self.configs.append(config)
        world = self

        class InMemory(App):
            def definitions(self) -> tuple[Flows, Landscape]:
                return world.flows, LANDSCAPE

            @contextmanager
            def store(self, *, create: bool = True) -> Iterator[MemoryStore]:
                if world.away:
                    raise world.away
                yield world.memory

            @contextmanager
            def log(self) -> Iterator[MemoryLog]:
                yield world.events

        return InMemory(config, lambda: NOW)

    def run(self, *args: str, code: int = 0) -> Result:
        result = self.invoke(*args)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def invoke(self, *args: str) -> Result:
        urls = {"LASTSEEN_LOG": "kafka://nowhere:9092", "LASTSEEN_STORE": "clickhouse://nowhere"}
        return CliRunner(env=urls).invoke(cli, args, obj=self.app)


@pytest.fixture
def world() -> World:
    made = World()
    fill(made.memory)
    return made


def test_every_command_explains_itself(world: World) -> None:
    said = world.run("--help").output
    for name in COMMANDS:
        assert f"\n  {name} " in said
        help_ = world.run(name, "--help").output
        assert "--data" in help_
        assert "--flows" in help_


def test_data_and_flows_on_either_side_of_the_command(world: World, tmp_path: Path) -> None:
    for args in (
        ["--data", "d1", "--flows", str(tmp_path), "list"],
        ["list", "--flows", str(tmp_path), "--data", "d1"],
    ):
        world.run(*args)
        assert (world.configs[-1].data, world.configs[-1].flows) == (Path("d1"), tmp_path)
    world.run("--data", "d1", "quarantine", "list", "--data", "d2")
    assert world.configs[-1].data == Path("d2")
    world.run("list", "--flows", str(tmp_path / "none"), code=2)


def test_lookup_answers_before_it_proves(world: World) -> None:
    said = world.run("lookup", "pay-1").output
    parts = [
        "order 17 lost", "Order 17 is lost", "Tell the customer:", "Known by", "customer number C7", "placed", "done", "paid",
        "past due", "What this rests on", "shop-1: e1", "Times in America/New_York",
    ]  # fmt: skip
    places = [said.find(part) for part in parts]
    assert -1 not in places, said
    assert places[:4] == sorted(places[:4])
    assert max(map(len, said.splitlines())) <= 100


def test_lookup_of_a_customer_lists_all_and_shows_what_needs_a_look(world: World) -> None:
    said = world.run("lookup", "C7").output
    assert "C7 leads to 3 transactions, newest first; 1 of them needs a look" in said
    assert said.index("order 17 ") < said.index("cart 17 ") < said.index("order 18 ")
    assert said.count("Tell the customer:") == 1


def test_lookup_as_of_a_time(world: World) -> None:
    said = world.run("lookup", "PAY-1", "--as-of", "2026-03-08T13:00").output
    assert "As of 2026-03-08 13:00:00, judged again on what was recorded by then: in progress." in said
    assert "Said then: stalled in transit placed..paid, since 2026-03-08 12:00:00." in said
    (data,) = json.loads(world.run("lookup", "PAY-1", "--as-of", "21h", "--format", "json").stdout)
    assert data["as_of"] == "2026-03-08T17:00:00Z"
    assert data["said"]["status"] == "stalled"


def test_lookup_of_nothing(world: World) -> None:
    result = world.run("lookup", "nobody", code=1)
    assert "nothing is known by 'nobody'" in result.stderr
    assert result.stdout == ""
    assert json.loads(world.run("lookup", "nobody", "--format", "json", code=1).stdout) == []


@pytest.mark.parametrize(
    "command", [("lookup", "C7"), ("list",), ("sources",), ("quarantine", "list"), ("doctor",), ("flows", "list")]
)
def test_every_listing_comes_as_table_json_and_csv(world: World, command: tuple[str, ...]) -> None:
    world.memory.write_quarantine([quarantined()])
    assert world.run(*command).stdout.strip()
    assert json.loads(world.run(*command, "--format", "json").stdout)
    rows = list(csv.reader(io.StringIO(world.run(*command, "--format", "csv").stdout)))
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1
    world.run(*command, "--format", "xml", code=2)


def ids(result: Result) -> list[str]:
    return [row["transaction_id"] for row in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["17", "17", "18"]),
        (["--status", "lost,failed"], ["17"]),
        (["--status", "missing"], ["17"]),
        (["--flow", "checkout"], ["17"]),
        (["--flow", "checkout", "--flow", "order"], ["17", "17", "18"]),
        (["--drop", "shop..payments"], ["17"]),
        (["--drop", "placed..paid"], ["17"]),
        (["--drop", "..shipped"], []),
        (["--finding", "late"], ["18"]),
        (["--from", "2026-03-08"], ["17", "17"]),
        (["--to", "2026-03-08T00:00:00-05:00"], ["18"]),
        (["--from", "2d", "--status", "completed"], ["17"]),
        (["--limit", "1"], ["17"]),
        (["--excluded"], []),
    ],
)
def test_list_filters(world: World, options: list[str], found: list[str]) -> None:
    assert ids(world.run("list", *options, "--format", "json")) == found


@pytest.mark.parametrize(
    "options",
    [
        ["--status", "gone"], ["--drop", "here"], ["--from", "then"], ["--flow", "shoes"], ["--finding", "odd"], ["--limit", "-1"],
        ["--fail-on", "gone"], ["--nonsense"], ["--drop", "foo..bar"], ["--drop", "placed..bar"], ["--from", "2100-01-01"],
    ],
)  # fmt: skip
def test_wrong_usage_is_2_and_a_sentence(world: World, options: list[str]) -> None:
    result = world.run("list", *options, code=2)
    assert result.stderr.strip()
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 4


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["list", "--fail-on", "lost"], 1),
        (["list", "--fail-on", "missing"], 1),
        (["list", "--fail-on", "stalled,unknown"], 0),
        (["list", "--status", "failed", "--fail-on", "any"], 0),
        (["lookup", "PAY-1", "--fail-on", "lost"], 1),
        (["lookup", "PAY-2", "--fail-on", "lost"], 0),
        (["report", "--format", "csv", "--fail-on", "any"], 1),
        (["sources", "--fail-on", "silent"], 1),
        (["quarantine", "list", "--fail-on", "any"], 0),
    ],
)
def test_fail_on(world: World, args: list[str], code: int) -> None:
    world.run(*args, code=code)


def test_a_listing_names_systems_and_keeps_findings_apart(world: World) -> None:
    said = world.run("list").output
    (head, *lines) = said.splitlines()
    (first, second) = [line for line in lines if "payments" in line or "shop" in line]
    assert "in transit shop (placed) →" in first
    assert "payments (paid)" in second
    (late,) = [line for line in lines if "order 18" in line]
    assert late.index("late") == head.index("findings")
    assert "findings" not in world.run("list", "--status", "lost").output


def test_a_flow_that_only_control_knows_can_be_read(world: World) -> None:
    content = FLOWS.latest("order").model_dump(mode="json")
    published = FlowPublished(flow="order", version=1, digest="d", since=0, content=content)
    strange = published.model_copy(update={"version": 9, "content": {"flow": "order", "of": "tomorrow"}})
    expected = [world.run(*command).output for command in READING]
    world.flows = Flows([FLOWS.latest("checkout")])
    for command in READING:
        world.run(*command)
    assert "Flow order is not known here: give --flows" in world.run("list", "--format", "json").stdout
    records = [Record(CONTROL, one.key(), encode_control(one)) for one in (strange, published)]
    world.events.producer().produce([Record(CONTROL, b"x", b"no control"), *records])
    assert [world.run(*command).output for command in READING] == expected
    world.events.broker.down = True
    for command in READING:
        world.run(*command)


def test_what_the_system_refuses_is_a_sentence_about_the_path(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "below"
    assert world.run("report", "--out", str(out), code=2).stderr == f"lastseen: {out}: not a directory\n"
    mapping = SHIPPED_FLOWS.parent / "examples" / "northwind" / "mapping.yaml"
    said = world.run("load", str(tmp_path), "--mapping", str(mapping), code=2).stderr
    assert said == f"lastseen: {tmp_path}: is a directory; name a file or a database\n"
    world.away = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    assert world.run("list", code=3).stderr == "lastseen: /x/y: no space left on device\n"
    said = world.run("lookup", "17", "--as-of", "2100-01-01", code=3).stderr
    world.away = None
    said = world.run("lookup", "17", "--as-of", "2100-01-01", code=2).stderr
    assert said == "lastseen: --as-of: 2100-01-01 is not between the years 1990 and 2099\n"


def test_there_is_more_is_said(world: World) -> None:
    assert "more than 1" in world.run("list", "--limit", "1").stderr
    assert world.run("list", "--limit", "3").stderr == ""


def test_report_writes_three_files_where_it_is_told_to(world: World, tmp_path: Path) -> None:
    said = world.run("report", "--data", str(tmp_path), "--date", "2026-03-08").output
    assert "lost" in said
    assert "49.90 EUR" in said
    written = {path.name for path in (tmp_path / "reports").iterdir()}
    assert written == {f"report-2026-03-08.{form}" for form in ("html", "csv", "json")}
    world.run("report", "--out", str(tmp_path / "other"), "--flow", "order")
    assert (tmp_path / "other" / "report-2026-03-08-order.html").exists()
    page = world.run("report", "--format", "html").stdout
    assert page.startswith("<!doctype html>")
    assert json.loads(world.run("report", "--format", "json").stdout)["totals"]["statuses"]["lost"] == 1
    assert world.run("report", "--date", "soon", code=2).stderr.startswith("lastseen: not a date: 'soon'")


def test_a_service_away_is_3_and_a_sentence(world: World) -> None:
    world.away = Unavailable("the store in /x is held by process 7 (lastseen up)")
    for command in (["list"], ["lookup", "17"], ["report"], ["sources"], ["quarantine", "list"], ["doctor"]):
        result = world.run(*command, code=3)
        assert "held by process 7" in result.output


def test_a_bug_is_one_line_unless_asked_for(world: World) -> None:
    world.away = RuntimeError("boom \x1b[31m")
    said = world.run("list", code=70).stderr
    assert said == ("lastseen: unexpected error: RuntimeError: boom \\x1b[31m (run again with --debug to see where)\n")
    result = world.invoke("list", "--debug")
    assert result.exit_code == 70
    assert "Traceback" in result.stderr
    assert "\x1b" not in result.stderr


def test_who_is_asked_to_stop_while_a_service_is_away_has_not_failed(world: World) -> None:
    world.events.broker.down = True
    app, started = world.app(read_config(None, None, {})), []
    with stopping() as stop:
        stop.set()
        started.append(make_worker(app, world.events, world.memory, stop))
    assert started == []


def test_nothing_from_data_steers_the_terminal(world: World) -> None:
    """Hostile text in every field that a listing or a lookup prints; markup is text too."""
    # Keys and ids cannot hold such a character (the contract refuses it), but nothing here may rest on that.
    write_events(
        world.memory, "order", HOSTILE, event("[bold]", "placed", BEGIN, {"order": "[red]"}, source="[blink]"),
        event("z2", "paid", BEGIN + HOUR, {"payment": "[/]"}, phase="failed", error=HOSTILE),
    )  # fmt: skip
    world.memory.write_keys([KeyRow("payment", HOSTILE.upper(), "order", HOSTILE, BEGIN)])
    said = missing(Status.FAILED, BEGIN, BEGIN + HOUR, error=HOSTILE, silent=(HOSTILE,), currency=HOSTILE, value=1.0)
    write_verdict(world.memory, "order", HOSTILE, said)
    world.memory.write_quarantine(
        [quarantined(HOSTILE, source=HOSTILE, reason=HOSTILE, field=HOSTILE, payload=HOSTILE.encode())]
    )
    commands = [
        ["list"], ["lookup", HOSTILE], ["lookup", f"no {HOSTILE}"], ["sources"], ["quarantine", "list"],
        ["report", "--format", "table"],
        ["quarantine", "show", HOSTILE], ["quarantine", "show", f"no {HOSTILE}"], ["list", "--flow", HOSTILE],
    ]  # fmt: skip
    for command in commands:
        for form in ([], ["--format", "json"], ["--format", "csv"]):
            result = world.invoke(*command, *(form if "table" not in command else []))
            assert result.exit_code in (0, 1, 2), result.output
            assert "\x1b" not in result.output
            assert "\u202e" not in result.output
    assert "[bold]" in world.run("list").output


def test_sources_says_who_is_heard_and_who_is_not(world: World) -> None:
    said = world.run("sources").output
    assert said.index("warehouse  silent") < said.index("shop       heard")
    assert "Nobody speaks for payments." in said
    assert "wh\\x1b[31m-1" in said
    data = json.loads(world.run("sources", "--format", "json").stdout)
    assert {one["system"]: one["state"] for one in data["systems"]} == {
        "warehouse": "silent", "payments": "heard", "shop": "heard",
    }  # fmt: skip
    assert data["sources"][1] == {
        "source": "shop-1", "epoch": 7, "state": "live", "systems": ["shop"], "since": "2026-03-08T05:00:00Z",
        "through": "2026-03-09T14:00:00Z", "last_record_at": "2026-03-09T14:00:00Z", "every_seconds": 2.0,
        "skew_seconds": 0.0, "sent": 100, "shed": 0, "heard_through": "2026-03-09T14:00:00Z", "lag_seconds": 0.0,
        "not_heard": [], "silent_since": None,
    }  # fmt: skip


def test_a_source_is_declared_gone_in_control(world: World) -> None:
    world.run("sources", "gone", "shop-1", "--epoch", "7")
    (row,) = world.events.broker.topics[CONTROL][0].rows
    assert decode_control(row.value) == Gone(source="shop-1", epoch=7)
    assert "no source 'shop-9'" in world.run("sources", "gone", "shop-9", code=2).stderr


def test_quarantine_is_shown_and_retried(world: World) -> None:
    world.memory.write_quarantine([quarantined()])
    assert "not JSON" in world.run("quarantine", "list").output
    assert '"order":"31"' in world.run("quarantine", "show", "lastseen.events:0:5:1").output
    world.run("quarantine", "retry", code=2)
    assert "1 sent again" in world.run("quarantine", "retry", "lastseen.events:0:5:1").output
    assert sum(partition.end for partition in world.events.broker.topics[EVENTS]) == 1
    assert "Nothing is in quarantine" in world.run("quarantine", "list").output
    world.memory.write_quarantine(
        [quarantined("t:0:9:0", headers='{"ls-reason": "x.csv:7: no date"}', reason="x.csv:7: no date")]
    )
    refused = world.run("quarantine", "retry", "--all", code=1).stderr
    assert "t:0:9:0: x.csv:7: no date: mend the mapping and load again" in refused
    assert "x.csv:7: no date" in world.run("quarantine", "list").output
    assert "retried already" in world.run("quarantine", "retry", "lastseen.events:0:5:1", code=2).output


def test_a_lookup_tells_of_what_names_it_and_could_not_be_read(world: World) -> None:
    world.memory.write_quarantine([quarantined("t:0:9:0", payload=b"order 4711; PAY-1", reason="no time")])
    said = " ".join(world.run("lookup", "PAY-1").output.replace("│", " ").split())
    assert "a report that names it came that could not be read" in said.lower()
    assert "from shop-1: no time: lastseen quarantine show t:0:9:0" in said
    nothing = world.run("lookup", "4711", code=1).stderr
    assert "Yet a record that names it came and could not be read" in nothing
    assert "lastseen quarantine show t:0:9:0" in nothing


def test_doctor_names_what_is_wrong(world: World) -> None:
    assert "all " in world.run("doctor").output
    world.memory.check = lambda: ["the store lacks 0001: run lastseen setup"]  # type: ignore[method-assign]
    assert "run lastseen setup" in world.run("doctor", code=1).output
    world.events.broker.down = True
    found = json.loads(world.run("doctor", "--format", "json", code=3).stdout)
    assert {one["check"]: one["state"] for one in found}["log"] == "away"
