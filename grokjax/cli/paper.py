"""`grokjax paper`: a published result trained here, and held against what was published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import OtherDevice, Settings, bad_value, leaving
from grokjax.cli.train import show_plan


@bad_value()
def paper(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A paper; without one all are listed.")] = None,
    full: Annotated[bool, typer.Option("--full", help="At the published size, an accelerator's work.")] = False,
    out: Annotated[Path | None, typer.Option(help="Results directory; default runs/NAME of its sweep.")] = None,
    settings: Settings = None,
    other_device: OtherDevice = False,
) -> None:
    """Train a paper's networks, and say whether its published numbers come out.

    Prints the verdict on every claim and draws DIR/paper.png, .svg and .csv. The same command again goes on where it
    stopped. Exit 0 also where a claim is not reproduced: that is an answer.
    """
    from rich.console import Console

    from grokjax import papers
    from grokjax.launch import train
    from grokjax.live import LiveScreen
    from grokjax.sweep.settings import parse_overrides

    if name is None:
        if full or out or settings:
            raise ValueError("--full, --out and --set are of one paper: grokjax paper NAME")
        typer.echo(papers.list_text(Path("runs")))
        return
    chosen = papers.paper(name, "full" if full else "cpu")
    overrides = parse_overrides(settings or [])
    loaded = papers.load_paper(chosen, overrides)
    where = out or Path("runs") / loaded.name
    screen = LiveScreen(Console(highlight=False))
    results = train(loaded, where, screen, other_device, typer.echo, show_plan, leaving(screen))
    text, paths = papers.answer(chosen, results, overrides)
    typer.echo(text)
    for path in paths:
        typer.echo(path)
