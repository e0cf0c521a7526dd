"""Standard input: read while the pipe is open, vouched for as long, and its end is one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.control import Marker
from tests.collectors.site import COLLECTOR, START, Site

TEXT = COLLECTOR.replace("{file: {paths: ['logs/app.log*']}}", "stdin")


class Pipe:
    """What is written into standard input."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def fileno(self) -> int:
        return self.read

    def lines(self, first: int, last: int, end: str = "\n") -> None:
        text = "\n".join(json.dumps({"at": START + number, "order": str(number)}) for number in range(first, last + 1))
        os.write(self.write, (text + end).encode())

    def close(self) -> None:
        if self.write >= 0:
            os.close(self.write)
        self.write = -1


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    made = Pipe()
    monkeypatch.setattr("sys.stdin", made)
    yield made
    made.close()
    os.close(made.read)


def test_it_is_read_and_vouched_for_while_it_is_open(tmp_path: Path, pipe: Pipe) -> None:
    site = Site(tmp_path, TEXT)
    collecting = site.begin()
    pipe.lines(1, 3)
    site.steps(4)
    assert site.orders() == ["1", "2", "3"]
    told = site.said(Marker)[-1].through
    site.steps(4)
    assert site.said(Marker)[-1].through > told  # mute, and heard
    pipe.lines(4, 4, end="")
    site.steps(4)
    held = site.said(Marker)[-1].through
    site.steps(4)
    assert site.said(Marker)[-1].through == held  # half a line is not read yet
    pipe.close()
    site.steps(4)
    assert collecting.at_end
    site.stop()
    assert site.orders() == ["1", "2", "3", "4"]
    assert site.goodbyes[-1].state == "open"  # nothing more comes until this name speaks again


def test_what_is_piped_again_is_the_same(tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, TEXT)
    pipe.lines(1, 20)
    pipe.close()
    site.begin(once=True)
    site.until_done()
    site.stop()
    again = Pipe()
    monkeypatch.setattr("sys.stdin", again)
    again.lines(1, 22)
    again.close()
    site.begin(once=True)
    site.until_done()
    site.stop()
    os.close(again.read)
    assert len(site.observed()) == 42
    assert len(site.orders()) == 22
    assert [goodbye.state for goodbye in site.goodbyes] == ["closed", "closed"]
