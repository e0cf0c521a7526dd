"""A store that is really killed, away, slow or full, with real workers on a real Kafka (faults 2, 4, 9, 10, 11, 21)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.log.kafka import KafkaEventConsumer
from tests.contract.stores import client_of, database, served_folder
from tests.faults.proxy import Deaf, Delay, Fault, Half, Proxy, Refuse
from tests.faults.real import SESSION_MS, Real, StoreProcess, real, served_url, until
from tests.faults.stories import flat, stories, told
from tracer.record import EPOCH, EVENTS, KIND, SOURCE, Record

__all__ = ["served_folder"]

ALL = flat(stories(1))
TABLES = ["events", "flips", "verdicts", "keys"]
POISON = [
    Record(EVENTS, b"order:1", b'{"broken": %d}' % n, ((KIND, b"event"), (SOURCE, b"app"), (EPOCH, b"1")))
    for n in range(5)
]
READ_ONLY = Refuse(164, "Code: 164. DB::Exception: lastseen: Cannot execute query in readonly mode. (READONLY)")
DISK_FULL = Refuse(
    243, "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE) (version 26.9)"
)


@pytest.fixture(scope="module")
def proxy(served_folder: Path) -> Iterator[Proxy]:
    served = json.loads((served_folder / "served.json").read_text())
    made = Proxy(served["url"])
    yield made
    made.close()


@pytest.fixture
def site(kafka_broker: dict[str, str], served_folder: Path, proxy: Proxy) -> Iterator[Real]:
    """Whose workers reach the store through the proxy, and the test by itself."""
    proxy.fault = lambda _: None
    proxy.refused.clear()
    name = database()
    token = (served_folder / "token").read_text().strip()
    through = f"clickhouse://lastseen@127.0.0.1:{proxy.port}/{name}"
    url = f"chdb://{served_folder}?database={name}"
    env = {"LASTSEEN_CLICKHOUSE_PASSWORD": token}
    with real(kafka_broker["address"], url, through_url=through, env=env) as made:
        yield made
    proxy.fault = lambda _: None


class On:
    """A fault of inserts into one table ("" for all), the first ``times``."""

    def __init__(self, fault: Fault, table: str = "", times: int = 10**9):
        self.fault, self.table, self.left = fault, table, times
        self._lock = threading.Lock()

    def __call__(self, table: str) -> Fault | None:
        with self._lock:
            if not table or (self.table and table != self.table) or not self.left:
                return None
            self.left -= 1
            return self.fault


@pytest.mark.parametrize("table", TABLES)
def test_2_killed_in_the_middle_of_an_insert(site: Real, proxy: Proxy, table: str) -> None:
    """Half of what the worker had to say has arrived when it is killed; the next one completes it."""
    site.send(ALL)
    site.hear()
    first = site.worker(max_records=10)
    gone = threading.Event()

    def kill() -> None:
        first.process.kill()
        gone.set()

    proxy.fault = On(Half(kill), table, 1)
    until(gone.is_set)
    site.worker()
    site.settle()


@pytest.mark.parametrize("table", ["events", "verdicts"])
def test_4_an_insert_that_timed_out_and_succeeded(site: Real, proxy: Proxy, table: str) -> None:
    proxy.fault = On(Deaf(), table, 3)
    site.send(ALL)
    site.hear()
    worker = site.worker(max_records=20)
    site.settle()
    assert proxy.refused[table] == 3
    assert worker.stop()["retries"] >= 1
    site.whole()


def test_10_every_insert_takes_longer_than_the_session(site: Real, proxy: Proxy) -> None:
    """No eviction: one *own* for each partition is all that is ever written; and lag comes back to zero."""
    proxy.fault = On(Delay(1.3 * SESSION_MS / 1000), "events")
    site.send(ALL, each=20)
    site.hear()
    worker = site.worker(max_records=6)
    site.settle()
    assert len(site.owns()) == 4
    assert worker.stop()["retries"] == 0


@pytest.mark.parametrize("refusal", [READ_ONLY, DISK_FULL], ids=["read-only", "disk"])
def test_11_the_store_refuses_to_write(site: Real, proxy: Proxy, refusal: Refuse) -> None:
    """It is asked again and again, at growing intervals; nothing is committed meanwhile, and nothing lost."""
    proxy.fault = On(refusal, "events")
    site.send(ALL)
    site.hear()
    worker = site.worker(first_backoff=0.1)
    began = time.monotonic()
    until(lambda: sum(proxy.refused.values()) >= 6)
    # 0.1, 0.2, 0.4 and then 0.5 s: whoever spins would have been refused thousands of times.
    assert sum(proxy.refused.values()) <= 6 + (time.monotonic() - began) / 0.4
    assert sum(site.committed().values()) == 0
    assert worker.alive
    proxy.fault = lambda _: None
    site.settle()
    assert len(site.owns()) == 4
    worker.stop()


def test_11_there_are_really_too_many_parts(site: Real) -> None:
    """The store's own refusal, not a proxy's: chDB's streamed inserts do not tell of it."""
    client = client_of(site.store)
    client.command("SYSTEM STOP MERGES verdicts")
    client.command(
        "ALTER TABLE verdicts MODIFY SETTING parts_to_throw_insert = 3, parts_to_delay_insert = 3, max_delay_to_insert = 1"
    )
    site.send(ALL)
    site.hear()
    worker = site.worker(max_records=4)
    until(lambda: parts(site) >= 3)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 2)
    assert worker.alive
    assert parts(site) <= 4
    assert site.lag() > 0
    client.command(
        "ALTER TABLE verdicts RESET SETTING parts_to_throw_insert, parts_to_delay_insert, max_delay_to_insert"
    )
    client.command("SYSTEM START MERGES verdicts")
    site.settle()
    assert 0 < worker.stop()["retries"] < 60


