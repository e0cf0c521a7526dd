"""Segments: an interchange's bytes, parted into segments, elements and components."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from collectors.formats.edi import Syntax, released


class Segment(NamedTuple):
    """``number``: 1-based, within the interchange; [``begin``, ``end``): bytes within it; ``elements``: as they stand."""

    number: int
    begin: int
    end: int
    line: int
    tag: str
    elements: tuple[str, ...]
    marks: Marks
    fault: str = ""

    def get(self, element: int, component: int = 1) -> str:
        """A component of an element, both from 1; "" where there is none."""
        if element > len(self.elements):
            return ""
        text = self.elements[element - 1]
        if self.marks.plain(text):
            return text.strip() if component == 1 else ""
        components = self.marks.components(text)
        return components[component - 1] if component <= len(components) else ""

    def where(self) -> str:
        return f"segment {self.number} ({self.tag})"


class Marks(NamedTuple):
    """Separators as characters."""

    element: str
    component: str
    repetition: str
    release: str

    def plain(self, element: str) -> bool:
        """Whether it is one component, as most are."""
        return not (
            self.component in element
            or (self.release and self.release in element)
            or (self.repetition and self.repetition in element)
        )

    def components(self, element: str) -> list[str]:
        """Of the first repetition, without release characters."""
        return self.repetitions(element)[0]

    def repetitions(self, element: str) -> list[list[str]]:
        whole = split(element, self.repetition, self.release) if self.repetition else [element]
        return [[self._plain(part) for part in split(one, self.component, self.release)] for one in whole]

    def _plain(self, text: str) -> str:
        if self.release and self.release in text:
            text = re.sub(re.escape(self.release) + "(.)", r"\1", text, flags=re.DOTALL)
        return text.strip()


def split(text: str, mark: str, release: str) -> list[str]:
    """Pieces between separators; one behind a release character is none. What was released stays as it stands."""
    pieces = text.split(mark)
    if not release or release not in text:
        return pieces
    joined: list[str] = []
    open_pieces: list[str] = []
    for piece in pieces:
        open_pieces.append(piece)
        if (len(piece) - len(piece.rstrip(release))) % 2 == 0:
            joined.append(mark.join(open_pieces))
            open_pieces = []
    if open_pieces:
        joined.append(mark.join(open_pieces))
    return joined


_TAG = re.compile(r"[A-Z][A-Z0-9]{1,2}$")


def segments_of(data: bytes, syntax: Syntax, encoding: str, blanks: bytes, line: int) -> Iterator[Segment]:
    """An interchange's segments, empty ones left out. What is none has a ``fault``."""
    marks = Marks(*(mark.decode(encoding) for mark in syntax[1:]))
    at, number = 0, 0
    while at < len(data):
        end = data.find(syntax.segment, at)
        while end >= 0 and released(data, end, syntax):
            end = data.find(syntax.segment, end + 1)
        end = len(data) if end < 0 else end
        piece = data[at:end].lstrip(blanks)
        begin = end - len(piece)
        line += data.count(b"\n", at, begin)
        if piece:
            number += 1
            yield _segment(piece, Segment(number, begin, min(end + 1, len(data)), line, "", (), marks), encoding)
        line += data.count(b"\n", begin, end + 1)
        at = end + 1


def _segment(piece: bytes, empty: Segment, encoding: str) -> Segment:
    try:
        text = piece.decode(encoding)
    except UnicodeError:
        return empty._replace(tag="?", fault=f"bytes that are not {encoding}")
    marks = empty.marks
    tag, *elements = split(text, marks.element, marks.release)
    tag = tag.split(marks.component, 1)[0].strip()
    if not _TAG.match(tag):
        return empty._replace(tag=ascii(tag[:12]), fault="no segment begins so")
    return empty._replace(tag=tag, elements=tuple(elements))
