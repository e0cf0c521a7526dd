"""A business transaction as an application sees it, and its steps.

    with tracer.transaction(order="10248") as order:
        with order.step("placed"):             # started, then completed; failed with the error if it raises
            payment = charge()
            order.also(payment=payment.id)
        order.sent("label", peer="carrier")

Laws: nothing here raises into the caller but the caller's own exceptions, which pass through as they are; nothing waits. Without
`tracer.init` all of it does nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import Token
from typing import Any, Self

from opentelemetry.context import Context

from tracer import context
from tracer.clean import keys_of, name_of, pairs, text_of
from tracer.propagation import Trace
from tracer.reporter import Reporter, ids, installed
from tracer.scope import Scope, quietly


class Transaction(Scope):
    """One business transaction, current while its scope lasts.

    As a decorator, a key may be a function of the call's arguments: ``@tracer.transaction(order=lambda order: order.id)``.

    Attributes:
        keys: type to value, as far as known.
        at: its place in a trace: of the application's own span where it has one, or of who handed the transaction on.
    """

    def __init__(
        self,
        reporter: Reporter | None,
        keys: Mapping[str, Any],
        *,
        at: Trace | None = None,
        foreign: Mapping[str, str] | None = None,
    ):
        self._own_reporter = reporter
        self._given = keys
        self.keys, _ = keys_of(keys)
        if at is None or not at.trace_id:
            at = Trace(quietly(context.current_trace) or ids.trace(), ids.span())
        self.at = at
        self.foreign = dict(foreign or {})
        self._token: Token[Context] | None = None

    @property
    def _reporter(self) -> Reporter | None:
        """Looked up late: decorators are made before `tracer.init` is called."""
        return self._own_reporter or installed.reporter

    # Scope

    def _begin(self) -> Self:
        self._token = context.enter(self, self.leaving(), self.foreign)
        return self

    def _end(self, error: BaseException | None) -> None:  # noqa: ARG002
        token, self._token = self._token, None
        if token is not None:
            context.leave(token)

    def _fresh(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Transaction:
        return Transaction(
            self._own_reporter, {name: _asked(value, args, kwargs) for name, value in pairs(self._given)}
        )

    # Keys

    def also(self, **keys: Any) -> Self:
        """Further keys, known only now: whatever is reported from here on has them, and names the transaction by them."""
        found = quietly(keys_of, keys)
        if found:
            self.keys = {**self.keys, **found[0]}
            if quietly(context.current) is self:
                quietly(context.add, self._left(found[0]))
        return self

    def part(self, **keys: Any) -> Transaction:
        """A part of it (a parcel, a line), with further keys: a scope within this one."""
        return Transaction(
            self._own_reporter,
            {**self.keys, **keys},
            at=self.at,
            foreign=self.foreign,
        )

    def leaving(self) -> dict[str, str]:
        """Its keys as they may leave the process."""
        return self._left(self.keys)

    def _left(self, keys: Mapping[str, str]) -> dict[str, str]:
        return dict(keys) if self._reporter is None else self._reporter.keys(keys)

    # Steps

    def step(
        self,
        name: str,
        *,
        attributes: Mapping[str, Any] | None = None,
        received_from: str | None = None,
        sent_to: str | None = None,
        system: str | None = None,
    ) -> Step:
        """A step that takes time: reported when it begins, and when it ends or raises.

        Args:
            attributes: of its end. More with `Step.set`.
            received_from: the system from which it came: it begins with ``received``.
            sent_to: the system to which it goes: it ends with ``sent``.
        """
        return Step(self, name, dict(pairs(attributes)), received_from, sent_to, system)

    def started(self, step: str, **more: Any) -> None:
        """See `mark`."""
        self.mark(step, "started", **more)

    def completed(self, step: str, **more: Any) -> None:
        """See `mark`."""
        self.mark(step, "completed", **more)

    def failed(self, step: str, error: object = "", **more: Any) -> None:
        """``error``: an exception or a text. See `mark`."""
        self.mark(step, "failed", error=error, **more)

    def cancelled(self, step: str, **more: Any) -> None:
        """See `mark`."""
        self.mark(step, "cancelled", **more)

    def sent(self, step: str, peer: str | None = None, **more: Any) -> None:
        """``peer``: the system to which. See `mark`."""
        self.mark(step, "sent", peer=peer, **more)

    def received(self, step: str, peer: str | None = None, **more: Any) -> None:
        """``peer``: the system from which. See `mark`."""
        self.mark(step, "received", peer=peer, **more)

    def mark(
        self,
        step: str,
        phase: str,
        *,
        time: int | None = None,
        peer: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        error: object = None,
        system: str | None = None,
        span_id: str | None = None,
    ) -> None:
        """Report one phase of a step.

        Args:
            time: microseconds since 1970 UTC; now if None.
        """
        reporter = self._reporter
        if reporter is None:
            return
        quietly(self._mark, reporter, step, phase, time, peer, attributes, error, system, span_id or ids.span())

    def _mark(
        self,
        reporter: Reporter,
        step: str,
        phase: str,
        time: int | None,
        peer: str | None,
        attributes: Mapping[str, Any] | None,
        error: object,
        system: str | None,
        span_id: str,
    ) -> None:
        trace = context.current_trace() or self.at.trace_id
        reporter.report(
            step,
            phase,
            {**self.keys, "trace": trace},
            id=f"{trace}:{span_id}:{phase}",
            time=time,
            system=system,
            peer=peer,
            attributes=attributes,
            error=None if error is None else told(error),
        )


class Step(Scope):
    """A visit to a step. Without a transaction of its own it belongs to the one that is current when it begins.

    Attributes:
        span_id: 16 hexadecimal digits, of this visit.
    """

    def __init__(
        self,
        transaction: Transaction | None,
        name: str,
        attributes: dict[str, Any],
        received_from: str | None = None,
        sent_to: str | None = None,
        system: str | None = None,
    ):
        self._given, self._transaction = transaction, transaction
        self.name = name
        self.span_id = ids.span()
        self._attributes = attributes
        self._from, self._to, self._system = received_from, sent_to, system
        self._outcome: tuple[str, object] | None = None

    def set(self, **attributes: Any) -> Self:
        """Attributes of its end."""
        self._attributes = {**self._attributes, **attributes}
        return self

    def also(self, **keys: Any) -> Self:
        """As `Transaction.also`."""
        if self._transaction is not None:
            self._transaction.also(**keys)
        return self

    def fail(self, error: object) -> None:
        """It ends as failed, although it raises nothing."""
        self._outcome = ("failed", error)

    def cancel(self, reason: object = None) -> None:
        """It ends as cancelled."""
        self._outcome = ("cancelled", reason)

    def _begin(self) -> Self:
        self._transaction = self._given or current()
        if self._transaction is not None:
            phase = "received" if self._from else "started"
            self._transaction.mark(self.name, phase, peer=self._from, system=self._system, span_id=self.span_id)
        return self

    def _end(self, error: BaseException | None) -> None:
        if self._transaction is None:
            return
        phase, told = self._outcome or ("sent" if self._to else "completed", None)
        if _is_cancellation(error):
            phase, told = "cancelled", error
        elif error is not None:
            phase, told = "failed", error
        self._transaction.mark(
            self.name,
            phase,
            peer=self._to,
            attributes=self._attributes,
            error=told,
            system=self._system,
            span_id=self.span_id,
        )

    def _fresh(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Step:  # noqa: ARG002
        return Step(self._given, self.name, dict(self._attributes), self._from, self._to, self._system)


def current() -> Transaction | None:
    """The transaction that the code that runs now belongs to: of the scope around it, else what an OpenTelemetry instrumentation
    found in a request's baggage."""
    found = context.current()
    if found is None and (keys := context.carried()):
        return Transaction(None, keys)
    return found


def _is_cancellation(error: BaseException | None) -> bool:
    """A task's; asyncio is not imported for it (20 ms): whoever raises it has done so."""
    asyncio = sys.modules.get("asyncio")
    return error is not None and asyncio is not None and isinstance(error, asyncio.CancelledError)


def _asked(value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A key's value, or what a function makes of the arguments; None where that raises."""
    try:
        return value(*args, **kwargs) if callable(value) else value
    except Exception:
        return None


def told(error: object) -> str:
    """An exception by type and message, anything else as text; some text in any case."""
    if isinstance(error, BaseException):
        message = text_of(error)
        return f"{name_of(type(error).__name__)}: {message}" if message else name_of(type(error).__name__)
    return text_of(error) or "failed, without saying why"
