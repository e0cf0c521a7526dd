"""Patience: what to do while a service is away (law 10): pause, back off, try again, keep our place in the group."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import Unavailable
from pipeline.log import Fenced
from pipeline.work.policy import Counters, Policy, Stopping

log = logging.getLogger("lastseen.worker")
Result = TypeVar("Result")


class Patience:
    """Tries until it succeeds.

    Args:
        policy: backoffs, and for how long to try.
        counters: where retries are counted.
        stop: set when the worker is asked to stop; waiting ends then.
        hold: called before each pause: nothing is polled meanwhile, membership is kept.
        resume: called once it went on after all.
    """

    def __init__(
        self,
        policy: Policy,
        counters: Counters,
        stop: threading.Event,
        hold: Callable[[], None],
        resume: Callable[[], None],
    ):
        self._policy, self._counters, self._stop, self._hold, self._resume = policy, counters, stop, hold, resume

    def insist(self, operation: Callable[[], Result]) -> Result:
        """The operation's result.

        Raises ``Unavailable`` once ``patience`` is over and ``Stopping`` when asked to stop; ``Fenced`` at once.
        """
        pause, waited, retried = self._policy.first_backoff, 0.0, False
        while True:
            try:
                result = operation()
            except Fenced:
                # What else is ours would stay paused for ever (seed 7533).
                if retried:
                    self._resume()
                raise
            except Unavailable as error:
                if self._stop.is_set():
                    raise Stopping from error
                if self._policy.patience is not None and waited >= self._policy.patience:
                    raise
                self._counters.retries += 1
                log.warning("%s; trying again in %.1f s", error, pause)
                self._hold()
                self._stop.wait(pause)
                waited, retried = waited + pause, True
                pause = min(2 * pause, self._policy.longest_backoff)
            else:
                if retried:
                    self._resume()
                return result
