"""Positions: the old ones or the new ones, whatever happens to the disk or the process (FAULTS 31: a full disk)."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from collectors.checkpoint import Checkpoint
from schemas.errors import Invalid
from tracer.errors import Unavailable


def test_what_is_saved_is_there_again(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path / "a", "shop")
    first.put("1", {"offset": 12})
    first.put("2", {"offset": 3})
    first.drop("2")
    first.vouched(77)
    assert first.dirty
    first.save()
    assert not first.dirty
    first.close()
    again = Checkpoint(tmp_path / "a", "shop")
    assert again.all() == {"1": {"offset": 12}}
    assert again.through == 77
    again.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path, "shop")
    with pytest.raises(Unavailable, match="runs in another process already"):
        Checkpoint(tmp_path, "shop")
    Checkpoint(tmp_path, "bank").close()
    first.close()
    Checkpoint(tmp_path, "shop").close()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "through": 1, "streams": {"1": 2}}']
)
def test_what_is_none_of_ours_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shop.json").write_bytes(content)
    with pytest.raises(Invalid, match=r"shop\.json"):
        Checkpoint(tmp_path, "shop")
    (tmp_path / "shop.json").unlink()
    Checkpoint(tmp_path, "shop").close()  # and the lock is free


def test_a_version_that_is_to_come_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text('{"version": 2}')
    with pytest.raises(Invalid, match="version 2"):
        Checkpoint(tmp_path, "shop")


FULL = """
import resource, signal, sys
from pathlib import Path
from collectors.checkpoint import Checkpoint
from tracer.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
point = Checkpoint(Path(sys.argv[1]), "shop")
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
point.put("1", {"offset": 2, "path": "x" * 1000})
try:
    point.save()
except Unavailable as error:
    print(error)
assert point.dirty
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
point.save()
"""


def test_a_full_disk_leaves_the_last_that_was_saved(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("this process may not lift the limit of a file's size again")
    point = Checkpoint(tmp_path, "shop")
    point.put("1", {"offset": 1})
    point.save()
    point.close()
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env=dict(os.environ),
    )  # fmt: skip
    assert "cannot be saved: File too large" in done.stdout
    after = Checkpoint(tmp_path, "shop")
    assert after.all()["1"]["offset"] == 2
    after.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written"):
        Checkpoint(tmp_path / "file" / "below", "shop")
