"""What the commands share: the app, their arguments, and what an error says and exits with."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    help="Train thousands of small networks at once, to study grokking and slingshots.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP", help="Sweep file (YAML).")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Results directory.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Wins over the sweep file and fixes a swept key; repeatable."),
]
Project = Annotated[str | None, typer.Option(help="W&B project; default $WANDB_PROJECT, or grokjax.")]
Entity = Annotated[str | None, typer.Option(help="W&B user or team; default your own.")]
WandbMode = Annotated[
    str | None, typer.Option("--mode", help="offline or online; default online if W&B finds an API key.")
]
FAULT, BAD_INPUT, INTERRUPTED = 1, 2, 75
FULL = "; what is recorded is kept, and the same command goes on once there is room"
HINTS = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EFBIG: FULL}
OtherDevice = Annotated[
    bool,
    typer.Option(
        "--other-device", help="Go on with what other hardware or versions began: bits are no longer those of one run."
    ),
]


@contextmanager
def exit_codes() -> Iterator[None]:
    """2: bad input; 75: interrupted, the same command goes on; 1: a fault. Without tracebacks where we know why."""
    from grokjax.launch import Interrupted
    from grokjax.results.files import Damaged
    from grokjax.results.lock import Locked

    try:
        yield
    except SweepError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from None
    except Interrupted as where:
        typer.echo(f"interrupted; what is recorded in {where} can be read, the same command goes on", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except Damaged as damage:
        mend = "see what else is: grokjax verify DIR, and --repair makes it whole again"
        if damage.path.name == "plan.json":
            mend = "without it the directory cannot be read: put back a copy of it, or train again in another one"
        typer.echo(f"{damage}; {mend}", err=True)
        raise typer.Exit(FAULT) from None
    except Locked as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAULT) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAULT) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        typer.echo(f"{place}{error.strerror or error}{HINTS.get(error.errno or 0, '')}", err=True)
        raise typer.Exit(FAULT) from None
    except MemoryError as error:
        typer.echo(str(error) or "out of memory", err=True)
        raise typer.Exit(FAULT) from None
    except RuntimeError as error:  # JAX's; without importing it
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        typer.echo(f"out of device memory: {str(error).splitlines()[0]}", err=True)
        typer.echo("what is recorded is kept; free the device for the same command, or lower engine.lanes", err=True)
        raise typer.Exit(FAULT) from None


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
