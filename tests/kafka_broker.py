"""A real Apache Kafka for tests: one broker that is its own controller, or three, on loopback, in a temporary folder.

Its jars come from Maven once and stay in ``.cache`` of the repository; afterwards it is up in about five seconds.
``LASTSEEN_TEST_KAFKA=host:port`` names a broker that runs already, and nothing is started.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

VERSION = "4.2.1"
REPOSITORY = Path(__file__).resolve().parents[1]
LIBS = REPOSITORY / ".cache" / f"kafka-{VERSION}"
USER, PASSWORD = "shop", "correct horse battery staple"

POM = f"""<project><modelVersion>4.0.0</modelVersion>
<groupId>lastseen</groupId><artifactId>broker</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""

PROPERTIES = """process.roles=broker,controller
node.id={node}
{quorum}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL_PLAINTEXT://127.0.0.1:{sasl},{tls_listener}CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={jaas}
listener.name.sasl_ssl.plain.sasl.jaas.config={jaas}
log.dirs={folder}/data
num.partitions=3
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=true
log.cleaner.enable=false
delete.topic.enable=true
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""
JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    f' username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}";'
)


class NoBroker(Exception):
    """No broker can be had here; says why."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def fetch_libs() -> Path:
    """The broker's jars, fetched through Maven if they are not there. Raises NoBroker."""
    if (LIBS / f"kafka_2.13-{VERSION}.jar").exists():
        return LIBS
    if shutil.which("mvn") is None:
        raise NoBroker("Maven (mvn) is not installed, and LASTSEEN_TEST_KAFKA names no broker")
    LIBS.parent.mkdir(exist_ok=True)
    with (LIBS.parent / "kafka.lock").open("w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (LIBS / f"kafka_2.13-{VERSION}.jar").exists():
            return LIBS
        (Path(folder) / "pom.xml").write_text(POM)
        fetched = Path(folder) / "libs"
        done = subprocess.run(
            ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={fetched}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NoBroker(f"Maven could not fetch Kafka {VERSION}: {done.stdout.strip()[-300:]}")
        shutil.copytree(fetched, LIBS, dirs_exist_ok=True)
    return LIBS


class Place(NamedTuple):
    """A broker's node in a cluster: its number from 1, and the controllers' ports of all nodes, its own among them."""

    node: int
    controllers: tuple[int, ...]
    cluster: str

    @property
    def quorum(self) -> str:
        if len(self.controllers) == 1:
            return f"controller.quorum.bootstrap.servers=127.0.0.1:{self.controllers[0]}"
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(self.controllers, 1))
        return f"controller.quorum.voters={voters}"


def alone() -> Place:
    return Place(1, tuple(free_ports(1)), new_cluster())


def new_cluster() -> str:
    """An id, as Kafka writes them: one in 64 would begin with a dash, and be taken for an option."""
    return base64.urlsafe_b64encode(b"\x00" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class Broker:
    """One broker. It keeps its ports and its data over `restart`."""

    def __init__(self, folder: Path, heap: str = "512m", place: Place | None = None):
        self.folder = folder
        self.pid: int | None = None
        self._heap = heap
        self._process: subprocess.Popen[bytes] | None = None
        self._plain, self._sasl, self._tls = free_ports(3)
        self._place = place or alone()
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = _certificates(folder)
        jaas = JAAS.replace("\\", "\\\\")
        listener = f"SASL_SSL://127.0.0.1:{self._tls}," if self.ca else ""
        count = len(self._place.controllers)
        text = PROPERTIES.format(
            node=self._place.node, quorum=self._place.quorum, controller=self._place.controllers[self._place.node - 1],
            plain=self._plain, sasl=self._sasl, tls_listener=listener, jaas=jaas, folder=folder,
            replicas=count, in_sync=2 if count > 1 else 1,
        )  # fmt: skip
        if self.ca:
            text += f"ssl.keystore.type=PEM\nssl.keystore.location={folder}/broker.pem\n"
        (folder / "server.properties").write_text(text)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._plain}"

    @property
    def sasl_address(self) -> str:
        """SASL, PLAIN, without TLS."""
        return f"127.0.0.1:{self._sasl}"

    @property
    def tls_address(self) -> str:
        """SASL, PLAIN, over TLS; only where there is a `ca`."""
        return f"localhost:{self._tls}"

    def _java(self, main: str, *args: str) -> list[str]:
        libs = fetch_libs()
        options = [f"-Xmx{self._heap}", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        return ["java", *options, "-cp", f"{libs}/*", main, *args]

    def start(self) -> None:
        """Start, and wait until it answers. Raises NoBroker."""
        self.launch()
        self._wait_until_up()

    def launch(self) -> None:
        """Start, and do not wait: the brokers of a cluster come up together. Raises NoBroker."""
        if shutil.which("java") is None:
            raise NoBroker("Java is not installed, and LASTSEEN_TEST_KAFKA names no broker")
        properties = str(self.folder / "server.properties")
        if not (self.folder / "data").exists():
            alone = ["--standalone"] if len(self._place.controllers) == 1 else []
            command = ["format", *alone, "-t", self._place.cluster, "-c", properties]
            done = subprocess.run(
                self._java("kafka.tools.StorageTool", *command), capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise NoBroker(f"the broker's folder could not be made: {(done.stdout + done.stderr)[-500:]}")
        log = (self.folder / "broker.log").open("ab")
        self._process = subprocess.Popen(
            self._java("kafka.Kafka", properties), stdout=log, stderr=log, start_new_session=True
        )
        self.pid = self._process.pid

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._plain), timeout=1):
                return
            if self._process is not None and self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise NoBroker(f"the broker did not come up: {(self.folder / 'broker.log').read_text()[-800:]}")

    def stop(self) -> None:
        """End it, by its own process id."""
        if self.pid is not None:
            end_process(self.pid)
            self.pid = self._process = None

    def kill(self) -> None:
        """As when the machine goes: no goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.pid = self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()


class Cluster:
    """Brokers that replicate everything on all of them, acknowledged by two."""

    def __init__(self, folder: Path, count: int = 3, heap: str = "256m"):
        controllers, cluster = tuple(free_ports(count)), new_cluster()
        self.brokers = [
            Broker(folder / f"broker-{node}", heap, Place(node, controllers, cluster)) for node in range(1, count + 1)
        ]

    @property
    def address(self) -> str:
        return ",".join(broker.address for broker in self.brokers)

    def start(self) -> None:
        """Start all, and wait until each answers. Raises NoBroker."""
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker._wait_until_up()

    def stop(self) -> None:
        """End all that run, all at once: a lone controller finds no quorum, and would take its time."""
        for broker in self.brokers:
            broker.kill()


def end_process(pid: int, patience: float = 10.0) -> None:
    """Ask a process that a test started to end, and end it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if _is_gone(pid):
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        _is_gone(pid)


def _is_gone(pid: int) -> bool:
    """Ended; reaped if it is our child, and maybe still to be reaped if it is another's."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            os.kill(pid, 0)
            return False


def _certificates(folder: Path) -> Path | None:
    """A certificate for localhost that signs itself: the broker's, and the authority that clients are told to trust."""
    if shutil.which("openssl") is None:
        return None
    key, certificate, ca = folder / "key.pem", folder / "certificate.pem", folder / "ca.pem"
    if not ca.exists():
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        new = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names}"
        subprocess.run([*new.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        (folder / "broker.pem").write_text(key.read_text() + certificate.read_text())
        shutil.copy(certificate, ca)
    return ca


@contextlib.contextmanager
def shared_broker(folder: Path) -> Iterator[dict[str, str]]:
    """One broker for all processes of a test run, which agree in ``folder``: the first starts it, the last ends it.

    Yields:
        ``address``, and where the broker is ours ``sasl``, ``tls`` and ``ca`` (empty without openssl).
    """
    if os.environ.get("LASTSEEN_TEST_KAFKA"):
        yield {"address": os.environ["LASTSEEN_TEST_KAFKA"]}
        return
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "kafka.json"

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with (folder / "kafka.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    with locked():
        known = json.loads(state.read_text()) if state.exists() else None
        if known is None:
            broker = Broker(folder / "kafka")
            broker.start()
            found = {"address": broker.address, "sasl": broker.sasl_address, "tls": broker.tls_address}
            known = {"pid": broker.pid, "users": 0, "found": found | {"ca": str(broker.ca or "")}}
        known["users"] += 1
        state.write_text(json.dumps(known))
    try:
        yield known["found"]
    finally:
        with locked():
            known = json.loads(state.read_text())
            known["users"] -= 1
            state.write_text(json.dumps(known))
            if known["users"] == 0:
                end_process(known["pid"])
                state.unlink()
