"""The reduced loss: final train and test loss against the norm that runs were held at, hollow where not yet settled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from grokjax.analysis.cells import is_missing, ordered_values, plain_value, varied_keys
from grokjax.analysis.keys import short_key
from grokjax.analysis.reduced import METRICS, reduced
from grokjax.figures.bands import FEWEST, QUANTILES, ArmBands
from grokjax.figures.cells import draw_heat_map, explain_marked, inches, side_by_side
from grokjax.figures.groups import Grouping, check_key, chosen_arms, group_runs
from grokjax.figures.panels import arm_panels, colors_of, draw_metric
from grokjax.figures.phase import together
from grokjax.figures.style import (
    SEQUENTIAL,
    log_norm,
    log_upwards,
    number_text,
    paper,
    picture_width,
    value_text,
    value_ticks,
)
from grokjax.results.read import Results

NORMS = ("constraint.radius", "init.scale")  # keys that set the norm a run is held at
LINES = ("train/loss", "test/loss", "test/accuracy")
MAPS = ("train/loss", "test/loss")
MARKED = "train loss of half of the runs or more has not settled"


@dataclass(frozen=True)
class ReducedData:
    """bands: one row a group, metric and value of the key x; their x is the norm, the median over the runs. Also value
    (of the key), unsettled (how many of the runs), marked: whether these are half or more. as_map: groups are the rows
    of a heat map, not lines."""

    bands: ArmBands
    x: str
    as_map: bool
    left_out: int  # runs that diverged or go on


def data(results: Results, by: str | None = None, y: str | None = None, arm: str | None = None) -> ReducedData:
    """Final loss against the norm that runs were held at: lines, or a heat map with y.

    Median and band over seeds of `grokjax.analysis.reduced.reduced`, by constraint.radius or else init.scale. Raises
    ValueError for both by and y, an arm that does not vary the norm, and runs without a fixed norm.

    by: key that colors lines; default: the arm's first axis but the norm and seeds
    y: key upwards, as a heat map instead
    arm: which arm; default: the first that varies the norm
    Example: grokjax figure reduced_loss runs/fixed_norm
    """
    if by and y:
        raise ValueError(f"by ({by}) colors lines and y ({y}) makes a heat map: give one of them")
    arms, runs = chosen_arms(results, arm), results.planned()
    varied = [(name, key) for name in arms for key in NORMS if key in varied_keys(results, name)]
    if not varied:
        raise ValueError(f"arm {', '.join(arms)} varies neither {' nor '.join(NORMS)}: there is no axis of norms")
    name, x = varied[0]
    by, y = (key and check_key(results, key) for key in (by, y))
    grouping = _grouping(results, runs, name, x, y or by)
    group_of = grouping.group_of
    losses = reduced(results, list(group_of))
    values = dict(zip(runs["run_id"], map(plain_value, runs[x]), strict=True))
    losses = losses.assign(group=losses["run_id"].map(group_of), value=losses["run_id"].map(values))
    rows = [row for _, cell in losses.groupby(["group", "value"], dropna=False) for row in _rows(cell)]
    bands = pd.DataFrame(rows).sort_values(["group", "metric", "x"], kind="stable", ignore_index=True)
    sizes = tuple(bands.groupby("group")["runs"].max())
    return ReducedData(ArmBands(grouping, bands, sizes, across="x"), x, y is not None, len(group_of) - len(losses))


def _grouping(results: Results, runs: pd.DataFrame, arm: str, x: str, key: str | None) -> Grouping:
    """The arm's runs by a key, or by its first axis besides x; x itself is not pooled."""
    if key == x:
        raise ValueError(f"{x} is across already")
    others = [other for other in varied_keys(results, arm) if other != x and not together(runs, x, other)]
    if key is None and not others:
        grouping = group_runs(results, runs, arm, x)
        whole = replace(grouping.groups[0], values=(), texts=(), run_ids=tuple(grouping.group_of))
        return replace(grouping, keys=(), groups=(whole,))
    grouping = group_runs(results, runs, arm, key or others[0])
    return replace(grouping, pooled=tuple(other for other in grouping.pooled if other != x))


