"""A home that cannot be written: others that keep files there get a folder of this process, so that each need not say
so in its own way, and it is told once what that costs."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# what tells others where -> where it is by default: the variable of that base, and the base below the home
OTHERS = {
    "MPLCONFIGDIR": (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")),
    "WANDB_CONFIG_DIR": (("XDG_CONFIG_HOME", ".config"),),
    "WANDB_CACHE_DIR": (("XDG_CACHE_HOME", ".cache"),),
    "WANDB_DATA_DIR": (("XDG_DATA_HOME", ".local/share"),),
}


def make_room_for_others() -> None:
    """Name a folder that can be written to those for whom the home has none. To be called before they are imported."""
    lacking = [name for name, bases in OTHERS.items() if name not in os.environ and not all(map(_has_room, bases))]
    if not lacking:
        return
    folder = tempfile.mkdtemp(prefix="grokjax-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in lacking:
        os.environ[name] = str(Path(folder, name.lower()))


def can_be_made(folder: Path) -> bool:
    """Whether a folder is there and can be written, or can be made."""
    try:
        nearest = next(part for part in (folder, *folder.parents) if part.exists())
    except PermissionError:  # one above it cannot be looked into
        return False
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _has_room(base: tuple[str, str]) -> bool:
    variable, below = base
    given = os.environ.get(variable)
    return can_be_made(Path(given) if given else Path(os.path.expanduser("~"), below))
