"""The keys by which personal data is hashed, and the form that a hashed value has.

``h:ID:DIGEST``: DIGEST is HMAC-SHA-256 under the key ID of the value in the form under which values meet (UTF-8), as base32 in
lower case without padding. 256 bits are kept, so a value has one form for each key and no two values share one; without the
key nobody can try out addresses. The id stands in the value, so that keys can be changed: what is sent is hashed by the current
key, what is looked for is tried under all that are known.

Keys come from the environment variable ``LASTSEEN_PII_KEY`` as ``ID:SECRET``, several parted by white space: the first is the
current one, the others, newest first, are those before it. To change keys, put the new one in front, at senders and at those
who look things up; an old one may go when nothing hashed by it is kept any more.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "LASTSEEN_PII_KEY"
FILE_NAME = "pii-key"
"""In the folder of the embedded log, readable by its owner only: stands in where the environment names no key."""
SHORTEST_SECRET = 16

# 52 letters of base32 are 260 bits, of which the last four are 0: the last letter is one of two.
_HASHED = re.compile(r"h:([a-z0-9]{1,16}):[a-z2-7]{51}[aq]")
_ID = re.compile(r"[a-z0-9]{1,16}")


class NoKey(ValueError):  # noqa: N818
    """Personal data is to be hashed, and there is no key, or none that can be used. Nothing was sent."""


def hashed_by(text: str) -> str | None:
    """The id of the key by which a value was hashed; None for a plain one."""
    found = _HASHED.fullmatch(text)
    return found[1] if found else None


class KeyRing:
    """Keys by id, the current one first. Never shown: neither ``repr`` nor any message has a secret."""

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[str, bytes] | None = None):
        self._keys = dict(keys or {})
        self.current = next(iter(self._keys), None)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @classmethod
    def read(cls, env: Mapping[str, str], folder: Path | None = None, *, create: bool = False) -> KeyRing:
        """Keys of the environment; behind them those of ``folder``'s key file, where there is one.

        Args:
            env: where ``LASTSEEN_PII_KEY`` is looked up.
            folder: of the embedded log; None where keys must come from the environment.
            create: where neither has a key, make one and keep it in ``folder``. For those who send.

        Raises:
            NoKey: what stands there is no key.
        """
        keys = _parse(env.get(VARIABLE, ""), VARIABLE)
        if folder is not None:
            path = folder / FILE_NAME
            if create and not keys:
                _make(path)
            with suppress(FileNotFoundError):
                for name, key in _parse(path.read_text("utf-8", "replace"), str(path)).items():
                    if keys.setdefault(name, key) != key:
                        raise NoKey(f"{VARIABLE} and {path} have different keys under the id {name}")
        return cls(keys)

    def hash(self, value: str) -> str:
        """``value``, in the form under which values meet, hashed by the current key. Raises `NoKey`."""
        if self.current is None:
            raise NoKey(f"personal data is to be hashed, and there is no key: set {VARIABLE}=ID:SECRET")
        return self._form(self.current, value)

    def hashes(self, value: str) -> tuple[str, ...]:
        """``value`` under every key that is known, the current one first."""
        return tuple(self._form(name, value) for name in self._keys)

    def lasting(self, value: str) -> str:
        """``value`` by the oldest key: what should stay the same when keys are changed. Raises `NoKey`."""
        return self._form(list(self._keys)[-1], value) if self._keys else self.hash(value)

    def knows(self, value: str) -> bool:
        """Whether it was hashed by one of these keys."""
        return hashed_by(value) in self._keys

    def _form(self, name: str, value: str) -> str:
        digest = hmac.digest(self._keys[name], value.encode("utf-8", "surrogatepass"), "sha256")
        return f"h:{name}:{base64.b32encode(digest).decode().rstrip('=').lower()}"


def _parse(text: str, where: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for number, word in enumerate(text.split(), start=1):
        name, _, secret = word.partition(":")
        if not secret or not _ID.fullmatch(name):
            raise NoKey(f"{where}: key {number} is not ID:SECRET, where ID is 1 to 16 letters a-z and digits, as k1")
        if len(secret.encode()) < SHORTEST_SECRET:
            raise NoKey(
                f"{where}: the secret of {name} is shorter than {SHORTEST_SECRET} bytes; openssl rand -hex 32 makes one"
            )
        if name in keys:
            raise NoKey(f"{where}: the id {name} stands for two keys")
        keys[name] = secret.encode()
    return keys


def _make(path: Path) -> None:
    """A key of our own, written whole or not at all; of two who make one at once, the first wins."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"k1:{secrets.token_hex(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
