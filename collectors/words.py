"""Words of a collector's file that may be said short."""

from __future__ import annotations

from typing import Any


def several(value: Any) -> Any:
    """A single text where a list of them may stand."""
    return (value,) if isinstance(value, str) else value
