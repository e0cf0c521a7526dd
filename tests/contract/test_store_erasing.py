"""Finding and deleting all that is kept of a transaction or a person: one suite for every adapter."""

from __future__ import annotations

import re

import pytest

from pipeline.store.claims import links_going
from pipeline.store.contract import (
    DisputeRow,
    EventRow,
    FlipRow,
    KeyRow,
    LinkRow,
    ParkedRow,
    QuarantineRow,
    Store,
    VerdictRow,
)
from pipeline.store.erasing import naming_pattern, pattern_of, quarantined
from pipeline.store.retention import TombstoneRow
from pipeline.store.rows import home
from schemas.wire import Observed, decode, encode
from tests.contract.stores import T, event, served_folder, shared_store, store  # noqa: F401

ONE, OTHER = ("order", "1"), ("order", "2")


def kept(id_: str, alias: tuple[str, str], keys: dict[str, str], seq: int = 1, at: int = T) -> ParkedRow:
    said = Observed(
        id=id_, system="bank", step="paid", time=T, keys=keys, source="bank-1", epoch=2, seq=seq, recorded_at=T
    )
    return ParkedRow(f"{id_}|{alias[0]}:{alias[1]}", *alias, 0, said, encode([said]), at)


def bad(id_: str, payload: bytes, **more: object) -> QuarantineRow:
    return QuarantineRow(id_, T, "bad-1", 1, "not JSON", "", payload, **more)  # type: ignore[arg-type]


def test_tombstones_are_listed_by_kind_and_deleted_by_key(store: Store) -> None:  # noqa: F811
    rows = [TombstoneRow("order", name, kind, T, T + 1, T, 1) for name, kind in (("a", "expired"), ("b", "forgotten"))]
    store.write_tombstones([*rows, rows[0]._replace(version=2, ended_at=T + 5)])
    assert list(store.tombstones(["expired"])) == [rows[0]._replace(version=2, ended_at=T + 5)]
    assert {row.digest for row in store.tombstones(["expired", "forgotten"])} == {"a", "b"}
    store.delete_tombstones([("order", "a"), ("order", "zzz")])
    assert list(store.tombstones(["expired", "forgotten"])) == [rows[1]]


def test_running_numbers_of_a_transaction_once_each(store: Store) -> None:  # noqa: F811
    store.write_events(
        [event("a", seq=4), event("b", seq=5), event("b", seq=5, recorded_at=T + 9), event("c", seq=0, source="")]
    )
    store.write_events([event("x", order="2", seq=6)])
    assert store.numbers_of([ONE]) == [("", 7, 0), ("shop-1", 7, 4), ("shop-1", 7, 5)]
    assert store.numbers_of([ONE, OTHER]) == [("", 7, 0), ("shop-1", 7, 4), ("shop-1", 7, 5), ("shop-1", 7, 6)]


def test_rows_of_a_transaction_are_counted_by_table(store: Store) -> None:  # noqa: F811
    assert store.row_counts([ONE]) == {}
    store.write_events([event("a"), event("b", order="2")])
    store.write_keys([KeyRow("order", "1", *ONE, T), KeyRow("customer", "c", *ONE, T)])
    store.write_late([event("late")])
    assert store.row_counts([ONE]) == {"events": 1, "keys": 2, "late_events": 1}


def test_claims_are_found_by_transaction_and_deleted_by_alias(store: Store) -> None:  # noqa: F811
    rows = [LinkRow("payment", "p1", *one, "", 0, False, "claimed", 1) for one in (ONE, OTHER)]
    store.write_links([*rows, LinkRow("parcel", "x", *ONE, "", 0, True, "claimed", 1)])
    assert [row[:2] for row in store.links_to([ONE])] == [("parcel", "x"), ("payment", "p1")]
    store.delete_links([(("payment", "p1"), ONE)])
    assert store.load_links([("payment", "p1")])["payment", "p1"] == [rows[1]]
    assert [row[:2] for row in store.links_to([ONE])] == [("parcel", "x")]


