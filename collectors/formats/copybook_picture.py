"""Pictures: what a PIC clause says of an item's characters, digits and sign."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Kind = Literal["text", "wide", "number", "edited"]
_MAX_DIGITS = 60
_MAX_SIZE = 16 * 1024 * 1024
_PARTS = re.compile(r"(CR|DB|[A-Z0-9+\-*/.,$])(?:\((\d{1,9})\))?")


class Picture(NamedTuple):
    """``kind``: ``text``; ``wide``, of two bytes a character (N, G); ``number``; ``edited``, a number written for people.

    ``size``: characters, as DISPLAY. ``digits`` of a number; ``scale``: its value is the digits times 10 to the power of
    ``-scale``. ``signed``: has an S.
    """

    kind: Kind
    size: int
    digits: int = 0
    scale: int = 0
    signed: bool = False


def parse_picture(text: str) -> Picture:
    """Raises ``ValueError`` with a sentence for a person."""
    parts = _counted(text.upper())
    symbols = {symbol for symbol, _ in parts}
    size = sum(count * len(symbol) for symbol, count in parts if symbol not in "SVP")
    if not 0 < size <= _MAX_SIZE:
        raise ValueError(f"a picture of {size} characters")
    if (symbols <= {"N", "B", "0", "/"} and "N" in symbols) or (symbols <= {"G", "B"} and "G" in symbols):
        return Picture("wide", size)
    # Dates written 99/99/9999 are numeric-edited to COBOL, and no numbers to anybody else.
    if symbols & {"X", "A"} or symbols & {"B", "/", "0"}:
        if symbols <= {"X", "A", "9", "B", "0", "/", "Z", "*", "+", "-", ",", ".", "$", "CR", "DB"}:
            return Picture("text", size)
        raise ValueError(f"the picture {text[:40]!a} mixes text and numbers")
    return _number(parts, symbols, size, text)


def _counted(text: str) -> list[tuple[str, int]]:
    parts: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        match = _PARTS.match(text, at)
        if match is None or len(parts) > 1000:
            raise ValueError(f"the picture {text[:40]!a} cannot be read")
        parts.append((match[1], int(match[2] or 1)))
        at = match.end()
    return parts


def _number(parts: list[tuple[str, int]], symbols: set[str], size: int, text: str) -> Picture:
    if not symbols <= {"9", "S", "V", "P", "Z", "*", "+", "-", ",", ".", "$", "CR", "DB"}:
        raise ValueError(f"the picture {text[:40]!a} cannot be read")
    kind: Kind = "number" if symbols <= {"9", "S", "V", "P"} else "edited"
    floating = {s for s in "+-$" if sum(count for symbol, count in parts if symbol == s) > 1}
    digits = scale = left = 0
    point = False
    for symbol, count in parts:
        if symbol in ("V", "."):
            point = True
        elif symbol == "P":
            left, scale = (left + count, scale) if digits == 0 else (left, scale - count)
        elif symbol in "9Z*" or symbol in floating:
            digits += count
            scale += count if point else 0
    if digits == 0 or digits > _MAX_DIGITS or left > _MAX_DIGITS or scale < -_MAX_DIGITS:
        raise ValueError(f"the picture {text[:40]!a} has no digits, or more than {_MAX_DIGITS}")
    if left:
        # Ps before the digits: the point is assumed left of them.
        scale = left + digits
    return Picture(kind, size, digits, scale, signed="S" in symbols)
