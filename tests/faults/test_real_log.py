"""Topics that are made anew, and records that are gone before they were read (fault 13): an alarm, never a silent jump.

The command itself is run: what a person sees is one sentence, and an exit code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition

from pipeline.errors import Unavailable
from pipeline.log.kafka import KafkaLog
from tests.contract.stores import served_folder
from tests.faults.real import PARTITIONS, PATIENCE, REPOSITORY, Real, real, served_url, until
from tests.faults.stories import flat, stories
from tracer.record import CONTROL, EVENTS

__all__ = ["served_folder"]

ALL = flat(stories(1))
OUT_OF_SERVICE = 3


@pytest.fixture
def site(kafka_broker: dict[str, str], served_folder: Path) -> Iterator[Real]:
    with real(kafka_broker["address"], served_url(served_folder)) as made:
        yield made


def lastseen(site: Real, *arguments: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LASTSEEN_")}
    env |= {"LASTSEEN_LOG": site.log_url, "LASTSEEN_STORE": site.store_url}
    command = [sys.executable, "-c", "from pipeline import main; main()", *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, env=env, stderr=subprocess.PIPE, text=True)


def refused(process: subprocess.Popen[str], *told: str) -> None:
    """It ends by itself, says why in one sentence, and not as if it were a bug."""
    try:
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert process.returncode == OUT_OF_SERVICE, said
    for part in told:
        assert part in said
    assert "Traceback" not in said


def name_of(site: Real, topic: str) -> str:
    assert isinstance(site.log, KafkaLog)
    return site.log._address.prefix + topic


def admin(site: Real) -> object:
    assert isinstance(site.log, KafkaLog)
    return site.log._topics._admin()


def remake(site: Real, *deleted: str) -> None:
    """As somebody does who wants it empty: delete, and `lastseen setup`."""
    admin(site).delete_topics([name_of(site, topic) for topic in deleted])  # type: ignore[attr-defined]

    def gone() -> bool:
        return not {*deleted} & {*site.log._topics._describe()}  # type: ignore[attr-defined]

    until(gone, "topics gone")

    def made() -> bool:
        # Kafka says that they are gone a little before it lets them be made again.
        try:
            site.log.create(PARTITIONS if EVENTS in deleted else None)
        except Unavailable:
            return False
        return True

    until(made, "topics made anew")
    for opened in (site._sink, site._asked):
        assert opened is not None
        opened.close()
    site._sink = site._asked = None


def processed(site: Real) -> None:
    """All of it, and nobody runs any more."""
    site.send(ALL)
    site.hear()
    process = lastseen(site, "worker", "--drain")
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert site.lag() == 0


def test_13_the_events_are_made_anew_under_a_worker(site: Real) -> None:
    site.send(ALL)
    process = lastseen(site, "worker")
    try:
        until(lambda: site.lag() == 0)
        remake(site, EVENTS)
        site.send(ALL)
    finally:
        refused(process, "lastseen.events was deleted and made anew", "lastseen setup")
    refused(lastseen(site, "worker"), "was deleted and made anew")


@pytest.mark.parametrize("again", [0, 3])
def test_13_the_events_are_made_anew_while_nobody_reads(site: Real, again: int) -> None:
    """The group's commits went with the topic; control remembers. However much the new one holds by now, and whoever asks:
    nothing of it is worked on."""
    processed(site)
    stored, said = site.store.count_events(), site.committed()
    assert sum(said.values()) > 0
    remake(site, EVENTS)
    for copy in range(again):
        site.send(flat(stories(1)), source=f"later-{copy}")
    for _ in range(2):
        refused(lastseen(site, "worker"), "lastseen.events was deleted and made anew", "To begin anew")
    assert sum(site.committed().values()) == 0
    assert site.store.count_events() == stored


def test_13_control_is_made_anew(site: Real) -> None:
    """Fences would begin at nothing again, and what is said would lose against what was said."""
    processed(site)
    remake(site, CONTROL)
    refused(lastseen(site, "worker"), "lastseen.control was deleted and made anew")


def test_13_control_is_made_anew_under_a_worker(site: Real) -> None:
    site.send(ALL)
    process = lastseen(site, "worker")
    try:
        until(lambda: site.lag() == 0)
        remake(site, CONTROL)
    finally:
        refused(process, "lastseen.control was deleted and made anew", "lastseen setup")


def test_13_what_comes_next_is_gone(site: Real) -> None:
    """Retention was faster than we, or somebody deleted records: not skipped without a word, however often it is started."""
    processed(site)
    before = site.committed()
    site.send(ALL, each=1)
    ends = {TopicPartition(name_of(site, EVENTS), number): end - 1 for number, end in site.ends().items()}
    admin(site).delete_records(ends)  # type: ignore[attr-defined]
    for _ in range(2):
        refused(lastseen(site, "worker"), "no longer has the records that come next", "kafka-consumer-groups")
    assert site.committed() == before
