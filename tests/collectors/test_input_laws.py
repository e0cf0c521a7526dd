"""Files and tables under the laws of inputs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from collectors.formats.contract import Format
from collectors.formats.json import JsonFormat
from collectors.inputs.file import FileInput
from collectors.inputs.growing_table import GrowingTableInput
from collectors.inputs.live import InputSpec
from tests.collectors.input_laws import InputLaws, Source


class JsonSource(Source):
    def layout(self) -> Format:
        return JsonFormat()


class FileSource(JsonSource):
    def spec(self) -> InputSpec:
        return FileInput(paths=("*.log",))

    def write(self, numbers: list[int]) -> None:
        for number in numbers:
            with (self.folder / f"{number % 3}.log").open("a") as stream:
                stream.write(json.dumps({"order": number}) + "\n")


class TableSource(JsonSource):
    def __init__(self, folder: Path):
        super().__init__(folder)
        self.database = sqlite3.connect(folder / "shop.sqlite")
        with self.database:
            self.database.execute('CREATE TABLE orders (id INTEGER, "order" INTEGER)')

    def spec(self) -> InputSpec:
        return GrowingTableInput(url="sqlite:///shop.sqlite", table="orders", growing="id")

    def write(self, numbers: list[int]) -> None:
        with self.database:
            self.database.executemany("INSERT INTO orders VALUES (?, ?)", [(number // 2, number) for number in numbers])


class TestFile(InputLaws):
    def source(self, folder: Path) -> Source:
        return FileSource(folder)


class TestTable(InputLaws):
    def source(self, folder: Path) -> Source:
        return TableSource(folder)
