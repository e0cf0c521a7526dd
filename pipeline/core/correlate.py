"""Correlation: which transactions an alias names, and what each claimant has to know of it (DESIGN.md §5).

Laws: what an alias comes to is a function of the *set* of its claims and of people's decisions, whatever their order; of one claim
the greatest version counts. A claim that rests on an event which names the transaction, or came by an alias that names it alone,
is its own; one that was reached through a shared alias is shared, and yields to any that is another's own: a payment listed in
a batch file belongs to the order that says so, not to every order of the batch.

A claim says by which way the event had come that makes it, alias by alias, and none rests on itself: where two aliases are named by
one event alone, each would otherwise hold up the other after what both came from was withdrawn.

The same for each key type of transactions by itself: an order and a cart may both be named by one trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from schemas.flow import Flow, Flows
from schemas.flow import Role as Meaning
from schemas.joined import PATH_BETWEEN, SHARED_MARK, WAYS_BETWEEN, address, parts

# Key type and value.
Transaction = tuple[str, str]

CLEAR, CONTESTED, FOREIGN, VOID = "clear", "contested", "foreign", "void"
CLAIMED, WITHDRAWN, ACCEPTED, BROKEN = "claimed", "withdrawn", "accepted", "broken"
# Claimed once more after it was withdrawn: of that the claimants were told, and have to be told again.
RECLAIMED = "reclaimed"
DECISION = "(decision)"
# A fact names so many other claimants; and so many strong ones are told of each that comes (each was told as it came itself).
OTHERS = 10
TOLD_AGAIN = 8
# A way leads over so many aliases at most.
MAX_PATH = 10

_JOINING = {Meaning.ALIAS: "alias", Meaning.SHARED: "shared", Meaning.WEAK: "weak"}


class Role(NamedTuple):
    """What a key type is to transactions of one type. ``joins``: alias, shared, weak or "" (it joins nothing). ``once``: µs, the
    window within which two must not hold one value; 0 for none."""

    joins: str
    once: int


_NO_ROLE = Role("", 0)


class Roles:
    """What flows make of key types, all versions together. Where they differ the more careful counts: weak, shared, alias."""

    def __init__(self, flows: Iterable[Flow]):
        found: dict[str, dict[str, Role]] = {}
        order = ("", "alias", "shared", "weak")
        for flow in flows:
            for name, spec in flow.keys.items():
                if name == flow.key or spec.role is Meaning.SEARCH:
                    continue
                known = found.setdefault(flow.key, {}).get(name, _NO_ROLE)
                joins = _JOINING.get(spec.role, "")
                once = spec.once or 0 if spec.role is Meaning.ONCE else 0
                found[flow.key][name] = Role(max(known.joins, joins, key=order.index), max(known.once, once))
        self.of: dict[str, dict[str, Role]] = found

    def role(self, transaction_type: str, alias_type: str) -> Role:
        return self.of.get(transaction_type, {}).get(alias_type, _NO_ROLE)

    @cached_property
    def by_alias(self) -> dict[str, dict[str, Role]]:
        """Alias type to transaction type to role."""
        found: dict[str, dict[str, Role]] = {}
        for transaction_type, roles in self.of.items():
            for alias_type, role in roles.items():
                found.setdefault(alias_type, {})[transaction_type] = role
        return found

    def sought(self, key_types: Iterable[str]) -> tuple[str, ...]:
        """Of an event with these key types, those by which it may be joined to a transaction that it doesn't name. By one that
        others share only where none of the types that share it has another there: that one's partition sends it on, as long as
        nobody's own claim is there."""
        names = set(key_types)
        own, others, passed_on = set[str](), set[str](), set[str]()
        for kind, roles in self.of.items():
            if kind in names:
                continue
            joins = {name: roles[name].joins for name in names if name in roles}
            mine = {name for name, how in joins.items() if how == "alias"}
            shared = {name for name, how in joins.items() if how == "shared"}
            own |= mine
            others |= {name for name, how in joins.items() if how} - mine
            if mine:
                passed_on |= shared
        return tuple(sorted(own | (others - passed_on)))


def roles_of(flows: Flows) -> Roles:
    return Roles(flows.all())


# Ways ----------------------------------------------------------------------------------------------------------------


