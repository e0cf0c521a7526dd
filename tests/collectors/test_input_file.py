"""Files, one thing at a time: what rotation, compression, links and torn ends come to (FAULTS 24, 25, 32, 39)."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectors.inputs.file_identity import BLOCK, Position, Prefix, position_of
from schemas.control import Marker
from schemas.errors import Invalid
from schemas.times import EARLIEST, MINUTE, SECOND
from tests.collectors.site import COLLECTOR, START, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def lines(first: int, last: int) -> str:
    return "".join(json.dumps({"at": START + number, "order": str(number)}) + "\n" for number in range(first, last + 1))


def numbers(*spans: tuple[int, int]) -> list[str]:
    return sorted(str(number) for first, last in spans for number in range(first, last + 1))


def log_of(site: Site) -> Path:
    return site.folder / "logs" / "app.log"


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_a_torn_last_line_waits_for_its_end(site: Site) -> None:
    text = lines(1, 3)
    append(log_of(site), text[:-20])
    site.begin()
    site.steps(5)
    assert site.orders() == numbers((1, 2))
    held = site.said(Marker)[-1].through
    append(log_of(site), text[-20:])
    site.steps(5)
    assert site.orders() == numbers((1, 3))
    assert held < site.said(Marker)[-1].through
    assert not site.quarantined()


def test_a_torn_last_line_of_a_file_that_ended_is_set_aside_and_holds_nothing_up(site: Site) -> None:
    append(log_of(site), lines(1, 2) + '{"order": "3", "at": 18')
    site.begin()
    site.steps(3)
    site.now += 6 * MINUTE
    site.steps(3)
    assert [body for _, body in site.quarantined()] == [b'{"order": "3", "at": 18']
    assert site.said(Marker)[-1].through > site.now - MINUTE
    append(log_of(site), "00000000000003}\n" + lines(4, 4))  # it was still being written, after all
    site.steps(3)
    assert site.orders() == numbers((1, 2), (4, 4), (3, 3))


def test_rotation_by_truncation_that_outgrew_what_was_read(site: Site) -> None:
    """Cut off and grown beyond between two looks: its size alone would not tell."""
    append(log_of(site), lines(1, 3))
    site.begin()
    site.steps(2)
    shutil.copyfile(log_of(site), log_of(site).with_name("app.log.1"))
    log_of(site).write_text(lines(10, 30))
    site.steps(3)
    assert site.orders() == numbers((1, 3), (10, 30))
    assert any("was cut off and begins anew" in told for told in site.told)


def test_what_was_written_before_a_truncation_and_not_read_is_found_in_the_copy(tmp_path: Path) -> None:
    """The copy is no file of the collector's paths."""
    site = Site(tmp_path, COLLECTOR.replace("app.log*", "app.log"))
    append(log_of(site), lines(1, 3))
    site.begin()
    site.steps(2)
    append(log_of(site), lines(4, 5))
    shutil.copyfile(log_of(site), log_of(site).with_name("app.log-20270115"))
    log_of(site).write_text(lines(6, 6))
    site.steps(4)
    assert site.orders() == numbers((1, 6))


@pytest.mark.parametrize("compressed", [False, True])
def test_what_was_rotated_out_of_sight_while_nobody_looked_is_found_beside(tmp_path: Path, compressed: bool) -> None:
    site = Site(tmp_path, COLLECTOR.replace("app.log*", "app.log"))
    append(log_of(site), lines(1, 3))
    site.begin()
    site.steps(3)
    site.stop()
    append(log_of(site), lines(4, 5))
    if compressed:
        log_of(site).with_name("app.log.1.gz").write_bytes(gzip.compress(log_of(site).read_bytes()))
        log_of(site).unlink()
    else:
        log_of(site).rename(log_of(site).with_name("app.log.1"))
    append(log_of(site), lines(6, 7))
    site.begin()
    site.steps(4)
    assert site.orders() == numbers((1, 7))
    assert site.hellos[-1].since <= site.goodbyes[-1].through  # all was read, so all is vouched for


