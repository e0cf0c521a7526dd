"""Log records that carry keys become events; all others are none of our business.

    logging.getLogger().addHandler(tracer.LogHandler(Rules(key_attributes={"order_id": "order"}, steps={"order %s paid": "paid"})))
    log.info("order %s paid", number, extra={"order_id": number})
    log.info("packed", extra={"lastseen.step": "packed", "lastseen.key.parcel": "P-7"})

A record is reported if it has a step: ``lastseen.step`` in ``extra``, or `Rules.steps` knows its message as it is written in the
code (before arguments are put in). Its keys are ``lastseen.key.<type>`` and those of `Rules.key_attributes` in ``extra``, else
those of the current transaction; and the trace id of the current span. Its phase is ``lastseen.phase``, else ``failed`` for a
record of level ERROR or above, else ``completed``; its error the exception, else the message.
"""

from __future__ import annotations

import logging
from typing import Any

from tracer import context
from tracer.clean import text_of
from tracer.reporter import Reporter, ids, installed
from tracer.spans import ATTRIBUTE, TRACE, Rules, keys_in, step_by_name
from tracer.transaction import current, told

_OWN = ("lastseen", "kafka")
"""Loggers whose records come from sending events."""


class LogHandler(logging.Handler):
    """Args:
    rules: `tracer.spans.Rules`; ``key_attributes`` and ``attributes`` are names in ``extra``.
    reporter: the process's own (`tracer.init`) if None.
    """

    def __init__(self, rules: Rules | None = None, reporter: Reporter | None = None, level: int = logging.NOTSET):
        super().__init__(level)
        self.rules = rules or Rules()
        self._own_reporter = reporter

    def handle(self, record: logging.LogRecord) -> bool:
        """Without the handler's lock: what is shared needs none, and nobody waits."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises."""
        reporter = self._own_reporter or installed.reporter
        if reporter is None or record.name.partition(".")[0] in _OWN:
            return
        try:
            self._report(record, reporter)
        except Exception as error:
            reporter.refuse("", "", error)

    def _report(self, record: logging.LogRecord, reporter: Reporter) -> None:
        extra = record.__dict__
        step = extra.get("lastseen.step") or (isinstance(record.msg, str) and step_by_name(record.msg, self.rules))
        if not step:
            return
        transaction = current()
        trace = context.current_trace() or (transaction.at.trace_id if transaction else ids.trace())
        keys = {**(transaction.keys if transaction else {}), **keys_in(extra, self.rules)}
        if not keys and self.rules.trace_only == "none":
            return
        phase = extra.get("lastseen.phase") or ("failed" if record.levelno >= logging.ERROR else "completed")
        reporter.report(
            step,
            str(phase),
            {**keys, TRACE: trace},
            id=f"{trace}:{ids.span()}:{phase}"[:256],
            time=int(record.created * 1_000_000),
            system=extra.get("lastseen.system"),
            peer=extra.get("lastseen.peer"),
            attributes=self._attributes(extra),
            error=self._error(record) if phase == "failed" else None,
        )

    def _attributes(self, extra: dict[str, Any]) -> dict[str, Any]:
        named = {name: extra[name] for name in self.rules.attributes if name in extra}
        stated = {name[len(ATTRIBUTE) :]: value for name, value in extra.items() if name.startswith(ATTRIBUTE)}
        return {**named, **stated}

    @staticmethod
    def _error(record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[1] is not None:
            return told(record.exc_info[1])
        try:
            return text_of(record.getMessage())
        except Exception:
            return text_of(record.msg)
