"""Fields of a copybook: bytes become text, exact numbers, or nothing.

A number whose bytes are all spaces, low-values or high-values is nothing: mainframes fill so what has no value. Other bytes that
are no number of their picture raise ``ValueError``; what they are is never guessed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from collectors.formats.code_page import is_ebcdic, text_of_bytes
from collectors.formats.copybook_parser import CobolItem
from collectors.formats.copybook_picture import Picture

Trim = Literal["both", "left", "right", "none"]
Read = Callable[[bytes], Any]


class Reading(NamedTuple):
    """How fields are read.

    ``floats``: of COMP-1 and COMP-2, IBM's hexadecimal or IEEE 754. ``binary``: ``picture``, a binary number has no more digits
    than its picture (TRUNC(STD)), or ``native``, all that its bytes can hold (TRUNC(BIN)). ``native_order``: byte order of COMP-5.
    """

    code_page: str = "cp037"
    trim: Trim = "both"
    floats: Literal["ibm", "ieee"] = "ibm"
    binary: Literal["picture", "native"] = "picture"
    native_order: Literal["big", "little"] = "big"
    decimal_comma: bool = False


class Field(NamedTuple):
    """``size``: bytes. ``read`` raises ``ValueError``; None is nothing there. ``align``: bytes, where it is SYNCHRONIZED.
    ``text``: a part of it, of a record that is cut short, says something."""

    size: int
    read: Read
    align: int = 1
    text: bool = False


def field_of(item: CobolItem, reading: Reading) -> Field:
    """How an elementary item is read; `parse_copybook` has checked that it is one."""
    usage, picture = item.usage or "display", item.picture
    if usage == "index":
        return Field(4, lambda data: int.from_bytes(data, "big"), 4)
    if usage in ("float", "double"):
        size = 4 if usage == "float" else 8
        return Field(size, _float_of(size, reading), size)
    assert picture is not None
    if picture.kind in ("text", "wide") or usage == "national":
        return _text_field(picture, usage, reading)
    if usage in ("packed", "unsigned-packed"):
        return _packed(picture, signed_nibble=usage == "packed")
    if usage in ("binary", "native", "little"):
        return _binary(picture, usage, reading)
    if picture.kind == "edited":
        return Field(picture.size, _edited(picture, item, reading))
    return _zoned(picture, item, reading)


def _text_field(picture: Picture, usage: str, reading: Reading) -> Field:
    strips: dict[Trim, Callable[[str], str]]
    strips = {"both": str.strip, "left": str.lstrip, "right": str.rstrip, "none": str}
    strip = strips[reading.trim]
    if picture.kind == "wide" or usage == "national":
        return Field(picture.size * 2, lambda data: strip(_wide(data)), text=True)
    page = reading.code_page
    return Field(picture.size, lambda data: strip(text_of_bytes(data, page)), text=True)


def _wide(data: bytes) -> str:
    text = data[: len(data) & ~1].decode("utf-16-be", "replace")
    return "".join(" " if char < " " or "\x7f" <= char < "\xa0" else char for char in text)


def exact(negative: bool, digits: str, scale: int) -> int | Decimal:
    """A number of these digits, times 10 to the power of ``-scale``; an integer where it has no places."""
    number = int(digits or "0")
    if scale <= 0:
        return (-number if negative else number) * int(10**-scale)
    padded = str(number).rjust(scale + 1, "0")
    return Decimal(f"{'-' if negative and number else ''}{padded[:-scale]}.{padded[-scale:]}")


def _nothing(data: bytes) -> bool:
    first = data[0]
    return first in (0x00, 0x20, 0x40, 0xFF) and data.count(first) == len(data)


# Zones: what the high half of a digit's byte says. EBCDIC puts a sign into that of the last digit (or the first); files that
# were translated to ASCII have the character that this byte was.
_ASCII_SIGNED = {
    "{": "0",
    "}": "0",
    **{chr(65 + i): str(i + 1) for i in range(9)},
    **{chr(74 + i): str(i + 1) for i in range(9)},
}
_ASCII_SIGNED |= {chr(112 + i): str(i) for i in range(10)}
_ASCII_NEGATIVE = frozenset("}JKLMNOPQRpqrstuvwxy")
_EBCDIC_DIGITS = bytes(byte & 0x0F | 0x30 if byte >> 4 == 0x0F and byte & 0x0F < 10 else 0xFF for byte in range(256))


def _zoned(picture: Picture, item: CobolItem, reading: Reading) -> Field:
    ebcdic, leading = is_ebcdic(reading.code_page), item.sign == "leading"
    scale = picture.scale
    if item.separate:
        return Field(picture.size + 1, _separate(leading, scale, reading))
    signed = picture.signed or item.sign is not None
    space = 0x40 if ebcdic else 0x20

    def read(data: bytes) -> Any:
        if _nothing(data):
            return None
        # Blanks before the digits are how editing programs write small numbers.
        data = data.lstrip(bytes((space,)))
        digits, negative = _zoned_digits(data, ebcdic, leading, signed)
        return exact(negative, digits, scale)

    return Field(picture.size, read)


def _zoned_digits(data: bytes, ebcdic: bool, leading: bool, signed: bool) -> tuple[str, bool]:
    plain = data.translate(_EBCDIC_DIGITS) if ebcdic else data
    if plain.isdigit():
        return plain.decode("ascii"), False
    at = 0 if leading else len(data) - 1
    digit, negative = _overpunched(data[at], ebcdic)
    digits = plain[:at] + digit.encode() + plain[at + 1 :]
    if not signed or not digits.isdigit():
        raise ValueError("is no zoned number of its picture")
    return digits.decode("ascii"), negative


def _overpunched(byte: int, ebcdic: bool) -> tuple[str, bool]:
    if not ebcdic:
        char = chr(byte)
        return _ASCII_SIGNED.get(char, "x"), char in _ASCII_NEGATIVE
    zone, digit = byte >> 4, byte & 0x0F
    if digit > 9 or zone not in (0xA, 0xB, 0xC, 0xD, 0xE, 0xF):
        return "x", False
    return str(digit), zone in (0xB, 0xD)


def _separate(leading: bool, scale: int, reading: Reading) -> Read:
    def read(data: bytes) -> Any:
        if _nothing(data):
            return None
        text = text_of_bytes(data, reading.code_page)
        sign, digits = (text[0], text[1:]) if leading else (text[-1], text[:-1])
        digits = digits.lstrip()
        if sign not in "+- " or not (digits.isascii() and digits.isdigit()):
            raise ValueError("is no number with a separate sign")
        return exact(sign == "-", digits, scale)

    return read


def _packed(picture: Picture, *, signed_nibble: bool) -> Field:
    size = picture.digits // 2 + 1 if signed_nibble else (picture.digits + 1) // 2

    def read(data: bytes) -> Any:
        if _nothing(data) and (signed_nibble or data[0]):
            return None
        nibbles = data.hex()
        digits, sign = (nibbles[:-1], nibbles[-1]) if signed_nibble else (nibbles, "f")
        if not digits.isdigit() or sign not in "abcdef":
            raise ValueError("is no packed decimal")
        negative = sign in "bd"
        if negative and not picture.signed and digits.strip("0"):
            raise ValueError("is negative, and its picture has no sign")
        return exact(negative, digits, picture.scale)

    return Field(size, read)


def _binary(picture: Picture, usage: str, reading: Reading) -> Field:
    size = _binary_size(picture.digits)
    order: Literal["big", "little"] = "big"
    if usage == "little" or (usage == "native" and reading.native_order == "little"):
        order = "little"
    whole = usage == "native" or reading.binary == "native"
    largest = 10**picture.digits

    def read(data: bytes) -> Any:
        number = int.from_bytes(data, order, signed=picture.signed)
        if not whole and abs(number) >= largest:
            raise ValueError(f"has more than {picture.digits} digits")
        return exact(number < 0, str(abs(number)), picture.scale)

    return Field(size, read, min(size, 4) if size in (2, 4, 8) else 1)


def _binary_size(digits: int) -> int:
    for most, size in ((4, 2), (9, 4), (18, 8)):
        if digits <= most:
            return size
    # Beyond what compilers know, as Cobrix and others take it: the bytes that a signed number of these digits needs.
    return math.ceil((digits * math.log2(10) + 1) / 8)


def _float_of(size: int, reading: Reading) -> Read:
    if reading.floats == "ieee":
        mark = ("<" if reading.native_order == "little" else ">") + ("f" if size == 4 else "d")

        def read(data: bytes) -> float:
            number: float = struct.unpack(mark, data)[0]
            if not math.isfinite(number):
                raise ValueError("is no finite number")
            return _shortest(number, mark) if size == 4 else number

        return read
    return lambda data: _ibm_float(data, size)


def _shortest(number: float, mark: str) -> float:
    """The number of fewest digits that is the same in four bytes: 0.1, not 0.10000000149011612."""
    for digits in range(6, 9):
        short = float(f"{number:.{digits}g}")
        if abs(short) < 3.4e38 and struct.unpack(mark, struct.pack(mark, short))[0] == number:
            return short
    return number


def _ibm_float(data: bytes, size: int) -> float:
    """Sign, an exponent of 16 over 64, and a fraction of 24 or 56 bits."""
    bits = (size - 1) * 8
    whole = int.from_bytes(data, "big")
    fraction = whole & ((1 << bits) - 1)
    exponent = (whole >> bits & 0x7F) - 64
    number = math.ldexp(fraction, 4 * exponent - bits)
    return -number if whole >> (bits + 7) else number


def _edited(picture: Picture, item: CobolItem, reading: Reading) -> Read:
    point, comma = (",", ".") if reading.decimal_comma else (".", ",")
    ebcdic, leading = is_ebcdic(reading.code_page), item.sign == "leading"

    def read(data: bytes) -> Any:
        if _nothing(data):
            return None
        text, negative = text_of_bytes(data, reading.code_page), False
        if picture.signed:
            at = 0 if leading else len(data) - 1
            digit, negative = _overpunched(data[at], ebcdic)
            if digit != "x":
                text = text[:at] + digit + text[at + 1 :]
        return _plain(text, negative, picture, point, comma)

    return read


def _plain(text: str, negative: bool, picture: Picture, point: str, comma: str) -> int | Decimal | None:
    """A number as people read it: currency, commas, blanks and asterisks are left out."""
    bare = text.strip().upper()
    for mark in ("CR", "DB", "-"):
        if bare.startswith(mark) or bare.endswith(mark):
            negative, bare = True, bare.replace(mark, "", 1)
    bare = "".join(char for char in bare if char not in f" +*$€£¥{comma}")
    whole, _, places = bare.partition(point)
    if not whole + places:
        return None
    if not (whole + places).isascii() or not (whole + places).isdigit():
        raise ValueError("is no edited number")
    scale = len(places) if point in bare else picture.scale
    return exact(negative, whole + places, scale)
