"""The score: it is a hundred per cent only where every word agrees."""

from __future__ import annotations

import pytest

from pipeline.simulate.score import score
from pipeline.simulate.truth import Place, Truth
from pipeline.store.contract import VerdictRow
from pipeline.store.memory import MemoryStore
from schemas.verdict import VERDICT, Drop, DropKind, Finding, FindingKind, Status, Verdict

NAME = ("order", "order", "248117")
PLACE = Place(Status.LOST, DropKind.BETWEEN, "paid", "picked")
LATE = (FindingKind.LATE, "paid")
TRUTH = Truth(NAME, "never_picked", True, False, Status.LOST, frozenset([PLACE]), frozenset([LATE]))
FINE = Truth(NAME, "", True, False, Status.COMPLETED)


def _row(
    status: Status, drops: tuple[Place, ...] = (), findings: tuple[tuple[FindingKind, str], ...] = ()
) -> VerdictRow:
    verdict = Verdict(
        flow="order", version=3, status=status, started_at=1, last_at=2,
        drops=tuple(
            Drop(d.status, d.kind, d.from_step, "x", d.to_step, "y", 1, 2, instance=d.instance, missing=d.missing) for d in drops
        ),
        findings=tuple(Finding(kind, step) for kind, step in findings),
    )  # fmt: skip
    return VerdictRow(
        "order", NAME[2], "order", 3, 0, 1, status.value, True, 1, 2, 0, 3,
        drop_kind=drops[0].kind.value if drops else "", drop_from=drops[0].from_step if drops else "",
        drop_to=drops[0].to_step if drops else "", findings=tuple(kind.value for kind, _ in findings),
        body=VERDICT.dump_json(verdict).decode() if drops or findings else "",
    )  # fmt: skip


def _store(*rows: VerdictRow) -> MemoryStore:
    store = MemoryStore()
    store.write_verdicts(rows)
    return store


def test_what_agrees_in_every_word_is_a_hundred_per_cent() -> None:
    result = score(_store(_row(Status.LOST, (PLACE,), (LATE,))), [TRUTH])
    assert result.perfect
    assert (result.missing.precision, result.missing.recall, result.findings.recall) == (1, 1, 1)
    assert result.stories == {("order", "never_picked"): [1, 1]}


@pytest.mark.parametrize(
    ("told", "precision", "recall"),
    [
        (_row(Status.LOST, (PLACE._replace(to_step="confirmed"),), (LATE,)), 0, 0),
        (_row(Status.STALLED, (PLACE._replace(status=Status.STALLED),), (LATE,)), 0, 0),
        (_row(Status.COMPLETED, (), (LATE,)), 1, 0),
        (_row(Status.LOST, (PLACE,)), 1, 1),
        (_row(Status.LOST, (PLACE, Place(Status.UNKNOWN, DropKind.BETWEEN, "paid", "confirmed")), (LATE,)), 1, 1),
    ],
    ids=["another place", "another status", "overlooked", "a finding less", "a drop more"],
)
def test_what_differs_in_one_word_is_named(told: VerdictRow, precision: float, recall: float) -> None:
    result = score(_store(told), [TRUTH])
    assert not result.perfect
    assert (result.missing.precision, result.missing.recall) == (precision, recall)
    assert "never_picked" in str(result.mismatches[0])


def test_a_false_alarm_costs_precision_and_what_nobody_judged_costs_recall() -> None:
    assert score(_store(_row(Status.LOST, (PLACE,))), [FINE]).missing.precision == 0
    assert score(_store(), [TRUTH]).missing.recall == 0
    stranger = score(_store(_row(Status.LOST, (PLACE,))), [])
    assert (stranger.perfect, stranger.missing.precision) == (False, 0)


def test_what_nobody_heard_of_must_not_be_known() -> None:
    unheard = Truth(NAME, "", False, False, Status.CLOSED)
    assert score(_store(), [unheard]).perfect
    assert not score(_store(_row(Status.COMPLETED)), [unheard]).perfect
