"""What is asked side by side, and what is asked at once, says the same as one question after another; for every adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote_plus

import pytest
from clickhouse_connect.driver.binding import format_bind_value

from pipeline.store.contract import DisputeRow, FlipRow, KeyRow, Store, Transaction
from pipeline.store.memory import MemoryStore
from pipeline.store.reader import grouped
from pipeline.store.rows import said
from pipeline.store.whole import both, load_whole
from tests.contract.stores import T, event, served_folder, shared_store, store
from tests.contract.test_store import NASTY, flip, verdict

__all__ = ["served_folder", "shared_store", "store"]

MANY = [("order", f"{number}") for number in range(30)]


def fill(store: Store) -> list[Transaction]:
    """Everything is written twice, the later version first for some of it."""
    asked = [("order", name) for name in NASTY] + MANY
    for version in (1, 3, 2):
        store.write_verdicts([verdict(name, version=version, flip=version) for _, name in asked[::2]])
        store.write_flips([flip(version, "lost", T + version, name, version) for _, name in asked])
        store.write_flips([flip(9, "lost", T, name) for _, name in asked])
        store.write_keys([KeyRow("customer", "C", *one, T + version) for one in asked[1:]])
        store.write_events([event(f"e{version}", name) for _, name in asked[2:]])
        store.write_disputes(
            [DisputeRow(*one, "parcel", "p", "contested", version << 22, (f"{version}",)) for one in asked]
        )
    return [*asked, ("order", "nobody"), ("cart", "1")]


@pytest.mark.parametrize("most", [1, 5, 100])
def test_the_whole_is_its_parts(store: Store, most: int) -> None:
    asked = fill(store)[-most:]
    found = load_whole(store, asked, as_of=2_500)
    assert list(found) == asked
    verdicts, events, disputes = store.load_verdicts(asked), store.load_events(asked), store.load_disputes(asked, 2_500)
    for one, whole in found.items():
        assert (whole.rows, whole.disputes) == (verdicts[one], disputes[one])
        assert sorted(whole.events, key=lambda each: each.id) == sorted(events[one], key=lambda each: each.id)
        assert whole.keys == store.keys_of([one])
        assert whole.flips == store.flips(one)
        assert all(row.version == 3 for row in whole.rows)
        assert all(row.others == ("2",) for row in whole.disputes)


def test_what_was_written_and_never_said(store: Store) -> None:
    fill(store)
    unjudged, judged = ("order", "0"), ("order", "1")
    found = store.written_flips([unjudged, judged, ("order", "nobody")])
    assert [(row.number, row.version) for row in found[judged]] == [(1, 1), (2, 2), (3, 3), (9, 1)]
    assert found["order", "nobody"] == []
    by_verdict = {one: said(found[one], store.load_verdicts([one])[one]) for one in (unjudged, judged)}
    assert [row.number for row in by_verdict[judged]] == [1, 2, 3], "9 rides in no verdict"
    assert [row.number for row in by_verdict[unjudged]] == [1, 2, 3, 9]
    assert by_verdict == {one: store.flips(one) for one in by_verdict}


def test_several_values_at_once(store: Store) -> None:
    rows = [KeyRow(kind, value, "order", value, T) for kind in ("order", "mail") for value in (*NASTY, "1")]
    store.write_keys([row._replace(seen_at=T + 1) for row in rows])
    store.write_keys(rows)
    values = [*NASTY, "1", "1", "none"]
    assert store.find_any_keys(values) == sorted(rows)
    assert store.find_any_keys(values, "mail") == sorted(row for row in rows if row.key_type == "mail")
    assert store.find_any_keys([]) == []


def test_a_failure_of_one_question_is_told_once_all_have_ended() -> None:
    ended: list[str] = []

    def fail(name: str) -> None:
        ended.append(name)
        raise ValueError(name)

    for first, second in ((fail, ended.append), (ended.append, fail), (fail, fail)):
        ended.clear()
        with pytest.raises(ValueError, match="first" if first is fail else "second"):
            both(lambda: first("first"), lambda: second("second"))  # noqa: B023
        assert sorted(ended) == ["first", "second"]

    class Broken(MemoryStore):
        def written_flips(self, transactions: Sequence[Transaction]) -> Mapping[Transaction, list[FlipRow]]:
            raise ValueError(f"no flips of {len(transactions)}")

    with pytest.raises(ValueError, match="no flips"):
        load_whole(Broken(), MANY)


def test_portions_of_ids_fit_into_a_url() -> None:
    """128 KiB a value; plain ones go a thousand at a time, the worst ones fewer."""
    plain = [("order", f"2026-{number:07d}_a.b") for number in range(2_500)]
    assert [len(ids) for _, ids in grouped(plain)] == [1_000, 1_000, 500]
    for text in ("'" * 200, "\\" * 200, "☃" * 200, "\U0001f4a9" * 200, "a" * 199 + "'", "x" * 256):
        asked = [("order", f"{text}{number}") for number in range(1_000)]
        portions = [ids for _, ids in grouped(asked)]
        assert [("order", id_) for ids in portions for id_ in ids] == asked
        assert max(len(quote_plus(format_bind_value(ids))) for ids in portions) < 128 * 1024
