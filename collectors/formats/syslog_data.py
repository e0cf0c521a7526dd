"""Structured data of RFC 5424: ``[id name="value" …][id …]``, or ``-``."""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"\[([^\s=\]\"]{1,64})")
_PARAM = re.compile(r" +([^\s=\]\"]{1,64})=\"")
_PLAIN = re.compile(r"[^\"\\\]]*")


def structured_data(text: str, at: int) -> tuple[dict[str, Any], int]:
    """Fields ``sd.<id>.<name>``, and where it ends. A name that comes again makes a list.

    Raises:
        ValueError: it is not whole, says where.
    """
    if text.startswith("-", at):
        return {}, at + 1
    fields: dict[str, Any] = {}
    if not text.startswith("[", at):
        raise ValueError("there is neither structured data nor a hyphen")
    while found := _ID.match(text, at):
        at = found.end()
        while param := _PARAM.match(text, at):
            value, at = _value(text, param.end())
            _put(fields, f"sd.{found[1]}.{param[1]}", value)
        if not text.startswith("]", at):
            raise ValueError(f"structured data {found[1][:40]!r} does not end")
        at += 1
    return fields, at


def _value(text: str, at: int) -> tuple[str, int]:
    """Up to the quote that ends it. A backslash escapes ``"``, ``\\`` and ``]``; before anything else it stands for itself."""
    parts: list[str] = []
    while True:
        plain = _PLAIN.match(text, at)
        assert plain is not None
        parts.append(plain[0])
        at = plain.end()
        if at >= len(text):
            raise ValueError("a value of structured data has no end")
        if text[at] == '"':
            return "".join(parts), at + 1
        if text[at] == "]":
            raise ValueError('a value of structured data has "]" without a backslash before it')
        escaped = text[at + 1 : at + 2]
        parts.append(escaped if escaped and escaped in '"\\]' else "\\" + escaped)
        at += 2


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    there = fields.get(name)
    if there is None:
        fields[name] = value
    elif isinstance(there, list):
        there.append(value)
    else:
        fields[name] = [there, value]
