"""What the commands share: their arguments, how they write tables, and what an error says and exits with."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    import pandas as pd

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="Sweep file (YAML).")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Results directory.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or how it begins.")]
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="RUN", help="Only this run (its id, or how that begins); repeatable."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Wins over the sweep file and fixes a swept key; repeatable."),
]
Project = Annotated[str | None, typer.Option(help="W&B project; default $WANDB_PROJECT, or grokjax.")]
Entity = Annotated[str | None, typer.Option(help="W&B user or team; default your own.")]
WandbMode = Annotated[
    str | None, typer.Option("--mode", help="offline or online; default online if W&B finds an API key.")
]
OtherDevice = Annotated[
    bool,
    typer.Option(
        "--other-device", help="Go on with what other hardware or versions began: bits are no longer those of one run."
    ),
]

FAULT, BAD_INPUT, INTERRUPTED = 1, 2, 75
FULL = "; what is recorded is kept, and the same command goes on once there is room"
HINTS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL}


class OneLineErrors(TyperGroup):
    """Says what is wrong with a command line in one line, without the usage above it."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with usage_errors():
            return super().invoke(ctx)


@contextmanager
def usage_errors() -> Iterator[None]:
    """A wrong option or value is one line that names the command whose --help tells the right ones. Exit 2."""
    try:
        yield
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        message = error.format_message()
        if context is None or "\n" in message:  # the help of a group that was called without a command
            raise
        command = context.command_path
        typer.echo(f"{command}: {message.rstrip('.')}; see {command} --help", err=True)
        raise typer.Exit(BAD_INPUT) from None


@contextmanager
def exit_codes() -> Iterator[None]:
    """2: bad input; 75: interrupted, the same command goes on; 1: a fault. Without tracebacks where we know why."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAULT) from None
    except (Exception, KeyboardInterrupt) as error:
        known = explain(error)
        if known is None:
            raise
        code, text = known
        typer.echo(text, err=True)
        raise typer.Exit(code) from None


def explain(error: BaseException) -> tuple[int, str] | None:
    """The exit code of an error and what is said of it; None: it is a bug, whose traceback is wanted."""
    from grokjax.launch import Interrupted
    from grokjax.results.files import Damaged
    from grokjax.results.lock import Locked

    match error:
        case SweepError():
            return BAD_INPUT, str(error)
        case Interrupted():
            return INTERRUPTED, f"interrupted; what is recorded in {error} can be read, the same command goes on"
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case Damaged():
            return FAULT, f"{error}; {_mend(error.path)}"
        case Locked():
            return FAULT, str(error)
        case OSError():
            file = f"{error.filename}: " if error.filename else ""
            return FAULT, f"{file}{error.strerror or error}{HINTS.get(error.errno or 0, '')}"
        case MemoryError():
            return FAULT, str(error) or "out of memory"
        case RuntimeError() if "RESOURCE_EXHAUSTED" in str(error):  # JAX's; without importing it
            return FAULT, (
                f"out of device memory: {str(error).splitlines()[0]}\n"
                "what is recorded is kept; free the device for the same command, or lower engine.lanes"
            )
    return None


def _mend(damaged: Path) -> str:
    if damaged.name == "plan.json":
        return "without it the directory cannot be read: put back a copy of it, or train again in another one"
    return "see what else is: grokjax verify DIR, and --repair makes it whole again"


@contextmanager
def bad_value() -> Iterator[None]:
    """An unknown run, metric, axis or kind is bad input."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, SweepError):
            raise
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, and say so."""
    from grokjax.results.files import write_view

    write_view(path, lambda temporary: rows.to_csv(temporary, index=False))
    typer.echo(f"{len(rows)} rows in {path}")


def load_sweep(sweep: Path, settings: list[str] | None):
    from grokjax.launch import load
    from grokjax.sweep.expand import parse_overrides

    return load(sweep, parse_overrides(settings or []))
