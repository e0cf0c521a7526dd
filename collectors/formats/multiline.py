"""Records of several lines, as stack traces are: which lines belong together, in bounds."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import re2
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectors.formats.framing import MAX_LINE, TORN

MAX_MATCHED = 256 * 1024
"""Bytes of a record, or of a line's beginning, that a pattern is tried on."""
MAX_PROGRAM = 3000
"""Instructions of a pattern: 24,000 of them took 5 s for 64 KiB, linear or not."""


def linear(pattern: str) -> Any:
    """A compiled pattern of the linear-time engine, so that no pattern and no line can hang a collector.

    It matches bytes of UTF-8. Raises ``ValueError`` naming what it cannot do.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        if "(?" in told or "escape" in told:
            told += "; look-arounds and back references are not supported, since they can take for ever"
        raise ValueError(f"the pattern cannot be read: {told[:300]}") from None
    if compiled.programsize > MAX_PROGRAM:
        raise ValueError("the pattern is too large: its counted repetitions multiply")
    return compiled


class Multiline(BaseModel):
    """Records of several lines. Exactly one of ``starts``, a pattern that the first line of a record has, and ``continues``,
    one that every further line has. A record of more lines or bytes than the bounds is unreadable as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    starts: str | None = Field(default=None, max_length=2000)
    continues: str | None = Field(default=None, max_length=2000)
    max_lines: int = Field(default=1000, ge=1, le=100_000)
    max_bytes: int = Field(default=MAX_LINE, ge=1, le=64 * 1024 * 1024)

    @model_validator(mode="after")
    def _one(self) -> Multiline:
        if (self.starts is None) == (self.continues is None):
            raise ValueError("exactly one of starts and continues is needed, each a regular expression")
        linear(self.starts or self.continues or "")
        return self

    @cached_property
    def _pattern(self) -> Any:
        return linear(self.starts if self.starts is not None else self.continues or "")

    def begins(self, line: bytes, fault: str) -> bool:
        """Whether a line, UTF-8 without its end, begins a record. Of a torn one only what ``starts`` it tells so: what would
        continue the last may have been cut off."""
        if fault == TORN and self.starts is None:
            return False
        return (self._pattern.search(line[:MAX_MATCHED]) is not None) == (self.starts is not None)


class Group:
    """Lines that are one record as far as they came, bounded; where it is too large, with its beginning only."""

    __slots__ = ("begin", "count", "end", "fault", "lines", "number")

    def __init__(self, begin: int, end: int, number: int, line: bytes, fault: str) -> None:
        self.begin, self.end, self.number = begin, end, number
        self.lines = [line]
        self.count = 1
        self.fault = fault

    def add(self, line: bytes, end: int, fault: str, bounds: Multiline) -> None:
        self.end = end
        self.count += 1
        if self.count > bounds.max_lines:
            fault = f"a record of more than {bounds.max_lines} lines"
        elif end - self.begin > bounds.max_bytes:
            fault = f"a record of more than {bounds.max_bytes} bytes"
        if not self.fault:
            self.lines.append(line)
        self.fault = self.fault or fault
