"""The report counts once, says the same in three forms, ends its day in the landscape's zone, and is inert."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import pytest

from pipeline.answers.inert import as_csv, as_json, cell, inert
from pipeline.answers.judging import Bench
from pipeline.answers.report import build
from pipeline.answers.report_numbers import Report
from pipeline.answers.report_render import RENDER, as_csv_text, as_html, as_json_text, file_name, report_data, write
from pipeline.errors import Invalid
from pipeline.store import MemoryStore
from pipeline.store.contract import Store
from schemas.times import DAY, HOUR, MINUTE, SECOND
from schemas.verdict import Status, Verdict
from tests.answers.world import (
    BEGIN,
    DAY_D,
    END,
    FLOWS,
    LANDSCAPE,
    NOW,
    done,
    missing,
    quarantined,
    write_flip,
    write_hearing,
    write_verdict,
)

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def bench() -> Bench:
    return Bench(MemoryStore(), FLOWS, LANDSCAPE, lambda: NOW)


def order(bench: Bench, id_: str, status: Status, since: int, due: int, **more: object) -> None:
    write_verdict(bench.store, "order", id_, missing(status, since, due, **more))


def ids(report: Report) -> list[str]:
    return [entry.transaction_id for entry in report.missing]


def test_the_day_ends_in_the_landscapes_zone(bench: Bench) -> None:
    order(bench, "last", Status.LOST, END - 2, END - 1)
    order(bench, "due tomorrow", Status.STALLED, END - HOUR, END + 1)
    order(bench, "began tomorrow", Status.LOST, END, END)
    order(bench, "failed at the end", Status.FAILED, END - 1, END + HOUR)
    made = build(bench, DAY_D)
    assert (made.begin, made.end, made.zone) == (BEGIN, END, "America/New_York")
    assert END - BEGIN == 23 * HOUR
    assert ids(made) == ["last", "failed at the end"]
    assert "due tomorrow" in ids(build(bench, "2026-03-09"))


def test_yesterday_is_the_default_and_nonsense_is_refused(bench: Bench) -> None:
    assert build(bench).day == DAY_D
    for day in ("2026-02-30", "yesterday", "0001-01-01", "../../x"):
        with pytest.raises(Invalid):
            build(bench, day)
    with pytest.raises(Invalid, match="no flow 'shoes'"):
        build(bench, DAY_D, "shoes")


def test_what_was_due_by_then_counts_not_what_went_wrong_since(bench: Bench) -> None:
    """Worst now is a loss of today; at the end of D it was the stalled branch."""
    stalled = missing(Status.STALLED, BEGIN, BEGIN + HOUR)
    lost = missing(Status.LOST, BEGIN, END + 2 * HOUR)
    both = Verdict("order", 1, Status.LOST, BEGIN, BEGIN, drops=(*lost.drops, *stalled.drops))
    write_verdict(bench.store, "order", "1", both)
    (entry,) = build(bench, DAY_D).missing
    assert (entry.status, entry.due, entry.more) == ("stalled", BEGIN + HOUR, 0)


def test_what_was_missing_then_and_is_not_now_is_told_apart(bench: Bench) -> None:
    write_verdict(bench.store, "order", "found", done(BEGIN, END + HOUR, value=7.0, currency="EUR"))
    write_flip(bench.store, "order", "found", 1, END - HOUR, "", missing(Status.STALLED, BEGIN, BEGIN + HOUR))
    write_flip(bench.store, "order", "found", 2, END + HOUR, "stalled", done(BEGIN, END + HOUR))
    write_verdict(bench.store, "order", "in time", done(BEGIN, END - MINUTE))
    write_flip(bench.store, "order", "in time", 1, END - HOUR, "", missing(Status.STALLED, BEGIN, BEGIN + HOUR))
    write_flip(bench.store, "order", "in time", 2, END - MINUTE, "stalled", done(BEGIN, END - MINUTE))
    order(bench, "still", Status.LOST, BEGIN, BEGIN + HOUR)
    write_flip(bench.store, "order", "still", 1, END - HOUR, "", missing(Status.STALLED, BEGIN, BEGIN + HOUR))
    made = build(bench, DAY_D)
    assert ids(made) == ["still"]
    assert [(e.transaction_id, e.status, e.resolved) for e in made.resolved] == [("found", "stalled", "completed")]
    assert made.money == {}


def test_numbers_money_drops_and_hours(bench: Bench) -> None:
    order(bench, "1", Status.LOST, BEGIN + 30 * MINUTE, BEGIN + HOUR, value=10.1, currency="EUR")
    order(bench, "2", Status.LOST, BEGIN + 3 * HOUR, BEGIN + 4 * HOUR, value=10.2, currency="EUR")
    order(bench, "3", Status.FAILED, BEGIN + 3 * HOUR, 0, value=5.0, currency="USD")
    order(bench, "4", Status.STALLED, BEGIN - DAY, BEGIN - DAY + HOUR)
    order(bench, "test", Status.LOST, BEGIN, BEGIN + HOUR, value=99.0, currency="EUR", excluded=True)
    order(bench, "old test", Status.LOST, BEGIN - DAY, BEGIN, excluded=True)
    write_verdict(bench.store, "order", "fine", done(BEGIN, BEGIN + HOUR))
    made = build(bench, DAY_D)
    assert made.statuses == {"lost": 2, "failed": 1, "stalled": 1, "unknown": 0}
    assert made.money == {"EUR": 20.3, "USD": 5.0}
    assert made.money_by_status["lost"] == {"EUR": 20.3}
    assert [(g.kind, g.count, dict(g.money)) for g in made.by_drop] == [
        ("in_transit", 3, {"EUR": 20.3}), ("failed", 1, {"USD": 5.0}),
    ]  # fmt: skip
    # Three hours after midnight it is four: clocks went forward.
    assert {hour: n for hour, n in enumerate(made.by_hour) if n} == {0: 1, 4: 2}
    assert made.earlier == 1
    assert (made.started, made.excluded, made.excluded_total) == (4, 1, 2)


def test_what_names_it_and_could_not_be_read_is_counted(bench: Bench) -> None:
    order(bench, "4711", Status.LOST, BEGIN, BEGIN + HOUR)
    order(bench, "4712", Status.LOST, BEGIN, BEGIN + HOUR)
    cast("Store", bench.store).write_quarantine([quarantined(payload=b"order 4712 paid", key=b"")])
    made = build(bench, DAY_D)
    assert {entry.transaction_id: entry.unread for entry in made.missing} == {"4711": 0, "4712": 1}
    assert as_html(made).count("could not be read: it may be only that") == 1
    assert [entry["unread"] for entry in report_data(made)["missing"]] == [0, 1]


def test_it_says_who_was_not_heard_and_what_that_leaves_unknown(bench: Bench) -> None:
    gap = (BEGIN + HOUR, BEGIN + 3 * HOUR)
    write_hearing(bench.store, deaf=((BEGIN - DAY, BEGIN - HOUR), gap))
    order(bench, "1", Status.UNKNOWN, BEGIN, BEGIN + HOUR, silent=("payments",))
    order(bench, "2", Status.UNKNOWN, BEGIN, BEGIN + HOUR, silent=("payments", "warehouse"))
    made = build(bench, DAY_D)
    heard = {one.system: one for one in made.systems}
    assert heard["payments"].deaf == (gap,)
    assert (heard["payments"].unknown, heard["warehouse"].unknown, heard["shop"].unknown) == (2, 1, 0)
    assert heard["warehouse"].silent
    assert heard["warehouse"].deaf == ((BEGIN, END),)
    assert made.unknown == 2
    page = as_html(made)
    assert "Not everything was heard." in page
    assert "2026-03-08 01:00 to 2026-03-08 04:00 (2 hours)" in page


def test_all_was_heard_is_said_too(bench: Bench) -> None:
    order(bench, "1", Status.LOST, BEGIN, BEGIN + HOUR)
    assert "Every system was heard" in as_html(build(bench, DAY_D))


def test_only_one_flow(bench: Bench) -> None:
    order(bench, "1", Status.LOST, BEGIN, BEGIN + HOUR)
    assert ids(build(bench, DAY_D, "checkout")) == []
    made = build(bench, DAY_D, "order")
    assert (ids(made), file_name(made, "html")) == (["1"], "report-2026-03-08-order.html")
    assert {one.system for one in made.systems} == {"shop", "payments", "warehouse"}


def test_three_forms_of_one_set_of_numbers(bench: Bench, tmp_path: Path) -> None:
    for number in range(30):
        status = list(Status)[3 + number % 4]
        order(bench, f"n{number}", status, BEGIN + number * MINUTE, BEGIN + HOUR, value=1.5, currency="EUR")
    made = build(bench, DAY_D)
    paths = write(made, tmp_path)
    assert [path.name for path in paths] == [f"report-{DAY_D}.{form}" for form in RENDER]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    data = json.loads((tmp_path / f"report-{DAY_D}.json").read_text())
    rows = list(csv.DictReader(io.StringIO((tmp_path / f"report-{DAY_D}.csv").read_text())))
    page = (tmp_path / f"report-{DAY_D}.html").read_text()
    assert [row["transaction_id"] for row in rows] == [row["transaction_id"] for row in data["missing"]] == ids(made)
    assert data["totals"]["statuses"] == {"lost": 7, "failed": 8, "stalled": 8, "unknown": 7}
    assert data["totals"]["money"] == {"EUR": 45.0}
    assert sum(group["count"] for group in data["by_drop"]) == sum(data["by_hour"]) == 30
    assert all(f'<span class="id">n{number}</span>' in page for number in range(30))
    assert "45.00 EUR" in page
    assert "Missing: 30" in page


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_script_in_every_field_is_inert_and_nothing_is_fetched(bench: Bench) -> None:
    bidi = "\u202eevil\x1b[31m"
    for number, status in enumerate((Status.LOST, Status.FAILED, Status.UNKNOWN)):
        hostile = missing(
            status, BEGIN, BEGIN + HOUR, error=SCRIPT + bidi, silent=(SCRIPT,), value=1.0, currency=SCRIPT[:9],
        )  # fmt: skip
        write_verdict(bench.store, SCRIPT, f"{number}{SCRIPT}{bidi}", hostile)
    page = as_html(build(bench, DAY_D))
    tags = _Tags()
    tags.feed(page)
    assert {"script", "img", "link", "iframe", "object"}.isdisjoint(tag for tag, _ in tags.found)
    assert not [
        attrs for _, attrs in tags.found if any(name.startswith("on") or name in ("src", "href") for name in attrs)
    ]
    assert not re.search(r"url\(|@import|https?://|javascript:", page)
    assert "default-src 'none'" in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_no_formula_reaches_a_spreadsheet(bench: Bench) -> None:
    for number, text in enumerate(("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "＝1")):
        order(bench, text, Status.LOST, BEGIN + number, BEGIN + HOUR, error=text, value=-1.5)
    rows = list(csv.DictReader(io.StringIO(as_csv_text(build(bench, DAY_D)))))
    assert len(rows) == 6
    for row in rows:
        assert all(value.lstrip()[:1] not in "=+@＝" or not value for value in row.values())
        assert row["transaction_id"].startswith(("'", "\\t"))
        assert row["value"] == "-1.5"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("=A1", "'=A1"), ("-5", "-5"), (-5.5, "-5.5"), ("-5x", "'-5x"), ("a=b", "a=b"), (None, ""), ("x\ny", "x\\ny")],
)
def test_a_cell(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_steering_characters_are_written_out() -> None:
    assert inert("a\x1b[2Jb\r\n\u202ec\u200bd\ue000") == "a\\x1b[2Jb\\r\\n\\u202ec\\u200bd\\ue000"
    assert inert("Zürich – 東京 ✓") == "Zürich – 東京 ✓"
    data = {"a": "x\x1b\u202e\x7f\u2028\U000e0001", "b": ["ü"]}
    text = as_json(data)
    assert json.loads(text) == data
    assert text.replace("\n", "").isprintable()
    assert "ü" in text
    assert as_csv([{"a": [1, 2], "b": None}], ("a", "b")) == "a,b\n1 2,\n"


def test_json_has_no_private_numbers_of_its_own(bench: Bench) -> None:
    order(bench, "1", Status.LOST, BEGIN + SECOND, BEGIN + HOUR, value=2.5, currency="EUR")
    data = json.loads(as_json_text(build(bench, DAY_D)))
    assert data["begin"] == "2026-03-08T05:00:00Z"
    assert data["missing"][0]["since"] == "2026-03-08T05:00:01Z"
    assert data["missing"][0]["error"] is None
