"""A collector's file: what it says, and that each mistake is refused with its line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.collector_file import CollectorFile, read_collector
from schemas.errors import Invalid
from schemas.times import MINUTE, SECOND

WHOLE = """\
collector: shop-log
input: {file: {paths: ['/var/log/shop/*.log'], exclude: '*.tmp'}}
format: {regex: {pattern: '(?P<at>\\S+) (?P<order>\\d+)'}}
zone: Europe/Berlin
delay: 30s
clock_offset: -2m
year: before
pii: {customer_name: hash, ip: remove}
events:
  - {system: shop, step: placed, time: at, keys: {order: order}}
  - {system: bank, step: paid, time: at, keys: {order: order}, when: paid}
"""


def read(tmp_path: Path, text: str) -> CollectorFile:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return read_collector(path)


def test_what_a_file_says(tmp_path: Path) -> None:
    file = read(tmp_path, WHOLE)
    collector = file.collector
    assert (collector.name, collector.delay, collector.clock_offset) == ("shop-log", 30 * SECOND, -2 * MINUTE)
    assert (collector.input.name, collector.format.name, collector.pii["ip"]) == ("file", "regex", "remove")
    assert file.systems == ("bank", "shop")  # a file's own system wrote it
    assert file.base == tmp_path


def test_who_is_vouched_for(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE + "vouch: none\n").systems == ()
    assert read(tmp_path, WHOLE + "vouch: [shop]\n").systems == ("shop",)
    topic = WHOLE.replace("{file: {paths: ['/var/log/shop/*.log'], exclude: '*.tmp'}}", "stdin")
    assert read(tmp_path, topic).systems == ("bank", "shop")


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "reason"),
    [
        ("collector: shop-log", "name: shop-log", 1, None, "is no collector"),
        ("shop-log", "../shop", 1, "collector", "does not begin with a point"),
        ("{file: ", "{files: ", 2, "input", "no input is called 'files'; there are file, "),
        ("paths: [", "path: [", 2, "input.file.path", "is no word of this language"),
        ("/var/log/shop/*.log", "../../etc/*", 2, "input.file.paths.0", "`..` is not followed"),
        ("{regex: {pattern: '(?P<at>\\S+) (?P<order>\\d+)'}}", "yaml", 3, "format", "no format is called 'yaml'"),
        ("(?P<order>\\d+)", "(?P<order>\\d+", 3, "format.regex.pattern", "pattern"),
        ("Europe/Berlin", "Middle/Earth", 4, "zone", "unknown time zone"),
        ("30s", "30", 5, "delay", "needs its unit"),
        ("-2m", "soon", 6, "clock_offset", "bad duration"),
        ("year: before", "year: 12", 7, "year", ""),
        ("ip: remove", "ip: keep", 8, "pii.ip", ""),
        ("keys: {order: order}, when", "key: {order: order}, when", 11, "events.1.key", "is no word"),
        ("year: before", "vouch: [warehouse]", 7, "vouch.0", "no event of this collector is of the system 'warehouse'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_line_and_field(
    tmp_path: Path, old: str, new: str, line: int | None, field: str | None, reason: str
) -> None:
    assert old in WHOLE
    with pytest.raises(Invalid) as caught:
        read(tmp_path, WHOLE.replace(old, new, 1))
    error = caught.value
    assert error.file == str(tmp_path / "c.yaml")
    assert error.line == line
    assert (error.field or "").startswith(field or "")
    assert reason in error.reason


def test_events_are_asked_for_where_records_are_none(tmp_path: Path) -> None:
    short = "collector: a\ninput: stdin\nformat: json\n"
    with pytest.raises(Invalid, match="events: is missing"):
        read(tmp_path, short)
    assert read(tmp_path, short.replace("json", "events")).collector.events == ()
