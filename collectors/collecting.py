"""Collecting: one collector at work, an input, a mapping and an emitter.

A parcel goes through three steps, and no crash between two of them loses or doubles anything:

1. mapped and emitted, or set aside, each item of it;
2. settled, once the log has acknowledged all of that;
3. its position saved. What is read again after a crash makes the same events under the same ids.

What is acknowledged is what is vouched for: a marker's ``through`` is how far the input had read before the oldest parcel that is
not settled. While too much is not settled, the input is not asked for more; so memory is bounded however long the log is away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from collectors.checkpoint import Checkpoint
from collectors.collector_file import CollectorFile
from collectors.counts import Counts
from collectors.inputs.live import Context, LiveInput, Parcel
from collectors.items import Items
from collectors.patience import Patience, Tell
from collectors.reader import Reader
from collectors.withheld import Withheld
from schemas.errors import Invalid
from schemas.landscape import Landscape
from schemas.times import EARLIEST, SECOND, format_time
from tracer.emitter import Emitter, Limits
from tracer.errors import Unavailable
from tracer.keyring import NoKey
from tracer.privacy import Privacy
from tracer.sinks.contract import Sink

MAX_UNSETTLED = 20_000
"""Items of one collector that are on their way to the log; beyond, its input is not asked for more."""
_SAVE_EVERY = SECOND
_LAST_WORDS = 2 * SECOND
"""As long a collector that is told to stop reads on to where its input ended then; a backlog is left to the next run."""


@dataclass(slots=True, eq=False)
class _Underway:
    """A parcel that is not settled. ``floor``: µs, how far all had been handed out before it; ``last``: the running number that
    its last event got under ``epoch``."""

    parcel: Parcel
    floor: int | None
    items: int
    epoch: int = 0
    last: int = 0


class Collecting:
    """One collector at work.

    Attributes:
        failed: why it cannot go on; None while it can.
        done: with ``once``, all was read and acknowledged.
        incomplete: with ``once``, not all could be read, and nothing was vouched for.
    """

    def __init__(
        self,
        file: CollectorFile,
        sink: Sink,
        checkpoint: Checkpoint,
        clock: Callable[[], int],
        env: Mapping[str, str],
        *,
        landscape: Landscape,
        privacy: Privacy | None = None,
        withheld: Withheld | None = None,
        once: bool = False,
        since: int | None = None,
        through: int | None = None,
        tell: Tell = lambda _: None,
        limits: Limits | None = None,
        every: int = 2 * SECOND,
        max_unsettled: int = MAX_UNSETTLED,
    ):
        """Opens the input: raises ``Invalid`` or ``Unavailable``.

        Args:
            every: µs between markers.
            privacy: what is personal; it leaves this machine hashed, or not at all. ``withheld``: where bytes of it are kept.
            since, through: µs, with ``once``: from when on, and until when, what is read is complete.
        """
        self.name = file.collector.name
        self.file = file
        self.failed: Invalid | None = None
        self.done = False
        self.incomplete = False
        self._left = self._broken = False
        self.once = once
        self._checkpoint, self._clock, self._tell = checkpoint, clock, tell
        self._through = through
        self._max = max_unsettled
        self._patience = Patience(self.name, clock, tell)
        self._reader = Reader(file, privacy or Privacy())
        self._live: LiveInput = file.input.open(Context(file.format, checkpoint, clock, env, file.base, once))
        boot = clock()
        since = self._since(since)
        self._emitter = Emitter(
            sink, self.name, boot, file.systems, clock, since=since, delay=file.collector.delay,
            transaction_types=landscape.transaction_types(), normalise=landscape.normalisers(),
            limits=limits, every=every, block=True, load=once,
        )  # fmt: skip
        self._items = Items(self.name, self._reader, self._emitter, clock, self._patience, tell, withheld)
        # Nothing before is vouched for; between the last run's end and now everything, but only once it has been read.
        self._emitter.hold = boot if since is None else since
        self._handed: int | None = None  # all that was there before has been handed out
        self._todo: deque[_Underway] = deque()
        self._emitting: Iterator[bool] | None = None
        self._pending: deque[_Underway] = deque()
        self._unsettled = 0
        self._save_at = 0

    def _since(self, told: int | None) -> int | None:
        """From when on this epoch vouches: where the last one ended, if the input goes on just there."""
        if told is not None or self.once:
            return EARLIEST if told is None else told
        last = self._checkpoint.through
        return last if last is not None and getattr(self._live, "continuous", False) else None

    @property
    def counts(self) -> Counts:
        """What it did since it began."""
        return self._items.counts

    @property
    def at_end(self) -> bool:
        """The input has ended by itself, and all of it is settled."""
        return not self.once and self._live.finished and not self._todo and not self._pending

    @property
    def missed(self) -> dict[str, int]:
        """What an input that receives did not take in, cumulative: requests ``refused`` (and, as ``refused: why``, for what
        reason), datagrams ``dropped``, senders ``gone`` and what broke. Only what there was."""
        counted = dict(getattr(self._live, "counts", {}))
        return {what: counted[what] for what in sorted(counted) if what != "received" and counted[what]}

    # One round

    def step(self, timeout: float = 0.0) -> bool:
        """Go on as far as is possible without waiting for the log. Whether anything was done.

        Args:
            timeout: seconds to wait for an input that has nothing.
        """
        if self.failed is not None or self.done:
            return False
        worked = self.read(timeout)
        # Last, so that a marker says how far it is by now.
        self._emitter.tick()
        self._notes()
        if self.once and not self._todo and self._live.finished:
            self._finish()
        return worked

    def read(self, timeout: float = 0.0) -> bool:
        """As `step`, but nothing is said of how far it is."""
        worked = self._settle()
        if self._work():
            worked = True
        if self._ready_for_more():
            worked = self._poll(0.0 if worked else timeout) or worked
            self._work()
            # What held nothing is settled at once, and holds nothing back.
            self._settle()
        self._hold()
        return worked

    def _ready_for_more(self) -> bool:
        return (
            not self._todo
            and self._unsettled < self._max
            and self._emitter.room
            and self._clock() >= self._patience.until
            and not self._live.finished
        )

    def _poll(self, timeout: float) -> bool:
        floor = self._handed
        try:
            parcels = self._live.poll(timeout)
            self._handed = self._said_through(bool(parcels))
        except Unavailable as error:
            self._patience.later(str(error))
            return False
        except Invalid as error:
            self._fail(error)
            return False
        self._patience.back()
        for parcel in parcels:
            began = floor if parcel.known is None else min(parcel.known, self._clock() if floor is None else floor)
            self._todo.append(_Underway(parcel, began, max(1, len(parcel.items))))
            self._unsettled += max(1, len(parcel.items))
        return bool(parcels)

    def _said_through(self, came: bool) -> int | None:
        """How far the input says that all has been handed out. One that cannot say, and is vouched for all the same by who
        declared it: as of when it was asked and had nothing."""
        through = self._live.through()
        if through is None and not getattr(self.file.input, "vouches", False):
            through = self._handed if came else self._clock()
        return through if self._handed is None or through is None else max(through, self._handed)

    # Step 1: mapped and emitted

    def _work(self) -> bool:
        """Emit what was read, until there is no room or the log cannot be asked."""
        worked = False
        while self._todo and self._emitter.room and not self._broken:
            underway = self._todo[0]
            self._emitting = self._emitting or self._items.emit(underway.parcel)
            try:
                for took in self._emitting:
                    worked = worked or took
                    if not took or not self._emitter.room:
                        return worked
            except NoKey as error:
                self._broken = True
                self._fail(Invalid(str(error)))
                return worked
            except BaseException:
                # An iterator that has raised is at its end: asked again, it would call the parcel done, and the rest of it lost.
                self._broken = True
                raise
            underway.epoch, underway.last = self._emitter.epoch, self._emitter.taken
            underway.parcel.items = []  # what was read is not kept until it is acknowledged
            self._pending.append(underway)
            self._todo.popleft()
            self._emitting = None
        return worked

    def _fail(self, error: Invalid) -> None:
        self.failed = error
        self._tell(f"{self.name}: stopped: {error}")

    # Steps 2 and 3: settled and saved

    def _settle(self) -> bool:
        """Settle what is acknowledged, and save the positions."""
        settled = False
        while self._pending and self._acknowledged(self._pending[0]):
            underway = self._pending.popleft()
            self._unsettled -= underway.items
            underway.parcel.settle(None)
            settled = True
        if self._checkpoint.dirty and self._clock() >= self._save_at:
            self._save()
        return settled

    def _acknowledged(self, underway: _Underway) -> bool:
        # A new epoch begins when all of the old one is acknowledged or given up, and not before.
        return underway.epoch != self._emitter.epoch or self._emitter.accounted >= underway.last

    def _save(self) -> bool:
        self._save_at = self._clock() + _SAVE_EVERY
        self._checkpoint.vouched(self._emitter.told)
        try:
            self._checkpoint.save()
        except Unavailable as error:
            # What is read goes on: without the position it would only come again, under the same ids.
            self._patience.going_on(str(error), "goes on, and would read again what came since")
            return False
        return True

    def _hold(self) -> None:
        """Vouch for no more than was handed out before the oldest parcel that is not settled."""
        first = self._pending[0] if self._pending else self._todo[0] if self._todo else None
        through = self._handed if first is None else first.floor
        if through is not None:
            self._emitter.hold = max(through, self._emitter.hold or 0)

    def _notes(self) -> None:
        notes = getattr(self._live, "notes", None)
        while notes:
            self._tell(f"{self.name}: {notes.popleft()}")

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until the log has all that was read, and settle it. Raises ``Unavailable`` where it is away."""
        self._work()
        self._emitter.flush(timeout)
        self._settle()
        self._hold()

    # The end

    def abandon(self) -> None:
        """End as a process that is killed does: without a goodbye, and what is not settled is read again next time."""
        self._give_back()
        self._leave()
        self._checkpoint.close()

    def _leave(self) -> None:
        """Let go of the input, once."""
        if not self._left:
            self._left = True
            self._live.close()

    def _finish(self) -> None:
        """All was read: vouch for it, as ``load`` does. Raises ``Unavailable`` where the log is away: call again."""
        with suppress(Unavailable):
            self._emitter.flush()
            self._settle()
            if self._pending:
                return
            through = self._complete()
            if through is not None:
                self._emitter.goodbye("closed", through)
            self._checkpoint.vouched(self._emitter.told)
            self.done = self._save() if self._checkpoint.dirty or through is not None else True
            if self.done:
                # Whoever shares a topic with it waits for it otherwise.
                self._leave()

    def _complete(self) -> int | None:
        """Until when what was read is complete; None where it cannot be vouched for."""
        now = self._clock()
        through = self._through if self._through is not None else self._live.through()
        if not self.file.systems:
            return now
        if through is None:
            self._tell(f"{self.name}: not all could be read, so nothing is vouched for; run it again")
            self.incomplete = True
            return None
        if through > now:
            raise Invalid(f"the list cannot be complete through {format_time(through)}: that is still to come")
        return through

    def stop(self, timeout: float = 10.0) -> None:
        """Finish cleanly: what was read is acknowledged and settled, positions are saved, and a goodbye is said.

        *Closed*, where what is read may go on being written without us: up to here and no further. *Open* at the end of an input
        that was all there is, as of standard input: nothing more comes until this name speaks again. Where it failed in the middle
        of a parcel, no goodbye is said, as by a process that dies: its system must be missed, and all of the parcel comes again.

        Raises:
            Unavailable: the log is away; what is not acknowledged is read again next time.
        """
        try:
            if self.done:
                return
            self._catch_up()
            self._take_last(timeout)
            self.flush(timeout)
            if not (self.once or self._broken):
                self._emitter.goodbye("open" if self._live.finished else "closed", timeout=timeout)
        finally:
            self._give_back()
            if self._checkpoint.dirty or self._emitter.told is not None:
                self._save()
            self._leave()
            self._checkpoint.close()

    def _catch_up(self) -> None:
        """Read what was there when it was told to stop. An application says its last words and is ended with its collector; where
        other sources of its system speak on, nobody would miss them until what they say is called stalled."""
        told = self._clock()
        if self.once or self._broken or self.failed is not None or not getattr(self.file.input, "vouches", False):
            return
        while (self._handed or 0) <= told and self._clock() < told + _LAST_WORDS and self.read():
            pass

    def _take_last(self, timeout: float) -> None:
        """What an input has received that nobody would send again."""
        parcels: list[Parcel] = getattr(self._live, "last", list)()
        self._todo.extend(_Underway(parcel, self._handed, max(1, len(parcel.items))) for parcel in parcels)
        self._unsettled += sum(max(1, len(parcel.items)) for parcel in parcels)
        while parcels and self._todo and not self._broken:
            self._work()
            self._emitter.flush(timeout)

    def _give_back(self) -> None:
        stopping = Unavailable(f"{self.name} is stopping")
        for underway in (*self._pending, *self._todo):
            underway.parcel.settle(stopping)
        self._pending.clear()
        self._todo.clear()