def test_the_smallest_value_of_a_type_in_a_range(store: Store) -> None:  # noqa: F811
    values = ("h:k1:a", "h:k1:b", "h:k2:a", "h;", "H:k0:a", "größe")
    store.write_keys([KeyRow("mail", value, *ONE, T) for value in values])
    store.write_keys([KeyRow("phone", "h:k1:0", *ONE, T)])
    asked = [("h:", "h;"), ("h:k1:b", "h;"), ("h:k1;", "h;"), ("h:k2;", "h;"), ("g", "h"), ("", "I")]
    found = [store.key_from("mail", begin, end) for begin, end in asked]
    assert found == ["h:k1:a", "h:k1:b", "h:k2:a", "", "größe", "H:k0:a"]
    assert store.key_from("nothing", "", "z") == ""


def test_single_events_and_keys_go_and_the_rest_stays(store: Store) -> None:  # noqa: F811
    store.write_events([event("a"), event("b"), event("a", order="2")])
    store.write_late([event("a"), event("l")])
    store.write_keys([KeyRow("customer", "c", *one, T) for one in (ONE, OTHER)])
    store.delete_events([(ONE, "a"), (ONE, "nothing")])
    assert {one: [e.id for e in found] for one, found in store.load_events([ONE, OTHER]).items()} == {
        ONE: ["b"],
        OTHER: ["a"],
    }
    assert [row.event.id for row in store.late()] == ["l"]
    store.delete_keys([(("customer", "c"), ONE)])
    assert [row[2:4] for row in store.find_keys("c")] == [OTHER]
    assert store.keys_of([ONE]) == []


@pytest.mark.parametrize("value", ["VINET", 'Ottil"ies', "Größe", "a\\b", "50%", "o'clock"])
def test_kept_and_late_events_are_found_by_a_key_they_carry(store: Store, value: str) -> None:  # noqa: F811
    alias = ("payment", "p1")
    rows = [
        kept("a", alias, {"payment": "p1", "customer": value}),
        kept("b", alias, {"payment": "p1", "customer": value + "X"}),
    ]
    store.write_parked(rows)
    assert [row[:4] for row in store.kept_with([("customer", value)])] == [rows[0][:4]]
    assert store.kept_with([("payment", value)]) == []
    store.write_late([event("l", keys={"order": "1", "customer": value}), event("m", order="2")])
    assert store.late_with(("customer", value)) == [ONE]


SPELT = [
    ("M\\u00DCLLER", "MÜLLER"), ("A\\/B-77", "A/B-77"), ("joe\\u002Bx@y.example", "joe+x@y.example"), ("a\\\\b", "a\\b"),
    ("o\\u0027clock", "o'clock"), ("\\ud83d\\uDE00", "\U0001f600"), ("x\\\"y", 'x"y'), ("x\\u0022y", 'x"y'),
]  # fmt: skip


@pytest.mark.parametrize(("spelt", "value"), [*SPELT, ("\\u0056INET", "VINET")])
def test_however_a_producer_escapes_a_value_what_is_kept_or_late_is_found(store: Store, spelt: str, value: str) -> None:  # noqa: F811
    """.NET, Jackson and PHP escape more than JSON has to, and what is valid is stored as it came."""
    body = f'{{"id":"e","system":"b","step":"paid","time":{T},"keys":{{"payment":"P","customer":"{spelt}"}}}}'.encode()
    (said,), (line,), _ = decode(body, "app", 1)
    assert said.keys["customer"] == value
    store.write_parked([ParkedRow("r", "payment", "P", 0, said, line, T)])
    store.write_late([EventRow(*ONE, said, line)])
    assert [row.id for row in store.kept_with([("customer", value), ("order", "1")])] == ["r"]
    assert store.kept_with([("customer", value + "X"), ("payment", value)]) == []
    assert store.late_with(("customer", value)) == [ONE]