def _rows(cell: pd.DataFrame) -> list[dict[str, object]]:
    """A row a metric of the runs of one group and value of x."""
    count, unsettled = len(cell), int((~cell["settled"]).sum())
    low, high = QUANTILES if count >= FEWEST else (0.0, 1.0)
    norm = float(cell["norm"].median())
    head = {
        "group": int(cell["group"].iloc[0]),
        "value": cell["value"].iloc[0],
        "x": norm,
        "runs": count,
        "live": count,
    }
    head |= {"unsettled": unsettled, "marked": 2 * unsettled >= count}
    rows = []
    for metric in METRICS:
        bounds = np.quantile(cell[metric], [low, 0.5, high])
        rows.append(head | {"metric": metric} | dict(zip(("low", "median", "high"), bounds.tolist(), strict=True)))
    return rows


def table(data: ReducedData) -> pd.DataFrame:
    """The points that are drawn: arm, x (named by its key), value of the group, metric, norm, median, low, high, runs,
    unsettled (of them), marked."""
    rows = data.bands.grouping.with_labels(data.bands.bands).rename(columns={"x": "norm", "value": data.x})
    rows[data.x] = [value_text(value, data.x) if is_missing(value) else value for value in rows[data.x]]
    return rows[["arm", data.x, "group", "metric", "norm", "median", "low", "high", "runs", "unsettled", "marked"]]


@paper()
def figure(data: ReducedData) -> Figure:
    """Lines: train loss, test loss, test accuracy. A heat map: train loss and test loss."""
    return _map(data) if data.as_map else _lines(data)


def _lines(data: ReducedData) -> Figure:
    arm = data.bands
    label = f"norm that all parameters together are held at{_left_out(data)}"
    if arm.bands["marked"].any():
        arm = replace(arm, measured=f"hollow: {MARKED}")
    picture, (panels,) = arm_panels([arm], [[LINES]], [1.7], label)
    for metric, axes in panels.items():
        _draw_lines(axes, arm, metric)
    return picture


def _draw_lines(axes: Axes, arm: ArmBands, metric: str) -> None:
    draw_metric(axes, arm, metric)
    colors = colors_of(arm.grouping)
    for row in arm.bands[arm.bands["metric"] == metric].to_dict("records"):
        color = colors[row["group"]]
        face = "white" if row["marked"] else color
        axes.plot(row["x"], row["median"], "o", color=color, markerfacecolor=face, markersize=3.5, zorder=3)
    axes.set_xscale("log")
    value_ticks(axes, [float(f"{norm:.3g}") for norm in arm.bands.groupby("value", dropna=False)["x"].median()])


def _map(data: ReducedData) -> Figure:
    grouping, bands = data.bands.grouping, data.bands.bands
    x_values = [value_text(value, data.x) for value in ordered_values(bands["value"], data.x)]
    columns, across = side_by_side(len(MAPS), len(MAPS), x_values, grouping.labels)
    rows = len(MAPS) // columns
    height = rows * (inches(len(grouping.groups)) + 0.65) + 0.6
    picture = Figure(figsize=(picture_width(), height), layout="constrained")
    panels = picture.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    cells = grouping.with_labels(bands).rename(columns={"group": "y", "median": "shown"})
    text = [number_text(float(f"{median:.2g}")) for median in bands["median"]]
    cells = cells.assign(x=[value_text(value, data.x) for value in bands["value"]], text=text)
    for axes, metric in zip(panels, MAPS, strict=True):
        shown = cells[cells["metric"] == metric]
        norm = log_norm(shown["shown"])
        draw_heat_map(axes, shown, x_values, grouping.labels, norm, across)
        axes.set_title(metric.replace("/", " "))
        axes.set_xlabel(short_key(data.x) + _left_out(data))
        bar = picture.colorbar(ScalarMappable(norm, SEQUENTIAL), ax=axes, pad=0.02, aspect=15, label=grouping.loss_unit)
        log_upwards(bar.ax)
    for axes in panels[::columns]:
        axes.set_ylabel(grouping.name)
    picture.suptitle(f"{data.bands.note.partition(' and ')[0]} over {max(data.bands.sizes)} runs a cell", fontsize=7.5)
    explain_marked(picture, bands, MARKED)
    return picture


def _left_out(data: ReducedData) -> str:
    return f"   ({data.left_out} runs left out: diverged, or not ended)" if data.left_out else ""
