"""The commands. Thin: each reads its arguments, calls one function, and says what it did."""

from collections.abc import Callable
from typing import Any

import typer

from grokjax.cli import compare as comparing
from grokjax.cli import measure, templates, train, view
from grokjax.cli.app import OneLineErrors, exit_codes
from grokjax.cli.figures import figure_group

__all__ = ["app", "main"]

# command -> an example of it, in the order of --help
COMMANDS: dict[Callable, str] = {
    templates.init: "init mine --from nanda",
    train.plan: "plan sweeps/quickstart.yaml --set train.steps=2000",
    train.run: "run sweeps/quickstart.yaml --set train.steps=2000",
    view.status: "status runs/quickstart",
    comparing.compare: "compare runs/quickstart runs/quickstart-2 --by optimizer.weight_decay",
    view.report: "report runs/quickstart --out quickstart.html",
    view.export: "export runs/quickstart --metric train/loss --format csv",
    view.sync: "sync runs/quickstart --mode offline",
    view.params: "params runs/quickstart 0123456789ab --out end.safetensors",
    train.replay: "replay runs/quickstart 0123456789ab --from 1000 --to 1200",
    train.verify: "verify runs/quickstart",
    measure.progress: "progress runs/quickstart --step 4000",
    measure.reduced: "reduced runs/fixed_norm",
    measure.efficiency: "efficiency runs/quickstart --last",
    measure.neurons: "neurons runs/quickstart --last",
    measure.learning_coefficient: "learning-coefficient runs/quickstart --step 4000",
    measure.kernel: "kernel runs/quickstart --part test",
    view.convert: "convert published.safetensors --out renamed.safetensors",
    train.bench: "bench --lanes 64 --repeats 3",
}

app = typer.Typer(
    cls=OneLineErrors,
    help="Train thousands of small networks at once, to study grokking and slingshots.",
    epilog="Example: grokjax run sweeps/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command, example in COMMANDS.items():
    app.command(epilog=f"Example: grokjax {example}")(exit_codes()(command))
app.add_typer(figure_group(), name="figure")


def main(arguments: Any = None) -> None:
    app(arguments, prog_name="grokjax")
