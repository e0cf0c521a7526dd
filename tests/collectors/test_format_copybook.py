"""Copybooks: the records of Cobrix' test files, field by field; the laws of every format for every framing; pictures and usages by
hand; hostile copybooks and hostile records."""

from __future__ import annotations

import bz2
import gzip
import json
import struct
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.formats.contract import Item
from collectors.formats.copybook import CopybookFormat
from collectors.formats.copybook_parser import parse_copybook
from collectors.inputs.record import Row, Unreadable
from schemas.errors import Invalid
from tests.collectors.format_laws import Case, FormatLaws, by_bytes, items_of, read

MAINFRAME = Path(__file__).parents[3] / "shared" / "fixtures" / "mainframe"
fixtures = pytest.mark.skipif(not MAINFRAME.is_dir(), reason=f"the open fixtures are not at {MAINFRAME}")


def expected(name: str) -> list[dict[str, Any]]:
    lines = (MAINFRAME / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_float=Decimal) for line in lines]


def rows(layout: CopybookFormat, data: bytes) -> list[dict[str, Any]]:
    found = []
    for item in items_of(read(layout, data)):
        assert isinstance(item, Row), item
        found.append(dict(item.fields))
    return found


def one(text: str, data: bytes, **options: Any) -> Any:
    """The value of the only field of a record."""
    layout = CopybookFormat(text=f"01 REC.\n 05 F {text}.\n", **options)
    (item,) = items_of(read(layout, data))
    if isinstance(item, Row):
        return item.fields.get("F")
    assert isinstance(item, Unreadable)
    return item.reason


@fixtures
class TestCobrix:
    """Equal to what Cobrix gives, with the options that its own tests name."""

    @pytest.mark.parametrize("trim", ["", "_trim_none", "_trim_left", "_trim_right", "_trim_both"])
    def test_fixed_length_filtered_by_a_segment(self, trim: str) -> None:
        layout = CopybookFormat(
            path=MAINFRAME / "test3_copybook.cob",
            code_page="common",
            trim=trim.removeprefix("_trim_") or "both",
            segments={"field": "SIGNATURE", "only": ["S9276511"]},
        )
        found = rows(layout, (MAINFRAME / "test3_data/TRAN2.AUG31.DATA.dat").read_bytes())
        assert found[:60] == expected(f"test3_expected/test3{trim}.txt")

    SEGMENTS: dict[str, Any] = {"field": "SEGMENT-ID", "levels": ["C", "P"], "prefix": "A_0"}  # noqa: RUF012
    ROOTS: dict[str, Any] = {"field": "SEGMENT-ID", "levels": ["C"], "prefix": "B_0"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("name", "segments"),
        [
            ("test5", SEGMENTS),
            ("test5a", ROOTS),
            ("test5c", {**ROOTS, "values": {"C": "STATIC-DETAILS", "D": "STATIC-DETAILS", "P": "CONTACTS"}}),
        ],
    )
    def test_records_of_several_kinds(self, name: str, segments: dict[str, Any]) -> None:
        layout = CopybookFormat(
            path=MAINFRAME / "test5_copybook.cob",
            code_page="common",
            framing="rdw",
            rdw="little",
            record_id=True,
            segments=segments,
        )
        found = rows(layout, (MAINFRAME / "test5_data/COMP.DETAILS.SEP30.DATA.dat").read_bytes())
        assert len(found) == 1000
        # Cobrix numbers the files that it reads together; a stream is one file.
        assert [{"File_Id": 0, **row} for row in found[:60]] == expected(f"test5_expected/{name}.txt")

    def test_big_endian_words(self) -> None:
        """test5b is the same file with its words written the other way round."""
        data = (MAINFRAME / "test5_data/COMP.DETAILS.SEP30.DATA.dat").read_bytes()
        path = MAINFRAME / "test5_copybook.cob"
        little = CopybookFormat(path=path, code_page="common", framing="rdw", rdw="little")
        turned = b"".join(
            struct.pack(">HH", len(raw), 0) + raw
            for item in items_of(read(little, data))
            if (raw := item.raw) is not None
        )
        layout = CopybookFormat(
            path=path, code_page="common", framing="rdw", rdw="big", rdw_counts_itself=False, record_id=True,
            segments=self.SEGMENTS,
        )  # fmt: skip
        found = [{"File_Id": 0, **row} for row in rows(layout, turned)[:60]]
        assert found == expected("test5_expected/test5b.txt")

    def test_the_length_is_a_field(self) -> None:
        lines = (MAINFRAME / "test5_copybook.cob").read_text(encoding="utf-8").splitlines()
        length = ["            05 FILLER PIC X(2).", "            05 RECORD-LENGTH PIC 9(4) COMP-9."]
        at = next(index for index, line in enumerate(lines) if line.strip().startswith("01 "))
        layout = CopybookFormat(
            text="\n".join([*lines[: at + 1], *length, *lines[at + 1 :]]), code_page="common", framing="field",
            length_field="RECORD-LENGTH", adjust=4, record_id=True, segments=self.SEGMENTS,
        )  # fmt: skip
        found = rows(layout, (MAINFRAME / "test5_data/COMP.DETAILS.SEP30.DATA.dat").read_bytes())
        assert [{"File_Id": 0, **row} for row in found[:60]] == expected("test5_expected/test5d.txt")

    def test_groups_as_text(self) -> None:
        layout = CopybookFormat(
            path=MAINFRAME / "test10_copybook.cob",
            code_page="ascii",
            root="keep",
            groups_as_text=("NAME", "ACCOUNT-NO"),
        )
        assert rows(layout, (MAINFRAME / "test10_data/data.dat").read_bytes()) == expected("test10_expected/test10.txt")

    @pytest.mark.parametrize("packed", ["", ".gz", ".bz2"])
    def test_every_kind_of_number(self, packed: str) -> None:
        layout = CopybookFormat(path=MAINFRAME / "test40_copybook.cob", code_page="common", floats="ieee")
        data = (MAINFRAME / f"test40_data/example.dat{packed}").read_bytes()
        if packed:
            data = gzip.decompress(data) if packed == ".gz" else bz2.decompress(data)
        found = sorted(rows(layout, data), key=lambda row: int(row["ID"]))
        assert len(found) == 100
        floats = [
            {name: float(row[name]) for name in ("FLOAT_01", "DOUBLE_01")}
            for row in expected("test40_expected/test40.txt")
        ]
        assert found[:20] == [
            {**row, **real} for row, real in zip(expected("test40_expected/test40.txt"), floats, strict=True)
        ]

    def test_ascii_lines(self) -> None:
        layout = CopybookFormat(
            text="      01 RECORD.\n         05 DATA PIC X(5).\n", code_page="ascii", framing="lines"
        )
        data = (MAINFRAME / "test40_data_ascii/ascii.txt").read_bytes()
        assert [row["DATA"] for row in rows(layout, data)] == ["12345", "67890", "A1234"]
        assert gzip.decompress((MAINFRAME / "test40_data_ascii/ascii.txt.gz").read_bytes()) == data


