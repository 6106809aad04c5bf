"""Runs with slingshots: train loss, the last layer's norm and test accuracy, every slingshot marked."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from grokjax.analysis.cells import plain_value, varied_keys
from grokjax.analysis.curve_batches import read_frames
from grokjax.analysis.keys import short_key
from grokjax.figures.groups import chosen_arms, nothing_yet
from grokjax.figures.panels import legend_columns
from grokjax.figures.style import BLUE, GREEN, GREY, ORANGE, paper, picture_width, plain_axis, value_text
from grokjax.figures.units import loss_unit
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer

MOST_RUNS = 4
MOST_CONTRASTS = 2
METRICS = ("train/loss", "train/loss_max", "test/accuracy")
LETTERS = 17  # of a title, an inch
ONE_LINE = 2.0  # inches, from which count and id of a run stand in one
RUN_WIDTH = 1.5  # inches that a run needs
PANELS = (1.15, 0.75, 0.6)  # inches: loss, norm, accuracy


@dataclass(frozen=True)
class ShownRun:
    """A run with its curves: step, train/loss, train/loss_max, norm (of the last layer), test/accuracy."""

    run_id: str
    arm: str
    label: str
    last_layer: str
    slingshots: tuple[int, ...]  # steps
    curves: pd.DataFrame
    loss_unit: str = ""


@dataclass(frozen=True)
class SlingshotData:
    """The runs to show: those with slingshots, and those without for contrast."""

    shown: list[ShownRun]
    contrast: list[ShownRun]
    searched: int  # runs with records, in the arms looked at
    count: int  # of these, with slingshots


def data(results: Results, runs: list[str] | None = None, arm: str | None = None) -> SlingshotData:
    """Runs with slingshots, every one marked, and some runs without for contrast.

    By default up to 4 with the most slingshots; for contrast up to 2 of the same arms that have none, of different
    settings where there are. Raises ValueError without records.

    runs: ids of the runs to show; default: those with the most slingshots
    arm: only this arm of the sweep; default: all
    Example: grokjax figure slingshots runs/quickstart
    """
    table = results.runs()
    arms = chosen_arms(results, arm)
    if runs is None:
        table = table[[not set(arms).isdisjoint(row) for row in table["arms"]]]
        frames = read_frames(results, ["train/loss"], list(table["run_id"]))
        table = table[table["run_id"].isin({run_id for frame in frames for run_id in frame["run_id"].unique()})]
        if table.empty:
            raise nothing_yet(results)
        searched = table
        ranked = table[table["slingshots"] > 0].sort_values("slingshots", ascending=False, kind="stable")
        runs = ranked["run_id"].head(MOST_RUNS).tolist()
    else:
        runs = results.whole_run_ids(runs)
        searched = table[table["run_id"].isin(runs)]
    shown = [_shown(results, table, run_id) for run_id in runs]
    contrast = [_shown(results, table, run_id) for run_id in _contrasts(results, table, runs)]
    return SlingshotData(shown, contrast, len(searched), int((searched["slingshots"] > 0).sum()))


def _contrasts(results: Results, table: pd.DataFrame, chosen: list[str]) -> list[str]:
    """Runs without slingshots of the chosen runs' arms (of all arms if none is chosen), settings by turns."""
    arms = set(table.loc[table["run_id"].isin(chosen), "arm"]) or set(table["arm"])
    calm = table[(table["slingshots"] == 0) & table["arm"].isin(arms) & ~table["run_id"].isin(chosen)]
    settings = []
    for row in calm.to_dict("records"):
        settings.append((row["arm"], *(plain_value(row[key]) for key in varied_keys(results, row["arm"]))))
    repeated = pd.Series(settings, calm.index, dtype=object).duplicated()
    ordered = pd.concat([calm[~repeated], calm[repeated]])
    return ordered["run_id"].head(MOST_CONTRASTS if chosen else MOST_RUNS).tolist()


def _shown(results: Results, table: pd.DataFrame, run_id: str) -> ShownRun:
    row = table[table["run_id"] == run_id].iloc[0]
    axes = results.manifest.axes
    parts = [f"{short_key(key)}\u00a0{value_text(plain_value(row[key]), key)}" for key in axes[row["arm"]]]
    if len(axes) > 1:
        parts.insert(0, row["arm"])
    last = last_layer(results.parameters(run_id))
    names = [name for name in (*METRICS, f"norm/{last}") if name in results.metrics()]
    curves = results.curves(names, [run_id]).drop(columns="run_id").rename(columns={f"norm/{last}": "norm"})
    events = results.events()
    steps = events.loc[(events["run_id"] == run_id) & (events["kind"] == "slingshot"), "step"]
    unit = loss_unit([row["loss.name"]] if "loss.name" in row else [])
    return ShownRun(run_id, row["arm"], ", ".join(parts), last, tuple(map(int, steps)), curves, unit)


