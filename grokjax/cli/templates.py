"""`grokjax init`: a commented sweep file to start from, a shipped sweep under another name, or one of W&B's as ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import bad_value
from grokjax.shipped import scripts, shipped_sweeps
from grokjax.sweep.spelling import did_you_mean
from grokjax.sweep.top import written_name

TEMPLATE = Path(__file__).parent / "template.yaml"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
WANDB = "wandb"


@bad_value()
def init(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name of the sweep; the file is NAME.yaml, here.")
    ] = None,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="With --from wandb: W&B's sweep file.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SWEEP", help="A shipped sweep to copy: nanda, questions/effective_lr, ...; or wandb."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Write a commented sweep file to start from.

    With --from a shipped sweep; with --from wandb FILE what a W&B sweep file of a training script says, as far as its
    names tell. NAME is then by default the sweep's or the file's.
    """
    if source == WANDB:
        name, file = (name, file) if file else (None, Path(name) if name else None)
        if file is None:
            raise ValueError("--from wandb needs the file: grokjax init --from wandb FILE")
        name = name or _name_of(file)
    elif file is not None:
        raise ValueError(f"{file} is one argument too many: a FILE goes with --from wandb")
    elif name is None and source is not None:
        name = source.rpartition("/")[2]
    if name is None:
        raise ValueError("give the sweep a NAME: grokjax init NAME")
    name = name.removesuffix(".yaml")
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is no name of a sweep: letters, digits, '-', '_' and '.' (at most 100)")
    path = Path(f"{name}.yaml")
    if file is not None and path.resolve() == file.resolve():
        raise ValueError(f"{file} is the W&B file itself: give the sweep another NAME")
    text = wandb_text(name, file) if file is not None else sweep_text(name, source)
    for beside, content in [*_companions(source, name), (path, text)]:
        _write(beside, content, force)
    typer.echo(f"{path}; what it would train: grokjax plan {path}")
    if source in (known := scripts()):
        typer.echo(f"its answer, once it is trained: python {known[source]} runs/{name}")


def _name_of(file: Path) -> str:
    """A name from the W&B file's own, that is not this file's where it lies here."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._")[:80] or "sweep"
    return f"{name}-grokjax" if Path(f"{name}.yaml").resolve() == file.resolve() else name


def _write(path: Path, text: str, force: bool) -> None:
    if path.exists() and path.is_file() and path.read_bytes() == text.encode():
        return
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists; --force writes over it") from None


def wandb_text(name: str, file: Path) -> str:
    """The sweep of a W&B sweep file as ours. Raises SweepError where that cannot be read."""
    from grokjax.sweep.from_wandb import translate
    from grokjax.sweep.load import read_sweep

    return translate(read_sweep(file), name)


def sweep_text(name: str, source: str | None = None) -> str:
    """The template, or a shipped sweep with its comments, under a new name.

    Results of parents are looked for in runs/, beside the file. Raises ValueError for an unknown sweep.
    """
    path = TEMPLATE if source is None else _shipped(source)
    text = path.read_text(encoding="utf-8")
    before = _own_name(path)
    text = re.sub(r"^name: .*$", f"name: {written_name(name)}", text, count=1, flags=re.MULTILINE)
    text = re.sub(rf"(?<![\w/]){re.escape(path.stem)}\.yaml", f"{name}.yaml", text)
    text = re.sub(rf"runs/{re.escape(before)}(?![\w-])", f"runs/{name}", text)
    text = re.sub(r"results: (\.\./)+runs/", "results: runs/", text)
    text = _extending(text, name)
    return re.sub(r"grokjax run sweeps/([\w/]+)\.yaml", _first_the_parents, text)


def _first_the_parents(command: re.Match[str]) -> str:
    """The commands that make, and train, a shipped sweep where there is no checkout."""
    path = shipped_sweeps().get(command[1])
    name = _own_name(path) if path else command[1]
    return f"grokjax init {name} --from {command[1]}; grokjax run {name}.yaml"


def _own_name(path: Path) -> str:
    found = re.search(r"^name: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else path.stem


def _shipped(source: str) -> Path:
    shipped = shipped_sweeps()
    if source not in shipped:
        hint = did_you_mean(source, shipped)
        raise ValueError(f"no shipped sweep {source!r}{hint}; there are {', '.join(sorted(shipped))}")
    return shipped[source]


def _companions(source: str | None, name: str) -> list[tuple[Path, str]]:
    """What a shipped sweep needs beside it: its file of own families, and the sweep that it extends with what that
    needs."""
    if source is None or source == WANDB:
        return []
    return list(_needed(_shipped(source), name))


def _needed(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    text = path.read_text(encoding="utf-8")
    for used in re.findall(r"^uses: (\S+\.py)$", text, re.MULTILINE):
        yield Path(used), (path.parent / used).read_text(encoding="utf-8")
    for extended in re.findall(r"^extends: (\S+\.yaml)$", text, re.MULTILINE):
        other = path.parent / extended
        yield from _needed(other, _extended(name))
        yield Path(f"{_extended(name)}.yaml"), _extending(other.read_text(encoding="utf-8"), _extended(name))


def _extending(text: str, name: str) -> str:
    """The text of a copy called `name`, which extends the copy of what it extended."""
    return re.sub(r"^extends: \S+$", f"extends: {_extended(name)}.yaml", text, count=1, flags=re.MULTILINE)


def _extended(name: str) -> str:
    """What the sweep that a copy called `name` extends is called."""
    return f"{name}-extended"
