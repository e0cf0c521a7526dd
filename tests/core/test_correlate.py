"""Correlation as pure functions, from the side of an alias: what its claims come to, who is told, by which aliases events seek."""

from __future__ import annotations

from itertools import permutations

import pytest

from pipeline.core.correlate import (
    ACCEPTED,
    BROKEN,
    CLAIMED,
    CONTESTED,
    DECISION,
    OTHERS,
    RECLAIMED,
    TOLD_AGAIN,
    WITHDRAWN,
    Claims,
    Role,
    Roles,
    Transaction,
    nearest,
    told,
)
from schemas.flow_file import parse_flow
from schemas.times import MINUTE, SECOND

A, B, C = ("order", "a"), ("order", "b"), ("order", "c")
CART = ("cart", "k")
ALIAS = ("payment", "P")
WINDOW = 10 * MINUTE
T = 1_760_000_000_000_000

FLOW = """
flow: one
version: 1
key: order
keys: {payment: alias, tracking: alias, parcel: {alias: shared}, batch: {alias: shared}, trace: {alias: weak}, cart: {once: 10m}, customer: search}
steps:
  placed: {system: shop, start: true}
  done: {system: shop, after: placed, end: completed}
"""  # noqa: E501
ROLES = Roles([parse_flow(FLOW)])


def claims(*rows: str) -> Claims:
    """From lines such as ``a own``, ``b shared withdrawn``, ``a accepted``; versions in their order. ``own2``: by another way."""
    found = Claims()
    for version, row in enumerate(rows, 1):
        name, how, *rest = row.split()
        if how in (ACCEPTED, BROKEN):
            found.add(("order", name), DECISION, 0, how, False, version)
        else:
            by = {"own": "", "own2": "tracking:X", "shared": "~batch:B"}[how]
            found.add(("order", name), by, 0, rest[0] if rest else CLAIMED, how == "shared", version)
    return found


def said(found: Claims, joins: str) -> dict[str, str]:
    """Id to ``state``, with ``+`` where its events are sent there and ``~`` where by shared claims."""
    return {
        one[1]: ("+" if how.joined else "") + ("~" if how.shared else "") + how.state
        for one, how in found.resolve("order", Role(joins, 0)).items()
    }


