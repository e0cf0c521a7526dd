"""Files under everything that happens to them: read = events ∪ quarantined, once each, whatever the order of writing, rotation,
compression, truncation, crashes and a log that is away (FAULTS 24, 25, 39); and nothing is vouched for that the log has not.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.control import Goodbye, Marker
from schemas.times import MINUTE, SECOND
from tests.collectors.site import COLLECTOR, Site
from tracer.record import EVENTS

OPERATIONS = (
    "write",
    "write",
    "write",
    "torn",
    "step",
    "step",
    "step",
    "rename",
    "copytruncate",
    "recreate",
    "gzip",
    "again",
)
TROUBLES = ("kill", "stop", "down", "up", "wait", "hold", "away")


class Files:
    """What an application and its log rotation do, in a folder that a collector reads."""

    def __init__(self, site: Site, header: str = ""):
        self.site, self.header = site, header
        self.log = site.folder / "logs" / "app.log"
        self.log.write_text(header)
        self.count = 0
        self.rest = ""
        self.written: list[tuple[int, str]] = []  # when its line was whole, and the order
        self.rotated: list[Path] = []

    def line(self) -> tuple[str, str]:
        self.count += 1
        order = str(self.count)
        return json.dumps({"at": self.site.now, "order": order}) + "\n", order

    def append(self, text: str) -> None:
        with self.log.open("a") as stream:
            stream.write(text)

    def write(self, count: int) -> None:
        self.finish()
        for _ in range(count):
            line, order = self.line()
            self.append(line)
            self.written.append((self.site.clock(), order))

    def torn(self) -> None:
        self.finish()
        line, order = self.line()
        cut = len(line) // 2
        self.append(line[:cut])
        self.rest, self.order = line[cut:], order

    def finish(self) -> None:
        if self.rest:
            self.append(self.rest)
            self.written.append((self.site.clock(), self.order))
            self.rest = ""

    def next_name(self) -> Path:
        path = self.log.with_name(f"app.log.{len(self.rotated) + 1}")
        self.rotated.append(path)
        return path

    def rename(self) -> None:
        self.finish()
        self.log.rename(self.next_name())
        self.log.write_text(self.header)

    def copytruncate(self) -> None:
        self.finish()
        shutil.copyfile(self.log, self.next_name())
        with self.log.open("r+") as stream:
            stream.truncate(0)
        self.append(self.header)

    def recreate(self) -> None:
        """Moved to another file, and a new one: most file systems give it the inode that became free."""
        self.finish()
        shutil.copyfile(self.log, self.next_name())
        self.log.unlink()
        self.log.write_text(self.header)

    def gzip(self) -> None:
        for path in self.rotated:
            if path.exists() and path.suffix != ".gz":
                with gzip.open(f"{path}.gz", "wb") as stream:
                    stream.write(path.read_bytes())
                path.unlink()
                return

    def again(self) -> None:
        """An upstream sends a file again under a new name."""
        for path in self.rotated:
            if path.exists():
                shutil.copyfile(
                    path, self.log.with_name(f"app.log.again{self.count}{path.suffix if path.suffix == '.gz' else ''}")
                )
                return


def heal(site: Site) -> None:
    site.broker.down = site.broker.hold_acks = False
    site.broker.away = set()


def run(site: Site, files: Files, operations: list[tuple[str, int]]) -> None:
    for name, number in operations:
        if name == "write":
            files.write(number)
        elif name in ("torn", "rename", "copytruncate", "recreate", "gzip", "again"):
            getattr(files, name)()
        elif name == "step":
            if site.collecting is None:
                site.begin()
            site.steps(number, apart=SECOND // 3)
        elif name == "kill":
            site.kill()
        elif name == "stop":
            heal(site)
            site.stop()
        elif name == "down":
            site.broker.down = True
        elif name == "hold":
            site.broker.hold_acks = True
        elif name == "away":
            site.broker.away = {EVENTS}  # markers still get through
        elif name == "up":
            heal(site)
        else:
            site.now += number * 2 * SECOND


def check_vouched(site: Site, files: Files) -> None:
    """What a marker vouches for was in the log before it."""
    in_log: dict[str, int] = {}
    for when, event in site.observed():
        order = event.keys["order"]
        in_log[order] = min(when, in_log.get(order, when))
    since = {hello.epoch: hello.since for hello in site.hellos}
    for when, record in site.control():
        if isinstance(record, Marker | Goodbye):
            vouched = [order for at, order in files.written if since[record.epoch] <= at < record.through]
            missing = [order for order in vouched if in_log.get(order, when) >= when]
            assert not missing, f"vouched through {record.through}, and the log did not have {missing}"


operation = st.tuples(st.sampled_from(OPERATIONS + TROUBLES), st.integers(1, 6))


def finish(site: Site, files: Files) -> None:
    heal(site)
    files.finish()
    if site.collecting is None:
        site.begin()
    site.steps(8)
    site.now += 6 * MINUTE
    site.steps(5)


some = st.tuples(st.just("write"), st.integers(1, 6)), st.tuples(st.just("step"), st.integers(1, 3))
operations_of = st.lists(st.one_of(operation, *some), min_size=1, max_size=30).map(
    lambda found: [("write", 2), ("step", 2), *found]
)


@given(operations_of)
@settings(max_examples=120, deadline=None)
def test_every_line_becomes_one_event(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        files = Files(site)
        run(site, files, operations)
        finish(site, files)
        assert site.orders() == sorted(order for _, order in files.written)
        assert not site.quarantined()
        check_vouched(site, files)
        last = site.said(Marker)[-1].through
        assert last > files.written[-1][0] if files.written else last
        site.kill()


@given(operations_of)
@settings(max_examples=40, deadline=None)
def test_equal_headers_do_not_make_files_one(operations: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), COLLECTOR)
        files = Files(site, header="".join(json.dumps({"about": "the shop's log", "n": n}) + "\n" for n in range(60)))
        run(site, files, operations)
        finish(site, files)
        assert site.orders() == sorted(order for _, order in files.written)
        site.kill()
