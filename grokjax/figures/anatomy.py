"""One slingshot, step by step: loss, the last layer's norm and update, Adam's gain, margin and accuracy around it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.figures.style import COLUMN, GREY, PALETTE, paper
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer
from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    from grokjax.analysis.replay import Replay
    from grokjax.engine.replay import Moment

BLUE, ORANGE, GREEN = PALETTE[0], PALETTE[1], PALETTE[2]
PALE = "#9CC3E0"
ABSORBED = 23 * np.log(2)  # margin past which float32 softmax gives the right class no gradient (arXiv 2605.06152)
METRICS = ("train/loss", "train/loss_max", "test/loss", "train/accuracy", "test/accuracy")
GAIN = "adam_gain"
LETTERS = 58  # of a title's line


@dataclass(frozen=True)
class AnatomyData:
    """A stretch of a run around a slingshot.

    curves: one row a step: step, stored (whether training recorded it), the METRICS, norm, update_norm and grad_norm
    (of the last layer); replayed also margin/min, margin/median, and adam_gain: the median over the last layer's
    entries of 1 / (sqrt(v / (1 - b2^t)) + eps), what Adam multiplies a gradient with besides lr (Kingma and Ba 2015).
    """

    run_id: str
    last_layer: str
    event: int  # which of the run's slingshots, from 1 on
    events: int  # how many it has
    step: int  # of the record that shows it
    norm_jump: float
    replayed: bool
    note: str  # where the numbers are from
    curves: pd.DataFrame


def data(
    results: Results,
    run: str | None = None,
    event: int = 1,
    before: int = 200,
    after: int = 200,
    replay: Callable[..., Replay] | None = None,
) -> AnatomyData:
    """The steps from `before` steps before a slingshot to `after` steps after it.

    run: default the first of those with the most slingshots. event: which of its slingshots, from 1 on. replay:
    `grokjax.replay`, to see every step; without it, or where the run cannot be replayed, the stored records are shown
    and the note says so. Raises ValueError where there is no such slingshot.
    """
    run, found = _slingshots(results, run)
    if not 1 <= event <= len(found):
        has = f"{len(found)} slingshot{'' if len(found) == 1 else 's'}"
        raise ValueError(f"run {run} has {has}, so there is no number {event}")
    if before < 0 or after < 0:
        raise ValueError(f"before and after are numbers of steps, got {before} and {after}")
    at, jump = int(found["step"].iloc[event - 1]), float(found["norm_jump"].iloc[event - 1])
    layer = last_layer(results.parameters(run))
    stored = _stored(results, run, layer, at - before, at + after)
    curves, note = stored.assign(stored=True), "stored records"
    replayed = False
    if replay is not None:
        first, last = max(0, at - before), min(at + after, _last_step(results, run))
        try:
            curves, note = _replayed(replay(results, run, first, last, probes=["margin"]), results, run, layer)
            curves["stored"] = curves["step"].isin(stored["step"])
            replayed = True
        except SweepError as error:  # other hardware or versions, or what the run began from is gone
            other = "was trained on" in str(error)
            note = f"stored records; not replayed: {'trained on another machine' if other else error}"
    return AnatomyData(run, layer, event, len(found), at, jump, replayed, note, curves.reset_index(drop=True))


def _slingshots(results: Results, run: str | None) -> tuple[str, pd.DataFrame]:
    """The run, and its slingshots by step."""
    events = results.events()
    events = events[events["kind"] == "slingshot"]
    if run is None:
        if events.empty:
            raise ValueError(f"no slingshot was found in {results.path}, so there is none to take apart")
        counts = events.groupby("run_id", sort=False).size()
        run = str(counts.index[int(np.argmax(counts.to_numpy()))])
    results.snapshots(run)  # says if there is no such run
    found = events[events["run_id"] == run].sort_values("step")
    if found.empty:
        raise ValueError(f"run {run} in {results.path} has no slingshot")
    return run, found


def _last_step(results: Results, run: str) -> int:
    end = results.ends.get(run)
    return int(end["step"]) if end else int(results.curves("train/loss", run)["step"].max())


def _columns(layer: str) -> dict[str, str]:
    """Metric -> column."""
    kinds = ("norm", "update_norm", "grad_norm")
    return {name: name for name in METRICS} | {f"{kind}/{layer}": kind for kind in kinds}


def _stored(results: Results, run: str, layer: str, first: int, last: int) -> pd.DataFrame:
    columns, known = _columns(layer), results.metrics()
    curves = results.curves([name for name in columns if name in known], run)
    curves = curves[curves["step"].between(first, last)].drop(columns="run_id")
    return curves.rename(columns=columns)


def _replayed(moments: Replay, results: Results, run: str, layer: str) -> tuple[pd.DataFrame, str]:
    """One row a replayed step, and how the replay met the stored records."""
    columns = _columns(layer) | {name: name for name in ("margin/min", "margin/median")}
    runs = results.planned()
    row = runs[runs["run_id"] == run].iloc[0]
    b2, eps = row.get("optimizer.b2"), row.get("optimizer.eps")
    rows = []
    for moment in moments:
        values = {column: moment.record.get(name, np.nan) for name, column in columns.items()}
        rows.append({"step": moment.step} | values | {GAIN: _gain(moment, layer, b2, eps)})
    curves = pd.DataFrame(rows).drop(columns="train/loss_max")  # every step is there
    return curves.dropna(axis=1, how="all"), f"replayed: {moments.verdict}"


def _gain(moment: Moment, layer: str, b2: Any, eps: Any) -> float:
    """Median over a matrix of 1 / (sqrt(v / (1 - b2^t)) + eps) before the update; nan at the start and without Adam."""
    second, count = moment.opt.get(f"nu/{layer}"), int(moment.opt.get("count", 0))
    if second is None or count == 0:
        return np.nan
    return float(np.median(1 / (np.sqrt(second.astype(np.float64) / (1 - float(b2) ** count)) + float(eps))))


def table(data: AnatomyData) -> pd.DataFrame:
    """One row a step: run_id, event, event_step, last_layer, then the columns of `AnatomyData.curves`."""
    head = {"run_id": data.run_id, "event": data.event, "event_step": data.step, "last_layer": data.last_layer}
    return data.curves.assign(**head)[[*head, *data.curves.columns]]


def figure(data: AnatomyData) -> Figure:
    """Panels below each other over one axis of steps, a column of a paper wide."""
    panels = [(draw, inches) for draw, needs, inches in _PANELS if needs in data.curves]
    with paper():
        picture = Figure(figsize=(COLUMN, sum(inches for _, inches in panels) + 0.75), layout="constrained")
        ratios = [inches for _, inches in panels]
        stack = picture.subplots(len(panels), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0]
        for axes, (draw, _) in zip(stack, panels, strict=True):
            axes.axvline(data.step, color=ORANGE, linewidth=0.8, zorder=0)
            draw(axes, data)
        stack[-1].set_xlim(data.curves["step"].min(), data.curves["step"].max())
        stack[-1].set_xlabel("step")
        picture.align_ylabels(list(stack))
        picture.suptitle(_title(data), fontsize=7, x=0.02, ha="left")
    return picture


def _title(data: AnatomyData) -> str:
    which = f"slingshot {data.event} of {data.events} (line: step {data.step}), run {data.run_id[:8]}"
    return f"{which}\n{textwrap.fill(data.note, LETTERS)}"


def _line(axes: Axes, data: AnatomyData, name: str, color: Any, label: str | None = None, style: str = "-") -> None:
    if name in data.curves:
        there = data.curves[["step", name]].replace([np.inf, -np.inf], np.nan).dropna()
        axes.plot(there["step"], there[name], color=color, label=label, linestyle=style, linewidth=0.9)


def _loss(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, "train/loss_max", PALE, "largest between records")
    _line(axes, data, "test/loss", GREEN, "test")
    _line(axes, data, "train/loss", BLUE, "train")
    if data.replayed:
        dots = data.curves[data.curves["stored"]]
        axes.plot(dots["step"], dots["train/loss"], ".", color="black", markersize=1.8, label="stored records")
    axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        handlelength=1.2,
        columnspacing=1.2,
        borderpad=0,
        borderaxespad=0.2,
    )


def _norm(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, "norm", "black")
    axes.set_ylabel(f"norm of\n{data.last_layer}")
    if np.isfinite(data.norm_jump):
        text = f"jump {100 * data.norm_jump:+.2g} %"
        axes.text(0.98, 0.06, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=6.5, color=ORANGE)


def _update(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, "update_norm", "black")
    axes.set_yscale("log")
    axes.set_ylabel(f"update\nof {data.last_layer}")


def _adam(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, GAIN, "black")
    axes.set_yscale("log")
    axes.set_ylabel("Adam's gain\n" + r"$1/(\sqrt{\hat{v}}+\epsilon)$")


def _margin(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, "margin/median", BLUE, "median")
    _line(axes, data, "margin/min", BLUE, "least", "--")
    axes.axhline(ABSORBED, color=GREY, linewidth=0.9, linestyle=":", label="23 ln 2", zorder=0)
    axes.set_ylabel("train\nmargin")
    axes.legend(loc="lower right", handlelength=1.6, fontsize=6, borderpad=0, labelspacing=0.15)


def _accuracy(axes: Axes, data: AnatomyData) -> None:
    _line(axes, data, "test/accuracy", GREEN, "test")
    _line(axes, data, "train/accuracy", BLUE, "train")
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("accuracy")


# what draws a panel, the column that it needs, inches
_PANELS: tuple[tuple[Callable[[Axes, AnatomyData], None], str, float], ...] = (
    (_loss, "train/loss", 1.0),
    (_norm, "norm", 0.65),
    (_update, "update_norm", 0.65),
    (_adam, GAIN, 0.75),
    (_margin, "margin/min", 0.85),
    (_accuracy, "train/accuracy", 0.6),
)


def draw(
    results: Results,
    run: str | None = None,
    event: int = 1,
    before: int = 200,
    after: int = 200,
    replay: Callable[..., Any] | None = None,
) -> Figure:
    """One slingshot step by step: loss, last layer, Adam's gain, margin and accuracy.

    run: run id; default: the first of those with the most slingshots
    event: which of its slingshots, from 1 on
    before: steps shown before it
    after: steps shown after it
    replay: `grokjax.replay`, to see every step; without it the stored records are shown
    Example: grokjax figure anatomy runs/quickstart --event 2 --before 100
    """
    return figure(data(results, run, event, before, after, replay))
