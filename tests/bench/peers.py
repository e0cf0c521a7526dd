"""The peers that count only: Bytewax and Quix Streams, each in an environment of its own under ``.cache/bench-peers``.

They get the same topic of single records on the same broker, count its events, and then count them per order.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[2] / ".cache" / "bench-peers"
SCRIPTS = Path(__file__).parent
# Name to (what pip installs, the module that is run there).
PEERS = {
    "bytewax": ("bytewax[kafka]==0.21.1", "peer_bytewax.py"),
    "quix": ("quixstreams==3.28.1", "peer_quix.py"),
}


class Absent(Exception):
    """A peer that cannot be had here; says why."""


def environment(name: str) -> Path:
    """The peer's Python, installed where it is not there yet. Raises Absent."""
    folder = ENVIRONMENTS / name
    python, done = folder / "bin" / "python", folder / ".installed"
    wanted = PEERS[name][0]
    if done.exists() and done.read_text() == wanted:
        return python
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted],
    )
    for step in steps:
        try:
            ran = subprocess.run(step, capture_output=True, text=True, check=False, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Absent(f"{wanted} could not be installed: {type(error).__name__}") from None
        if ran.returncode:
            raise Absent(f"{wanted} could not be installed: {(ran.stderr.strip().splitlines() or ['?'])[-1][:120]}")
    done.write_text(wanted)
    return python


def measure(name: str, form: str, broker: str, topic: str, count: int) -> dict[str, float]:
    """``form``: stateless or stateful. Raises Absent."""
    python = environment(name)
    command = [str(python), str(SCRIPTS / PEERS[name][1]), form, broker, topic, str(count)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        raise Absent("it did not finish within five minutes") from None
    if ran.returncode:
        raise Absent(f"it failed: {(ran.stderr.strip().splitlines() or ['?'])[-1][:120]}")
    found: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found
