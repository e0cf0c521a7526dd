"""X12: interchanges of transaction sets, as 850, 855, 856, 810, 997 and 214, each set a row.

    format: {x12: {each: PO1}}

A row has, beside its segments (`edi_tree`): ``standard`` (x12), ``type`` (850), ``version`` (004010), ``control`` (ST02),
``group`` (GS06), ``functional`` (GS01), ``interchange`` (ISA13), ``sender`` and ``receiver`` (ISA06, ISA08) with
``sender_qualifier`` and ``receiver_qualifier``, ``group_sender`` and ``group_receiver`` (GS02, GS03), ``date`` (ISA09 and ISA10, as
2009-08-27T09:36; of no zone), ``group_date``, ``acknowledge`` (ISA14 is 1: a TA1 is
asked for), ``test`` (ISA15 is T).

An acknowledgement (997, 999) is a row for each set that it acknowledges, a TA1 one for an interchange: ``ack_type``,
``ack_control``, ``ack_group``, ``ack_functional``, ``ack_interchange``, ``ack_code``, ``ack_outcome`` (accepted,
accepted_with_errors, partially_accepted, rejected) and ``ack_error``. What it acknowledges was sent the other way, so the order's
key ``"{sender}:{receiver}:{group}:{control}"`` is ``"{receiver}:{sender}:{ack_group}:{ack_control}"`` there. Group numbers have no
leading zeros, since AK1 may leave them out. A 997 that names no sets says ``ack_outcome`` of the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from collectors.formats.contract import Decoder, Item, whole
from collectors.formats.edi import MAX_INTERCHANGE, Grammar, Interchanges, Syntax, Torn, grammar_bytes
from collectors.formats.edi_envelope import Check, Ends, Envelope, Opened
from collectors.formats.edi_segments import Segment
from collectors.formats.edi_tree import Loops, Node
from collectors.formats.framing import known_encoding
from collectors.words import several

_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
BLANKS = " \t\r\n\x00\x1a"
_OUTCOMES = {
    "A": "accepted", "E": "accepted_with_errors", "P": "partially_accepted", "R": "rejected", "M": "rejected", "W": "rejected",
    "X": "rejected",
}  # fmt: skip
_PARTY = frozenset(("N2", "N3", "N4", "NX2", "PER", "REF"))
_ACK_ERROR = frozenset(("AK4", "IK4", "CTX"))
_LOOPS = Loops(
    listed=frozenset(("PO1", "POC", "IT1", "LX", "HL", "SLN", "AK2", "AK3", "IK3", "AT7", "W01", "RCD")),
    members={
        "N1": _PARTY,
        "N9": frozenset(("MSG", "MTX", "DTM")),
        "AT7": frozenset(("MS1", "MS2", "M7")),
        "AK3": _ACK_ERROR,
        "IK3": _ACK_ERROR,
    },
    closers=frozenset(("CTT", "TDS", "AK9", "SE")),
    qualified=frozenset(
        ("N1", "N9", "REF", "DTM", "DTP", "PER", "AMT", "QTY", "MEA", "G62", "SAC", "TXI", "CUR", "ITD", "PID", "TD1", "MAN")
    ),
)  # fmt: skip


def _encoding(name: str) -> str:
    found = known_encoding(name)
    if len("ISA*".encode(found)) != 4:
        raise ValueError(f"{found} has no bytes that could be separators; write for instance utf-8 or latin-1")
    return found


Tag = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{1,2}$")]


class EdiFormat(BaseModel):
    """``each``: loops that give a row each, which has the fields of the set too (``PO1``, ``HL``, ``LIN``). ``check``: which
    trailers must be right, see `edi_envelope`. ``max_bytes`` of an interchange."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    each: Annotated[tuple[Tag, ...], BeforeValidator(several), Field(max_length=20)] = ()
    check: Check = "all"
    max_bytes: Annotated[int, Field(ge=1024, le=4 * MAX_INTERCHANGE)] = MAX_INTERCHANGE


class X12Format(EdiFormat):
    """``encoding``: of names and texts; of the separators too, so cp037 reads a mainframe's."""

    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        grammar = Grammar(
            ("ISA".encode(self.encoding),), "IEA".encode(self.encoding), grammar_bytes(BLANKS, self.encoding),
            grammar_bytes(_ALNUM, self.encoding), self._syntax, _header,
        )  # fmt: skip

        def items(data: bytes, syntax: Syntax, line: int) -> tuple[Item, ...]:
            return Opened(X12, data, each=self.each, check=self.check).items(
                syntax, self.encoding, grammar.blanks, line
            )

        return Interchanges(grammar, items, offset, line, state or {}, self.max_bytes)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(self.decoder(), body)

    def _syntax(self, data: bytes) -> tuple[Syntax, int]:
        """Found by counting elements, not by places: many write an ISA whose elements are not padded."""
        element, at = data[3:4], 3
        starts = [at]
        while len(starts) < 16:
            at = data.find(element, at + 1)
            if at < 0:
                raise Torn
            starts.append(at)
        if at + 3 > len(data):
            raise Torn
        component, segment = data[at + 1 : at + 2], data[at + 2 : at + 3]
        standard, version = (
            data[starts[10] + 1 : starts[11]],
            data[starts[11] + 1 : starts[12]].decode(self.encoding, "replace"),
        )
        plain = grammar_bytes(_ALNUM + " ", self.encoding)
        repetition = standard if version >= "00402" and len(standard) == 1 and standard not in plain else b""
        marks = [mark for mark in (segment, element, component, repetition) if mark]
        if len(set(marks)) < len(marks) or any(mark in plain for mark in marks) or not self._readable(marks):
            raise ValueError("the ISA has separators that cannot be")
        return Syntax(segment, element, component, repetition), at

    def _readable(self, marks: list[bytes]) -> bool:
        try:
            return all(len(mark.decode(self.encoding)) == 1 for mark in marks)
        except UnicodeError:
            return False


