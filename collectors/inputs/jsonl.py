"""JSON Lines files: one JSON object a line."""

from __future__ import annotations

from pathlib import Path

from collectors.formats.json import JsonFormat
from collectors.inputs.text_file import TextFile, readable


class JsonlInput(TextFile):
    """Reads a JSON Lines file, plain or gzipped; empty lines are none."""

    def __init__(self, path: Path, encoding: str = "utf-8"):
        """Raises ``Invalid`` where the file cannot be read."""
        super().__init__(path, JsonFormat(encoding=readable(encoding, path)).decoder())
