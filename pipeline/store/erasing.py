"""The store's contract, third part: finding all that is kept of a transaction or a person, so that it can go (``lastseen forget``).

Laws: what a read here finds is everything that the tables hold of it, whoever wrote it; deleting twice is deleting once. These are
scans, for what is asked a few times a day; nothing on the way from an event to a verdict asks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from pipeline.core.generations import ids, number_of
from pipeline.errors import Invalid
from pipeline.store.retention import TombstoneRow
from schemas import wire

if TYPE_CHECKING:
    from pipeline.store.contract import Alias, LinkRow, ParkedRow, QuarantineRow, Reader, Store, Transaction
    from schemas.landscape import KeyType

# Key type and value, of whatever role.
Key = tuple[str, str]

# Tables whose rows name a transaction of their own, in the order in which people hear of them.
OWN_TABLES = ("events", "verdicts", "flips", "keys", "links", "disputes", "late_events")
# What may be said of others in a verdict: by these findings alone.
NAMING_FINDINGS = ("doubled", "alias_conflict")
# A number comes round so often while a tombstone of it lasts, at most.
_GENERATIONS = 100
# RE2 and Python read it alike. A value stands alone where no letter or digit touches it.
_EDGE = "[^0-9A-Za-z_]"
# Before a value in JSON an escape is an edge too, although it ends with a letter or a digit.
_ESCAPED = r"\\(?:[bfnrt]|u[0-9A-Fa-f]{4})"
_SHORT = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}


class Erasing(Protocol):
    def tombstones(self, kinds: Sequence[str]) -> Iterator[TombstoneRow]:
        """Winning tombstones of these kinds, streamed."""
        ...

    def delete_tombstones(self, keys: Sequence[Key]) -> None:
        """By key type and digest; files that held them are rewritten."""
        ...

    def numbers_of(self, transactions: Sequence[Transaction]) -> list[tuple[str, int, int]]:
        """(source, epoch, running number) of every event row of theirs, 0 where it has none, in order, each once."""
        ...

    def row_counts(self, transactions: Sequence[Transaction]) -> Mapping[str, int]:
        """How many rows of each of ``OWN_TABLES`` are theirs, superseded ones too; tables without any are left out."""
        ...

    def links_to(self, transactions: Sequence[Transaction]) -> list[LinkRow]:
        """All claims that name them, of each identity the winner."""
        ...

    def delete_events(self, events: Sequence[tuple[Transaction, str]]) -> None:
        """By transaction and event id, from what is stored and from what came late; files that held them are rewritten."""
        ...

    def delete_keys(self, keys: Sequence[tuple[Key, Transaction]]) -> None:
        """These transactions are found by these keys no more; files that held that are rewritten."""
        ...

    def delete_links(self, claims: Sequence[tuple[Alias, Transaction]]) -> None:
        """Whatever was said of these aliases being these transactions; files that held it are rewritten."""
        ...

    def kept_with(self, keys: Sequence[Key]) -> list[ParkedRow]:
        """Every row of an event that is kept, under whatever alias, and carries any of these keys, however its JSON spells it."""
        ...

    def late_with(self, key: Key) -> list[Transaction]:
        """Transactions of which an event came after their retention that carries this key."""
        ...

    def unname(self, transaction: Transaction) -> int:
        """Take it out of what is said of others: disputes that name it go, bodies of verdicts and flips that name it are emptied
        (the verdict's owner judges it again). How many rows. Files that held it are rewritten."""
        ...

    def unname_in(self, transaction: Transaction, others: Sequence[Transaction]) -> int:
        """Bodies of verdicts and flips of these others that name it anywhere, as in the id of an event that they rest on, are
        emptied, whatever they say. How many rows. Files that held them are rewritten."""
        ...

    def account_kept(self, before: int, at: int) -> bool:
        """An ``AccountRow`` (expired, at ``at`` µs) for each running number of the events kept since before ``before`` µs; whether
        there are such events."""
        ...


def pattern_of(values: Sequence[str], *, after: str = "", any_case: bool = False, zeros: bool = False) -> str:
    """A regular expression (RE2) for any of these values in text, also as any JSON writes them. ``after``: only where it directly
    follows this name of a key type. ``zeros``: with leading ones as well."""
    told = "|".join(dict.fromkeys(_spelt(value, any_case=any_case) for value in values))
    flags = "is" if any_case else "s"
    before = f"(?:^|{_EDGE}){_quoted(after)}[\"']?\\s*[:=]\\s*[\"']?\\s*" if after else f"(?:^|{_EDGE}|{_ESCAPED})"
    # Flags for this group alone: patterns can be joined by "|".
    return f"(?{flags}:{before}{'0*' if zeros else ''}(?:{told})(?:$|{_EDGE}))"


def pattern_for(spec: KeyType | None, values: Sequence[str], *, after: str = "") -> str:
    """`pattern_of` values of a key type, in whatever way its normalisation would make them these."""
    zeros, any_case = (spec.leading_zeros == "drop", spec.case != "keep") if spec else (False, False)
    return pattern_of(values, after=after, any_case=any_case, zeros=zeros)


def naming_pattern(key_type: str, id: str) -> str:
    """For a transaction in the words that are said of another."""
    return f"(?s)(?:^|{_EDGE})(?:{_quoted(key_type)}:)?{_spelt(id)}(?:$|{_EDGE})"


def _spelt(text: str, *, any_case: bool = False) -> str:
    """In all ways in which JSON may write each character, but for ASCII's letters and digits: nobody escapes those, and a pattern
    that allows it took ten minutes where it has 400 values and this one seconds."""
    return "".join(char if char.isascii() and char.isalnum() else _spellings(char, any_case=any_case) for char in text)


def _spellings(char: str, *, any_case: bool) -> str:
    cases = dict.fromkeys((char, char.lower(), char.upper()) if any_case else (char,))
    found = [_quoted(one) for one in cases]
    for one in cases:
        code = one.encode("utf-16-be", "surrogatepass").hex()
        found.append("(?i:" + "".join(rf"\\u{code[at : at + 4]}" for at in range(0, len(code), 4)) + ")")
    found += [_quoted("\\" + _SHORT[char])] if char in _SHORT else []
    return f"(?:{'|'.join(found)})"


def _quoted(text: str) -> str:
    # RE2 refuses some of the escapes that Python adds.
    return "".join("\\" + char if char in ".^$*+?{}[]()|\\" else char for char in text)


def tombstoned(store: Store, key: Key) -> list[Transaction]:
    """Generations of a number of which a tombstone is left that spells it out."""
    if key[1] != number_of(key[1]):
        return []
    return sorted(store.load_tombstones([(key[0], id) for id in ids(key[1], _GENERATIONS)]))


def kept_of(store: Store, keys: Sequence[Key], goes: Callable[[Transaction], bool]) -> list[ParkedRow]:
    """What is kept and carries any of these keys, numbers without their generation. Of a number that comes round it is nobody's who
    stays: an event that one of its other generations holds."""
    stay: dict[Key, set[str]] = {}
    found = []
    for row in store.kept_with(keys):
        for key in [key for key in keys if row.event.keys.get(key[0]) == key[1]]:
            if key not in stay:
                stay[key] = _held_by_others(store, key, goes)
            if row.event.id not in stay[key]:
                found.append(row)
                break
    return found


def _held_by_others(store: Store, key: Key, goes: Callable[[Transaction], bool]) -> set[str]:
    named = {row[2:4] for row in store.find_keys(key[1], key[0])}
    stay = [one for one in named if (one[0], number_of(one[1])) == key and not goes(one)]
    return {event.id for events in store.load_events(stay).values() for event in events} if stay else set()


def quarantined(store: Reader, pattern: str) -> list[QuarantineRow]:
    """What in quarantine holds the pattern, packed bytes unpacked."""
    search = re.compile(pattern).search
    return [row for row in store.quarantine_with(pattern) if search(searchable(row))]


def searchable(row: QuarantineRow) -> str:
    """All that a row holds of a record, as text: bytes that are none stand as U+FFFD, as they do where the store searches."""
    texts = (_unpacked(row).decode(errors="replace"), row.key.decode(errors="replace"))
    return "\n".join((*texts, row.headers, row.reason, row.field))


def _unpacked(row: QuarantineRow) -> bytes:
    if '"content-encoding"' not in row.headers:
        return row.payload
    try:
        return wire.decompress(row.payload, "lz4")
    except Invalid:
        return row.payload
