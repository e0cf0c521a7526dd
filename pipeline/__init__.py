"""From the event log to an answer: the core that judges, the worker that stores, what reads, and the command line."""

from __future__ import annotations

import sys

_NEEDED = ("click", "rich", "pydantic", "msgspec", "orjson", "yaml", "jinja2", "clickhouse_connect", "tzdata")


def main() -> None:
    """Entry point of the command ``lastseen``; exits with its code.

    An application that only instruments itself installs ``lastseen`` without the parts that the command needs. It has the
    command all the same, which then says what to install.
    """
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"lastseen: this installation can send events, but has no command line ({', '.join(missing)} missing).\n"
            "Install it with: pip install 'lastseen[embedded]'   (or 'lastseen[pipeline]' beside a ClickHouse server)\n"
        )
        sys.exit(3)
    from pipeline.cli.main import cli

    cli(prog_name="lastseen")