ORDERS = """\
       01  ORDER-RECORD.
           05  KIND            PIC X.
           05  ORDER-NO        PIC 9(6).
           05  LINES-COUNT     PIC 9(2).
           05  LINES OCCURS 0 TO 3 TIMES DEPENDING ON LINES-COUNT.
               10  SKU         PIC X(4).
               10  QUANTITY    PIC S9(3) COMP-3.
           05  NOTE            PIC X(3).
"""
E = "cp037"


def order(number: int, *lines: tuple[str, int], note: str = "ok ") -> bytes:
    table = b"".join(sku.encode(E) + bytes.fromhex(f"{quantity:03d}C") for sku, quantity in lines)
    return f"O{number:06d}{len(lines):02d}".encode(E) + table + note.encode(E)


def worded(*records: bytes) -> bytes:
    return b"".join(struct.pack(">HH", len(record) + 4, 0) + record for record in records)


def blocked(*blocks: bytes) -> bytes:
    return b"".join(struct.pack(">HH", len(block) + 4, 0) + block for block in blocks)


SAMPLE = (order(1), order(2, ("AB12", 7)), order(3, ("AB12", 1), ("CD34", 22), ("EF56", 333)), order(4, note="   "))
FIXED = "01 REC.\n 05 NO PIC 9(4).\n 05 NAME PIC X(6).\n 05 AMOUNT PIC S9(5)V99 COMP-3.\n"
KINDS = """\
01 REC.
 05 KIND PIC X.
 05 HEAD. 10 ORDER-NO PIC 9(5). 10 CUSTOMER PIC X(4).
 05 LINE-ITEM REDEFINES HEAD. 10 SKU PIC X(4). 10 QTY PIC 9(3). 10 FILLER PIC X(2).
"""


def fixed_record(number: int, name: str, amount: str) -> bytes:
    return f"{number:04d}{name:6}".encode(E) + bytes.fromhex(amount)


