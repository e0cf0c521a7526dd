"""A write begun in another thread is acknowledged before anything rests on it, and insisted on while the store is away."""

from __future__ import annotations

import threading

import pytest

from pipeline.errors import Unavailable
from pipeline.work.beside import Beside
from pipeline.work.patience import Patience
from pipeline.work.policy import Counters, Policy, Stopping


class Store:
    """Away for the first ``away`` attempts; says by which thread each was made."""

    def __init__(self, away: int):
        self.away, self.threads, self.written = away, list[str](), 0

    def write(self) -> None:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) <= self.away:
            raise Unavailable("away")
        self.written += 1


def beside(counters: Counters, stop: threading.Event, *, thread: bool) -> Beside:
    policy = Policy(first_backoff=0.0, longest_backoff=0.0)
    return Beside(Patience(policy, counters, stop, lambda: None, lambda: None).insist, thread=thread)


@pytest.mark.parametrize("away", [0, 1, 3])
def test_it_is_tried_again_until_it_is_written_once(away: int) -> None:
    store, counters = Store(away), Counters()
    hand = beside(counters, threading.Event(), thread=True)
    written = hand.begin(store.write)
    written()
    hand.close()
    assert (store.written, counters.retries, len(store.threads)) == (1, away, away + 1)
    assert store.threads[0] != threading.current_thread().name, "begun beside"


def test_who_is_asked_to_stop_does_not_take_it_for_written() -> None:
    store, stop = Store(1), threading.Event()
    hand = beside(Counters(), stop, thread=True)
    written = hand.begin(store.write)
    stop.set()
    with pytest.raises(Stopping):
        written()
    hand.close()
    assert not store.written


def test_a_bug_in_the_thread_is_one_here() -> None:
    hand = beside(Counters(), threading.Event(), thread=True)
    with pytest.raises(ZeroDivisionError):
        hand.begin(lambda: print(1 / 0))()
    hand.close()


def test_without_a_thread_it_is_written_when_begun() -> None:
    store = Store(2)
    beside(Counters(), threading.Event(), thread=False).begin(store.write)
    assert store.written == 1
    assert set(store.threads) == {threading.current_thread().name}
