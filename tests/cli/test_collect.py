"""``lastseen collect``: check, try and run, as a person types them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import cli
from tests.cli.test_processes import Place, until

COLLECTOR = """\
collector: shop-log
input: {file: {paths: ['*.log']}}
format: json
zone: Europe/Berlin
events:
  - system: shop
    step: placed
    time: at
    keys: {order: order}
    when: {event: placed}
    attributes: {amount: {field: total, as: number}}
"""
LINES = [
    '{"event": "placed", "at": "2026-03-01T12:00:00", "order": 1, "total": "12.5"}',
    '{"event": "ping"}',
    '{"event": "placed", "order": 2}',
    "Traceback (most recent call last):",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("LASTSEEN_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(COLLECTOR)
    (tmp_path / "app.log").write_text("".join(line + "\n" for line in LINES))
    return tmp_path


def run(*words: str, code: int = 0, text: str | None = None) -> Result:
    try:
        result = CliRunner().invoke(cli, words, standalone_mode=True, input=text)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert result.exit_code == code, result.output
    return result


def test_check_says_what_is_read_and_who_is_vouched_for(folder: Path) -> None:
    said = run("collect", "check", "shop.yaml").output
    assert "shop.yaml is right" in said
    assert "file (paths *.log), as json" in said
    assert "placed, with order" in said
    assert "for shop: while it runs" in said
    (folder / "shop.yaml").write_text(COLLECTOR + "vouch: none\n")
    assert "vouch for shop: others write what it reads" in run("collect", "check", "shop.yaml").output


def test_check_names_line_and_field(folder: Path) -> None:
    (folder / "shop.yaml").write_text(COLLECTOR.replace("zone: Europe/Berlin", "zome: Europe/Berlin"))
    said = run("collect", "check", "shop.yaml", code=2).output
    assert "shop.yaml:4: zome: is no word of this language" in said


def test_try_shows_what_each_line_became(folder: Path) -> None:
    said = run("collect", "try", "shop.yaml", "app.log", code=1).output
    assert "placed completed in shop at 2026-03-01T11:00:00Z: order 1" in said
    assert "nothing: it met no condition" in said
    assert "quarantined: placed: at: the time is missing" in said
    assert "quarantined: not JSON" in said
    assert "4 records: 1 events, 2 records with faults, 1 that made nothing" in said
    assert not (folder / ".lastseen").exists()  # nothing was sent, and nothing is remembered


def test_try_from_standard_input_and_for_programs(folder: Path) -> None:
    rows = json.loads(run("collect", "try", "shop.yaml", "-", "--format", "json", text=LINES[0] + "\n").output)
    assert [(row["place"], row["events"][0]["attributes"]) for row in rows] == [("-:1", {"amount": 12.5})]
    text = run("collect", "try", "shop.yaml", "app.log", "--format", "csv", code=1).output
    assert [row["became"] for row in csv.DictReader(io.StringIO(text))] == [
        "event",
        "nothing",
        "quarantined",
        "quarantined",
    ]
    assert (
        len(json.loads(run("collect", "try", "shop.yaml", "app.log", "--format", "json", "--limit", "1").output)) == 1
    )


def test_try_says_why_a_span_makes_no_event(folder: Path) -> None:
    (folder / "otlp.yaml").write_text(
        "collector: spans\ninput: {otlp: {http: 0}}\nformat: {otlp: {keys: {order.id: order}}}\n"
    )
    start = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000"}
    order = [{"key": "order.id", "value": {"stringValue": "7"}}]
    spans = [
        {"traceId": "1" * 32, "spanId": "1" * 16, "name": "place", "kind": 2, "attributes": order, **start},
        {"traceId": "1" * 32, "spanId": "2" * 16, "name": "SELECT", "kind": 1, **start},
        {"traceId": "1" * 32, "spanId": "3" * 16, "name": "ping", "kind": 2, **start},
    ]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    request = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    logs = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [{"body": {"stringValue": "hm"}}]}]}]}
    # On several lines: were it taken apart for want of events, no line of it would be JSON.
    (folder / "spans.json").write_text(json.dumps(request, indent=1))
    said = run("collect", "try", "otlp.yaml", "spans.json").output
    assert "place started in shop" in said
    assert "nothing: an inner span that nobody named" in said
    assert "nothing: no business key" in said
    assert "4 records: 2 events, 0 records with faults, 2 that made nothing" in said
    (folder / "logs.json").write_text(json.dumps(logs))
    (told,) = json.loads(run("collect", "try", "otlp.yaml", "logs.json", "--format", "json").output)
    assert "lacks a step" in told["nothing"]


def test_once_reads_judges_and_remembers(folder: Path) -> None:
    said = run("collect", "run", "shop.yaml", "--once", "--complete-through", "now").output
    assert "read 4, events 1, quarantined 2" in said
    assert "1 records met no condition" in said
    assert "order: 1 transactions" in said
    assert "read 0, events 0, quarantined 0" in run("collect", "run", "shop.yaml", "--once").output
    assert "placed" in run("lookup", "1").output


def test_what_makes_no_sense_is_refused(folder: Path) -> None:
    assert "goes with --once" in run("collect", "run", "shop.yaml", "--complete-through", "now", code=2).output
    (folder / "two.yaml").write_text(COLLECTOR)
    assert "is called shop-log already" in run("collect", "run", "shop.yaml", "two.yaml", code=2).output
    assert "cannot be read" in run("collect", "check", "none.yaml", code=2).output


def test_what_an_input_refused_is_told_at_the_end(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    (tmp_path / "syslog.yaml").write_text(
        f"collector: syslog\ninput: {{syslog: {{host: 127.0.0.1, tcp: {address[1]}, max_connections: 1}}}}\nformat: syslog\n"
        "events: [{system: shop, step: placed, time: time, keys: {order: sd.o@1.order}}]\n"
    )
    try:
        running = place.start("collect", "run", str(tmp_path / "syslog.yaml"))
        place.until_said(running, "collecting into")
        with socket.create_connection(address):
            with socket.create_connection(address) as second, contextlib.suppress(ConnectionError):
                second.settimeout(20)
                assert second.recv(1) == b""
            running.terminate()
            assert running.wait(60) == 0
        said = place.said(running)
        assert "syslog: read 0, events 0, quarantined 0" in said
        assert ", requests refused 1" in said
        assert "refused: too many connections (1)" in said
    finally:
        for process in place.running:
            process.kill()
            process.wait()


def test_several_run_in_one_process_and_end_with_a_goodbye(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(COLLECTOR.replace("shop-log", name).replace("*.log", f"{name}.log"))
        (tmp_path / f"{name}.log").write_text(LINES[0] + "\n")
    try:
        running = place.start("collect", "run", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"))
        place.until_said(running, "collecting into")
        positions = tmp_path / "data" / "collectors"
        until(lambda: (positions / "a.json").exists() and (positions / "b.json").exists())
        other = place.start("collect", "run", str(tmp_path / "a.yaml"))
        assert other.wait(60) == 3
        assert "runs in another process already" in place.said(other)
        running.terminate()
        assert running.wait(60) == 0
        assert "a: read 1, events 1" in place.said(running)
        assert "b: read 1, events 1" in place.said(running)
    finally:
        for process in place.running:
            process.kill()
            process.wait()
