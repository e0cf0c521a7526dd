"""Copybook: records of fixed or varying length as a COBOL program writes them, in EBCDIC or ASCII, read by their copybook.

    format:
      copybook:
        path: copybooks/COMPANY.cpy
        code_page: cp1047
        framing: rdw
        segments: {field: SEGMENT-ID, values: {C: STATIC-DETAILS, P: CONTACTS}}

A record is one row, nested as the copybook is, by its names with ``_`` for ``-``; its line is its number, from 1. Numbers are
exact: integers, or decimals where the picture has places.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from collectors.formats.code_page import known_code_page
from collectors.formats.contract import Decoder, Item, Record, whole
from collectors.formats.copybook_fields import Reading
from collectors.formats.copybook_frames import Extent, Frames, Measure, Words, by_blocks, by_words, fixed
from collectors.formats.copybook_layout import MAX_RECORD, Layout
from collectors.formats.copybook_nodes import Torn
from collectors.formats.copybook_parser import MAX_COPYBOOK, parse_copybook
from collectors.formats.copybook_rows import ItemName, RowOptions, RowReader, Segments
from collectors.formats.lines import LineDecoder, LineFormat
from schemas.errors import Invalid


class CopybookFormat(BaseModel):
    """How the records of a mainframe file are read.

    ``path`` or ``text``: the copybook. ``code_page``: ``common``, a page that Python or the package ``ebcdic`` knows, or ``ascii``.
    ``framing``: how records are parted: ``fixed`` (``length`` bytes, else what the copybook has), ``rdw``, ``bdw`` (blocks of
    records with words), ``lines``, ``depending`` (a record is as long as its tables make it), ``field`` (``length_field`` says how
    long, plus ``adjust``). ``rdw``: ``big`` or ``little``, and ``rdw_counts_itself``, true for ``big`` unless said otherwise, as
    z/OS writes it. ``skip``: bytes before each record's fields that are not in the copybook.

    ``trim`` of texts. ``floats``, ``binary``, ``native_order``, ``decimal_comma``: see ``Reading``. ``tables``: whether what
    follows a table of varying length ``moves`` up or is ``fixed``. ``root``: ``collapse`` or ``keep`` the name of the record.
    ``longer``: whether a record that is longer than the copybook says is refused or its end is ignored. ``record_id``: rows have
    ``Record_Id`` and ``Record_Byte_Length``. ``groups_as_text``: groups that are read as a text too, ``NAME_NT``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = None
    text: Annotated[str, Field(max_length=MAX_COPYBOOK)] | None = None
    code_page: Annotated[str, AfterValidator(known_code_page)] = "cp037"
    framing: Literal["fixed", "rdw", "bdw", "lines", "depending", "field"] = "fixed"
    length: Annotated[int, Field(ge=1, le=MAX_RECORD)] | None = None
    length_field: ItemName | None = None
    adjust: Annotated[int, Field(ge=-65_536, le=65_536)] = 0
    rdw: Literal["big", "little"] = "big"
    rdw_counts_itself: bool | None = None
    skip: Annotated[int, Field(ge=0, le=65_536)] = 0
    trim: Literal["both", "left", "right", "none"] = "both"
    floats: Literal["ibm", "ieee"] = "ibm"
    binary: Literal["picture", "native"] = "picture"
    native_order: Literal["big", "little"] = "big"
    decimal_comma: bool = False
    tables: Literal["moves", "fixed"] = "moves"
    root: Literal["collapse", "keep"] = "collapse"
    longer: Literal["refuse", "ignore"] = "refuse"
    record_id: bool = False
    groups_as_text: tuple[ItemName, ...] = ()
    segments: Segments | None = None

    _layout: Layout = PrivateAttr()
    _measure: Measure = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        try:
            self._compile(Path((context or {}).get("base", ".")))
        except Invalid as error:
            # pydantic takes it for its own only as a plain one.
            raise ValueError(str(error)) from None

    def _compile(self, base: Path) -> None:
        if (self.path is None) == (self.text is None):
            raise Invalid("exactly one of path and text is needed, the copybook")
        if (self.framing == "field") != (self.length_field is not None):
            raise Invalid("framing: field needs length_field, and nothing else has one")
        if self.length is not None and self.framing != "fixed":
            raise Invalid("length is of framing: fixed")
        try:
            text = self.text if self.path is None else read_copybook(base / self.path)
            records = parse_copybook(text or "")
            reading = Reading(
                self.code_page, self.trim, self.floats, self.binary, self.native_order, self.decimal_comma
            )  # fmt: skip
            groups = self.segments.values.values() if self.segments else ()
            self._layout = Layout(
                records,
                reading,
                segments=groups,
                groups_as_text=self.groups_as_text,
                fixed_tables=self.tables == "fixed",
                keep_root=self.root == "keep",
            )
        except Invalid as error:
            where = str(self.path) if self.path is not None else "text"
            raise Invalid(error.reason, file=where, line=error.line, field=error.field) from None
        self._measure = self._measured()
        if self.segments is not None:
            self._layout.place(self.segments.field)

    def _measured(self) -> Measure:
        layout, counts = self._layout, self.rdw_counts_itself
        words = Words(self.rdw, counts if counts is not None else self.rdw == "big")
        if self.framing == "rdw":
            return by_words(words)
        if self.framing == "bdw":
            return by_blocks(words)
        if self.framing == "depending":
            return self._by_tables
        if self.framing == "field":
            at, field = layout.place(self.length_field or "")
            return lambda data, begin, _: self._by_field(data, begin, self.skip + at, field.size)
        if self.length is None and layout.least != layout.most:
            raise Invalid("a record of varying length needs framing: rdw, bdw, lines or depending, or a length")
        return fixed(self.length or layout.most + self.skip)

    def _by_tables(self, data: bytes, at: int, block: int) -> Extent:  # noqa: ARG002  (of a Measure)
        begin = at + self.skip
        try:
            return Extent(0, self.skip + self._layout.extent(data[begin : begin + self._layout.most]))
        except Torn as torn:
            raise Torn(self.skip + torn.needed) from None

    def _by_field(self, data: bytes, begin: int, at: int, size: int) -> Extent:
        if len(data) - begin < at + size:
            raise Torn(at + size)
        _, field = self._layout.place(self.length_field or "")
        length = field.read(data[begin + at : begin + at + size])
        total = length + self.adjust if isinstance(length, int) else 0
        if not at + size <= total <= MAX_RECORD:
            raise ValueError(f"{self.length_field} says that a record has {str(length)[:40]} bytes")
        if len(data) - begin < total:
            raise Torn(total)
        return Extent(0, total)

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return self._opened(offset, line, state or {}, ended=False)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:  # noqa: ARG002  (the contract's)
        return whole(self._opened(0, 1, {}, ended=True), body)

    def _options(self) -> RowOptions:
        return RowOptions(self.code_page, self.skip, self.longer == "ignore", self.record_id, self.segments)

    def _opened(self, offset: int, line: int, state: Mapping[str, Any], *, ended: bool) -> Decoder:
        reader = RowReader(self._layout, self._options(), state)
        if self.framing == "lines":
            return _Lines(reader, offset, line, state, ended=ended)
        frames = Frames(self._measure, reader.items, offset, line, state, blocked=self.framing == "bdw")
        return _Stated(frames, reader)


