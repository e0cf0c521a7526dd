"""Which claims go with a transaction whose number comes round.

Links name a transaction by its number, for where an alias lives nobody knows of generations; what is deleted is a generation. With
one go the claims of those aliases that its events carried and no other generation's did; with the last of a number all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.generations import number_of

if TYPE_CHECKING:
    from pipeline.store.contract import Alias, KeyRow, LinkRow, Store, Transaction


class Going(NamedTuple):
    """``numbers``: transactions, by number, of which every claim goes. ``single``: alias and number of single ones; what is no
    alias is among them too."""

    numbers: list[Transaction]
    single: list[tuple[Alias, Transaction]]


def claims_going(
    gone: Iterable[Transaction],
    find: Callable[[Sequence[str], str], Iterable[KeyRow]],
    keys_of: Callable[[Sequence[Transaction]], Iterable[KeyRow]],
) -> Going:
    """``find``, ``keys_of``: the store's; asked while the keys of those that go are still there."""
    going: dict[Transaction, set[str]] = defaultdict(set)
    for kind, id in gone:
        going[kind, number_of(id)].add(id)
    numbers: dict[str, list[str]] = defaultdict(list)
    for kind, number in going:
        numbers[kind].append(number)
    staying: dict[Transaction, set[str]] = defaultdict(set)
    for kind, values in numbers.items():
        for row in find(values, kind):
            one = (kind, row.value)
            own = row.transaction_type == kind and number_of(row.transaction_id) == row.value
            if own and row.transaction_id not in going[one]:
                staying[one].add(row.transaction_id)
    there = [(one[0], id) for one, found in staying.items() for id in going[one] | found]
    carried: dict[Transaction, set[Alias]] = defaultdict(set)
    for row in keys_of(there) if there else ():
        carried[row.transaction_type, row.transaction_id].add((row.key_type, row.value))
    single = []
    for one, found in staying.items():
        theirs = {key for id in found for key in carried[one[0], id]}
        mine = {key for id in going[one] for key in carried[one[0], id]}
        single += [(key, one) for key in sorted(mine - theirs)]
    return Going([one for one in going if one not in staying], single)


def links_going(store: Store, gone: Sequence[Transaction]) -> dict[Transaction, list[LinkRow]]:
    """The claims that go with each of these; of several generations of one number, with any of them."""
    going = claims_going(gone, store.find_any_keys, store.keys_of)
    single = set(going.single)
    whole = set(going.numbers)
    links: dict[Transaction, list[LinkRow]] = defaultdict(list)
    for row in store.links_to(list(dict.fromkeys((kind, number_of(id)) for kind, id in gone))):
        if row[2:4] in whole or (row[:2], row[2:4]) in single:
            links[row[2:4]].append(row)
    return {one: links.pop((one[0], number_of(one[1])), []) for one in gone}
