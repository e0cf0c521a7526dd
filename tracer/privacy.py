"""Personal data: hashed or taken out before anything leaves the machine (FAULTS 33).

The landscape says of key types and attributes ``pii: hash`` or ``pii: remove``. `Privacy` applies it to what is about to be
sent: keys and attributes; texts that repeat their values (an event's error, why a record made none); ids that are made of
them; and the bytes of records that made no event.

Laws:

- A hash is that of the value in the form under which values meet, so whoever looks for the plain value finds it.
- Applying it twice is applying it once: what a key that we know has hashed stays as it is.
- Fail closed: without a key nothing that is to be hashed is sent (`NoKey`); bytes in which a value that is known to be there
  cannot be found, or whose record could not be read, stay on the machine, and a placeholder is sent in their place.

What is known as personal is known by its value: what stands nowhere under a declared name is not recognised, but for e-mail
addresses in texts and bytes, where a rule is about mail.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from tracer import redaction
from tracer.keyring import KeyRing, NoKey
from tracer.keys import Normalise

HASH, REMOVE = "hash", "remove"
REMOVED = "***"
"""Stands in texts and bytes where a value was taken out."""

_MAX_DEPTH = 64
_MOST_NAMES = 10_000
_SCALARS = frozenset((str, int, float, bool, bytes, type(None)))


@dataclass(slots=True)
class Personal:
    """Personal values of one record: as they stand in it, to what stands in their place.

    ``opaque``: there are some that bytes cannot be searched for (a truth value, one or two characters, nested too deep).
    """

    values: dict[str, str] = field(default_factory=dict)
    opaque: bool = False

    def __bool__(self) -> bool:
        return bool(self.values) or self.opaque

    def joined(self, other: Personal) -> Personal:
        return Personal({**self.values, **other.values}, self.opaque or other.opaque)


class Payload(NamedTuple):
    """What may be sent of a record that made no event. ``withheld``: it is a placeholder, and the bytes themselves must be kept
    here if they are to be tried again."""

    body: bytes
    withheld: bool


class Privacy:
    """The rules, applied. Immutable; used by any thread.

    Args:
        keys: key type to ``hash`` or ``remove``. A rule is one for attributes and fields of that name too.
        attributes: attribute name to the same.
        ring: keys for hashing.
        normalise: key type to the form under which its values meet (the landscape's); others are trimmed.

    Names are compared without regard to case, and by what follows their last dot: ``customer.Email`` falls under ``email``.
    """

    def __init__(
        self,
        keys: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
        ring: KeyRing | None = None,
        normalise: Normalise | None = None,
    ):
        self.ring = ring or KeyRing()
        self._keys = {name.casefold(): rule for name, rule in (keys or {}).items()}
        self._rules = {name.casefold(): rule for name, rule in (attributes or {}).items()} | self._keys
        self._normalise = {name.casefold(): way for name, way in (normalise or {}).items()}
        # Names repeat, and finding a rule takes three times as long as a look into a dict.
        self._asked: dict[bool, dict[str, str | None]] = {False: {}, True: {}}
        for name, rule in self._rules.items():
            if rule not in (HASH, REMOVE):
                raise ValueError(f"{name}: pii is {HASH} or {REMOVE}, not {rule!r}")

    def __bool__(self) -> bool:
        """Whether there are any rules."""
        return bool(self._rules)

    def rule(self, name: str, *, key: bool = False) -> str | None:
        """``hash``, ``remove`` or None: what holds for an attribute or field of that name; with ``key``, for a key type."""
        found = self._asked[key].get(name, "")
        if found != "":
            return found
        rules, folded = self._keys if key else self._rules, name.casefold()
        found = rules.get(folded) or rules.get(folded.rpartition(".")[2])
        if len(self._asked[key]) < _MOST_NAMES:
            self._asked[key][name] = found
        return found

    def to_hash(self, names: Iterable[str] | None = None) -> list[str]:
        """Those of ``names`` (None: of all rules) that are to be hashed, sorted."""
        return sorted({name for name in (self._rules if names is None else names) if self.rule(name) == HASH})

    def require(self, names: Iterable[str] | None = None) -> None:
        """At the start: there is a key if one of ``names`` (None: of all rules) is to be hashed. Raises `NoKey`."""
        asked = self.to_hash(names)
        if asked and not self.ring:
            raise NoKey(
                f"{', '.join(asked)}: declared pii: hash, and there is no key to hash by; "
                "set LASTSEEN_PII_KEY=ID:SECRET (openssl rand -hex 32 makes a secret)"
            )

    # Events

    def event(self, event: Mapping[str, Any], personal: Personal | None = None) -> dict[str, Any]:
        """An event (the contract's form) as it may be sent; a copy. See `events`."""
        return self.events([event], personal)[0]

    def events(self, events: Iterable[Mapping[str, Any]], personal: Personal | None = None) -> list[dict[str, Any]]:
        """The events of one record as they may be sent.

        A value that is personal in one of them, or in ``personal``, is so in the ids and texts of all. An id that holds one is
        hashed as a whole, by the oldest key: the same record has the same ids when keys are changed.

        Args:
            personal: what else is known of the record (`found`).

        Raises:
            NoKey: something is to be hashed, and there is no key. Nothing may be sent.
        """
        given = list(events)
        if not self._rules:
            return [dict(event) for event in given]
        known = self.found(given) if personal is None else self.found(given).joined(personal)
        return [self.applied(event, known) for event in given]

    def applied(self, event: Mapping[str, Any], known: Personal) -> dict[str, Any]:
        """An event as it may be sent; ``known`` is all that is personal in its record, this event included. Raises `NoKey`."""
        applied = dict(event)
        keys, attributes = event.get("keys"), event.get("attributes")
        if isinstance(keys, Mapping):
            applied["keys"] = self._values(keys, key=True)
        if isinstance(attributes, Mapping):
            applied["attributes"] = {
                name: self.text(value, known, mail=False) if isinstance(value, str) else value
                for name, value in self._values(attributes, key=False).items()
            }
        if isinstance(event.get("error"), str):
            applied["error"] = self.text(event["error"], known)
        if known.values and isinstance(event.get("id"), str) and redaction.holds(event["id"], known.values):
            applied["id"] = self.ring.lasting(event["id"]) if self.ring else self._no_id()
        return applied

    @staticmethod
    def _no_id() -> str:
        raise NoKey("an event's id is made of personal data, which takes a key: set LASTSEEN_PII_KEY=ID:SECRET")

    def _values(self, values: Mapping[str, Any], *, key: bool) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in values.items():
            rule = self.rule(name, key=key)
            if rule is None or value is None or value == "":
                kept[name] = value
            elif rule == HASH:
                kept[name] = self._hashed(name, as_text(value))
        return kept

    def _hashed(self, name: str, value: str) -> str:
        if self.ring.knows(value.strip()):
            return value.strip()
        short = name.casefold()
        way = self._normalise.get(short) or self._normalise.get(short.rpartition(".")[2], str.strip)
        plain = way(value)
        return self.ring.hash(plain) if plain else value

    # What is known

    def found(
        self,
        events: Iterable[Mapping[str, Any]] = (),
        record: Any = None,
        named: Iterable[tuple[str, Any]] = (),
    ) -> Personal:
        """Personal values of a record.

        Args:
            events: those that were made of it; their keys and attributes.
            record: its fields, nested or not: those that are named as a rule says.
            named: (key type or attribute, value of a field that it is read from), whatever that field is called.
        """
        known = Personal()
        if not self._rules:
            return known
        for event in events:
            for part, key in (("keys", True), ("attributes", False)):
                values = event.get(part)
                for name, value in values.items() if isinstance(values, Mapping) else ():
                    if self.rule(name, key=key):
                        self._note(known, name, value)
        for name, value in named:
            if self.rule(name):
                self._note(known, name, value)
        for name, value in self._fields(record, known, _MAX_DEPTH):
            self._note(known, name, value)
        return known

    def _fields(self, record: Any, known: Personal, depth: int) -> Iterator[tuple[str, Any]]:
        if depth == 0:
            known.opaque = True
        elif isinstance(record, Mapping):
            for name, value in record.items():
                if isinstance(name, str) and self.rule(name):
                    yield name, value
                elif type(value) not in _SCALARS and isinstance(value, (Mapping, list, tuple)):
                    yield from self._fields(value, known, depth - 1)
        elif isinstance(record, (list, tuple)):
            for value in record:
                yield from self._fields(value, known, depth - 1)

    def _note(self, known: Personal, name: str, value: Any, depth: int = _MAX_DEPTH) -> None:
        if value is None or depth == 0:
            known.opaque = known.opaque or value is not None
            return
        if isinstance(value, (Mapping, list, tuple)):
            for inner in value.values() if isinstance(value, Mapping) else value:
                self._note(known, name, inner, depth - 1)
            return
        if isinstance(value, (bool, bytes, bytearray, memoryview)):
            known.opaque = True
            return
        text = as_text(value).strip()
        if not text or self.ring.knows(text):
            return
        known.opaque = known.opaque or len(text) < redaction.SHORTEST
        known.values[text] = self._hashed(name, text) if self.ring and self.rule(name) == HASH else REMOVED

    # Texts and bytes

    @cached_property
    def _mail(self) -> str | None:
        """The name of the rule that is about mail, if there is one."""
        return next((name for name in self._rules if "mail" in name), None)

    def _address(self, address: str) -> str:
        if self._mail is None or self.rule(self._mail) == REMOVE or not self.ring:
            return REMOVED
        return self._hashed(self._mail, address)

    def text(self, text: str, personal: Personal | None = None, *, mail: bool = True) -> str:
        """A text for people (an error, a reason), without the values of ``personal``, and (``mail``) without what looks like an
        e-mail address, where a rule is about mail."""
        if personal is not None and personal.values:
            text = redaction.text_without(text, personal.values)
        if mail and self._mail is not None and "@" in text:
            text = redaction.MAIL.sub(lambda found: self._address(found[0]), text)
        return text

    def payload(self, raw: bytes, personal: Personal | None, place: str, limit: int = 256 * 1024) -> Payload:
        """What may be sent of a record's bytes.

        Args:
            raw: as they stood, whole (what is cut off before may end in half a value).
            personal: what is known of the record; empty where it holds nothing personal; None where it could not be read and may
                hold some: then nothing is known, and nothing of it is sent.
            place: where it stood, for the placeholder; without personal data.
            limit: bytes that are sent at most.
        """
        if not self._rules:
            return Payload(raw[:limit], False)
        if personal is None or personal.opaque:
            return self._placeholder(raw, place)
        clean = redaction.bytes_without(raw, personal.values)
        if clean is None:
            return self._placeholder(raw, place)
        if len(raw) >= limit:  # cut off already, maybe in the middle of a value
            clean = clean[: max(0, limit - max(4096, *(6 * len(value) for value in personal.values)))]
        if self._mail is not None:
            clean = redaction.MAIL_BYTES.sub(lambda found: self._address(redaction.unquoted(found[0])).encode(), clean)
        return Payload(clean[:limit], False)

    def _placeholder(self, raw: bytes, place: str) -> Payload:
        """Length, digest and place. The digest is keyed: that of a short line could be tried out."""
        said: dict[str, Any] = {
            "withheld": "may hold personal data; kept where it was read",
            "place": place,
            "bytes": len(raw),
        }
        if self.ring:
            said["digest"] = self.ring.hash(raw.decode("latin-1"))
        return Payload(json.dumps(said, ensure_ascii=False).encode("utf-8", "backslashreplace"), True)


def as_text(value: object) -> str:
    """A scalar as a key's value: ``10248`` whether it came as text, integer or ``10248.0``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
