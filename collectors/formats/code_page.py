"""Code pages: bytes of a mainframe as text, without what no text should hold.

Python brings some EBCDIC pages (cp037, cp273, cp424, cp500, cp875, cp1026, cp1140); the package ``ebcdic`` brings the others,
among them cp1047 of z/OS Unix. ``common`` is the part of EBCDIC that all pages share: what differs reads as a space, and so does
every control character of any page, since low-values are padding and not text.
"""

from __future__ import annotations

import codecs
import unicodedata
from functools import lru_cache

import ebcdic  # type: ignore[import-untyped]  # noqa: F401  (registers its codecs)

# The syntactic character set (GCSGID 640) and those that most pages have at the same place.
_COMMON = frozenset(" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.<(+|&!$*);-/,%_>?`:#@'=\"~^[]{}\\")
_COMMON_MOVED = {0x6A: "|", 0xCA: "-"}


def known_code_page(name: str) -> str:
    """The name as it is used. Raises ``ValueError`` for what is no page of single bytes, or is not known."""
    if name == "common":
        return name
    try:
        found = codecs.lookup(name).name
        plain = "".join(bytes([byte]).decode(found) for byte in "AZaz09 .".encode(found))
    except (LookupError, UnicodeError):
        raise ValueError(
            f"unknown code page {name[:40]!r}; write for instance cp037, cp1047, common or ascii"
        ) from None
    if plain != "AZaz09 .":
        raise ValueError(f"{found} is no code page of single bytes")
    return found


@lru_cache(maxsize=64)
def is_ebcdic(name: str) -> bool:
    return name == "common" or " ".encode(name) == b"\x40"


@lru_cache(maxsize=64)
def text_table(name: str) -> str:
    """What each of the 256 bytes reads as; not for utf-8."""
    page = "cp037" if name == "common" else name
    chars = [bytes([byte]).decode(page, "replace") for byte in range(256)]
    chars = [" " if unicodedata.category(char) in ("Cc", "Cn") else char for char in chars]
    if name == "common":
        chars = [_COMMON_MOVED.get(byte, char if char in _COMMON else " ") for byte, char in enumerate(chars)]
    return "".join(chars)


def text_of_bytes(data: bytes, name: str) -> str:
    """Never raises: what is no character is U+FFFD."""
    if name == "utf-8":
        return "".join(
            " " if char < " " or "\x7f" <= char < "\xa0" else char for char in data.decode("utf-8", "replace")
        )
    return codecs.charmap_decode(data, "strict", text_table(name))[0]
