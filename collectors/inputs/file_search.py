"""Where files are looked for: by patterns, within the folder that confines them, and beside a path that is no more."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field


def _path(text: str) -> str:
    if ".." in Path(text).parts:
        raise ValueError("`..` is not followed; write the folder itself")
    if "\0" in text:
        raise ValueError("contains NUL")
    return text


PathPattern = Annotated[str, AfterValidator(_path), Field(min_length=1, max_length=1000)]


class Search(Protocol):
    """What is looked for, as it is declared (`collectors.inputs.file.FileInput`)."""

    @property
    def paths(self) -> tuple[str, ...]: ...

    @property
    def exclude(self) -> tuple[str, ...]: ...

    @property
    def folder(self) -> str | None: ...


def found(search: Search, base: Path, missing: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
    """Paths and the folders that confine them, the longest unwritten first, so that what was rotated comes first.

    Args:
        base: from which relative paths count.
        missing: told of a path without wildcards that is not there.
    """
    there: dict[Path, Path] = {}
    for pattern in search.paths:
        place = base / pattern
        folder = (base / search.folder if search.folder else _fixed(place)).resolve()
        if not glob.has_magic(str(place)):
            if not place.exists():
                missing(f"{place}: there is no such file")
                continue
            there.setdefault(place, folder)
            continue
        for text in glob.iglob(str(place), recursive=True):
            path = Path(text)
            if not path.is_dir():
                there.setdefault(path, folder)
    kept = [path for path in there if not any(fnmatch(path.name, pattern) for pattern in search.exclude)]
    return iter(sorted(((path, there[path]) for path in kept), key=lambda pair: _written(pair[0])))


def _fixed(path: Path) -> Path:
    """The folder that a pattern names before its first wildcard."""
    folder = path.parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    return folder


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def beside(path: Path) -> list[Path]:
    """Files in a path's folder that may be what it was, those named after it first."""
    stem = path.name.partition(".")[0]
    try:
        found = sorted(path.parent.iterdir(), key=partial(_likeness, path.name, stem))
    except OSError:
        return []
    return [one for one in found[:1000] if one.is_file() and one.name.startswith(stem)]


def _likeness(name: str, stem: str, path: Path) -> tuple[bool, bool, int]:
    return not path.name.startswith(name), not path.name.startswith(stem), -_written(path)
