"""CSV as a stream: rows over several lines, headers in what is saved, and no torn row taken for a whole one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.formats.csv import MAX_FIELD, MAX_HEADER, CsvFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws, items_of, read

PLAIN = (
    b'\xef\xbb\xbfid, at\r\n1,"x\ny ""z"""\r\n\r\n2\n"3","' + b"c" * 10 + b'\n"\n4," \xff"\n 5 ,\n"6\n7","x"y\n8,8\n'
)
SEMICOLONS = CsvFormat(delimiter=";", quote="'", header=False, fields=("id", "at"), encoding="cp1252")


class TestCsv(FormatLaws):
    cases = (
        Case("plain", CsvFormat(), PLAIN),
        Case("bare", SEMICOLONS, "1;'ä;\n'\n2;x\n".encode("cp1252")),
        Case("renamed", CsvFormat(fields=("a", "b")), b"id,at\n1,2\n3\n"),
        Case("open", CsvFormat(), b'id,at\n1,2\n3,"4\n5,6\n'),
        Case("utf-16", CsvFormat(), '\ufeffid,at\n1,"Ċ\r\n,"\n2,ä\n'.encode("utf-16-le"), between=b"\r\n\x00"),
    )
    fragments = (b'"', b'""', b'",', b',"', b"\n1,2\n", b'"\n', b";'")


def said(layout: CsvFormat, body: bytes) -> list[object]:
    items = layout.message(body, {})
    return [
        dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item
        for item in items
    ]


def test_rows_and_what_is_none() -> None:
    assert said(CsvFormat(), PLAIN) == [
        {"id": "1", "at": 'x\ny "z"'},
        "1 fields where 2 are expected",
        {"id": "3", "at": "cccccccccc\n"},
        "bytes that are not utf-8",
        {"id": " 5 ", "at": ""},
        "not CSV: ',' expected after '\"'",
        {"id": "8", "at": "8"},
    ]


def test_a_last_row_without_its_end_may_be_torn() -> None:
    (first, last) = items_of(read(CsvFormat(), b"id,at\n1,100\n2,10"))
    assert isinstance(first, Row)
    assert last == Unreadable(3, "the last line has no end, so it may be torn", b"2,10")
    assert said(CsvFormat(), b"id,at\n2,10") == [{"id": "2", "at": "10"}]


def test_the_header_is_saved_with_the_position() -> None:
    decoder = CsvFormat().decoder()
    (header, row) = decoder.feed(b"id,at\n1,x\n")
    assert decoder.state() == {"columns": ["id", "at"]}
    assert (header.items, header.end) == ((), 6)
    (again,) = items_of(read(CsvFormat(), b"2,y\n", offset=row.end, line=3, state=decoder.state()))
    assert again == Row(3, {"id": "2", "at": "y"}, b"2,y\n")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"a,b,a\n", "the header names 'a' twice"),
        (b'"a"x,b\n', "the header cannot be read: not CSV: ',' expected after '\"'"),
        (b"\xff,b\n", "the header cannot be read: bytes that are not utf-8"),
        (b"a" * MAX_HEADER + b"\n", "the header is longer than 32768 characters"),
    ],
)
def test_without_a_header_no_row_is_readable(header: bytes, reason: str) -> None:
    decoder = CsvFormat().decoder()
    records = decoder.feed(header + b"1,2\n")
    assert [item.reason for item in items_of(records) if isinstance(item, Unreadable)] == [reason, reason]
    again = items_of(read(CsvFormat(), b"3,4\n", offset=records[-1].end, state=decoder.state()))
    assert [item.reason for item in again if isinstance(item, Unreadable)] == [reason]


def test_an_open_quote_swallows_no_stream() -> None:
    lines = b'0,"x\n' + b"".join(b"%d,x\n" % number for number in range(60_000))
    first, *rest = said(CsvFormat(), b"id,at\n" + lines)
    assert first == f"not CSV: field larger than field limit ({MAX_FIELD})"
    assert rest[-1] == {"id": "59999", "at": "x"}
    assert all(isinstance(one, dict) for one in rest)


def test_a_row_of_many_lines_takes_no_time() -> None:
    # Read anew with every line it would be 8,000,000,000 characters.
    body = b'id,at\n1,"' + b'""\n' * 40_000 + b'"\n2,x\n'
    first, last = said(CsvFormat(), body)
    assert (first, last) == ({"id": "1", "at": '"\n' * 40_000}, {"id": "2", "at": "x"})


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=20), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_any_content_comes_back(rows: list[tuple[str, str]], quoting: int) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("a", "b"), *rows])
    assert said(CsvFormat(), text.getvalue().encode()) == [{"a": a, "b": b} for a, b in rows]