def test_what_cannot_be_found_again_is_said_and_not_vouched_for(site: Site) -> None:
    append(log_of(site), lines(1, 3))
    site.begin()
    site.steps(3)
    site.stop()
    log_of(site).unlink()
    append(log_of(site), lines(6, 7))
    site.now += MINUTE
    begun = site.now
    site.begin()
    site.steps(4)
    assert site.hellos[-1].since > begun
    assert any("nowhere to be found" in told for told in site.told)
    assert site.orders() == numbers((1, 3), (6, 7))


@pytest.mark.parametrize(
    ("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)  # fmt: skip
def test_compressed_files(site: Site, suffix: str, compress: Callable[[bytes], bytes]) -> None:
    path = log_of(site).with_name(f"app.log.{suffix}")
    whole = compress(lines(1, 3000).encode()) + compress(lines(3001, 3002).encode())  # a member was appended
    path.write_bytes(whole[: len(whole) // 2])
    site.begin()
    site.steps(3)
    path.write_bytes(whole[: len(whole) // 2])  # still being written
    with path.open("ab") as stream:
        stream.write(whole[len(whole) // 2 :])
    site.steps(5)
    assert site.orders() == numbers((1, 3002))
    assert not site.quarantined()
    site.kill()
    site.begin()
    site.steps(3)
    assert site.orders() == numbers((1, 3002))


def test_a_compressed_file_that_is_damaged_gives_what_can_be_read(site: Site) -> None:
    whole = bytearray(gzip.compress(os.urandom(20_000).hex().encode() + b"\n" + lines(1, 3).encode()))
    whole[len(whole) // 2 : len(whole) // 2 + 50] = b"\xff" * 50
    log_of(site).with_name("app.log.1.gz").write_bytes(bytes(whole))
    append(log_of(site), lines(8, 9))
    site.begin()
    site.steps(4)
    assert site.orders() == numbers((8, 9))
    assert any("damaged" in reason for reason, _ in site.quarantined())


def test_a_bomb_is_read_in_bounded_pieces(site: Site) -> None:
    """64 MiB of one byte in 64 KiB: one line that is far too long, and memory for a few chunks of it."""
    log_of(site).with_name("app.log.gz").write_bytes(gzip.compress(b"x" * (64 << 20) + b"\n" + lines(1, 1).encode()))
    site.begin()
    site.steps(80)
    assert site.orders() == ["1"]
    assert len(site.quarantined()) == 1


def test_yesterdays_file_under_a_new_name_doubles_nothing(site: Site) -> None:
    append(log_of(site).with_name("app.log.monday"), lines(1, 500))
    site.begin()
    site.steps(4)
    shutil.copyfile(log_of(site).with_name("app.log.monday"), log_of(site).with_name("app.log.tuesday"))
    append(log_of(site).with_name("app.log.tuesday"), lines(501, 502))  # and goes on
    site.steps(4)
    assert site.orders() == numbers((1, 502))
    sent = len(site.observed())
    assert sent < 510  # it was recognised, not only deduplicated
    (site.folder / "positions" / "shop-log.json").unlink()  # even where nothing is remembered
    site.kill()
    site.begin()
    site.steps(4)
    assert site.orders() == numbers((1, 502))


def test_an_inode_that_comes_again_is_another_file(site: Site) -> None:
    append(log_of(site), lines(1, 3))
    inode = log_of(site).stat().st_ino
    site.begin()
    site.steps(3)
    site.stop()
    size = log_of(site).stat().st_size
    for number in range(200):  # most file systems give the inode that became free
        log_of(site).unlink()
        append(log_of(site), lines(1001, 1001 + (number % 2) + 2))
        if log_of(site).stat().st_ino == inode:
            break
    else:
        pytest.skip("this file system gives no inode twice")
    assert log_of(site).stat().st_size >= size
    site.begin()
    site.steps(3)
    assert set(site.orders()) >= {"1", "2", "3", "1001", "1002", "1003"}


def test_only_regular_files_within_the_folder_are_read(site: Site, tmp_path: Path) -> None:
    for name in ("secret", "other"):
        (tmp_path / name).write_text(lines(66, 66))
    logs = site.folder / "logs"
    (logs / "app.log.link").symlink_to(tmp_path / "secret")
    (logs / "app.log.loop").symlink_to(logs / "app.log.loop")
    (logs / "app.log.up").symlink_to("../other")
    os.mkfifo(logs / "app.log.pipe")
    append(log_of(site), lines(1, 2))
    (logs / "app.log.within").symlink_to(log_of(site))
    site.begin()
    site.steps(3)
    assert site.orders() == numbers((1, 2))
    told = "\n".join(site.told)
    assert "app.log.link: is a link out of" in told
    assert "app.log.up: is a link out of" in told
    assert "app.log.pipe: is no regular file" in told
    assert site.said(Marker)[-1].through <= site.hellos[0].since  # not all could be read, so nothing is vouched for


def test_a_wider_folder_is_declared(tmp_path: Path) -> None:
    elsewhere = tmp_path / "pods"
    elsewhere.mkdir()
    append(elsewhere / "1.log", lines(1, 2))
    site = Site(tmp_path, COLLECTOR.replace("app.log*']", f"app.log*'], folder: {tmp_path}"))
    (site.folder / "logs" / "app.log").symlink_to(elsewhere / "1.log")
    site.begin()
    site.steps(3)
    assert site.orders() == numbers((1, 2))


def test_a_file_that_is_missing_holds_back_what_is_vouched_for(tmp_path: Path) -> None:
    site = Site(tmp_path, COLLECTOR.replace("app.log*", "app.log"))
    append(log_of(site), lines(1, 2))
    site.begin()
    site.steps(3)
    log_of(site).rename(tmp_path / "gone")
    site.now += 10 * SECOND
    site.steps(4)
    held = site.said(Marker)[-1].through
    assert held < site.now - 10 * SECOND
    append(log_of(site), lines(3, 3))
    site.steps(4)
    assert site.said(Marker)[-1].through > held
    assert site.orders() == numbers((1, 3))


def test_a_backlog_is_not_vouched_for_before_it_is_read(site: Site) -> None:
    """More than one round reads."""
    text = "".join(json.dumps({"at": START + n, "order": str(n), "note": "x" * 8000}) + "\n" for n in range(400))
    append(log_of(site), text)
    site.begin()
    rounds = 0
    while len(site.orders()) < 400:
        site.steps(1)
        rounds += 1
        if len(site.orders()) < 400:
            assert {marker.through for marker in site.said(Marker)} <= {site.hellos[0].since}
    assert rounds > 2
    site.steps(3)
    assert site.said(Marker)[-1].through > START + SECOND


def test_a_record_of_several_lines_does_not_wait_for_the_next_for_ever(tmp_path: Path) -> None:
    text = COLLECTOR.replace(
        "format: json",
        "format: {regex: {pattern: '(?s)(?P<at>\\d+) (?P<order>\\d+)(?P<more>.*)', multiline: {starts: '^\\d'}}}",
    )
    site = Site(tmp_path, text)
    append(log_of(site), f"{START} 1\n  more of it\n{START} 2\n  and of this\n")
    site.begin()
    site.steps(2, apart=SECOND)
    assert site.orders() == ["1"]
    site.steps(8, apart=SECOND)
    assert site.orders() == ["1", "2"]
    assert site.said(Marker)[-1].through > START + 3 * SECOND
    append(log_of(site), f"{START} 3\n")
    site.kill()
    site.begin()
    site.steps(10)
    assert site.orders() == ["1", "2", "3"]


def test_once_reads_to_the_end_and_vouches_as_a_list(site: Site) -> None:
    append(log_of(site), lines(1, 2) + lines(3, 3).rstrip("\n"))
    written = START - MINUTE
    os.utime(log_of(site), ns=(written * 1000, written * 1000))
    site.begin(once=True)
    site.until_done()
    assert site.orders() == numbers((1, 3))  # JSON is whole by itself
    (goodbye,) = site.goodbyes
    assert (goodbye.state, goodbye.through) == ("closed", written)
    assert site.hellos[0].since == EARLIEST
    site.stop()
    append(log_of(site), "\n" + lines(4, 4))
    site.begin(once=True)
    site.until_done()
    assert site.orders() == numbers((1, 4))  # the line that had no end is the same with it
    site.stop()
    site.begin(once=True)
    site.until_done()
    assert site.collecting is not None
    assert site.collecting.counts.read == 0


def test_once_without_a_file_that_is_named_vouches_for_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path, COLLECTOR.replace("app.log*", "app.log"))
    site.begin(once=True)
    site.steps(3)
    assert not site.goodbyes
    assert any("there is no such file" in told for told in site.told)


def test_many_files_that_rest_are_not_held_open(site: Site) -> None:
    for number in range(300):
        append(log_of(site).with_name(f"app.log.{number}"), lines(number, number))
    site.begin()
    site.steps(60)
    site.now += 2 * MINUTE
    site.steps(4)
    open_files = [
        os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit() and _there(name)
    ]
    assert sum(str(site.folder / "logs") in path for path in open_files) < 250
    append(log_of(site).with_name("app.log.7"), lines(1000, 1000))
    site.steps(4)
    assert site.orders() == sorted([*map(str, range(300)), "1000"])


def _there(name: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{name}")


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK - 7])
def test_a_prefix_is_taken_up_where_it_was_saved(size: int) -> None:
    data = os.urandom(size + 100)
    whole, pieces = Prefix(), Prefix()
    whole.update(data[:size])
    for begin in range(0, size, 4093):
        pieces.update(data[begin : min(size, begin + 4093)])
    assert whole.digest() == pieces.digest()
    position = Position().at(whole)
    again = position_of(json.loads(json.dumps(position.saved())))
    assert again == position
    prefix = position.prefix
    prefix.update(data[prefix.offset : size])
    assert (prefix.offset, prefix.digest()) == (size, whole.digest())
    assert min(size, BLOCK) <= size - position.block * BLOCK
    assert prefix.with_record(data[size:]) == whole.with_record(data[size:])


def test_a_records_digest_is_that_of_all_up_to_it_without_its_line_end() -> None:
    digests = []
    for end in (b"", b"\n", b"\r\n"):
        prefix = Prefix()
        prefix.update(b"a" * (BLOCK - 3))
        digests.append(prefix.with_record(b"abc" + end))
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "data", [{}, {"offset": "1"}, {"offset": -1}, {"offset": 1, "block": 9}, {"base": "xx"}, {"of": 1}]
)
def test_a_position_that_is_none_is_left(data: dict[str, Any]) -> None:
    found = position_of(data)
    assert found is None or (data == {} and found.offset == 0)


def test_a_name_that_is_too_high_up_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not followed"):
        Site(tmp_path, COLLECTOR.replace("logs/app.log*", "../../etc/passwd")).begin()


def test_a_log_that_says_nothing_yet_is_heard(site: Site) -> None:
    """An empty file was read to its end: the system is silent, not its telemetry; however long, and it goes on being read."""
    append(log_of(site), "")
    collecting = site.begin()
    for _ in range(3):
        site.now += 10 * MINUTE
        collecting.step()
        through = collecting._live.through()
        assert through is not None
        assert through > site.now - SECOND
    append(log_of(site), lines(1, 3))
    site.now += 10 * SECOND
    site.steps(4)
    assert site.orders() == numbers((1, 3))
