"""A collector killed in the middle of a line, of a file and of a rotation, with a disk that is full: nothing lost, nothing doubled,
no torn line taken for a whole one (FAULTS 24, 25, 26's back-pressure, 31)."""

from __future__ import annotations

import gzip
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.control import Goodbye, Hello, Marker
from tests.faults.collecting import Collector, line
from tests.faults.real import until


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    made = Collector(tmp_path, f"sqlite:///{tmp_path}/log.sqlite")
    assert made.log.name
    yield made
    made.close()


class Writer:
    """An application that writes its log, torn in the middle of lines, and a rotation that does what rotations do."""

    def __init__(self, app: Path, seed: int):
        self.app, self.random = app, random.Random(seed)
        self.count = self.rotations = 0
        self.rest = ""

    def write(self, lines: int) -> None:
        text = self.rest
        for _ in range(lines):
            self.count += 1
            text += line(self.count)
        cut = self.random.randrange(1, len(text))
        with self.app.open("a") as stream:
            stream.write(text[:cut])
            stream.flush()
            stream.write(text[cut : (end := self.random.randrange(cut, len(text)))])
        self.rest = text[end:]

    def finish(self) -> None:
        with self.app.open("a") as stream:
            stream.write(self.rest)
        self.rest = ""

    def rotate(self) -> None:
        self.finish()
        self.rotations += 1
        rotated = self.app.with_name(f"app.log.{self.rotations}")
        how = self.rotations % 3
        if how == 0:
            self.app.rename(rotated)
        elif how == 1:
            shutil.copyfile(self.app, rotated)
            with self.app.open("r+") as stream:
                stream.truncate(0)
        else:
            draft = self.app.with_name("draft")
            draft.write_bytes(gzip.compress(self.app.read_bytes()))
            draft.rename(rotated.with_suffix(rotated.suffix + ".gz"))
            self.app.unlink()


def test_killed_while_it_reads_and_while_files_are_rotated(collector: Collector) -> None:
    writer = Writer(collector.app, seed=1)
    collector.app.touch()
    for round_ in range(4):
        before = len(collector.orders())
        collector.begin()
        writer.write(100)
        until(lambda had=before: len(collector.orders()) > had)  # type: ignore[misc]
        for _ in range(6):
            writer.write(writer.random.randrange(50, 400))
            time.sleep(writer.random.random() / 20)
            if writer.random.random() < 0.4:
                writer.rotate()
        if round_:  # once it was stopped as it should be
            collector.kill()
        else:
            assert collector.stop() == 0
    writer.rotate()
    writer.write(10)
    writer.finish()
    collector.begin()
    collector.until_all(writer.count)
    assert collector.stop() == 0
    assert collector.orders() == [str(number) for number in range(1, writer.count + 1)]
    assert collector.aside == 0
    assert "Traceback" not in collector.said()
    goodbyes = [record for record in collector.control() if isinstance(record, Goodbye)]
    assert [goodbye.state for goodbye in goodbyes] == ["closed", "closed"]
    hellos = [record for record in collector.control() if isinstance(record, Hello)]
    assert len({hello.epoch for hello in hellos}) == 5


def test_a_disk_that_is_full_under_its_positions(collector: Collector) -> None:
    """The limit of a file's size stands for it: the positions cannot be saved, the log's can be written (by an environment that
    has no limit once it was lifted)."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("files are limited here already")
    small = (
        "import os, errno, collectors.checkpoint as c\n"
        "fsync = os.fsync\n"
        "def full(number):\n"
        "    if 'positions' in os.readlink(f'/proc/self/fd/{number}'):\n"
        "        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "    fsync(number)\n"
        "os.fsync = full\n"
    )
    collector.app.write_text("".join(line(number) for number in range(1, 2001)))
    collector.begin(before=small)
    collector.until_all(2000)
    until(lambda: "No space left on device" in collector.said())
    with collector.app.open("a") as stream:
        stream.write("".join(line(number) for number in range(2001, 2101)))
    collector.until_all(2100)
    assert not (collector.positions / "shop-log.json").exists()
    collector.kill()
    collector.begin()
    until(lambda: (collector.positions / "shop-log.json").exists())
    assert collector.stop() == 0
    assert collector.orders() == [str(number) for number in range(1, 2101)]
    assert collector.sent > 2100  # it came again, and counts once


def test_yesterdays_file_sent_again_doubles_no_order(collector: Collector) -> None:
    """FAULTS 39, each time as a run of its own: a nightly job."""
    monday = collector.app.with_name("app.log.monday")
    monday.write_text("".join(line(number) for number in range(1, 301)))
    for name in ("tuesday", "wednesday"):
        collector.begin("--once")
        assert collector.process is not None
        assert collector.process.wait(60) == 0
        shutil.copyfile(monday, collector.app.with_name(f"app.log.{name}"))
    said = collector.said()
    assert said.count("read 300, events 300, quarantined 0") == 1
    assert said.count("read 0, events 0, quarantined 0") == 1  # recognised, not only told apart by ids
    kinds = [type(record) for record in collector.control()]
    assert kinds.count(Goodbye) == 2
    assert Marker not in kinds
