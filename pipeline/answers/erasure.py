"""Erasure: what a person's word would delete, the records that say it, and the report of what went (``lastseen forget``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.store.accounts import FORGOTTEN
from pipeline.store.contract import Store, Transaction
from pipeline.store.erasing import Key, pattern_of, quarantined
from pipeline.work.forgotten import KEY, digest_of, new_salt
from schemas import wire
from schemas.joined import Forget, address, encode_lines, parts
from schemas.landscape import Landscape
from schemas.times import format_time
from tracer.record import EVENTS, Record

COLUMNS = ("where", "rows", "left")


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store holds of a key. ``transactions``: those that go whole; ``naming``: others, out of whose events the name is
    taken. ``rows``: table to how many rows are concerned; ``marked``: whether its return is refused already."""

    key: Key
    transactions: tuple[Transaction, ...] = ()
    naming: tuple[Transaction, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    marked: bool = False

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def key_of(store: Store, landscape: Landscape, text: str) -> Key:
    """``type:value``, or a value that is known as one type of key only; in the landscape's normal form. Raises ``Invalid``."""
    kind, value = parts(text.strip())
    if kind in landscape.keys:
        normal = landscape.normalise(kind, value)
        if not normal or not value.strip():
            raise Invalid(f"nothing is left of {text[:60]!r} when normalised", field="KEY")
        return kind, normal
    found = {
        row.key_type
        for name in landscape.keys
        for row in store.find_keys(landscape.normalise(name, text), name)
    }  # fmt: skip
    if len(found) == 1:
        return (one := found.pop()), landscape.normalise(one, text)
    known = ", ".join(sorted(landscape.keys))
    if not found:
        raise Invalid(
            f"nothing is known by {text[:60]!r}; to forget it nonetheless write TYPE:VALUE, of the types {known}",
            field="KEY",
        )
    forms = " or ".join(address(kind, text.strip()[:60]) for kind in sorted(found))
    raise Invalid(f"{text[:60]!r} is known as several things: write {forms}", field="KEY")


def holdings(store: Store, landscape: Landscape, key: Key) -> Holdings:
    """What there is of it now. These are scans: seconds among millions of events."""
    own = key[0] in landscape.transaction_types()
    named = {(row.transaction_type, row.transaction_id) for row in store.find_keys(key[1], key[0])}
    named.update(store.late_with(key))
    if own and (store.row_counts([key]) or store.load_tombstones([key])):
        named.add(key)
    goes = sorted(one for one in named if not own or (one[0], number_of(one[1])) == key)
    naming = sorted(named - set(goes))
    spec = landscape.keys[key[0]]
    pattern = pattern_of([key[1]], any_case=spec.case != "keep", zeros=spec.leading_zeros == "drop")
    kept = {(row.alias_type, row.alias, row.id) for row in store.kept_with(key)}
    kept.update((*key, row.id) for row in store.load_kept([key])[key])
    rows = {
        **store.row_counts(goes),
        "events of others": sum(
            event.keys.get(key[0]) == key[1] for found in store.load_events(naming).values() for event in found
        ),
        "kept": len(kept),
        "quarantine": len(quarantined(store, pattern)),
        "tombstones": len(store.load_tombstones(goes)),
    }
    return Holdings(
        key, tuple(goes), tuple(naming), {name: count for name, count in rows.items() if count}, _marked(store, key)
    )


def _marked(store: Store, key: Key) -> bool:
    digests = [(key[0], digest_of(KEY, *key, salt)) for salt in salts(store)]
    return bool(digests and store.load_tombstones(digests))


def salts(store: Store) -> list[str]:
    """Those in use."""
    return sorted({row.digest.split(":")[1] for row in store.tombstones([FORGOTTEN])})


def words(store: Store, key: Key, partitions: int, by: str = "", why: str = "") -> list[Record]:
    """The word, for every partition: each has its own part of what is kept, and no worker sees another's."""
    salt = next(iter(salts(store)), "") or new_salt()
    body = encode_lines([Forget(address(*key), salt, by=by, why=why)])
    headers = ((wire.KIND, b"forget"),)
    return [Record(EVENTS, address(*key).encode(), body, headers, number) for number in range(partitions)]


def report(before: Holdings, after: Holdings, at: int, log_keeps: int | None) -> dict[str, Any]:
    """What was deleted where, what is left, and by when the log's own copy is gone. Without the value: the report is kept."""
    names = dict.fromkeys([*before.rows, *after.rows])
    if log_keeps is None:
        log: str | None = None
    else:
        log = format_time(at + log_keeps) if log_keeps else "as soon as it was processed"
    return {
        "key_type": before.key[0],
        "at": format_time(at),
        "done": after.marked and not after.total,
        "transactions": len(before.transactions),
        "tables": [
            {"where": name, "rows": before.rows.get(name, 0), "left": after.rows.get(name, 0)} for name in names
        ],
        "log_removed_by": log,
    }