RDW = worded(*SAMPLE[:2], b"", *SAMPLE[2:], SAMPLE[0][:-4] + b"!")


class TestCopybookLaws(FormatLaws):
    cases = (
        Case(
            "fixed",
            CopybookFormat(text=FIXED),
            fixed_record(1, "Ann", "0012345C") + fixed_record(2, "Bob", "0000001D") + fixed_record(3, "Eve", "00F2345C"),
            between=b"",
        ),
        Case("rdw", CopybookFormat(text=ORDERS, framing="rdw"), RDW, between=b""),
        Case(
            "bdw",
            CopybookFormat(text=ORDERS, framing="bdw"),
            blocked(worded(*SAMPLE[:3]), b"", worded(SAMPLE[3]), worded(SAMPLE[0]) + b"\x00\x05\x07\x00xx", worded(SAMPLE[1])),
            between=b"",
        ),
        Case("depending", CopybookFormat(text=ORDERS, framing="depending"), b"".join(SAMPLE), between=b""),
        Case(
            "lines",
            CopybookFormat(text=" 01 R.\n 05 A PIC X(3).\n 05 B PIC 9(2).\n", framing="lines", code_page="latin-1"),
            b"abc12\r\n\xe4bc34\n\nabc\nabcxx\nxyz56",
        ),
        Case(
            "levels",
            CopybookFormat(
                text=KINDS, code_page="ascii",
                segments={
                    "field": "KIND", "values": {"H": "HEAD", "L": "LINE-ITEM"}, "levels": ["H", "L"], "inherit": True,
                    "only": ["H", "L"],
                },
            ),
            b"T00000ABCDLXXXX00100H00001ANN LABCD00200LEFGH003  H00002BOB LABCD004  ",
            between=b"",
        ),
        Case(
            "field",
            CopybookFormat(text="01 R.\n 05 L PIC 9(2).\n 05 T PIC X(9).", code_page="ascii", framing="field", length_field="L"),
            b"05abc11123456789" + b"02" + b"04xy",
            between=b"",
        ),
    )  # fmt: skip
    fragments = (
        b"\x00\x00\x00\x00",
        b"\x00\x08\x00\x00",
        b"\x80\x00\x00\x20",
        b"\x00\x05\x01\x00",
        b"\xf0\xf1",
        b"\x40" * 9,
        b"00",
        b"99",
    )


class TestFraming:
    def test_a_broken_word_loses_no_byte_and_stops_nothing_before_it(self) -> None:
        data = worded(*SAMPLE) + b"\x00\x03\x00\x00" + bytes(700_000)
        records = read(CopybookFormat(text=ORDERS, framing="rdw"), data)
        assert [type(record.items[0]) for record in records] == [Row] * 4 + [Unreadable] * 3
        assert sum(record.end - record.offset for record in records) == len(data)
        assert "descriptor word of no record" in items_of(records)[-1].reason  # type: ignore[union-attr]

    def test_a_broken_word_within_a_block_costs_that_block(self) -> None:
        data = blocked(worded(SAMPLE[0]) + b"\xff\xff\x00\x00rest", worded(SAMPLE[1]))
        items = items_of(read(CopybookFormat(text=ORDERS, framing="bdw"), data))
        assert [type(item) for item in items] == [Row, Unreadable, Row]

    def test_an_extended_block_word(self) -> None:
        body = worded(*SAMPLE)
        data = struct.pack(">I", 0x80000000 | len(body) + 4) + body
        assert len(rows(CopybookFormat(text=ORDERS, framing="bdw"), data)) == 4

    def test_spanned_records_are_named(self) -> None:
        (item,) = items_of(read(CopybookFormat(text=ORDERS, framing="rdw"), b"\x00\x08\x01\x00abcd"))
        assert isinstance(item, Unreadable)
        assert "spanned" in item.reason

    def test_a_table_that_says_nonsense(self) -> None:
        data = order(1) + order(2).replace("00".encode(E) + "ok".encode(E), "77".encode(E) + "ok".encode(E)) + order(3)
        items = items_of(read(CopybookFormat(text=ORDERS, framing="depending"), data))
        assert isinstance(items[0], Row)
        assert isinstance(items[1], Unreadable)
        assert "LINES-COUNT is 77, not 0 to 3" in items[1].reason

    def test_fixed_tables(self) -> None:
        text = "01 R.\n 05 N PIC 9.\n 05 T PIC X OCCURS 1 TO 3 DEPENDING ON N.\n 05 E PIC X.\n"
        fixed = CopybookFormat(text=text, code_page="ascii", tables="fixed")
        moving = CopybookFormat(text=text, code_page="ascii", framing="depending")
        assert rows(fixed, b"2abxE") == [{"N": 2, "T": ["a", "b"], "E": "E"}]
        assert rows(moving, b"2abE") == [{"N": 2, "T": ["a", "b"], "E": "E"}]

    def test_a_record_that_is_longer_than_its_copybook(self) -> None:
        data = worded(order(1) + b"\xf1\xf2\xf3" * 9)
        (item,) = items_of(read(CopybookFormat(text=ORDERS, framing="rdw"), data))
        assert isinstance(item, Unreadable)
        assert "where the copybook has" in item.reason
        assert len(rows(CopybookFormat(text=ORDERS, framing="rdw", longer="ignore"), data)) == 1

    def test_speed_does_not_hang_on_the_size_of_a_read(self) -> None:
        """100,000 records in one piece: taken out one by one, never copied as a whole for each."""
        records = read(CopybookFormat(text="01 R. 05 A PIC X(2).", code_page="ascii"), b"ab" * 100_000)
        assert len(records) == 100_000


