"""Migrations: in order, recorded, by several processes at once, and never over a newer or another store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import Invalid, Unavailable
from pipeline.store import migrate
from pipeline.store.clickhouse import ClickHouseStore
from pipeline.store.client import Client, parse_address
from pipeline.store.contract import HearingRow, SourceRow
from pipeline.store.embedded import open_embedded
from pipeline.store.tables import Table
from tests.contract.stores import client_of, database, event, served_folder

__all__ = ["served_folder"]

ROOT = Path(__file__).parents[2]
MIGRATE = """
import sys
from pathlib import Path
from pipeline.store.embedded import open_embedded
store = open_embedded(Path(sys.argv[1]), {}, sys.argv[2])
sys.stdin.readline()
store.migrate()
print(store.check())
"""


@pytest.fixture
def client(served_folder: Path) -> Iterator[Client]:
    """Of a database that is not there yet."""
    store = open_embedded(served_folder, {}, database())
    yield client_of(store)
    store.close()


def migrations(*changes: tuple[str, str]) -> list[migrate.Migration]:
    return [*migrate.migrations(), *(migrate.Migration(*change) for change in changes)]


def test_numbered_in_order_without_gap() -> None:
    names = [migration.name for migration in migrate.migrations()]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_only_what_is_missing_is_applied(client: Client) -> None:
    known = migrations()
    assert migrate.apply(client, known[:3]) == [migration.name for migration in known[:3]]
    assert migrate.pending(client) == [migration.name for migration in known[3:]]
    assert migrate.apply(client) == [migration.name for migration in known[3:]]
    assert migrate.apply(client) == migrate.pending(client) == []


def test_what_was_parked_under_the_old_table_is_taken_over_and_stays_nowhere_else(client: Client) -> None:
    known = migrations()
    before = next(place for place, migration in enumerate(known) if migration.name.startswith("0009"))
    migrate.apply(client, known[:before])
    rows = [event(f"{i}", keys={"payment": "ü"}, seq=i + 1) for i in range(3)]
    columns = ("id", "alias_type", "alias", "partition", "source", "epoch", "recorded_at", "via", "body")
    types = ("String", "String", "String", "UInt32", "String", "Int64", "DateTime64(6, 'UTC')", "String", "String")
    for row in [*rows, rows[0]]:
        said = (f"{row.event.id}|payment:ü", "payment", "ü", 3, "shop-1", 7, row.event.recorded_at, "", row.body)
        client.insert(Table("parked", columns, types), [[value] for value in said])
    for _ in range(2):
        for statement in known[before].statements():  # a process that died half way, and one that comes after it
            client.command(statement)
    migrate.apply(client, known)
    kept = ClickHouseStore(client).load_kept([("payment", "ü")])["payment", "ü"]
    assert [row.event for row in kept] == [row.event for row in rows]
    assert [(row.id, row.kept_at, row.partition) for row in kept] == [
        (f"{row.event.id}|payment:ü", row.event.recorded_at, 3) for row in rows
    ]
    assert client.rows("SELECT seq FROM kept FINAL ORDER BY seq") == [(1,), (2,), (3,)]
    assert client.rows("SELECT count() FROM parked") == [(0,)]


def test_what_was_heard_before_is_what_is_known_now(client: Client) -> None:
    known = migrations()
    before = next(place for place, migration in enumerate(known) if migration.name.startswith("0015"))
    migrate.apply(client, known[:before])
    store = ClickHouseStore(client)
    first = HearingRow("shop", "deaf", "shop-1", 7, 1, -(2**62), 2**62, "", 10, 4)
    then, now = first._replace(detail="ü", known_at=20), first._replace(detail="{}", known_at=20, position=5)
    other = first._replace(source="")
    for rows in ([now, other], [first], [then]):
        store.write_hearing(rows)
    for _ in range(2):
        for statement in known[before].statements():
            client.command(statement)
    migrate.apply(client, known)
    assert store.hearing() == [other, now]
    later = now._replace(known_at=30, position=1)
    store.write_hearing([later])
    store.write_hearing([then])
    assert store.hearing() == [other, later]
    assert store.hearing(20) == [other, now]
    assert client.rows("SELECT count() FROM hearing_now FINAL") == [(2,)]


def test_before_anything_is_applied_the_store_says_what_to_do(client: Client) -> None:
    (problem,) = ClickHouseStore(client).check()
    assert "lastseen setup" in problem
    with pytest.raises(Unavailable, match="lastseen setup"):
        ClickHouseStore(client).write_events([event("a")])


def test_a_newer_store_is_refused_by_name(client: Client) -> None:
    migrate.apply(
        client,
        migrations(("0099_future", "CREATE TABLE IF NOT EXISTS future (a Int64) ENGINE = {replacing} ORDER BY a;")),
    )
    with pytest.raises(Invalid, match=rf"0099_future.*{migrate.migrations()[-1].name}"):
        migrate.apply(client)
    assert "0099_future" in ClickHouseStore(client).check()[0]


def test_changed_content_is_refused(client: Client) -> None:
    *before, last = migrations()
    other = migrate.Migration(last.name, last.text + "\nSELECT 1;\n")
    migrate.apply(client, [*before, other])
    with pytest.raises(Invalid, match=last.name):
        migrate.apply(client)


def test_a_store_that_an_older_version_set_up_says_so(client: Client) -> None:
    """As a server's store between the upgrade of the workers and `lastseen setup`."""
    store = ClickHouseStore(client)
    migrate.apply(client, [one for one in migrations() if one.name < "0013"])
    assert "0013_blind" in store.check()[0]
    with pytest.raises(Unavailable, match="older lastseen; run lastseen setup"):
        store.sources()
    with pytest.raises(Unavailable, match="older lastseen; run lastseen setup"):
        store.write_sources([SourceRow("shop-1", 7, ("shop",), "live", 1, 1, 1, 1, 1, 0, 1, 0, 1, blind=((1, 2),))])
    store.migrate()
    assert store.sources() == []


