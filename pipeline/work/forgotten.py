"""Forgotten: whom people had deleted, known by salted digests alone, so that nothing of them comes back.

Three modes. ``key``: a person's word; an event that carries it is refused, and the transaction that it names with it.
``transaction``: one that went along, or was meant itself; what comes for it is refused, and its name is taken out of what comes for
others (``names``, ``without``): a cart that became a forgotten order is still a cart. ``alias``: what named such a one and
nobody else.

Events, links and facts name a transaction by its number; what went along is a generation of it (``pipeline.core.generations``).
Of a number that comes round ``meant`` tells by the time: a tombstone keeps when the generation's last event was, and all of it lies
within ``reuse_after`` of that.

The salt lies beside the digests and keeps them from being read off or compared with a list; who has the store and may guess can
still try every order number there is. Where nothing was forgotten this costs nothing; else one lookup per event and per key type
of which something was (the answer is remembered per value, a digest takes 1.5 µs).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence

from pipeline.core.generations import AHEAD, id_at, number_of
from pipeline.store.accounts import FORGOTTEN
from pipeline.store.contract import Alias, LinkRow, Transaction
from pipeline.store.erasing import pattern_of
from pipeline.store.retention import TombstoneRow
from schemas.wire import Observed

KEY, TRANSACTION, ALIAS = "key", "transaction", "alias"
_REMEMBERED = 200_000
_MARK = "forgotten:"


def new_salt() -> str:
    """16 bytes, hex."""
    return secrets.token_hex(16)


def digest_of(mode: str, key_type: str, value: str, salt: str) -> str:
    """What a tombstone says instead of the value: mode, salt and hash."""
    told = hmac.new(bytes.fromhex(salt), f"{mode}:{key_type}:{value}".encode(), hashlib.sha256)
    return f"{mode}:{salt}:{told.hexdigest()}"


def tombstone_of(mode: str, key: tuple[str, str], salt: str, at: int, until: int, ended_at: int = 0) -> TombstoneRow:
    """``ended_at``: µs of the last event of one whose number comes round."""
    return TombstoneRow(key[0], digest_of(mode, *key, salt), FORGOTTEN, ended_at, until, at, at)


class Forgotten:
    """``transaction_types``: key types that name transactions. ``reuse``: those whose numbers come round, to after how many µs.
    ``salts``: those in use; normally one."""

    def __init__(self, transaction_types: Iterable[str] = (), reuse: Mapping[str, int] | None = None) -> None:
        self._kinds = frozenset(transaction_types)
        self.reuse = dict(reuse or {})
        self.salts: list[str] = []
        self._digests: dict[tuple[str, str], tuple[int, int]] = {}  # to when it ended, and when it was forgotten
        self._heard: set[tuple[str, str]] = set()  # those that a letter told of, and nobody marked yet
        self._types: dict[tuple[str, str], dict[str, bool]] = {}
        self._generations: dict[Transaction, dict[str, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def learn(self, rows: Iterable[TombstoneRow], *, heard: bool = False) -> None:
        """Take tombstones of this kind that are not known yet, or not when what they stand for ended. ``heard``: they are not
        stored, or not known to be."""
        for row in rows:
            if not heard:
                self._heard.discard((row.key_type, row.digest))
            elif (row.key_type, row.digest) not in self._digests:
                self._heard.add((row.key_type, row.digest))
            mode, _, rest = row.digest.partition(":")
            salt = rest.partition(":")[0]
            known = self._digests.get((row.key_type, row.digest))
            if known is not None and known[0] >= row.ended_at:
                continue
            self._digests[row.key_type, row.digest] = (row.ended_at, row.at)
            self._generations.clear()
            if salt not in self.salts:
                self.salts.append(salt)
            # What was said of other values stands, but not of one that this may be.
            self._types[mode, row.key_type] = {}

    def carried(self, keys: Mapping[str, str]) -> bool:
        """Whether an event with these keys (normalised) is refused whatever it is about."""
        return any(name not in self._kinds and self._holds(KEY, name, value) for name, value in keys.items())

    def names(self, keys: Mapping[str, str], time: int, own: str = "") -> list[str]:
        """The key types, but for ``own``, by which these keys of an event at ``time`` µs name forgotten transactions."""
        return [
            name
            for name, value in keys.items()
            if name in self._kinds and name != own and self.meant((name, value), time)
        ]

    def theirs(self, keys: Mapping[str, str], names: Sequence[str]) -> bool:
        """Whether an event with these keys names no transaction but the forgotten ``names``."""
        return not any(name in self._kinds and name not in names for name in keys)

    def transaction(self, one: Transaction) -> bool:
        """Whether what is filed under it is refused."""
        return self._holds(TRANSACTION, *one) or self.whole(one)

    def whole(self, one: Transaction) -> bool:
        """Whether a person meant it, and with it all generations of its number."""
        return self._holds(KEY, one[0], number_of(one[1]))

    def meant(self, one: Transaction, time: int | None) -> bool:
        """Whether what names it by its number, at ``time`` µs, means a forgotten one; where the time is unknown, whether it may."""
        reuse = self.reuse.get(one[0])
        if reuse is None:
            return self.transaction(one)
        ends = self.generations(one).values()
        return self.whole(one) or any(time is None or abs(time - ended) <= reuse for ended in ends)

    def link(self, row: LinkRow) -> bool:
        """Whether a forgotten one claims by it. Most claims have no time of their own: then that of the record counts that brought
        them about, which is no earlier than its events."""
        return self.meant(row[2:4], row.at or (row.version >> 22) * 1_000)

    def generations(self, one: Transaction) -> dict[str, int]:
        """Those of a number that went along: id to µs of the last event, or where that is unknown of when it was forgotten."""
        if (TRANSACTION, one[0]) not in self._types:
            return {}
        found = self._generations.get(one)
        if found is None:
            found, place, last = {}, 0, 0
            while place < last + AHEAD:
                place += 1
                id = id_at(one[1], place)
                said = [self._digests.get((one[0], digest_of(TRANSACTION, one[0], id, salt))) for salt in self.salts]
                known = [when for when in said if when]
                if known:
                    ended, at = max(known)
                    found[id], last = ended or at, place
            if len(self._generations) >= _REMEMBERED:
                self._generations.clear()
            self._generations[one] = found
        return found

    def ended(self, one: Transaction) -> int:
        """What is known of when the last event of one that went along was, µs; 0 for nothing."""
        said = [self._digests.get((one[0], digest_of(TRANSACTION, *one, salt)), (0, 0)) for salt in self.salts]
        return max((ended for ended, _ in said), default=0)

    def told(self, one: Transaction) -> bool:
        """Whether it went along: every partition heard of it, and its rows were marked. (Who only had word of it from where another
        event was read has yet to tell those of its aliases.)"""
        known = [(one[0], digest_of(TRANSACTION, *one, salt)) for salt in self.salts]
        return any(digest in self._digests and digest not in self._heard for digest in known)

    def alias(self, one: Alias) -> bool:
        """Whether what comes for it is kept no more."""
        return self._holds(ALIAS, *one) or self._holds(KEY, *one)

    def _holds(self, mode: str, key_type: str, value: str) -> bool:
        known = self._types.get((mode, key_type))
        if known is None:
            return False
        found = known.get(value)
        if found is None:
            found = any((key_type, digest_of(mode, key_type, value, salt)) in self._digests for salt in self.salts)
            if len(known) >= _REMEMBERED:
                known.clear()
            known[value] = found
        return found


def without(event: Observed, names: Sequence[str]) -> Observed:
    """The event without these keys, and without texts of its own in which their values stand alone, under an id made from its own
    (which often holds one, and may not be mistaken for what is deleted). A function of the event: a replay makes the same."""
    search = re.compile(pattern_of([event.keys[name] for name in names])).search

    def holds(text: object) -> bool:
        return isinstance(text, str) and search(text) is not None

    return Observed(
        id=event.id if event.id.startswith(_MARK) else _MARK + hashlib.blake2b(event.id.encode(), digest_size=16).hexdigest(),
        system=event.system, step=event.step, time=event.time, phase=event.phase, peer=event.peer, source=event.source,
        epoch=event.epoch, seq=event.seq, recorded_at=event.recorded_at, via="" if holds(event.via) else event.via,
        keys={name: value for name, value in event.keys.items() if name not in names},
        attributes={name: value for name, value in event.attributes.items() if not holds(value)},
        error=None if holds(event.error) else event.error,
    )  # fmt: skip
