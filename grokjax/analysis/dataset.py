"""Curves as an xarray dataset: run x step, a variable a metric, with what was varied as coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from grokjax.analysis.cells import null_runs, plain_value
from grokjax.results.read import Results
from grokjax.spec.nulls import null_of

if TYPE_CHECKING:
    import xarray

FOUND = ("status", "outcome", "last_step", "fit_step", "generalization_step", "delay", "slingshots")


def dataset(results: Results, metrics: str | Iterable[str] | None = None) -> xarray.Dataset:
    """All runs with records. Dimensions: run (its id) and step, the union of all runs' records.

    Variables: one a metric, float32, nan where a run has no record. Coordinates along run: arm, seed, batch_size, every
    axis of the sweep by its dotted key (as text where one of its values is null), and what was found (outcome,
    fit_step, ...). Attributes: the values that all runs share.
    metrics: default all. Raises ValueError for an unknown metric, ImportError without xarray.
    """
    try:
        import xarray
    except ImportError:
        raise ImportError("results.dataset() needs xarray: pip install 'grokjax[xarray]'") from None
    curves, runs = results.curves(metrics), results.runs()
    names = [name for name in curves if name not in ("run_id", "step")]
    runs = runs[runs["run_id"].isin(curves["run_id"])].reset_index(drop=True)
    steps, column = np.unique(curves["step"].to_numpy(), return_inverse=True)
    row = curves["run_id"].map({run_id: row for row, run_id in enumerate(runs["run_id"])}).to_numpy(int)
    values: dict[str, Any] = {}
    for name in names:
        table = np.full((len(runs), len(steps)), np.nan, np.float32)
        table[row, column] = curves[name].to_numpy()
        values[str(name)] = (("run", "step"), table)
    axes = dict.fromkeys(
        ["arm", "seed", "batch_size", *(key for keys in results.manifest.axes.values() for key in keys), *FOUND]
    )
    along = {key: ("run", _column(results, runs, key)) for key in axes if key in runs}
    shared = {key: _attribute(plain_value(value)) for key, value in results.constants().items()}
    return xarray.Dataset(values, {"run": runs["run_id"].to_numpy(str), "step": steps} | along, shared)


def _attribute(value: Any) -> Any:
    """Numbers and text, as files of arrays can hold."""
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value)


def _column(results: Results, runs: pd.DataFrame, key: str) -> np.ndarray:
    """Numbers stay numbers, all else is text; so is an axis where null is the value of a run, for that is no number."""
    column = runs[key]
    nulls = set() if key in FOUND else {*null_runs(results, key, runs)}
    if pd.api.types.is_numeric_dtype(column) and not nulls:
        return column.to_numpy()
    null = null_of(key)
    word = null.text if null else "null"
    values = zip(runs["run_id"], map(plain_value, column), strict=True)
    return np.array([word if run_id in nulls else _text(value) for run_id, value in values])


def _text(value: Any) -> str:
    """A value that is missing, as a key of another family, is no text."""
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
