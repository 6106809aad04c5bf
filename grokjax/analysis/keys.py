"""Keys of runs by the names that pictures and tables show: `weight_decay` for `optimizer.weight_decay`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from grokjax.sweep.spelling import did_you_mean

# Sections of a key that a reader does not need: lr is the optimizer's.
PLAIN_SECTIONS = ("optimizer", "task", "model", "train")


def short_key(key: str) -> str:
    """`optimizer.weight_decay` as weight_decay; keys that need their section keep it (`init.scale`)."""
    section, _, rest = key.partition(".")
    return rest if section in PLAIN_SECTIONS and rest not in ("", "name") else key


def whole_key(given: str, keys: Iterable[str], where: Path, else_say: str = "") -> str:
    """The key that is meant: as it is, or by its end where no other ends so; of several that do, the one that is shown
    so. Raises ValueError if there is none, or are several. else_say: what an error ends with."""
    known = list(keys)
    if given in known:
        return given
    alike = [key for key in known if key.endswith(f".{given}")]
    found = alike if len(alike) == 1 else [key for key in alike if short_key(key) == given]
    if len(found) == 1:
        return found[0]
    if alike:
        raise ValueError(f"{given!r} is one of {', '.join(found or alike)}: say which")
    hint = did_you_mean(given, known) or did_you_mean(given, [*map(short_key, known)])
    raise ValueError(f"no key {given!r} in {where}{hint}{else_say}")
