"""Landscape files: the one that ships, and those that people put beside their flows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from schemas.errors import Invalid
from schemas.landscape import Landscape
from schemas.yaml_file import Document, parse_model, read_yaml

SHIPPED_FLOWS = Path(__file__).parent / "flows"
SHIPPED_LANDSCAPE = Path(__file__).parent / "landscape.yaml"
FILE_NAME = "landscape.yaml"
_TABLES = ("keys", "attributes", "systems", "calendars")


def landscape_files(dirs: Iterable[Path]) -> list[Path]:
    """The ``landscape.yaml`` of each folder that has one; the shipped flows' is ``schemas/landscape.yaml``."""
    found = []
    for folder in dirs:
        path = SHIPPED_LANDSCAPE if folder.resolve() == SHIPPED_FLOWS else folder / FILE_NAME
        if path.is_file():
            found.append(path)
    return found


def load_landscape(dirs: Iterable[Path]) -> Landscape:
    """The landscapes of all folders as one: a later file adds to an earlier one, or stands in its place, entry by entry.

    Raises ``Invalid`` with the first mistake's file, line and field.
    """
    landscape, mistakes = read_landscapes(landscape_files(dirs))
    if mistakes:
        raise mistakes[0]
    return landscape


def read_landscapes(paths: Iterable[Path]) -> tuple[Landscape, list[Invalid]]:
    """The landscape that the files make together, and all that is wrong with them."""
    landscape, mistakes = Landscape(), []
    for path in paths:
        try:
            document = read_yaml(path)
        except Invalid as error:
            mistakes.append(error)
            continue
        one = parse_model(Landscape, document) if document.data is not None else None
        if one is not None:
            landscape = _merged(landscape, one)
            document.mistakes.extend(_check(landscape, one, document))
        mistakes.extend(document.mistakes)
    return landscape, mistakes


def _merged(base: Landscape, over: Landscape) -> Landscape:
    update: dict[str, Any] = {}
    for name in over.model_fields_set:
        value = getattr(over, name)
        update[name] = {**getattr(base, name), **value} if name in _TABLES else value
    return base.model_copy(update=update)


def _check(merged: Landscape, one: Landscape, document: Document) -> list[Invalid]:
    found = []
    for name, system in one.systems.items():
        at = ("systems", name)
        if system.calendar is not None and system.calendar not in merged.calendars:
            found.append(document.mistake(f"unknown calendar {system.calendar!r}", (*at, "calendar")))
        for former in system.former_names:
            others = [other for other, spec in merged.systems.items() if other != name and former in spec.former_names]
            if former in merged.systems or others:
                found.append(document.mistake(f"{former!r} is the name of another system too", (*at, "former_names")))
    return found