def test_better_comments_change_nothing(client: Client) -> None:
    first, *rest = migrations()
    migrate.apply(client)
    assert migrate.apply(client, [migrate.Migration(first.name, "-- Said better.\n" + first.text), *rest]) == []


def test_four_processes_at_once(served_folder: Path) -> None:
    name = database()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, str(served_folder), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.communicate(timeout=120)[0].strip() for process in processes] == ["[]"] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()
    store = open_embedded(served_folder, {}, name)
    store.write_events([event("a")])
    assert store.count_events() == 1
    assert migrate.pending(client_of(store)) == []
    store.close()


def test_the_clusters_ddl_is_that_of_the_same_files() -> None:
    assert (ROOT / "deploy" / "clickhouse" / "cluster.sql").read_text(encoding="utf-8") == migrate.cluster_ddl()
    for migration in migrate.migrations():
        for statement in migration.statements("main"):
            assert "{" not in statement
            # What one node inserts is replicated to the others.
            assert " ON CLUSTER `main`" in statement or statement.startswith("INSERT INTO")
            assert "ENGINE = Replicated" in statement or not statement.startswith("CREATE TABLE")


@pytest.mark.parametrize("name", ["", "a b", "x`; DROP DATABASE y", "ü", "a.b"])
def test_names_that_could_be_sql_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        migrate.quoted(name)


class TestAddress:
    def test_a_password_in_the_url_is_refused_and_not_repeated(self) -> None:
        with pytest.raises(Invalid) as refused:
            parse_address("clickhouse://u:s3cret@h:1/db", {})
        assert "s3cret" not in str(refused.value)

    def test_the_password_is_in_no_repr(self) -> None:
        address = parse_address(
            "clickhouse://h/db?secure=1&cluster=c",
            {"LASTSEEN_CLICKHOUSE_PASSWORD": "s3cret", "LASTSEEN_CLICKHOUSE_USER": "u"},
        )
        assert "s3cret" not in repr(address)
        assert (address.user, address.password, address.port, address.database) == ("u", "s3cret", 8443, "db")

    @pytest.mark.parametrize(
        "url", ["postgres://h/db", "clickhouse:///db", "chdb://folder", "chdb:///", "clickhouse://h:x/db", "clickhouse://h?ssl=1"]
    )  # fmt: skip
    def test_others_are_refused(self, url: str) -> None:
        with pytest.raises(Invalid):
            parse_address(url, {})

    def test_nobody_there_is_unavailable_and_says_where(self) -> None:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            Client(parse_address("clickhouse://127.0.0.1:1/db", {"LASTSEEN_CLICKHOUSE_PASSWORD": "s3cret"}))
