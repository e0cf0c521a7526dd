"""JSON: lines, documents, lists of objects; exact numbers; what is none is told with its bytes."""

from __future__ import annotations

from collectors.formats.json import JsonFormat
from tests.collectors.format_laws import Case, FormatLaws

LINES = b'\xef\xbb\xbf{"id": 12345678901234567890123, "a": {"b": [1]}}\r\n\n[{"id": 2}, 3]\nx\n{"id": "\xc3\xa4"}\n {} '
DOCUMENT = b'[\n {"id": 1, "a": "\xc3\xa4"},\r\n {"id": [2]}\n]\n{"id": 3} {"id": 4}'


class TestJson(FormatLaws):
    cases = (
        Case("lines", JsonFormat(), LINES),
        Case("latin", JsonFormat(encoding="latin-1"), b'{"id": "\xe4"}\n{"id": 2}'),
        Case("utf-16", JsonFormat(), ('\ufeff{"id": "Ċ"}\r\n{"id": 2}\n' * 2).encode("utf-16-be"), between=b"\r\n\x00"),
        Case("document", JsonFormat(document=True), DOCUMENT),
        Case("path", JsonFormat(path="data.spans"), b'{"data": {"spans": [{"id": 1}, {"id": 2}]}}\n{"data": 1}\n'),
        Case(
            "pretty",
            JsonFormat(multiline={"starts": r"^\{"}),
            b'{\n "id": 1\n}\n{\n\n "id": 2}\r\n{\r\n}\r\n',
            open_ended=True,
        ),
    )
    fragments = (b'{"a":', b"1}", b"NaN", b"-1e999", b'"\\ud800"', b"[[[[", b'{"spans":')
