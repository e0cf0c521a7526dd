"""Runner: collectors in one process, in one loop of one thread."""

from __future__ import annotations

from collections.abc import Callable

from collectors.collecting import Collecting
from collectors.patience import Tell
from tracer.errors import Unavailable


class Runner:
    """Collectors in one process.

    Args:
        wait: waits so many seconds, or until it is to stop; whether it is.
    """

    def __init__(self, collectors: list[Collecting], wait: Callable[[float], bool], tell: Tell = lambda _: None):
        self.collectors = collectors
        self._wait = wait
        self._tell = tell

    def run(self, progress: Callable[[], None] = lambda: None) -> None:
        """Until it is to stop, or all is done (``once``) or failed; then every collector is stopped.

        Raises:
            Invalid: one of them can never go on.
            Unavailable: the log is away, and not all is acknowledged.
        """
        alone = len(self.collectors) == 1
        try:
            while not self._wait(0.0):
                worked = [one.step(0.1 if alone else 0.0) for one in self.collectors]
                progress()
                if all(one.done or one.failed is not None or one.at_end for one in self.collectors):
                    break
                if not any(worked) and self._wait(0.02 if alone else 0.1):
                    break
        finally:
            self._stop()
        failed = [one.failed for one in self.collectors if one.failed is not None]
        if failed:
            raise failed[0]

    def _stop(self) -> None:
        away: Unavailable | None = None
        for one in self.collectors:
            try:
                one.stop()
            except Unavailable as error:
                away = away or error
        if away is not None:
            raise away
