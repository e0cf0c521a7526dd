"""Post: sends what a batch brings about to the partitions where it belongs, and waits until the log has it.

Law 3: nothing is announced or committed before all of it is acknowledged. Where a partition's records were forwarded to, and up to
which offset, goes into its progress: whoever asks whether all is processed follows it there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pipeline.core.correlate import Claim
from pipeline.core.generations import number_of
from pipeline.errors import Invalid
from pipeline.store.contract import Transaction
from pipeline.work.batch import Batch
from pipeline.work.book import Book
from pipeline.work.courier import Outbox, Parcel
from pipeline.work.ownership import Ownership
from pipeline.work.patience import Patience
from pipeline.work.policy import Counters
from schemas.joined import Link, address, encode_lines
from tracer.sinks.contract import Sink

log = logging.getLogger("lastseen.worker")


class Post:
    """``ownership``: takes note of what was forwarded; ``counters``: where it is counted."""

    def __init__(self, sink: Sink, ownership: Ownership, patience: Patience, counters: Counters):
        self._sink, self._ownership, self._insist, self._counters = sink, ownership, patience.insist, counters

    def put(self, batch: Batch, claims: Iterable[tuple[Transaction, Claim]], book: Book, outbox: Outbox) -> None:
        """Into the outbox: links that say what transactions claim, and all that events and links bring about in the book."""
        for transaction, claim in claims:
            origin = batch.homes[transaction]
            to, alias = address(transaction[0], number_of(transaction[1])), address(*claim.alias)
            link = Link(alias, to, batch.versions[origin], claim.at, claim.by, claim.shared, claim.state)  # type: ignore[arg-type]
            depth = batch.depths.get(transaction, 0) + 1
            self.add(outbox, origin, depth, "link", alias.encode(), encode_lines([link]))
        for sent in book.sent(batch.keeps, batch.links, batch.versions) if batch.pages else ():
            depth = batch.depths.get(sent.alias, 0) + 1
            self.add(outbox, batch.pages[sent.alias], depth, sent.kind, sent.key, sent.line, imported=sent.imported)

    def add(
        self, outbox: Outbox, origin: int, depth: int, kind: str, key: bytes, line: bytes, *, imported: bool = False
    ) -> None:
        """Put a line into the outbox, which is emptied where it is full."""
        try:
            outbox.add(origin, depth, kind, key, line, imported=imported)
        except Invalid as error:
            # What goes round in circles ends; the record that it began with is stored and judged.
            log.error("%s for %s: %s", kind, key.decode("utf-8", "replace"), error)
        if outbox.full:
            self.send(outbox)

    def send(self, outbox: Outbox) -> None:
        """Deliver all that is in it."""
        self.deliver(outbox.take())

    def deliver(self, parcels: Sequence[Parcel]) -> None:
        """Produce them and await their acknowledgement; whose record was the cause announces how far they reach."""
        if not parcels:
            return
        acks = self._insist(lambda: self._sink.produce([record for _, record in parcels]))
        for (to, _), ack in zip(parcels, acks, strict=True):
            owned = self._ownership.active.get(to.origin)
            if owned is not None:
                owned.forward(to.depth, to.home, ack.offset + 1)
        self._counters.forwarded += len(parcels)
