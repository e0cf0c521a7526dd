"""What workers and people write to ``lastseen.events`` beside events: copies, links, facts, decisions, requests to forget.

Bodies are JSON, one object a line; the record's header ``ls-kind`` says which. Workers write them by the hundred, so they are
msgspec structs; what a person's command writes is read by the same types, and refused with the field at fault.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from schemas.errors import Invalid
from schemas.event import MAX_KEY_VALUE, MAX_NAME, MAX_TEXT

# ``type:value``.
Address = Annotated[
    str, Meta(min_length=3, max_length=MAX_NAME + 1 + MAX_KEY_VALUE, pattern="^[^:]+:[^\\x00-\\x1f\\x7f]+$")
]
_Version = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Text = Annotated[str, Meta(max_length=MAX_TEXT)]

SHARED_MARK = "~"
PATH_BETWEEN = "\t"
WAYS_BETWEEN = "\n"
# Twelve aliases from the one that an event names to the transaction itself, at most.
MAX_WAY = 12 * (MAX_NAME + MAX_KEY_VALUE + 2)


class Copy(msgspec.Struct, gc=False):
    """Kind ``copy``: an event for ``to``, a transaction or an alias (``type:value``), as JSON.

    ``via``: the way by which it came to the transaction: the alias, and before it those by which the transaction claims that one,
    its own first, with tabs between; ``~`` in front where one of them is shared. "" for a copy that is kept under the alias ``to``.
    """

    to: Address
    event: msgspec.Raw
    via: Annotated[str, Meta(max_length=MAX_WAY)] = ""


class Link(msgspec.Struct, gc=False, omit_defaults=True):
    """Kind ``link``: the alias names transaction ``to``.

    ``by``: the way by which the event that says so had come itself, "" where it named the transaction. ``shared``: others may
    claim it too. ``state``: ``withdrawn`` once what it rested on turned out to be another's. ``at``: µs, time of the event.
    ``version``: place of the record in whose course it was said; of one (alias, to, by) the greatest counts.
    """

    alias: Address
    to: Address
    version: _Version
    at: int
    by: Annotated[str, Meta(max_length=MAX_WAY)] = ""
    shared: bool = False
    state: Literal["claimed", "withdrawn"] = "claimed"


class Fact(msgspec.Struct, gc=False, omit_defaults=True):
    """Kind ``conflict``: what transaction ``to`` has to know of an alias that it claims.

    ``state``: ``clear``; ``contested``: others claim it too; ``foreign``: it is another's; ``void``: it joins nothing.
    ``way``: the only one by which the alias leads to the transaction; "" where any does. ``others``: other claimants, at most ten.
    ``holders``: for a ``once`` key, others that hold it, with µs when.
    """

    to: Address
    alias: Address
    version: _Version
    state: Literal["clear", "contested", "foreign", "void"] = "clear"
    others: tuple[str, ...] = ()
    holders: tuple[tuple[str, int], ...] = ()
    way: str = ""


class Decision(msgspec.Struct, gc=False, omit_defaults=True):
    """Kind ``decision``: a person's word on who an alias names. Keyed by the alias.

    ``accept``: it names ``to`` and, unless it is shared, nobody else. ``break``: it does not name ``to``. The latest counts.
    """

    alias: Address
    to: Address
    decision: Literal["accept", "break"]
    by: _Text = ""
    why: _Text = ""


class Forget(msgspec.Struct, gc=False, omit_defaults=True):
    """Kind ``forget``: what the partition that it is read in holds of ``key`` goes, and may not come back.

    ``mode`` key: a person's word, written into every partition; every transaction that carries the key goes with it.
    ``transaction``: one that did, from its owner to every partition, with the ``aliases`` that it claimed. ``salt``: hex, of the
    digests by which its return is refused. ``at``: of one whose number comes round, µs of an event of it, 0 where unknown.
    """

    key: Address
    salt: Annotated[str, Meta(pattern="^([0-9a-f]{2}){8,32}$")]
    mode: Literal["key", "transaction"] = "key"
    aliases: tuple[str, ...] = ()
    by: _Text = ""
    why: _Text = ""
    at: int = 0


_Body = TypeVar("_Body", Copy, Link, Fact, Decision, Forget)
_ENCODER = msgspec.json.Encoder()
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_lines(bodies: Iterable[msgspec.Struct]) -> bytes:
    """One JSON object a line."""
    return b"\n".join(map(_ENCODER.encode, bodies))


class Lines:
    """Reads bodies of one kind. ``Lines(Link).read(body)``."""

    def __init__(self, kind: type[Any]):
        self._decode = msgspec.json.Decoder(kind).decode_lines

    def read(self, body: bytes) -> list[Any]:
        """All of them. Raises ``Invalid``: others can write to the log as well."""
        try:
            return list(self._decode(body))
        except _NO_JSON as error:
            raise Invalid(f"not what it should be: {error}") from None


def address(key_type: str, value: str) -> str:
    return f"{key_type}:{value}"


def parts(text: str) -> tuple[str, str]:
    """Key type and value of an address."""
    kind, _, value = text.partition(":")
    return kind, value