@pytest.mark.parametrize(("spelt", "value"), SPELT)
def test_however_a_producer_escapes_a_value_quarantined_bytes_are_found(store: Store, spelt: str, value: str) -> None:  # noqa: F811
    store.write_quarantine(
        [bad("t:0:1:0", f'{{"keys":{{"customer":"{spelt}"'.encode()), bad("t:0:2:0", b"x" + spelt.encode())]
    )
    assert [row.id for row in quarantined(store, pattern_of([value]))] == ["t:0:1:0"]
    assert [row.id for row in quarantined(store, pattern_of([value], after="customer"))] == ["t:0:1:0"]


@pytest.mark.parametrize("value", ["VINET", "1", "Größe", "a.b", "x-1", "(c)", "50%"])
def test_quarantined_bytes_are_found_by_a_value_that_stands_alone(store: Store, value: str) -> None:  # noqa: F811
    text = f'{{"customer": "{value}", '.encode()
    rows = [
        bad("t:0:1:0", text), bad("t:0:2:0", f"x{value}x".encode()), bad("t:0:3:0", b"nothing", key=f"customer:{value}".encode()),
        bad("t:0:4:0", b"\xff\xfe" + value.encode() + b"\xff", state="retried"),
    ]  # fmt: skip
    store.write_quarantine(rows)
    assert {row.id for row in store.quarantine_with(pattern_of([value, "another"]))} == {
        "t:0:1:0",
        "t:0:3:0",
        "t:0:4:0",
    }
    found = {row.id for row in store.quarantine_with(pattern_of([value], after="customer"))}
    assert found == {"t:0:1:0", "t:0:3:0"}
    several = f"{pattern_of(['nothing'])}|{pattern_of([value.upper(), value.lower()], after='customer', any_case=True)}"
    assert {row.id for row in store.quarantine_with(several)} == {"t:0:1:0", "t:0:3:0"}
    assert {row.id for row in quarantined(store, several)} == {"t:0:1:0", "t:0:3:0"}


def test_patterns_meet_other_spellings() -> None:
    assert re.search(pattern_of(["VINET"], any_case=True), '"vinet"')
    assert not re.search(pattern_of(["VINET"]), '"vinet"')
    assert re.search(pattern_of(["1234"], zeros=True), " 0001234,")
    assert not re.search(pattern_of(["1234"]), " 0001234,")
    assert re.search(pattern_of(["Größe"]), '"Gr\\u00f6\\u00dfe"')
    assert re.search(pattern_of(["Größe"], any_case=True), '"GR\\u00D6\\u00dfE"')
    assert re.search(pattern_of(["VINET"]), r'"note": "for\nVINET", "of": "\u0022VINET\u0022"')
    assert not re.search(pattern_of(["VINET"]), r'"\u0041\u0042CVINET"')
    assert re.search(naming_pattern("order", 'a"b'), r'"also claimed by order:a\"b"')
    assert re.search(naming_pattern("order", "1"), "also claimed by order:1.")
    assert not re.search(naming_pattern("order", "1"), "also claimed by order:12.")


def verdict(one: tuple[str, str], body: str, finding: str) -> VerdictRow:
    row = VerdictRow(*one, "order", 1, 0, 1 << 32, "unknown", True, T, T, 0, T)
    return row._replace(findings=(finding,), body=body, flip=1)


def test_others_name_it_no_more(store: Store) -> None:  # noqa: F811
    said = DisputeRow(*OTHER, "payment", "p", "contested", 1 << 30, ("order:1",))
    store.write_disputes(
        [said, said._replace(alias="q", others=("order:12",)), said._replace(alias="r", others=(), holders=(("1", T),))]
    )
    store.write_verdicts(
        [verdict(OTHER, '{"detail": "also order:1"}', "alias_conflict"), verdict(("order", "3"), '{"n": 1}', "slow")]
    )
    store.write_flips(
        [FlipRow(*OTHER, "order", 1, 1, T, "", "unknown", findings=("doubled",), body='{"others": ["1"]}')]
    )
    assert store.unname(ONE) == 4
    assert [row.alias for row in store.load_disputes([OTHER])[OTHER]] == ["q"]
    assert [row.body for rows in store.load_verdicts([OTHER, ("order", "3")]).values() for row in rows] == [
        "",
        '{"n": 1}',
    ]
    assert [row.body for row in store.flips(OTHER)] == [""]
    assert store.unname(ONE) == 0


