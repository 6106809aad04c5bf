"""Commands about whole results directories: which there are, and one as a file for a colleague."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import Directory, bad_value, telling

Folder = Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look, up to 4 folders deep.")]


@bad_value()
def list_(folder: Folder = Path("runs")) -> None:
    """List the results directories below a folder, the newest first.

    Nothing is computed: what the runs did is told where it was derived before, as by status.
    """
    from grokjax.results.catalog import catalog
    from grokjax.standing import catalog_text

    entries = catalog(folder)
    if not entries:
        typer.echo(f"no results directory below {folder}")
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    typer.echo(catalog_text(entries, time.time(), width))


@bad_value()
@telling()
def bundle(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="File to write, .tar.gz or .zip; default NAME.tar.gz, here.")] = None,
    snapshots: Annotated[
        str, typer.Option(help="end: parameters at the end of each run; all: every snapshot; none.")
    ] = "end",
) -> None:
    """Pack a results directory into one file, for a colleague.

    Sweep, plan, curves, tables, snapshots, figures and report; unpacked, it is a results directory again.
    """
    from grokjax.launch import open_results
    from grokjax.live import size
    from grokjax.results.bundle import write_bundle
    from grokjax.spec.wording import count_text

    packed = write_bundle(open_results(directory), out, snapshots)
    for part, (files, count) in packed.parts.items():
        typer.echo(f"  {part}: {count_text(files, 'file')}, {size(count)}")
    for left in packed.left_out:
        typer.echo(f"  left out: {left}")
    typer.echo(f"{packed.path}: {size(packed.path.stat().st_size)}; how to open it: README.txt in it")
