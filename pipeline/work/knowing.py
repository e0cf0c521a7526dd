"""Knowing: the flows and the hearing that a worker judges by, as control has them by now, and whom a change of them concerns.

What control says decides, not what this worker was started with: two workers judge alike. A changed hearing concerns those whose
verdicts lean on silence, a new version of a flow all that are open; they are judged again at a bounded rate.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.core.control import ControlFold
from pipeline.core.correlate import roles_of
from pipeline.core.hearing import Knowledge
from pipeline.core.knowledge import knowledge_of
from pipeline.errors import Invalid
from pipeline.store.contract import Transaction
from pipeline.work.book import Book
from pipeline.work.intake import Intake
from pipeline.work.ledger import Ledger
from pipeline.work.trust import Trust
from schemas.flow import Flows


class Knowing:
    """``ledger``, ``book``, ``intake``, ``trust``: are told what changed. ``partitions``: of the events, when we started."""

    def __init__(
        self, fold: ControlFold, flows: Flows, partitions: int, ledger: Ledger, book: Book, intake: Intake, trust: Trust
    ):
        self._fold, self._partitions = fold, partitions
        self._ledger, self._book, self._intake, self._trust = ledger, book, intake, trust
        self.flows = flows
        self.knowledge = knowledge_of(fold, flows)
        self._known_version = -1
        self._queue: dict[Transaction, None] = {}
        self._came: set[str] = set()

    def refresh(self) -> None:
        """Make what control says by now the knowledge to judge by, and queue whom a change concerns. Raises ``Invalid``."""
        if self._fold.version == self._known_version:
            return
        if self._fold.partition_count not in (0, self._partitions):
            raise Invalid(
                f"the events have {self._fold.partition_count} partitions now and had {self._partitions} when this worker started: "
                "start it again"
            )
        if len(self._fold.published) != len(self.flows.all()):
            judged = self.flows.by_key.keys()
            self.flows = self._fold.flows()
            self._came |= self.flows.by_key.keys() - judged
            roles = roles_of(self.flows)
            self._ledger.use(self.flows, roles)
            self._book.use(roles)
            self._intake.use(roles)
            # A version that applies to open ones, or a flow for what none judged so far. (Of key types that had none: ``due``.)
            self.ask_again(self._ledger.partition_of)
        self._trust.follow(self._fold.distrusted(), self._ledger.partitions)
        before, self.knowledge = self.knowledge, knowledge_of(self._fold, self.flows)
        self._known_version = self._fold.version
        if _heard_otherwise(before, self.knowledge):
            self.ask_again(self._ledger.troubled)

    def ask_again(self, transactions: Iterable[Transaction]) -> None:
        """Queue them to be judged again."""
        self._queue.update(dict.fromkeys(transactions))

    def due(self, most: int) -> dict[Transaction, int]:
        """Those whose wait is over and those whom a change concerns, to the partition; about ``most`` of them. Reads the store
        where flows came for key types that had none."""
        if self._came:
            self.ask_again(self._ledger.adopt(self._came))
            self._came = set()
        wanted = dict.fromkeys(self._ledger.agenda.due(self.knowledge, most))
        while self._queue and len(wanted) < most:
            wanted[self._queue.popitem()[0]] = None
        homes = self._ledger.partition_of
        return {transaction: homes[transaction] for transaction in wanted if transaction in homes}


def _heard_otherwise(before: Knowledge, now: Knowledge) -> bool:
    """Whether a system was heard otherwise than we knew: an interval opened or was lifted, or it fell silent or spoke."""
    if before.hearing.keys() != now.hearing.keys():
        return True
    return any(
        (heard.deaf, heard.silent) != (now.hearing[system].deaf, now.hearing[system].silent)
        for system, heard in before.hearing.items()
    )
