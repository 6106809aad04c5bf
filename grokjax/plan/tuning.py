"""The per-user table of what `grokjax bench --tune` measured: lanes and speed of a program on a kind of device."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grokjax.sweep.load import Mistake, SweepError


@dataclass(frozen=True)
class Tuned:
    """The best of the measured widths."""

    lanes: int  # on each device
    seconds: float  # of one lane's step at that width: a step of all lanes takes lanes * seconds


def cache_folder() -> Path:
    """Where grokjax keeps what is this user's and can be made again: $XDG_CACHE_HOME/grokjax, or ~/.cache/grokjax."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokjax"


def tuning_file() -> Path:
    return cache_folder() / "tuning.json"


def read_tuning(device: str) -> dict[str, Tuned]:
    """cost key -> what was measured on such a device. Raises SweepError if the table cannot be read."""
    return tuned_from(_read_all().get(device, {}))


def write_tuning(device: str, measured: dict[str, Tuned]) -> Path:
    """Put what was measured into the table; what it holds of other programs and devices stays."""
    table, path = _read_all(), tuning_file()
    table[device] = table.get(device, {}) | {key: asdict(value) for key, value in measured.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def tuned_from(entries: dict[str, Any]) -> dict[str, Tuned]:
    """From JSON values. Raises ValueError for anything but sensible numbers."""
    made = {key: Tuned(int(entry["lanes"]), float(entry["seconds"])) for key, entry in entries.items()}
    if any(tuned.lanes < 1 or not 0 < tuned.seconds < float("inf") for tuned in made.values()):
        raise ValueError("lanes must be at least 1 and seconds positive")
    return made


def _read_all() -> dict[str, Any]:
    path = tuning_file()
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        for entries in table.values():
            tuned_from(entries)
        return table
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # the last two: of a home that is none of ours
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"cannot be read as a tuning table ({error}); remove it, and make it again with grokjax bench --tune"
        raise SweepError([Mistake(str(path), 0, 0, "", what)]) from None