def table(data: SlingshotData) -> pd.DataFrame:
    """One row a shown run and record: run_id, arm, label, last_layer, step, train/loss, train/loss_max,
    test/accuracy, norm (of the last layer), slingshot (whether one was found at this record)."""
    parts = []
    for run in (*data.shown, *data.contrast):
        head = {"run_id": run.run_id, "arm": run.arm, "label": run.label.replace("\u00a0", " ")}
        rows = run.curves.assign(last_layer=run.last_layer, slingshot=run.curves["step"].isin(run.slingshots), **head)
        front = [*head, "last_layer"]
        parts.append(rows[[*front, *(name for name in rows if name not in front)]])
    return pd.concat(parts, ignore_index=True)


@paper()
def figure(data: SlingshotData) -> Figure:
    """One block of panels a run, blocks side by side with common axes."""
    runs = [*data.shown, *data.contrast]
    columns = min({1: 1, 2: 2, 4: 2}.get(len(runs), 3), max(1, int(picture_width() / RUN_WIDTH)))
    letters = int(LETTERS * picture_width() / columns)
    rows = math.ceil(len(runs) / columns)
    picture = Figure(figsize=(picture_width(), rows * (sum(PANELS) + 0.65) + 0.5), layout="constrained")
    grid = picture.subplots(rows * len(PANELS), columns, height_ratios=PANELS * rows, squeeze=False)
    first = grid[: len(PANELS), 0]
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        panels = grid[row * len(PANELS) : (row + 1) * len(PANELS), column]
        for axes, shared in zip(panels, first, strict=True):
            if index >= len(runs):
                axes.remove()
            elif index:
                axes.sharey(shared)
        if index < len(runs):
            _draw_run(list(panels), runs[index], letters, leftmost=column == 0)
    _explain(picture, data)
    return picture


def _draw_run(panels: Sequence[Axes], run: ShownRun, letters: int, leftmost: bool) -> None:
    loss, norm, accuracy = panels
    curves = run.curves.replace([np.inf, -np.inf], np.nan)
    step = curves["step"]
    loss.plot(step, _positive(curves["train/loss_max"]), color=GREY, linewidth=0.7)
    loss.plot(step, _positive(curves["train/loss"]), color=BLUE, linewidth=0.8)
    loss.set_yscale("log")
    if "norm" in curves:
        norm.plot(step, curves["norm"], color="black", linewidth=0.8)
    evaluated = curves.dropna(subset=["test/accuracy"])
    accuracy.plot(evaluated["step"], evaluated["test/accuracy"], color=GREEN, linewidth=0.8)
    accuracy.set_ylim(-0.05, 1.05)
    for axes in panels:
        for at in run.slingshots:
            axes.axvline(at, color=ORANGE, linewidth=0.6, zorder=0)
        plain_axis(axes, step)
        axes.tick_params(labelleft=leftmost, labelbottom=axes is accuracy)
    count = len(run.slingshots)
    what = f"{count or 'no'} slingshot{'' if count == 1 else 's'}"
    title = [run.label, what, f"run {run.run_id[:8]}"]
    if letters >= LETTERS * ONE_LINE:
        title = [run.label, f"{what}   run {run.run_id[:8]}"]
    loss.set_title("\n".join(textwrap.fill(line, letters) for line in title), fontsize=7)
    accuracy.set_xlabel("step")
    if leftmost:
        loss.set_ylabel(f"train loss\n({run.loss_unit})" if run.loss_unit else "train loss")
        norm.set_ylabel(f"L2 norm\nof {run.last_layer}")
        accuracy.set_ylabel("test\naccuracy")


def _positive(values: pd.Series) -> pd.Series:
    """Values of 0 lie on the lowest line."""
    least = values[values > 0].min()
    return values.clip(lower=1e-12 if pd.isna(least) else float(least))


def _explain(picture: Figure, data: SlingshotData) -> None:
    lines = [
        Line2D([], [], color=BLUE, label="train loss"),
        Line2D([], [], color=GREY, label="largest train loss since the record before"),
    ]
    if data.count:
        picture.suptitle(f"{data.count} of {data.searched} runs with slingshots", fontsize=8)
        lines.append(Line2D([], [], color=ORANGE, linewidth=0.8, label="slingshot"))
    else:
        none = f"No slingshot was found in {data.searched} run{'' if data.searched == 1 else 's'}."
        picture.suptitle(none, fontsize=8, color=ORANGE)
    columns = legend_columns([str(line.get_label()) for line in lines], picture_width())
    picture.legend(handles=lines, loc="outside lower center", ncols=columns)
