"""Regular expressions: groups become fields, what none is found in is told, and nothing can hang (FAULTS 32)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from collectors.formats.contract import Format
from collectors.formats.multiline import MAX_MATCHED, Multiline
from collectors.formats.regex import RegexFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws

PAID = r"^(?P<at>\S+) paid (?P<order>\d+)(?: by (?P<who>.+))?$"
SHIPPED = r"shipped (?P<order>\d+)"
TRACE = RegexFormat(pattern=r"(?s)^(?P<at>\d+) (?P<text>.*)$", multiline=Multiline(starts=r"^\d"))


class TestRegex(FormatLaws):
    cases = (
        Case(
            "several",
            RegexFormat(pattern=[PAID, SHIPPED]),
            "1 paid 7 by Zoë\r\n\nx shipped 8\nnothing\n2 paid 9\n".encode(),
        ),
        Case(
            "contains",
            RegexFormat(pattern=PAID, contains="paid", otherwise="nothing"),
            b"1 paid 7\nx\n2 paid x\n3 paid 8\n",
        ),
        Case("latin", RegexFormat(pattern=PAID, encoding="latin-1"), b"1 paid 7 by \xe4\n2 paid 8\n"),
        Case("traces", TRACE, b"1 a\n at b\r\n\n2 c\r\n3 d\n  e", open_ended=True, as_message=False),
        Case(
            "continued",
            RegexFormat(pattern=r"(?P<all>(?s).+)", multiline=Multiline(continues=r"^\s+\S", max_lines=3)),
            b"a\n b\n\nc\n d\n e\n f\n g\nh\n",
            open_ended=True,
        ),
    )
    fragments = (b"paid 7", b" shipped 8", b"\n1 ", b"\n ")


def said(layout: Format, text: str | bytes) -> list[object]:
    items = layout.message(text if isinstance(text, bytes) else text.encode(), {})
    return [
        dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item
        for item in items
    ]


def test_the_first_pattern_that_is_found_gives_the_fields() -> None:
    layout = RegexFormat.model_validate({"pattern": [PAID, SHIPPED]})
    assert said(layout, "1 paid 7\n1 paid 8 by Zoë\nx shipped 9 y\n\nz") == [
        {"at": "1", "order": "7"},
        {"at": "1", "order": "8", "who": "Zoë"},
        {"order": "9"},
        "no pattern is found in it",
    ]


def test_what_says_nothing_is_declared_so() -> None:
    layout = RegexFormat.model_validate({"pattern": PAID, "contains": ["paid", "sold"]})
    assert said(layout, "boot\n1 paid x\n1 paid 7") == ["no pattern is found in it", {"at": "1", "order": "7"}]
    assert said(RegexFormat(pattern=PAID, otherwise="nothing"), "boot\n1 paid x") == []


def test_several_lines_are_one_record() -> None:
    assert said(TRACE, "0 a\n at b\r\n\n1 c\r\n") == [{"at": "0", "text": "a\n at b\n"}, {"at": "1", "text": "c"}]


def test_a_record_of_too_many_lines_or_bytes_is_one_unreadable_and_the_rest_goes_on() -> None:
    long = "1 a\n" + " b\n" * 50 + "2 c\n"
    layout = TRACE.model_copy(update={"multiline": Multiline(starts=r"^\d", max_lines=10)})
    assert said(layout, long) == ["a record of more than 10 lines", {"at": "2", "text": "c"}]
    layout = TRACE.model_copy(update={"multiline": Multiline(starts=r"^\d", max_bytes=20)})
    assert said(layout, long) == ["a record of more than 20 bytes", {"at": "2", "text": "c"}]


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"pattern": r"(?P<a>x)(?=y)"}, "look-arounds and back references are not supported"),
        ({"pattern": r"(?P<a>x)(?<!y)"}, "look-arounds and back references are not supported"),
        ({"pattern": r"(?P<a>x)\1"}, "look-arounds and back references are not supported"),
        ({"pattern": r"(?P<a>x)(?P=a)"}, "look-arounds and back references are not supported"),
        ({"pattern": r"(?P<a>x"}, "missing"),
        ({"pattern": r"(?P<a>x)(?P<a>y)"}, "names two groups 'a'"),
        ({"pattern": r"x(y)"}, "has no named group"),
        ({"pattern": r"(?P<a>(?:a|b|ab|.){1,1000})(?P<b>(?:a|ab|.){1,1000})z"}, "too large"),
        ({"pattern": r"(?P<a>(x{100}){100}){100}"}, "repetition"),
        ({"pattern": []}, "at least 1"),
        ({}, "pattern"),
        ({"pattern": PAID, "flags": "i"}, "flags"),
        ({"pattern": PAID, "contains": ""}, "contains"),
        ({"pattern": PAID, "encoding": "utf-32"}, "cannot be told apart"),
        ({"pattern": PAID, "encoding": "klingon"}, "unknown encoding"),
        ({"pattern": PAID, "multiline": {}}, "exactly one of starts and continues"),
        ({"pattern": PAID, "multiline": {"starts": "a", "continues": "b"}}, "exactly one of starts and continues"),
        ({"pattern": PAID, "multiline": {"continues": "(?!x)"}}, "look-arounds"),
    ],
)
def test_what_is_refused(declared: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RegexFormat.model_validate(declared)


@pytest.mark.parametrize(
    "pattern", [r"^(?P<a>(a+)+)$", r"(?P<a>(a|aa)+)\z", r"(?P<a>(.*)(.*)(.*)(.*)(.*)(.*)x)", r"(?P<a>(a?){50}a{50}b)"]
)
def test_patterns_that_hang_others_answer(pattern: str) -> None:
    # Exponential or of a high power elsewhere: the test ends or it does not.
    assert said(RegexFormat(pattern=pattern), "a" * 50_000 + "!") == ["no pattern is found in it"]


def test_of_a_record_of_too_many_lines_the_beginning_is_held() -> None:
    decoder: Any = TRACE.decoder()
    decoder.feed(b"1 a\n")
    for _ in range(100):
        assert decoder.feed(b" " * 1000 + b"b\n" + b" c\n" * 1000) == []
    assert len(decoder._group.lines) == 1001
    (record,) = decoder.feed(b"2 d\n")
    assert (record.offset, record.line, len(record.items)) == (0, 1, 1)
    assert isinstance(record.items[0], Unreadable)


def test_a_last_line_without_its_end_may_be_torn() -> None:
    decoder = RegexFormat(pattern=PAID).decoder()
    (first,) = decoder.feed(b"1 paid 7\n1 paid 8")
    (last,) = decoder.close()
    assert isinstance(first.items[0], Row)
    assert last.items == (Unreadable(2, "the last line has no end, so it may be torn", b"1 paid 8"),)


def test_a_record_too_long_for_a_pattern_is_told() -> None:
    assert said(RegexFormat(pattern="(?P<a>a)"), "a" * (MAX_MATCHED + 1)) == [
        "more than 262144 bytes, too long for a pattern"
    ]
