"""bundle.json: what was left out by choice when a results directory was packed, so that it is not missed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grokjax.results.files import Damaged, read_json

NAME = "bundle.json"
FORMAT = 1
SNAPSHOTS = END, ALL, NONE = ("end", "all", "none")


@dataclass(frozen=True)
class LeftOut:
    """snapshots: which are there (end | all | none). told: everything that is not, in words."""

    snapshots: str = ALL
    told: tuple[str, ...] = ()


def read_left_out(out: Path) -> LeftOut:
    """Of a directory that was never packed: nothing. Raises Damaged."""
    path = out / NAME
    if not path.exists():
        return LeftOut()
    try:
        value = read_json(path)
        told = tuple(str(what)[:200] for what in value["left_out"][:20])
        if value["format"] != FORMAT or value["snapshots"] not in SNAPSHOTS or not all(map(str.isprintable, told)):
            raise ValueError("it is of another format")
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise Damaged(path, f"it makes no sense: {str(error)[:200]}") from None
    return LeftOut(value["snapshots"], told)
