"""EDIFACT: the laws of every format; every open document; orders, their answers, despatch advices, invoices and acknowledgements as
rows; separators, release characters and charsets; what trailers say is checked; hostile interchanges.

Samples of DESADV, INVOIC and CONTRL follow the examples of the published message guides (D.96A, syntax version 3).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.formats.edifact import EdifactFormat
from collectors.inputs.record import Row, Unreadable
from tests.collectors.format_laws import Case, FormatLaws, by_bytes, items_of, read
from tests.collectors.test_format_x12 import BETWEEN, EDI, at, fixtures

ORDER = (
    "BGM+220+PO?+4711+9", "DTM+137:20260301:102", "RFF+CT:652744", "DTM+171:20260201:102", "NAD+BY+5412345000013::9",
    "CTA+OC+:P FORGET", "COM+0044715632478:TE", "NAD+SU+4012345500004::9", "CUX+2:EUR:9", "LIN+1++4000862141404:SRV", "QTY+21:48",
    "PRI+AAA:699.84", "RFF+PL:AUG93RNG04", "DTM+171:20260801:102", "LIN+2++5412345111115:SRV", "QTY+21:58", "UNS+S", "CNT+2:2",
)  # fmt: skip
DESPATCH = (
    "BGM+351+DES587441+9", "DTM+137:20260302:102", "RFF+ON:PO?+4711", "NAD+BY+5412345000013::9", "CPS+1", "PAC+2++201::9",
    "CPS+2+1",
    "PAC+1++201::9", "PCI+33E", "GIN+BJ+354107380000001051", "LIN+1++4000862141404:SRV", "QTY+12:48", "CPS+3+1", "PAC+1++201::9",
    "PCI+33E", "GIN+BJ+354107380000001068", "LIN+2++5412345111115:SRV", "QTY+12:58", "CNT+2:2",
)  # fmt: skip
INVOICE = (
    "BGM+380+IN432097", "DTM+137:20260308:102", "RFF+ON:PO?+4711", "DTM+171:20260301:102", "NAD+BY+5412345000013::9",
    "RFF+VA:4146023",
    "NAD+SU+4012345500004::9", "CUX+2:EUR:4", "LIN+1++4000862141404:SRV", "QTY+47:40", "MOA+203:2160", "PRI+AAA:54::CT",
    "TAX+7+VAT+++:::21+S", "MOA+124:453.6", "UNS+S", "CNT+2:1", "MOA+86:2613.6", "TAX+7+VAT+++:::21+S", "MOA+124:453.6",
)  # fmt: skip


def message(kind: str, *segments: str, reference: str = "ME000001") -> str:
    body = "".join(f"{segment}'" for segment in segments)
    return f"UNH+{reference}+{kind}:D:96A:UN:EAN008'{body}UNT+{len(segments) + 2}+{reference}'"


def interchange(
    *messages: str, una: str = "", reference: str = "IC77", sender: str = "BUYER", receiver: str = "SELLER"
) -> bytes:
    header = f"UNB+UNOC:3+{sender}:14+{receiver}:14+260301:0936+{reference}++ORDERS'"
    return (una + header + "".join(messages) + f"UNZ+{len(messages)}+{reference}'").encode("latin-1")


def rows(data: bytes, **options: Any) -> list[dict[str, Any]]:
    found = []
    for item in items_of(read(EdifactFormat(**options), data)):
        assert isinstance(item, Row), item
        found.append(dict(item.fields))
    return found


def reasons(data: bytes, **options: Any) -> list[str]:
    return [item.reason for item in items_of(read(EdifactFormat(**options), data)) if isinstance(item, Unreadable)]


UNA = "UNA:+.? '"
ORDERS = message("ORDERS", *ORDER)
TWO = interchange(ORDERS, message("ORDERS", *ORDER[:2], reference="ME000002"), una=UNA)
OTHER = b"UNA|^,!*~UNB^UNOY|4^A^B^20260301|0936^1~UNH^1^ORDERS|D|96A|UN~BGM^a!~b|c*d~UNT^3^1~UNZ^1^1~"


class TestEdifactLaws(FormatLaws):
    cases = (
        Case("orders", EdifactFormat(), b"\xef\xbb\xbf" + TWO + b"\r\n" + interchange(ORDERS, reference="IC78"), BETWEEN),
        Case("lines", EdifactFormat(each="LIN"), UNA.encode() + TWO[9:].replace(b"'", b"'\n\t"), BETWEEN),
        Case(
            "broken",
            EdifactFormat(),
            b"junk UNB junk\n" + TWO[:-30] + b"\n" + TWO + b"UNZ+1+1'" + TWO.replace(b"UNT+20", b"UNT+21"),
            BETWEEN,
        ),
        Case("cut off", EdifactFormat(), TWO[:200] + TWO + interchange(ORDERS)[:-7] + interchange(ORDERS), BETWEEN),
        Case("other separators", EdifactFormat(), OTHER, BETWEEN),
    )  # fmt: skip
    fragments = (
        b"UNA:+.? '",
        b"UNB+UNOA:1",
        b"UNB+UNOA:1+A+B+260301:1+X'",
        b"UNZ+1+IC77'",
        b"UNH+1+ORDERS'",
        b"?",
        b"?'",
        b"'UNZ+",
        b"UNA",
    )


@fixtures
class TestFixtures:
    def test_orders(self) -> None:
        data = (EDI / "edifact.01.edi").read_bytes()
        (row,) = rows(data, check="none")
        paths = {
            "type": "QUOTES", "version": "D.96A", "association": "EDIEL2", "sender": "1234567891123", "interchange": "HBQ001",
            "acknowledge": True, "test": False, "BGM.02": "2010101900026812", "DTM.137.01-2": "201010191104",
            "NAD.FR.LOC.105.02": "SE1",
            "LIN.0.PRI.CAL.01-2": "-2100", "LIN.0.PRI.all.1.01-2": "21000", "LIN.0.PRI.RNG.02-2": "-0.1",
            "LIN.2.DTM.324.01-3": "Z13",
        }  # fmt: skip
        assert {path: at(row, path) for path in paths} == paths
        assert len(row["LIN"]) == 3
        assert reasons(data) == ["segment 32 (UNT): counts '158' segments, there are 31"]
        assert len(row["mismatch"]) == 2

    def test_an_answer(self) -> None:
        data = (EDI / "edifact.ORDRSP.edi").read_bytes()
        (row,) = rows(data, check="none")
        paths = {
            "type": "ORDRSP", "version": "D.10A", "control": "9IMX20YSP0009", "date": "2016-03-21T14:25",
            "BGM.02": "IM20U000000000CNF",
            "RFF.ON.01-2": "00001672", "RFF.ON.DTM.171.01-2": "201510231149", "NAD.MS.CTA.COM.01": "+49 123 45678 8652",
            "NAD.MS.CTA.02-2": "Spiderman, Clack", "LIN.0.FTX.ACB.04-5": "Text5", "MOA.24.01-2": "9",
        }  # fmt: skip
        assert {path: at(row, path) for path in paths} == paths
        assert reasons(data) == ["segment 32 (UNT): counts '17' segments, there are 31"]
        assert (
            row["mismatch"][1]
            == "segment 32 (UNT): has the control number '9IM20YSP9', segment 2 (UNH) has '9IMX20YSP0009'"
        )
        assert row["mismatch"][2].startswith("segment 33 (UNZ): has the control number 'DAREFNR00001'")


class TestMessages:
    def test_an_order(self) -> None:
        first, second = rows(TWO)
        envelope = {
            "standard": "edifact", "type": "ORDERS", "version": "D.96A", "association": "EAN008", "control": "ME000001",
            "interchange": "IC77", "sender": "BUYER", "sender_qualifier": "14", "receiver": "SELLER", "receiver_qualifier": "14",
            "date": "2026-03-01T09:36", "test": False,
        }  # fmt: skip
        assert {name: first[name] for name in envelope} == envelope
        assert second["control"] == "ME000002"
        paths = {
            "BGM.02": "PO+4711", "DTM.137.01-2": "20260301", "RFF.CT.DTM.171.01-2": "20260201", "NAD.BY.02": "5412345000013",
            "NAD.BY.02-3": "9", "NAD.BY.CTA.COM.01": "0044715632478", "LIN.0.03": "4000862141404", "LIN.1.QTY.21.01-2": "58",
            "LIN.0.PRI.AAA.01-2": "699.84", "LIN.0.RFF.PL.DTM.171.01-2": "20260801", "CNT.2.01-2": "2",
        }  # fmt: skip
        assert {path: at(first, path) for path in paths} == paths

    def test_a_row_for_each_line_inherits_the_order(self) -> None:
        found = rows(interchange(ORDERS), each="LIN")
        assert [(row["BGM"]["02"], row["LIN"]["03"], at(row, "LIN.QTY.21.01-2")) for row in found] == [
            ("PO+4711", "4000862141404", "48"),
            ("PO+4711", "5412345111115", "58"),
        ]

    def test_a_despatch_advice_by_its_packages(self) -> None:
        found = rows(interchange(message("DESADV", *DESPATCH)), each="LIN")
        assert [(at(row, "RFF.ON.01-2"), at(row, "CPS.PAC.PCI.GIN.BJ.02"), row["LIN"]["03"]) for row in found] == [
            ("PO+4711", "354107380000001051", "4000862141404"),
            ("PO+4711", "354107380000001068", "5412345111115"),
        ]
        (whole,) = rows(interchange(message("DESADV", *DESPATCH)))
        assert [level.get("02") for level in whole["CPS"]] == [None, "1", "1"]

    def test_an_invoice(self) -> None:
        (row,) = rows(interchange(message("INVOIC", *INVOICE)))
        paths = {
            "RFF.ON.01-2": "PO+4711", "RFF.ON.DTM.171.01-2": "20260301", "NAD.BY.RFF.VA.01-2": "4146023", "MOA.86.01-2": "2613.6",
            "LIN.0.TAX.MOA.124.01-2": "453.6", "TAX.7.05-4": "21",
        }  # fmt: skip
        assert {path: at(row, path) for path in paths} == paths

    def test_groups(self) -> None:
        data = interchange(f"UNG+ORDERS+B+S+260301:0936+G5+UN+D:96A'{ORDERS}UNE+1+G5'")
        (row,) = rows(data)
        assert (row["group"], row["control"]) == ("G5", "ME000001")
        assert reasons(data.replace(b"UNE+1+G5", b"UNE+2+G5"))[0].endswith("(UNE): counts '2' sets, there are 1")


class TestAcknowledgements:
    CONTRL = (
        "UCI+IC77+BUYER:14+SELLER:14+8", "UCM+ME000001+ORDERS:D:96A:UN:EAN008+7", "UCM+ME000002+ORDERS:D:96A:UN:EAN008+4+12",
        "UCS+4+13", "UCD+12+3:1",
    )  # fmt: skip

    def test_a_row_for_each_message(self) -> None:
        first, second = rows(interchange(message("CONTRL", *self.CONTRL), sender="SELLER", receiver="BUYER"))
        said = {name: value for name, value in first.items() if name.startswith("ack_")}
        assert said == {
            "ack_interchange": "IC77", "ack_control": "ME000001", "ack_type": "ORDERS", "ack_code": "7", "ack_outcome": "accepted",
        }  # fmt: skip
        assert (second["ack_control"], second["ack_outcome"]) == ("ME000002", "rejected")
        assert second["ack_error"] == "code 12; segment 4: code 13; element 3: code 12"

    def test_an_interchange_as_a_whole(self) -> None:
        (row,) = rows(interchange(message("CONTRL", "UCI+IC77+BUYER:14+SELLER:14+4+23")))
        assert (row["ack_interchange"], row["ack_outcome"], row["ack_error"]) == ("IC77", "rejected", "code 23")

    def test_within_a_group(self) -> None:
        (row,) = rows(interchange(message("CONTRL", self.CONTRL[0], "UCF+G5+B+S+7", self.CONTRL[1])))
        assert (row["ack_group"], row["ack_control"], row["ack_outcome"]) == ("G5", "ME000001", "accepted")

    def test_an_order_and_its_acknowledgement_have_one_key(self) -> None:
        order = rows(TWO)[0]
        ack = rows(interchange(message("CONTRL", *self.CONTRL), sender="SELLER", receiver="BUYER"))[0]
        assert "{sender}:{receiver}:{interchange}:{control}".format_map(order) == (
            "{receiver}:{sender}:{ack_interchange}:{ack_control}".format_map(ack)
        )


class TestCharacters:
    def test_other_separators(self) -> None:
        (row,) = rows(TestEdifactLaws.cases[4].sample)
        assert row["BGM"] == {"01": "a~b", "01-2": "c", "01[2]": "d", "a~b": {"01": "a~b", "01-2": "c", "01[2]": "d"}}
        assert row["date"] == "2026-03-01T09:36"

    def test_what_is_released_is_text(self) -> None:
        (row,) = rows(interchange(message("ORDERS", "FTX+AAI+++what??:is?'UNZ?+1?:2??", "BGM+220+?+")))
        assert row["FTX"]["AAI"]["04"] == "what?"
        assert row["FTX"]["AAI"]["04-2"] == "is'UNZ+1:2?"
        assert row["BGM"]["02"] == "+"

    def test_charsets(self) -> None:
        latin = interchange(message("ORDERS", "FTX+AAI+++Grüße"))
        assert at(rows(latin)[0], "FTX.AAI.04") == "Grüße"
        unicode = latin.decode("latin-1").replace("UNOC:3", "UNOY:4").encode()
        assert at(rows(unicode)[0], "FTX.AAI.04") == "Grüße"
        assert at(rows(latin.decode("latin-1").encode(), encoding="utf-8")[0], "FTX.AAI.04") == "Grüße"
        assert reasons(latin, encoding="utf-8") == ["segment 3 (?): bytes that are not utf-8"]


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("what", "instead", "told"),
        [
            (b"UNT+20+ME000001", b"UNT+21+ME000001", "segment 21 (UNT): counts '21' segments, there are 20"),
            (b"UNT+20+ME000001", b"UNT+20+ME1", "(UNT): has the control number 'ME1', segment 2 (UNH) has 'ME000001'"),
            (b"UNT+20+ME000001'", b"", "segment 21 (UNH): stands where UNT is missing"),
            (b"LIN+1", b"L+1", "('L'): no segment begins so"),
        ],
    )
    def test_a_message_is_set_aside_and_the_others_are_not(self, what: bytes, instead: bytes, told: str) -> None:
        data = TWO.replace(what, instead)
        assert [type(item) for item in items_of(read(EdifactFormat(), data))] == [Unreadable, Row]
        assert told in reasons(data)[0]

    def test_the_interchanges_trailer(self) -> None:
        assert all("counts '3' messages, there are 2" in reason for reason in reasons(TWO.replace(b"UNZ+2", b"UNZ+3")))
        assert len(rows(TWO.replace(b"UNZ+2+IC77", b"UNZ+2+IC78"), check="sets")) == 2

    def test_one_control_number_twice(self) -> None:
        data = interchange(ORDERS, ORDERS)
        assert "was there before" in reasons(data)[0]
        assert len(items_of(read(EdifactFormat(), data))) == 2

    def test_reading_goes_on_at_the_next_interchange(self) -> None:
        data = TWO[:300] + TWO + b"UNB+x'" + TWO[9:-8] + TWO
        found = [type(item).__name__[:3] for item in items_of(read(EdifactFormat(), data))]
        assert found == ["Unr", "Row", "Row", "Unr", "Unr", "Row", "Row"]

    def test_una_without_its_header(self) -> None:
        assert reasons(b"UNA:+.? 'UNH+1'" + TWO)[0] == "no UNB behind the UNA"
        assert reasons(b"UNA''''''UNB+" + TWO)[0] == "the UNA has separators that cannot be"
        assert "needs a UNA" in reasons(b"UNB|UNOA:1" + TWO)[0]

    @pytest.mark.parametrize(
        "options", [{"each": "lin"}, {"encoding": "utf-16"}, {"encoding": "cp037"}, {"check": "some"}]
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            EdifactFormat(**options)

    @given(
        st.lists(
            st.sampled_from(
                ["UNA:+.? '", "UNB+UNOC:3+A+B+260301:0936+1'", "UNZ+1+1'", "UNZ+0+1'", "UNH+1+ORDERS:D:96A:UN'",
                "UNH+2+CONTRL:2:2:UN'",
                 "UNT+3+1'", "UNT+2+2'", "BGM+220+1'", "LIN+1'", "CPS+1'", "NAD+BY+1'", "CTA+OC'", "COM+1:TE'", "RFF+ON:1'",
                 "DTM+1'",
                 "UCI+1+A+B+8'", "UCM+1+ORDERS+7'", "UCS+1'", "UCD+1'", "UCF+1'", "UNS+S'", "UNG+1'", "UNE+1+1'", "?", "'", "+",
                 ":", "\n",
                 "ü", "x'"]
            ),
            max_size=25,
        ).map("".join),
        st.sampled_from([(), ("LIN",), ("CPS", "LIN"), ("NAD", "UCS")]),
    )  # fmt: skip
    @settings(max_examples=150, deadline=None)
    def test_hostile_interchanges(self, text: str, each: tuple[str, ...]) -> None:
        layout = EdifactFormat(each=each, check="none")
        records = read(layout, text.encode())
        assert records == by_bytes(layout, text.encode())
        assert all(record.items for record in records)
        for item in items_of(records):
            assert isinstance(item, Row | Unreadable)
            item.payload()
