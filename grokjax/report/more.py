"""Metrics that a page does not open with, packed small: the browser unpacks them when one of them is asked for."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pandas as pd

from grokjax.report.axes import View
from grokjax.report.bands import STEP, Packer, mixed_bands, spread
from grokjax.report.metrics import BAND_POINTS, GRAIN, Metrics
from grokjax.report.pack import StepLists, pack


def more(
    metrics: Metrics,
    log: set[str],
    views: list[View],
    curves: pd.DataFrame,
    run_ids: list[str],
    ended: set[str],
    units: dict[str, dict[str, float]],
) -> dict[str, Any]:
    """views: of each view `bands`, and `timed` as in the payload. curves: a row a run, null where it has no lines."""
    index = {name: place for place, name in enumerate(metrics.held)}
    packer = Packer(index, log, StepLists(), StepLists("<f4"), BAND_POINTS, GRAIN)
    names = list(metrics.more)
    found = [packed_view(view, curves, names, ended, units, packer) for view in views] if names else []
    return {
        "views": found,
        "curves": run_lines(curves, names, run_ids, metrics.points, packer) if names and metrics.points else None,
        "steps": packer.steps.texts,
        "places": packer.places.texts,
    }


def packed_view(
    view: View,
    curves: pd.DataFrame,
    names: list[str],
    ended: set[str],
    units: dict[str, dict[str, float]],
    packer: Packer,
) -> dict[str, Any]:
    """`bands`: rows over steps, see `Packer`. `timed`: unit -> rows of the groups that are no multiple of these.
    `count_on`: whether runs that have ended count on somewhere."""
    bands = view.bands(curves, names, ended)
    timed = {
        unit: packer.rows(mixed_bands(view, curves, names, ended, factors, unit), unit)
        for unit, factors in units.items()
        if unit != STEP
    }
    return {"bands": packer.rows(bands), "timed": timed, "count_on": bool((bands["live"] < bands["runs"]).any())}


def run_lines(
    curves: pd.DataFrame, names: list[str], run_ids: list[str], points: int, packer: Packer
) -> list[list[Any] | None]:
    """A row a run, null without records: its steps, and of every metric it has the place, scale and codes."""
    lines: dict[str, list[Any]] = {}
    for run_id, run in curves.groupby("run_id", sort=False):
        rows = spread(run["step"].to_numpy(np.float64), points)
        values = run[names].to_numpy(np.float64)[rows].T
        codes = [
            [packer.index[name], *pack([column], name in packer.log, packer.grain)]
            for name, column in zip(names, values, strict=True)
            if not np.isnan(column).all()
        ]
        lines[str(run_id)] = [packer.steps.add(run["step"].to_numpy()[rows]), codes]
    return [lines.get(run_id) for run_id in run_ids]


def deflated(value: Any) -> str:
    """JSON as base64 of its zlib stream, which a browser's DecompressionStream reads."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
