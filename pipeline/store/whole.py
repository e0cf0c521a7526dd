"""All that is stored of a few transactions, asked for side by side: each statement costs the engine a few milliseconds to plan,
whatever it reads, and planning is not shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from pipeline.store.contract import DisputeRow, FlipRow, KeyRow, Reader, Transaction, VerdictRow
from pipeline.store.rows import said
from schemas.wire import Observed

# A lookup asks five questions at once, and two lookups may be under way.
_THREADS = 8
T = TypeVar("T")
U = TypeVar("U")


class Whole(NamedTuple):
    """Of one transaction. ``flips``: those that were said, by what ``rows`` say."""

    rows: list[VerdictRow]
    events: list[Observed]
    keys: list[KeyRow]
    flips: list[FlipRow]
    disputes: list[DisputeRow]


def load_whole(store: Reader, transactions: Sequence[Transaction], as_of: int = 0) -> dict[Transaction, Whole]:
    """Every transaction asked for is in the answer. ``as_of`` µs: for disputes. Raises ``Unavailable``."""
    verdicts = _pool().submit(store.load_verdicts, transactions)
    events = _pool().submit(store.load_events, transactions)
    keys = _pool().submit(store.keys_of, transactions)
    flips = _pool().submit(store.written_flips, transactions)
    disputes = _now(lambda: store.load_disputes(transactions, as_of))
    asked: tuple[Future[Any], ...] = (verdicts, events, keys, flips)
    wait(asked)
    by_transaction: dict[Transaction, list[KeyRow]] = {transaction: [] for transaction in transactions}
    for key in keys.result():
        by_transaction[key.transaction_type, key.transaction_id].append(key)
    return {
        one: Whole(
            verdicts.result()[one],
            events.result()[one],
            by_transaction[one],
            said(flips.result()[one], verdicts.result()[one]),
            disputes.result()[one],
        )
        for one in transactions
    }


def both(first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
    """Two questions at once, the first in this thread; both have ended when one of them raises."""
    other = _pool().submit(second)
    one = _now(first)
    wait((other,))
    return one.result(), other.result()


def _now(ask: Callable[[], T]) -> Future[T]:
    """Asked in this thread; what it raises waits for ``result``."""
    future: Future[T] = Future()
    try:
        future.set_result(ask())
    except BaseException as error:
        future.set_exception(error)
    return future


@lru_cache(1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, "lastseen-asking")
