"""Which labels does a norm fit better, true ones or random ones?

Varma et al. 2023 (arXiv 2309.02390): a memorizing circuit needs more norm the more examples it holds, a generalizing
one does not, so that beyond a critical size of the train set the generalizing one is the more efficient. Random labels
can only be memorized. What the runs of all weight decays come to gives, a seed, a line of train loss against norm;
these are compared at an equal train loss (how much norm it takes) and at an equal norm (which loss it buys).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from scipy.stats import gmean

from grokjax.analysis.answers import groups, interval_of_geometric_mean, rows
from grokjax.analysis.learning_coefficient import Sampling, learning_coefficient
from grokjax.figures.groups import ordered_values
from grokjax.figures.questions.panels import MARKERS, draw_cells, ended_runs, legend, mean_text, note, panels, unended
from grokjax.figures.style import GREY, PALETTE, paper
from grokjax.results.read import Results

KINDS = ("generalizing", "memorizing", "random")  # true labels that generalized at the end, that did not; random labels
COLORS = dict(zip(KINDS, PALETTE, strict=False))
CLOSE = 3.0  # a snapshot is at the common train loss within this factor
CURVE = ["p", "kind", "size", "seed"]


@dataclass(frozen=True)
class EfficiencyData:
    """runs: one row a run that ended: p, kind (of KINDS), size (of the train set), fraction, weight_decay, seed; norm,
    loss (train) and accuracy (test) at the end.
    norms: by p, kind and size: norm that a train loss of `loss` takes, mean over seeds, low, high; curves (how many).
    ratios: by p and size: of random labels over the generalizing solution, norm at that loss and loss at its norm.
    critical: by p: size at which random labels come to take as much norm, low, high (nan: not among the sizes).
    coefficients: by p, kind and size: learning coefficient of snapshots at `loss`, mean, low, high, runs, trusted."""

    runs: pd.DataFrame
    norms: pd.DataFrame
    ratios: pd.DataFrame
    critical: pd.DataFrame
    coefficients: pd.DataFrame
    notes: tuple[str, ...]


def data(results: Results, sampling: Sampling | None = None) -> EfficiencyData:
    """Raises ValueError where no run has ended."""
    runs = results.runs()
    frame = _ends(ended_runs(runs))
    curves = [curve for p, part in frame.groupby("p") for curve in _curves(part, common_loss(part))]
    table = pd.DataFrame(curves, columns=[*CURVE, "loss", "norm"])
    found = [_coefficients(results, frame, table, sampling)] if len(table) else []
    norms = [_mean(part["norm"], "norm") | _head(part) for _, part in table.groupby(["p", "kind", "size"])]
    ratios, critical = [], []
    for _, part in table.groupby("p"):
        ratios += _ratios(frame, part)
        critical += _critical(part)
    return EfficiencyData(
        frame, pd.DataFrame(norms), pd.DataFrame(ratios), pd.DataFrame(critical),
        pd.concat(found) if found else pd.DataFrame(), tuple(unended(runs)),
    )  # fmt: skip


def _ends(ended: pd.DataFrame) -> pd.DataFrame:
    generalized = ended["final/test/accuracy"] >= ended["events.generalization"]
    true = ended["task.op"] != "random"
    frame = pd.DataFrame(
        {
            "run_id": ended["run_id"],
            "p": ended["task.p"],
            "kind": np.where(~true, "random", np.where(generalized, "generalizing", "memorizing")),
            "size": (ended["task.p"] ** 2 * ended["task.train_fraction"].astype(float)).astype(int),
            "fraction": ended["task.train_fraction"].astype(float),
            "weight_decay": ended["optimizer.weight_decay"].astype(float),
            "seed": ended["seed"],
            "norm": ended["final/norm/total"].astype(float),
            "loss": ended["final/train/loss"].astype(float),
            "accuracy": ended["final/test/accuracy"].astype(float),
        }
    )
    return frame[(frame["loss"] > 0) & np.isfinite(frame["loss"])].reset_index(drop=True)


def common_loss(runs: pd.DataFrame) -> float:
    """The train loss that lies within the range of the most curves, in the middle of such losses; runs: of one p."""
    spans = np.log(runs.groupby(CURVE)["loss"].agg(["min", "max"]).to_numpy())
    grid = np.linspace(spans.min(), spans.max(), 401)
    covered = ((spans[:, :1] <= grid) & (grid <= spans[:, 1:])).sum(axis=0)
    return float(np.exp(np.median(grid[covered == covered.max()])))


def at(curve: pd.DataFrame, x: str, value: float, y: str) -> float:
    """y of a curve where x has a value, between its runs and linear in logarithms; nan beyond them."""
    ordered = curve.sort_values(x)
    with np.errstate(divide="ignore"):
        log_x, log_y, wanted = np.log(ordered[x]), np.log(ordered[y]), np.log(value)
    return float(np.exp(np.interp(wanted, log_x, log_y, left=np.nan, right=np.nan)))


def _curves(runs: pd.DataFrame, loss: float) -> Iterator[dict[str, Any]]:
    """Curves that come to the loss, and the norm that it takes."""
    for values, curve in runs.groupby(CURVE):
        norm = at(curve, "loss", loss, "norm")
        if np.isfinite(norm):
            yield dict(zip(CURVE, values, strict=True)) | {"loss": loss, "norm": norm}


def _head(part: pd.DataFrame) -> dict[str, Any]:
    return rows(part[["p", "kind", "size", "loss"]])[0]


def _mean(values: Any, name: str) -> dict[str, Any]:
    """Geometric mean and its interval, and of how many."""
    mean, low, high = interval_of_geometric_mean(np.asarray(values, float))
    return {name: mean, f"{name}_low": low, f"{name}_high": high, "curves": int(np.isfinite(values).sum())}


def _ratios(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Random labels over the generalizing solution (its mean over sizes and seeds); curves: of one p."""
    general = curves[curves["kind"] == "generalizing"]["norm"]
    loss, p = curves["loss"].iloc[0], curves["p"].iloc[0]
    own = runs[(runs["p"] == p) & (runs["kind"] == "random")]
    for size, part in own.groupby("size"):
        if general.empty:
            return
        norm = interval_of_geometric_mean(general.to_numpy())[0]
        takes = curves[(curves["kind"] == "random") & (curves["size"] == size)]["norm"] / norm
        buys = [at(curve, "norm", norm, "loss") / loss for _, curve in part.groupby("seed")]
        yield (
            {"p": p, "size": size}
            | _mean(takes, "norm")
            | {"common": int(np.isfinite(buys).sum())}
            | _mean(buys, "loss")
        )


