"""Peers as child processes: each writes into a file what it says, gets a port that is free, and is ended by its own id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.kafka_broker import free_ports
from tests.peers import install

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
PATIENCE = 60.0
"""Seconds until a wait is given up; nothing here asserts how long something took."""


def until(what: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, f"gave up waiting: {why()}"
        time.sleep(0.05)


def run(command: Sequence[str | Path], text: str | None = None, **env: str) -> str:
    """A peer that does one thing, to its end; what it printed."""
    done = subprocess.run(
        [str(word) for word in command], input=text, env=os.environ | env, cwd=REPOSITORY, capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


class Program:
    """A peer that stays. ``ready``: what it writes when it can be used."""

    def __init__(
        self, command: Sequence[str | Path], output: Path, ready: str = "", env: Mapping[str, str] | None = None
    ):
        self.output = output
        self._asked = False
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=REPOSITORY,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        if ready:
            self.until_said(ready)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def until_said(self, text: str) -> None:
        until(lambda: text in self.said() or not self.alive, self.said)
        assert text in self.said(), self.said()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> int:
        """Wait for its own end; its exit code."""
        return self._process.wait(PATIENCE)

    def ask(self) -> None:
        """To end (SIGTERM); once, for the second time says at once."""
        if self.alive and not self._asked:
            self._process.terminate()
            self._asked = True

    def stop(self) -> int:
        """Ask it to end, and wait; its exit code."""
        if self.alive:
            self.ask()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def kill(self) -> None:
        """As when the machine goes: no goodbye."""
        self._process.kill()
        self._process.wait()


class Collector(Program):
    """OpenTelemetry's Collector with a configuration of ``deploy/otel-collector``. ``grpc``, ``http``: where it listens."""

    def __init__(self, folder: Path, config: str, **env: str):
        grpc, http = (f"127.0.0.1:{port}" for port in free_ports(2))
        super().__init__(
            [install.collector(), "--config", DEPLOY / "otel-collector" / config], folder / "otelcol.out",
            "Everything is ready", {"OTLP_GRPC": grpc, "OTLP_HTTP": http, **env},
        )  # fmt: skip
        self.grpc, self.http = grpc, http


class Rsyslog(Program):
    """rsyslog with a configuration of ``deploy/rsyslog``. It hears syslog over TCP at ``port``, and tails ``file``."""

    def __init__(self, folder: Path, config: str, **env: str):
        (self.port,) = free_ports(1)
        self.file = folder / "application.log"
        self.file.touch()
        main = folder / "rsyslog.conf"
        main.write_text(
            f'global(workDirectory="{folder}" parser.escapeControlCharactersOnReceive="off")\n'
            'module(load="imtcp")\nmodule(load="imfile" mode="inotify")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{self.port}")\n'
            f'input(type="imfile" file="{self.file}" tag="application:" severity="info" facility="local0")\n'
            f'include(file="{DEPLOY / "rsyslog" / config}")\n'
        )
        program = install.rsyslogd()
        assert program is not None
        command: list[str | Path] = [program, "-n", "-f", main, "-i", folder / "rsyslogd.pid"]
        super().__init__(command, folder / "rsyslog.out", env=env)
        until(lambda: _listens(self.port) or not self.alive, self.said)
        assert self.alive, self.said()

    def log(self, *lines: str, tag: str = "shop") -> None:
        """Lines as ``logger`` (util-linux) sends them, in RFC 5424, over one connection."""
        command = ["logger", "--tcp", "--server", "127.0.0.1", "--port", str(self.port), "--rfc5424", "--tag", tag]
        run([*command, "--octet-count"], text="".join(f"{line}\n" for line in lines))


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def telemetrygen(kind: str, count: int, address: str, http: bool, **attributes: str) -> None:
    """``count`` traces of two spans (``kind`` traces), or log records (logs)."""
    options = [f"--{kind}", str(count), "--rate", "0", "--otlp-insecure", "--otlp-endpoint", address]
    for name, value in attributes.items():
        options += ["--telemetry-attributes", f'{name.replace("_", ".")}="{value}"']
    run([install.telemetrygen(), kind, *options, *(["--otlp-http"] if http else [])])


def sdk(language: str, first: int, count: int, protocol: str, address: str) -> None:
    """A span and a log record for each of ``count`` orders, by the language's own SDK. ``protocol``: as OpenTelemetry names it."""
    python: list[str | Path] = [sys.executable, "-m", "tests.peers.send"]
    program = ["node", install.SCRIPTS / "send.cjs"] if language == "javascript" else python
    run(
        [*program, str(first), str(count)],
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{address}",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip", OTEL_SERVICE_NAME="shop", NODE_PATH=str(install.node_modules()),
    )  # fmt: skip


def kcat(broker: str, topic: str, text: str, *options: str) -> None:
    """Each line one message, acknowledged by all replicas."""
    run(["kcat", "-q", "-P", "-b", broker, "-t", topic, "-X", "acks=all", *options], text=text)
