"""Erasure: what a person's word would delete, the records that say it, and the report of what went (``lastseen forget``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.answers.forms import forms, require_key
from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.store.accounts import FORGOTTEN
from pipeline.store.contract import Store, Transaction
from pipeline.store.erasing import Key, kept_of, pattern_for, quarantined, tombstoned
from pipeline.work.forgotten import KEY, digest_of, new_salt
from schemas import wire
from schemas.joined import Forget, Lines, address, encode_lines, parts
from schemas.landscape import Landscape
from schemas.times import format_time
from tracer.keyring import KeyRing
from tracer.record import EVENTS, Record

COLUMNS = ("where", "rows", "left")
_WORDS = Lines(Forget)
_HALF = "half a character (a lone surrogate) is no text"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store holds of a key. ``keys``: the same in every form in which it may be kept, as a hash by one key or another.

    ``transactions``: those that go whole; ``naming``: others, out of whose events the name is taken. ``rows``: table to how many
    rows are concerned; ``marked``: whether its return is refused already.
    """

    keys: tuple[Key, ...]
    transactions: tuple[Transaction, ...] = ()
    naming: tuple[Transaction, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    marked: bool = False

    @property
    def key(self) -> Key:
        return self.keys[0]

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def keys_of(store: Store, landscape: Landscape, ring: KeyRing, text: str) -> tuple[Key, ...]:
    """``type:value``, or a value that is known as one type of key only, in every form that is to be forgotten.

    Of a type that is ``pii: hash`` these are its hashes by every key that we have; the plain value, which the word would carry into
    the log, only where the store holds it. Raises ``Invalid``.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Invalid(_HALF, field="KEY") from None
    kind, value = parts(text.strip())
    if kind not in landscape.keys:
        kind, value = _known_as(store, landscape, ring, text), text
    elif not landscape.normalise(kind, value) or not value.strip():
        raise Invalid(f"nothing is left of {text[:60]!r} when normalised", field="KEY")
    require_key(landscape, ring, kind, value, "KEY")
    *hashed, last = [(kind, form) for form in forms(landscape, ring, kind, value)]
    if hashed and not holdings(store, landscape, (last,)).total:
        return tuple(hashed)
    return (*hashed, last)


def _known_as(store: Store, landscape: Landscape, ring: KeyRing, text: str) -> str:
    found = {
        row.key_type
        for name in landscape.keys
        for form in forms(landscape, ring, name, text)
        for row in store.find_keys(form, name)
    }  # fmt: skip
    if len(found) == 1:
        return found.pop()
    known = ", ".join(sorted(landscape.keys))
    if not found:
        raise Invalid(
            f"nothing is known by {text[:60]!r}; to forget it nonetheless write TYPE:VALUE, of the types {known}",
            field="KEY",
        )
    told = " or ".join(address(kind, text.strip()[:60]) for kind in sorted(found))
    raise Invalid(f"{text[:60]!r} is known as several things: write {told}", field="KEY")


def holdings(store: Store, landscape: Landscape, keys: tuple[Key, ...], before: Iterable[Transaction] = ()) -> Holdings:
    """What there is of it now, ``keys`` being forms of one. These are scans: seconds among millions of events. ``before``: those
    that were to go when it was asked first, for by now nothing else may say that they were its."""
    kind, own = keys[0][0], keys[0][0] in landscape.transaction_types()
    named: set[Transaction] = set()
    for key in keys:
        named.update((row.transaction_type, row.transaction_id) for row in store.find_keys(key[1], kind))
        named.update(store.late_with(key))
        if own and (store.row_counts([key]) or store.load_tombstones([key])):
            named.add(key)
        if own:
            named.update(tombstoned(store, key))
    numbers = dict.fromkeys((kind, number_of(value)) for _, value in keys)
    goes = sorted({one for one in named if not own or (one[0], number_of(one[1])) in numbers}.union(before))
    naming = sorted(named - set(goes))
    values = [value for _, value in numbers]
    pattern = pattern_for(landscape.keys[kind], values)
    also = dict.fromkeys((name, number_of(id)) for name, id in goes)
    kept = {(row[1], row[2], row.id) for row in kept_of(store, [*numbers, *also], set(goes).__contains__)}
    kept.update((*key, row.id) for key, rows in store.load_kept(keys).items() for row in rows)
    rows = {
        **store.row_counts(goes),
        "events of others": sum(
            event.keys.get(kind) in values for found in store.load_events(naming).values() for event in found
        ),
        "kept": len(kept),
        "quarantine": len(quarantined(store, pattern)),
        "tombstones": len(store.load_tombstones(goes)),
    }
    counted = {name: count for name, count in rows.items() if count}
    return Holdings(keys, tuple(goes), tuple(naming), counted, all(_marked(store, key) for key in keys))


def _marked(store: Store, key: Key) -> bool:
    digests = [(key[0], digest_of(KEY, *key, salt)) for salt in salts(store)]
    return bool(digests and store.load_tombstones(digests))


def salts(store: Store) -> list[str]:
    """Those in use."""
    return sorted({row.digest.split(":")[1] for row in store.tombstones([FORGOTTEN])})


def words(store: Store, keys: Iterable[Key], partitions: int, by: str = "", why: str = "") -> list[Record]:
    """The word, for every partition: each has its own part of what is kept, and no worker sees another's. Raises ``Invalid`` for
    one that no worker would take."""
    salt = next(iter(salts(store)), "") or new_salt()
    headers = ((wire.KIND, b"forget"),)
    found = []
    for key in keys:
        body = _written(Forget(address(*key), salt, by=by, why=why))
        found += [Record(EVENTS, address(*key).encode(), body, headers, number) for number in range(partitions)]
    return found


def _written(word: Forget) -> bytes:
    try:
        body = encode_lines([word])
        _WORDS.read(body)
    except UnicodeEncodeError:
        raise Invalid(_HALF, field="KEY or --why") from None
    except Invalid as error:
        raise Invalid(f"no worker would take this word: {error.reason}", field="KEY or --why") from None
    return body


def report(
    before: Holdings, after: Holdings, at: int, log_keeps: int | None, unread: Sequence[int] = ()
) -> dict[str, Any]:
    """What was deleted where, what is left, in which partitions no worker has read the word yet, and by when the log's own copy is
    gone. Without the value: the report is kept."""
    names = dict.fromkeys([*before.rows, *after.rows])
    if log_keeps is None:
        log: str | None = None
    else:
        log = format_time(at + log_keeps) if log_keeps else "as soon as it was processed"
    return {
        "key_type": before.key[0],
        "at": format_time(at),
        "done": after.marked and not after.total and not unread,
        "partitions_unread": list(unread),
        "transactions": len(before.transactions),
        "tables": [
            {"where": name, "rows": before.rows.get(name, 0), "left": after.rows.get(name, 0)} for name in names
        ],
        "log_removed_by": log,
    }
