"""The simulation's invariants, on two hundred seeds; and that a seed is a schedule, always the same."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.runs import Outcome, run

SEEDS = int(os.environ.get("LASTSEEN_SEEDS", "200"))
_PORTION = 10


def portion(first: int) -> list[Outcome]:
    return [run(seed) for seed in range(first, first + _PORTION)]


def test_i1_to_i7_hold_whatever_the_seed() -> None:
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        outcomes = [one for many in pool.map(portion, range(0, SEEDS, _PORTION)) for one in many]
    failed = [f"seed {outcome.seed}: {sentence}" for outcome in outcomes for sentence in outcome.broken]
    assert not failed, "\n".join(failed[:20]) + "\nagain: python -m tests.simulation --seed N --trace"
    exercised = [kind for outcome in outcomes for kind in outcome.seen]
    assert {"crash", "zombie", "joins", "leaves", "store in part", "log fails after", "killed", "cut off"} <= set(
        exercised
    )


@pytest.mark.parametrize("seed", [4813, 5721, 7533])
def test_seeds_that_found_something_hold(seed: int) -> None:
    """A late parcel that nobody heard of; a closed source's blind time; a commit that was tried again, then refused."""
    assert not run(seed).broken
    assert not logging.root.manager.disable, "whoever tests logging next in this process would see none"


@pytest.mark.parametrize("seed", [4, 5])
def test_a_seed_is_one_schedule_whatever_the_hashes_are(seed: int) -> None:
    """Two processes, two orders of every set of texts, one trace."""
    command = [sys.executable, "-m", "tests.simulation", "--trace", "--seed", str(seed)]
    traces = [
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, check=True, text=True
        ).stdout
        for salt in ("1", "2")
    ]
    assert traces[0].count("\n") > 100
    assert traces[0] == traces[1]
