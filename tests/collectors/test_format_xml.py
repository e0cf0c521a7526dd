"""XML: elements as records, documents one behind the other, what is malformed skipped, entities refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from collectors.formats.xml import MAX_BYTES, XmlFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws, items_of, read

ORDERS = b"""\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE Orders SYSTEM "orders.dtd">
<b:Orders xmlns:b="urn:x" date="2026-03-01">
  <!-- <Order id="0"/> --><Head>x</Head>
  <Order id="1"><Customer b:vip="y">\xc3\xa4 &amp; &#x41;<Id> 7 </Id></Customer><Line sku="a"/><Line sku="b">2</Line></Order>
  <b:Order
   id="2>"/><Order id="3"><![CDATA[<Order>]]></Order>

</b:Orders>
"""
BROKEN = b"""<Orders>
<Order id="1"/>
<Order id="2"><a></Order>
<Order id="3"><b>&unknown;</b></Order>
<Order id="4"/></Wrong>
<Order id="5"/>
</Orders>
<Order id="6"/>"""


class TestXml(FormatLaws):
    cases = (
        Case("orders", XmlFormat(record="Orders/Order", lists="Line"), ORDERS),
        Case("broken", XmlFormat(record="Order"), BROKEN),
        Case(
            "documents",
            XmlFormat(),
            b'<a><b>1</b></a>\n<?xml version="1.0"?>\n<a/><a x="1"></a >  <a>/></a><a>&gt;<!--/--></a><a><b>',
        ),
        Case(
            "latin", XmlFormat(record="o"), b'<?xml version="1.0" encoding="ISO-8859-1"?><r><o>\xe4</o><o>\xf6</o></r>'
        ),
        Case(
            "encodings",
            XmlFormat(record="o"),
            b'<?xml version="1.0" encoding="latin-1"?><o>\xe4</o> <o>\xc3\xa4</o>\xff\xfe<\x00o\x00/\x00>\x00<o/>',
        ),
        Case("utf-16", XmlFormat(record="o"), "\ufeff<r>\n<o>\u3e00a</o>\n<o x='>'/></r>".encode("utf-16-le")),
        Case("told", XmlFormat(record="o", encoding="cp1252"), b"<r><o>\x80</o><o/></r>"),
    )
    fragments = (
        b"<Order>",
        b"</Order>",
        b"<Orders>",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"&amp;",
        b"&x;",
        b"<?xml ",
        b"/>",
        b"<!DOCTYPE a [",
    )


def said(layout: XmlFormat, body: bytes) -> list[object]:
    items = layout.message(body, {})
    return [
        dict(item.fields) if isinstance(item, Row) else item.reason if isinstance(item, Unreadable) else item
        for item in items
    ]


def test_elements_are_records() -> None:
    items = items_of(read(XmlFormat(record="Orders/Order", lists="Line"), ORDERS))
    assert [(item.line, dict(item.fields)) for item in items if isinstance(item, Row)] == [
        (5, {
            "@id": "1",
            "Customer": {"@vip": "y", "Id": "7", "#text": "ä & A"},
            "Line": [{"@sku": "a"}, {"@sku": "b", "#text": "2"}],
        }),
        (6, {"@id": "2>"}),
        (7, {"@id": "3", "#text": "<Order>"}),
    ]  # fmt: skip
    assert [item.raw for item in items][1:] == [b'<b:Order\n   id="2>"/>', b'<Order id="3"><![CDATA[<Order>]]></Order>']


def test_paths() -> None:
    body = b"<a><o>1</o><b><o>2</o><c><o>3</o></c></b></a>"
    assert said(XmlFormat(record="o"), body) == [{"#text": "1"}, {"#text": "2"}, {"#text": "3"}]
    assert said(XmlFormat(record="b/o"), body) == [{"#text": "2"}]
    assert said(XmlFormat(record="/a/o"), body) == [{"#text": "1"}]
    assert said(XmlFormat(record="a"), body) == [{"o": "1", "b": {"o": "2", "c": {"o": "3"}}}]
    assert said(XmlFormat(), body) == said(XmlFormat(record="a"), body)
    assert said(XmlFormat(record="x"), body) == []


def test_several_of_a_name_are_a_list() -> None:
    body = b"<o><l>1</l><m/><l>2</l><l a='3'/></o>"
    assert said(XmlFormat(), body) == [{"l": ["1", "2", {"@a": "3"}], "m": ""}]
    assert said(XmlFormat(lists="m"), body) == [{"l": ["1", "2", {"@a": "3"}], "m": [""]}]


def test_what_is_malformed_is_one_unreadable_and_the_rest_goes_on() -> None:
    assert said(XmlFormat(record="Order"), BROKEN) == [
        {"@id": "1"},
        "not XML: mismatched tag",
        "not XML: undefined entity",
        {"@id": "4"},
        "not XML: mismatched tag",
        {"@id": "5"},
        {"@id": "6"},
    ]


def test_a_record_is_found_though_what_is_above_it_could_not_be_read() -> None:
    body = b"<a <Orders><Order id='1'/><Order id='2'/></Orders>"
    assert said(XmlFormat(record="Orders/Order"), body)[1:] == [{"@id": "1"}, {"@id": "2"}]


def test_a_document_that_ends_in_the_middle() -> None:
    assert said(XmlFormat(record="o"), b"<r><o>1</o><o>2</o") == [{"#text": "1"}, "the document ends in the middle"]
    assert said(XmlFormat(record="o"), b"<r><o>1</o>\n") == [{"#text": "1"}]
    assert said(XmlFormat(), b"<r><o>1</o>\n") == ["the document ends in the middle"]


BOMB = (
    b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY o "<o>x</o>">]>'
    b"<r><o>&b;</o>&o;<o>1</o></r>"
)
OUTSIDE = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><r><o>&a;</o></r>'
PARAMETER = b'<!DOCTYPE r SYSTEM "file:///etc/passwd" [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><r><o>1</o></r>'


@pytest.mark.parametrize("body", [BOMB, OUTSIDE, PARAMETER])
def test_entities_are_refused(body: bytes) -> None:
    (reason,) = said(XmlFormat(record="o"), body)
    assert "declares entities or a DTD of its own, which is refused" in str(reason)


def test_a_dtd_elsewhere_is_not_fetched_and_what_it_may_declare_is_told() -> None:
    body = b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r><o>1</o><o>&x;</o><o>2</o></r>'
    assert said(XmlFormat(record="o"), body) == [{"#text": "1"}, "the entity 'x' is not declared", {"#text": "2"}]


def test_bounds() -> None:
    layout = XmlFormat(record="o")
    deep = b"<r><o>" + b"<a>" * 200 + b"</a>" * 200 + b"</o><o>1</o></r>"
    assert said(layout, deep) == ["elements more than 100 deep", {"#text": "1"}]
    many = b"<r><o>" + b"<a/>" * 100_001 + b"</o><o>1</o></r>"
    assert said(layout, many) == ["a record of more than 100000 elements", {"#text": "1"}]
    large = b"<r><o>" + b"x" * (MAX_BYTES + 1) + b"</o><o>1</o></r>"
    assert said(layout, large) == [f"more than {MAX_BYTES} bytes without a record's end", {"#text": "1"}]


def test_much_between_records_is_no_fault_and_a_position_can_be_saved_within() -> None:
    body = b"<r>" + b"<head>x</head>\n" * 100_000 + b"<o>1</o></r>"
    decoder = XmlFormat(record="o").decoder()
    records = [record for at in range(0, len(body), 65536) for record in decoder.feed(body[at : at + 65536])]
    assert len(records) > 15
    assert [item.fields for item in items_of(records) if isinstance(item, Row)] == [{"#text": "1"}]


def test_lines_are_counted_over_what_is_lost() -> None:
    body = b"<r>\n<o><x></o>\n" + b"<a>x</a>\n" * 300_000 + b"<o>1</o></r>"
    decoder = XmlFormat(record="o").decoder()
    records = [record for at in range(0, len(body), 65536) for record in decoder.feed(body[at : at + 65536])]
    lost, *_, found = items_of(records)
    assert (lost.line, found.line) == (2, 300_003)


def test_what_is_lost_is_not_held() -> None:
    for body in (PARAMETER, b"<r><o><x></o>", b"<r>" + b"<" * 3):
        decoder = XmlFormat(record="o").decoder()
        decoder.feed(body)
        for _ in range(1000):
            assert decoder.feed(b"<a>x\n" * 2000) == []
        assert len(decoder._buffer) < 1_000_000  # type: ignore[attr-defined]
        lost = items_of(decoder.close())[0]
        assert isinstance(lost, Unreadable)
        assert len(lost.raw) == 256 * 1024


def test_a_hostile_stream_takes_no_time() -> None:
    for piece in (b"<o ", b"<o>", b"<o><", b"<r><o/></r>", b"<o/>", b"</o>", b"<!--", b"&", b"<o a='"):
        assert XmlFormat(record="o").message(piece * 2_000, {})
        XmlFormat().message(piece * 2_000, {})


@pytest.mark.parametrize("record", ["", "a b", "<a>", "a//b", "a/", "1"])
def test_no_path_of_an_element(record: str) -> None:
    with pytest.raises(ValidationError, match="record"):
        XmlFormat(record=record)