def read_copybook(path: Path) -> str:
    """Raises ``Invalid``."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_COPYBOOK + 1)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror or 'no such file'}") from None
    if len(data) > MAX_COPYBOOK:
        raise Invalid(f"has more than {MAX_COPYBOOK} bytes")
    return data.decode("utf-8-sig", "replace")


class _Stated:
    """Frames, and what their records stand under."""

    def __init__(self, frames: Frames, reader: RowReader) -> None:
        self.feed, self.close = frames.feed, frames.close
        self._frames, self._reader = frames, reader

    def state(self) -> dict[str, Any]:
        return {**self._frames.state(), **self._reader.state()}


class _Lines(LineDecoder):
    """Records that are lines: of text, so binary fields in them are cut where a byte looks like a line's end."""

    def __init__(self, reader: RowReader, offset: int, line: int, state: Mapping[str, Any], *, ended: bool) -> None:
        super().__init__(_LineLayout.of(reader), offset, line, state, ended=ended)
        self._reader = reader

    def state(self) -> dict[str, Any]:
        return {**super().state(), **self._reader.state()}

    def _take(self, line: bytes, length: int, end: int, records: list[Record]) -> None:
        # A last line of all the bytes that a record has is whole, though its end is missing.
        self._ended = self._ended or (not end and length == self._reader.whole)
        super()._take(line, length, end, records)


class _LineLayout(LineFormat):
    _reader: RowReader = PrivateAttr()

    @classmethod
    def of(cls, reader: RowReader) -> _LineLayout:
        page = reader.code_page
        made = cls(encoding="cp037" if page == "common" else page)
        made._reader = reader
        return made

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:  # noqa: ARG002  (fields stand at bytes)
        return self._reader.items(raw, line)
