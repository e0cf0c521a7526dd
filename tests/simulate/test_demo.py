"""``lastseen demo``, as typed: everything found, the folder safe, and the answers there afterwards."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

LASTSEEN = [sys.executable, "-c", "import pipeline; pipeline.main()"]


def lastseen(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LASTSEEN, *arguments, "--data", str(data)], capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small demo's folder, and what it printed."""
    data = tmp_path_factory.mktemp("demo") / "data"
    ran = lastseen("demo", "--orders", "150", "--seed", "3", data=data)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return data, ran.stdout


def test_everything_that_was_lost_is_found(shop: tuple[Path, str]) -> None:
    _, said = shop
    assert re.search(r"missing, at the right place\s+(\d+) of \1\s+100 %\s+100 %", said), said
    assert re.search(r"findings\s+(\d+) of \1\s+100 %\s+100 %", said), said
    assert "Tell the customer:" in said


def test_what_it_says_to_try_next_works(shop: tuple[Path, str]) -> None:
    data, said = shop
    number = re.search(r"as a support agent reads it: order (\d+)", said)
    values = re.findall(r" lookup (\S+)", said)
    assert number is not None
    assert values
    for value in values:
        found = lastseen("lookup", value, "--format", "json", data=data)
        answers = json.loads(found.stdout)
        assert number[1] in {answer["transaction_id"] for answer in answers}
    for command in (["list", "--status", "lost"], ["report"], ["sources"]):
        ran = lastseen(*command, data=data)
        assert ran.returncode == 0, ran.stderr


def test_a_demos_folder_can_be_used_again_and_anything_else_is_refused(shop: tuple[Path, str], tmp_path: Path) -> None:
    data, _ = shop
    again = lastseen("demo", "--orders", "20", "--seed", "4", data=data)
    assert again.returncode == 0, again.stdout + again.stderr
    (tmp_path / "letters.txt").write_text("dear diary")
    refused = lastseen("demo", "--orders", "20", data=tmp_path)
    assert refused.returncode == 2
    assert "no demo made" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_what_somebody_added_to_a_demo_is_not_removed(tmp_path: Path) -> None:
    assert lastseen("demo", "--orders", "20", "--seed", "5", data=tmp_path).returncode == 0
    code = (
        "from pathlib import Path; from pipeline.log.sqlite import SqliteLog; from tracer.emitter import Emitter;"
        f"from tracer.sinks.memory import wall_clock as now; log = SqliteLog(Path({str(tmp_path / 'log.sqlite')!r}), now);"
        "e = Emitter(log.producer(), 'my-own-shop', now(), ('shop',), now); e.goodbye('closed')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    refused = lastseen("demo", "--orders", "20", data=tmp_path)
    assert refused.returncode == 2
    assert "my-own-shop" in refused.stderr
