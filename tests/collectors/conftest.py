"""Mappings written as a person would, read as a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from collectors.mapping_file import MappingFile, read_mapping

ReadMapping = Callable[[str], MappingFile]


@pytest.fixture
def mapping_of(tmp_path: Path) -> ReadMapping:
    def read(text: str) -> MappingFile:
        path = tmp_path / "m.yaml"
        path.write_text(text, encoding="utf-8")
        return read_mapping(path)

    return read
