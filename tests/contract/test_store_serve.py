"""The folder of an embedded store: who serves it, who holds it, and what the HTTP interface answers to others than our client."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import clickhouse_connect
import lz4.frame
import pytest

from pipeline.errors import Unavailable
from pipeline.store.embedded import open_embedded
from pipeline.store.folder import Folder, Served
from pipeline.store.serve import serve
from pipeline.store.statement import BadRequest, parse
from tests.contract.stores import client_of, database, event, served_folder, serving

__all__ = ["served_folder"]

HOLD = """
import sys
from pathlib import Path
from pipeline.store.folder import Folder
folder = Folder(Path(sys.argv[1]))
folder.make()
assert folder.lock()
print("held", flush=True)
sys.stdin.readline()
"""

LEAVE = """
import sys
from pathlib import Path
from pipeline.store.embedded import open_embedded
from pipeline.store.serve import serve
folder = Path(sys.argv[1])
store, server = open_embedded(folder, {}), serve(folder)
store.migrate()
raise SystemExit(3)
"""


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.01)


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


class Interface:
    """The HTTP interface of a served folder, as curl would use it."""

    def __init__(self, folder: Path):
        served = Folder(folder).served()
        assert served is not None
        self.url = served.url
        self.token = Folder(folder).token({})

    def ask(
        self, sql: str | bytes = b"", query: str = "", headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Reply:
        body = sql.encode() if isinstance(sql, str) else sql
        request = urllib.request.Request(
            f"{self.url}/?{query}", data=body if method == "POST" else None, method=method,
            headers={"X-ClickHouse-Key": self.token} if headers is None else headers,
        )  # fmt: skip
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return Reply(answer.status, answer.read(), {k.lower(): v for k, v in answer.headers.items()})
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.read(), {k.lower(): v for k, v in error.headers.items()})


@pytest.fixture
def interface(served_folder: Path) -> Interface:
    return Interface(served_folder)


class TestToken:
    def test_its_file_is_for_its_owner_only(self, served_folder: Path) -> None:
        assert stat.S_IMODE((served_folder / "token").stat().st_mode) == 0o600
        assert len((served_folder / "token").read_text().strip()) > 30

    def test_every_way_to_bring_it(self, interface: Interface) -> None:
        token = interface.token
        basic = "Basic " + b64encode(f"anyone:{token}".encode()).decode()
        for headers in ({"X-ClickHouse-Key": token}, {"Authorization": basic}, {"Authorization": f"Bearer {token}"}):
            assert interface.ask("SELECT 1", headers=headers).body == b"1\n"
        assert interface.ask("SELECT 1", query=f"password={token}", headers={}).body == b"1\n"

    @pytest.mark.parametrize(
        "headers", [{}, {"X-ClickHouse-Key": "wrong"}, {"X-ClickHouse-Key": "ü"}, {"Authorization": "Basic §"}]
    )
    def test_without_it_nothing_is_answered_but_ping(self, interface: Interface, headers: dict[str, str]) -> None:
        encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}
        reply = interface.ask("SELECT 1", headers=encoded)
        assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (403, "516")
        with urllib.request.urlopen(f"{interface.url}/ping", timeout=10) as answer:
            assert answer.read() == b"Ok.\n"

    def test_a_wrong_one_is_unavailable_to_our_client(self, served_folder: Path) -> None:
        with pytest.raises(Unavailable) as refused:
            open_embedded(served_folder, {"LASTSEEN_STORE_TOKEN": "wrong-s3cret"})
        assert "s3cret" not in str(refused.value)

    def test_the_environments_rules(self, tmp_path: Path) -> None:
        assert Folder(tmp_path).token({"LASTSEEN_STORE_TOKEN": "mine"}) == "mine"
        assert not (tmp_path / "token").exists()

    def test_of_many_that_make_one_all_have_the_same(self, tmp_path: Path) -> None:
        tokens: list[str] = []
        threads = [threading.Thread(target=lambda: tokens.append(Folder(tmp_path).token({}))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(tokens) == 16
        assert len(set(tokens)) == 1


class TestInterface:
    def test_formats(self, interface: Interface) -> None:
        sql = "SELECT 1 AS a, 'ü' AS b"
        assert interface.ask(sql).body == "1\tü\n".encode()
        assert interface.ask(sql + " FORMAT CSVWithNames;").body == '"a","b"\n1,"ü"\n'.encode()
        assert json.loads(interface.ask(sql, "default_format=JSON").body)["data"] == [{"a": 1, "b": "ü"}]
        reply = interface.ask(sql, headers={"X-ClickHouse-Key": interface.token, "X-ClickHouse-Format": "JSONEachRow"})
        assert json.loads(reply.body) == {"a": 1, "b": "ü"}
        assert reply.headers["x-clickhouse-format"] == "JSONEachRow"

    def test_parameters_settings_and_database(self, interface: Interface) -> None:
        reply = interface.ask(
            "SELECT {x:Int64} + 1, {y:String}, getSetting('max_threads')", "param_x=41&param_y=a%27b&max_threads=1"
        )
        assert reply.body == b"42\ta\\'b\t1\n"
        assert interface.ask("SELECT currentDatabase()", "database=system").body == b"system\n"
        assert interface.ask("SELECT getSetting('max_threads') = 1").body == b"0\n"

    @pytest.mark.parametrize("query", ["", "wait_end_of_query=1"])
    def test_a_statement_leaves_nothing_for_the_next(self, interface: Interface, query: str) -> None:
        """Handles are used again: for the same settings, and with nothing of what was asked before."""
        for _ in range(3):
            default = interface.ask("SELECT getSetting('max_threads'), currentDatabase()", query=query).body
            asked = interface.ask(
                "SELECT getSetting('max_threads'), currentDatabase(), {x:UInt8}",
                query=f"{query}&max_threads=3&database=system&param_x=5",
            )
            assert asked.body == b"3\tsystem\t5\n"
            unbound = interface.ask("SELECT {x:UInt8}", query=f"{query}&max_threads=3&database=system")
            assert unbound.status >= 400, unbound.body
            interface.ask("SELECT throwIf(number = 100000) FROM numbers(200000)", query=query)
            for begin in ("", "SELECT 1; "):
                interface.ask(f"{begin}SET max_threads = 7", query=query)
                interface.ask(f"{begin}USE system", query=query)
                interface.ask(f"{begin}CREATE TEMPORARY TABLE left_over (x UInt8) ENGINE = Memory", query=query)
            assert interface.ask("SELECT getSetting('max_threads'), currentDatabase()", query=query).body == default
            assert interface.ask("SELECT * FROM left_over", query=query).status == 404

    def test_get_reads_only(self, interface: Interface) -> None:
        assert interface.ask(query="query=" + quote("SELECT 7"), method="GET").body == b"7\n"
        reply = interface.ask(query="query=" + quote("CREATE DATABASE forbidden"), method="GET")
        assert reply.headers["x-clickhouse-exception-code"] == "164"

    @pytest.mark.parametrize(
        ("sql", "query", "status", "code"),
        [
            ("SELEC 1", "", 400, "62"), ("SELECT * FROM nowhere.nothing", "", 404, "81"), ("SELECT * FROM nothing", "", 404, "60"),
            ("SELECT 1", "no_such_setting=1", 400, "115"), ("SELECT 1", "a%20b%3D1=2", 400, "115"),
            ("SELECT {x:Int64}", "", 400, "456"), ("SELECT 1", "compress=1", 501, "48"),
            ("SELECT throwIf(1) FORMAT JSON", "wait_end_of_query=1", 400, "395"),
            ("INSERT INTO nothing (a) FORMAT Native\nx", "", 404, "60"),
        ],
    )  # fmt: skip
    def test_errors_have_clickhouses_codes(
        self, interface: Interface, sql: str, query: str, status: int, code: str
    ) -> None:
        reply = interface.ask(sql, query)
        assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (status, code)
        assert reply.body.startswith(f"Code: {code}. DB::Exception:".encode())

    def test_inserts_in_every_shape(self, interface: Interface) -> None:
        name = database()
        interface.ask(f"CREATE DATABASE {name}")
        assert (
            interface.ask("CREATE TABLE t (a Int64, b String) ENGINE = MergeTree ORDER BY a", f"database={name}").status
            == 200
        )
        into = f"database={name}"
        rows = b"1\tx\n2\ty\n"
        assert interface.ask(b"INSERT INTO t (a, b) FORMAT TSV\n" + rows, into).status == 200
        as_query = f"{into}&query=" + quote("INSERT INTO t FORMAT TSV")
        assert interface.ask(rows, as_query).status == 200
        lz4_packed = lz4.frame.compress(rows)  # type: ignore[attr-defined]
        for encoding, packed in (("gzip", gzip.compress(rows)), ("lz4", lz4_packed)):
            headers = {"X-ClickHouse-Key": interface.token, "Content-Encoding": encoding}
            assert interface.ask(packed, as_query, headers).status == 200
        assert interface.ask("INSERT INTO t VALUES (3, 'FORMAT TSV')", into).status == 200
        assert interface.ask("INSERT INTO t SELECT 4, 'z'", into).status == 200
        binary = b"INSERT INTO `t` (`a`, `b`) SETTINGS async_insert=0 FORMAT RowBinary\n" + bytes(8) + b"\x03\x00\n'"
        assert interface.ask(binary, into).status == 200
        assert interface.ask("SELECT count(), countIf(b = '\\0\\n\\'') FROM t", into).body == b"11\t1\n"

    def test_damaged_compression_is_refused(self, interface: Interface) -> None:
        headers = {"X-ClickHouse-Key": interface.token, "Content-Encoding": "gzip"}
        assert (
            interface.ask(gzip.compress(b"SELECT 1")[:-4], headers=headers).headers["x-clickhouse-exception-code"]
            == "271"
        )

    def test_clickhouse_connect_as_anyone_would_use_it(self, interface: Interface) -> None:
        host, port = interface.url.removeprefix("http://").split(":")
        client = clickhouse_connect.get_client(host=host, port=int(port), password=interface.token, compress=True)
        name = database()
        client.command(f"CREATE DATABASE {name}")
        client.command(
            f"CREATE TABLE {name}.t (a Int64, b Nullable(String), c Array(String)) ENGINE = MergeTree ORDER BY a"
        )
        client.insert("t", [[1, None, []], [2, "ü\x00", ["x"]]], database=name, column_names=["a", "b", "c"])
        assert client.query(f"SELECT * FROM {name}.t ORDER BY a").result_rows == [(1, None, []), (2, "ü\x00", ["x"])]
        with client.query_rows_stream("SELECT number FROM numbers({n:UInt64})", {"n": 200_000}) as stream:
            assert sum(row[0] for row in stream) == 200_000 * 199_999 // 2
        assert client.command(f"EXISTS TABLE {name}.t") == 1
        assert client.ping()
        client.close()

    def test_a_stream_that_fails_half_way_is_not_taken_for_complete(self, served_folder: Path) -> None:
        store = open_embedded(served_folder, {}, "default")
        rows = client_of(store).stream(
            "SELECT throwIf(number = 3000000) FROM numbers(5000000) SETTINGS max_block_size = 10000, max_threads = 1"
        )
        with pytest.raises(Unavailable):
            sum(1 for _ in rows)
        store.close()

    def test_many_at_once(self, served_folder: Path) -> None:
        store = open_embedded(served_folder, {}, database())
        store.migrate()
        wrong: list[str] = []

        def use(number: int) -> None:
            for turn in range(8):
                store.write_events([event(f"{turn}-{i}", str(number)) for i in range(50)])
                if len(store.load_events([("order", str(number))])["order", str(number)]) != (turn + 1) * 50:
                    wrong.append(f"{number}/{turn}")
                if sum(1 for _ in client_of(store).stream("SELECT number FROM numbers(100000)")) != 100_000:
                    wrong.append(f"{number}/{turn}: stream")

        threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert store.count_events() == 6 * 8 * 50
        store.close()


class TestFolder:
    def test_a_served_folder_is_found_and_a_folder_that_is_free_is_opened(self, tmp_path: Path) -> None:
        with serving(tmp_path):
            store = open_embedded(tmp_path, {})
            assert "served at" in store.name
            store.migrate()
            store.write_events([event("a")])
            store.close()
        assert not (tmp_path / "served.json").exists()
        store = open_embedded(tmp_path, {})
        assert "served at" not in store.name
        assert store.count_events() == 1
        store.close()

    def test_a_client_follows_its_folder_to_another_port(self, tmp_path: Path) -> None:
        with serving(tmp_path) as process:
            store = open_embedded(tmp_path, {})
            store.migrate()
            process.kill()
            process.wait()
            with pytest.raises(Unavailable):
                store.count_events()
        with serving(tmp_path):
            until(lambda: _works(store.count_events))
            store.close()

    def test_a_stale_record_fools_nobody(self, served_folder: Path, tmp_path: Path) -> None:
        here = Folder(served_folder).served()
        assert here is not None
        folder = Folder(tmp_path)
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        folder.announce(here._replace(pid=gone.pid))
        assert folder.served() is None
        # A stranger on the port, even one that answers pings, is not sent the token.
        folder.announce(here._replace(pid=os.getpid(), id="another"))
        assert folder.served() is None
        (tmp_path / "served.json").write_text("{")
        assert folder.served() is None
        store = open_embedded(tmp_path, {})
        store.close()

    def test_only_who_announced_withdraws(self, tmp_path: Path) -> None:
        folder, mine, other = Folder(tmp_path), Served("u", 1, 1, "a"), Served("u", 1, 1, "b")
        folder.announce(other)
        folder.withdraw(mine)
        assert (tmp_path / "served.json").exists()
        folder.withdraw(other)
        assert not (tmp_path / "served.json").exists()

    def test_who_is_in_the_way_is_named(self, tmp_path: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        for open_it in (lambda: open_embedded(tmp_path, {}, patience=0.1), lambda: serve(tmp_path)):
            with pytest.raises(Unavailable, match=rf"process {process.pid} \(-c"):
                open_it()
        process.communicate("\n")
        store = open_embedded(tmp_path, {})
        store.close()

    def test_one_process_may_hold_it_and_serve_it(self, tmp_path: Path) -> None:
        store = open_embedded(tmp_path, {})
        store.migrate()
        server = serve(tmp_path)
        store.write_events([event("a")])
        through = Interface(tmp_path).ask("SELECT count() FROM lastseen.events")
        assert through.body == b"1\n"
        again = open_embedded(tmp_path, {})
        assert "served at" not in again.name
        assert again.count_events() == 1
        again.close()
        server.stop()
        assert store.count_events() == 1
        store.close()
        assert Folder(tmp_path).lock()
        Folder(tmp_path).unlock()

    def test_a_process_that_ends_without_a_word_ends_well(self, tmp_path: Path) -> None:
        ended = subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path)], capture_output=True, text=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (3, "")
        assert not (tmp_path / "served.json").exists()


def _works(what: Callable[[], object]) -> bool:
    try:
        what()
    except Unavailable:
        return False
    return True


@pytest.mark.parametrize(
    "sql", ["INSERT INTO t VALUES (1, 'a FORMAT b')", "INSERT INTO t SELECT 1 FORMAT Null", "SELECT 'INSERT INTO t FORMAT TSV\n'"]
)  # fmt: skip
def test_what_is_no_insert_with_rows_is_left_whole(sql: str) -> None:
    statement = parse({}, {}, sql.encode(), read_only=False)
    assert (statement.sql, statement.rows_format) == (sql.encode(), "")


def test_a_form_carries_long_parameters_but_no_tables() -> None:
    headers = {"content-type": "multipart/form-data; boundary=XX"}
    part = b'--XX\r\nContent-Disposition: form-data; name="param_x"\r\n\r\na\r\n--Xb\r\n--XX'
    query = b'\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n--XX--\r\n'
    statement = parse({}, headers, part + query, read_only=False)
    assert statement.sql == b"SELECT {x:String}"
    assert statement.parameters == {"x": "a\r\n--Xb"}
    table = b'--XX\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--XX--\r\n'
    with pytest.raises(BadRequest):
        parse({}, headers, table, read_only=False)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = {thread for thread in threading.enumerate() if thread.name == "store-server"}
    yield
    assert {thread for thread in threading.enumerate() if thread.name == "store-server"} <= before
