"""Personal data in what a collector reads: what of a record may leave the machine (FAULTS 33).

`tracer.privacy` knows values by the names that the landscape declares ``pii``; here it is told what the mapping knows: from
which fields such a key or attribute is read, whatever they are called, whether or not an event came of the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from collectors.formats.contract import Item, Ready
from collectors.inputs.record import Unreadable, as_json
from collectors.mapper import Mapper
from collectors.mapping import EventSpec
from schemas.landscape import Landscape
from tracer.keyring import KeyRing
from tracer.privacy import REMOVED, Payload, Personal, Privacy
from tracer.redaction import holds

MOST_VALUES = 1_000
"""That bytes are searched for; where more are known to stand in them, they are withheld."""


# A plain digest of what a record says could be tried out: all but what is personal may be known. Places and the ids made of them
# have short ones; an id that is made of a primary key only where that is too long to be read.
_DIGEST, _LONG_DIGEST = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{64}")


class Cleared(NamedTuple):
    """What of a record may be sent. ``personal``: what is known of it, for `Guard.aside`."""

    events: list[dict[str, Any]]
    personal: Personal


class Guard:
    """Stands between a mapping and the emitter, for one source.

    Args:
        privacy: the rules.
        mapper: the mapping, applied; None for a source whose records are events already.
        columns: names of the source's fields, as far as they are known beforehand.

    Attributes:
        may_hold: whether a record that cannot be read may hold personal data: the mapping reads some, a column is named so, or
            nothing is known of the source beforehand.
    """

    def __init__(self, privacy: Privacy, mapper: Mapper | None = None, columns: Iterable[str] = ()):
        self._privacy = privacy
        self._mapper = mapper
        specs = mapper.mapping.events if mapper is not None else ()
        self._fields = [(name, field) for spec in specs for name, field in _read_from(spec, privacy)]
        self._names = {name for name, _ in self._fields}
        self._sources = fields = {field for _, field in self._fields}
        self._ids = mapper is not None and any(name in fields or privacy.rule(name) for name in mapper.mapping.key)
        self.may_hold = bool(privacy) and (
            mapper is None or not specs or bool(fields) or any(privacy.rule(name) for name in columns)
        )

    @property
    def hashes(self) -> bool:
        """Whether records may hold what is to be hashed: the mapping reads some, or the records are events of any keys already."""
        return bool(self._privacy.to_hash(self._asked))

    def require(self) -> None:
        """At the start. Raises `tracer.keyring.NoKey` where something is to be hashed and there is no key."""
        self._privacy.require(self._asked)

    @property
    def _asked(self) -> set[str] | None:
        return self._names if self._mapper is not None and self._mapper.mapping.events else None

    def clear(self, item: Item, events: Iterable[Mapping[str, Any]]) -> Cleared:
        """The events that were made of a record, in the form in which they travel, as they may be sent.

        Raises:
            NoKey: something is to be hashed, and there is no key.
        """
        if not self._privacy:
            return Cleared([dict(event) for event in events], Personal())
        given = list(events)
        personal = self.known(item, given) or Personal()
        cleared = [self._privacy.applied(event, personal) for event in given]
        if personal and self._privacy.ring:
            for event, before in zip(cleared, given, strict=True):
                if self._ids or self._is_digest(item, str(before["id"])):
                    event["id"] = self._privacy.ring.lasting(str(before["id"]))
        return Cleared(cleared, personal)

    def _is_digest(self, item: Item, id_: str) -> bool:
        if isinstance(item, Ready) and item.event.get("id"):
            return False
        keyed = self._mapper is not None and bool(self._mapper.mapping.key)
        return (_LONG_DIGEST if keyed else _DIGEST).search(id_) is not None

    def known(self, item: Item, events: Iterable[Mapping[str, Any]] = ()) -> Personal | None:
        """What is personal in a record; None where it could not be read and may hold some."""
        if isinstance(item, Unreadable):
            return None if self.may_hold else Personal()
        if isinstance(item, Ready):
            return self._privacy.found([item.event, *events], item.event)
        mapper = self._mapper
        named = [(name, mapper.get(item.fields, field)) for name, field in self._fields] if mapper is not None else []
        return self._privacy.found(events, item.fields, named)

    def place(self, place: str, item: Item) -> str:
        """A record's place as it may be sent: one that is made of what it says (an id, a digest of its content) is hashed."""
        known = self.known(item) if self._privacy else Personal()
        if known is not None and not known:
            return place
        if known is not None and not holds(place, known.values) and not _DIGEST.search(place):
            return place
        return self._privacy.ring.lasting(place) if self._privacy.ring else REMOVED

    def reason(self, text: str, item: Item, field: str = "") -> str:
        """Why a record, or an event of it, could not be made, without what is personal.

        Args:
            field: the field at fault, where there is one: a message may show half of its value, and that is found nowhere.
        """
        if not self._privacy:
            return text
        known = self.known(item)
        parts = field.split(",") if field else []
        if known is None or any(part in self._sources or self._privacy.rule(part) for part in parts):
            text = _without_values(text)
        return self._privacy.text(text, known)

    def aside(self, item: Item, place: str, beside: Iterable[Item] = ()) -> Payload:
        """The bytes of a record that made no event, or not all of them, as they may be sent.

        Where ``withheld`` it is a placeholder, and `bytes_of` must be kept on this machine if it is to be tried again.

        Args:
            place: where it stood, for people.
            beside: the other items of its parcel: what came of the same bytes (an interchange, an array) stands in them too.
        """
        known = self.known(item)
        if item.raw is not None and self._privacy:
            for other in beside:
                if known is None or len(known.values) > MOST_VALUES:
                    break
                if other is not item and other.raw is item.raw:
                    more = self.known(other)
                    known = None if more is None else known.joined(more)
        if known is not None and len(known.values) > MOST_VALUES:
            known = None
        return self._privacy.payload(bytes_of(item), known, place)


def bytes_of(item: Item) -> bytes:
    """A record's bytes as they stood, whole; what a database gave as JSON."""
    if item.raw is not None:
        return item.raw
    return as_json(item.event if isinstance(item, Ready) else item.fields)


def _read_from(spec: EventSpec, privacy: Privacy) -> Iterator[tuple[str, str]]:
    """(key type or attribute that is personal, field that it is read from)."""
    for name, value in spec.keys.items():
        if privacy.rule(name, key=True):
            yield from ((name, field) for field in value.fields())
    for name, value in spec.attributes.items():
        if privacy.rule(name):
            yield from ((name, field) for field in value.fields())


def _without_values(text: str) -> str:
    """A message shows values in quotes, at its end."""
    ends = [at for quote in "'\"" if (at := text.find(quote)) >= 0]
    return f"{text[: min(ends)]}(not shown)" if ends else text


def privacy_of(landscape: Landscape, ring: KeyRing, attributes: Mapping[str, str] | None = None) -> Privacy:
    """What the landscape declares ``pii``, and a collector of its ``attributes``."""
    keys, named = landscape.personal()
    return Privacy(keys, {**(attributes or {}), **named}, ring, landscape.normalisers())
