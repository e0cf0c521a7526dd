"""The event log from both sides: one contract (`contract`), three adapters, chosen by a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.errors import Invalid
from pipeline.log.contract import (
    Assigned,
    Change,
    Consumer,
    ControlReader,
    Fenced,
    Log,
    LogRecord,
    PositionLost,
    Revoked,
)
from tracer.sinks.memory import wall_clock

__all__ = [
    "Assigned",
    "Change",
    "Consumer",
    "ControlReader",
    "Fenced",
    "Log",
    "LogRecord",
    "PositionLost",
    "Revoked",
    "open_log",
]


def open_log(url: str, env: Mapping[str, str] | None = None, clock: Callable[[], int] = wall_clock) -> Log:
    """Open an event log; nothing is created before `Log.create`.

    Args:
        url: ``kafka://host:port[,host:port]/?prefix=…``, ``kafkas://…`` (TLS), or
            ``sqlite:///path?synchronous=full|normal``.
        env: where secrets are read; see `tracer.sinks.kafka_config`.
        clock: SQLite's append clock, microseconds since the Unix epoch. Kafka's is the broker's.

    Raises:
        Invalid: the URL is not understood, holds a secret, or names a log in memory (that is an object: `MemoryLog`).
        Unavailable: the log cannot be reached.
    """
    try:
        return _open(url, env, clock)
    except Invalid:
        raise
    except ValueError as error:
        raise Invalid(str(error)) from error


def _open(url: str, env: Mapping[str, str] | None, clock: Callable[[], int]) -> Log:
    scheme = url.partition(":")[0]
    if scheme in ("kafka", "kafkas"):
        from pipeline.log.kafka import KafkaLog

        return KafkaLog(url, env)
    if scheme == "sqlite":
        from pipeline.log.sqlite import SqliteLog
        from tracer.sinks.sqlite import path_of, synchronous_of

        return SqliteLog(path_of(url), clock, synchronous_of(url))
    if scheme == "memory":
        raise Invalid("memory:// is a log within one process: hand the object over instead of an address")
    raise Invalid(f"no log is known under {scheme!r}; write kafka://host:port, kafkas://host:port or sqlite:///path")