def ways(via: str) -> tuple[str, ...]:
    """The ways by which an event came to its transaction; none where it names it itself."""
    return tuple(via.split(WAYS_BETWEEN)) if via else ()


def path_of(way: str) -> tuple[str, ...]:
    """The aliases of a way, each ``type:value``, the transaction's own first."""
    return tuple(way.removeprefix(SHARED_MARK).split(PATH_BETWEEN)) if way else ()


def alias_of(way: str) -> str:
    """The alias, ``type:value``, under which an event was kept that came by this way."""
    return way.removeprefix(SHARED_MARK).rpartition(PATH_BETWEEN)[2]


def way_of(by: str, alias: Transaction, *, shared: bool) -> str:
    """The way of events kept under an alias that the transaction claims by another way ("": itself)."""
    return (SHARED_MARK if shared else "") + PATH_BETWEEN.join((*path_of(by), address(*alias)))


# What an event says of the aliases that it carries -------------------------------------------------------------------


class Known(NamedTuple):
    """What a transaction knows of an alias that is not plainly clear: its standing, and the only way that leads ("": any)."""

    state: str
    way: str


class Claim(NamedTuple):
    """That alias (type, value) names the transaction, by the way by which the event had come ("": it says so itself)."""

    alias: Transaction
    by: str
    shared: bool
    state: str
    at: int


def claims_of(
    transaction_type: str,
    roles: Roles,
    keys: Mapping[str, str],
    via: str,
    time: int,
    disputes: Mapping[str, Known],
) -> list[Claim]:
    """What an event of a transaction claims for it. An event does not announce the alias by which it came, and one that came by a
    weak alias announces none. ``disputes``: alias to standing; what came by what is another's claims nothing any more."""
    mine = roles.of.get(transaction_type)
    if not mine:
        return []
    found = [(name, keys[name], role) for name, role in mine.items() if name in keys]
    if not found:
        return []
    if not via:
        return [
            Claim((name, value), "", role.joins == "shared", CLAIMED, time if role.once else 0)
            for name, value, role in found
        ]
    claims = []
    usable = leads(keys, via, disputes)
    for way in ways(via):
        path = path_of(way)
        if roles.role(transaction_type, parts(path[-1])[0]).joins == "weak" or len(path) >= MAX_PATH:
            continue
        for name, value, role in found:
            if address(name, value) not in path:
                shared = role.joins == "shared" or way.startswith(SHARED_MARK)
                state = CLAIMED if way in usable else WITHDRAWN
                claims.append(Claim((name, value), way, shared, state, time if role.once else 0))
    return claims


def leads(keys: Mapping[str, str], via: str, disputes: Mapping[str, Known]) -> tuple[str, ...]:
    """Of the ways by which an event came those that lead to the transaction, by what it knows of its aliases. A shared one does not
    lead where the event carries an alias that is another's own."""
    if not disputes:
        return ways(via)
    foreign = any(
        (known := disputes.get(address(name, value))) is not None and known.state == FOREIGN
        for name, value in keys.items()
    )
    return tuple(
        way
        for way in ways(via)
        if _leads(way, disputes.get(alias_of(way))) and not (foreign and way.startswith(SHARED_MARK))
    )


def _leads(way: str, known: Known | None) -> bool:
    return known is None or (known.state not in (FOREIGN, VOID) and known.way in ("", way))


def active(keys: Mapping[str, str], via: str, disputes: Mapping[str, Known]) -> bool:
    """Whether an event is the transaction's."""
    return not via or not disputes or bool(leads(keys, via, disputes))


def contested(keys: Mapping[str, str], via: str, disputes: Mapping[str, Known]) -> str:
    """The alias because of which it is not certain that an active event is the transaction's; "" where it is. What is shared makes
    nothing certain of which an alias of its own is contested."""
    if not via or not disputes:
        return ""
    names = (address(name, value) for name, value in keys.items())
    carried = min((name for name in names if _is_contested(disputes.get(name))), default="")
    doubtful = ""
    for way in leads(keys, via, disputes):
        alias = alias_of(way) if _is_contested(disputes.get(alias_of(way))) else ""
        if way.startswith(SHARED_MARK):
            alias = alias or carried
        if not alias:
            return ""
        doubtful = min(doubtful or alias, alias)
    return doubtful


