"""The spool on disk: torn tails, full disks, one master a folder, segments given back (FAULTS 26)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.leftovers import leftovers
from tracer.spool import SEGMENT, Full, Lock, Spool, folder_of, take_slot
from tracer.spool_format import Entry, entry_of, framed, records

BOOT = 1_750_000_000_000_000
STATE = {"accounted": 0, "acked": {}, "skew": None, "shed": 0, "shed_ranges": [], "shed_at": None}


def spool_in(folder: Path, limit: int = 1 << 30) -> Spool:
    lock = Lock.take(folder)
    assert lock is not None
    spool = Spool(lock, "shop-1", ["shop"], limit)
    spool.begin(BOOT, BOOT)
    return spool


def entry(number: int, size: int = 10) -> Entry:
    return Entry(number, BOOT + number, f"order:{number}", b"x" * size)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


@given(
    number=st.integers(1, 2**53),
    known=st.integers(0, 2**60),
    key=st.text(max_size=50),
    line=st.binary(min_size=1, max_size=99),
    reason=st.text(max_size=30),
)
def test_an_entry_comes_back_as_it_was(number: int, known: int, key: str, line: bytes, reason: str) -> None:
    for made in (Entry(number, known, key, line, reason), Entry(number, known, "", b"", numbers=7)):
        ((kind, payload, end),) = records(framed(made))
        assert entry_of(kind, payload) == made
        assert end == len(framed(made))


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(1, 400), flipped=st.integers(0, 400))
def test_a_torn_tail_ends_what_is_read_and_vouched_for(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    """Cut anywhere, or with one byte changed anywhere: what is whole before it is read, nothing behind it, nothing that was not
    there, and ``through`` says no more than that."""
    folder = tmp_path_factory.mktemp("torn")
    spool = spool_in(folder)
    for number in range(1, 11):
        spool.append([entry(number)])
        spool.through(BOOT + number + 1)
    spool.close()
    (path,) = files(folder)
    data = bytearray(path.read_bytes())
    place = max(0, len(data) - 1 - flipped)
    data[place] ^= 0x40
    path.write_bytes(data[: len(data) - cut])
    for left in leftovers(folder):
        found = list(left.entries())
        assert found == [entry(number) for number in range(1, len(found) + 1)]
        assert left.through in (0, BOOT + len(found) + 1, BOOT + len(found))
        assert not left.orderly


def test_segments_are_given_back_when_they_are_acknowledged(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for number in range(1, 41):
        spool.append([entry(number, SEGMENT // 10)])
    assert len(files(tmp_path)) == 5
    spool.settle({**STATE, "accounted": 25})
    assert 2 <= len(files(tmp_path)) <= 3
    spool.close()
    (left,) = leftovers(tmp_path)
    numbers = [each.number for each in left.entries()]
    assert numbers == list(range(numbers[0], 41))
    assert numbers[0] <= 26
    assert left.state is not None
    assert left.state["accounted"] == 25
    left.remove()
    assert files(tmp_path) == []


def test_what_is_kept_is_read_back_in_order_while_more_is_written(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([entry(1)])
    spool.keep()
    read: list[int] = []
    for number in range(2, 60):
        spool.append([entry(number, SEGMENT // 20)])
        if number % 7 == 0:
            read += [each.number for each in spool.read(SEGMENT // 4)]
            spool.settle({**STATE, "accounted": max(read) - 3})
    while found := spool.read(SEGMENT // 4):
        read += [each.number for each in found]
    assert read == list(range(2, 60))
    assert spool.read() == []


def test_a_full_disk_tears_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a record was written when the disk was full: it is cut off again, and what follows can be read."""
    spool = spool_in(tmp_path)
    spool.append([entry(1)])
    real, calls = os.write, 0

    def write(handle: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, data[: len(data) // 2]) if calls == 1 else real(handle, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(Full):
        spool.append([entry(2)])
    spool.append([entry(2), entry(3)])
    spool.close()
    (left,) = leftovers(tmp_path)
    assert list(left.entries()) == [entry(1), entry(2), entry(3)]


def test_the_bound_holds(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, limit=10_000)
    for number in range(1, 70):
        spool.append([entry(number, 100)])
    with pytest.raises(Full):
        spool.append([entry(70, 3_000)])
    assert 9_000 < sum(path.stat().st_size for path in files(tmp_path)) <= 10_000
    assert spool.note(Entry(70, BOOT, "", b"", numbers=9))


def test_numbers_that_are_missing_end_what_is_vouched_for(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append([entry(1)])
    spool.through(BOOT + 5)
    spool.append([entry(3)])
    spool.through(BOOT + 9)
    spool.bye(BOOT + 10)
    spool.close()
    (left,) = leftovers(tmp_path)
    assert left.through == BOOT + 5
    assert not left.orderly


def test_one_process_a_slot(tmp_path: Path) -> None:
    first, lock = take_slot(tmp_path)
    second, other = take_slot(tmp_path)
    assert (first, second) == (0, 1)
    lock.release()
    assert take_slot(tmp_path)[0] == 0
    other.release()


@pytest.mark.parametrize("source", ["../../etc/passwd", "a/b", "..", ".", "größe 1", "x" * 500, "a\x00b", ""])
def test_no_source_leaves_the_folder(tmp_path: Path, source: str) -> None:
    folder = folder_of(tmp_path, source)
    assert folder.resolve() == folder
    assert folder.parent == tmp_path


def test_a_spool_is_its_owners_alone(tmp_path: Path) -> None:
    """Orders and payments stand in it."""
    spool = spool_in(tmp_path / "shop" / "0")
    spool.append([entry(1)])
    (path,) = files(tmp_path / "shop" / "0")
    assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "shop" / "0").stat().st_mode & 0o077 == 0
