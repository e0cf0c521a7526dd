"""The only module that chooses adapters: log and store by URL, flows and landscape by folder."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from pipeline.answers.judging import Bench
from pipeline.config import Config
from pipeline.errors import Invalid, Unavailable
from pipeline.log import ControlReader, Log, open_log
from pipeline.store import open_store
from pipeline.store.client import parse_address
from pipeline.store.contract import Store
from schemas.control import FlowPublished, decode_control
from schemas.flow import Flow, Flows
from schemas.flow_file import load_flows
from schemas.landscape import Landscape
from schemas.landscape_file import SHIPPED_FLOWS, load_landscape
from tracer.keyring import KeyRing
from tracer.sinks.memory import wall_clock
from tracer.sinks.sqlite_file import path_of

_FLOW_KEY = b"flow:"


class App:
    """What a process is put together from. ``clock``: µs now; SQLite's append clock, and what "2 hours ago" counts from."""

    def __init__(self, config: Config, clock: Callable[[], int] = wall_clock):
        self.config = config
        self.clock = clock

    def definitions(self) -> tuple[Flows, Landscape]:
        """Flows and landscape: those that ship, and those of ``--flows``. Raises ``Invalid`` naming file and line."""
        folders = [SHIPPED_FLOWS, *([self.config.flows] if self.config.flows else [])]
        landscape = load_landscape(folders)
        return load_flows(folders, landscape), landscape

    def keyring(self, *, create: bool = False) -> KeyRing:
        """Keys by which personal data is hashed: the environment's, and with an embedded log those kept beside it.

        ``create``: make one there where there is none at all; for those who send. Raises ``Invalid`` for what is no key.
        """
        try:
            folder = path_of(self.config.log_url).parent if self.config.embedded_log else None
            return KeyRing.read(self.config.env, folder, create=create)
        except ValueError as error:
            raise Invalid(str(error)) from None

    @contextmanager
    def log(self) -> Iterator[Log]:
        """The event log; raises ``Unavailable`` or ``Invalid``."""
        if self.config.embedded_log:
            self.config.data.mkdir(parents=True, exist_ok=True)
        log = open_log(self.config.log_url, self.config.env, self.clock)
        try:
            yield log
        finally:
            log.close()

    @contextmanager
    def store(self, *, create: bool = True) -> Iterator[Store]:
        """The store: a server by URL; embedded, whoever serves the folder, else the folder itself.

        ``create``: make an embedded folder that is not there. Without it that is ``Unavailable``, so that a typing error in
        ``--data`` does not look like an empty store.
        """
        if self.config.embedded_store and not create and not self.store_folder().is_dir():
            raise Unavailable(
                f"there is no store in {self.store_folder()}: name the folder with --data, "
                "or begin with lastseen demo, lastseen load or lastseen up"
            )
        store = open_store(self.config.store_url, self.config.env)
        try:
            yield store
        finally:
            store.close()

    def store_folder(self) -> Path:
        """Where the embedded store is."""
        return Path(parse_address(self.config.store_url, self.config.env).folder)

    @contextmanager
    def served_store(self, port: int = 0) -> Iterator[str]:
        """Serve the embedded store from a thread of this process; yields the URL. Raises ``Unavailable`` naming who holds it."""
        from pipeline.store.serve import serve

        server = serve(self.store_folder(), port, self.config.env)
        try:
            yield server.url
        finally:
            server.stop()

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        """What answers read from."""
        flows, landscape = self.definitions()
        with self.store(create=False) as store:
            yield Bench(store, flows, landscape, self.clock, self.published, self.keyring())

    def published(self) -> list[Flow]:
        """The flows that control holds; none where the log cannot be read, for answers rest on the store alone."""
        if self.config.embedded_log and not path_of(self.config.log_url).is_file():
            return []
        try:
            with self.log() as log:
                reader = log.control_reader()
                try:
                    return _published(reader)
                finally:
                    reader.close()
        except (Unavailable, Invalid):
            return []

    def worker_name(self) -> str:
        """For *own* records: unique among processes and threads that live."""
        return f"{socket.gethostname()[:60]}-{os.getpid()}-{threading.get_native_id()}"


def _published(reader: ControlReader) -> list[Flow]:
    """Of two with one version the first. What is not in this version's language is left out."""
    end, found = reader.end_offset(), dict[tuple[str, int], FlowPublished]()
    while reader.position() < end:
        # Kafka hands out nothing while it cannot be reached, too; who asks for an answer does not wait for ever.
        records = reader.read(10_000, 5_000)
        if not records:
            break
        for record in records:
            if record.key.startswith(_FLOW_KEY):
                with suppress(Invalid):
                    said = decode_control(record.value)
                    if isinstance(said, FlowPublished):
                        found.setdefault((said.flow, said.version), said)
    flows = []
    for said in found.values():
        with suppress(ValidationError):
            flows.append(Flow.model_validate(said.content))
    return flows