def parts(site: Real) -> int:
    counted = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'verdicts' AND active"
    return int(client_of(site.store).rows(counted)[0][0])


def test_21_the_quarantine_is_away(site: Real, proxy: Proxy) -> None:
    """What is bad is kept before it is committed: as long as it cannot be, nothing is."""
    proxy.fault = On(DISK_FULL, "quarantine")
    site.produce([one._replace(partition=number % 4) for number, one in enumerate(POISON)])
    site.send(ALL)
    site.hear()
    worker = site.worker()
    until(lambda: proxy.refused["quarantine"] >= 5)
    assert sum(site.committed().values()) == 0
    assert worker.alive
    proxy.fault = lambda _: None
    until(site.finished)
    site.whole(poison=len(POISON))
    kept = {row.payload for row in site.store.quarantine(limit=100)}
    assert kept == {one.value for one in POISON}
    worker.stop()


# The store's own process ------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Iterator[StoreProcess]:
    process = StoreProcess(tmp_path / "store")
    process.start()
    yield process
    process.stop()


def test_2_the_store_is_killed_in_the_middle_of_inserts(kafka_broker: dict[str, str], own: StoreProcess) -> None:
    """Again and again, at some moment of a batch: a part of it is visible, and the same worker completes it."""
    with real(kafka_broker["address"], served_url(own.folder)) as site:
        site.send(flat(stories(4)))
        site.hear()
        worker = site.worker(max_records=10)
        until(lambda: sum(site.committed().values()) > 0)
        for pause in (0.0, 0.03, 0.07):
            before = sum(site.committed().values())
            time.sleep(pause)  # another moment each time
            own.kill()
            assert worker.alive
            own.start()
            until(lambda before=before: sum(site.committed().values()) > before)  # type: ignore[misc]
        site.settle()
        assert len(site.owns()) == 4, "its place in the group was never given away"
        assert worker.stop()["retries"] > 0


def test_9_the_store_is_away_for_long(kafka_broker: dict[str, str], own: StoreProcess) -> None:
    """Many sessions long, while 40 MB arrive: nothing is read away and heaped up, membership is kept, and then it goes on."""
    with real(kafka_broker["address"], served_url(own.folder)) as site:
        site.send(ALL[:20])
        worker = site.worker(max_records=50)
        until(lambda: site.lag() == 0)
        before, calm = site.committed(), worker.resident
        own.kill()
        heavy = [
            {
                **told("order", f"heavy-{number}", "placed 0m", {})[0],
                "attributes": {f"note {part}": "x" * 4_000 for part in range(10)},
            }
            for number in range(1_000)
        ]
        site.send(ALL[20:])
        site.send(heavy, each=5)
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 4 * SESSION_MS / 1000)
        assert worker.alive
        assert site.committed() == before
        assert worker.resident - calm < 32 * 1024 * 1024
        own.start()
        site.hear()
        site.settle()
        assert len(site.owns()) == 4
        worker.stop()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount: {error.strerror}")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()[:100]}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


class Filler:
    """Takes every byte that is left on a disk, and every byte that becomes free, until it is closed."""

    def __init__(self, path: Path):
        self.path = path
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        with self.path.open("wb", buffering=0) as file:
            while not self._done.wait(0.002):
                with contextlib.suppress(OSError):
                    while not self._done.is_set():
                        file.write(b"\0" * 4096)

    def close(self) -> None:
        self._done.set()
        self._thread.join()
        self.path.unlink()


def test_11_the_disk_is_really_full(kafka_broker: dict[str, str], tmp_path: Path) -> None:
    """A disk of its own is filled by somebody else, and emptied again: what did not fit is written then, and it was not spun."""
    with small_disk(tmp_path / "disk", 64):
        own = StoreProcess(tmp_path / "disk" / "store")
        own.start()
        try:
            with real(kafka_broker["address"], served_url(own.folder)) as site:
                filler = Filler(tmp_path / "disk" / "filler")
                site.send(ALL)
                site.hear()
                worker = site.worker(max_records=5)
                until(lambda: len(site.owns()) == 4)
                until(lambda: refused_for_space(site) >= 2)
                assert worker.alive
                filler.close()
                site.settle()
                assert 0 < worker.stop()["retries"] < 40
                site.whole()
        finally:
            own.stop()


def refused_for_space(site: Real) -> int:
    """How often the store's own process has refused to write."""
    counted = "SELECT sum(value) FROM system.errors WHERE name = 'NOT_ENOUGH_SPACE'"
    return int(client_of(site.store).rows(counted)[0][0])


def test_10_a_batch_may_take_as_long_as_its_statements(site: Real) -> None:
    """Ten of 30 s each lie between two polls; heartbeats say that the worker lives, not polls."""
    consumer = site.log.consumer()
    assert isinstance(consumer, KafkaEventConsumer)
    assert consumer._client.config["max_poll_interval_ms"] > 10 * 30_000
    consumer.close()
