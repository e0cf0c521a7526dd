"""EDIFACT: interchanges of messages, as ORDERS, ORDRSP, DESADV, INVOIC and CONTRL, each message a row.

    format: {edifact: {each: LIN}}

A row has, beside its segments (`edi_tree`): ``standard`` (edifact), ``type`` (ORDERS), ``version`` (D.96A), ``association``
(EAN008), ``control`` (UNH01), ``group`` (UNG05), ``interchange`` (UNB05), ``sender`` and ``receiver`` with ``sender_qualifier`` and
``receiver_qualifier``, ``date`` (as 2009-08-27T09:36; of no zone), ``acknowledge`` (UNB09 is 1: a CONTRL is asked for),
``test`` (UNB11 is 1).

CONTRL is a row for each message that it acknowledges, or one for the interchange: ``ack_interchange``, ``ack_group``,
``ack_type``, ``ack_control``, ``ack_code``, ``ack_outcome`` (accepted, rejected, received) and ``ack_error``. What it acknowledges
was sent the other way, so the order's key ``"{sender}:{receiver}:{interchange}:{control}"`` is
``"{receiver}:{sender}:{ack_interchange}:{ack_control}"`` there.

Characters are read as the UNB names them (UNOC: latin-1, UNOY: utf-8), unless ``encoding`` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from collectors.formats.contract import Decoder, Item, whole
from collectors.formats.edi import Grammar, Interchanges, Syntax, Torn
from collectors.formats.edi_envelope import Ends, Envelope, Opened
from collectors.formats.edi_segments import Segment
from collectors.formats.edi_tree import Loops, Node
from collectors.formats.framing import known_encoding
from collectors.formats.x12 import BLANKS, EdiFormat, edi_date

_BLANKS = BLANKS.encode("ascii")
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_DEFAULT = Syntax(b"'", b"+", b":", b"", b"?")
# UNOA and UNOB are parts of ASCII; what senders put beside it under these names is latin-1.
_CHARSETS = {
    "UNOA": "latin-1", "UNOB": "latin-1", "UNOC": "latin-1", "UNOD": "iso8859-2", "UNOE": "iso8859-5", "UNOF": "iso8859-7",
    "UNOG": "iso8859-3", "UNOH": "iso8859-4", "UNOI": "iso8859-6", "UNOJ": "iso8859-8", "UNOK": "iso8859-9", "UNOW": "utf-8",
    "UNOY": "utf-8",
}  # fmt: skip
_SYNTAX_ID = re.compile(rb"UNB.\s*(UNO[A-Y])", re.DOTALL)
_OUTCOMES = {"4": "rejected", "7": "accepted", "8": "received"}
_DTM = frozenset(("DTM",))
_LOOPS = Loops(
    listed=frozenset(("LIN", "CPS", "UCM", "UCF", "UCS")),
    members={
        "RFF": _DTM,
        "NAD": frozenset(("LOC", "FII", "RFF", "DOC", "CTA", "COM")),
        "CTA": frozenset(("COM",)),
        "DOC": _DTM,
        "PRI": frozenset(("APR", "RNG", "CUX", "DTM")),
        "TDT": frozenset(("TSR", "LOC", "DTM")),
        "TAX": frozenset(("MOA", "LOC")),
        "ALC": frozenset(("ALI", "QTY", "RNG", "PCD", "MOA", "RTE", "DTM", "TAX")),
        "PAC": frozenset(("MEA", "QTY", "PCI", "RFF", "DTM", "GIN", "HAN")),
        "PCI": frozenset(("RFF", "DTM", "GIN")),
        "PAT": frozenset(("DTM", "PCD", "MOA")),
        "UCS": frozenset(("UCD",)),
    },
    closers=frozenset(("UNS", "CNT", "UNT")),
    qualified=None,
)


def _encoding(name: str) -> str:
    found = known_encoding(name)
    if "UNB+".encode(found) != b"UNB+":
        raise ValueError(
            f"{found} is no encoding of EDIFACT, whose separators are ASCII; write for instance utf-8 or latin-1"
        )
    return found


class EdifactFormat(EdiFormat):
    """``encoding``: where the UNB names the wrong one."""

    encoding: Annotated[str, AfterValidator(_encoding)] | None = None

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return Interchanges(_GRAMMAR, self._items, offset, line, state or {}, self.max_bytes)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(self.decoder(), body)

    def _items(self, data: bytes, syntax: Syntax, line: int) -> tuple[Item, ...]:
        if data.startswith(b"UNA"):
            # Nine bytes that are no segment: separators stand in it as themselves.
            line += data.count(b"\n", 0, 9)
            data = data[9:]
        named = _SYNTAX_ID.search(data[:100])
        encoding = self.encoding or _CHARSETS.get(named[1].decode("ascii") if named is not None else "", "utf-8")
        return Opened(EDIFACT, data, each=self.each, check=self.check).items(syntax, encoding, _BLANKS, line)


def _syntax(data: bytes) -> tuple[Syntax, int]:
    if data.startswith(b"UNB"):
        if data[3:4] != _DEFAULT.element:
            raise ValueError("a UNB with other separators than + needs a UNA before it")
        return _DEFAULT, 4
    if len(data) < 9:
        raise Torn
    component, element, _, release, repetition, segment = (data[at : at + 1] for at in range(3, 9))
    behind = data[9:].lstrip(_BLANKS)
    if len(behind) < 4:
        raise Torn
    syntax = Syntax(segment, element, component, *(b"" if mark == b" " else mark for mark in (repetition, release)))
    marks = [mark for mark in syntax if mark]
    if len(set(marks)) < len(marks) or any(mark in _PLAIN + b" " or mark > b"\x7f" for mark in marks):
        raise ValueError("the UNA has separators that cannot be")
    if not behind.startswith(b"UNB" + element):
        raise ValueError("no UNB behind the UNA")
    return syntax, len(data) - len(behind) + 4


_HEADER = re.compile(rb"UNB[^A-Za-z0-9\s][A-Z]{4}[^A-Za-z0-9\s][0-9]", re.DOTALL)


def _header(data: bytes, syntax: Syntax | None) -> bool | None:
    """``UNB+UNOA:1``, with the UNA before it or without."""
    if data.startswith(b"UNA"):
        behind = data[9:].lstrip(_BLANKS)
        return _header(behind, syntax) if behind else None
    if len(data) < 10:
        return None if _HEADER.match(data + b"UNB+UNOA:1"[len(data) :]) else False
    return _HEADER.match(data) is not None


_GRAMMAR = Grammar((b"UNA", b"UNB"), b"UNZ", _BLANKS, _PLAIN, _syntax, _header)


def _named(interchange: Segment, group: Segment | None, first: Segment) -> dict[str, Any]:
    version = ".".join(part for part in (first.get(2, 2), first.get(2, 3)) if part)
    named = {
        "standard": "edifact",
        "type": first.get(2),
        "version": version,
        "association": first.get(2, 5),
        "control": first.get(1),
        "group": group.get(5) if group is not None else "",
        "interchange": interchange.get(5),
        "sender": interchange.get(2),
        "sender_qualifier": interchange.get(2, 2),
        "receiver": interchange.get(3),
        "receiver_qualifier": interchange.get(3, 2),
        "date": edi_date(interchange.get(4), interchange.get(4, 2)),
        "acknowledge": interchange.get(9) == "1",
        "test": interchange.get(11) == "1",
    }
    return {name: value for name, value in named.items() if value != ""}


def _acknowledged(named: dict[str, Any], root: Node, node: Node) -> dict[str, Any]:
    interchange = root.get("UCI") if named.get("type") == "CONTRL" else None
    if interchange is None:
        return {}
    said = {"ack_interchange": interchange.get(1)}
    verdict, at = interchange, 4
    if node.segment is not None:
        verdict, at = node.segment, 3
        said |= {"ack_control": verdict.get(1), "ack_type": verdict.get(2)}
        group = next((loop.segment for loop in node.above() if loop.tag == "UCF"), None)
        if group is not None:
            said["ack_group"] = group.get(1)
    code = verdict.get(at)
    said |= {"ack_code": code, "ack_outcome": _OUTCOMES.get(code, ""), "ack_error": _errors(node, verdict.get(at + 1))}
    return {name: value for name, value in said.items() if value}


def _errors(node: Node, code: str) -> str:
    found = [f"code {code}"] if code else []
    for below in node.under():
        segment = below.segment
        if segment is not None and segment.tag == "UCS":
            found.append(f"segment {segment.get(1)}: code {segment.get(2) or '?'}")
        elif segment is not None and segment.tag == "UCD":
            found.append(f"element {segment.get(2)}: code {segment.get(1)}")
    return "; ".join(found[:20])


EDIFACT = Envelope(
    interchange=Ends("UNB", "UNZ", 5),
    group=Ends("UNG", "UNE", 5),
    set=Ends("UNH", "UNT", 1),
    group_needed=False,
    service=frozenset(),
    named=_named,
    acknowledged=_acknowledged,
    loops=lambda _: _LOOPS,
)
