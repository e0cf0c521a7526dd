"""Quarantine: what made no event, and how it is tried again. Everything in it is counted, has a reason, and can be retried."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import Invalid
from pipeline.store.contract import QuarantineRow, Reader, Store
from schemas import wire
from schemas.times import format_time
from tracer.record import EVENTS, REASON, Headers, Record, pack_numbers

COLUMNS = ("id", "at", "source", "epoch", "reason", "field", "state", "bytes")
ALL = 1_000_000
_BATCH = 500
_LZ4_MAGIC = b"\x04\x22\x4d\x18"
# What was said of the record as it travelled, and is not true of the next one.
_NOT_AGAIN = frozenset((REASON, wire.DEPTH, wire.COUNT, wire.SEQ))


def rows(store: Reader, source: str = "", limit: int = 100) -> list[QuarantineRow]:
    """What is kept, newest first."""
    return store.quarantine((), source=source, limit=limit)


def totals(store: Reader) -> list[tuple[str, str, int]]:
    """(source, reason, how many), the most first."""
    counted = [(source, reason, count) for (source, reason), count in store.count_quarantine().items()]
    return sorted(counted, key=lambda row: (-row[2], row[0], row[1]))


def data(row: QuarantineRow, *, payload: bool = False) -> dict[str, Any]:
    """As plain data; the payload as text, with what is no UTF-8 written out."""
    found: dict[str, Any] = {
        "id": row.id, "at": format_time(max(row.at, 0)), "source": row.source, "epoch": row.epoch, "reason": row.reason,
        "field": row.field, "state": row.state, "bytes": len(row.payload),
    }  # fmt: skip
    if payload:
        found["key"] = row.key.decode("utf-8", "backslashreplace")
        found["headers"] = _headers(row)
        found["payload"] = row.payload.decode("utf-8", "backslashreplace")
    return found


def one(store: Reader, id_: str) -> QuarantineRow:
    """Raises ``Invalid`` where there is none."""
    found = store.quarantine([id_])
    if not found:
        raise Invalid(f"nothing is in quarantine under {id_[:100]!r}; see lastseen quarantine list")
    return found[0]


def retry(
    store: Store,
    produce: Callable[[Sequence[Record]], object],
    ids: Sequence[str],
    source: str = "",
    everything: bool = False,
) -> tuple[int, list[QuarantineRow]]:
    """Produce what is kept once more, then mark it retried; how many, and those that this cannot help.

    What a loader set aside is a row of its source, not an event: sent again it would lose its line and its reason. It stays.

    ``ids``, else all of ``source``, else all where ``everything``. A crash in between retries twice: event ids tell. What is
    bad still comes back to quarantine under its new position. Raises ``Invalid`` for an unknown id, ``Unavailable``.
    """
    done, refused = 0, []
    for found in _batches(store, ids, source, everything):
        batch = [row for row in found if not set_aside(row)]
        refused += [row for row in found if set_aside(row)]
        if not batch:
            continue
        produce([record_of(row) for row in batch])
        # What was forgotten meanwhile is not written back.
        there = {row.id for row in store.quarantine([row.id for row in batch], limit=ALL)}
        again = [row._replace(state="retried", version=row.version + 1) for row in batch if row.id in there]
        if again:
            store.write_quarantine(again)
        done += len(batch)
    return done, refused


def set_aside(row: QuarantineRow) -> bool:
    """Whether a loader refused it and said why, rather than a worker that could not read it."""
    return REASON in _headers(row)


def _batches(store: Reader, ids: Sequence[str], source: str, everything: bool) -> Iterator[list[QuarantineRow]]:
    if ids:
        found = [one(store, id_) for id_ in dict.fromkeys(ids)]
        tried = [row.id for row in found if row.state != "kept"]
        if tried:
            raise Invalid(f"{tried[0]} was {next(row.state for row in found if row.id == tried[0])} already")
        yield found
        return
    if not (source or everything):
        raise Invalid("say what to retry: ids, --source NAME or --all")
    kept = store.quarantine((), source=source, limit=ALL)
    # The oldest first: events come back in about the order in which they came.
    kept.sort(key=lambda row: (row.at, row.id))
    for start in range(0, len(kept), _BATCH):
        yield kept[start : start + _BATCH]


def record_of(row: QuarantineRow) -> Record:
    """The record to produce: the payload under its own key, with what the headers said of its source."""
    packed, said = row.payload.startswith(_LZ4_MAGIC), _headers(row)
    headers: Headers = tuple(
        (name, value.encode("utf-8"))
        for name, value in said.items()
        if name not in _NOT_AGAIN and (name != wire.ENCODING or packed)
    )
    # Of its numbers, those of what was refused: a line of a batch goes by itself now.
    if row.numbers and wire.SOURCE in said:
        headers = (*headers, (wire.SEQ, pack_numbers(row.numbers)))
    return Record(EVENTS, row.key, row.payload, headers)


def _headers(row: QuarantineRow) -> Mapping[str, str]:
    try:
        found = json.loads(row.headers)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
