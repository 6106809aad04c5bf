"""What the scripts of single figures share: DIR and --out, the written paths, and errors in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from grokjax.cli.app import bad_value, exit_codes
from grokjax.figures import make
from grokjax.results.read import Results


def run_script(
    kind: str, parser: argparse.ArgumentParser, open_results: Callable[[Path], Results], **fixed: Any
) -> list[Path]:
    """Read the arguments, make the picture (see `grokjax.figures.make`), print and return the paths that were written.

    Options of the parser, named as the figure's own, are passed on where they were given; `fixed` always. Exit 2: bad
    input; 1: a file is damaged or cannot be read or written; 75: interrupted.
    """
    parser.add_argument("directory", metavar="DIR", type=Path, help="results directory of `grokjax run`")
    parser.add_argument(
        "--out", metavar="STEM", type=Path, help=f"where to write, without ending; default DIR/figures/{kind}"
    )
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    directory = given.pop("directory")
    stem = given.pop("out", directory / "figures" / kind)
    with _ends():
        paths = make(kind, open_results(directory), stem, **fixed, **given)
        print(*paths, sep="\n", flush=True)
    return paths


@contextmanager
def _ends() -> Iterator[None]:
    """Errors end a script as they end a command."""
    try:
        with exit_codes(), bad_value():
            yield
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None