def test_what_rests_on_an_event_with_its_name_says_so_no_more(store: Store) -> None:  # noqa: F811
    third = ("cart", "3")
    store.write_verdicts(
        [verdict(o, '{"evidence": [{"event_id": "shop/1/8"}]}', "duplicate")._replace(flip=2) for o in (OTHER, third)]
    )
    flip = FlipRow(*OTHER, "order", 1, 1, T, "", "unknown", findings=("duplicate",), body='{"event_id": "shop/1/8"}')
    store.write_flips([flip, flip._replace(number=2, body='{"event_id": "shop/12/8"}')])
    assert store.unname_in(ONE, [OTHER, ("order", "9")]) == 2
    bodies = {one: [row.body for row in rows] for one, rows in store.load_verdicts([OTHER, third]).items()}
    assert bodies == {OTHER: [""], third: ['{"evidence": [{"event_id": "shop/1/8"}]}']}
    assert [row.body for row in store.flips(OTHER)] == ["", '{"event_id": "shop/12/8"}']
    assert store.unname_in(ONE, [OTHER]) == store.unname_in(ONE, []) == 0


def test_what_is_given_up_is_accounted_for(store: Store) -> None:  # noqa: F811
    store.write_parked(
        [kept("a", ("payment", "p"), {"payment": "p"}, 3), kept("b", ("payment", "q"), {"payment": "q"}, 9, T + 50)]
    )
    assert store.account_kept(T + 10, T + 99) is True
    assert [(row.first, row.last) for row in store.numbers("bank-1", 2) if row.how == "expired"] == [(3, 3)]
    assert store.account_kept(T, T + 99) is False


def test_all_generations_of_a_number_live_where_the_number_lives(store: Store) -> None:  # noqa: F811
    numbers = [str(number) for number in range(40)]
    rows = [verdict(("order", f"{number}{suffix}"), "", "slow") for number in numbers for suffix in ("", "↻2")]
    store.write_verdicts(
        [*rows, *(row._replace(transaction_id=f"old{row[1]}", open=False, ended_at=T) for row in rows)]
    )
    for partition in range(4):
        mine = {number for number in numbers if home(("order", number), 4) == partition}
        assert 0 < len(mine) < len(numbers)
        assert {row.transaction_id for row in store.open_waits([partition], 4)} == mine | {
            f"{number}↻2" for number in mine
        }
        assert {row.transaction_id for row in store.open_verdicts([partition], 4)} == mine | {
            f"{number}↻2" for number in mine
        }
        ended = {row.transaction_id for row in store.expired_candidates([partition], 4, T + 1, 1_000)}
        assert {id.removesuffix("↻2") for id in ended if id.endswith("↻2")} == {
            id for id in ended if not id.endswith("↻2")
        }


def test_of_generations_of_a_number_the_claims_that_go_with_each(store: Store) -> None:  # noqa: F811
    first, second, other = ("order", "1"), ("order", "1↻2"), ("order", "2")
    carried = {first: ["p1", "both"], second: ["p2", "both"], other: ["p3"]}
    store.write_keys([KeyRow("order", one[1].partition("↻")[0], *one, T) for one in carried])
    store.write_keys([KeyRow("payment", alias, *one, T) for one, aliases in carried.items() for alias in aliases])
    names = [("p1", "1"), ("p2", "1"), ("both", "1"), ("said", "1"), ("p3", "2"), ("p1", "2")]
    store.write_links(
        [LinkRow("payment", alias, "order", number, "", 0, False, "claimed", 1) for alias, number in names]
    )

    def going(*gone: tuple[str, str]) -> list[list[str]]:
        return [[row.alias for row in rows] for rows in links_going(store, gone).values()]

    assert going(first, other) == [["p1"], ["p1", "p3"]]
    assert going(second) == [["p2"]]
    assert going(second, first) == [["both", "p1", "p2", "said"], []], "of both with either of them"
    assert going(("order", "none")) == [[]]
    assert going() == []
