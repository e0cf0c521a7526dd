"""Unread: records that came, name a transaction and could not be read.

They are in quarantine and made no event, so no verdict counts them; whoever is told that something is lost is told of them
too, for it may be only that.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.answers.judging import Bench, chunks
from pipeline.core.generations import number_of
from pipeline.store.contract import UNJUDGED, Alias, KeyRow, QuarantineRow, Transaction
from pipeline.store.erasing import pattern_for, quarantined, searchable
from schemas.landscape import Landscape

TOO_SHORT = 4
"""Values of fewer characters stand for much else in a text: they count only where the name of their key type stands before them."""
_AT_ONCE = 100


def unread_naming(bench: Bench, aliases: Iterable[Alias], as_of: int = 0) -> list[QuarantineRow]:
    """What is in quarantine and names any of these numbers, earliest first. A scan of the quarantine, and of nothing else."""
    return _with(bench, aliases, as_of)


def unread_of(
    bench: Bench, keys: Mapping[Transaction, Sequence[KeyRow]], as_of: int = 0
) -> dict[Transaction, tuple[QuarantineRow, ...]]:
    """The same for each of several transactions, in one scan; those without any are left out."""
    aliases = {transaction: list(_aliases(bench, transaction, rows)) for transaction, rows in keys.items()}
    rows = [(row, searchable(row)) for row in _with(bench, itertools.chain(*aliases.values()), as_of)]
    found: dict[Transaction, tuple[QuarantineRow, ...]] = {}
    for transaction, names in aliases.items() if rows else ():
        own = _patterns(bench.landscape, names)
        search = re.compile("|".join(own)).search
        if own and (naming := tuple(row for row, text in rows if search(text))):
            found[transaction] = naming
    return found


def _with(bench: Bench, aliases: Iterable[Alias], as_of: int) -> list[QuarantineRow]:
    found = {
        row.id: row
        for some in chunks(_patterns(bench.landscape, aliases), 5)
        for row in quarantined(bench.store, "|".join(some))
        if row.state == "kept" and not 0 < as_of < row.at
    }
    return sorted(found.values(), key=lambda row: (row.at, row.id))


def _aliases(bench: Bench, transaction: Transaction, rows: Sequence[KeyRow]) -> Iterator[Alias]:
    """Its own number and those that join events to it; a customer's number names all that he ever ordered."""
    yield transaction[0], number_of(transaction[1])
    keys = [flow.keys.items() for flow in bench.flows.all() if flow.key == transaction[0]]
    of_many = {kind for items in keys for kind, spec in items if spec.role == "search"}
    for row in rows:
        if row.key_type not in of_many and row.key_type not in (transaction[0], UNJUDGED):
            yield row.key_type, row.value


def _patterns(landscape: Landscape, aliases: Iterable[Alias]) -> list[str]:
    """One for many values: each by itself takes the store five times as long."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for kind, value in dict.fromkeys(aliases):
        if value.strip():
            grouped.setdefault((kind, kind if len(value) < TOO_SHORT else ""), []).append(value)
    return [
        pattern_for(landscape.keys.get(kind), chunk, after=after)
        for (kind, after), values in grouped.items()
        for chunk in chunks(values, _AT_ONCE)
    ]
