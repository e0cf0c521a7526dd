"""Keys of an event: in the form under which values meet, and where the event belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Normalise = Mapping[str, Callable[[str], str]]
"""Key type to the form under which its values meet."""


def normal(keys: Mapping[str, Any], ways: Normalise) -> dict[str, Any]:
    """Values as they meet. What nothing is left of stays as it is: the worker that refuses it shows what was sent."""
    return {
        name: (ways[name](value) or value) if name in ways and isinstance(value, str) else value
        for name, value in keys.items()
    }


def route(keys: Any, types: Iterable[str]) -> str:
    """``type:value`` by which an event is placed: of the first of ``types`` that it has, else its first key. Raises ValueError."""
    if not keys:
        raise ValueError("an event needs at least one key")
    for name in types:
        if name in keys:
            return f"{name}:{keys[name]}"
    name, value = next(iter(keys.items()))
    return f"{name}:{value}"
