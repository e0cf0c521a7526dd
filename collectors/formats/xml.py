"""XML: every element of one name, or each document, is a record. Read as it comes; nothing is fetched and no entity expanded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn
from xml.parsers import expat

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from collectors.formats.contract import Decoder, Item, Record, whole
from collectors.formats.framing import Encoding, known_encoding
from collectors.formats.xml_tree import MAX_DEPTH, MAX_NODES, Tree, local
from collectors.inputs.record import MAX_RAW, Row, Unreadable

MAX_BYTES = 4 * 1024 * 1024
"""Of one record, and of what stands before it."""
_LEAD = 64 * 1024
_BLANKS = b" \t\r\n"
_TAG = 512
_SLICE = 16 * 1024
_EXPATS_NAMES = {"utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE"}
_TORN = (
    3,
    4,
    5,
    6,
    20,
)  # expat's codes for: no element found, not well-formed (cut), unclosed token, partial character, open CDATA
_PATH = r"/?[^\W\d][\w.-]*(/[^\W\d][\w.-]*)*"


class XmlFormat(BaseModel):
    """``record``: the element that is a record, by its name or the end of its path (``Orders/Order``); without it every document
    is one. ``lists``: elements that are a list though only one is there. ``encoding``: where a document does not say it itself.

    Fields: attributes are ``@id``, elements go by their names (``Customer.Id``, ``Line.0.@sku``), text beside attributes is
    ``#text``. Prefixes of namespaces are left out. Documents may follow each other. A document that declares entities is
    unreadable; a DTD that it names is not fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: Annotated[str, Field(max_length=200, pattern=f"^{_PATH}$")] | None = None
    lists: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
        Field(max_length=100),
    ] = ()
    encoding: Encoding | None = None

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return XmlDecoder(self, offset, line, state)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(XmlDecoder(self), body)


class _Fault(Exception):  # noqa: N818  (never leaves this module)
    """The document is not read on from here."""


class _Refused(_Fault):
    """Nothing of the stream is read any more."""


class _Ended(Exception):  # noqa: N818
    """The document's last end tag."""


