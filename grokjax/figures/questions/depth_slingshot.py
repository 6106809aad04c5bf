"""Do deeper networks slingshot more, sooner, and do they generalize?

MLPs from wide and shallow to skinny and deep at about equal parameter count; transformers of several layers.

What a slingshot is: see `grokjax.analysis.events`. A run without one counts as censored at its last step. The train
loss that it rises from tells those after a fit from the spikes of a network that is still hard to train.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.answers import (
    cells,
    fraction_text,
    interval_of_mean,
    median_time,
    plain_value,
    rank_correlation,
    time_text,
)
from grokjax.analysis.censored import wilson
from grokjax.analysis.events import SLINGSHOT_WINDOW
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import (
    draw_cells,
    ended_runs,
    legend,
    mean_text,
    note,
    panels,
    plain_times,
    unended,
)
from grokjax.figures.style import PALETTE, paper, plain_steps, value_text
from grokjax.results.read import Results

LOSS, LOSS_MAX = "train/loss", "train/loss_max"
FLOOR = 1e-10  # of a loss that is drawn; in float32 it can be 0
EXAMPLES = 2  # arms whose curves are drawn
GROUP = ["arm", "lr"]
CELL = [*GROUP, "depth"]


@dataclass(frozen=True)
class DepthData:
    """runs: one row a run that ended: run_id, CELL (depth: hidden layers of an MLP, layers of a transformer), seed,
    fit, generalization, slingshots, first (steps; nan: never), before (median train loss in the
    SLINGSHOT_WINDOW steps before the first), accuracy (of the test set, at the end), steps.
    cells: one row a CELL, in the order of the sweep: shape (`70 x 4`), parameters, runs, fit, generalized, diverged,
    before (median), share of runs that slingshot; count (slingshots a run), first (median step; inf: most have none)
    and accuracy (mean), each with its interval (`share_low`, `share_high`, ...), steps. examples: of the first two
    arms, at their first lr, of the shallowest and the deepest arm, depth, shape, step and loss (largest since the
    record before), of the run with the median number of slingshots."""

    runs: pd.DataFrame
    cells: pd.DataFrame
    examples: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results) -> DepthData:
    """Raises ValueError where no run has ended."""
    runs = results.runs()
    ended = ended_runs(runs)
    widths = _column(ended, "model.widths")
    layers = _column(ended, "model.layers")
    first = results.events().query("kind == 'slingshot'").groupby("run_id")["step"].min()
    frame = pd.DataFrame(
        {
            "run_id": ended["run_id"],
            "arm": ended["arm"],
            "lr": ended["optimizer.lr"].astype(float),
            "depth": [len(wide) if wide else int(deep) for wide, deep in zip(widths, layers, strict=True)],
            "seed": ended["seed"],
            "fit": ended["fit_step"].astype(float),
            "generalization": ended["generalization_step"].astype(float),
            "slingshots": ended["slingshots"].astype(int),
            "first": ended["run_id"].map(first).astype(float),
            "before": ended["run_id"].map(_loss_before(results, first)).astype(float),
            "accuracy": ended["final/test/accuracy"].astype(float),
            "steps": ended["train.steps"].astype(int),
        }
    ).reset_index(drop=True)
    arms = list(dict.fromkeys(runs["arm"]))
    found = cells(runs.merge(frame[["run_id", "lr", "depth"]], on="run_id"), CELL)
    found = found.iloc[np.argsort([arms.index(arm) for arm in found["arm"]], kind="stable")].reset_index(drop=True)
    shapes = {run_id: _shape(row) for run_id, row in ended.set_index("run_id").iterrows()}
    found = _measured(found, frame, results, shapes)
    return DepthData(frame, found, _examples(results, frame, found), tuple(unended(runs)))


def _loss_before(results: Results, first: pd.Series) -> dict[Any, float]:
    """Run id -> median train loss in the steps before its first slingshot."""
    if first.empty:
        return {}
    curves = results.curves(LOSS, list(first.index))
    before = curves["run_id"].map(first) - curves["step"]
    near = curves[(before > 0) & (before <= SLINGSHOT_WINDOW)]
    return near.groupby("run_id")[LOSS].median().to_dict()


def _column(runs: pd.DataFrame, key: str) -> list[Any]:
    return [plain_value(value) for value in runs[key]] if key in runs else [None] * len(runs)


def _shape(run: pd.Series) -> str:
    """`70 x 4`, or `70-35` where hidden layers differ; of a transformer d_model."""
    widths = plain_value(run.get("model.widths"))
    if not widths:
        return f"d_model {int(run['model.d_model'])}"
    same = len(set(widths)) == 1
    return f"{widths[0]} x {len(widths)}" if same else "-".join(map(str, widths))


def _measured(found: pd.DataFrame, runs: pd.DataFrame, results: Results, shapes: dict[Any, str]) -> pd.DataFrame:
    """Cells with what `DepthData` has beyond `grokjax.analysis.answers.outcome`."""
    rows = []
    for row in found.to_dict("records"):
        own = runs[np.logical_and.reduce([runs[key] == row[key] for key in CELL])]
        one = own["run_id"].iloc[0]
        size = sum(int(np.size(value)) for value in results.params(one).values())
        measured = {
            "share": (row["slingshots"] / row["runs"], *wilson(row["slingshots"], row["runs"])),
            "count": interval_of_mean(own["slingshots"].to_numpy(np.float64)),
            "first": median_time(own["first"]),
            "accuracy": interval_of_mean(own["accuracy"].to_numpy(np.float64)),
        }
        plain = {key: row[key] for key in (*CELL, "runs", "fit", "generalized", "diverged", "steps")}
        plain |= {"shape": shapes[one], "parameters": size, "before": own["before"].median()}
        for name, values in measured.items():
            plain |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        rows.append(plain)
    return pd.DataFrame(rows)


def _examples(results: Results, runs: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for arm in list(dict.fromkeys(found["arm"]))[:EXAMPLES]:
        group = found[found["arm"] == arm]
        rows = group[group["lr"] == group["lr"].iloc[0]].sort_values("depth").to_dict("records")
        for cell in rows[:1] + rows[1:][-1:]:
            own = runs[np.logical_and.reduce([runs[key] == cell[key] for key in CELL])].sort_values("slingshots")
            curve = results.curves(LOSS_MAX, own["run_id"].iloc[len(own) // 2]).dropna().sort_values("step")
            named = {key: cell[key] for key in ("arm", "depth", "shape")}
            parts.append(curve.rename(columns={LOSS_MAX: "loss"}).assign(**named))
    return pd.concat(parts, ignore_index=True)


def answer(data: DepthData) -> list[str]:
    lines = list(data.notes)
    for name, part in _groups(data.cells):
        lines += [_cell_line(name, row) for row in part.to_dict("records")]
    for (name, part), (_, runs) in zip(_groups(data.cells), _groups(data.runs), strict=True):
        lines += _trend(name, part, runs)
    return [*lines, _with_and_without(data.runs)]


def _groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """`mlp, lr 1e-3`, and its rows."""
    for (arm, lr), part in frame.groupby(GROUP, sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        yield f"{arm}, lr {value_text(lr)}", part


def _cell_line(name: str, row: dict[Any, Any]) -> str:
    """How often, how many, when first, and who generalizes."""
    many = round(row["share"] * row["runs"])
    first = time_text(row["first"], row["first_low"], row["first_high"], float(row["steps"]))
    rise = f" from a train loss of {row['before']:.1g}" if np.isfinite(row["before"]) else ""
    return (
        f"{name}, depth {row['depth']} ({row['shape']}, {row['parameters']:,} parameters): "
        f"{fraction_text(many, row['runs'])} slingshot, {_within(row, 'count')} times a run, first at {first}{rise}; "
        f"{row['fit']} fit, {fraction_text(row['generalized'], row['runs'])} generalize, test accuracy at the end "
        f"{_within(row, 'accuracy', 1.0)}."
    )


def _within(row: dict[Any, Any], name: str, most: float = np.inf) -> str:
    """A mean with its interval, from 0 to `most`."""
    return mean_text(row[name], max(row[f"{name}_low"], 0.0), min(row[f"{name}_high"], most))


def _trend(name: str, part: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Rank correlations with depth over runs; the depth with most slingshots, with a warning on an edge."""
    if part["depth"].nunique() < 3:  # both are edges
        return []
    each = [
        f"{text} {mean_text(*rank_correlation(runs['depth'], values))}"
        for text, values in (
            ("slingshots", runs["slingshots"]),
            ("step of the first", runs["first"].fillna(np.inf)),
            ("test accuracy", runs["accuracy"]),
        )
    ]
    lines = [f"{name}: rank correlation with depth, over {len(runs)} runs: {'; '.join(each)}."]
    most = part[part["count"] == part["count"].max()]
    if most["count"].iloc[0] == 0 or len(most) > 1:
        return lines
    depth, ends = most["depth"].iloc[0], {part["depth"].min(): "smallest", part["depth"].max(): "largest"}
    lines.append(f"{name}: most slingshots at depth {depth}, {_within(most.iloc[0].to_dict(), 'count')} a run.")
    if depth in ends:
        lines.append(f"Warning: {name}, depth {depth} is the {ends[depth]} tried; there may be more beyond.")
    return lines


