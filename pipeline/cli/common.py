"""What every command shares: ``--data``, ``--flows``, ``--debug`` on either side of its name, errors, exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pipeline.cli.terminal import inert
from pipeline.config import Config, read_config
from pipeline.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from pipeline.app import App

FINE, FINDINGS, USAGE, UNAVAILABLE, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
FORMATS = ("table", "json", "csv")
# Not the path's fault: no space, quota, too many open files, an input/output error.
_EXHAUSTED = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO))


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and param.name:
        ctx.find_root().meta[f"lastseen.{param.name}"] = value


def _shared_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--data"],
            type=click.Path(path_type=Path, file_okay=False),
            callback=_remember,
            expose_value=False,
            help="Folder of the embedded log and store (default ./.lastseen).",
        ),
        click.Option(
            ["--flows"],
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            callback=_remember,
            expose_value=False,
            help="Folder with your flows and landscape, beside those that ship.",
        ),
        click.Option(
            ["--debug"], is_flag=True, callback=_remember, expose_value=False, help="Show the trace of a failure."
        ),
    ]


def with_shared_options(command: click.Command) -> click.Command:
    """Give a command, and every command below it, the options that all commands take; its own of that name stay."""
    taken = {param.name for param in command.params}
    command.params.extend(option for option in _shared_options() if option.name not in taken)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            with_shared_options(child)
    return command


def config_of(ctx: click.Context | None = None) -> Config:
    """The settings as given around the command's name and by the environment."""
    meta = (ctx or click.get_current_context()).find_root().meta
    return read_config(meta.get("lastseen.data"), meta.get("lastseen.flows"))


def typed(command: str, *, flows: bool = False) -> str:
    """How a further command is typed from here, with what was given to this one: ``--data``, and ``--flows`` if it is needed."""
    meta = click.get_current_context().find_root().meta
    words = [program(), command]
    for name in ("data", *(("flows",) if flows else ())):
        if f"lastseen.{name}" in meta:
            words.append(f"--{name} {shlex.quote(str(meta[f'lastseen.{name}']))}")
    return " ".join(words)


def program() -> str:
    """How ``lastseen`` can be called from here."""
    if shutil.which("lastseen"):
        return "lastseen"
    called = Path(sys.argv[0])
    if called.name != "lastseen":
        return "lastseen"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(called)


def app_of(ctx: click.Context | None = None) -> App:
    """What the command works with. Whoever runs the commands as a library may hand over another way to make one as ``obj``."""
    from pipeline.app import App

    root = (ctx or click.get_current_context()).find_root()
    make: Callable[[Config], App] = root.obj or App
    return make(config_of(root))


class Root(click.Group):
    """The command ``lastseen``: subcommands are imported when they are used, errors become one line and an exit code."""

    def __init__(self, *args: Any, lazy: dict[str, str] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        lazy = [name for name, place in self.lazy.items() if find_spec(place.partition(":")[0])]
        return [*lazy, *(name for name in super().list_commands(ctx) if name not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.list_commands(ctx):
            module, _, name = self.lazy[cmd_name].partition(":")
            found = getattr(importlib.import_module(module), name)
            self.add_command(with_shared_options(found), cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        arguments = list(sys.argv[1:] if args is None else args)
        code = guarded(
            lambda: super(Root, self).main(arguments, prog_name, complete_var, standalone_mode=False, **extra),
            debug="--debug" in arguments,
        )
        sys.exit(code)


def guarded(run: Callable[[], Any], *, debug: bool) -> int:
    """Run a command; its exit code. Users see one sentence of an error, never a trace, unless they ask for it."""
    try:
        outcome = run()
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else FINE
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        return _complain(error.format_message(), USAGE, debug)
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", INTERRUPTED, False)
    except Invalid as error:
        return _complain(str(error), USAGE, debug)
    except Unavailable as error:
        return _complain(str(error), UNAVAILABLE, debug)
    except BrokenPipeError:
        # The reader went away (`| head`): what is still buffered must not fail a second time at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except OSError as error:
        return _complain(*_of_the_system(error), debug)
    except UnicodeEncodeError as error:
        held = error.object[max(error.start - 20, 0) : error.end + 20].encode("utf-8", "backslashreplace").decode()
        return _complain(f"bytes that are not UTF-8 were given: {held}", USAGE, debug)
    except Exception as error:  # a bug is told in one line too
        hint = "" if debug else " (run again with --debug to see where)"
        return _complain(f"unexpected error: {type(error).__name__}: {error}{hint}", BUG, debug)


def _of_the_system(error: OSError) -> tuple[str, int]:
    """What the operating system refused, in a sentence: a path that was given is the user's to mend."""
    reason = (error.strerror or type(error).__name__).lower()
    if error.filename is None or error.errno in _EXHAUSTED:
        return f"{error.filename}: {reason}" if error.filename else f"the system refused: {reason}", UNAVAILABLE
    return f"{os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename}: {reason}", USAGE


def _complain(message: str, code: int, debug: bool) -> int:
    if debug:
        sys.stderr.writelines(inert(line) + "\n" for line in traceback.format_exc().splitlines())
    sys.stderr.write("lastseen: " + "\n  ".join(inert(line) for line in message.splitlines() or [""]) + "\n")
    return code


def leave(code: int) -> NoReturn:
    raise click.exceptions.Exit(code)
