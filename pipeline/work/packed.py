"""Packed: open transactions that were not used for a while, as bytes. A transaction waits for days and is worked on for moments.

As objects one of 3 events takes 6.5 KB and one of 10 takes 16; packed 0.2 and 0.4, for 4 to 8 µs, where reading it back from the
store takes 250. What is packed is compressed against the first of its kind: they differ in numbers and times.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import lz4.block
import msgspec

from pipeline.store.contract import Transaction, VerdictRow
from schemas.verdict import Wait
from schemas.wire import Observed

# Alias, way and generation to state and time: what was announced.
Claimed = dict[tuple[Transaction, str, int], tuple[str, int]]

# Of a dictionary; with 32 KB packing takes thrice as long and saves a tenth.
_DICTIONARY = 4_096
# A bytes object, and its place in the dict.
_OVERHEAD = 100
_FINDINGS, _WAITS = VerdictRow._fields.index("findings"), VerdictRow._fields.index("waits")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Contents(NamedTuple):
    """What there is to know of a transaction of which everything was said."""

    events: list[Observed]
    rows: list[VerdictRow]
    claimed: Claimed


class Packed:
    """``capacity``: bytes; past it the least recently used go first, and are read back from the store. ``bytes``: taken by now."""

    def __init__(self, capacity: int = 300_000_000):
        self._capacity = capacity
        self.bytes = 0
        self._found: dict[Transaction, bytes] = {}
        self._dictionaries: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._found)

    def put(self, transaction: Transaction, contents: Contents) -> None:
        """Keep it as bytes."""
        self.drop([transaction])
        text = _encode((
            [msgspec.structs.astuple(event) for event in contents.events],
            contents.rows,
            [(*key, *said) for key, said in contents.claimed.items()],
        ))  # fmt: skip
        dictionary = self._dictionaries.get(transaction[0])
        if dictionary is None:
            dictionary = self._dictionaries[transaction[0]] = text[:_DICTIONARY]
        packed = self._found[transaction] = lz4.block.compress(text, dict=dictionary)  # type: ignore[attr-defined]
        self.bytes += len(packed) + _OVERHEAD
        while self.bytes > self._capacity:
            # Many at once: to find the first of a dict takes a look at every place left before it. (An OrderedDict takes 64 bytes
            # more for each.)
            self.drop(list(islice(self._found, len(self._found) // 100 + 1)))

    def take(self, transaction: Transaction) -> Contents | None:
        """What was put, which is in here no more; None where it is not."""
        packed = self._found.pop(transaction, None)
        if packed is None:
            return None
        self.bytes -= len(packed) + _OVERHEAD
        text = lz4.block.decompress(packed, dict=self._dictionaries[transaction[0]])  # type: ignore[attr-defined]
        events, rows, claimed = _decode(text)
        return Contents(
            [Observed(*values) for values in events],
            [_row(values) for values in rows],
            {(tuple(alias), way, number): (state, at) for alias, way, number, state, at in claimed},
        )

    def drop(self, transactions: Iterable[Transaction]) -> None:
        for transaction in transactions:
            packed = self._found.pop(transaction, None)
            if packed is not None:
                self.bytes -= len(packed) + _OVERHEAD


def _row(values: list[Any]) -> VerdictRow:
    values[_FINDINGS] = tuple(values[_FINDINGS])
    values[_WAITS] = tuple([Wait(*wait) for wait in values[_WAITS]])
    return VerdictRow(*values)
