"""Instrument an application in a few lines, so that Lastseen knows where each of its transactions was last seen.

    import tracer

    tracer.init(system="shop", log="kafka://broker:9092", transaction_types=["order"])

    with tracer.transaction(order="10248") as order:           # or tracer.continued(request.headers)
        with order.step("placed"):
            ...
        tracer.inject(headers)                                 # the keys travel with the request

Law 9: nothing here blocks, nothing raises into the caller, memory is bounded, what cannot be sent stands in a spool on disk, and
what has no room there is counted. Without `init` all of it does nothing. Needs no other package of ours.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer import propagation
from tracer.agent import Agent, Settings, wall_clock
from tracer.keys import Normalise
from tracer.reporter import Reporter, installed
from tracer.reporter import Rules as PrivacyRules
from tracer.sinks import Sink, open_sink
from tracer.spool import LIMIT
from tracer.transaction import Step, Transaction, current

if TYPE_CHECKING:
    from tracer.log_handler import LogHandler
    from tracer.span_processor import SpanProcessor

__all__ = [
    "LogHandler",
    "SpanProcessor",
    "Step",
    "Transaction",
    "also",
    "cancelled",
    "close",
    "completed",
    "continued",
    "current",
    "failed",
    "init",
    "inject",
    "inject_cloud_event",
    "inject_environment",
    "received",
    "sent",
    "started",
    "stats",
    "step",
    "transaction",
]

_log = logging.getLogger("lastseen")
_agent: Agent | None = None


def init(
    system: str,
    log: str | Callable[[], Sink] | None = None,
    *,
    source: str | None = None,
    systems: Iterable[str] = (),
    transaction_types: Iterable[str] = (),
    normalise: Normalise | None = None,
    privacy: PrivacyRules | None = None,
    spool: str | os.PathLike[str] | None = None,
    spool_bytes: int = LIMIT,
    exit_timeout: float = 3.0,
) -> None:
    """Begin to report, in the background. Never raises: what is wrong is said to the logger ``lastseen``, and nothing is sent.

    Args:
        system: who speaks.
        log: address of the event log (``kafka://host:port``, ``kafkas://…``, ``sqlite:///path``), or what opens a sink;
            ``LASTSEEN_LOG`` if None. Secrets are read from the environment.
        source: name of this process among all that emit, the same after each start; ``<system>@<host name>`` if None. Several
            processes at once on one machine are told apart by themselves.
        systems: further ones for which this process speaks.
        transaction_types: key types that name transactions (``order``): events are placed by them.
        normalise: key type to the form under which its values meet; workers do it again.
        privacy: what of an event may be sent (`tracer.privacy.Privacy`).
        spool: folder for what cannot be sent yet; ``LASTSEEN_SPOOL``, else ``~/.local/state/lastseen/spool``, if None. "" for none.
        spool_bytes: what may stand there.
        exit_timeout: seconds that the interpreter's exit may wait for the log.
    """
    global _agent  # noqa: PLW0603
    address = os.environ.get("LASTSEEN_LOG") if log is None else log
    if not address:
        _log.warning("%s: nothing is reported: neither log nor LASTSEEN_LOG says where to", system)
        return
    try:
        close()
        _check(system, privacy)
        settings = Settings(
            source=source or f"{system}@{socket.gethostname()}",
            systems=tuple(dict.fromkeys((system, *systems))),
            open_sink=_opener(address),
            spool=_spool_folder(spool),
            spool_bytes=spool_bytes,
            exit_timeout=exit_timeout,
        )
        _agent = Agent(settings)
        installed.reporter = Reporter(
            _agent.hand_over,
            system,
            wall_clock,
            transaction_types=transaction_types,
            normalise=normalise,
            privacy=privacy,
        )
        _agent.start()
    except Exception as error:
        _log.warning("%s: nothing is reported: %s", system, error)


def _check(system: str, privacy: PrivacyRules | None) -> None:
    """What lacks a key for hashing is set aside, event by event; it is better known at the start."""
    try:
        getattr(privacy, "require", lambda: None)()
    except ValueError as error:
        _log.warning("%s: %s", system, error)


def _opener(log: str | Callable[[], Sink]) -> Callable[[], Sink]:
    return (lambda: open_sink(log, os.environ)) if isinstance(log, str) else log


def _spool_folder(spool: str | os.PathLike[str] | None) -> Path | None:
    told = os.environ.get("LASTSEEN_SPOOL") if spool is None else spool
    if told is None:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(state).expanduser() / "lastseen" / "spool"
    return Path(told) if str(told) else None


def close(timeout: float | None = None) -> bool:
    """Send everything and say goodbye; done by itself at the interpreter's exit.

    Args:
        timeout: seconds; ``exit_timeout`` of `init` if None.

    Returns:
        Whether all was acknowledged; what was not stays in the spool.
    """
    global _agent
    agent, _agent, installed.reporter = _agent, None, None
    return agent is None or agent.close(timeout)


def stats() -> dict[str, int]:
    """Events ``queued``, ``waiting``, ``unacknowledged``, ``shed``; ``spooled`` bytes; ``repaired`` values that were left out of
    events, and ``refused`` events that could not be made."""
    agent, reporter = _agent, installed.reporter
    if agent is None or reporter is None:
        return {}
    return {**agent.stats(), "repaired": reporter.repaired, "refused": reporter.refused}


# Transactions and steps


def transaction(**keys: Any) -> Transaction:
    """A transaction by its keys: a scope (``with``, ``async with``), or a decorator, whose keys may be functions of the
    arguments."""
    return Transaction(None, keys)


def continued(carrier: Any = None, names: Mapping[str, str] | None = None, **keys: Any) -> Transaction:
    """The transaction that a request, a message, a CloudEvent or (None) this process's environment names; a scope.

    Args:
        carrier: mapping or pairs of headers; see `tracer.propagation`.
        names: names of baggage entries that hold keys (``{"order.id": "order"}``).
        keys: further ones.
    """
    found = propagation.extract(carrier, names)
    return Transaction(None, {**found.keys, **keys}, at=found.trace, foreign=found.foreign)


def step(
    name: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    received_from: str | None = None,
    sent_to: str | None = None,
    system: str | None = None,
) -> Step:
    """A step of the transaction that is current when it begins: a scope or a decorator. See `Transaction.step`."""
    return Step(None, name, dict(attributes or {}), received_from, sent_to, system)


def also(**keys: Any) -> None:
    """Further keys of the current transaction. See `Transaction.also`."""
    if (found := _current()) is not None:
        found.also(**keys)


def _mark(phase: str) -> Callable[..., None]:
    def mark(step: str, **more: Any) -> None:
        if (found := _current()) is not None:
            found.mark(step, phase, **more)

    mark.__name__ = mark.__qualname__ = phase
    mark.__doc__ = (
        f"The current transaction has ``{phase}`` at a step. See `Transaction.mark` for what more may be said."
    )
    return mark


started = _mark("started")
completed = _mark("completed")
failed = _mark("failed")
cancelled = _mark("cancelled")
sent = _mark("sent")
received = _mark("received")


def _current() -> Transaction | None:
    try:
        return current()
    except Exception:
        return None


# On to the next system


def inject(carrier: propagation.Carrier) -> None:
    """Write the current transaction's keys and trace into headers: a mapping, or a list of (name, bytes) for Kafka."""
    _inject(propagation.inject, carrier)


def inject_cloud_event(attributes: Any) -> None:
    """The same into the attributes of a CloudEvent."""
    _inject(propagation.inject_cloud_event, attributes)


def inject_environment(environment: Any) -> None:
    """The same into the environment of a process that is to be started."""
    _inject(propagation.inject_environment, environment)


def _inject(way: Callable[..., None], carrier: Any) -> None:
    try:
        found = current()
        if found is not None:
            way(carrier, found.leaving(), found.at, found.foreign)
    except Exception:
        return


def __getattr__(name: str) -> Any:
    """What needs OpenTelemetry's SDK is imported when it is asked for: 0.2 s that not every application has to spend."""
    if name == "SpanProcessor":
        from tracer.span_processor import SpanProcessor

        return SpanProcessor
    if name == "LogHandler":
        from tracer.log_handler import LogHandler

        return LogHandler
    raise AttributeError(f"module 'tracer' has no attribute {name!r}")
