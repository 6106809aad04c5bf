"""The commands. Thin: each reads its arguments, calls one function, and says what it did."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from grokjax.ahead import leave_what_compiles
from grokjax.cli import cluster, elsewhere, keep, measure, templates, train, view
from grokjax.cli import compare as comparing
from grokjax.cli import paper as papers
from grokjax.cli.app import INTERRUPTED, exit_codes
from grokjax.cli.figures import figure_group
from grokjax.cli.groups import HELP_NAMES, OneLineErrors
from grokjax.home import make_room_for_others

__all__ = ["app", "main"]

LOOK = "Look at results"
SHOW_CURSOR = b"\n\x1b[?25h"  # long work hides it
# title of --help -> command -> an example of it, in the order that they are shown in
COMMANDS: dict[str, dict[Callable | str, str]] = {
    "Plan and run": {
        train.plan: "plan sweeps/quickstart.yaml --set train.steps=2000",
        elsewhere.compile_: "compile sweeps/nanda.yaml --for h100 --lanes 64",
        train.run: "run sweeps/quickstart.yaml --set train.steps=2000",
        templates.init: "init mine --from nanda",
        papers.paper: "paper merrill",
    },
    "Many machines": {
        cluster.work: "work runs/quickstart --part 0/4",
        cluster.gather: "gather runs/quickstart",
    },
    LOOK: {
        view.status: "status runs/quickstart",
        keep.list_: "list runs",
        comparing.compare: "compare runs/quickstart runs/quickstart-2 --by weight_decay",
        "figure": "",
        view.report: "report runs/quickstart --out quickstart.html",
        view.export: "export runs/quickstart --metric train/loss --format csv",
        view.params: "params runs/quickstart 0123456789ab --out end.safetensors",
        view.sync: "sync runs/quickstart --mode offline",
    },
    "Instruments on stored parameters": {
        measure.progress: "progress runs/quickstart --step 4000",
        measure.efficiency: "efficiency runs/quickstart --last",
        measure.neurons: "neurons runs/quickstart --last",
        measure.learning_coefficient: "learning-coefficient runs/quickstart --step 4000",
        measure.kernel: "kernel runs/quickstart --part test",
        measure.reduced: "reduced runs/fixed_norm",
    },
    "Care": {
        train.replay: "replay runs/quickstart 0123456789ab --from 1000 --to 1200",
        train.verify: "verify runs/quickstart",
        keep.bundle: "bundle runs/quickstart --out quickstart.tar.gz",
        view.convert: "convert published.safetensors --out renamed.safetensors",
        train.bench: "bench --lanes 64 --repeats 3",
    },
}


def name_of(command: Callable | str) -> str:
    """`learning-coefficient`; a command that would hide a name of Python's ends in _."""
    return command if isinstance(command, str) else command.__name__.rstrip("_").replace("_", "-")


class Root(OneLineErrors):
    """`grokjax` itself."""

    order = tuple(name_of(command) for commands in COMMANDS.values() for command in commands)


app = typer.Typer(
    cls=Root,
    epilog="Example: grokjax run sweeps/quickstart.yaml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": HELP_NAMES},
)
for title, commands in COMMANDS.items():
    for command, example in commands.items():
        if not isinstance(command, str):
            epilog = f"Example: grokjax {example}"
            app.command(name_of(command), epilog=epilog, rich_help_panel=title)(exit_codes()(command))
app.add_typer(figure_group(), name="figure", rich_help_panel=LOOK)


def _version(asked: bool) -> None:
    if asked:
        from grokjax import __version__

        typer.echo(f"grokjax {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Train thousands of small networks at once, to study grokking and slingshots."""


def _leave(*_: Any) -> None:
    """Ctrl-C, but while a sweep trains (see `stop_on_signal`): at once, since an exception may come where none can be
    caught, as within an import or a garbage collection. What is on disk is whole anyhow."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(INTERRUPTED)


def main(arguments: Any = None) -> None:
    make_room_for_others()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, _leave)
    try:
        app(arguments, prog_name="grokjax")
    except SystemExit as end:
        leave_what_compiles(end.code)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done: a late Ctrl-C makes no traceback