def _with_and_without(runs: pd.DataFrame) -> str:
    """Whether runs that slingshot generalize more often, over all cells."""
    texts = []
    for word, own in (("with", runs[runs["slingshots"] > 0]), ("without", runs[runs["slingshots"] == 0])):
        there = fraction_text(int(own["generalization"].notna().sum()), len(own)) if len(own) else "none of 0"
        mean, low, high = interval_of_mean(own["accuracy"].to_numpy(np.float64))
        accuracy = mean_text(mean, max(low, 0.0), min(high, 1.0))
        texts.append(f"{word} slingshots {there} generalize, test accuracy {accuracy}")
    return f"Of all runs (not the same networks): {'; '.join(texts)}."


def table(data: DepthData) -> pd.DataFrame:
    """One row a cell, as in `DepthData`."""
    return data.cells


def figure(data: DepthData) -> Figure:
    """Against depth: share of runs that slingshot, slingshots a run, step of the first, test accuracy; and the loss of
    a shallow and of a deep network of the first two arms."""
    several = data.cells["lr"].nunique() > 1
    parts = [part.assign(group=name if several else part["arm"]) for name, part in _groups(data.cells)]
    drawn = pd.concat(parts, ignore_index=True)
    with paper():
        picture, grid = panels(3, 2, 2.3)
        _draw(grid[0, 0], drawn, ("share", "share_low", "share_high"), "share of runs that slingshot")
        _draw(grid[0, 1], drawn, ("count", "count_low", "count_high"), "slingshots a run (mean)")
        _draw(grid[0, 2], drawn, ("first", "first_low", "first_high"), "step of the first (median)")
        _draw(grid[1, 0], drawn, ("accuracy", "accuracy_low", "accuracy_high"), "test accuracy, end (mean)")
        for axes in grid[:, 0]:
            axes.set_ylim(-0.04, 1.04)
        grid[0, 1].set_ylim(bottom=min(0.0, -0.04 * grid[0, 1].get_ylim()[1]))
        plain_times(grid[0, 2], "step of the first (median)")
        examples = [part for _, part in data.examples.groupby("arm", sort=False)]
        for axes, part in zip_longest(grid[1, 1:], examples[:EXAMPLES]):
            _draw_examples(axes, part)
        legend(grid[0, 0], columns=5)
        note(
            picture,
            "Bars: 95 % intervals over seeds (of medians below six seeds all their range). Depth: hidden layers of an "
            "MLP, layers of a transformer. Open triangles: most runs have none within the steps given. Curves: "
            "the largest train loss since the record before, of the run with the median number of slingshots.",
        )
    return picture


def _draw(axes: Axes, cells: pd.DataFrame, columns: tuple[str, str, str], label: str) -> None:
    draw_cells(axes, cells, "depth", columns, "group")
    depths = ordered_values(cells["depth"])
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_ylabel(label)


def _draw_examples(axes: Axes, examples: pd.DataFrame | None) -> None:
    if examples is None:
        axes.set_axis_off()
        return
    arm = examples["arm"].iloc[0]
    for place, (depth, part) in enumerate(examples.groupby("depth")):
        name = f"{arm}, depth {depth} ({part['shape'].iloc[0]})"
        axes.plot(part["step"], part["loss"].clip(lower=FLOOR), color=PALETTE[place], linewidth=0.6, label=name)
    axes.set_yscale("log")
    plain_steps(axes, int(examples["step"].max()))
    axes.set_xlabel("step")
    axes.set_ylabel("largest train loss")
    legend(axes, columns=1)