class TestLevels:
    LAYOUT = TestCopybookLaws.cases[5].format

    def test_rows_have_what_stands_above_them(self) -> None:
        found = [
            dict(item.fields)
            for item in items_of(read(self.LAYOUT, TestCopybookLaws.cases[5].sample))
            if isinstance(item, Row)
        ]
        assert (
            found[0] == {"parents": {}, "KIND": "L", "LINE_ITEM": {"SKU": "XXXX", "QTY": 1}}
            or "Seg_Id0" not in found[0]
        )
        assert found[2]["Seg_Id0"] == found[3]["Seg_Id0"] == "2"
        assert [row.get("Seg_Id1") for row in found[1:]] == [None, "2_L1_1", "2_L1_2", None, "5_L1_1"]
        assert found[3]["parents"]["H"]["HEAD"] == {"ORDER_NO": 1, "CUSTOMER": "ANN"}
        assert found[5]["parents"]["H"]["HEAD"]["ORDER_NO"] == 2


class TestFields:
    @pytest.mark.parametrize(
        ("clause", "data", "value"),
        [
            ("PIC S9(3)", "f1f2c3", 123),
            ("PIC S9(3)", "f1f2d3", -123),
            ("PIC S9(3)", "f1f2f3", 123),
            ("PIC S9(3) SIGN LEADING", "d1f2f3", -123),
            ("PIC S9(3)V99", "f0f1f2f3d4", Decimal("-12.34")),
            ("PIC 9(3)", "4040f7", 7),
            ("PIC 9(3)", "404040", None),
            ("PIC 9(3)", "000000", None),
            ("PIC 9(3)", "ffffff", None),
            ("PIC S9(3) SIGN IS TRAILING SEPARATE CHARACTER", "f1f2f360", -123),
            ("PIC S9(3) LEADING SEPARATE", "4ef1f2f3", 123),
            ("PIC S9(5) COMP-3", "12345d", -12345),
            ("PIC 9(4) PACKED-DECIMAL", "01234f", 1234),
            ("PIC S9(5) COMP-3", "404040", None),
            ("PIC 9(4) COMP-6", "1234", 1234),
            ("PIC S9(4) COMP", "ff85", -123),
            ("PIC 9(4) BINARY", "270f", 9999),
            ("PIC 9(4) COMP-5", "ffff", 65535),
            ("PIC S9(9)V99 COMP", "ffffffffffffff85", Decimal("-1.23")),
            ("PIC SP9(2)", "f1d2", Decimal("-0.012")),
            ("PIC 9(2)PP", "f1f2", 1200),
            ("COMP-1", "42640000", 100.0),
            ("COMP-1", "c276a000", -118.625),
            ("COMP-2", "4110000000000000", 1.0),
            ("COMP-2", "0000000000000000", 0.0),
            ("PIC ZZ,ZZ9.99-", "40f16bf2f3f44bf5f660", Decimal("-1234.56")),
            ("PIC $$$9.99CR", "405bf1f24bf5f0c3d9", Decimal("-12.50")),
            ("PIC 99/99/9999", "f0f161f3f161f2f0f2f6", "01/31/2026"),
            ("PIC N(2)", "00c400410020"[:8], "ÄA"),
            ("PIC X(4)", "c1004000", "A"),
            ("PIC X(2) JUSTIFIED RIGHT VALUE 'A.B'", "c1c2", "AB"),
        ],
    )  # fmt: skip
    def test_values(self, clause: str, data: str, value: Any) -> None:
        found = one(clause, bytes.fromhex(data))
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("clause", "data", "reason"),
        [
            ("PIC 9(3)", "f1c1f3", "is no zoned number"),
            ("PIC 9(3)", "f1f2d3", "is no zoned number"),
            ("PIC 9(3) COMP-3", "123a"[:2] + "fa", "is no packed decimal"),
            ("PIC 9(3) COMP-3", "123d", "its picture has no sign"),
            ("PIC 9(4) COMP", "ffff", "more than 4 digits"),
            ("PIC -(3)9", "c1c2c3c4", "is no edited number"),
        ],
    )
    def test_what_is_no_number_is_told(self, clause: str, data: str, reason: str) -> None:
        found = one(clause, bytes.fromhex(data))
        assert isinstance(found, str)
        assert found.startswith("REC.F: ")
        assert reason in found

    @pytest.mark.parametrize(
        ("clause", "data", "value"),
        [
            ("PIC S9(3)", b"12{", 120), ("PIC S9(3)", b"12L", -123), ("PIC S9(3)", b"12s", -123), ("PIC S9(3)", b"12C", 123),
            ("PIC 9.99,9", b"1.234", None),
        ],
    )  # fmt: skip
    def test_ascii_signs(self, clause: str, data: bytes, value: Any) -> None:
        if value is not None:
            assert one(clause, data, code_page="ascii") == value

    def test_ieee_floats_are_the_shortest_that_are_meant(self) -> None:
        assert one("COMP-1", struct.pack(">f", 0.1), floats="ieee") == 0.1
        assert one("COMP-1", struct.pack("<f", -7.25), floats="ieee", native_order="little") == -7.25
        assert "no finite number" in one("COMP-2", struct.pack(">d", float("nan")), floats="ieee")

    def test_options(self) -> None:
        assert one("PIC 9(4) COMP", b"\xff\xff", binary="native") == 65535
        assert one("PIC 9(4) COMP-5", b"\x01\x00", native_order="little") == 1
        assert one("PIC Z.ZZ9,99", b"1.234,50", code_page="ascii", decimal_comma=True) == Decimal("1234.50")
        assert one("PIC X(3)", b"\xad\xc1\xbd", code_page="cp1047") == "[A]"

    @given(st.integers(-(10**17) + 1, 10**17 - 1), st.integers(0, 6))
    @settings(max_examples=60, deadline=None)
    def test_what_a_program_writes_is_what_we_read(self, number: int, places: int) -> None:
        digits, sign = f"{abs(number):017d}", "d" if number < 0 else "c"
        value = Decimal(number).scaleb(-places)
        picture = f"PIC S9({17 - places})" + (f"V9({places})" if places else "")
        assert one(f"{picture} COMP-3", bytes.fromhex(digits + sign)) == value
        zoned = digits[:-1].encode(E) + bytes.fromhex(sign + digits[-1])
        assert one(picture, zoned) == value
        assert one(f"{picture} COMP", number.to_bytes(8, "big", signed=True)) == value


