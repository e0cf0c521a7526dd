"""Killed in the middle: what was acknowledged is there, part of the rest may be, and a replay completes it (FAULTS.md: a crash
between any two steps loses nothing and doubles nothing)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.store.contract import KeyRow, Store, VerdictRow
from pipeline.store.embedded import open_embedded
from tests.contract.stores import T, database, event, served_folder, serving

__all__ = ["served_folder"]

ROUNDS, ROWS = 40, 4_000
WRITE = """
import sys
from pathlib import Path
from pipeline.store.embedded import open_embedded
from tests.contract.test_store_crash import write_round
store = open_embedded(Path(sys.argv[1]), {}, sys.argv[2])
store.migrate()
print("ready", flush=True)
for number in range(40):
    write_round(store, number)
    print(number, flush=True)
"""


def write_round(store: Store, number: int) -> None:
    """One batch as a worker writes it."""
    store.write_events([event(f"{number}-{i}", str(i % 500), T + i) for i in range(ROWS)])
    store.write_verdicts([
        VerdictRow("order", f"{number}-{i}", "order", 1, 0, 1, "lost", True, T, T, 0, T) for i in range(ROWS // 10)
    ])  # fmt: skip
    store.write_keys([KeyRow("order", f"{number}-{i}", "order", f"{number}-{i}", T) for i in range(ROWS // 10)])


def assert_complete(store: Store, rounds: int) -> None:
    assert store.count_events() == rounds * ROWS
    assert store.count_verdicts() == {("order", "lost"): rounds * ROWS // 10}
    transactions = [("order", f"{number}-{i}") for number in range(rounds) for i in range(ROWS // 10)]
    assert len(store.keys_of(transactions)) == len(transactions)


def _kill_writer_after(folder: Path, name: str, acknowledged: int) -> int:
    """Start a writer, kill it while it is in the round after that many; the last round that it was told is stored."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(folder), name], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == "ready\n"
        for _ in range(acknowledged):
            writer.stdout.readline()
    finally:
        writer.kill()
        said = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
    return acknowledged + len(said)


@pytest.mark.parametrize("acknowledged", [1, 4])
def test_a_writer_with_the_engine_in_it_is_killed(tmp_path: Path, acknowledged: int) -> None:
    rounds = _kill_writer_after(tmp_path, "lastseen", acknowledged)
    store = open_embedded(tmp_path, {})
    try:
        assert rounds * ROWS <= store.count_events() <= (rounds + 1) * ROWS
        for number in range(max(0, rounds - 1), rounds + 1):
            write_round(store, number)
        assert_complete(store, rounds + 1)
    finally:
        store.close()


def test_a_writer_over_http_is_killed(served_folder: Path) -> None:
    name = database()
    rounds = _kill_writer_after(served_folder, name, 3)
    store = open_embedded(served_folder, {}, name)
    for number in range(rounds + 1):
        write_round(store, number)
    assert_complete(store, rounds + 1)
    store.close()


def test_the_server_is_killed_under_a_writer(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(tmp_path), "lastseen"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        for _ in range(4):
            writer.stdout.readline()
        server.kill()
        out, err = writer.communicate(timeout=60)
        assert "Unavailable" in err.splitlines()[-1]
        rounds = 3 + len(out.split())
    with serving(tmp_path):
        store = open_embedded(tmp_path, {})
        assert store.count_events() >= rounds * ROWS
        write_round(store, rounds)
        assert_complete(store, rounds + 1)
        store.close()
