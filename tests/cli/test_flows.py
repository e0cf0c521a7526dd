"""`lastseen flows`: as a person calls it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.common import with_shared_options
from pipeline.cli.flow_chart import chart
from pipeline.cli.flows import examine, flows
from schemas.flow_file import SHIPPED_FLOWS, load_flows, parse_flow
from schemas.landscape_file import SHIPPED_LANDSCAPE

TEA = """\
flow: tea
version: 1
key: tea
lost_after: 1d
steps:
  ordered: {system: counter, start: true}
  brewed: {system: kitchen, after: ordered, within: 5m}
  served: {system: waiter, after: brewed, within: 5m, calendar: opening, end: completed}
"""
LANDSCAPE = """\
keys: {tea: {transaction: true, says: number of the pot}}
systems: {counter: {}, kitchen: {}, waiter: {says: the waiter}}
calendars: {opening: {hours: 07:00-19:00}}
"""
COMMAND = with_shared_options(flows)


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(COMMAND, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "tea.yaml").write_text(TEA)
    (tmp_path / "landscape.yaml").write_text(LANDSCAPE)
    return tmp_path


def test_list_shows_what_ships_and_what_is_ones_own(own: Path) -> None:
    rows = json.loads(run("list", "--format", "json", "--flows", own).stdout)
    assert [row["flow"] for row in rows] == ["checkout", "login", "order", "service-move", "statement", "tea"]
    assert rows[-1]["systems"] == ["counter", "kitchen", "waiter"]
    table = run("list", "--flows", own).stdout
    assert all(row["flow"] in table for row in rows)
    found = list(csv.DictReader(io.StringIO(run("list", "--format", "csv", "--flows", own).stdout)))
    assert [(row["flow"], row["version"], row["systems"]) for row in found][-1] == (
        "tea",
        "1",
        "counter kitchen waiter",
    )


def test_show_draws_every_step_with_its_system_and_due_time() -> None:
    text = run("show", "order").stdout
    flow = load_flows([SHIPPED_FLOWS]).latest("order")
    for name, step in flow.steps.items():
        [line] = [line for line in text.splitlines() if f" {name} " in line and flow.label(name) in line]
        assert step.system in line
    for said in (
        "within 15m",
        "within 2d, warehouse",
        "by promised_at",
        "not after picking",
        "once per parcel",
        "for 10m",
    ):
        assert said in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_as_json_is_the_flow_itself() -> None:
    data = json.loads(run("show", "order", "--format", "json").stdout)
    digest = data.pop("digest")
    assert parse_flow(json.dumps(data)).digest() == digest


def test_show_takes_a_version_and_names_those_that_there_are(own: Path) -> None:
    (own / "tea2.yaml").write_text(
        TEA.replace("version: 1", "version: 2\nsince: 2026-01-01T00:00:00Z").replace("5m", "9m")
    )
    assert "within 9m" in run("show", "tea", "--flows", own).stdout
    assert "within 5m" in run("show", "tea", "--version", "1", "--flows", own).stdout
    for arguments, reason in (
        (("tea", "--version", "3"), "there are 1, 2"),
        (("coffee",), "no flow 'coffee'; there are"),
    ):
        with pytest.raises(ValueError, match=reason):
            CliRunner().invoke(COMMAND, ["show", *arguments, "--flows", str(own)], catch_exceptions=False)


def test_the_chart_has_the_way_to_the_end_as_its_trunk() -> None:
    drawn = {
        name: [(line.lane, line.step) for line in chart(load_flows([SHIPPED_FLOWS]).latest(name))]
        for name in ("order", "service-move", "checkout")
    }
    assert [step for lane, step in drawn["order"] if lane[0] in "●◆"] == [
        "placed", "paid", "picked", "packed", "shipped", "delivered",
    ]  # fmt: skip
    assert drawn["service-move"] == [
        ("● ", "ordered"), ("├─● ", "new_line_started"), ("├─● ", "old_line_ended"), ("├─● ", "billing_transferred"),
        ("├─✕ ", "cancelled"), ("◆ ", "finished"),
    ]  # fmt: skip
    assert drawn["checkout"] == [
        ("● ", "opened"), ("├─○ ", "checked_out"), ("│ └─✕ ", "left_at_till"), ("├─✕ ", "left_in_shop"), ("◆ ", "placed"),
    ]  # fmt: skip


def test_the_chart_shows_each_step_once_with_several_starts_and_loops() -> None:
    flow = parse_flow((SHIPPED_FLOWS.parent / "examples" / "flow" / "every-word.yaml").read_bytes())
    assert sorted(line.step for line in chart(flow)) == sorted(flow.steps)


def test_check_without_files_checks_all_and_is_content(own: Path) -> None:
    assert run("check").stderr == "5 flows, no mistake\n"
    result = run("check", "--flows", own)
    assert (result.stdout, result.stderr) == ("", "6 flows, no mistake\n")
    assert run("check", SHIPPED_LANDSCAPE).stderr == "0 flows, no mistake\n"


def test_check_prints_every_mistake_and_exits_1(own: Path) -> None:
    (own / "tea.yaml").write_text(TEA.replace("after: brewed", "after: brewd").replace("within: 5m}", "within: 5}"))
    (own / "landscape.yaml").write_text(LANDSCAPE + "zone: Nowhere\n")
    lines = run("check", "--flows", own, code=1).stdout.splitlines()
    assert lines[0].startswith(f"{own}/landscape.yaml:4: zone: unknown time zone 'Nowhere'")
    assert lines[1].startswith(f"{own}/tea.yaml:7: steps.brewed.within: bad duration 5")
    assert lines[2].startswith(f"{own}/tea.yaml:8: steps.served.after: unknown step 'brewd'")


def test_check_of_one_file_knows_the_landscape_beside_it_and_names_its_own_mistakes_only(own: Path) -> None:
    (own / "other.yaml").write_text("flow: [")
    assert run("check", own / "tea.yaml").stdout == ""
    assert "other.yaml" in run("check", own, code=1).stdout
    (own / "landscape.yaml").unlink()
    assert "tea.yaml:3: key: 'tea' does not name transactions" in run("check", own / "tea.yaml", code=1).stdout


def test_every_file_in_a_folder_of_flows_is_one_or_is_named(own: Path) -> None:
    (own / "a.yaml").write_text("foo: 1\n")
    (own / "b.yml").write_bytes("flow: tea\n".encode("utf-16"))
    (own / "c.yaml").write_text("# flow: tea\n")
    (own / "d.yaml").write_text(LANDSCAPE)
    (own / "e.yaml").write_bytes("flow: th\xe9\n".encode("latin-1"))
    (own / "mapping.yaml").write_text("mapping: tea\nwhatever: [")
    (own / ".f.yaml").write_text("foo: 1\n")
    said = run("check", own, code=1).stdout.replace(f"{own}/", "").splitlines()
    assert [line.split(": ")[0] for line in said] == ["a.yaml:1", "b.yml:1", "c.yaml", "d.yaml:1", "e.yaml:1"]
    parts = (
        "is neither a flow",
        "not UTF-8",
        "is empty",
        "is a landscape, which is read from landscape.yaml only",
        "not UTF-8",
    )
    for line, part in zip(said, parts, strict=True):
        assert part in line
    with pytest.raises(ValueError, match=r"a\.yaml:1: is neither a flow .* 4 more"):
        load_flows([own])


def test_a_warning_is_printed_and_is_no_mistake(own: Path) -> None:
    (own / "tea.yaml").write_text(TEA.replace("system: kitchen", "system: cellar"))
    result = run("check", own / "tea.yaml")
    assert "tea.yaml:7: steps.brewed.system: warning: 'cellar' is no system of the landscape" in result.stdout


def test_a_version_that_ships_cannot_be_taken_by_other_content(own: Path) -> None:
    text = (SHIPPED_FLOWS / "login.yaml").read_text()
    (own / "login.yaml").write_text(text.replace("lost_after: 5m", "lost_after: 6m"))
    mistakes, _, _ = examine([SHIPPED_FLOWS], [own / "login.yaml"])
    assert [mistake.field for mistake in mistakes] == ["version"]
    assert "has other content in" in mistakes[0].reason


def test_what_a_file_says_cannot_steer_the_terminal(own: Path) -> None:
    (own / "tea.yaml").write_text(TEA.replace("after: brewed", 'after: "\\e[2Jbrewed\\u202e"'))
    out = run("check", own / "tea.yaml", code=1).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    (own / "tea.yaml").write_text(TEA + 'says: "\\e[31mtea"\n')
    assert "\x1b" not in run("show", "tea", "--flows", own).stdout
