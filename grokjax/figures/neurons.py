"""How nearly neurons compute squares: over training, and one by one at the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.neurons import each_neuron, neurons
from grokjax.figures.bands import ArmBands, bands_table, over_runs
from grokjax.figures.groups import chosen_arms, group_runs, nothing_yet
from grokjax.figures.panels import arm_colors, draw_head, draw_metric, head_inches, line_style
from grokjax.figures.style import WIDTH, first_step, log_steps, log_steps_label, paper
from grokjax.results.read import Results

METRICS = ("quadratic", "beyond")
TITLES = {"quadratic": "R² of a quadratic", "beyond": "of it beyond a line"}
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
    """Median and band over seeds at every snapshot, and the neurons of all of a group's runs at the end, or at a step
    (see `grokjax.analysis.neurons`), by arm and layer. Raises ValueError as that, and without snapshots."""
    runs = results.planned()
    stored = {run_id for run_id in results.run_ids if results.snapshots(run_id)}
    layers = []
    for name in chosen_arms(results, arm):
        grouping = group_runs(results, runs, name, by)
        group_of = grouping.group_of
        own = [run_id for run_id in group_of if run_id in stored]
        if not own:
            continue
        curves = neurons(results, own)
        each = each_neuron(results, own, "last" if step is None else step)
        live = each[~each["dead"]]
        live = live.assign(group=live["run_id"].map(group_of))
        sizes = tuple(len(stored.intersection(group.run_ids)) for group in grouping.groups)
        for layer, part in curves.groupby("layer", sort=True):
            bands = ArmBands(grouping, over_runs(part, group_of, METRICS), sizes)
            layers.append(LayerNeurons(int(layer), bands, live[live["layer"] == layer], step))  # pyright: ignore[reportArgumentType]
    if not layers:
        raise nothing_yet(results)
    return layers


def table(layers: list[LayerNeurons]) -> pd.DataFrame:
    """The lines that are drawn: layer and what `bands_table` has. And the bars, metric `beyond/share`: in `median` the
    share of the group's neurons that are not dead whose `beyond` lies from `low` to `high`; step: the last."""
    frames = []
    for one in layers:
        lines = bands_table([one.bands])
        heads = lines.drop_duplicates(["arm", *one.bands.grouping.keys])
        rows = [lines]
        for index, (_, head) in enumerate(heads.iterrows()):
            values = one.each[one.each["group"] == index]
            steps = values["step"].max() if len(values) else head["step"]
            bars = {"metric": "beyond/share", "step": steps, "median": _shares(values), "low": BINS[:-1]}
            keys = {key: head[key] for key in ("arm", *one.bands.grouping.keys)}
            more = {"high": BINS[1:], "runs": values["run_id"].nunique(), "band": "bin"}
            rows.append(pd.DataFrame(keys | bars | more))
        frames.append(pd.concat(rows, ignore_index=True).assign(layer=one.layer))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["layer", *frame.columns.drop("layer")]]


def _shares(values: pd.DataFrame) -> np.ndarray:
    counts, _ = np.histogram(values["beyond"].clip(0, 1), BINS)
    return counts / max(len(values), 1)


def figure(layers: list[LayerNeurons]) -> Figure:
    """A row a layer of an arm: two lines over steps, and the histogram."""
    heights = [height for one in layers for height in (head_inches(one.bands), 1.7)]
    several = len({one.bands.grouping.arm for one in layers}) > 1
    with paper():
        picture = Figure(figsize=(WIDTH, sum(heights) + 0.2), layout="constrained")
        grid = picture.add_gridspec(len(heights), 3, height_ratios=heights)
        for index, one in enumerate(layers):
            draw_head(picture.add_subplot(grid[2 * index, :]), one.bands, name_arm=several)
            panels = [picture.add_subplot(grid[2 * index + 1, column]) for column in range(3)]
            of_layer = f" (layer {one.layer})" if len({other.layer for other in layers}) > 1 else ""
            for axes, metric in zip(panels, METRICS, strict=False):
                _draw_steps(axes, one, metric)
                axes.set_title(TITLES[metric] + of_layer)
            _draw_each(panels[2], one)
            panels[2].set_title(f"neurons, {'at the end' if one.step is None else f'step {one.step}'}{of_layer}")
    return picture


def _draw_steps(axes: Axes, one: LayerNeurons, metric: str) -> None:
    draw_metric(axes, one.bands, metric, log=False)
    steps = one.bands.bands["step"]
    if steps.nunique() == 1:
        for line in axes.lines:
            line.set_marker("o")
    log_steps(axes, first_step(steps), int(steps.max()))
    axes.set_xlabel(log_steps_label(first_step(steps)))


def _draw_each(axes: Axes, one: LayerNeurons) -> None:
    colors = arm_colors(one.bands)
    for group, values in one.each.groupby("group", sort=True):
        index = int(group)  # pyright: ignore[reportArgumentType]
        axes.stairs(_shares(values), BINS, color=colors[index], linestyle=line_style(one.bands, index), linewidth=1.1)
    axes.set_xlim(0, max(0.5, float(BINS[np.searchsorted(BINS, min(one.each["beyond"].max(), 1.0))])))
    axes.set_ylim(0)
    axes.set_xlabel("R² of a quadratic less that of a line")
    axes.set_ylabel("share of neurons")


def draw(results: Results, by: str | None = None, arm: str | None = None, step: int | None = None) -> Figure:
    """How nearly neurons compute squares: over training, and one by one at the end.

    by: key that is colored, such as optimizer.weight_decay; default: the arm's axes
    arm: only this arm of the sweep; default: all
    step: of the neurons one by one; default: each run's end
    Example: grokjax figure neurons runs/quickstart --arm grok
    """
    return figure(data(results, by, arm, step))
