"""A place of Lastseen's own on the real Kafka: collectors run as processes of ``lastseen collect run``, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient

from pipeline.log import open_log
from pipeline.store.contract import VerdictQuery
from pipeline.store.memory import MemoryStore
from pipeline.worker import Worker
from schemas import wire
from schemas.flow_file import load_flows
from schemas.landscape_file import load_landscape
from schemas.wire import Observed
from tests.peers.programs import PATIENCE, REPOSITORY, Program, until
from tracer.record import ENCODING, EPOCH, EVENTS, KIND, REASON, SOURCE

HERE = Path(__file__).resolve().parent
_COMMAND = [sys.executable, "-c", "import pipeline; pipeline.main()"]


class Message(NamedTuple):
    """As it lies in a topic. ``headers``: of equal names the last."""

    value: bytes
    key: bytes | None
    headers: dict[str, bytes]


class Came(NamedTuple):
    """What came of all that was read. ``events``: distinct, as the worker stored them. ``quarantined``: reasons. ``statuses``: of
    the transactions."""

    events: list[Observed]
    quarantined: list[str]
    statuses: Counter[str]

    def steps(self) -> Counter[tuple[str, str]]:
        return Counter((event.step, event.phase) for event in self.events)

    def orders(self, step: str) -> set[str]:
        return {event.keys["order"] for event in self.events if event.step == step}


class Site:
    """``folder``: its own. Topics, groups and sources under a prefix that nobody else has."""

    def __init__(self, folder: Path, broker: str, flows: Path = HERE / "flows"):
        self.folder, self.broker, self.flows = folder, broker, flows
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        self.log = f"kafka://{broker}/?prefix={self.prefix}&session_timeout_ms=6000"
        self.inputs = f"kafka://{broker}/?prefix={self.prefix}&session_timeout_ms=3000"
        self.programs: list[Program] = []
        self.command = _COMMAND
        self.env = {
            "LASTSEEN_LOG": self.log, "LASTSEEN_DATA": str(folder / "data"), "LASTSEEN_FLOWS": str(flows),
            "PYTHONPATH": str(REPOSITORY), "LASTSEEN_PII_KEY": f"peers:{'0123456789abcdef' * 4}",
        }  # fmt: skip
        with closing(open_log(self.log)) as log:
            log.create()

    def topic(self, name: str, partitions: int = 3) -> str:
        """A topic of a peer's, made before the peer writes to it; its whole name."""
        admin: Any = KafkaAdminClient(bootstrap_servers=self.broker)  # type: ignore[no-untyped-call]
        with closing(admin):
            admin.create_topics({self.prefix + name: {"num_partitions": partitions, "replication_factor": 1}})
        return self.prefix + name

    def messages(self, topic: str) -> list[Message]:
        """All of a topic, to the end that it has now."""
        with closing(self._consumer()) as consumer:
            parts = _partitions(consumer, topic)
            consumer.assign(parts)
            consumer.seek_to_beginning(*parts)
            ends = consumer.end_offsets(parts)
            found: list[Message] = []
            while any(consumer.position(part) < ends[part] for part in parts):
                for records in consumer.poll(timeout_ms=500).values():
                    found += [Message(each.value, each.key, dict(each.headers)) for each in records]
            return found

    def _consumer(self) -> Any:
        return KafkaConsumer(bootstrap_servers=self.broker, enable_auto_commit=False, group_id=None)  # type: ignore[no-untyped-call]

    def lastseen(self, *arguments: str | Path, code: int = 0) -> str:
        done = subprocess.run(
            [*self.command, *map(str, arguments)], env=os.environ | self.env, capture_output=True, text=True, check=False,
            timeout=2 * PATIENCE,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def lookup(self, value: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.lastseen("lookup", value, "--format", "json"))
        return found

    def declare(self, name: str, **values: object) -> Path:
        """One of ``collectors/`` with this test's addresses in it: ``$name`` is replaced. ``$kafka``: topics under our prefix."""
        text = Template((HERE / "collectors" / name).read_text(encoding="utf-8"))
        made = self.folder / f"{'-'.join(map(str, values.values()))}-{name}"
        made.write_text(text.substitute(values, kafka=self.inputs), encoding="utf-8")
        return made

    def collect(self, *files: Path, once: bool = False, ready: str = "", since: str = "") -> Program:
        """``lastseen collect run``, as a process of its own."""
        options = ["--once"] * once + ["--since", since] * bool(since)
        output = self.folder / f"collect-{len(self.programs)}.out"
        program = Program([*self.command, "collect", "run", *options, *files], output, ready, self.env)
        self.programs.append(program)
        return program

    def collect_once(self, *files: Path) -> str:
        """All there is, to its end; what was said."""
        program = self.collect(*files, once=True)
        assert program.ended() == 0, program.said()
        return program.said()

    def appended(self) -> tuple[list[Observed], list[str]]:
        """Events and reasons of quarantine in the log, as often as they stand there."""
        events: list[Observed] = []
        reasons: list[str] = []
        for message in self.messages(self.prefix + EVENTS):
            if message.headers.get(KIND, b"event") != b"event":
                continue
            if REASON in message.headers:
                reasons.append(message.headers[REASON].decode())
                continue
            body = wire.decompress(message.value, message.headers.get(ENCODING))
            found, _, bad = wire.decode(body, message.headers[SOURCE].decode(), int(message.headers[EPOCH]))
            events += found
            reasons += [each.reason for each in bad]
        return events, reasons

    def count(self) -> int:
        """Distinct events in the log until now."""
        return len({event.id for event in self.appended()[0]})

    def records(self) -> int:
        """Records of the events' topic until now."""
        with closing(self._consumer()) as consumer:
            return sum(consumer.end_offsets(_partitions(consumer, self.prefix + EVENTS)).values())

    def judged(self) -> Came:
        """All of it, processed by a worker with a store in memory."""
        landscape, store = load_landscape([self.flows]), MemoryStore()
        with closing(open_log(self.log)) as log:
            flows = load_flows([self.flows], landscape)
            with closing(Worker(log, store, flows=flows, landscape=landscape)) as worker:
                worker.drain()
        known = list(store.known_transactions([0], 1))
        events = {event.id: event for _, event in store.stream_events(known)}
        statuses = Counter(row.status for row in store.verdicts(VerdictQuery()))
        return Came(list(events.values()), [row.reason for row in store.quarantine(limit=100_000)], statuses)

    def said(self) -> str:
        """What all that ran has said, the last of each."""
        return "\n".join(f"{program.output.name}: {program.said()[-1500:]}" for program in self.programs)

    def close(self) -> None:
        for program in self.programs:
            program.ask()
        for program in self.programs:
            program.stop()


def _partitions(consumer: Any, topic: str) -> list[TopicPartition]:
    until(lambda: bool(consumer.partitions_for_topic(topic)))
    return [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]


def numbered(prefix: str, numbers: Iterable[int]) -> set[str]:
    return {f"{prefix}-{number}" for number in numbers}
