"""Regular expressions with named groups, on an engine whose time is linear in the line, whatever the pattern."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from collectors.formats.contract import Item
from collectors.formats.lines import LineFormat
from collectors.formats.multiline import MAX_MATCHED, linear
from collectors.inputs.record import Row, Unreadable
from collectors.words import several

_NAME = re.compile(r"(?:^|[^\\])(?:\\\\)*\(\?P?<(\w+)>")


Patterns = Annotated[tuple[str, ...], BeforeValidator(several), Field(min_length=1, max_length=100)]


class RegexFormat(LineFormat):
    """The first pattern that is found in a record gives its fields: the named groups that took part.

    ``pattern``: one, or several in the order in which they are tried; RE2's syntax, without look-arounds and back references.
    ``otherwise``: what a record that no pattern is found in is: unreadable, or nothing.
    """

    pattern: Patterns
    otherwise: Literal["unreadable", "nothing"] = "unreadable"

    @field_validator("pattern")
    @classmethod
    def _named(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not linear(pattern).groupindex:
                raise ValueError(f"the pattern {pattern[:60]!r} has no named group, as (?P<order>\\d+)")
            names = _NAME.findall(pattern)
            double = [name for name in names if names.count(name) > 1]
            if double:  # the engine would keep the first only
                raise ValueError(f"the pattern {pattern[:60]!r} names two groups {double[0]!r}")
        return patterns

    @cached_property
    def _compiled(self) -> tuple[tuple[Any, tuple[tuple[str, int], ...]], ...]:
        compiled = [linear(pattern) for pattern in self.pattern]
        return tuple((one.search, tuple(one.groupindex.items())) for one in compiled)

    def items(self, text: str, raw: bytes, line: int) -> tuple[Item, ...]:
        data = text.encode()
        if len(data) > MAX_MATCHED:
            return (Unreadable(line, f"more than {MAX_MATCHED} bytes, too long for a pattern", raw),)
        for search, groups in self._compiled:
            found = search(data)
            if found is not None:
                fields = {
                    name: value.decode("utf-8", "replace")
                    for name, index in groups
                    if (value := found[index]) is not None
                }
                return (Row(line, fields, raw),)
        if self.otherwise == "nothing":
            return ()
        return (Unreadable(line, "no pattern is found in it", raw),)
