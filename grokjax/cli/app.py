"""What the commands share: their arguments, how they write tables, and what an error says and exits with."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grokjax.cli.groups import BAD_INPUT
from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    import pandas as pd

    from grokjax.live import LiveScreen
    from grokjax.sinks.sync import Options
    from grokjax.sweep.run import Sweep

SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="Sweep file (YAML).")]


def read_place(named: str) -> Path:
    """What a command looks at: a results directory, or the copy here of one in a bucket."""
    from grokjax.results.copies import copy_to_read, place_of

    try:
        return place_of(named, copy_to_read)
    except (OSError, ValueError) as error:
        _, text = explain(error) or (BAD_INPUT, str(error))
        raise typer.BadParameter(text) from None


Directory = Annotated[Path, typer.Argument(parser=read_place, metavar="DIR", help="Results directory.")]
Place = Annotated[str, typer.Argument(metavar="DIR", help="Results directory, or its address in a bucket.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Run id, or how it begins.")]
Runs = Annotated[
    list[str] | None,
    typer.Option("--run", metavar="RUN", help="Only this run (its id, or how that begins); repeatable."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Wins over the sweep file and fixes a swept key; 0,1,2 or 0..7 makes it an axis, where the key takes "
        "numbers or names. A key's last part will do: weight_decay=1. Repeatable.",
    ),
]
Arms = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="NAME", help="Only this arm; what the directory holds of others stays. Repeatable."),
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

FAULT, INTERRUPTED = 1, 75
FULL = "; what is recorded is kept, and the same command goes on once there is room"
HINTS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL}


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
    from grokjax.results.files import Damaged
    from grokjax.results.lock import Locked
    from grokjax.stopping import Interrupted

    match error:
        case SweepError():
            return BAD_INPUT, str(error)
        case Interrupted():
            what = f"what is recorded in {error.name} can be read, the same command goes on"
            return INTERRUPTED, f"interrupted; {what}:\n  {error.command}"
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
                "what is recorded is kept; free the device for the same command, "
                "or set fewer engine.lanes for another --out"
            )
    return None


def leaving(screen: LiveScreen) -> Callable[[BaseException], None]:
    """What ends the process at once, as an error ends it, from whichever thread: what is on disk is whole anyhow."""

    def leave(error: BaseException) -> None:
        code, text = explain(error) or (FAULT, str(error))
        screen.abandon()
        os.write(sys.stderr.fileno(), f"{text}\n".encode())
        os._exit(code)

    return leave


def _mend(damaged: Path) -> str:
    if damaged.name == "plan.json" or damaged.parent.name == "plan":
        return "without it the directory cannot be read: put back a copy of it, or train again in another one"
    return "see what else is: grokjax verify DIR, and --repair makes it whole again"


def wandb_options(asked: bool, project: str | None, entity: str | None, mode: str | None) -> Options | None:
    """Where to show a sweep in W&B, if that is asked for. Raises ValueError for options without it."""
    from grokjax.sinks.sync import Options, checked_mode

    if not asked and (project or entity or mode):
        raise ValueError("--project, --entity and --mode need --wandb")
    return Options(project, entity, mode=checked_mode(mode)) if asked else None


@contextmanager
def telling() -> Iterator[None]:
    """Says on a terminal how far long work is."""
    from grokjax.live import long_work

    with long_work():
        yield


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


def load_sweep(sweep: Path, settings: list[str] | None, arms: list[str] | None = None) -> Sweep:
    from grokjax.launch import load
    from grokjax.sweep.settings import parse_overrides

    return load(sweep, parse_overrides(settings or []), arms or ())
