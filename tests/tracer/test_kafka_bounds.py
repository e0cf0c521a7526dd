"""Batches that become too much when they are decompressed. Proves of each codec: what a producer writes is read as it was; a byte
beyond the bound is refused, and no more than the bound is ever in memory; damage is refused, and nothing else is raised."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from typing import Any

import kafka.codec as untyped
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from tracer.kafka_bounds import Refused, SetAside, decompress, unpack

MIB = 1024 * 1024
codecs: Any = untyped
CODECS = {
    "gzip": (1, codecs.gzip_encode),
    "xerial": (2, codecs.snappy_encode),
    "snappy": (2, lambda plain: codecs.snappy_encode(plain, xerial_compatible=False)),
    "lz4": (3, codecs.lz4_encode),
    "zstd": (4, codecs.zstd_encode),
    "zstd, of unknown size": (4, lambda plain: zstandard.ZstdCompressor(write_content_size=False).compress(plain)),
}
TEXT = b'{"order": 7, "step": "placed"}' * 10_000
each_codec = pytest.mark.parametrize("name", CODECS)


@each_codec
def test_a_byte_beyond_the_bound_is_refused(name: str) -> None:
    codec, encode = CODECS[name]
    packed = encode(TEXT)
    assert decompress(codec, packed, len(TEXT)) == TEXT
    with pytest.raises(Refused, match=f"becomes more than {len(TEXT) - 1} bytes"):
        decompress(codec, packed, len(TEXT) - 1)


@each_codec
def test_no_more_than_the_bound_is_in_memory(name: str) -> None:
    codec, encode = CODECS[name]
    packed = encode(bytes(48 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(Refused, match="becomes more than"):
            decompress(codec, packed, MIB)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_five_bytes_of_snappy_that_say_four_gigabytes() -> None:
    with pytest.raises(Refused, match="becomes more than"):
        decompress(2, b"\xff\xff\xff\xff\x0f")


def test_as_others_frame_them() -> None:
    """Members and frames behind one another, zeros behind gzip; members without end are no producer's."""
    assert decompress(1, gzip.compress(b"a") + gzip.compress(b"b") + b"\0\0") == b"ab"
    assert decompress(4, zstandard.compress(b"a") + zstandard.compress(b"b")) == b"ab"
    with pytest.raises(Refused, match="members"):
        decompress(1, gzip.compress(b"") * 1000)
    with pytest.raises(Refused, match="nobody knows"):
        decompress(7, b"")


@each_codec
@given(at=st.integers(0, 10**6), bits=st.integers(1, 255), cut=st.integers(0, 10**6))
def test_damage_is_refused_and_nothing_else_is_raised(name: str, at: int, bits: int, cut: int) -> None:
    codec, encode = CODECS[name]
    packed = bytearray(encode(TEXT[:2000]))
    packed[at % len(packed)] ^= bits
    for damaged in (bytes(packed), bytes(packed[: cut % len(packed)])):
        try:
            assert len(decompress(codec, damaged, 4000)) <= 4000
        except Refused as error:
            assert str(error)  # noqa: PT017  (either is right)


@pytest.mark.parametrize("name", ["gzip", "xerial", "lz4"])
def test_cut_short_is_refused(name: str) -> None:
    codec, encode = CODECS[name]
    with pytest.raises(Refused, match="damaged"):
        decompress(codec, encode(TEXT)[:-9])


def batch_of(values: list[bytes], codec: int, magic: int = 2) -> Any:
    """From offset 40 on, as a broker numbers it."""
    builder = MemoryRecordsBuilder(magic, codec, 1 << 30)  # type: ignore[no-untyped-call]
    for value in values:
        builder.append(1_800_000_000_000, None, value)  # type: ignore[no-untyped-call]
    builder.close()  # type: ignore[no-untyped-call]
    written = bytearray(builder.buffer())  # type: ignore[no-untyped-call]
    struct.pack_into(">q", written, 0, 40 if magic == 2 else 39 + len(values))
    return MemoryRecords(bytes(written)).next_batch()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("magic", [1, 2])
@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_a_batch_reads_as_by_kafka_python(magic: int, codec: int) -> None:
    if magic == 1 and codec == 4:
        pytest.skip("format 1 knows no zstd")
    values = [b"%d" % number * 30 for number in range(50)]
    batch = batch_of(values, codec, magic)
    unpack(batch)
    unpack(batch)
    plain = batch_of(values, codec, magic)
    assert [(one.offset, one.timestamp, one.value) for one in batch] == [
        (one.offset, one.timestamp, one.value) for one in plain
    ]


@pytest.mark.parametrize("magic", [1, 2])
def test_a_batch_beyond_is_left_as_it_came(magic: int) -> None:
    batch = batch_of([bytes(MIB)] * 3, 1, magic)
    with pytest.raises(Refused, match="becomes more than"):
        unpack(batch, limit=2 * MIB)
    at = type("At", (), {"topic": "t", "partition": 3})
    aside = SetAside(batch, at, "too much")
    assert aside.reason == f"t[3], offsets {40 if magic == 2 else 42} to 42: too much"
    assert (aside.last, aside.at) == (42, 1_800_000_000_000 if magic == 2 else 0)
    assert gzip.decompress(aside.kept if magic == 2 else aside.kept[34:])


@pytest.mark.parametrize("magic", [1, 2])
def test_too_many_records_are_refused(magic: int) -> None:
    """64 MiB of empty ones would be millions of objects."""
    values = [b""] * 100
    unpack(batch_of(values, 1, magic), records=100)
    with pytest.raises(Refused, match="records in one compressed batch"):
        unpack(batch_of(values, 1, magic), records=99)


@pytest.mark.parametrize("length", [-12, -1, 0, 13, 1000])
def test_lengths_within_an_old_message_that_would_be_walked_for_ever(length: int) -> None:
    plain = struct.pack(">qi", 0, length) + bytes(40)
    packed = gzip.compress(plain)
    body = struct.pack(">bbqi", 1, 1, 0, -1) + struct.pack(">i", len(packed)) + packed
    message = struct.pack(">qiI", 7, len(body) + 4, 0) + body
    batch = MemoryRecords(message).next_batch()  # type: ignore[no-untyped-call]
    with pytest.raises(Refused, match="lengths"):
        unpack(batch)


def test_lengths_of_an_old_message_itself() -> None:
    message = struct.pack(">qiI", 7, 26, 0) + struct.pack(">bbqi", 1, 1, 0, 1 << 30) + bytes(8)
    with pytest.raises(Refused, match="lengths"):
        unpack(MemoryRecords(message).next_batch())  # type: ignore[no-untyped-call]


def test_lz4_of_format_0_is_refused() -> None:
    frame = lz4.frame.compress(b"x" * 40)  # type: ignore[attr-defined]
    body = struct.pack(">bbi", 0, 3, -1) + struct.pack(">i", len(frame)) + frame
    message = struct.pack(">qiI", 7, len(body) + 4, 0) + body
    with pytest.raises(Refused, match="format 0"):
        unpack(MemoryRecords(message).next_batch())  # type: ignore[no-untyped-call]


def test_what_is_decompressed_is_left_alone() -> None:
    batch = batch_of([b"a"], 0)
    assert isinstance(batch, DefaultRecordBatch)
    before = bytes(batch._buffer)
    unpack(batch)
    assert bytes(batch._buffer) == before
