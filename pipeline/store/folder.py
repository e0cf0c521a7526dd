"""A folder with an embedded store: who holds it, who serves it, and the token that opens it.

chDB admits one process to a folder and says nothing of whom it let in. So a lock file names the holder, and whoever serves the
folder says where. Layout: ``chdb/`` the engine's own, ``store.lock``, ``served.json``, ``token``.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import Unavailable

TOKEN_VARIABLE = "LASTSEEN_STORE_TOKEN"  # noqa: S105  (its name, not its value)
# /ping answers with the id of served.json, so that no token is sent to a stranger who took the port over.
ID_HEADER = "X-Lastseen-Store"


class Served(NamedTuple):
    """``started``: µs. ``id`` is made anew at each start."""

    url: str
    pid: int
    started: int
    id: str


class Folder:
    """Paths and records of one data folder."""

    def __init__(self, path: Path):
        self.path = Path(os.path.realpath(path))
        self.engine = self.path / "chdb"
        self._lock = self.path / "store.lock"
        self._served = self.path / "served.json"
        self._token = self.path / "token"

    def make(self) -> None:
        """Raises ``Unavailable`` where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot make the folder {self.path}: {error.strerror}") from None

    def token(self, env: Mapping[str, str]) -> str:
        """From the environment, else from the token file, which is made (mode 0600) where there is none."""
        if env.get(TOKEN_VARIABLE):
            return env[TOKEN_VARIABLE]
        try:
            return self._read_token() or self._make_token()
        except OSError as error:
            raise Unavailable(f"cannot read the token in {self.path}: {error.strerror}") from None

    def _read_token(self) -> str:
        try:
            return self._token.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""

    def _make_token(self) -> str:
        # Linked into place: of two that start at once one wins, and nobody reads half a token.
        draft = self._token.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(draft, self._token)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return self._read_token()

    def served(self) -> Served | None:
        """Who serves this folder now; None where nobody does, whatever an old file says."""
        try:
            said = json.loads(self._served.read_text(encoding="utf-8"))
            served = Served(str(said["url"]), int(said["pid"]), int(said["started"]), str(said["id"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return served if _alive(served.pid) and _pinged(served) else None

    def announce(self, served: Served) -> None:
        draft = self._served.with_suffix(".new")
        draft.write_text(json.dumps(served._asdict()), encoding="utf-8")
        draft.replace(self._served)

    def withdraw(self, served: Served) -> None:
        """Remove what was announced, unless somebody else has announced since."""
        try:
            if json.loads(self._served.read_text(encoding="utf-8")).get("id") == served.id:
                self._served.unlink()
        except (OSError, ValueError):
            pass

    def holder(self) -> str:
        """The process that holds the folder, for a message."""
        try:
            said = json.loads(self._lock.read_text(encoding="utf-8"))
            return f"process {said['pid']} ({said['command']})"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def lock(self) -> bool:
        """Take the folder for this process; False where another has it. Counted: each success wants an ``unlock``."""
        with _guard:
            held = _held.get(self.path)
            if held:
                _held[self.path] = (held[0], held[1] + 1)
                return True
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "command": _command()}).encode(), 0)
            _held[self.path] = (descriptor, 1)
            return True

    def held_here(self) -> bool:
        """Whether this process has the folder."""
        with _guard:
            return self.path in _held

    def unlock(self) -> None:
        with _guard:
            descriptor, count = _held[self.path]
            if count > 1:
                _held[self.path] = (descriptor, count - 1)
                return
            del _held[self.path]
            os.close(descriptor)


# flock knows open files, not processes: one descriptor for all in this process that use the folder.
_held: dict[Path, tuple[int, int]] = {}
_guard = threading.Lock()


def _command() -> str:
    return " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:3]])[:200]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _pinged(served: Served) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{served.url}/ping", timeout=5) as answer:
            return bool(answer.headers.get(ID_HEADER) == served.id)
    except (urllib.error.URLError, OSError, ValueError):
        return False
