"""X12: the laws of every format; every open document; orders, their answers, shipments, invoices and acknowledgements as rows; what
trailers say is checked; hostile interchanges.

Samples of 855, 856, 810, 997, 999 and TA1 follow the published implementation guides' examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.formats.contract import Item
from collectors.formats.edi import MAX_PARTS
from collectors.formats.x12 import X12Format
from collectors.inputs.record import MAX_RAW, Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws, by_bytes, items_of, read

EDI = Path(__file__).parents[3] / "shared" / "fixtures" / "edi"
fixtures = pytest.mark.skipif(not EDI.is_dir(), reason=f"the open fixtures are not at {EDI}")
BETWEEN = b" \t\r\n\x00\x1a"

ISA = "ISA*00*          *00*          *ZZ*BUYER          *01*123456789      *260301*0936*U*00401*{0:09d}*0*P*>~"


def interchange(*groups: str, number: int = 55) -> bytes:
    return (ISA.format(number) + "".join(groups) + f"IEA*{len(groups)}*{number:09d}~").encode()


def group(kind: str, *sets: str, number: int = 7) -> str:
    return f"GS*{kind}*BUYER*SELLER*20260301*0936*{number}*X*004010~" + "".join(sets) + f"GE*{len(sets)}*{number}~"


def transaction(kind: str, *segments: str, control: str = "0001") -> str:
    return f"ST*{kind}*{control}~" + "".join(f"{s}~" for s in segments) + f"SE*{len(segments) + 2}*{control}~"


ORDER = (
    "BEG*00*SA*PO-4711**20260301", "REF*CO*C-1", "N1*BY*Example Ltd*92*1500", "N1*ST*Depot 4*92*4", "N3*1 Road",
    "N4*Town*TX*78045*US",
    "PO1*1*10*EA*9.99**VN*AB12", "PID*F****Widget", "PO1*2*4*EA*1.50**VN*CD34", "DTM*002*20260310", "CTT*2", "AMT*TT*105.9",
)  # fmt: skip
SHIPMENT = (
    "BSN*00*SHIP-1*20260302*1200", "HL*1**S", "TD5**2*UPSN", "REF*CN*1Z999", "N1*SF*Seller", "HL*2*1*O", "PRF*PO-4711", "HL*3*2*P",
    "MAN*GM*00100700001234567890", "HL*4*3*I", "LIN**VN*AB12", "SN1**10*EA", "HL*5*2*P",
    "HL*6*5*I", "LIN**VN*CD34", "SN1**4*EA", "CTT*6",
)  # fmt: skip
ACK = (
    "AK1*PO*7", "AK2*850*0001", "AK5*A", "AK2*850*0002", "AK3*PO1*6**8", "AK4*2**7*xx", "AK3*N1*9**3", "AK5*R*5", "AK9*P*2*2*1",
)  # fmt: skip


def rows(data: bytes, **options: Any) -> list[dict[str, Any]]:
    found = []
    for item in items_of(read(X12Format(**options), data)):
        assert isinstance(item, Row), item
        found.append(dict(item.fields))
    return found


def reasons(data: bytes, **options: Any) -> list[str]:
    return [item.reason for item in items_of(read(X12Format(**options), data)) if isinstance(item, Unreadable)]


def at(row: dict[str, Any], path: str) -> Any:
    here: Any = row
    for part in path.split("."):
        here = here[int(part)] if isinstance(here, list) else here[part]
    return here


TWO = group("PO", transaction("850", *ORDER), transaction("850", *ORDER[:3], control="0002"))
SHIPPED = interchange(group("SH", transaction("856", *SHIPMENT)))
BROKEN = b"".join(
    (
        b"junk\n",
        interchange(TWO)[:-30],
        b"\n",
        interchange(TWO),
        b"IEA*1*1~",
        interchange(TWO).replace(b"SE*14", b"SE*13"),
    )
)


class TestX12Laws(FormatLaws):
    cases = (
        Case("orders", X12Format(), b"\xef\xbb\xbf" + interchange(TWO) + b"\r\n\r\n" + interchange(TWO, number=56), BETWEEN),
        Case("lines", X12Format(each="PO1"), interchange(TWO).replace(b"~", b"~\n").replace(b"CTT", b"\t CTT"), BETWEEN),
        Case("newlines end segments", X12Format(each=["HL"]), SHIPPED.replace(b"~", b"\n"), BETWEEN),
        Case("broken", X12Format(), BROKEN, BETWEEN),
        Case("mainframe", X12Format(encoding="cp037"), interchange(TWO).decode().encode("cp037"), b"\x40\x25\x0d\x05\x00"),
    )  # fmt: skip
    fragments = (
        b"ISA*",
        b"ISA",
        b"~ISA*00*",
        b"IEA*1*000000055~",
        b"GS*",
        b"ST*850*1~",
        b"SE*2*1~",
        b"GE*1*7~",
        b"HL*1*1*S~",
        b"\x1a",
        b">",
    )


@fixtures
class TestFixtures:
    @pytest.mark.parametrize(
        ("name", "kind", "paths"),
        [
            ("850", "850", {"BEG.03": "1000012", "N1.ST.N4.01": "Hauppauge", "PO1.0.07": "0054321", "sender": "000123456"}),
            ("850a", "850", {"BEG.03": "4600000406", "PO1.2.09": "A_QF001-RED", "PO1.0.DTM.067.02": "20140804",
                             "N1.BY.04": "1500"}),
            ("810a", "810", {"BIG.02": "DO091003TESTINV01", "IT1.1.07": "ID002", "ITD.all.4.03": "-10", "AMT.BAP.02": "365.96",
                             "N1.RI.REF.RT.02": "123456789", "IT1.0.N1.ST.N4.03": "94107", "TDS.01": "36596"}),
            ("214", "214", {"B10.01": "1751807", "LX.0.AT7.0.01": "D1", "LX.0.AT7.0.MS1.01": "BRATTLEBORO",
                            "date": "2016-07-26T13:03"}),
        ],
    )  # fmt: skip
    def test_every_document(self, name: str, kind: str, paths: dict[str, str]) -> None:
        (row,) = rows((EDI / f"x12.{name}.edi").read_bytes(), check="none")
        assert row["type"] == kind
        assert {path: at(row, path) for path in paths} == paths

    @pytest.mark.parametrize("name", ["850", "850a"])
    def test_a_trailer_that_does_not_belong_to_its_header(self, name: str) -> None:
        data = (EDI / f"x12.{name}.edi").read_bytes()
        assert reasons(data)[0].endswith("(IEA): has the control number '000000001', segment 1 (ISA) has '000000055'")
        (row,) = rows(data, check="sets")
        assert row["mismatch"] == reasons(data)

    def test_documents_that_are_right(self) -> None:
        for name in ("810a", "214"):
            (row,) = rows((EDI / f"x12.{name}.edi").read_bytes())
            assert "mismatch" not in row


class TestSets:
    def test_an_order(self) -> None:
        first, second = rows(interchange(TWO))
        envelope = {
            "standard": "x12", "type": "850", "version": "004010", "control": "0001", "interchange": "000000055",
            "sender": "BUYER", "sender_qualifier": "ZZ", "receiver": "123456789", "receiver_qualifier": "01",
            "date": "2026-03-01T09:36", "test": False,
            "functional": "PO", "group": "7", "group_sender": "BUYER", "group_receiver": "SELLER", "group_date": "2026-03-01T09:36",
        }  # fmt: skip
        assert {name: first[name] for name in envelope} == envelope
        assert second["control"] == "0002"
        assert at(first, "N1.ST.N4.02") == "TX"
        assert [line["02"] for line in first["PO1"]] == ["10", "4"]
        assert at(first, "PO1.1.DTM.002.02") == "20260310"
        assert first["AMT"]["TT"]["02"] == "105.9"

    def test_a_row_for_each_line_inherits_the_order(self) -> None:
        found = rows(interchange(TWO), each="PO1")
        assert [(row["BEG"]["03"], row["control"], at(row, "PO1.07") if "PO1" in row else None) for row in found] == [
            ("PO-4711", "0001", "AB12"),
            ("PO-4711", "0001", "CD34"),
            ("PO-4711", "0002", None),
        ]

    def test_raw_is_the_line_and_places_are_its(self) -> None:
        data = interchange(TWO).replace(b"~", b"~\n")
        found = items_of(read(X12Format(each="PO1"), data))
        assert found[0].raw == b"PO1*1*10*EA*9.99**VN*AB12~\nPID*F****Widget~"
        assert data.splitlines()[found[0].line - 1].startswith(b"PO1*1")

    def test_an_answer_to_an_order(self) -> None:
        answer = (
            "BAK*00*AC*PO-4711*20260301",
            "PO1*1*10*EA*9.99**VN*AB12",
            "ACK*IB*6*EA*068*20260310",
            "ACK*IA*4*EA",
            "CTT*1",
        )
        (row,) = rows(interchange(group("PR", transaction("855", *answer))), each="PO1")
        assert (row["BAK"]["03"], at(row, "PO1.ACK.01"), at(row, "PO1.ACK.all.1.02")) == ("PO-4711", "IB", "4")

    def test_levels_of_a_shipment(self) -> None:
        found = rows(interchange(group("SH", transaction("856", *SHIPMENT))), each="HL")
        items = [row["HL"] for row in found if row["HL"]["03"] == "I"]
        assert [(hl["LIN"]["03"], hl["O"]["PRF"]["01"], hl["S"]["REF"]["CN"]["02"]) for hl in items] == [
            ("AB12", "PO-4711", "1Z999"),
            ("CD34", "PO-4711", "1Z999"),
        ]
        assert items[0]["P"]["MAN"]["GM"]["02"] == "00100700001234567890"
        assert found[0]["BSN"]["02"] == "SHIP-1"

    def test_levels_that_go_round_in_a_circle(self) -> None:
        found = rows(interchange(group("SH", transaction("856", "HL*1*2*S", "HL*2*1*O", "HL*2*2*I"))), each="HL")
        assert len(found) == 3

    def test_a_loop_that_is_only_asked_for(self) -> None:
        stock = ("BFR*00*1", "LIN*1*VN*A", "QTY*01*5", "LIN*2*VN*B", "QTY*01*6")
        found = rows(interchange(group("PS", transaction("830", *stock))), each="LIN")
        assert [(at(row, "LIN.03"), at(row, "LIN.QTY.02")) for row in found] == [("A", "5"), ("B", "6")]

    def test_components_and_repetitions(self) -> None:
        data = interchange(group("PO", transaction("850", "SV1*HC:99213>A>B*1", "CLM*a^b>c^d"))).replace(
            b"*U*00401", b"*^*00501"
        )
        (row,) = rows(data)
        assert row["SV1"] == {"01": "HC:99213", "01-2": "A", "01-3": "B", "02": "1"}
        assert row["CLM"] == {"01": "a", "01[2]": "b", "01[2]-2": "c", "01[3]": "d"}


class TestAcknowledgements:
    def test_a_row_for_each_set(self) -> None:
        first, second = rows(interchange(group("FA", transaction("997", *ACK))))
        said = {name: value for name, value in first.items() if name.startswith("ack_")}
        assert said == {
            "ack_functional": "PO", "ack_group": "7", "ack_type": "850", "ack_control": "0001", "ack_code": "A",
            "ack_outcome": "accepted",
        }  # fmt: skip
        assert (second["ack_control"], second["ack_outcome"]) == ("0002", "rejected")
        assert second["ack_error"] == "PO1 at 6: code 8; element 2: code 7 xx; N1 at 9: code 3; code 5"

    def test_a_group_as_a_whole(self) -> None:
        (row,) = rows(interchange(group("FA", transaction("997", "AK1*PO*0007", "AK9*A*2*2*2"))))
        assert (row["ack_group"], row["ack_outcome"], "ack_control" in row) == ("7", "accepted", False)

    def test_999(self) -> None:
        ack = (
            "AK1*PO*7*004010",
            "AK2*850*0001*004010",
            "IK3*PO1*6**8",
            "CTX*PO1",
            "IK4*2**7*xx",
            "IK5*E",
            "AK9*E*1*1*1",
        )
        (row,) = rows(interchange(group("FA", transaction("999", *ack))))
        assert (row["ack_outcome"], row["ack_error"]) == (
            "accepted_with_errors",
            "PO1 at 6: code 8; element 2: code 7 xx",
        )

    def test_ta1(self) -> None:
        data = interchange().replace(b"IEA", b"TA1*000000055*260301*0936*R*018~IEA")
        (row,) = rows(data)
        said = {name: value for name, value in row.items() if name.startswith("ack_")}
        assert said == {
            "ack_interchange": "000000055",
            "ack_code": "R",
            "ack_outcome": "rejected",
            "ack_error": "note code 018",
        }

    def test_an_order_and_its_acknowledgement_have_one_key(self) -> None:
        (order,) = rows(interchange(group("PO", transaction("850", *ORDER))))
        back = interchange(group("FA", transaction("997", *ACK))).decode()
        back = back.replace("*ZZ*BUYER          *01*123456789      *", "*01*123456789      *ZZ*BUYER          *")
        ack = rows(back.encode())[0]
        assert "{sender}:{receiver}:{group}:{control}".format_map(order) == (
            "{receiver}:{sender}:{ack_group}:{ack_control}".format_map(ack)
        )


class TestWhatIsWrong:
    GOOD = interchange(TWO)

    @pytest.mark.parametrize(
        ("what", "instead", "told"),
        [
            (b"SE*14*0001", b"SE*15*0001", "segment 16 (SE): counts '15' segments, there are 14"),
            (b"SE*14*0001", b"SE*14*0009", "segment 16 (SE): has the control number '0009', segment 3 (ST) has '0001'"),
            (b"SE*14*0001~", b"", "segment 16 (ST): stands where SE is missing"),
            (b"PO1*1", b"po1*1", "segment 10 ('po1'): no segment begins so"),
            (b"Widget", b"\xff", "segment 11 (?): bytes that are not utf-8"),
            (b"ST*850*0002", b"ST*850*0001", "its control number '0001' was there before"),
        ],
    )
    def test_a_set_is_set_aside_and_the_others_are_not(self, what: bytes, instead: bytes, told: str) -> None:
        data = self.GOOD.replace(what, instead)
        if instead == b"ST*850*0001":
            data = data.replace(b"SE*5*0002", b"SE*5*0001")
        items = items_of(read(X12Format(), data))
        assert sorted(type(item).__name__ for item in items) == ["Row", "Unreadable"]
        assert any(told in reason for reason in reasons(data)), reasons(data)

    @pytest.mark.parametrize(
        ("what", "instead", "told"),
        [
            (b"GE*2*7", b"GE*3*7", "segment 22 (GE): counts '3' sets, there are 2"),
            (b"GE*2*7", b"GE*2*8", "segment 22 (GE): has the control number '8'"),
            (b"GE*2*7~", b"", "segment 22 (IEA): stands where GE is missing"),
            (b"IEA*1", b"IEA*2", "segment 23 (IEA): counts '2' groups, there are 1"),
            (b"IEA*1*000000055", b"IEA*1*000000056", "has the control number '000000056'"),
        ],
    )
    def test_envelopes_are_checked(self, what: bytes, instead: bytes, told: str) -> None:
        data = self.GOOD.replace(what, instead)
        assert len(reasons(data)) == 2
        assert all(told in reason for reason in reasons(data)), reasons(data)
        for row in rows(data, check="sets"):
            assert told in row["mismatch"][0]

    def test_numbers_are_compared_as_numbers_where_they_are(self) -> None:
        assert len(rows(self.GOOD.replace(b"GE*2*7~", b"GE*2*0007~").replace(b"IEA*1*000000055", b"IEA*1*55"))) == 2

    def test_segments_outside_of_a_set(self) -> None:
        data = self.GOOD.replace(b"GE*2", b"REF*X*Y~GE*2")
        assert reasons(data) == ["segment 22 (REF): stands outside of any ST"]
        assert len(items_of(read(X12Format(), data))) == 3

    def test_an_interchange_that_says_nothing(self) -> None:
        assert reasons(interchange()) == ["no transaction set or message in the interchange"]

    def test_reading_goes_on_at_the_next_interchange(self) -> None:
        data = b"garbage ISA garbage" + self.GOOD[:200] + b"\n" + self.GOOD + b"trailing"
        items = items_of(read(X12Format(), data))
        assert [type(item) for item in items] == [Unreadable, Unreadable, Row, Row, Unreadable]
        assert [item.reason for item in items if isinstance(item, Unreadable)] == [
            "no interchange begins here", "the interchange has no IEA", "no interchange begins here",
        ]  # fmt: skip

    def test_an_interchange_that_is_too_large(self) -> None:
        filling = b"REF*X*" + b"y" * 300 + b"~"
        data = self.GOOD.replace(b"CTT", filling * 10 + b"CTT") + self.GOOD
        records = read(X12Format(max_bytes=2048), data)
        assert records == by_bytes(X12Format(max_bytes=2048), data)
        assert [type(item) for item in items_of(records)] == [Unreadable, Unreadable, Row, Row]
        assert "more than 2048 bytes" in reasons(data, max_bytes=2048)[0]

    def test_more_parts_than_memory_should_hold(self) -> None:
        data = self.GOOD.replace(b"CTT", b"CTT" + b"*" * (MAX_PARTS + 1))
        (reason,) = reasons(data)
        assert "parts" in reason

    @pytest.mark.parametrize("piece", [b"ISA*", b"~ISA*", b"IEA*1~ISA*", b"ISA*00*"])
    def test_what_only_looks_like_headers_is_not_one_record_each(self, piece: bytes) -> None:
        records = read(X12Format(), piece * 4000 + b"\n" + self.GOOD)
        assert len(records) < 5
        assert [type(item) for item in items_of(records)[-2:]] == [Row, Row]

    def test_junk_comes_in_pieces(self) -> None:
        data = b"x" * (2 * MAX_RAW + 10) + self.GOOD
        records = read(X12Format(), data)
        assert [record.end - record.offset for record in records[:3]] == [MAX_RAW, MAX_RAW, 10]
        assert len(items_of(records)) == 5

    @pytest.mark.parametrize("options", [{"each": "po1"}, {"encoding": "utf-16"}, {"check": "some"}, {"max_bytes": 1}])
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            X12Format(**options)

    @given(
        st.lists(
            st.sampled_from(
                [ISA.format(55), "ISA*", "IEA*1*000000055~", "GS*PO*A*B*20260301*0936*7*X*004010~", "GE*1*7~", "ST*850*0001~",
                 "ST*997*2~",
                 "SE*3*0001~", "SE*2*0001~", "SE*3*2~", "BEG*00*SA*1~", "PO1*1~", "N1*ST*x~", "N4*y~", "AK1*PO*7~", "AK2*850*1~",
                 "AK5*A~", "HL*1*1*S~", "HL*2*1*O~", "TA1*1*2*3*A*000~", "CTT*1~", "~~", "\n", "*", ">", "é~", "x~"]
            ),
            max_size=25,
        ).map("".join),
        st.sampled_from([(), ("PO1",), ("HL",), ("N1", "HL")]),
    )  # fmt: skip
    @settings(max_examples=150, deadline=None)
    def test_hostile_interchanges(self, text: str, each: tuple[str, ...]) -> None:
        layout = X12Format(each=each, check="none")
        records = read(layout, text.encode())
        found: list[Item] = items_of(records)
        assert records == by_bytes(layout, text.encode())
        assert all(record.items for record in records)
        for item in found:
            assert isinstance(item, Row | Unreadable)
            item.payload()
