"""Forms: under which values somebody's value is kept, key type by key type; personal data is kept as a hash."""

from __future__ import annotations

from pipeline.errors import Invalid
from pipeline.store.contract import Reader
from schemas.landscape import HASHED, Landscape
from tracer.keyring import VARIABLE, KeyRing, hashed_by

MAX_PROBES = 100


def forms(landscape: Landscape, ring: KeyRing, key_type: str, value: str) -> tuple[str, ...]:
    """Forms in which ``value`` may be kept as a ``key_type``, the likeliest first.

    One, in the landscape's normal form; of a type that is ``pii: hash`` its hash by every key that we have, and last the normal
    form itself: so it was kept before it was declared, and so others may have sent it.
    """
    normal = landscape.normalise(key_type, value)
    if not is_hashed(landscape, key_type) or HASHED.fullmatch(normal):
        return (normal,)
    return (*ring.hashes(normal), normal)


def is_hashed(landscape: Landscape, key_type: str) -> bool:
    kind = landscape.keys.get(key_type)
    return kind is not None and kind.pii == "hash"


def no_key(landscape: Landscape, ring: KeyRing, key_type: str, value: str) -> str:
    """Why a plain value of this type cannot be found, in a sentence; "" where it can."""
    if ring or not is_hashed(landscape, key_type) or HASHED.fullmatch(value.strip()):
        return ""
    return (
        f"{key_type} is kept as a hash, and the key that made it is not here: set {VARIABLE} as those who send have it"
    )


def require_key(landscape: Landscape, ring: KeyRing, key_type: str, value: str, field: str) -> None:
    """Raises ``Invalid`` where a plain value of this type could be found only by a key that is not here."""
    if reason := no_key(landscape, ring, key_type, value):
        raise Invalid(reason, field=field)


def missing_keys(store: Reader, ring: KeyRing, key_type: str) -> list[str]:
    """Ids of keys that made hashes of this type which the store holds, and that are not here: by them nothing is found."""
    ids: list[str] = []
    begin = "h:"
    for _ in range(MAX_PROBES):
        value = store.key_from(key_type, begin, "h;")
        if not value:
            break
        id_ = hashed_by(value)
        begin = f"h:{id_};" if id_ else f"{value}\0"
        if id_ and id_ not in ring.ids:
            ids.append(id_)
    return ids


def missing_words(key_type: str, ids: list[str]) -> str:
    """The same in a sentence."""
    many = "keys" if len(ids) > 1 else "key"
    return f"some of what is kept as {key_type} was hashed by the {many} {', '.join(ids)}, not known here: add to {VARIABLE}"
