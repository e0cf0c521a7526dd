"""Copybooks: COBOL's data descriptions, parsed into a tree of items.

Several 01 items are layouts of one record area, as under an FD. Levels 66, 77, 78 and 88 and VALUE
describe no bytes of a record and are passed over. What would put fields at other places than we think (COPY, SYNCHRONIZED with
slack bytes, an unknown clause) is refused, never guessed.

Our own, since none on PyPI reads Cobrix' test files: copybook (2022) fails on all four, python-cobol (2020) and coboljsonifier know
neither COMP-1 and COMP-2 nor SIGN SEPARATE nor DEPENDING ON, cobutils is under the GPL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from collectors.formats.copybook_picture import Picture, parse_picture
from collectors.formats.copybook_source import Token, sentences_of
from schemas.errors import Invalid

MAX_COPYBOOK = 4 * 1024 * 1024
"""Characters."""
MAX_ITEMS = 50_000
_MAX_OCCURS = 10_000_000
_USAGES = {
    "DISPLAY": "display", "BINARY": "binary", "COMP": "binary", "COMP-0": "binary", "COMP-4": "binary", "COMP-5": "native",
    "COMP-9": "little", "COMP-1": "float", "COMP-2": "double", "COMP-3": "packed", "PACKED-DECIMAL": "packed",
    "COMP-6": "unsigned-packed", "NATIONAL": "national", "DISPLAY-1": "display", "INDEX": "index", "POINTER": "index",
}  # fmt: skip
_CLAUSES = frozenset(
    ("REDEFINES", "PIC", "PICTURE", "USAGE", "OCCURS", "SIGN", "LEADING", "TRAILING", "SYNC", "SYNCHRONIZED", "JUST",
     "JUSTIFIED", "BLANK", "VALUE", "VALUES", "EXTERNAL", "GLOBAL", *_USAGES)
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9:][A-Za-z0-9_:-]{0,99}$")


@dataclass(slots=True)
class Occurs:
    """How often an item is repeated. ``counter``: the item whose value says how often; None for always ``most`` times."""

    least: int
    most: int
    counter: str | None = None


@dataclass(slots=True)
class CobolItem:
    """An item of a copybook. ``name``: in upper case, None for FILLER. ``usage``: a value of ``_USAGES``. ``sign``: ``leading`` or
    ``trailing``, with ``separate`` whether it has a byte of its own."""

    level: int
    name: str | None
    line: int
    picture: Picture | None = None
    usage: str | None = None
    redefines: str | None = None
    occurs: Occurs | None = None
    sign: str | None = None
    separate: bool = False
    synchronized: bool = False
    children: list[CobolItem] = field(default_factory=list)


def parse_copybook(text: str) -> list[CobolItem]:
    """The copybook's records, one for each item at its top.

    Raises:
        Invalid: with the line at fault.
    """
    if len(text) > MAX_COPYBOOK:
        raise Invalid(f"a copybook of more than {MAX_COPYBOOK} characters")
    top: list[CobolItem] = []
    open_items: list[CobolItem] = []
    count = 0
    for sentence in sentences_of(text):
        item = _Entry(sentence).read()
        if item is None:
            continue
        count += 1
        if count > MAX_ITEMS:
            raise Invalid(f"more than {MAX_ITEMS} items", line=item.line)
        while open_items and open_items[-1].level >= item.level:
            open_items.pop()
        (open_items[-1].children if open_items else top).append(item)
        open_items.append(item)
    if not top:
        raise Invalid("no data description in it, as 01 RECORD.")
    for item in top:
        _check(item, None)
    return top


class _Entry:
    """One data description entry, clause by clause."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def read(self) -> CobolItem | None:
        """None for what describes no bytes."""
        first = self._tokens[0]
        if not (first.text.isascii() and first.text.isdigit() and len(first.text) <= 2):
            hint = "; put the text of what it names in its place" if first.word == "COPY" else ""
            raise Invalid(f"{_shown(first.text)} where a level number is expected{hint}", line=first.line)
        level = int(first.text)
        if level in (66, 77, 78, 88):
            return None
        if not 1 <= level <= 49:
            raise Invalid(f"there is no level {level}", line=first.line)
        self._at = 1
        item = CobolItem(level, self._item_name(), first.line)
        while (token := self._next()) is not None:
            self._clause(item, token)
        return item

    def _item_name(self) -> str | None:
        token = self._peek()
        if token is None or token.word in _CLAUSES:
            return None
        self._at += 1
        return None if token.word == "FILLER" else self._named(token)

    def _named(self, token: Token | None) -> str:
        if token is None or not _NAME.match(token.text):
            shown = _shown(token.text) if token is not None else "nothing"
            raise Invalid(f"{shown} where a name is expected", line=self._tokens[0].line)
        return token.word.replace(":", "")

    def _clause(self, item: CobolItem, token: Token) -> None:
        word = token.word
        if word in ("PIC", "PICTURE"):
            self._skip("IS")
            picture = self._next()
            if picture is None:
                raise Invalid("PIC without a picture", line=token.line)
            try:
                item.picture = parse_picture(picture.text)
            except ValueError as error:
                raise Invalid(str(error), line=picture.line, field=item.name) from None
        elif word == "USAGE" or self._usage(word):
            self._set_usage(item, token)
        elif word == "REDEFINES":
            item.redefines = self._named(self._next())
        elif word == "OCCURS":
            item.occurs = self._occurs(token)
        elif word in ("SIGN", "LEADING", "TRAILING"):
            self._sign(item, word)
        elif word in ("VALUE", "VALUES"):
            self._until_clause()
        else:
            self._minor(item, token)

    def _set_usage(self, item: CobolItem, token: Token) -> None:
        if token.word == "USAGE":
            self._skip("IS")
            token = self._next() or token
        item.usage = self._usage(token.word)
        if item.usage is None:
            raise Invalid(f"USAGE {_shown(token.text)} is not known", line=token.line, field=item.name)

    @staticmethod
    def _usage(word: str) -> str | None:
        return _USAGES.get(word.replace("COMPUTATIONAL", "COMP", 1))

    def _minor(self, item: CobolItem, token: Token) -> None:
        word = token.word
        if word in ("SYNC", "SYNCHRONIZED"):
            self._skip("LEFT", "RIGHT")
            item.synchronized = True
        elif word in ("JUST", "JUSTIFIED"):
            self._skip("RIGHT")
        elif word == "BLANK":
            self._skip("WHEN")
            self._skip("ZERO", "ZEROS", "ZEROES")
        elif word not in ("EXTERNAL", "GLOBAL"):
            raise Invalid(f"{_shown(token.text)} is no clause that is known", line=token.line, field=item.name)

    def _sign(self, item: CobolItem, word: str) -> None:
        if word == "SIGN":
            self._skip("IS")
            word = self._word(self._next())
        if word not in ("LEADING", "TRAILING"):
            raise Invalid("SIGN is LEADING or TRAILING", line=item.line, field=item.name)
        item.sign = word.lower()
        if self._skip("SEPARATE"):
            item.separate = True
            self._skip("CHARACTER")

    def _occurs(self, token: Token) -> Occurs:
        least = most = self._count(token)
        if self._skip("TO"):
            most = self._count(token)
        self._skip("TIMES")
        counter = None
        while (word := self._word(self._peek())) in ("DEPENDING", "ASCENDING", "DESCENDING", "INDEXED"):
            self._at += 1
            if word == "DEPENDING":
                self._skip("ON")
                counter = self._named(self._next())
            else:
                self._until_clause("DEPENDING", "ASCENDING", "DESCENDING", "INDEXED")
        if not 0 <= least <= most or not 1 <= most <= _MAX_OCCURS:
            raise Invalid(f"OCCURS {least} TO {most} cannot be", line=token.line)
        return Occurs(least if counter else most, most, counter)

    def _count(self, token: Token) -> int:
        number = self._next()
        if number is None or not (number.text.isascii() and number.text.isdigit() and len(number.text) <= 9):
            shown = _shown(number.text) if number is not None else "nothing"
            raise Invalid(f"OCCURS needs a number, not {shown}", line=token.line)
        return int(number.text)

    def _until_clause(self, *words: str) -> None:
        """Passes over literals and names up to the next clause."""
        while (token := self._peek()) is not None and token.word not in _CLAUSES and token.word not in words:
            self._at += 1

    def _skip(self, *words: str) -> bool:
        found = self._word(self._peek()) in words
        self._at += found
        return found

    def _peek(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _next(self) -> Token | None:
        token = self._peek()
        self._at += 1
        return token

    @staticmethod
    def _word(token: Token | None) -> str:
        return token.word if token is not None else ""


def _check(item: CobolItem, parent: CobolItem | None) -> None:
    """Usage and sign of a group hold for what is in it; every item has bytes."""
    if parent is not None:
        item.usage = item.usage or parent.usage
        if item.sign is None:
            item.sign, item.separate = parent.sign, parent.separate
        item.synchronized = item.synchronized or parent.synchronized
    if item.children and item.picture is not None:
        raise Invalid("a group has no picture", line=item.line, field=item.name)
    if not item.children and item.picture is None and item.usage not in ("float", "double", "index"):
        raise Invalid("neither a picture nor items in it", line=item.line, field=item.name)
    if item.picture is not None and item.usage not in (None, "display", "national") and item.picture.kind != "number":
        raise Invalid("USAGE needs a picture of digits", line=item.line, field=item.name)
    for child in item.children:
        _check(child, item)


def _shown(text: str) -> str:
    return ascii(text[:40])
