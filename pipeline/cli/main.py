"""The command ``lastseen``: what there is, in the order in which a newcomer needs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import click

from pipeline.cli.common import Root, with_shared_options

COMMANDS = {
    "demo": "pipeline.cli.demo:demo",
    "simulate": "pipeline.cli.simulate:simulate",
    "lookup": "pipeline.cli.query:lookup",
    "list": "pipeline.cli.query:list_",
    "report": "pipeline.cli.report:report",
    "sources": "pipeline.cli.sources:sources",
    "audit": "pipeline.cli.audit:audit",
    "unlinked": "pipeline.cli.unlinked:unlinked",
    "link": "pipeline.cli.link:link",
    "flows": "pipeline.cli.flows:flows",
    "quarantine": "pipeline.cli.quarantine:quarantine",
    "late": "pipeline.cli.late:late",
    "forget": "pipeline.cli.forget:forget",
    "load": "pipeline.cli.load:load",
    "collect": "pipeline.cli.collect:collect",
    "setup": "pipeline.cli.setup:setup",
    "up": "pipeline.cli.service:up",
    "store": "pipeline.cli.service:store",
    "worker": "pipeline.cli.service:worker",
    "doctor": "pipeline.cli.doctor:doctor",
}


def _version() -> str:
    try:
        return version("lastseen")
    except PackageNotFoundError:
        return "not installed"


@click.group(cls=Root, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="lastseen")
def cli() -> None:
    """Where was this order last seen?

    Follows every business transaction through all the systems that handle it, finds those that were lost, stalled or
    failed, and says where, since when, and how sure it is.

    \b
    lastseen demo             see it find what a simulated shop lost
    lastseen lookup VALUE     where is it? by order, payment, parcel or customer number
    lastseen report           what was missing at the end of yesterday

    Exit codes: 0 fine, 1 something was found, 2 wrong usage or input, 3 a service is out of reach.
    """


with_shared_options(cli)