TABLE: list[tuple[str, list[str], dict[str, str]]] = [
    # one claimant
    ("alias", ["a own"], {"a": "+clear"}),
    ("alias", ["a shared"], {"a": "+~clear"}),
    ("shared", ["a own"], {"a": "+~clear"}),
    ("shared", ["a shared"], {"a": "+~clear"}),
    ("weak", ["a own"], {"a": "+clear"}),
    ("weak", ["a shared"], {"a": "+clear"}),
    ("", ["a own", "b shared"], {"a": "clear", "b": "clear"}),
    # several
    ("alias", ["a own", "b own"], {"a": "+contested", "b": "+contested"}),
    ("alias", ["a shared", "b shared"], {"a": "+~clear", "b": "+~clear"}),
    ("alias", ["a own", "b shared"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a own", "b own", "c shared"], {"a": "+contested", "b": "+contested", "c": "foreign"}),
    ("alias", ["a own", "a shared", "b shared"], {"a": "+clear", "b": "foreign"}),
    ("shared", ["a own", "b shared"], {"a": "+~clear", "b": "+~clear"}),
    ("weak", ["a own", "b own"], {"a": "void", "b": "void"}),
    ("weak", ["a own", "b shared"], {"a": "void", "b": "void"}),
    # withdrawn
    ("alias", ["a own withdrawn"], {"a": "void"}),
    ("alias", ["a own", "b own withdrawn"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a own", "b shared withdrawn"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a shared", "b own withdrawn"], {"a": "+~clear", "b": "void"}),
    ("alias", ["a own", "a own2 withdrawn"], {"a": "+clear"}),
    ("alias", ["a own withdrawn", "a own"], {"a": "+clear"}),
    ("alias", ["a own withdrawn", "a own reclaimed"], {"a": "+clear"}),
    ("alias", ["a own reclaimed", "b own"], {"a": "+contested", "b": "+contested"}),
    ("shared", ["a own", "b shared withdrawn"], {"a": "+~clear", "b": "void"}),
    ("weak", ["a own", "b own withdrawn"], {"a": "+clear", "b": "void"}),
    # people's words
    ("alias", ["a own", "b own", "a accepted"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a own", "b own", "a broken"], {"a": "foreign", "b": "+clear"}),
    ("alias", ["a own", "b own", "a broken", "b broken"], {"a": "foreign", "b": "foreign"}),
    ("alias", ["a accepted", "b accepted", "c own"], {"a": "foreign", "b": "+clear", "c": "foreign"}),
    ("alias", ["b accepted", "a accepted"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a accepted", "a broken", "b own"], {"a": "foreign", "b": "+clear"}),
    ("alias", ["a broken", "a accepted", "b own"], {"a": "+clear", "b": "foreign"}),
    ("alias", ["a own withdrawn", "a accepted"], {"a": "+clear"}),
    ("alias", ["a shared", "b shared", "b accepted"], {"a": "foreign", "b": "+clear"}),
    ("alias", ["a shared", "b shared", "b broken"], {"a": "+~clear", "b": "foreign"}),
    ("shared", ["a shared", "b shared", "a broken"], {"a": "foreign", "b": "+~clear"}),
    ("shared", ["a shared", "b shared", "c accepted"], {"a": "+~clear", "b": "+~clear", "c": "+~clear"}),
    ("weak", ["a own", "b own", "a accepted"], {"a": "+clear", "b": "foreign"}),
    ("weak", ["a own", "b own", "a broken"], {"a": "foreign", "b": "+clear"}),
    ("", ["a own", "a accepted"], {"a": "clear"}),
]


@pytest.mark.parametrize(
    ("joins", "rows", "expected"), TABLE, ids=[f"{row[0] or 'none'}: {', '.join(row[1])}" for row in TABLE]
)
def test_what_an_alias_comes_to(joins: str, rows: list[str], expected: dict[str, str]) -> None:
    assert said(claims(*rows), joins) == expected


@pytest.mark.parametrize("rows", [row[1] for row in TABLE if len(row[1]) > 1])
def test_in_whatever_order_claims_come(rows: list[str]) -> None:
    """Each with the version that it has."""
    whole = claims(*rows)
    added = [(one, by, at, state, shared, version) for (one, by, at), (state, shared, version) in whole.found.items()]
    for order in permutations(added):
        again = Claims()
        for row in order:
            assert again.add(*row)
            assert not again.add(*row), "said again it says nothing"
        for joins in ("alias", "shared", "weak", ""):
            assert said(again, joins) == said(whole, joins)


def test_of_one_claim_the_greatest_version_counts() -> None:
    found = Claims()
    assert found.add(A, "", 0, CLAIMED, False, 5)
    assert not found.add(A, "", 0, WITHDRAWN, False, 4)
    assert not found.add(A, "", 0, CLAIMED, False, 6), "newer, and the same"
    assert found.found[A, "", 0] == (CLAIMED, False, 6)
    assert found.add(A, "", 0, WITHDRAWN, False, 6), "on a tie what is withdrawn"
    assert not found.add(A, "", 0, CLAIMED, False, 6)
    assert found.add(A, "", 0, WITHDRAWN, True, 7)


def test_each_key_type_of_transactions_by_itself() -> None:
    found = claims("a own")
    found.add(CART, "", 0, CLAIMED, False, 9)
    found.add(("cart", "l"), "", 0, CLAIMED, False, 10)
    assert said(found, "alias") == {"a": "+clear"}
    assert {how.state for how in found.resolve("cart", Role("alias", 0)).values()} == {CONTESTED}
    assert found.transaction_types() == ["cart", "order"]
    assert found.settled("order")
    assert found.settled("cart")


def test_settled_is_where_nothing_but_standing_claims_was_ever_said() -> None:
    assert claims("a own", "b shared").settled("order")
    assert not claims("a own", "b own withdrawn").settled("order")
    assert not claims("a own reclaimed").settled("order")
    assert not claims("a own", "a accepted").settled("order")


def test_an_alias_leads_by_the_shortest_claim_that_stands() -> None:
    found = Claims()
    found.add(A, "payment:P\ttracking:X", 0, CLAIMED, False, 1)
    found.add(A, "tracking:Z", 0, CLAIMED, False, 2)
    found.add(A, "tracking:Y", 0, CLAIMED, False, 3)
    found.add(A, "~batch:B", 0, CLAIMED, True, 4)
    found.add(B, "", 0, CLAIMED, False, 5)
    alias = ("label", "L")
    assert found.way(alias, A, shared=False) == "tracking:Y\tlabel:L"
    assert found.way(alias, A, shared=True) == "~batch:B\tlabel:L"
    assert found.way(alias, C, shared=False) == ""
    found.add(A, "tracking:Y", 0, WITHDRAWN, False, 6)
    assert found.way(alias, A, shared=False) == "tracking:Z\tlabel:L"
    found.add(A, "tracking:Y", 0, RECLAIMED, False, 7)
    assert found.way(alias, A, shared=False) == "tracking:Y\tlabel:L"
    found.add(A, "", 0, CLAIMED, False, 8)
    assert found.way(alias, A, shared=False) == "label:L"
    assert found.way(alias, B, shared=True) == "~label:L", "of the other kind where there is none of this"


def test_a_persons_word_leads_straight() -> None:
    found = claims("a own2", "a accepted")
    assert found.way(ALIAS, A, shared=False) == "payment:P"
    assert claims("a broken").way(ALIAS, A, shared=False) == ""


# Who is told ------------------------------------------------------------------------------------------------------------


def hearers(found: Claims, *touched: Transaction, joins: str = "alias", wide: bool = False) -> list[str]:
    standing = found.resolve("order", Role(joins, 0))
    return sorted(one[1] for one in told(found, "order", standing, touched, wide=wide))


def test_of_what_is_clear_and_always_was_nobody_is_told() -> None:
    assert hearers(claims("a own"), A) == []
    assert hearers(claims("a shared", "b shared"), A, B) == []
    assert hearers(claims("a own"), A, wide=True) == []


def test_a_second_claimant_tells_the_first() -> None:
    assert hearers(claims("a own", "b own"), B) == ["a", "b"]
    assert hearers(claims("b own", "a own"), B) == ["a", "b"], "and whoever claims once more after a crash"
    assert hearers(claims("a own", "b own"), B, joins="weak") == ["a", "b"]


def test_ones_own_tells_those_who_share_and_not_the_other_way_round() -> None:
    assert hearers(claims("a shared", "b shared", "c own"), C) == ["a", "b", "c"]
    assert hearers(claims("a shared", "b shared", "c own"), A) == ["a"]


def test_only_the_first_of_many_are_told_again() -> None:
    many = claims(*(f"n{number:02} own" for number in range(30)))
    assert hearers(many, ("order", "n29")) == [*(f"n{number:02}" for number in range(TOLD_AGAIN)), "n29"]
    assert len(hearers(many, A, wide=True)) == 30


def test_a_word_or_a_withdrawal_tells_all() -> None:
    assert hearers(claims("a own", "b own", "a accepted"), A, wide=True) == ["a", "b"]
    assert hearers(claims("a own", "b own withdrawn"), B, wide=True) == ["a", "b"]
    assert hearers(claims("a own", "b own withdrawn"), C) == [], "one who claims nothing is told nothing"
    assert hearers(claims("a own withdrawn", "a own reclaimed"), A) == ["a"], (
        "who was told that it leads nowhere hears that it does"
    )


# once -------------------------------------------------------------------------------------------------------------------


def held(*rows: tuple[str, int]) -> Claims:
    found = Claims()
    for version, (name, at) in enumerate(rows, 1):
        found.add(("order", name), "", at, CLAIMED, False, version)
    return found


def test_who_holds_a_value_since_when() -> None:
    found = held(("b", 500), ("a", 300), ("b", 100))
    assert found.holders("order") == [(100, B), (300, A)]
    assert found.holders("cart") == []
    found.add(A, "", 300, WITHDRAWN, False, 9)
    assert found.holders("order") == [(100, B)]
    found.add(A, "", 300, RECLAIMED, False, 10)
    assert found.holders("order") == [(100, B), (300, A)]
    found.add(C, DECISION, 0, ACCEPTED, False, 11)
    found.add(C, "", 0, CLAIMED, False, 12)
    assert len(found.holders("order")) == 2, "of who says no time nothing follows"


def test_the_nearest_within_the_window() -> None:
    holders = [(T, A), (T + WINDOW, B), (T + WINDOW + 1, C)]
    assert nearest(holders, A, WINDOW) == (("b", T + WINDOW),)
    assert nearest(holders, B, WINDOW) == (("c", T + WINDOW + 1), ("a", T))
    assert nearest(holders, ("order", "none"), WINDOW) == ()
    crowd = [(T + number * SECOND, ("order", f"n{number:02}")) for number in range(30)]
    found = nearest(crowd, ("order", "n15"), WINDOW)
    assert len(found) == OTHERS
    assert [name for name, _ in found] == ["n14", "n16", "n13", "n17", "n12", "n18", "n11", "n19", "n10", "n20"]


def test_the_first_to_claim_by_version() -> None:
    found = Claims()
    found.add(A, "", 0, CLAIMED, False, 7)
    found.add(B, "tracking:X", 0, CLAIMED, False, 5)
    found.add(C, "", 0, CLAIMED, False, 5)
    found.add(A, "tracking:X", 0, CLAIMED, False, 6)
    assert found.earliest([A, B, C], 3) == [B, C, A]
    assert found.earliest([A, B, C], 1) == [B]
    assert found.earliest([A], 3) == [A]


# Roles ------------------------------------------------------------------------------------------------------------------


def test_by_which_aliases_an_event_seeks_its_transaction() -> None:
    assert ROLES.sought(["payment"]) == ("payment",)
    assert ROLES.sought(["tracking", "payment", "customer"]) == ("payment", "tracking")
    assert ROLES.sought(["order", "payment"]) == ()
    assert ROLES.sought(["customer"]) == ()
    assert ROLES.sought(["cart"]) == (), "a once key joins nothing"
    assert ROLES.sought([]) == ()


def test_its_own_ones_before_those_that_others_share() -> None:
    assert ROLES.sought(["batch", "payment"]) == ("payment",)
    assert ROLES.sought(["batch", "parcel"]) == ("batch", "parcel")
    assert ROLES.sought(["batch", "trace"]) == ("batch", "trace"), "a weak one is not worth waiting for"
    assert ROLES.sought(["payment", "trace", "batch"]) == ("payment", "trace")


def test_several_versions_and_flows_together_the_more_careful_counts() -> None:
    newer = FLOW.replace("version: 1", "version: 2").replace("payment: alias", "payment: {alias: shared}")
    newer = newer.replace("tracking: alias", "tracking: {alias: weak}").replace("10m", "20m")
    older = FLOW.replace("parcel: {alias: shared}", "parcel: alias")
    for flows in ([newer, older], [older, newer]):
        roles = Roles([parse_flow(text) for text in flows])
        assert roles.role("order", "payment").joins == "shared"
        assert roles.role("order", "tracking").joins == "weak"
        assert roles.role("order", "parcel").joins == "shared"
        assert roles.role("order", "cart") == Role("", 20 * MINUTE)
        assert roles.role("order", "customer") == Role("", 0)
        assert roles.role("login", "payment") == Role("", 0)


def test_an_event_that_names_one_transaction_may_still_seek_another() -> None:
    basket = FLOW.replace("flow: one", "flow: two").replace("key: order", "key: cart")
    basket = basket.replace("cart: {once: 10m}, ", "").replace("payment: alias", "payment: {alias: shared}")
    roles = Roles([parse_flow(FLOW), parse_flow(basket)])
    assert roles.sought(["order", "payment"]) == ("payment",)
    assert roles.sought(["order", "cart", "payment"]) == ()
    assert roles.sought(["order", "payment", "tracking"]) == ("tracking",), "to the cart the payment is a shared one"
    assert roles.sought(["payment", "tracking", "batch"]) == ("payment", "tracking")


def test_anothers_own_alias_keeps_nobody_from_the_one_that_they_share() -> None:
    """The payment names a cart; orders know no payments and have the batch alone."""
    sharing = FLOW.replace("payment: alias, ", "").replace("tracking: alias, ", "")
    cart = FLOW.replace("flow: one", "flow: two").replace("key: order", "key: cart")
    cart = cart.replace("cart: {once: 10m}, ", "").replace("batch: {alias: shared}, ", "")
    assert Roles([parse_flow(sharing), parse_flow(cart)]).sought(["payment", "batch"]) == ("batch", "payment")
