"""`grokjax init`: a commented sweep file to start from, or a shipped sweep under another name."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import bad_value
from grokjax.sweep.load import did_you_mean

TEMPLATE = Path(__file__).parent / "template.yaml"
CHECKOUT = Path(__file__).parents[2]
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"


@bad_value()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep; the file is NAME.yaml, here.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="SWEEP", help="A shipped sweep to copy: nanda, quickstart, ...")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Write a commented sweep file to start from."""
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is no name of a sweep: letters, digits, '-', '_' and '.' (at most 100)")
    path = Path(f"{name}.yaml")
    text = sweep_text(name, source)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists; --force writes over it") from None
    typer.echo(f"{path}; what it would train: grokjax plan {path}")


def sweep_text(name: str, source: str | None = None) -> str:
    """The template, or a shipped sweep with its comments, under a new name.

    Results of parents are looked for in runs/, beside the file. Raises ValueError for an unknown sweep.
    """
    path = TEMPLATE
    if source is not None:
        shipped = shipped_sweeps()
        if source not in shipped:
            hint = did_you_mean(source, shipped)
            raise ValueError(f"no shipped sweep {source!r}{hint}; there are {', '.join(sorted(shipped))}")
        path = shipped[source]
    text = re.sub(r"^name: .*$", f"name: {name}", path.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    text = text.replace(f"{path.stem}.yaml", f"{name}.yaml").replace(f"runs/{path.stem}", f"runs/{name}")
    text = text.replace("results: ../runs/", "results: runs/")
    return re.sub(r"grokjax run sweeps/(\w+)\.yaml", r"grokjax init \1 --from \1; grokjax run \1.yaml", text)


def shipped_sweeps() -> dict[str, Path]:
    """Name -> file of the sweeps that come with grokjax: those of the checkout, or else those that were installed."""
    paths = list(CHECKOUT.glob("sweeps/*.yaml")) if (CHECKOUT / "pyproject.toml").exists() else []
    if not paths:
        installed = metadata.files("grokjax") or []
        paths = [Path(str(file.locate())) for file in installed if file.match("share/grokjax/sweeps/*.yaml")]
    return {path.stem: path for path in paths}