def _critical(curves: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Where, a seed, the norm of random labels first passes that of the generalizing solution; curves: of one p."""
    general = curves[curves["kind"] == "generalizing"]["norm"]
    if general.empty:
        return
    norm = interval_of_geometric_mean(general.to_numpy())[0]
    sizes = []
    for _, part in curves[curves["kind"] == "random"].groupby("seed"):
        ordered = part.sort_values("size")
        sizes.append(at(ordered.assign(norm=np.maximum.accumulate(ordered["norm"])), "norm", norm, "size"))
    yield {"p": curves["p"].iloc[0], "general": norm} | _mean(sizes, "critical")


def _coefficients(
    results: Results, runs: pd.DataFrame, curves: pd.DataFrame, sampling: Sampling | None
) -> pd.DataFrame:
    """Of each curve the end nearest to the common train loss, if within CLOSE of it; by p, kind and size."""
    named = runs.merge(curves[[*CURVE, "loss"]].rename(columns={"loss": "common"}), on=CURVE)
    named = named.assign(apart=np.abs(np.log(named["loss"] / named["common"]))).sort_values("apart")
    named = named[named["apart"] <= np.log(CLOSE)].groupby(CURVE).head(1)
    if named.empty:
        return pd.DataFrame()
    ends = results.ends
    found = [
        learning_coefficient(results, list(part["run_id"]), int(step), sampling)
        for step, part in named.groupby(named["run_id"].map(lambda run_id: ends[run_id]["step"]))
    ]
    named = named.merge(pd.concat(found)[["run_id", "lambda", "trusted"]], on="run_id")
    rows = [
        _head(part.drop(columns="loss").rename(columns={"common": "loss"}))
        | _mean(part["lambda"], "lambda")
        | {"trusted": int(part["trusted"].sum())}
        for _, part in named.groupby(["p", "kind", "size"])
    ]
    return pd.DataFrame(rows)


def answer(data: EfficiencyData) -> list[str]:
    lines = list(data.notes)
    if data.norms.empty:
        return [*lines, "No train loss is common to runs of several weight decays: there is nothing to compare."]
    for p, norms in data.norms.groupby("p"):
        texts = [_by_size(str(kind), part, "norm") for kind, part in norms.groupby("kind", sort=False)]
        lines.append(f"p {p}: norm that a train loss of {norms['loss'].iloc[0]:.2g} takes: {'; '.join(texts)}.")
        lines += _against(data, p)
        part = _of(data.coefficients, p)
        if len(part):
            texts = [_by_size(str(kind), own, "lambda") for kind, own in part.groupby("kind", sort=False)]
            total = f"{part['trusted'].sum()} of {part['curves'].sum()} estimates are to be trusted"
            lines.append(
                f"p {p}: learning coefficient within a factor {CLOSE:g} of that loss: {'; '.join(texts)}; {total}."
            )
    return lines


def _of(frame: pd.DataFrame, p: Any) -> pd.DataFrame:
    """Rows of one p; a frame without rows has no columns."""
    return frame[frame["p"] == p] if len(frame) else frame


def _by_size(kind: str, part: pd.DataFrame, name: str) -> str:
    each = [f"{row['size']} examples {mean_text(*_three(row, name))}" for row in rows(part)]
    return f"{kind} {', '.join(each)}"


def _three(row: dict[Any, Any], name: str) -> tuple[float, float, float]:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def _against(data: EfficiencyData, p: Any) -> list[str]:
    """Random labels against the generalizing solution, and the critical size."""
    critical, ratios = _of(data.critical, p), rows(_of(data.ratios, p))
    if critical.empty:
        return [f"p {p}: no weight decays of one seed generalize and come to that loss: no critical size."]
    if not ratios:
        return [f"p {p}: no run with random labels to compare with."]
    takes = [f"{row['size']}: {mean_text(*_three(row, 'norm'))}" for row in ratios]
    buys = [
        f"{row['size']}: {mean_text(*_three(row, 'loss'))}" if row["common"] else f"{row['size']}: no common norm"
        for row in ratios
    ]
    lines = [
        f"p {p}: norm of random labels over the generalizing solution's at equal loss, by size: {', '.join(takes)}.",
        f"p {p}: train loss of random labels over the same, at equal norm, by size: {', '.join(buys)}.",
    ]
    row = rows(critical)[0]
    if np.isfinite(row["critical"]):
        return [
            *lines,
            f"p {p}: random labels become the less efficient at {mean_text(*_three(row, 'critical'))} examples.",
        ]
    known = [one for one in ratios if np.isfinite(one["norm"])]
    where = "above the largest" if known and known[-1]["norm"] < 1 else "below the smallest"
    return [*lines, f"p {p}: the critical size is not among those tried; it lies {where}."]


def table(data: EfficiencyData) -> pd.DataFrame:
    """One row a run, as in `EfficiencyData`."""
    return data.runs


def figure(data: EfficiencyData) -> Figure:
    """A row a p: train loss against norm at the end, a line a size and kind; the norm that the common loss takes, and
    the learning coefficient there, against the size of the train set."""
    ps = ordered_values(data.runs["p"])
    with paper():
        picture, grid = panels(3, len(ps), 2.4)
        for row, p in zip(grid, ps, strict=True):
            own, critical = _of(data.norms, p), _of(data.critical, p)
            _draw_lines(row[0], data.runs[data.runs["p"] == p], own, p)
            _draw_sizes(row[1], own, "norm", "norm at that train loss")
            if len(critical) and critical["critical"].notna().any():
                row[1].axvline(critical["critical"].iloc[0], color="black", linewidth=0.6, linestyle=":")
            _draw_sizes(row[2], _of(data.coefficients, p), "lambda", "learning coefficient there")
            row[2].set_yscale("log")
            row[2].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if len(data.norms):
            legend(grid[0, 1], "labels")
        note(
            picture,
            "Left: a mark a run at its end, mean lines over seeds; grey: the common train loss. Middle: dotted where "
            "random labels come to take the norm of the generalizing solution. Bars: 95 % intervals over seeds.",
        )
    return picture


def _draw_lines(axes: Axes, runs: pd.DataFrame, norms: pd.DataFrame, p: int) -> None:
    sizes = ordered_values(runs["size"])
    for (kind, size), part in groups(runs, ["kind", "size"], sort=True):
        marker = MARKERS[sizes.index(size) % len(MARKERS)]
        style: dict[str, Any] = {"color": COLORS[kind], "linewidth": 0.7}
        axes.plot(part["norm"], part["loss"], marker, markersize=2.4, alpha=0.5, **style)
        middle = part.groupby("weight_decay")[["norm", "loss"]].agg(gmean)
        axes.plot(middle["norm"], middle["loss"], "-", **style)
    axes.set_yscale("log")
    if len(norms):
        axes.axhline(norms["loss"].iloc[0], color=GREY, linewidth=0.6, zorder=0)
    axes.set_xlabel("norm of all parameters")
    axes.set_ylabel("train loss")
    marks = [
        Line2D(
            [], [], marker=MARKERS[place % len(MARKERS)], color="black", linestyle="none", markersize=3, label=str(size)
        )
        for place, size in enumerate(sizes)
    ]
    legend(axes, f"p = {p}; train examples", handles=marks)


def _draw_sizes(axes: Axes, frame: pd.DataFrame, name: str, label: str) -> None:
    if len(frame):
        draw_cells(axes, frame, "size", (name, f"{name}_low", f"{name}_high"), "kind", "train examples")
        for line, kind in zip(axes.containers, ordered_values(frame["kind"]), strict=False):
            for part in (line[0], *line[1], *line[2]):  # pyright: ignore
                part.set_color(COLORS[kind])
    axes.set_ylabel(label)
    axes.set_xlabel("train examples")
