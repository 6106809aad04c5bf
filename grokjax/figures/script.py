"""What the scripts of single figures share: DIR and --out, the written paths, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from grokjax.figures import make
from grokjax.figures.style import write, write_table
from grokjax.results.files import Damaged
from grokjax.results.read import Results

FAULT, BAD_INPUT, INTERRUPTED = 1, 2, 75


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
    with _faults(directory, stem):
        paths = make(kind, open_results(directory), stem, **fixed, **given)
        print(*paths, sep="\n", flush=True)
    return paths


def run_question(
    question: Any, parser: argparse.ArgumentParser, open_results: Callable[[Path], Results], **stages: str
) -> list[Path]:
    """Read the arguments, print the answer to a question, draw its picture; print and return the paths written.

    question: a module of `grokjax.figures.questions`. stages: option -> help, of further results directories that it
    can read. Exits as `run_script`.
    """
    name = question.__name__.rpartition(".")[2]
    parser.add_argument("directory", metavar="DIR", type=Path, help=f"results of sweeps/questions/{name}.yaml")
    for option, text in stages.items():
        parser.add_argument(f"--{option}", metavar="DIR", type=Path, help=text)
    parser.add_argument("--out", metavar="STEM", type=Path, help=f"where to write; default DIR/figures/{name}")
    given = {key: value for key, value in vars(parser.parse_args()).items() if value is not None}
    directory = given.pop("directory")
    stem = given.pop("out", directory / "figures" / name)
    with _faults(directory, stem):
        opened = {key: open_results(value) if key in stages else value for key, value in given.items()}
        found = question.data(open_results(directory), **opened)
        print(*question.answer(found), sep="\n")
        paths = [*write(question.figure(found), stem), write_table(question.table(found), stem)]
        print(*paths, sep="\n", flush=True)
    return paths


@contextmanager
def _faults(directory: Path, stem: Path) -> Iterator[None]:
    """Errors as one line, and an exit code."""
    try:
        yield
    except ValueError as error:
        _end(str(error), BAD_INPUT)
    except Damaged as error:
        _end(f"{error}; see what else is: grokjax verify {directory}", FAULT)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:  # as by `| head`: nobody reads on, so nothing is left to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAULT) from None
    except OSError as error:
        _end(f"{error.filename or stem}: {error.strerror or error}", FAULT)


def _end(message: str, code: int) -> NoReturn:
    print("; ".join(message.splitlines()), file=sys.stderr)
    raise SystemExit(code)
