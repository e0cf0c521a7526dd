"""Errors of the contract: what is wrong with an input, and where."""

from __future__ import annotations


class Invalid(ValueError):  # noqa: N818  (the design's word: three kinds of error, law 10)
    """The input is bad: set it aside, say why, go on.

    Attributes:
        reason: one sentence for a person.
        file: name of the file or other origin, if there is one.
        line: 1-based line in it.
        field: dotted path of the field (``steps.paid.within``).
    """

    def __init__(self, reason: str, *, file: str | None = None, line: int | None = None, field: str | None = None):
        self.reason = reason
        self.file = file
        self.line = line
        self.field = field
        super().__init__(str(self))

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (where, self.field or "", self.reason) if part)
