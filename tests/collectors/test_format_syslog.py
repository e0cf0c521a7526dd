"""Syslog. Proves: the laws of formats; the examples of RFC 5424 and RFC 3164 and of what is really sent; structured data with its
escapes; years that are not written; messages in a format of their own; any bytes are one record, read or told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.formats.contract import Ready
from collectors.formats.syslog import FACILITIES, SEVERITIES, SyslogFormat
from collectors.formats.syslog_data import structured_data
from collectors.inputs.record import Row, Unreadable
from schemas.times import parse_time
from tests.collectors.format_laws import Case, FormatLaws
from tests.collectors.receiving import event, fields, reason

NEW = (
    b'<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" '
    b'eventID="1011"][examplePriority@32473 class="high"] \xef\xbb\xbfAn application event log entry...'
)
OLD = b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8"


class TestSyslog(FormatLaws):
    cases = (
        Case("lines", SyslogFormat(), NEW + b"\n" + OLD + b"\r\n\n<999>x\n<13>\n", as_message=False),
        Case("content", SyslogFormat(content="json"), b'<14>app: {"a": 1}\n<14>app: {"a":\n', as_message=False),
    )
    fragments = (
        b"<34>",
        b"<165>1 ",
        b"2003-10-11T22:14:15Z ",
        b"- - - ",
        b'[a b="',
        b'\\"]',
        b"Oct 11 22:14:15 ",
        b"Feb 29 ",
    )


def read(body: bytes, layout: SyslogFormat | None = None, received: str = "") -> Any:
    headers = {"received": str(parse_time(received))} if received else {}
    (item,) = (layout or SyslogFormat()).message(body, headers)
    return item


def test_rfc_5424() -> None:
    assert fields(read(NEW)) == {
        "protocol": "rfc5424", "priority": 165, "facility": "local4", "severity": "notice", "time": "2003-10-11T22:14:15.003Z",
        "host": "mymachine.example.com", "app": "evntslog", "msgid": "ID47", "sd.exampleSDID@32473.iut": "3",
        "sd.exampleSDID@32473.eventSource": "Application", "sd.exampleSDID@32473.eventID": "1011",
        "sd.examplePriority@32473.class": "high", "message": "An application event log entry...",
    }  # fmt: skip
    bare = fields(read(b"<0>1 - - - - - -"))
    assert bare == {"protocol": "rfc5424", "priority": 0, "facility": "kern", "severity": "emergency"}
    offset = read(b"<34>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.")
    assert fields(offset)["time"] == "2003-08-24T05:14:15.000003-07:00"
    assert (fields(offset)["pid"], fields(offset)["message"]) == ("8710", "%% It's time to make the do-nuts.")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            OLD,
            {
                "time": "Oct 11 22:14:15",
                "host": "mymachine",
                "app": "su",
                "message": "'su root' failed for lonvick on /dev/pts/8",
            },
        ),
        (
            b"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            {"time": "Feb  5 17:32:18", "host": "10.0.0.99", "message": "Use the BFG!"},
        ),
        (
            b"<30>Oct 11 22:14:15 app[12]: no host",
            {"time": "Oct 11 22:14:15", "app": "app", "pid": "12", "message": "no host"},
        ),
        (b"<14>shop: neither time nor host\0", {"app": "shop", "message": "neither time nor host"}),
        (b"<14>just words", {"message": "just words"}),
        (b"no priority", {"message": "no priority"}),
        (
            b"<13>2026-10-11T22:14:15.123456+02:00 web-1 nginx[7]: as rsyslog forwards",
            {
                "time": "2026-10-11T22:14:15.123456+02:00",
                "host": "web-1",
                "app": "nginx",
                "pid": "7",
                "message": "as rsyslog forwards",
            },
        ),
        (
            b"<189>*Mar  1 18:46:11.123: %SYS-5-CONFIG_I: as routers do",
            {"time": "Mar  1 18:46:11.123", "app": "%SYS-5-CONFIG_I", "message": "as routers do"},
        ),
        (
            b"<13>Oct 11 2025 22:14:15 fw : a year",
            {"time": "Oct 11 2025 22:14:15", "host": "fw", "message": ": a year"},
        ),
        (b"<34>1 nothing of RFC 5424", {"message": "1 nothing of RFC 5424"}),
    ],
)
def test_rfc_3164_as_it_is_sent(body: bytes, expected: dict[str, str]) -> None:
    found = dict(fields(read(body)))
    for name in ("protocol", "priority", "facility", "severity"):
        found.pop(name, None)
    assert found == expected


@pytest.mark.parametrize(
    ("written", "received", "year"),
    [
        ("Oct 11 22:14:15", "2026-10-11T22:14:20Z", 2026),
        ("Dec 31 23:59:59", "2027-01-01T00:00:02Z", 2026),
        ("Jan  1 00:00:01", "2026-12-31T23:59:58Z", 2027),
        ("Feb 29 12:00:00", "2025-03-01T00:00:00Z", 2024),
    ],
)
def test_the_year_is_the_nearest(written: str, received: str, year: int) -> None:
    found = fields(read(f"<13>{written} host app: x".encode(), received=received))["time"]
    assert found.startswith(f"{year}-")
    assert found.endswith(written[-8:])


def test_a_year_that_cannot_be_found_is_not_made_up() -> None:
    assert (
        fields(read(b"<13>Feb 29 12:00:00 host app: x", received="2030-06-01T00:00:00Z"))["time"] == "Feb 29 12:00:00"
    )
    assert (
        fields(read(b"<13>Feb 30 12:00:00 host app: x", received="2026-06-01T00:00:00Z"))["time"] == "Feb 30 12:00:00"
    )
    assert (
        fields(read(b"<13>Oct 11 22:14:15,5 host app: x", received="2026-10-11T22:14:20Z"))["time"]
        == "2026-10-11 22:14:15.500000"
    )


def test_priorities() -> None:
    for priority in range(192):
        found = fields(read(f"<{priority}>app: x".encode()))
        assert (found["facility"], found["severity"]) == (FACILITIES[priority // 8], SEVERITIES[priority % 8])
    assert "191" in reason(read(b"<192>app: x"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[a b="c', "has no end"),
        ('[a b="c"', "does not end"),
        ('[a b="c]"]', "backslash"),
        ("[a b=c]", "does not end"),
        ("x", "neither"),
        ("-x", "something else"),
        ('[a b="c"]x', "something else"),
    ],
)
def test_structured_data_that_is_not_whole(text: str, told: str) -> None:
    body = f"<13>1 2003-10-11T22:14:15Z h a p m {text}".encode()
    item = read(body)
    assert told in reason(item)
    assert isinstance(item, Unreadable)
    assert item.raw == body


names = st.text(
    st.characters(codec="ascii", exclude_characters='= ]"', min_codepoint=33, max_codepoint=126),
    min_size=1,
    max_size=32,
)


@given(
    st.dictionaries(names, st.lists(st.tuples(names, st.text(st.characters(codec="utf-8"), max_size=20)), max_size=4))
)
@settings(max_examples=100, deadline=None)
def test_structured_data_says_what_was_written(data: dict[str, list[tuple[str, str]]]) -> None:
    """Whatever values hold, escaped as the RFC has it; a name that comes again makes a list."""
    text, expected = "", dict[str, Any]()
    for identity, parameters in data.items():
        text += f"[{identity}"
        for name, value in parameters:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
            text += f' {name}="{escaped}"'
            expected.setdefault(f"sd.{identity}.{name}", []).append(value)
        text += "]"
    found, end = structured_data(text or "-", 0)
    assert end == len(text or "-")
    assert {name: value if isinstance(value, list) else [value] for name, value in found.items()} == expected


def test_messages_in_a_format_of_their_own() -> None:
    """Its fields under their own names, those of the syslog record beside."""
    layout = SyslogFormat(content={"json": {}})
    found = fields(read(b'<14>Oct 11 22:14:15 web shop: {"order": 7, "host": "x"}', layout))
    assert (found["order"], found["host"], found["syslog.host"], found["syslog.app"]) == (7, "x", "web", "shop")
    assert reason(read(b"<14>shop: {", layout)).startswith("message: not JSON")
    assert fields(read(b"<14>", layout)) == {
        "syslog.priority": 14,
        "syslog.facility": "user",
        "syslog.severity": "info",
        "syslog.protocol": "rfc3164",
    }
    ready = read(b'<14>shop: {"system": "shop", "step": "placed"}', SyslogFormat(content="events"))
    assert isinstance(ready, Ready)
    assert event(ready)["step"] == "placed"
    for wrong in ("syslog", "nonsense", {"json": {"nonsense": 1}}, {}):
        with pytest.raises(ValueError, match="content"):
            SyslogFormat(content=wrong)


@given(st.binary(max_size=200), st.sampled_from([b"", b"<13>", b"<13>1 - - - - - ", b"<13>Oct 11 22:14:15 "]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_one_record(body: bytes, head: bytes) -> None:
    """Line breaks within it too: its frame says where it ends."""
    items = SyslogFormat().message(head + body, {"received": "1700000000000000"})
    assert len(items) == (1 if (head + body).rstrip(b"\r\n\0").decode("utf-8", "replace").strip() else 0)
    for item in items:
        assert isinstance(item, Row) or reason(item).isprintable()
