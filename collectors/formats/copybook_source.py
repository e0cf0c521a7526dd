"""A copybook's text: lines without comments, and the words of which its sentences are made.

Fixed reference format (columns 7 to 72, comments, continuation, debugging lines) and free format; which of them it is shows by
where level numbers stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from schemas.errors import Invalid

_DIRECTIVES = re.compile(r"\s*(EJECT|SKIP[123]|TITLE\b.*)\s*\.?\s*$", re.IGNORECASE)
_FREE = re.compile(r" {0,5}\d{1,2}\s+[A-Za-z:]")
_TOKEN = re.compile(r"""[XNGBZxngbz]?"(?:[^"]|"")*"|[XNGBZxngbz]?'(?:[^']|'')*'|[^\s"']+""")


class Token(NamedTuple):
    text: str
    line: int

    @property
    def word(self) -> str:
        return self.text.upper()


def _source(text: str) -> Iterator[tuple[int, str, bool]]:
    """Lines without comments: number, what stands in them, and whether it continues the line before."""
    lines = [line.expandtabs(8).rstrip() for line in text.splitlines()]
    free = any(_FREE.match(line) for line in lines)
    for number, line in enumerate(lines, 1):
        area, continued = line, False
        if not free:
            mark, area = line[6:7], line[7:72]
            if mark in ("*", "/", "D", "d") or line.lstrip().startswith("*"):
                continue
            continued = mark == "-"
        area = area.split("*>", 1)[0].rstrip()
        if area.lstrip()[:1] != "*" and area.strip() and not _DIRECTIVES.match(area):
            yield number, area, continued


def _tokens(lines: Iterator[tuple[int, str, bool]]) -> Iterator[Token]:
    """Words and literals; a sentence's end is a token of its own. A literal or word goes on over a continued line."""
    joined: list[tuple[int, str]] = []
    for number, area, continued in lines:
        if continued and joined:
            before = joined[-1][1]
            rest = area.lstrip()
            open_literal = next((q for q in "'\"" if before.count(q) % 2), "")
            joined[-1] = (joined[-1][0], before + (rest.removeprefix(open_literal) if open_literal else rest))
            if len(joined[-1][1]) > 100_000:
                raise Invalid("a line that is continued without end", line=number)
        else:
            joined.append((number, area))
    for number, area in joined:
        for match in _TOKEN.finditer(area):
            text = match[0].rstrip(",;")
            ends = text.endswith(".")
            text = text[:-1] if ends else text
            if text:
                yield Token(text, number)
            if ends:
                yield Token(".", number)


def sentences_of(text: str) -> Iterator[list[Token]]:
    """What stands before each period.

    Raises:
        Invalid: with the line at fault.
    """
    sentence: list[Token] = []
    for token in _tokens(_source(text)):
        if token.text != ".":
            sentence.append(token)
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        raise Invalid("the last item has no period at its end", line=sentence[0].line)
