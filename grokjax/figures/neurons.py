"""How nearly neurons compute squares: over training, and one by one at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.neurons import each_neuron, neurons
from grokjax.analysis.over_runs import carried_runs, over_runs
from grokjax.figures.bands import ArmBands, bands_table, snapshots_text
from grokjax.figures.groups import grouped_arms
from grokjax.figures.panels import arm_panels, colors_of, draw_metric, line_style, name_arms
from grokjax.figures.style import paper, plain_axis
from grokjax.results.read import Results

METRICS = {"quadratic": "activation as a quadratic", "beyond": "of it beyond a line"}
BINS = np.linspace(0, 1, 41)


@dataclass(frozen=True)
class LayerNeurons:
    """One layer of an arm's networks. bands: `quadratic` and `beyond`, each network's mean over its neurons weighted by
    their variance. each: one row a neuron that is not dead, at the step asked for or (None) the end: group (index),
    beyond."""

    layer: int
    bands: ArmBands
    each: pd.DataFrame
    step: int | None


def data(
    results: Results, by: str | None = None, arm: str | None = None, step: int | None = None
) -> list[LayerNeurons]:
    """How nearly neurons compute squares: over training, and one by one at the end.

    By arm and layer: median and band over seeds at every snapshot, and the neurons of all of a group's runs at one step
    (see `grokjax.analysis.neurons`). Raises ValueError as that, and without snapshots.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    step: of the neurons one by one; default: each run's end
    Example: grokjax figure neurons runs/quickstart --arm grok
    """
    layers, ended = [], carried_runs(results)
    for grouping, group_of, sizes in grouped_arms(results, by, arm):
        curves = neurons(results, list(group_of))
        each = each_neuron(results, list(group_of), "last" if step is None else step)
        live = each[~each["dead"]].assign(group=each["run_id"].map(group_of))
        for layer, part in curves.groupby("layer", sort=True):
            shown, dead = live[live["layer"] == layer], int(each.loc[each["layer"] == layer, "dead"].sum())
            note = f"R² over all pairs of operands at {snapshots_text(part)}; one by one: {len(shown)} neurons"
            note += f" ({dead} dead left out)" if dead else ""
            bands = ArmBands(grouping, over_runs(part, group_of, list(METRICS), ended), sizes, measured=note)
            layers.append(LayerNeurons(int(layer), bands, shown, step))  # pyright: ignore[reportArgumentType]
    return layers


def table(layers: list[LayerNeurons]) -> pd.DataFrame:
    """The lines that are drawn: layer and what `bands_table` has. And the bars, metric `beyond/share`: in `median` the
    share of the group's neurons that are not dead whose `beyond` lies from `low` to `high`; step: the last."""
    tables = []
    for layer in layers:
        lines = bands_table([layer.bands])
        names = ["arm", *layer.bands.grouping.keys]
        rows = [lines]
        for group, first in enumerate(lines.drop_duplicates(names).to_dict("records")):
            values = layer.each[layer.each["group"] == group]
            step = values["step"].max() if len(values) else first["step"]
            bars = {name: first[name] for name in names} | {"metric": "beyond/share", "step": step, "band": "bin"}
            count = values["run_id"].nunique()
            bars |= {"median": _shares(values), "low": BINS[:-1], "high": BINS[1:], "runs": count, "live": count}
            rows.append(pd.DataFrame(bars)[lines.columns])
        frame = pd.concat(rows, ignore_index=True)
        frame.insert(0, "layer", layer.layer)
        tables.append(frame)
    return pd.concat(tables, ignore_index=True)


def _shares(values: pd.DataFrame) -> np.ndarray:
    counts, _ = np.histogram(values["beyond"].clip(0, 1), BINS)
    return counts / max(len(values), 1)


@paper()
def figure(layers: list[LayerNeurons]) -> Figure:
    """A row a layer of an arm: two lines over steps, and the histogram."""
    picture, blocks = arm_panels([layer.bands for layer in layers], [[[*METRICS, "each"]]] * len(layers), [1.7])
    several = len({layer.layer for layer in layers}) > 1
    for layer, panels in zip(layers, blocks, strict=True):
        of_layer = f" (layer {layer.layer})" if several else ""
        for metric, title in METRICS.items():
            _draw_steps(panels[metric], layer.bands, metric, title + of_layer)
        _draw_each(panels["each"], layer)
        when = "at the end" if layer.step is None else f"step {layer.step}"
        panels["each"].set_title(f"each neuron, {when}{of_layer}")
    name_arms([layer.bands for layer in layers], blocks)
    return picture


def _draw_steps(axes: Axes, arm: ArmBands, metric: str, title: str) -> None:
    steps = arm.bands["step"]
    draw_metric(axes, arm, metric, title)
    if steps.nunique() == 1:
        for line in axes.lines:
            line.set_marker("o")
    plain_axis(axes, steps)
    axes.set_xlabel("step")
    axes.set_ylabel("R² (mean over neurons)")


def _draw_each(axes: Axes, layer: LayerNeurons) -> None:
    grouping = layer.bands.grouping
    for index, color in enumerate(colors_of(grouping)):
        values = layer.each[layer.each["group"] == index]
        if len(values):
            axes.stairs(_shares(values), BINS, color=color, linestyle=line_style(grouping, index), linewidth=1.1)
    axes.set_xlim(0, max(0.5, float(BINS[np.searchsorted(BINS, min(layer.each["beyond"].max(), 1.0))])))
    axes.set_ylim(0)
    axes.set_xlabel("R² beyond a line")
    axes.set_ylabel("share of neurons")