class XmlDecoder:
    """A parser of expat's that begins anew behind every document and behind what cannot be read.

    Positions are bytes of the stream. A record reaches from the end of the one before it, so that what parts them is in it.
    What is told does not depend on how the bytes were cut: only start and end tags, whose places do not, decide.
    """

    def __init__(
        self, layout: XmlFormat, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None
    ) -> None:
        self._layout = layout
        self._lists = frozenset(layout.lists)
        self._path = [] if layout.record is None else layout.record.strip("/").split("/")
        self._absolute = (layout.record or "").startswith("/")
        self._buffer = bytearray()
        self._base = offset  # of the buffer's first byte
        self._region = offset  # behind the last record
        self._line = int((state or {}).get("line", line))
        self._records: list[Record] = []
        self._reason = ""  # why it is looking for the next record
        self._seek = -1
        self._refused = False
        self._encoding = (state or {}).get("encoding") or layout.encoding
        self._codec = self._encoding or "utf-8"
        self._head = b""  # of what is lost, where it is too much to be held
        self._head_line = 0
        self._gone = 0  # lines of it that are not held any more
        self._begin(offset, [str(name) for name in (state or {}).get("open", ())])
        self._state = dict(state or {})

    def state(self) -> dict[str, Any]:
        """Line behind the last record, which need not end with it; elements that are open there, and the encoding that their
        document told."""
        return self._state

    def feed(self, data: bytes) -> list[Record]:
        self._buffer += data
        return self._run(final=False)

    def close(self) -> list[Record]:
        self._run(final=True, keep=True)
        end = self._base + len(self._buffer)
        rest = self._piece(self._region, end)
        if self._reason or rest.strip(_BLANKS + b"\x00"):
            self._lose(end, self._reason or "the document ends in the middle")
        elif end > self._region:
            self._add(end, ())
        records, self._records = self._records, []
        return records

    def _run(self, final: bool, keep: bool = False) -> list[Record]:
        while self._step(final):
            pass
        records = self._records
        if not keep:
            self._records = []
        return records

    # The parser, and where it begins.

    def _begin(self, at: int, stack: list[str] | None) -> None:
        """Parse on from ``at``, where the elements of ``stack`` are open; None where a document begins."""
        if stack is None:
            self._encoding = self._layout.encoding
            self._codec = self._encoding or "utf-8"
            stack = []
        self._parser: expat.XMLParserType | None = None
        self._stack = stack
        self._fed = at
        self._last = at  # where the last tag began
        self._quiet = False  # no text stood between it and here
        self._tree: Tree | None = None
        self._from = -1  # where the open record begins

    def _step(self, final: bool) -> bool:
        """One go; whether there is more to do with what came."""
        if self._refused:
            self._thin()
            return False
        if self._seek >= 0 and not self._found():
            self._thin()
            return False
        end = self._base + len(self._buffer)
        data = self._piece(self._fed, min(end, self._fed + _SLICE))
        if self._parser is None:
            blanks = 0 if self._stack or self._wide(data) else len(data) - len(data.lstrip(_BLANKS))
            self._fed += blanks
            data = data[blanks:]
            if len(data) < (1 if final else 4):
                return blanks > 0 and self._fed < end
            self._open_parser(data)
        parser = self._parser
        if parser is None or not (data or final):
            return False
        self._fed += len(data)
        final = final and self._fed == end
        try:
            parser.Parse(data, final)
        except _Ended:
            self._begin(self._region, None)
            return True
        except _Refused as refused:
            self._reason, self._refused = str(refused), True
            return False
        except _Fault as fault:
            return self._stop(str(fault))
        except (expat.ExpatError, ValueError, LookupError) as error:
            if final and getattr(error, "code", 0) in _TORN:
                return False
            return self._stop(
                f"not XML: {expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else error}"
            )
        if self._fed - self._region > 2 * MAX_BYTES:
            return self._stop(f"more than {MAX_BYTES} bytes without a record's end")
        return self._fed < end

    def _open_parser(self, data: bytes) -> None:
        if self._wide(data):
            self._encoding = "utf-16-be" if data[:2] in (b"\xfe\xff", b"\x00<") else "utf-16-le"
            self._codec = self._encoding
        parser = expat.ParserCreate(_EXPATS_NAMES.get(self._codec, self._encoding))
        lead = "".join(f"<{name}>" for name in self._stack).encode(self._codec)
        parser.buffer_text = True
        parser.Parse(lead, False)
        self._origin = self._fed - len(lead)
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._on_text
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.SkippedEntityHandler = self._on_skipped
        parser.XmlDeclHandler = self._on_declaration
        self._parser = parser

    def _wide(self, data: bytes) -> bool:
        """Whether a document begins as UTF-16."""
        told = (self._encoding or "").startswith("utf-16")
        return told or (not self._stack and data[:2] in (b"\xfe\xff", b"\xff\xfe", b"\x00<", b"<\x00"))

    def _on_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self._quiet = False
        if encoding is not None and self._encoding is None:
            with contextlib.suppress(ValueError):  # expat refuses it next
                known = known_encoding(encoding)
                if not known.startswith("utf-16"):
                    self._encoding = self._codec = known

    def _on_doctype(self, _name: str, _system: str | None, _public: str | None, has_subset: int) -> None:
        self._quiet = False
        if has_subset:
            raise _Refused(
                "the document declares entities or a DTD of its own, which is refused: they can expand without bound"
            )

    def _on_skipped(self, name: str, _parameter: bool) -> NoReturn:
        raise _Fault(f"the entity {ascii(name)[:60]} is not declared")

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        at = self._at()
        if self._tree is None and self._is_record(name):
            self._tree, self._from = Tree(self._lists), at
        elif self._tree is None and at - self._region > _LEAD:
            self._add(at, ())
        if self._tree is not None:
            self._tree.start(name, attributes)
        self._stack.append(name)
        if self._tree is not None and self._tree.nodes > MAX_NODES:
            raise _Fault(f"a record of more than {MAX_NODES} elements")
        if len(self._stack) > MAX_DEPTH:
            raise _Fault(f"elements more than {MAX_DEPTH} deep")
        self._last, self._quiet = at, True

    def _on_end(self, _name: str) -> None:
        at = self._at()
        self._stack.pop()
        quiet, tree = self._quiet, self._tree
        self._last, self._quiet = at, False
        complete = tree is not None and tree.end()
        if not complete and self._stack:
            return
        end = at if quiet and self._before(at, "/>") else self._behind(at, ">")
        if complete and tree is not None:
            self._tree = None
            line = self._line + self._lines(self._region, self._from)
            self._add(end, (Row(line, tree.fields, self._piece(self._from, end)),))
        elif not self._stack:
            self._add(end, ())
        if not self._stack:
            raise _Ended

    def _on_text(self, text: str) -> None:
        self._quiet = False
        if self._tree is not None:
            self._tree.text(text)

    def _at(self) -> int:
        """Where the tag begins that is being told of; of an empty element's end, where it ends."""
        at = self._origin + (self._parser.CurrentByteIndex if self._parser is not None else 0)
        if at - self._region > MAX_BYTES:
            raise _Fault(f"more than {MAX_BYTES} bytes without a record's end")
        return at

    def _is_record(self, name: str) -> bool:
        if not self._path:
            return not self._stack
        if local(name) != self._path[-1] or len(self._stack) < len(self._path) - 1:
            return False
        above = [local(one) for one in self._stack]
        way = self._path[:-1]
        return above == way if self._absolute else not way or above[-len(way) :] == way

    # What could not be read, and the next record behind it.

    def _stop(self, reason: str) -> bool:
        """Look for the next record behind the last tag that was read."""
        if self._tree is not None:
            self._stack = self._stack[: len(self._stack) - self._tree.depth]
        self._reason, self._seek = reason, self._last + 1
        return True

    def _found(self) -> bool:
        """Whether the next record was found; then the parser begins there."""
        end = self._base + len(self._buffer)
        found = self._next_record().search(self._buffer, max(0, self._seek - self._base))
        if found is None:
            # A tag of which only the beginning is there.
            self._seek = max(self._seek, end - _TAG)
            return False
        at = self._base + found.start()
        stack: list[str] | None = self._stack
        if not self._path:
            stack = None
        elif not stack:
            stack = self._path[:-1]
        self._lose(at, self._reason)
        self._reason, self._seek = "", -1
        self._begin(at, stack)
        self._state = self._stated()
        return True

    def _next_record(self) -> re.Pattern[bytes]:
        if not self._path:
            return re.compile(rb"<\?xml[ \t\r\n]")
        name = self._path[-1]
        if self._codec.startswith("utf-16"):
            return re.compile(re.escape(f"<{name}".encode(self._codec)))
        return re.compile(rb"<(?:[^\s<>/:!?\"'=&]{1,100}+:)?%b[\s/>]" % re.escape(name.encode(self._codec)))

    def _lose(self, end: int, reason: str) -> None:
        begin = self._from if self._tree is not None else self._region
        line = self._head_line or self._line + self._lines(self._region, begin)
        raw = self._head or self._piece(begin, min(end, begin + MAX_RAW))
        told = "".join(char if char.isprintable() else "?" for char in reason)
        self._add(end, (Unreadable(line, told, raw),))

    def _thin(self) -> None:
        """Hold of what is lost only the beginning, and where to look on."""
        begin = self._from if self._tree is not None else self._region
        end = self._base + len(self._buffer)
        if end - self._base < 2 * MAX_RAW:
            return
        if not self._head:
            self._head_line = self._line + self._lines(self._region, begin)
            self._head = self._piece(begin, begin + MAX_RAW)
        base = end if self._refused else self._seek
        self._gone += self._lines(self._base, base)
        del self._buffer[: base - self._base]
        self._base = base

    # The bytes since the last record.

    def _add(self, end: int, items: tuple[Item, ...]) -> None:
        self._records.append(Record(self._region, end, self._line, items))
        self._line += self._gone + self._lines(self._region, end)
        self._head, self._head_line, self._gone = b"", 0, 0
        del self._buffer[: end - self._base]
        self._base = self._region = end
        self._state = self._stated()

    def _stated(self) -> dict[str, Any]:
        state: dict[str, Any] = {"line": self._line}
        if self._stack:
            state["open"] = list(self._stack)
        if self._stack and self._encoding != self._layout.encoding:
            state["encoding"] = self._encoding
        return state

    def _piece(self, begin: int, end: int) -> bytes:
        return bytes(self._buffer[max(0, begin - self._base) : max(0, end - self._base)])

    def _lines(self, begin: int, end: int) -> int:
        return self._piece(begin, end).count("\n".encode(self._codec))

    def _before(self, at: int, text: str) -> bool:
        data = text.encode(self._codec)
        return self._piece(at - len(data), at) == data

    def _behind(self, at: int, text: str) -> int:
        data = text.encode(self._codec)
        found = self._buffer.find(data, at - self._base)
        while (found + self._base - at) % len(data):
            found = self._buffer.find(data, found + 1)
        return self._base + found + len(data)
