"""The user's file of families that a stored sweep was trained with."""

from __future__ import annotations

from pathlib import Path

from grokjax.results.manifest import Manifest
from grokjax.spec.own import Own, OwnError, load_own
from grokjax.sweep.load import Mistake, SweepError


def own_of(manifest: Manifest) -> Own:
    """Runs the file, and takes its families. Raises SweepError where it has changed since."""
    values = manifest.table.values(0)
    file = Path(values["uses.file"])
    try:
        own = load_own(file)
    except OwnError as error:
        raise SweepError([Mistake(str(manifest.path.parent), 0, 0, "uses", str(error))]) from None
    if own.digest != values["uses.digest"]:
        what = f"{file} has changed since its families were trained with"
        raise SweepError([Mistake(str(manifest.path.parent), 0, 0, "uses", what)])
    return own
