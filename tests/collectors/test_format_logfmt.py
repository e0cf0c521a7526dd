"""logfmt and events in our own form: what a line becomes, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.formats.contract import Ready
from collectors.formats.events import EventsFormat
from collectors.formats.logfmt import LogfmtFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws

EVENT = b'{"id": "e1", "system": "shop", "step": "paid", "time": "2026-03-01T10:00:00Z", "keys": {"order": "1"}}'


class TestLogfmt(FormatLaws):
    cases = (
        Case("plain", LogfmtFormat(), b'at=1 order=7 msg="a \\"b\\" c"\r\n\nok order= url=http://x?a=b\nno\nx="torn\n'),
        Case("latin", LogfmtFormat(encoding="cp1252"), b"who=\xe4\nwho=x\n"),
    )
    fragments = (b'a="', b"a=", b' b="x y"', b'\\"')


class TestEvents(FormatLaws):
    cases = (
        Case("lines", EventsFormat(), EVENT + b"\n" + b'{"seq": 3, "id": "x"}\n[1, {"id": "y"}]\nx\n'),
        Case("document", EventsFormat(document=True, path="events"), b'{"events": [\n' + EVENT + b", 2]}"),
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('a=1  b="x y"\tc d=', {"a": "1", "b": "x y", "c": True, "d": ""}),
        (r'a="q\"\n\té\x" b="\\"', {"a": 'q"ntéx', "b": "\\"}),
        (r'a="q\"\n\té"', {"a": 'q"\n\té'}),
        ("a=1 a=2 url=x?y=z&w", {"a": "2", "url": "x?y=z&w"}),
        ("ünï=ö", {"ünï": "ö"}),
        ("plain words", "not logfmt: no name=value in it"),
        ('a=1 b="open', "not logfmt at character 5"),
        ('a=1 b=x"y', "not logfmt at character 5"),
        ("=1", "not logfmt at character 1"),
        ('a="x"y', "not logfmt at character 1"),
    ],
)
def test_logfmt(line: str, said: object) -> None:
    (item,) = LogfmtFormat().message(line.encode(), {})
    assert (
        dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item
    ) == said


def test_a_hostile_line_takes_no_time() -> None:
    for piece in ('a="', 'a="\\', "a=", "a ", '"', "\\"):
        (item,) = LogfmtFormat().message((piece * 200_000).encode(), {})
        assert isinstance(item, Row | Unreadable)


NAMES = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\x85\u2028\u2029\ufeff"), max_size=12)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=6))
def test_logfmt_of_any_content_comes_back(fields: dict[str, str]) -> None:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in fields.items()}
    line = " ".join(f'{name}="{value}"' for name, value in quoted.items())
    assert LogfmtFormat().message(line.encode(), {}) == [Row(1, fields, line.encode())]


def test_an_event_is_ready_and_its_emitters_numbers_are_left_out() -> None:
    body = EVENT[:-1] + b', "source": "x", "epoch": 1, "seq": 2}'
    (item,) = EventsFormat().message(body, {})
    assert isinstance(item, Ready)
    assert set(item.event) == {"id", "system", "step", "time", "keys"}
    assert item.raw == body


def test_lines_that_say_nothing_are_nothing() -> None:
    decoder = LogfmtFormat.model_validate({"contains": "svc="}).decoder()
    records = decoder.feed(b"GET / 200\nsvc=a n=1\n\xff bad\nsvc=b n=2\n")
    items = [item for record in records for item in record.items]
    assert [item.fields["n"] for item in items if isinstance(item, Row)] == ["1", "2"]
    # What cannot be read at all may have said something.
    assert [item.reason for item in items if isinstance(item, Unreadable)] == ["bytes that are not utf-8"]