def _header(data: bytes, syntax: Syntax | None) -> bool | None:
    """Qualifiers of two characters stand before authorisation, security, sender and receiver."""
    elements = data.split(data[3:4], 8)
    # Bytes, which are up to three times as many as characters where blanks were replaced.
    for number, (element, longest) in enumerate(zip(elements[1:8], (2, 30, 2, 30, 2, 45, 2), strict=False), 2):
        if len(element) > longest or element.endswith(data[:3]) or (syntax is not None and syntax.segment in element):
            return False
        if number < len(elements) and len(element) < (2 if longest == 2 else 1):
            return False
    return True if len(elements) == 9 else None


def _named(interchange: Segment, group: Segment | None, first: Segment) -> dict[str, Any]:
    named = {
        "standard": "x12",
        "type": first.get(1) if first.tag == "ST" else first.tag,
        "version": first.get(3) or (group.get(8) if group is not None else ""),
        "control": first.get(2) if first.tag == "ST" else "",
        "interchange": interchange.get(13),
        "sender": interchange.get(6),
        "sender_qualifier": interchange.get(5),
        "receiver": interchange.get(8),
        "receiver_qualifier": interchange.get(7),
        "date": edi_date(interchange.get(9), interchange.get(10)),
        "acknowledge": interchange.get(14) == "1",
        "test": interchange.get(15) == "T",
    }
    if group is not None:
        named |= {
            "functional": group.get(1),
            "group": _number(group.get(6)),
            "group_sender": group.get(2),
            "group_receiver": group.get(3),
            "group_date": edi_date(group.get(4), group.get(5)),
        }
    return {name: value for name, value in named.items() if value != ""}


def _number(text: str) -> str:
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else text


def edi_date(day: str, time: str) -> str:
    """``2009-08-27T09:36`` of YYMMDD or CCYYMMDD and HHMM or HHMMSS; "" where it is no date."""
    if not (day.isascii() and day.isdigit() and len(day) in (6, 8)):
        return ""
    if len(day) == 6:
        day = ("20" if day < "700000" else "19") + day
    text = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    if time.isascii() and time.isdigit() and len(time) >= 4:
        text += f"T{time[:2]}:{time[2:4]}" + (f":{time[4:6]}" if len(time) >= 6 else "")
    return text


def _acknowledged(named: dict[str, Any], root: Node, node: Node) -> dict[str, Any]:
    if named["type"] == "TA1" and node.segment is not None:
        segment = node.segment
        said = {
            "ack_interchange": segment.get(1),
            "ack_code": segment.get(4),
            "ack_outcome": _OUTCOMES.get(segment.get(4), ""),
        }
        if segment.get(5) not in ("", "000"):
            said["ack_error"] = f"note code {segment.get(5)}"
        return {name: value for name, value in said.items() if value}
    group = root.get("AK1") if named["type"] in ("997", "999") else None
    if group is None:
        return {}
    said = {"ack_functional": group.get(1), "ack_group": _number(group.get(2))}
    verdict = (node.get("AK5") or node.get("IK5")) if node is not root else root.get("AK9")
    if node is not root and node.segment is not None:
        said |= {"ack_type": node.segment.get(1), "ack_control": node.segment.get(2)}
    if verdict is not None:
        said |= {"ack_code": verdict.get(1), "ack_outcome": _OUTCOMES.get(verdict.get(1), "")}
    said["ack_error"] = _errors(node, verdict)
    return {name: value for name, value in said.items() if value}


def _errors(node: Node, verdict: Segment | None) -> str:
    """What an acknowledgement finds wrong, for people: segments and elements with their error codes."""
    found = []
    for below in node.under():
        segment = below.segment
        if segment is not None and segment.tag in ("AK3", "IK3"):
            found.append(f"{segment.get(1)} at {segment.get(2)}: code {segment.get(4) or '?'}")
        elif segment is not None and segment.tag in ("AK4", "IK4"):
            found.append(f"element {segment.get(1)}: code {segment.get(3)} {segment.get(4)}".strip())
    if verdict is not None and verdict.tag != "AK9":
        found += [f"code {verdict.get(at)}" for at in range(2, 7) if verdict.get(at)]
    return "; ".join(found[:20])


X12 = Envelope(
    interchange=Ends("ISA", "IEA", 13, number=True),
    group=Ends("GS", "GE", 6, number=True),
    set=Ends("ST", "SE", 2),
    group_needed=True,
    service=frozenset(("TA1",)),
    named=_named,
    acknowledged=_acknowledged,
    loops=lambda _: _LOOPS,
)
