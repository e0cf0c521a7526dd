"""Web access logs: every line of a real one is a record or told; formats as servers' configurations write them."""

from __future__ import annotations

import gzip
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from collectors.formats.access import AccessFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws, items_of

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "apache" / "access.log.gz"
COMBINED = (
    b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET /orders/10248?paid=1&a=%20 HTTP/1.1" 200 5 "-" "Mo \\"x\\""\n'
)
COMMON = b'::1 - ann lee [17/May/2015:10:05:03 -0130] "POST / HTTP/1.0" 404 -\r\n'
NGINX = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    "rt=$request_time up=$upstream_addr ${http_x_order}"
)


class TestAccess(FormatLaws):
    cases = (
        Case("defaults", AccessFormat(), COMBINED + COMMON + b"shop:443 " + COMBINED + b"\n" + COMBINED[:-6] + b"\n"),
        Case("nginx", AccessFormat(log_format=NGINX), COMBINED[:-1] + b" rt=0.1 up=a:1, b:2 10248\n"),
    )
    fragments = (b"[17/May/2015:10:05:03 +0000]", b'"GET / HTTP/1.1"', b" - - ", b"\\x", b'\\"', b"%zz")


def fields(layout: AccessFormat, line: str) -> object:
    (item,) = layout.message(line.encode(), {})
    return dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item


def test_a_real_log_loses_no_line() -> None:
    if not FIXTURE.exists():
        pytest.skip("the fixtures are not here")
    data = gzip.decompress(FIXTURE.read_bytes())
    decoder = AccessFormat().decoder()
    items = items_of([record for at in range(0, len(data), 65536) for record in decoder.feed(data[at : at + 65536])])
    assert decoder.close() == []
    assert len(items) == 10_000 == data.count(b"\n")
    torn = [item for item in items if isinstance(item, Unreadable)]
    # One line of it has lost its end, with the closing quote.
    assert [(item.line, item.raw[-12:]) for item in torn] == [(8899, b"com/bot.html")]
    for line, item in zip(data.splitlines(), items, strict=True):
        assert item.raw == line
        if isinstance(item, Row):
            assert datetime.fromisoformat(item.fields["time"]).utcoffset() is not None
            assert line.decode().split('"')[1].startswith(f"{item.fields['method']} {item.fields['target']}")
            assert f'" {item.fields["status"]} ' in line.decode()
            assert ("bytes" in item.fields) == (b'" 304 - "' not in line and b' - "' not in line.split(b'"', 2)[2][:8])


def test_what_a_line_becomes() -> None:
    assert fields(AccessFormat(), COMBINED.decode()) == {
        "client": "1.2.3.4", "time": "2015-05-17T10:05:03+00:00", "request": "GET /orders/10248?paid=1&a=%20 HTTP/1.1",
        "method": "GET", "target": "/orders/10248?paid=1&a=%20", "protocol": "HTTP/1.1", "path": "/orders/10248",
        "segments": ["orders", "10248"], "params": {"paid": "1", "a": " "}, "status": 200, "bytes": 5, "user_agent": 'Mo "x"',
    }  # fmt: skip
    assert fields(AccessFormat(), COMMON.decode()) == {
        "client": "::1", "user": "ann lee", "time": "2015-05-17T10:05:03-01:30", "request": "POST / HTTP/1.0", "method": "POST",
        "target": "/", "protocol": "HTTP/1.0", "path": "/", "segments": [""], "status": 404,
    }  # fmt: skip
    named = fields(AccessFormat(), "shop.example:443 " + COMBINED.decode())
    assert isinstance(named, dict)
    assert (named["host"], named["port"], named["client"], named["status"]) == ("shop.example", 443, "1.2.3.4", 200)


def said(method: str, path: str, *segments: str) -> dict[str, object]:
    return {"method": method, "target": path, "path": path, "segments": list(segments)}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (r"\x16\x03\x01", {"request": "\x16\x03\x01"}),
        (r"GET /\xe2\x82\xac", {"request": "GET /€", **said("GET", "/€", "€")}),
        (r"GET /\xff", {"request": r"GET /\xff", **said("GET", r"/\xff", r"\xff")}),
        ("GET /a b HTTP/1.1", {"request": "GET /a b HTTP/1.1", "protocol": "HTTP/1.1", **said("GET", "/a b", "a b")}),
        ("OPTIONS * HTTP/1.0", {"request": "OPTIONS * HTTP/1.0", "method": "OPTIONS", "target": "*", "protocol": "HTTP/1.0"}),
        (r"GET /a%2Fb/c\"", {"request": 'GET /a%2Fb/c"', **said("GET", '/a%2Fb/c"', "a/b", 'c"')}),
        ("", {"request": ""}),
        ("-", {}),
    ],
)  # fmt: skip
def test_requests_are_logged_as_they_came(request_: str, expected: dict[str, object]) -> None:
    found = fields(AccessFormat(), f'h - - [x] "{request_}" 400 -')
    assert found == {"client": "h", "time": "x", "status": 400, **expected}


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        (
            NGINX,
            COMBINED.decode().strip() + " rt=0.005 up=a:1, b:2 10248",
            {"request_time": "0.005", "upstream_addr": "a:1, b:2", "http_x_order": "10248"},
        ),
        (
            '[$time_iso8601] $remote_addr "$request_uri"',
            '[2015-05-17T10:05:03+00:00] h "/a?b=c"',
            {"time": "2015-05-17T10:05:03+00:00", "target": "/a?b=c", "segments": ["a"], "params": {"b": "c"}},
        ),
        (
            "%h %m %U%q %>s %D %{X-Order}i %{ms}T 100%%",
            "h GET /a?b 200 153 10248 7 100%",
            {
                "method": "GET",
                "path": "/a",
                "status": 200,
                "duration_us": 153,
                "http_x_order": "10248",
                "duration_ms": "7",
            },
        ),
        (
            "%!200,304{Referer}i|%{%Y-%m-%d %H:%M}t|%s",
            "r|2015-05-17 10:05|200",
            {"referer": "r", "time": "2015-05-17 10:05", "status": 200},
        ),
    ],
)
def test_formats_as_they_stand_in_a_configuration(log_format: str, line: str, expected: dict[str, object]) -> None:
    found = fields(AccessFormat(log_format=log_format), line)
    assert isinstance(found, dict), found
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("log_format", "reason"),
    [
        ("apache", "unknown log format 'apache'; there are common, combined"),
        ("%h %u %h", "has the field client twice"),
        ("$remote_addr$status", "nothing stands between client and status"),
        ("%h %y", "the directive %y, which is not known"),
        ("%h 5% of", "begins no directive"),
        ([], "at least 1"),
    ],
)
def test_formats_that_tell_no_fields_apart(log_format: object, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        AccessFormat.model_validate({"log_format": log_format})


def test_a_hostile_line_takes_no_time() -> None:
    for piece in ('"', "\\", '\\"', " [", " ", "[", '" "', "%", "&", "?a=b&", ":", " - "):
        for line in (piece * 100_000, f'h - - [x] "GET /{piece * 100_000} HTTP/1.1" 200 1'):
            assert not line.strip() or fields(AccessFormat(), line)