class TestParser:
    def test_reference_format(self) -> None:
        text = """\
000100* a comment                                                       REC0001
000200 01  REC.                                                         REC0002
000300     05  LONG-                                                    REC0003
000400-        NAME           PIC X(3).                                 REC0004
      D    05  DEBUGGED       PIC X.
           05  TAGGED.
               88  IS-ON      VALUE 'A' THRU 'Z'.
           EJECT
               10  :P:-A      PIC X VALUE "it's. ".  *> inline
               10  B          PICTURE IS 9(2) USAGE IS COMPUTATIONAL-3.
           05  FILLER         REDEFINES TAGGED.
               10  C          PIC X(3).
           05  FILLER         PIC X(2).
           05  G              COMP-3 OCCURS 2 TIMES INDEXED BY I, J.
               10  N          PIC 9(3).
       66  R RENAMES TAGGED.
"""
        layout = CopybookFormat(text=text)
        data = "abcX".encode(E) + bytes.fromhex("012f") + b"\x40\x40" + bytes.fromhex("001f002f")
        assert rows(layout, data) == [
            {
                "LONG_NAME": "abc",
                "TAGGED": {"P_A": "X", "B": 12},
                "FILLER_1": {"C": "X"},
                "G": [{"N": 1}, {"N": 2}],
            }
        ]

    def test_several_records_share_one_area(self) -> None:
        text = "01 HEAD. 05 K PIC X. 05 NO PIC 9(3).\n01 TAIL. 05 K PIC X. 05 TOTAL PIC 9(5)."
        layout = CopybookFormat(
            text=text, code_page="ascii", framing="lines", segments={"field": "K", "values": {"H": "HEAD", "T": "TAIL"}}
        )
        assert rows(layout, b"H007\nT00042\n") == [{"HEAD": {"K": "H", "NO": 7}}, {"TAIL": {"K": "T", "TOTAL": 42}}]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "no data description"),
            ("01 A PIC X", "no period"),
            ("01 A.", "neither a picture nor items"),
            ("01 A. COPY B.", "put the text of what it names"),
            ("01 A PIC X(0).", "0 characters"),
            ("01 A PIC Q9.", "cannot be read"),
            ("01 A PIC 9(99).", "no digits, or more than 60"),
            ("01 A PIC X FOO.", "'FOO' is no clause"),
            ("01 A PIC X COMP-3.", "needs a picture of digits"),
            ("50 A PIC X.", "no level 50"),
            ("01 A. 05 B PIC X. 05 C REDEFINES D PIC X.", "does not stand before it"),
            ("01 A. 05 B PIC X OCCURS 2 DEPENDING ON C.", "depends on an item that is not there"),
            ("01 A. 05 B PIC X OCCURS 0 TIMES.", "OCCURS 0 TO 0 cannot be"),
            ("01 A. 05 B PIC X(2000000).", "longer than 1048576"),
            ("01 A. 05 B OCCURS 9999. 10 C OCCURS 9999. 15 D PIC X.", "longer than 1048576"),
            ("01 A. 05 B PIC X. 05 C PIC 9(4) COMP SYNC.", "write the slack bytes"),
            ("01 A.\n 05 B PIC X.\n 05 C PIC X(2\n).", "text:3: C: "),
        ],
    )
    def test_mistakes_are_told_with_their_line(self, text: str, told: str) -> None:
        with pytest.raises(ValidationError) as caught:
            CopybookFormat(text=text)
        assert told in str(caught.value), str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [
            {}, {"text": "01 A PIC X.", "path": "a"}, {"path": "/no/such/file"}, {"text": "01 A PIC X.", "code_page": "utf-16"},
            {"text": "01 A PIC X.", "code_page": "base64"}, {"text": "01 A PIC X.", "framing": "field"},
            {"text": "01 A PIC X.", "segments": {"field": "B"}}, {"text": "01 A PIC X.", "groups_as_text": ["B"]},
            {"text": ORDERS}, {"text": "01 A PIC X.", "length": 5, "framing": "rdw"},
        ],
    )  # fmt: skip
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            CopybookFormat(**options)

    def test_a_path_counts_from_the_collectors_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.cpy").write_text("01 A PIC X.", encoding="utf-8")
        layout = CopybookFormat.model_validate({"path": "a.cpy", "code_page": "ascii"}, context={"base": tmp_path})
        assert rows(layout, b"x") == [{"A": "x"}]

    @given(
        st.one_of(
            st.text(max_size=300),
            st.lists(
                st.sampled_from(
                    ["01 ", "05 A", "10 FILLER", " PIC ", "X(3)", "S9(4)V99", "9(", "Z(5).99-", " COMP-3", " OCCURS 3", " TO 5",
                     ".",                     "\n", " DEPENDING ON A",
                     " REDEFINES A", "'", '"', " VALUE ", " SIGN LEADING SEPARATE", " COMP-1", "       ",
                     "      -", "88 X", " SYNC", " TIMES", "PPP", "(999999999)", "77 ", " 9"]
                ),
                max_size=40,
            ).map("".join),
        )
    )  # fmt: skip
    @settings(max_examples=150, deadline=None)
    def test_hostile_copybooks(self, text: str) -> None:
        with suppress(Invalid):
            parse_copybook(text)
        try:
            layout = CopybookFormat(text=text, framing="rdw")
        except ValidationError:
            return
        items: list[Item] = items_of(read(layout, worded(b"", b"\xf1" * 7, bytes(30))))
        assert all(isinstance(item, Row | Unreadable) for item in items)
        assert by_bytes(layout, worded(b"\xf1" * 7)) == read(layout, worded(b"\xf1" * 7))
