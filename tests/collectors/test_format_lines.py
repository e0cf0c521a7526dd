"""Framing: line ends, byte order marks, encodings, bounds (FAULTS 28); what hostile fields come to in any format (FAULTS 31)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collectors.formats.access import AccessFormat
from collectors.formats.contract import Format
from collectors.formats.csv import CsvFormat
from collectors.formats.framing import MAX_LINE, TOO_LONG, known_encoding
from collectors.formats.json import JsonFormat
from collectors.formats.logfmt import LogfmtFormat
from collectors.formats.regex import RegexFormat
from collectors.formats.xml import XmlFormat
from collectors.inputs.record import MAX_RAW, Row, Unreadable
from collectors.mapper import Mapper
from collectors.mapping import Mapping
from tests.collectors.format_laws import items_of, read

WORDS = RegexFormat(pattern="(?s)^(?P<all>.*)$")


def texts(layout: Format, data: bytes) -> list[str]:
    return [item.fields["all"] if isinstance(item, Row) else "!" for item in items_of(read(layout, data))]


def test_line_ends_and_places() -> None:
    records = read(WORDS, b"a\r\n\nb \r\r\n  \nc\n")
    assert [(record.offset, record.end, record.line, len(record.items)) for record in records] == [
        (0, 3, 1, 1), (3, 4, 2, 0), (4, 9, 3, 1), (9, 12, 4, 0), (12, 14, 5, 1),
    ]  # fmt: skip
    assert texts(WORDS, b"a\r\n\nb \r\r\n  \nc\n") == ["a", "b \r", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_obeyed_and_remembered(encoding: str) -> None:
    # In UTF-16 the bytes of a line's end stand across two of these characters.
    odd = "ĀਅĀĊ"
    data = f"\ufeffä\r\n{odd}\n".encode(encoding)
    assert texts(WORDS, data) == ["ä", odd]
    decoder = WORDS.decoder()
    (first, _) = decoder.feed(data)
    again = items_of(read(WORDS, data[first.end :], offset=first.end, line=2, state=decoder.state()))
    assert [item.fields for item in again if isinstance(item, Row)] == [{"all": odd}]


def test_without_a_mark_the_declared_encoding_counts() -> None:
    assert texts(WORDS.model_copy(update={"encoding": "utf-16"}), "ab\ncd\n".encode("utf-16-le")) == ["ab", "cd"]
    assert texts(WORDS.model_copy(update={"encoding": "utf-16-be"}), "ab\n".encode("utf-16-be")) == ["ab"]
    assert texts(WORDS.model_copy(update={"encoding": "cp037"}), "ab\ncd\n".encode("cp037")) == ["ab", "cd"]
    assert texts(WORDS, "ä\nb\n".encode("latin-1")) == ["!", "b"]
    assert texts(WORDS.model_copy(update={"encoding": "latin-1"}), b"\xff\xfe\n") == ["ÿþ"]


@pytest.mark.parametrize(
    "name", ["utf-32", "utf-7", "iso2022_jp", "idna", "unicode_escape", "hex", "rot13", "none", ""]
)
def test_encodings_without_lines_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown encoding|cannot be told apart"):
        known_encoding(name)


def test_a_short_stream_is_not_held_back_for_a_mark() -> None:
    assert [record.end for record in WORDS.decoder().feed(b"\n\n")] == [1, 2]
    assert texts(RegexFormat(pattern="(?P<all>.)"), b"\xef\xbb") == ["!"]


@pytest.mark.parametrize("layout", [WORDS, JsonFormat(), CsvFormat(), LogfmtFormat(), AccessFormat()])
def test_a_line_without_end_is_bounded(layout: Format) -> None:
    decoder: Any = layout.decoder()
    decoder.feed(b"a\n")
    for _ in range(8):
        assert decoder.feed(b"x" * (MAX_LINE // 4)) == []
    assert len(decoder._held) <= MAX_LINE
    long, *rest = decoder.feed(b"y\n\n")
    assert (long.offset, long.end, long.line) == (2, 2 + 2 * MAX_LINE + 2, 2)
    (item,) = long.items
    assert isinstance(item, Unreadable)
    assert (item.reason, item.raw) == (TOO_LONG, b"x" * MAX_RAW)
    assert [record.items for record in rest] == [()]
    in_one_piece = layout.decoder().feed(b"a\n" + b"x" * (2 * MAX_LINE) + b"y\n\n")
    assert in_one_piece[1:] == [long, *rest]


def test_two_hundred_thousand_keys_are_a_record_like_any() -> None:
    keys = {f"k{number}": number for number in range(200_000)}
    (item,) = JsonFormat().message(json.dumps(keys).encode(), {})
    assert isinstance(item, Row)
    assert dict(item.fields) == keys
    assert len(item.payload()) == MAX_RAW
    (item,) = LogfmtFormat().message(" ".join(f"{key}={value}" for key, value in keys.items()).encode(), {})
    assert isinstance(item, Row)
    assert len(item.fields) == 200_000


HOSTILE = ["a\nb", "a\r\nb", "\x1b[2J", "\u202e7", "\u2066", "\x00", "\x85", "\u2028", "\ufeff7"]
RULES = {
    "mapping": "m",
    "key": "n",
    "events": [{"system": "s", "step": "p", "time": {"constant": "2026-03-01T10:00:00Z"}, "keys": {"order": "order"}}],
}


def written(value: str) -> list[tuple[Format, bytes]]:
    """The value in a record of every format that can hold it."""
    quoted = value.replace('"', '""')
    element = "".join(f"&#{ord(char)};" for char in value)
    shown = "".join(f"\\x{byte:02x}" for byte in value.encode())
    return [
        (JsonFormat(), json.dumps({"n": 1, "order": value}).encode()),
        (JsonFormat(), json.dumps({"n": 1, "order": value}, ensure_ascii=False).encode()),
        (LogfmtFormat(), f"n=1 order={json.dumps(value)}".encode()),
        (CsvFormat(), f'n,order\n1,"{quoted}"\n'.encode()),
        (CsvFormat(encoding="utf-16"), f'n,order\n1,"{quoted}"\n'.encode("utf-16")),
        (XmlFormat(), f"<o><n>1</n><order>a{element}</order></o>".encode()),
        (
            AccessFormat(log_format='%h "%{n}i" "%{order}i"'),
            f'h "1" "a{shown}"'.encode(),
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_controls_in_a_key_are_told_and_shown_inert(value: str) -> None:
    fields = {"n": "http_n", "order": "http_order"}
    held = 0
    for layout, body in written(value):
        rules = json.loads(json.dumps(RULES))
        if isinstance(layout, AccessFormat):
            rules["key"], rules["events"][0]["keys"] = fields["n"], {"order": fields["order"]}
        for item in layout.message(body, {}):
            if isinstance(item, Unreadable):
                assert item.reason.isprintable()
                continue
            assert isinstance(item, Row)
            held += 1
            mapped = Mapper(Mapping.model_validate(rules)).map(item.fields)
            text = str(item.fields[rules["events"][0]["keys"]["order"]]).strip()
            if text.isprintable():
                continue  # an XML parser or a trim took it away: nothing hostile is left
            assert mapped.events == []
            assert mapped.faults
            assert all(str(fault).isprintable() for fault in mapped.faults)
    assert held >= 3
