"""Correlation as pure functions, from the side of an event: the ways by which it came, which of them lead, what it claims."""

from __future__ import annotations

from pipeline.core.correlate import (
    CLAIMED,
    CLEAR,
    CONTESTED,
    FOREIGN,
    MAX_PATH,
    VOID,
    Claim,
    Known,
    active,
    alias_of,
    claims_of,
    contested,
    leads,
    path_of,
    way_of,
    ways,
)
from tests.core.test_correlate import ALIAS, ROLES

# Ways -------------------------------------------------------------------------------------------------------------------


def test_a_way_lists_the_aliases_from_the_transactions_own_to_the_last() -> None:
    first = way_of("", ALIAS, shared=False)
    second = way_of(first, ("batch", "B"), shared=True)
    third = way_of(second, ("tracking", "X"), shared=True)
    assert (first, second, third) == ("payment:P", "~payment:P\tbatch:B", "~payment:P\tbatch:B\ttracking:X")
    assert path_of(third) == ("payment:P", "batch:B", "tracking:X")
    assert path_of("") == ()
    assert alias_of(third) == "tracking:X"
    assert alias_of(first) == "payment:P"
    assert ways("") == ()
    assert ways("payment:P\n~batch:B") == ("payment:P", "~batch:B")


def test_which_ways_lead_by_what_is_known() -> None:
    via = "payment:P\n~batch:B"
    keys = {"payment": "P", "batch": "B"}
    assert leads(keys, via, {}) == ("payment:P", "~batch:B")
    assert leads(keys, via, {"payment:P": Known(VOID, "")}) == ("~batch:B",)
    assert leads(keys, via, {"payment:P": Known(CONTESTED, "")}) == ("payment:P", "~batch:B")
    assert leads(keys, via, {"payment:P": Known(FOREIGN, "")}) == (), (
        "a shared way does not lead to what is another's own"
    )
    assert leads(keys, via, {"batch:B": Known(FOREIGN, "")}) == ("payment:P",)
    assert leads(keys, via, {"payment:P": Known(CLEAR, "tracking:X\tpayment:P")}) == ("~batch:B",), "not by this way"
    assert leads(keys, via, {"payment:P": Known(CLEAR, "payment:P")}) == ("payment:P", "~batch:B")
    assert active(keys, "", {"payment:P": Known(FOREIGN, "")}), "what names the transaction is its own"
    assert not active(keys, via, {"payment:P": Known(FOREIGN, "")})
    assert active(keys, via, {"payment:P": Known(VOID, "")})


def test_because_of_what_it_is_uncertain() -> None:
    keys = {"payment": "P", "tracking": "X", "batch": "B"}
    doubt = {"payment:P": Known(CONTESTED, ""), "tracking:X": Known(CONTESTED, "")}
    assert contested(keys, "", doubt) == ""
    assert contested(keys, "payment:P", {}) == ""
    assert contested(keys, "payment:P", doubt) == "payment:P"
    assert contested(keys, "tracking:X\npayment:P", doubt) == "payment:P", "the same, whichever way it came first"
    assert contested(keys, "payment:P\ntracking:X", doubt) == "payment:P"
    assert contested(keys, "payment:P\nlabel:L", doubt) == "", "one certain way is enough"
    assert contested(keys, "~batch:B", doubt) == "payment:P", "a shared way makes nothing certain that is contested"
    assert contested({"batch": "B"}, "~batch:B", doubt) == ""
    assert contested(keys, "payment:P\n~batch:B", {"payment:P": Known(FOREIGN, ""), **doubt}) == "payment:P"


# What an event claims ---------------------------------------------------------------------------------------------------

T = 1_760_000_000_000_000


def claimed(keys: dict[str, str], via: str = "", disputes: dict[str, Known] | None = None) -> set[str]:
    """``alias by state``, with ``~`` where shared."""
    found = claims_of("order", ROLES, keys, via, T, disputes or {})
    return {f"{'~' if one.shared else ''}{':'.join(one.alias)} {one.by or '-'} {one.state}" for one in found}


def test_what_names_the_transaction_claims_all_its_aliases() -> None:
    keys = {"order": "a", "payment": "P", "parcel": "S", "trace": "t", "cart": "K", "customer": "me", "unknown": "u"}
    assert claimed(keys) == {"payment:P - claimed", "~parcel:S - claimed", "trace:t - claimed", "cart:K - claimed"}
    assert claims_of("cart", ROLES, keys, "", T, {}) == []
    assert claims_of("order", ROLES, {"order": "a", "customer": "me"}, "", T, {}) == []


def test_only_a_once_key_says_when() -> None:
    found = claims_of("order", ROLES, {"order": "a", "payment": "P", "cart": "K"}, "", T, {})
    assert {one.alias[0]: one.at for one in found} == {"payment": 0, "cart": T}
    found = claims_of("order", ROLES, {"payment": "P", "cart": "K"}, "payment:P", T, {})
    assert found == [Claim(("cart", "K"), "payment:P", False, CLAIMED, T)]


def test_an_event_does_not_claim_the_aliases_by_which_it_came() -> None:
    keys = {"payment": "P", "tracking": "X"}
    assert claimed(keys, "payment:P") == {"tracking:X payment:P claimed"}
    assert claimed(keys, "payment:P\ttracking:X") == set(), "nor any on its way"
    assert claimed(keys, "payment:P\ntracking:X") == {"tracking:X payment:P claimed", "payment:P tracking:X claimed"}


def test_what_came_by_a_weak_alias_claims_nothing() -> None:
    assert claimed({"trace": "t", "payment": "P"}, "trace:t") == set()
    assert claimed({"trace": "t", "payment": "P"}, "payment:P") == {"trace:t payment:P claimed"}
    assert claimed({"trace": "t", "payment": "P", "tracking": "X"}, "trace:t\npayment:P") == {
        "trace:t payment:P claimed", "tracking:X payment:P claimed",
    }  # fmt: skip


def test_what_was_reached_through_a_shared_one_is_shared() -> None:
    keys = {"batch": "B", "payment": "P"}
    assert claimed(keys, "~batch:B") == {"~payment:P ~batch:B claimed"}
    assert claimed(keys, "payment:P") == {"~batch:B payment:P claimed"}


def test_what_came_by_what_is_anothers_withdraws() -> None:
    keys = {"tracking": "X", "payment": "P"}
    assert claimed(keys, "tracking:X", {"tracking:X": Known(FOREIGN, "")}) == {"payment:P tracking:X withdrawn"}
    assert claimed(keys, "tracking:X", {"tracking:X": Known(VOID, "")}) == {"payment:P tracking:X withdrawn"}
    assert claimed(keys, "tracking:X", {"tracking:X": Known(CONTESTED, "")}) == {"payment:P tracking:X claimed"}
    assert claimed({"order": "a", **keys}, "", {"payment:P": Known(FOREIGN, "")}) == {
        "payment:P - claimed", "tracking:X - claimed",
    }, "its own word stands"  # fmt: skip


def test_a_way_has_an_end() -> None:
    long = "\t".join(f"tracking:{number}" for number in range(MAX_PATH))
    short = long.rpartition("\t")[0]
    assert claimed({"payment": "P"}, long) == set()
    assert len(claimed({"payment": "P"}, short)) == 1
