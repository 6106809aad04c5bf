"""The commands. Thin: each reads its arguments, calls one function, and says what it did."""

from typing import Any

from grokjax.cli import geometry, train, view
from grokjax.cli.app import app

__all__ = ["app", "geometry", "main", "train", "view"]


def main(arguments: Any = None) -> None:
    app(arguments, prog_name="grokjax")
