"""JSON: one object a line, or a document that holds a list of them. Nested stays nested; integers of any length stay exact."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import Field

from collectors.formats.contract import Decoder, Item, Record
from collectors.formats.framing import decoded
from collectors.formats.lines import LineFormat
from collectors.inputs.record import MAX_RAW, Row, Unreadable

MAX_DOCUMENT = 64 * 1024 * 1024
"""Bytes of a document, which is read as a whole."""
_BLANK = re.compile(r"[ \t\r\n]*")
_fast = msgspec.json.Decoder().decode
_exact = json.JSONDecoder().raw_decode


class JsonFormat(LineFormat):
    """``document``: the whole stream is one document (or several, one behind the other), else every line is one. A document is
    an object, which is a record, or a list of objects. ``path``: the way to the list, or the object, inside it
    (``data.spans``).

    A message is read as a document, or where it is none as lines.
    """

    self_ending: ClassVar[bool] = True

    document: bool = False
    path: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        try:
            return self.items_of(value_of(text), raw, line)
        except ValueError as error:
            hint = "; of a document over several lines write document: true" if text.strip() in ("[", "{") else ""
            return (Unreadable(line, f"{error}{hint}", raw),)

    def items_of(self, value: Any, raw: bytes, line: int) -> tuple[Item, ...]:
        """What a value holds: an object is a record, of a list every object."""
        if self.path is not None:
            value = _inside(value, self.path)
            if value is None:
                return (Unreadable(line, f"no {self.path} in it", raw),)
        if isinstance(value, dict):
            return (Row(line, value, raw),)
        if isinstance(value, list):
            return tuple(Row(line, item) if isinstance(item, dict) else _no_object(line, item) for item in value)
        return (Unreadable(line, "no JSON object", raw),)

    def decoder(self, offset: int = 0, line: int = 1, state: Mapping[str, Any] | None = None) -> Decoder:
        return _Document(self, offset, line) if self.document else super().decoder(offset, line, state)

    def message(self, body: bytes, headers: Mapping[str, str]) -> list[Item]:
        items = documents(self, body)
        if self.document or b"\n" not in body.strip() or not any(isinstance(item, Unreadable) for item in items):
            return items
        return super().message(body, headers)


class _Document:
    """A stream that is one document: held until nothing more comes, up to ``MAX_DOCUMENT``."""

    def __init__(self, layout: JsonFormat, offset: int = 0, line: int = 1) -> None:
        self._layout = layout
        self._offset = offset
        self._line = line
        self._held = bytearray()
        self._length = 0

    def feed(self, data: bytes) -> list[Record]:
        self._length += len(data)
        self._held += data[: MAX_DOCUMENT - len(self._held)]
        return []

    def close(self) -> list[Record]:
        if not self._length:
            return []
        data = bytes(self._held)
        if self._length > MAX_DOCUMENT:
            items: list[Item] = [
                Unreadable(self._line, f"a document of more than {MAX_DOCUMENT} bytes", data[:MAX_RAW])
            ]
        else:
            items = documents(self._layout, data, self._line)
        record = Record(self._offset, self._offset + self._length, self._line, tuple(items))
        self._offset, self._length = record.end, 0
        self._held.clear()
        return [record]

    def state(self) -> dict[str, Any]:
        return {}


def documents(layout: JsonFormat, data: bytes, line: int = 1) -> list[Item]:
    """What documents, one behind the other, hold; ``line``: of the first. Elements of a list are read one by one, so that each
    has its line and bytes, and those before a tear are not lost."""
    try:
        text, encoding = decoded(data, layout.encoding)
    except UnicodeError:
        return [Unreadable(line, f"bytes that are not {layout.encoding}", data)]
    if layout.path is not None or text.startswith("{"):
        with contextlib.suppress(ValueError):
            return list(layout.items_of(value_of(text), data, line))
    return [item for items in _scanned(text, encoding, layout, line) for item in items]


def _scanned(text: str, encoding: str, layout: JsonFormat, line: int) -> Iterator[tuple[Item, ...]]:
    """Values one behind the other; a list at the top counts as its elements. ``due``: a comma, or the list's end."""
    at, inside, due = 0, False, False
    while True:
        begin, at = at, _after_blank(text, at)
        line += text.count("\n", begin, at)
        char = text[at : at + 1]
        if not char:
            if inside:
                yield (Unreadable(line, "not JSON: the list has no end", b"["),)
            return
        if inside and char == "]":
            inside, due, at = False, False, at + 1
        elif due and char == ",":
            due, at = False, at + 1
        elif char == "[" and not inside and layout.path is None:
            inside, at = True, at + 1
        else:
            try:
                value, end = _element(text, at, due)
            except (RecursionError, ValueError) as error:
                yield (Unreadable(line, _told(error, at), text[at:].encode(encoding)),)
                return
            yield layout.items_of(value, text[at:end].encode(encoding), line)
            line += text.count("\n", at, end)
            due, at = inside, end


def _element(text: str, at: int, due: bool) -> tuple[Any, int]:
    if due:
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    return _exact(text, at)


def value_of(text: str) -> Any:
    """The value that a JSON text is. Raises ``ValueError`` with a sentence for a person.

    msgspec is several times as fast as the standard module and as exact where it reads at all; what it refuses (NaN, lone
    surrogates, huge numbers) the standard module decides, and it says what is wrong.
    """
    with contextlib.suppress(msgspec.MsgspecError, RecursionError, ValueError):
        return _fast(text)
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise ValueError(_told(error)) from None


def _told(error: Exception, begin: int = 0) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at character {error.pos - begin + 1}"
    return f"not JSON that can be read: {str(error)[:80]}"


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found is not None else at


def _no_object(line: int, item: Any) -> Unreadable:
    with contextlib.suppress(RecursionError, ValueError):
        return Unreadable(line, "no JSON object", json.dumps(item).encode()[:MAX_RAW])
    return Unreadable(line, "no JSON object", b"")


def _inside(value: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
