"""The audit over rows written by hand: what each number counts as, what is claimed and what is not, periods, bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.answers.audit import Balance, Gap, audit, data, flat
from pipeline.errors import Invalid
from pipeline.store import MemoryStore
from pipeline.store.accounts import AccountRow, NumberRange
from pipeline.store.contract import EventRow, QuarantineRow, SourceRow
from schemas import wire
from schemas.times import HOUR, SECOND
from tests.faults.stories import START

T = START


def stored(*numbers_: int, source: str = "shop-1", epoch: int = T, at: int = T) -> list[EventRow]:
    found = []
    for number in numbers_:
        event = wire.Observed(
            id=f"{source}/{number}", system="shop", step="placed", time=at + number, keys={"order": "1"}, source=source,
            epoch=epoch, seq=number, recorded_at=at + number * SECOND,
        )  # fmt: skip
        found.append(EventRow("order", "1", event, wire.encode([event])))
    return found


def row(source: str = "shop-1", epoch: int = T, **more: object) -> SourceRow:
    made = SourceRow(
        source, epoch, ("shop",), "live", epoch, epoch, epoch, epoch, SECOND, 0, 0, 0, epoch, numbered=True
    )
    return made._replace(**more)  # type: ignore[arg-type]


def only(store: MemoryStore, **asked: Any) -> Balance:
    (one,) = audit(store, **asked).epochs
    return one


# By hand


def test_each_number_counts_once_by_what_became_of_it() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=20, sent=22, shed=5, shed_ranges=((15, 18), (22, 22)))])
    store.write_events(stored(1, 2, 3, 8, 21))
    store.write_quarantine([QuarantineRow("q", T, "shop-1", T, "bad", "", b"", numbers=(3, 4, 5))])
    accounts = [("repeated", 5, 6), ("expired", 1, 7), ("forgotten", 7, 9), ("expired", 20, 99)]
    store.write_accounts([AccountRow("shop-1", T, first, last, how, T) for how, first, last in accounts])
    one = only(store)
    assert one.found == {"stored": 4, "repeated": 2, "expired": 3, "forgotten": 1, "quarantined": 0, "shed": 4}
    assert (one.missing, one.in_flight, one.result) == (6, 2, "missing")
    assert [(gap.first, gap.last) for gap in one.gaps] == [(10, 14), (19, 19)]
    assert sum(one.found.values()) + one.missing == one.owed


def test_a_gap_says_between_which_times_it_lies() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=9, sent=9)])
    store.write_events(stored(3, 4, 8))
    store.write_quarantine([QuarantineRow("q", T + 60 * SECOND, "shop-1", T, "bad", "", b"", numbers=(6,))])
    assert only(store).gaps == (
        Gap(1, 2, None, T + 3 * SECOND),
        Gap(5, 5, T + 4 * SECOND, T + 60 * SECOND),
        Gap(7, 7, T + 60 * SECOND, T + 8 * SECOND),
        Gap(9, 9, T + 8 * SECOND, None),
    )


def test_numbers_after_the_last_settled_marker_are_in_flight() -> None:
    store = MemoryStore()
    store.write_sources(
        [row(owed=3, sent=9), row("new", owed=0, sent=4), row("idle"), row("dead", owed=2, sent=2, state="silent")]
    )
    store.write_events([*stored(1, 2, 3, 7), *stored(1, 2, 5, 6, source="dead")])
    found = {one.source: (one.result, one.in_flight, one.beyond) for one in audit(store).epochs}
    assert found == {
        "shop-1": ("balanced", 6, 0),
        "new": ("pending", 4, 0),
        "idle": ("balanced", 0, 0),
        "dead": ("balanced", 0, 2),
    }


def test_a_source_without_numbers_is_never_balanced() -> None:
    store = MemoryStore()
    (numbered,) = stored(1, source="old", epoch=5)
    numbered.event.seq = 0
    store.write_events([numbered._replace(body=wire.encode([numbered.event]))])
    store.write_quarantine([QuarantineRow("q", T, "old", 5, "bad", "", b"")])
    store.write_sources([row("old", 5, owed=7, sent=7, numbered=False)])
    one = only(store)
    assert (one.result, one.unnumbered, one.sent, one.missing) == ("not_numbered", (1, 1), 7, 0)
    assert data(audit(store))["balanced"] is False


def test_a_source_that_says_how_many_and_of_which_nothing_came() -> None:
    store = MemoryStore()
    store.write_sources([row("old", 5, owed=7, sent=7, numbered=False)])
    assert (only(store).result, only(store).gaps) == ("missing", (Gap(1, 7),))


def test_whether_a_source_numbers_is_no_matter_of_the_period() -> None:
    """It was there, and sent nothing; what it sent before has no numbers."""
    store = MemoryStore()
    (one,) = stored(1, source="old")
    one.event.seq = 0
    store.write_events([one._replace(body=wire.encode([one.event]))])
    store.write_sources([row("old", owed=1, sent=1, last_record_at=T + 9 * HOUR, numbered=False)])
    for period, there in (({}, 1), ({"begin": T + 5 * HOUR}, 0), ({"begin": T, "end": T + HOUR}, 1)):
        found = only(store, **period)
        assert (found.result, found.missing, found.unnumbered) == ("not_numbered", 0, (there, 0))


def test_whether_a_source_numbers_is_known_of_what_is_deleted() -> None:
    store = MemoryStore()
    store.write_accounts([AccountRow("old", T, 0, 0, "expired", T), AccountRow("shop-1", T, 0, 2, "expired", T)])
    store.write_accounts([AccountRow("", 0, 0, 0, "forgotten", T)])
    store.write_sources([row("old", owed=7, sent=7, numbered=False), row(owed=3, sent=3)])
    first, second = audit(store).epochs
    assert (first.source, first.missing, first.found["expired"]) == ("shop-1", 1, 2)
    assert (second.source, second.result, second.missing, second.beyond) == ("old", "not_numbered", 0, 0)


def test_numbers_that_no_marker_vouches_for() -> None:
    """An import that was killed: no hello, no goodbye."""
    store = MemoryStore()
    store.write_events(stored(1, 2, 9))
    assert (only(store).result, only(store).beyond, only(store).missing) == ("not_vouched", 3, 0)


def test_what_nobody_vouches_for_was_there_until_its_last_record() -> None:
    store = MemoryStore()
    store.write_events(stored(1, 2, 9))
    store.write_quarantine([QuarantineRow("q", T + HOUR, "shop-1", T, "bad", "", b"", numbers=(4,))])
    # Of what is deleted the time is not known: it was there when it began.
    store.write_accounts([AccountRow("gone", T, 1, 5, "expired", T)])
    store.write_events(stored(1, source="early"))
    assert {one.source for one in audit(store, T + HOUR).epochs} == {"shop-1"}
    assert {one.source for one in audit(store, T).epochs} == {"shop-1", "gone", "early"}
    assert audit(store, T + HOUR + 1).epochs == ()
    assert {one.source for one in audit(store).epochs} == {"shop-1", "gone", "early"}
    assert audit(store, T + HOUR + 1, source="gone").epochs == ()


def test_what_was_shed_and_could_not_be_told_is_not_called_missing() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=10, sent=10, shed=4, shed_ranges=((2, 3),))])
    store.write_events(stored(1, 4, 5, 6, 8, 10))
    one = only(store)
    assert (one.result, one.found["shed"], one.untold, one.gaps) == ("balanced", 4, 2, ())
    store.write_sources([row(owed=11, sent=11, shed=4, shed_ranges=((2, 3),), position=1)])
    one = only(store)
    assert (one.result, one.missing, one.untold) == ("missing", 1, 2)
    assert [gap[:2] for gap in one.gaps] == [(7, 7), (9, 9), (11, 11)]


def test_a_period_chooses_epochs_that_were_alive_in_it() -> None:
    store = MemoryStore()
    for number, (name, begin, end, state) in enumerate(
        [("a", 0, 2, "closed"), ("b", 1, 5, "gone"), ("c", 6, 7, "live"), ("d", 8, 9, "open")]
    ):
        told = {"owed": 1, "sent": 1, "last_record_at": T + end * HOUR, "state": state, "position": number}
        store.write_sources([row(name, T + begin * HOUR, **told)])
        store.write_events(stored(1, source=name, epoch=T + begin * HOUR))
    # An import vouches from the beginning of time; it lived when it ran.
    store.write_sources([row("import", T + 3 * HOUR, since=0, last_record_at=T + 3 * HOUR, state="closed")])

    def alive(begin: int, end: int) -> str:
        found = audit(store, T + begin * HOUR if begin else 0, T + end * HOUR if end else 0)
        return "".join(sorted(one.source[0] for one in found.epochs))

    assert alive(0, 0) == "abcdi"
    assert alive(3, 0) == "bcdi"
    assert alive(3, 4) == "bi"
    assert alive(6, 0) == "cd"
    assert alive(10, 0) == "c"  # it lives
    assert alive(0, 1) == "a"


def test_one_source() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=1, sent=1), row("other", owed=1, sent=1)])
    assert only(store, source="other").source == "other"
    with pytest.raises(Invalid, match="no source 'x'; there are other, shop-1"):
        audit(store, source="x")
    assert audit(MemoryStore()).epochs == ()


def test_a_row_on_its_way_to_another_table_is_not_missing() -> None:
    """Released from an alias, or deleted by retention, between two reads."""

    class Moving(MemoryStore):
        looks = 0

        def numbers(self, source: str = "", epoch: int = -1) -> Any:
            self.looks += 1
            hidden = 2 if self.looks == 1 else 3
            return iter([NumberRange("shop-1", T, "stored", n, n) for n in (1, 2, 3) if n != hidden])

    store = Moving()
    store.write_sources([row(owed=4, sent=4)])
    one = only(store)
    assert [gap[:2] for gap in one.gaps] == [(4, 4)]


@pytest.mark.parametrize(("sent", "owed", "balanced"), [(0, 0, True), (2, 2, True), (5, 2, True), (5, 0, False)])
def test_all_is_balanced_only_where_each_boot_is(sent: int, owed: int, balanced: bool) -> None:
    store = MemoryStore()
    assert data(audit(store))["balanced"] is True
    store.write_sources([row(owed=owed, sent=sent), row("other", owed=1, sent=1)])
    store.write_events([*stored(1, 2), *stored(1, source="other")] if sent else stored(1, source="other"))
    assert (data(audit(store))["balanced"], data(audit(store))["missing"]) == (balanced, 0)
    store.write_events(stored(1, source="import"))
    assert (data(audit(store))["balanced"], data(audit(store))["missing"]) == (False, 0)


def test_what_is_listed_is_bound_and_what_is_counted_is_not() -> None:
    store = MemoryStore()
    store.write_sources([row(owed=1_000, sent=1_000)])
    store.write_events(stored(*range(2, 1_001, 2)))
    one = only(store)
    assert (one.missing, len(one.gaps), one.more_gaps) == (500, 100, 400)
    assert flat(one)["missing_ranges"].endswith("197;199;…")
    plain = json.loads(json.dumps(data(audit(store))))
    assert (plain["balanced"], plain["missing"], plain["epochs"][0]["more_missing_ranges"]) == (False, 500, 400)
    assert plain["epochs"][0]["missing_ranges"][1]["first"] == 3
