"""The only producers in the project: Kafka, SQLite and memory, behind `Sink`."""

from __future__ import annotations

from collections.abc import Mapping

from tracer.sinks.contract import OnAck, OnError, Pending, Sink

__all__ = ["OnAck", "OnError", "Pending", "Sink", "open_sink"]


def open_sink(url: str, env: Mapping[str, str] | None = None) -> Sink:
    """Open the producing side of an event log.

    Args:
        url: ``kafka://host:port[,host:port]/?prefix=…``, ``kafkas://…`` (TLS), or
            ``sqlite:///path?synchronous=full|normal``.
        env: where secrets are read (``LASTSEEN_KAFKA_PASSWORD`` and so on); nothing else is.

    Raises:
        ValueError: the URL is not understood, holds a secret, or names a log in memory (an object, not an address);
            Kafka's topics are not such as a log may have.
        Unavailable: the log cannot be reached; Kafka has no topics yet.
    """
    scheme = url.partition(":")[0]
    if scheme in ("kafka", "kafkas"):
        from tracer.sinks.kafka import KafkaSink

        return KafkaSink(url, env)
    if scheme == "sqlite":
        from tracer.sinks.sqlite import SqliteSink, path_of, synchronous_of

        return SqliteSink(path_of(url), synchronous=synchronous_of(url))
    if scheme == "memory":
        raise ValueError("memory:// is a log within one process: hand the object over instead of an address")
    raise ValueError(f"no log is known under {scheme!r}; write kafka://host:port, kafkas://host:port or sqlite:///path")
