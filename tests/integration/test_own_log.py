"""The tutorial of the README: from one's own log file to the first lost order, with the files that it names, command by command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import cli

EXAMPLE = Path(__file__).parents[2] / "schemas" / "examples" / "log"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "shop"))


def lastseen(shop: Path, *args: str, code: int = 0) -> Result:
    done = CliRunner().invoke(
        cli, ["--data", str(shop / "data"), "--flows", str(shop), *args], env={"COLUMNS": "200"}, standalone_mode=False
    )
    if done.exception is not None:
        raise done.exception
    assert done.return_value in (code, None if code == 0 else code), done.output
    return done


def test_the_first_lost_order_is_found(shop: Path) -> None:
    collector = str(shop / "shop-log.yaml")
    assert "no mistake" in lastseen(shop, "flows", "check", str(shop)).output
    assert (
        "vouches   for dispatch, order-service, payment-service" in lastseen(shop, "collect", "check", collector).output
    )
    tried = lastseen(shop, "collect", "try", collector, str(shop / "shop.log"), "--format", "json", code=1).output
    told = json.loads(tried)
    assert sum(len(one["events"]) for one in told) == 10
    assert [one["place"].rpartition("/")[2] for one in told if one["quarantined"]] == ["shop.log:12"]
    ran = lastseen(shop, "collect", "run", collector, "--once").output
    assert "read 11, events 10, quarantined 1" in ran
    assert "webshop: 4 transactions, 2 completed, 1 failed, 1 lost" in ran
    (lost,) = json.loads(lastseen(shop, "lookup", "4712", "--format", "json").output)
    assert lost["status"] == "lost"
    assert (lost["drop"]["from_step"], lost["drop"]["to_step"]) == ("paid", "shipped")
    (failed,) = json.loads(lastseen(shop, "lookup", "4713", "--format", "json").output)
    assert (
        failed["status"],
        failed["drop"]["error"] if "error" in failed["drop"] else failed["drops"][0]["error"],
    ) == (
        "failed",
        "card declined",
    )


def test_reading_it_again_under_another_name_changes_nothing(shop: Path) -> None:
    collector = str(shop / "shop-log.yaml")
    lastseen(shop, "collect", "run", collector, "--once")
    before = said(shop)
    (shop / "shop.log").rename(shop / "shop.log.1")
    text = Path(collector).read_text().replace("[shop.log]", "[shop.log.1]")
    Path(collector).write_text(text)
    lastseen(shop, "collect", "run", collector, "--once")
    assert said(shop) == before


def test_a_first_run_without_the_flow_is_told_and_mended(shop: Path) -> None:
    collector = str(shop / "shop-log.yaml")
    without = ("--data", str(shop / "data"), "collect", "run", collector, "--once")
    done = CliRunner().invoke(cli, without, env={"COLUMNS": "200"}, standalone_mode=False)
    assert "no flow has the step paid of payment-service" in done.output
    again = lastseen(shop, "collect", "run", collector, "--once").output
    assert "nothing new since the last run; --again" in again
    assert "webshop: 4 transactions, 2 completed, 1 failed, 1 lost" in again
    before = said(shop)
    assert "read 11, events 10" in lastseen(shop, "collect", "run", collector, "--once", "--again").output
    assert said(shop) == before


def test_a_file_that_is_not_there_is_out_of_reach(shop: Path) -> None:
    (shop / "shop.log").unlink()
    assert (
        "nothing is vouched for"
        in lastseen(shop, "collect", "run", str(shop / "shop-log.yaml"), "--once", code=3).output
    )


def said(shop: Path) -> list[tuple[str, ...]]:
    """By order: its status, and which events it rests on."""
    found = json.loads(lastseen(shop, "list", "--flow", "webshop", "--format", "json").output)
    told = [json.loads(lastseen(shop, "lookup", one["transaction_id"], "--format", "json").output)[0] for one in found]
    return sorted(
        (one["transaction_id"], one["status"], *sorted(event["event_id"] for event in one["evidence"])) for one in told
    )
