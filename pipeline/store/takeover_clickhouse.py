"""Taking partitions over, asked of ClickHouse."""
# ruff: noqa: S608  (what is put together here are constants)

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.store.client import Client
from pipeline.store.queries_links import NUMBER
from pipeline.store.takeover import OpenRow
from schemas.verdict import Wait

OPEN_WAITS = f"""SELECT key_type, transaction_id, flow, flow_version, toUnixTimestamp64Micro(started_at), ended_at > 0,
    drop_kind != '' OR notEmpty(findings), waits
FROM verdicts FINAL
WHERE open AND CRC32(concat(key_type, ':', {NUMBER})) % {{of:UInt32}} IN {{partitions:Array(UInt32)}}"""
KNOWN_MARKS = f"""SELECT DISTINCT CRC32(concat(key_type, ':', {NUMBER})) AS mark FROM verdicts
WHERE mark % {{of:UInt32}} IN {{partitions:Array(UInt32)}} ORDER BY mark"""
_decode_waits = msgspec.json.Decoder(tuple[Wait, ...]).decode


class ClickHouseTakeover:
    """``Takeover`` over a ``Client``."""

    _client: Client

    def open_waits(self, partitions: Sequence[int], of: int) -> Iterator[OpenRow]:
        rows = self._client.stream(OPEN_WAITS, {"partitions": list(partitions), "of": of})
        # Named one by one: 1.4 µs a row; with *row and a list for it 3.8.
        return (
            OpenRow(kind, name, flow, version, started_at, ended, troubled, _decode_waits(waits) if waits else ())
            for kind, name, flow, version, started_at, ended, troubled, waits in rows
        )

    def known_marks(self, partitions: Sequence[int], of: int) -> array[int]:
        marks = array("I")
        marks.frombytes(self._client.raw(KNOWN_MARKS, {"partitions": list(partitions), "of": of}))
        if sys.byteorder == "big":
            marks.byteswap()
        return marks
