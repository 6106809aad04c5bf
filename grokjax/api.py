"""What `import grokjax` offers for training: `run`, with a display of how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokjax import launch

if TYPE_CHECKING:
    from grokjax.results.read import Results


def run(
    sweep: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    set: dict[str, Any] | None = None,
    progress: bool = True,
    other_device: bool = False,
    arms: Sequence[str] = (),
) -> Results:
    """Train every run of a sweep and return its results; the same call again goes on where it stopped.

    sweep: a sweep file, or a mapping of what it would say. out: results directory, default runs/NAME. set: dotted keys
    that win over the sweep, as in --set; a list makes an axis: {"seed": [0, 1, 2]}. arms: train these only; what `out`
    holds of others stays. progress: show how far it is, on a terminal, in a notebook, or as lines now
    and then. other_device: go on with what another kind or number of devices, or other versions, began; bits then
    differ from those of one machine. Raises SweepError for bad input (nothing is written), Interrupted after SIGINT or
    SIGTERM, Locked where another process trains there, Damaged where a file is not what was written.
    """
    from rich.console import Console

    from grokjax.live import LiveScreen

    screen = LiveScreen(Console(highlight=False)) if progress else None
    return launch.run(sweep, out, set, screen, other_device, arms)
