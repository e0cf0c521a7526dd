"""A shop whose files hold e-mail addresses, loaded by the real command; and everything that came of it, to be searched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lz4.frame
import msgspec
from click.testing import CliRunner, Result

from pipeline.app import App
from pipeline.cli.main import cli
from pipeline.cli.service import make_worker, run_drain, stopping
from pipeline.config import Config, read_config
from schemas.flow import Flows
from schemas.landscape import Landscape
from tests.cli.test_commands import World

OLD, NEW = "k1:one-secret-of-the-past", "k2:another-secret-of-now"
ALICE, BOB = "Alice.Smith@Example.com", "bob@example.org"
# What must be nowhere, in whatever case.
ALICES, BOBS = ("alice.smith", "alice%2esmith"), ("bob@", "bob%40")

MAPPING = """\
mapping: shop-export
key: id
zone: UTC
events:
  - system: shop
    step: placed
    time: placed
    keys: {order: id, email: mail}
    attributes: {amount: {field: total, as: number}, note: {field: note}}
  - {system: payments, step: paid, phase: failed, time: placed, when: trouble, keys: {order: id}, error: trouble}
"""
HEADER = "id,placed,mail,total,note,trouble\n"
ROWS = (
    f"10248,2026-03-02 09:00, {ALICE} ,12.50,call {ALICE},no mailbox {ALICE.upper()}",
    f"10249,2026-03-02 09:10,{BOB},7.00,,",
    f"10250,2026-03-02 09:20,{ALICE},{ALICE} owes,{ALICE},",
    f"10251,{ALICE},{ALICE},3.00,,",
    f"10252,2026-03-02 09:40,{ALICE},4.00,,,{ALICE}",
    f"10253,2026-03-02 09:50,{BOB},5.00,,",
)


class PiiWorld(World):
    """The real commands over adapters in memory, with the flows and the landscape that ship."""

    def __init__(self, folder: Path, *keys: str):
        super().__init__()
        self.folder, self.keys = folder, list(keys)
        self.said: list[str] = []
        self.sent: list[str] = []

    def app(self, config: Config) -> App:
        made = super().app(config)
        shipped: tuple[Flows, Landscape] = App(config).definitions()
        made.definitions = lambda: shipped  # type: ignore[method-assign]
        return made

    def invoke(self, *args: str) -> Result:
        env = {"LASTSEEN_LOG": "kafka://nowhere:9092", "LASTSEEN_STORE": "clickhouse://nowhere"}
        if self.keys:
            env["LASTSEEN_PII_KEY"] = " ".join(self.keys)
        result = CliRunner(env=env).invoke(cli, args, obj=self.app)
        self.said.append(result.output)
        return result

    def load(self, rows: tuple[str, ...] = ROWS, mapping: str = MAPPING, code: int = 0) -> Result:
        source, rules = self.folder / "orders.csv", self.folder / "shop.yaml"
        source.write_text(HEADER + "".join(row + "\n" for row in rows))
        rules.write_text(mapping)
        result = self.run("load", str(source), "--mapping", str(rules), code=code)
        self.sent.append(self.logged())
        return result

    def work(self) -> None:
        """A worker, until everything is processed."""
        with stopping() as stop:
            worker = make_worker(self.app(read_config(None, None, {})), self.events, self.memory, stop)
            run_drain(worker)

    def found(self, value: str, *args: str, code: int = 0) -> list[str]:
        said = self.run("lookup", value, "--format", "json", *args, code=code).stdout
        return sorted(one["transaction_id"] for one in json.loads(said))

    def logged(self) -> str:
        """Every record that the log holds now (what was processed is gone), unpacked."""
        parts = []
        for partitions in self.events.broker.topics.values():
            for record in (row for part in partitions for row in part.rows):
                value = record.value
                if value.startswith(b"\x04\x22\x4d\x18"):
                    value = lz4.frame.decompress(value)  # type: ignore[attr-defined]
                parts += [record.key, value, *(content for _, content in record.headers)]
        return b"\n".join(parts).decode("utf-8", "backslashreplace").casefold()

    def stored(self) -> str:
        """Every table of the store, superseded rows included."""
        return repr({name: _plain(value) for name, value in vars(self.memory).items()}).casefold()

    def everything(self) -> str:
        """All that was ever sent, that is stored, and that was said."""
        return "\n".join((*self.sent, self.logged(), self.stored(), *self.said)).casefold()


def _plain(value: Any) -> Any:
    """Structs as what is in them."""
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value, enc_hook=str)
    if isinstance(value, dict):
        return [(_plain(key), _plain(inner)) for key, inner in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner) for inner in value]
    return value
