"""``python -m tests.peers.install`` (``make peers``): the peers, set up in ``.cache/peers``; at once where they are there.

Programs in Go are built, since a registry of modules hands out sources: about 230 seconds of processor time for all of them, once
for each machine, for Go keeps what it compiled in a cache of its own. Packages come through the ordinary clients: go, npm, apt-get.
Tests never set up anything on a laptop: `find` says what is missing, and they skip.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache" / "peers"
SCRIPTS = HERE / "js"
VERSIONS: dict[str, Any] = tomllib.loads((HERE / "versions.toml").read_text())


class NoPeer(Exception):
    """A peer cannot be had here; says why."""


def telemetrygen() -> Path:
    return _program("telemetrygen")


def collector() -> Path:
    """The Collector; named by a digest of its parts, so that other parts are another program."""
    parts = json.dumps(VERSIONS["collector"]) + VERSIONS["go"]["builder"]
    return CACHE / f"otelcol-{_digest(parts)}"


def node_modules() -> Path:
    """Where ``require`` finds JavaScript's SDK (``NODE_PATH``)."""
    return CACHE / f"js-{_digest((SCRIPTS / 'package-lock.json').read_text())}" / "node_modules"


def _program(name: str) -> Path:
    return CACHE / f"{name}-{VERSIONS['go'][name].rpartition('@')[2]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find(peer: str) -> str:
    """Why a peer is not there; "" where it is. ``peer``: collector, telemetrygen, javascript, rsyslog, kcat."""
    if peer == "javascript" and shutil.which("node") is None:
        return "node is not installed"
    there: dict[str, Callable[[], bool]] = {
        "collector": lambda: collector().exists(),
        "telemetrygen": lambda: telemetrygen().exists(),
        "javascript": lambda: node_modules().exists(),
        "rsyslog": lambda: rsyslogd() is not None and any(Path("/usr/lib").glob("*/rsyslog/omkafka.so")),
        "kcat": lambda: shutil.which("kcat") is not None,
    }
    return "" if there[peer]() else f"{peer} is not there; `make peers` sets it up"


def rsyslogd() -> str | None:
    return shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def install() -> None:
    """All that is missing. Raises NoPeer with the reasons of all that failed."""
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(job) for job in (_install_go, _install_javascript, _install_debian)]
    reasons = [str(error) for job in jobs if (error := job.exception()) is not None]
    if reasons:
        raise NoPeer("; ".join(reasons))


def _install_go() -> None:
    with _locked("go"):
        if not telemetrygen().exists():
            _go_install("telemetrygen", telemetrygen())
        if not collector().exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                builder = Path(folder) / "builder"
                _go_install("builder", builder)
                _build_collector(builder, Path(folder))


def _go_install(name: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        _run(["go", "install", "-ldflags=-s -w", VERSIONS["go"][name]], GOBIN=folder)
        os.replace(Path(folder) / name, target)


def _build_collector(builder: Path, folder: Path) -> None:
    """Made from its parts, as anybody makes a Collector of his own."""
    dist = {"name": "otelcol", "output_path": str(folder / "out"), "version": "0.0.0"}
    parts = {kind: [{"gomod": module} for module in modules] for kind, modules in VERSIONS["collector"].items()}
    (folder / "builder.yaml").write_text(json.dumps({"dist": dist, **parts}))
    _run([str(builder), "--config", str(folder / "builder.yaml")])
    os.replace(folder / "out" / "otelcol", collector())


def _install_javascript() -> None:
    with _locked("js"):
        if node_modules().exists():
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SCRIPTS / name, folder)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], cwd=folder)
            node_modules().parent.mkdir(exist_ok=True)
            os.replace(Path(folder) / "node_modules", node_modules())


def _install_debian() -> None:
    with _locked("debian"):
        if not (find("rsyslog") or find("kcat")):
            return
        packages = VERSIONS["debian"]["packages"]
        if os.geteuid() != 0:
            raise NoPeer(f"as root: apt-get install {' '.join(packages)}")
        _run(["apt-get", "update", "-qq"])
        options = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
        _run(["apt-get", "install", *options, *packages], DEBIAN_FRONTEND="noninteractive")


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """By one process at a time: the others find it done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], cwd: str | None = None, **env: str) -> None:
    if shutil.which(command[0]) is None:
        raise NoPeer(f"{command[0]} is not installed")
    # A module of another main program is built as it was published, whatever the user's GOFLAGS say.
    more = {"GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off", **env}
    done = subprocess.run(command, cwd=cwd, env=os.environ | more, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoPeer(f"`{' '.join(command[:3])}` failed: {(done.stderr or done.stdout).strip()[-600:]}")


def main() -> None:
    began = time.monotonic()
    try:
        install()
    except NoPeer as reason:
        sys.exit(f"peers: {reason}")
    print(f"peers: set up in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
