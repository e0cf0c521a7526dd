"""What the worker does while a service is away: it holds, tries again, and polls again whatever comes of it."""

from __future__ import annotations

import threading

import pytest

from pipeline.errors import Unavailable
from pipeline.log import Fenced
from pipeline.work.patience import Patience
from pipeline.work.policy import Counters, Policy


class Told:
    """An operation of which each try has an outcome, and what was done around it."""

    def __init__(self, *outcomes: Exception | str):
        self.outcomes, self.done = list(outcomes), list[str]()
        policy = Policy(first_backoff=0.0, longest_backoff=0.0)
        self.patience = Patience(
            policy, Counters(), threading.Event(), lambda: self.done.append("hold"), lambda: self.done.append("go on")
        )

    def __call__(self) -> str:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def insist(self) -> str:
        return self.patience.insist(self)


def test_what_succeeds_at_once_holds_nothing() -> None:
    told = Told("well")
    assert told.insist() == "well"
    assert told.done == []


def test_after_a_service_was_away_everything_is_polled_again() -> None:
    told = Told(Unavailable("away"), Unavailable("away"), "well")
    assert told.insist() == "well"
    assert told.done == ["hold", "hold", "go on"]


def test_who_was_fenced_after_a_retry_polls_what_else_is_his_again() -> None:
    """Seed 7533: a commit did not answer, then was refused; the worker's other partitions stayed paused for ever."""
    told = Told(Unavailable("away"), Fenced("another generation"))
    with pytest.raises(Fenced):
        told.insist()
    assert told.done == ["hold", "go on"]