def _is_contested(known: Known | None) -> bool:
    return known is not None and known.state == CONTESTED


# What an alias comes to ----------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """What an alias is to one transaction. ``joined``: its events are sent there. ``shared``: by claims that others share."""

    joined: bool
    shared: bool
    state: str


# Of an alias with a single claim, by role and whether it is shared.
_ALONE = {
    ("alias", False): Standing(True, False, CLEAR),
    ("alias", True): Standing(True, True, CLEAR),
    ("shared", False): Standing(True, True, CLEAR),
    ("shared", True): Standing(True, True, CLEAR),
    ("weak", False): Standing(True, False, CLEAR),
    ("weak", True): Standing(True, False, CLEAR),
    ("", False): Standing(False, False, CLEAR),
    ("", True): Standing(False, False, CLEAR),
}


@dataclass(slots=True)
class Claims:
    """All claims of one alias: (transaction, by, at) to (state, shared, version). Merging keeps the greatest version."""

    found: dict[tuple[Transaction, str, int], tuple[str, bool, int]] = field(default_factory=dict)

    def add(self, transaction: Transaction, by: str, at: int, state: str, shared: bool, version: int) -> bool:
        """Take a claim; whether it says anything new. On a tie what is withdrawn counts, by a rule as good as any."""
        known = self.found.get((transaction, by, at))
        if known is not None and (known[2], known[0], known[1]) >= (version, state, shared):
            return False
        self.found[transaction, by, at] = (state, shared, version)
        return known is None or known[:2] != (state, shared)

    def resolve(self, transaction_type: str, role: Role) -> dict[Transaction, Standing]:
        """What the alias is to each transaction of a type that claims it, or did, or of which a person said something."""
        only = self.only
        if only is not None:
            # Most aliases have one claimant, and nobody ever disputed them.
            transaction, shared = only
            return {transaction: _ALONE[role.joins, shared]} if transaction[0] == transaction_type else {}
        own, others, named, decisions = self._sorted(transaction_type)
        broken, accepted = _decided(decisions)
        if accepted and role.joins != "shared":
            broken |= set(named) - {accepted[-1]}
            own, others = {accepted[-1]}, set()
        others.update(accepted if role.joins == "shared" else ())
        own -= broken
        others -= broken | own
        if not role.joins:
            return dict.fromkeys(named, Standing(False, False, CLEAR))
        if role.joins == "weak":
            own, others = own | others, set()
        # A claim that was withdrawn leads nowhere; it makes nothing another's as long as nobody has it for his own.
        standing = {one: Standing(False, False, FOREIGN if one in broken else VOID) for one in named}
        if role.joins == "weak":
            standing.update(dict.fromkeys(own, Standing(len(own) == 1, False, CLEAR if len(own) == 1 else VOID)))
        elif own and role.joins == "alias":
            standing = dict.fromkeys(named, Standing(False, False, FOREIGN))
            standing.update(dict.fromkeys(own, Standing(True, False, CLEAR if len(own) == 1 else CONTESTED)))
        else:
            standing.update(dict.fromkeys(own | others, Standing(True, True, CLEAR)))
        return standing

    @property
    def only(self) -> tuple[Transaction, bool] | None:
        """Who claims it, and whether by sharing, where that is all that was ever said of it; else None."""
        if len(self.found) != 1:
            return None
        ((transaction, by, _), (state, shared, _)), *_ = self.found.items()
        return (transaction, shared) if state == CLAIMED and by != DECISION else None

    def _sorted(
        self, transaction_type: str
    ) -> tuple[set[Transaction], set[Transaction], list[Transaction], dict[Transaction, tuple[int, str]]]:
        own: set[Transaction] = set()
        others: set[Transaction] = set()
        named: dict[Transaction, None] = {}
        decisions: dict[Transaction, tuple[int, str]] = {}
        for (transaction, by, _), (state, shared, version) in self.found.items():
            if transaction[0] != transaction_type:
                continue
            named[transaction] = None
            if by == DECISION:
                decisions[transaction] = (version, state)
            elif state in (CLAIMED, RECLAIMED):
                (others if shared else own).add(transaction)
        return own, others - own, sorted(named), decisions

    def settled(self, transaction_type: str) -> bool:
        """Whether nothing was ever said but claims that stand: then nobody was told anything but by those."""
        return all(
            state == CLAIMED
            for (transaction, *_), (state, *_) in self.found.items()
            if transaction[0] == transaction_type
        )

    def way(self, alias: Transaction, transaction: Transaction, *, shared: bool) -> str:
        """By which way the alias leads to a transaction: by the shortest of its claims that stand; "" where none does."""
        standing = [
            ("" if by == DECISION else by, others)
            for (one, by, _), (state, others, _) in self.found.items()
            if one == transaction and state in (CLAIMED, RECLAIMED, ACCEPTED)
        ]
        if not standing:
            return ""
        # To a weak alias it is all one whether a claim was reached through a shared one.
        fitting = [by for by, others in standing if others == shared] or [by for by, _ in standing]
        best = min(fitting, key=lambda by: (by.count(PATH_BETWEEN) + bool(by), by))
        return way_of(best, alias, shared=shared)

    def earliest(self, transactions: Iterable[Transaction], count: int) -> list[Transaction]:
        """The first of these to claim, by version."""
        wanted = set(transactions)
        first: dict[Transaction, int] = {}
        for (transaction, *_), (*_, version) in self.found.items():
            if transaction in wanted:
                first[transaction] = min(version, first.get(transaction, version))
        return sorted(first, key=lambda one: (first[one], one))[:count]

    def holders(self, transaction_type: str) -> list[tuple[int, Transaction]]:
        """Who holds a ``once`` value since when, µs, the earliest of each, in order."""
        first: dict[Transaction, int] = {}
        for (transaction, by, at), (state, _, _) in self.found.items():
            if transaction[0] == transaction_type and by != DECISION and state in (CLAIMED, RECLAIMED) and at:
                first[transaction] = min(at, first.get(transaction, at))
        return sorted((at, one) for one, at in first.items())

    def transaction_types(self) -> list[str]:
        return sorted({transaction[0] for transaction, *_ in self.found})


