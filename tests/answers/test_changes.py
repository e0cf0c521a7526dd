"""What changed between two flips, and why: in windows by hand, and end to end, when a late link brings what was missing."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from pipeline.answers import links
from pipeline.answers.changes import LAG, Change, Telling, changes, claimed_words, correction
from pipeline.answers.explain import MOST, explain
from pipeline.answers.judging import Bench
from pipeline.answers.lookup import Found, list_answers, list_rows, lookup
from pipeline.answers.words import Clock, Names
from pipeline.cli.lookup_view import show
from pipeline.cli.main import cli
from pipeline.cli.terminal import console
from pipeline.store.contract import DisputeRow, FlipRow, VerdictQuery
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.verdict import FindingKind, Status
from schemas.wire import Observed
from tests.answers.cases import BARE, NOW, VERDICTS
from tests.answers.cases import LANDSCAPE as WORDS
from tests.answers.test_explain import JARGON
from tests.answers.world import BEGIN, LANDSCAPE, ORDER, event
from tests.faults.site import Site
from tests.faults.stories import START, told

TELL = Telling(Names(ORDER, LANDSCAPE), Clock.of(BEGIN + DAY, LANDSCAPE))
PAID = "payment:PAY-1"


def flip(number: int, at: int, before: str, status: str, kind: str = "") -> FlipRow:
    place = {"drop_kind": kind, "drop_from": "placed", "drop_to": "paid"} if kind else {}
    return FlipRow("order", "17", "order", number, 1, at, before, status, **place)  # type: ignore[arg-type]


def came(id_: str, recorded_at: int, via: str = "", step: str = "paid", time: int = BEGIN) -> Observed:
    return event(id_, step, time, {"payment": "PAY-1"}, recorded_at=recorded_at, via=via)


FLIPS = [
    flip(1, BEGIN + HOUR, "in_progress", "stalled", "in_transit"),
    flip(2, BEGIN + 5 * HOUR, "stalled", "in_progress"),
    flip(3, BEGIN + 9 * HOUR, "in_progress", "completed"),
]


def arrivals(events: list[Observed], flips: list[FlipRow] = FLIPS) -> list[list[str]]:
    return [[one.id for one in change.arrived] for change in changes(flips, events, ())]


def test_what_came_between_two_flips_belongs_to_the_later() -> None:
    times = {"a": 0, "b": HOUR, "c": HOUR + 1, "d": 5 * HOUR, "e": 5 * HOUR + 1, "f": 20 * HOUR}
    assert arrivals([came(name, BEGIN + at) for name, at in times.items()]) == [["a", "b"], ["c", "d"], ["e"]]


def test_control_time_may_lag_behind_what_came() -> None:
    """But what came with nothing else for a reason is never taken from where it was in time."""
    late = came("late", BEGIN + 5 * HOUR + LAG)
    assert arrivals([late]) == [[], ["late"], ["late"]]
    assert arrivals([late, came("in time", BEGIN + 4 * HOUR)]) == [[], ["in time"], ["late"]]
    assert arrivals([came("later", BEGIN + 5 * HOUR + LAG + 1)]) == [[], [], ["later"]]


def test_of_several_said_at_once_what_came_is_told_with_the_last_that_turned() -> None:
    at = BEGIN + 5 * HOUR
    turns = [("stalled", "stalled"), ("stalled", "in_progress"), ("in_progress", "in_progress")]
    flips = [FLIPS[0], *(flip(number, at, *turn) for number, turn in enumerate(turns, 2))]
    assert arrivals([came("a", BEGIN + 2 * HOUR)], flips) == [[], [], ["a"], []]


def test_nothing_came_before_what_was_said_first() -> None:
    first = flip(1, BEGIN, "", "in_progress")
    assert changes([first], [came("a", BEGIN - 1)], ()) == (Change(first),)
    assert TELL.change(Change(first)) == "in progress"


def test_a_change_in_words() -> None:
    stalled, recovered, _ = changes(
        FLIPS, [came("a", BEGIN + 2 * HOUR, PAID), came("b", BEGIN + 2 * HOUR, step="shipped")], ()
    )
    assert TELL.change(stalled) == "in progress → stalled on the way to “paid”: nothing more had come"
    assert TELL.change(recovered) == (
        "stalled → in progress: “paid” came, known by payment reference PAY-1; “shipped” came"
    )
    shared = Change(FLIPS[1], (came("a", BEGIN, f"~batch:B1\n{PAID}"),))
    assert "known by batch B1 (which others share) and payment reference PAY-1" in TELL.change(shared)
    many = Change(
        FLIPS[1], tuple(came(str(number), BEGIN, step=step) for number, step in enumerate(("opened", "paid") * 3))
    )
    assert TELL.why(many) == "“opened” and “paid” came"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("contested", "came to be claimed by another, too"), ("foreign", "turned out to be another's"),
        ("clear", "is no longer contested"), ("void", "came to be claimed by several"),
    ],
)  # fmt: skip
def test_what_became_of_a_claim_is_told_where_it_was_said(state: str, said: str) -> None:
    row = DisputeRow("order", "17", "payment", "PAY-1", state, (BEGIN + 4 * HOUR) // 1_000 << 22)
    found = changes(FLIPS, [], [row])
    assert [len(change.settled) for change in found] == [0, 1, 0]
    assert TELL.why(found[1]) == f"payment reference PAY-1 {said}"


def test_who_else_claims_a_number_or_is_just_like_it() -> None:
    row = DisputeRow("order", "17", "payment", "PAY-1", "contested", 1, ("order:18", "order:19"))
    assert claimed_words(row, TELL) == "payment reference PAY-1 is also claimed by order 18 and order 19"
    twins = DisputeRow("order", "17", "cart", "C1", "clear", 1, (), tuple((str(n), BEGIN) for n in range(18, 23)))
    assert claimed_words(twins, TELL).startswith("the same cart has order 18 of 2026-03-08 00:00, order 19 of")
    assert claimed_words(twins, TELL).endswith("and 2 others")
    assert claimed_words(row._replace(state="clear"), TELL) == ""


def test_a_correction_is_told_to_the_agent_and_only_while_it_is_the_last_word() -> None:
    found = changes(FLIPS[:2], [came("a", BEGIN + 2 * HOUR, PAID)], ())
    assert correction(found, TELL) == (
        "until yesterday at 06:00 we took it for stuck; then “paid” came, known by payment reference PAY-1"
    )
    assert correction(changes(FLIPS, [], ()), TELL) == ""
    assert correction(changes(FLIPS[:1], [], ()), TELL) == ""
    hidden = Telling(TELL.names, TELL.clock, plain=True)
    other = changes(FLIPS[:2], [came("a", BEGIN + 2 * HOUR, "trace:T1")], ())
    assert correction(other, hidden).endswith("“paid” came, known by another number")


@pytest.mark.parametrize("name", VERDICTS)
def test_with_a_correction_it_is_still_plain_and_short(name: str) -> None:
    stalled, recovered = changes(FLIPS[:2], [came("a", BEGIN + 2 * HOUR, PAID)], ())
    changed = correction([stalled, recovered], Telling(Names(BARE, WORDS), Clock.of(NOW, WORDS), plain=True))
    said = explain(VERDICTS[name], BARE, WORDS, transaction_id="1", now=NOW, changed=changed)
    assert len(said.sentences) <= MOST
    words = set(re.findall(r"[\w-]+", said.text.lower()))
    assert not words & {word.lower() for word in JARGON}, said.text


# End to end


class Shop:
    """Order x was placed, and its payment is known by its own number only; everybody was heard long past the deadline."""

    def __init__(self) -> None:
        self.site = Site(2)
        (self.placed,) = told("order", "x", "placed 0m", {})
        (paid,) = told("order", "x", "paid 5m", {})
        self.paid = {**paid, "id": "paid/P9", "keys": {"payment": "P9"}}
        self.site.time = START + 10 * MINUTE
        self.site.send([self.placed, self.paid])
        self.site.hear(START + 20 * MINUTE)
        self.work()

    def work(self) -> None:
        worker = self.site.worker()
        worker.drain()
        worker.close()

    def claim(self, order: str, minutes: int) -> None:
        """A late event that names the order and the payment."""
        (placed,) = told("order", order, "placed 1m", {})
        self.site.time = START + minutes * MINUTE
        keys = {"order": order, "payment": "P9"}
        self.site.send([{**placed, "id": f"link/{order}", "step": "invoiced", "keys": keys}])
        self.site.hear(START + (minutes + 1) * MINUTE)
        self.work()

    def decide(self, order: str, minutes: int, *, accept: bool) -> None:
        self.site.time = START + minutes * MINUTE
        self.site.produce([links.decide(self.bench, ("payment", "P9"), ("order", order), accept=accept, by="kim")])
        self.site.hear(START + (minutes + 1) * MINUTE)
        self.work()

    @property
    def bench(self) -> Bench:
        return Bench(self.site.store, self.site.flows, self.site.landscape, self.site.clock)

    def look(self, value: str = "x", as_of: int = 0) -> Found:
        (found,), _ = lookup(self.bench, value, "order", as_of)
        return found

    def page(self, value: str = "x") -> str:
        runner = CliRunner()
        with runner.isolation(env={"COLUMNS": "400"}) as (out, *_), cli.make_context("lastseen", ["list"]):
            show(console(), [self.look(value)], self.site.landscape, value, 1, self.site.time)
        return str(out.getvalue().decode())


def test_a_late_link_corrects_the_verdict_and_says_what_changed() -> None:
    shop = Shop()
    before = shop.look()
    assert before.verdict.status == Status.STALLED
    shop.claim("x", 22)
    found = shop.look()
    assert found.verdict.status == Status.IN_PROGRESS
    stalled, noted, recovered = found.answer.history[-3:]
    assert stalled.says == "in progress → stalled on the way to “payment”: “order” came, and nothing more"
    assert noted.says == "still stalled on the way to “payment”, and unexpected"
    assert (recovered.before, recovered.status) == ("stalled", "in_progress")
    assert {(one.event_id, one.known_by) for one in recovered.arrived} == {("link/x", ()), ("paid/P9", ("payment:P9",))}
    assert "came, known by payment reference P9" in recovered.says
    assert any("we took it for stuck; then" in sentence for sentence in found.explanation.sentences)
    assert [(one.step, one.known_by) for one in found.answer.path] == [("placed", ()), ("paid", ("payment:P9",))]
    page = shop.page()
    assert "done, known by payment reference P9" in page
    assert "stalled → in progress: “invoiced” came; “payment” came, known by payment reference P9" in page
    (listed,) = list_answers(shop.bench, list_rows(shop.bench, VerdictQuery()))
    assert "history" not in listed.data()
    assert [one["step"] for one in listed.data()["path"] if one["known_by"]] == ["paid"]


def test_a_contested_number_says_who_else_claims_it_and_a_word_settles_it() -> None:
    shop = Shop()
    shop.claim("x", 22)
    shop.claim("y", 25)
    found = shop.look()
    assert found.verdict.status == Status.UNKNOWN
    assert FindingKind.ALIAS_CONFLICT in {finding.kind for finding in found.verdict.findings}
    assert [(one.alias, one.state, one.others) for one in found.answer.claims] == [
        ("payment:P9", "contested", ("order:y",))
    ]
    assert [one.known_by for one in found.answer.evidence if one.event_id == "paid/P9"] == [("payment:P9",)]
    page = shop.page()
    assert "from app, known by payment reference P9: paid/P9" in page
    assert "payment reference P9 is also claimed by order y" in page
    assert "whose is it? lastseen link payment:P9 order:x --accept, or --break where it is not" in page
    assert "payment reference P9 came to be claimed by another, too" in found.answer.history[-1].says
    shop.decide("x", 28, accept=True)
    found = shop.look()
    assert found.verdict.status == Status.IN_PROGRESS
    assert found.answer.claims == ()
    assert "payment reference P9 is no longer contested" in found.answer.history[-1].says
    other = shop.look("y")
    assert [(one.alias, one.state) for one in other.answer.claims] == [("payment:P9", "foreign")]
    assert "payment reference P9 turned out to be another's" in shop.page("y")
    then = shop.look(as_of=START + 27 * MINUTE)
    assert then.verdict.status == Status.UNKNOWN, "as it was known then"
    assert [one.state for one in then.answer.claims] == ["contested"]


def test_what_is_anothers_is_parted_again() -> None:
    shop = Shop()
    shop.claim("x", 22)
    shop.decide("x", 26, accept=False)
    found = shop.look()
    assert found.verdict.status == Status.STALLED
    assert "paid" not in {hop.step for hop in found.verdict.hops}
    assert "payment reference P9 turned out to be another's" in found.answer.history[-1].says
    assert found.answer.history[-1].at >= START + 26 * MINUTE - SECOND
