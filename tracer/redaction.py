"""Finding values where they stand: in texts, and in bytes of whatever encoding and escaping.

Replacing is one pass over the longest first: what was put in is never searched again.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from urllib.parse import quote, quote_plus, unquote_to_bytes

SHORTEST = 3
"""Characters of a value that bytes are searched for: shorter ones stand everywhere."""
_ANYWHERE = 6
# In texts, what is shorter or a number is replaced only where it stands by itself: house number 1024 is no part of order 10248.
_MANY = 1_000

# Bounded on both sides, so linear: the local part and the domain end at what no address has.
_LOCAL = r"[^\s@<>()\[\]\\,;:\"'`={}|/?&%]{1,64}"
_DOMAIN = r"[^\W_](?:[\w.-]{0,252}[^\W_])?"
MAIL = re.compile(_LOCAL + "@" + _DOMAIN)
# ASCII only: in EBCDIC 0x40 is a space, and letters are beyond 0x80.
MAIL_BYTES = re.compile(
    rb"(?:[A-Za-z0-9.!#$*+_~^-]|%2[Bb]){1,64}(?:@|%40|\\u0040|&#64;)"
    rb"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
)
# Of mainframes (1140 is 037 with the euro), of Windows, and what databases export.
_ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be", "cp037", "cp500", "cp273", "cp1140")
_JSON_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")


def holds(text: str, values: Iterable[str]) -> bool:
    """Whether an id, which may be escaped, holds one of the values; a short one by itself, any other anywhere."""
    forms = [text.casefold()]
    if "%" in text:
        forms.append(unquote_to_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace").casefold())
    folded = [value.casefold() for value in values]
    return any(value in form and _pattern(value).search(form) for value in folded for form in forms)


def text_without(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every value replaced, whatever its case."""
    low = text.casefold()
    there = [value for value in values if value.casefold() in low]
    if not there:  # nearly always, and compiling takes ten times as long as looking
        return text
    ordered = sorted(there, key=len, reverse=True)[:_MANY]
    folded = {value.casefold(): values[value] for value in reversed(ordered)}
    joined = re.compile("|".join(_pattern(value).pattern for value in ordered), re.IGNORECASE)
    return joined.sub(lambda found: folded.get(found[0].casefold(), "***"), text)


def _pattern(value: str) -> re.Pattern[str]:
    escaped = re.escape(value)
    if len(value) < _ANYWHERE:
        escaped = rf"(?<![^\W_]){escaped}(?![^\W_])"
    return re.compile(escaped, re.IGNORECASE)


def bytes_without(raw: bytes, values: Mapping[str, str]) -> bytes | None:
    """``raw`` with every value replaced, in every form in which we can find it; None where one of them cannot be found, or is
    still there in yet another form."""
    if not values:
        return raw
    if len(values) > _MANY:
        return None
    folded = raw.lower()
    forms: dict[bytes, bytes] = {}
    for value, instead in sorted(values.items(), key=lambda item: len(item[0])):
        # Compiling a pattern of all forms takes milliseconds; few of them are there.
        there = {low: replacement for form, replacement in _forms(value, instead) if (low := form.lower()) in folded}
        if not there:
            return None
        forms.update(there)
    pattern = re.compile(b"|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    pieces, rest, at = list[bytes](), list[bytes](), 0
    for found in pattern.finditer(folded):
        rest.append(raw[at : found.start()])
        pieces += (rest[-1], forms[found[0]])
        at = found.end()
    rest.append(raw[at:])
    return None if _left(rest, values) else b"".join((*pieces, rest[-1]))


def _forms(value: str, instead: str) -> Iterator[tuple[bytes, bytes]]:
    """As it stands, and as JSON, URLs, XML and CSV write it; in every encoding that has its letters."""
    spelled = dict.fromkeys(
        (
            value,
            json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
            json.dumps(value)[1:-1].replace("/", "\\/"),
            html.escape(value),
            html.escape(value, quote=False),
            value.replace('"', '""'),
        )
    )
    with suppress(UnicodeEncodeError):  # a lone surrogate has no URL
        spelled |= dict.fromkeys((quote(value, safe=""), quote(value), quote_plus(value)))
    for text in spelled:
        for written in dict.fromkeys((text, text.upper(), text.lower())):
            for encoding in _ENCODINGS:
                try:
                    yield written.encode(encoding), instead.encode(encoding)
                except UnicodeEncodeError:
                    continue


def unquoted(address: bytes) -> str:
    """An e-mail address as `MAIL_BYTES` found it, without escapes."""
    return html.unescape(unquote_to_bytes(address.replace(b"\\u0040", b"@")).decode("utf-8", "replace"))


def _left(rest: Iterable[bytes], values: Iterable[str]) -> bool:
    """Whether a value is still there once escapes are undone: partly escaped, or with other digits of the same escape."""
    bare = b"\0".join(rest)
    undone = _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), bare)
    undone = unquote_to_bytes(undone.replace(b"+", b" ") if b"%" in undone else undone)
    for data in (bare, undone):
        text = html.unescape(data.decode("utf-8", "replace")).casefold()
        if any(value.casefold() in text for value in values):
            return True
    return False
