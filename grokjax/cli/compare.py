"""`grokjax compare`: several results directories beside each other, as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grokjax.cli.app import bad_value, read_place

Directories = Annotated[
    list[Path], typer.Argument(parser=read_place, metavar="DIR", help="Results directories, two or more.")
]
By = Annotated[list[str] | None, typer.Option("--by", metavar="KEY", help="A row a value of this key; repeatable.")]
Where = Annotated[str | None, typer.Option(metavar="TEXT", help="Only runs with KEY OP VALUE [and ...].")]
Out = Annotated[Path | None, typer.Option(help="CSV file for the second table.")]


@bad_value()
def compare(directories: Directories, by: By = None, where: Where = None, out: Out = None) -> None:
    """Say how sweeps differ, and what their runs did.

    A row an arm, called sweep/arm: runs generalized of those that ended with their 95 % interval, and the median step
    of generalization with its own, in which who never generalized counts as later than any other. A run that two
    directories have is one run, of both. To draw them: grokjax figure curves DIR DIR2 --out FILE.
    """
    from grokjax.analysis.compare import differences, outcomes_by_arm
    from grokjax.analysis.where import chosen_runs
    from grokjax.cli.app import write_rows
    from grokjax.comparison import differences_text, outcomes_text
    from grokjax.figures.groups import check_key
    from grokjax.launch import open_results
    from grokjax.results.joined import join

    if len(directories) < 2:
        one = directories[0]
        raise ValueError(f"{one} alone has nothing beside it: name two or more; of one tells grokjax status {one}")
    if out is not None and out.suffix.lower() != ".csv":
        raise ValueError(f"{out}: the table is written as .csv")
    results = join([open_results(directory) for directory in directories])
    if where is not None:
        results = chosen_runs(results, where)
    keys = [check_key(results, key) for key in by or []]
    rows = outcomes_by_arm(results, keys)
    typer.echo(f"{differences_text(differences(results))}\n\n{outcomes_text(results, rows, keys)}")
    if out is not None:
        write_rows(rows, out)