def _decided(decisions: Mapping[Transaction, tuple[int, str]]) -> tuple[set[Transaction], list[Transaction]]:
    """Those of whom a person said no, and those of whom one said yes, the last one last."""
    broken = {one for one, (_, state) in decisions.items() if state == BROKEN}
    accepted = sorted((version, one) for one, (version, state) in decisions.items() if state == ACCEPTED)
    return broken, [one for _, one in accepted]


def told(
    claims: Claims,
    transaction_type: str,
    standing: Mapping[Transaction, Standing],
    touched: Iterable[Transaction],
    *,
    wide: bool,
) -> list[Transaction]:
    """Who is to be told of an alias after ``touched`` claimed it (once more), or no longer do: all whose standing may have changed.
    ``wide``: by a person's word, or as a claim of their own was withdrawn.

    Nothing rests on what was known before, for after a crash that may be all: a replay tells the same. One that claims own tells
    those that claim by sharing, and the first that claimed own; later ones were told as they came.
    """
    if claims.settled(transaction_type) and all(one.state == CLEAR for one in standing.values()):
        return []
    if wide:
        return sorted(standing)
    found = dict.fromkeys(one for one in touched if one in standing)
    if any((standing[one].joined and not standing[one].shared) or standing[one].state == VOID for one in found):
        own = [one for one, how in standing.items() if how.state != FOREIGN and not how.shared]
        found.update(dict.fromkeys(claims.earliest(own, TOLD_AGAIN)))
        found.update(dict.fromkeys(one for one, how in standing.items() if how.state == FOREIGN))
    return list(found)


def nearest(holders: Sequence[tuple[int, Transaction]], own: Transaction, window: int) -> tuple[tuple[str, int], ...]:
    """Others that hold a ``once`` value within the window of ``own``, the nearest first, at most ten: (id, µs)."""
    mine = next((at for at, one in holders if one == own), None)
    if mine is None:
        return ()
    others = sorted((abs(at - mine), one[1], at) for at, one in holders if one != own and abs(at - mine) <= window)
    return tuple((identity, at) for _, identity, at in others[:OTHERS])
