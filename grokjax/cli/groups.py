"""How --help lists commands: in groups, each with its whole first sentences, and a wrong one in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

BAD_INPUT = 2
HELP_NAMES = ["-h", "--help"]
UNGROUPED = "Commands"


class Listed(TyperGroup):
    """Lists its commands under the titles that they have (`rich_help_panel`), no sentence cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.commands[name]
            title = getattr(command, "rich_help_panel", None) or UNGROUPED
            about = (command.short_help or command.help or "").partition("\n\n")[0]
            groups.setdefault(title, []).append((name, " ".join(about.split())))
        widest = max(len(name) for rows in groups.values() for name, _ in rows)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), about) for name, about in rows])


class OneLineErrors(Listed):
    """Says what is wrong with a command line in one line, without the usage above it."""

    order: tuple[str, ...] = ()  # of its commands; those that are not in it come last

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: self.order.index(name) if name in self.order else len(self.order))

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with usage_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        with usage_errors():
            return super().invoke(ctx)


@contextmanager
def usage_errors() -> Iterator[None]:
    """A wrong option or value is one line that names the command whose --help tells the right ones. Exit 2."""
    try:
        yield
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        message = error.format_message()
        if context is None or "\n" in message:  # the help of a group that was called without a command
            raise
        command = context.command_path
        typer.echo(f"{command}: {message.rstrip('.')}; see {command} --help", err=True)
        raise typer.Exit(BAD_INPUT) from None
