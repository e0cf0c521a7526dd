"""Values of an application in the form that an event may have. Nothing here raises, whatever it is given.

What stands for itself (a name, a text) is repaired: cut, and what may not be in it replaced. A key's value never is, for half an
order number is another order's: it is taken as it stands or not at all. The limits are the contract's (``schemas.event``); a test
holds the two together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_NAME = 100
MAX_ID = 256
MAX_KEYS = 32
MAX_KEY_VALUE = 256
MAX_ATTRIBUTES = 64
MAX_TEXT = 4096
MAX_INTEGER = 2**53 - 1
EARLIEST = 631_152_000_000_000
LATEST = 4_102_444_800_000_000
"""Microseconds since 1970 UTC: the years 1990 to 2100, the last excluded."""

# Controls, bidi marks and overrides, line separators, lone surrogates.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\u200b-\u200f\u202a-\u202e\u2060-\u2069\ud800-\udfff]")
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_NO_KEY = "\ufffd↻"
"""A replaced character says that something else stood there; the arrow marks numbers that came round, and is the pipeline's."""


def text_of(value: Any, limit: int = MAX_TEXT) -> str:
    """As free text of at most ``limit`` characters, without NUL and lone surrogates."""
    return _NOT_TEXT.sub("\ufffd", _shown(value, limit)[:limit])


def name_of(value: Any, limit: int = MAX_NAME) -> str:
    """As the name of a system, step or peer, or an id; may be empty, as that of None is."""
    if value is None:
        return ""
    text = _shown(value, limit)[:limit].strip()
    return text if text.isprintable() else _FORBIDDEN.sub("\ufffd", text)


def key_of(value: Any) -> str | None:
    """As a key's value; None where it can be none: nothing, too long, no scalar, or with characters that no number has."""
    if type(value) is not str:
        if value is None or isinstance(value, bool | bytes | bytearray | Mapping):
            return None
        if isinstance(value, list | tuple):
            return key_of(value[0]) if len(value) == 1 and not isinstance(value[0], list | tuple) else None
        if isinstance(value, float):
            if not value.is_integer() or abs(value) > MAX_INTEGER:
                return None
            value = int(value)
        value = _shown(value, MAX_KEY_VALUE + 1, failed="")
    text: str = value.strip()
    if not text or len(text) > MAX_KEY_VALUE:
        return None
    if text.isascii() and text.isprintable():
        return text
    if any(char in text for char in _NO_KEY):
        return None
    return text if text.isprintable() or not _FORBIDDEN.search(text) else None


def scalar_of(value: Any) -> bool | int | float | str:
    """As an attribute: numbers beyond 2^53 and those that are not finite as text, everything else as `text_of` it."""
    if isinstance(value, bool):
        return bool(value)
    if type(value) is int and abs(value) <= MAX_INTEGER:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    return text_of(value)


def keys_of(given: Any) -> tuple[dict[str, str], int]:
    """Keys that may be, and how many were given that may not."""
    keys: dict[str, str] = {}
    dropped = 0
    for name, value in pairs(given):
        text = key_of(value)
        if text is None or not _is_name(name) or (len(keys) >= MAX_KEYS and name not in keys):
            dropped += 1
        else:
            keys[name] = text
    return keys, dropped


def attributes_of(given: Any) -> tuple[dict[str, bool | int | float | str], int]:
    """Attributes that may be, and how many were left out. ``None`` is no value and no loss."""
    attributes: dict[str, bool | int | float | str] = {}
    dropped = 0
    for name, value in pairs(given):
        if value is None:
            continue
        if not _is_name(name) or (len(attributes) >= MAX_ATTRIBUTES and name not in attributes):
            dropped += 1
        else:
            attributes[name] = scalar_of(value)
    return attributes, dropped


def pairs(given: Any) -> Iterable[tuple[Any, Any]]:
    """Items of what should be a mapping; none where it raises. A copy: another thread may change it."""
    if given is None:
        return ()
    try:
        return list(given.items())
    except Exception:
        return ()


def _is_name(name: Any) -> bool:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        return False
    return name.isprintable() or not _FORBIDDEN.search(name)


def _shown(value: Any, limit: int, failed: str = "(cannot be shown)") -> str:
    """``str`` of it, of an int only within bounds: 4,300 digits raise, and a million cost seconds."""
    if type(value) is str:
        return value
    try:
        if isinstance(value, int) and abs(value) > 1 << 4 * min(limit, 1000):
            return failed
        return str.__str__(value) if isinstance(value, str) else str.__str__(str(value))
    except Exception:
        return failed
