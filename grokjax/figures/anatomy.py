"""One slingshot, step by step: loss, the last layer's norm and update, Adam's gain, margin and accuracy around it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.figures.style import BLUE, COLUMN, GREEN, GREY, ORANGE, paper, picture_width
from grokjax.figures.units import loss_unit
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer
from grokjax.sweep.load import SweepError

if TYPE_CHECKING:
    from grokjax.analysis.replay import Replay
    from grokjax.engine.replay import Moment

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
    loss_unit: str = ""


def data(
    results: Results,
    run: str | None = None,
    event: int = 1,
    before: int = 200,
    after: int = 200,
    replay: Callable[..., Any] | None = None,
) -> AnatomyData:
    """One slingshot step by step: loss, last layer, Adam's gain, margin and accuracy.

    Where the run cannot be replayed, the stored records are shown and the note says so. Raises ValueError where there
    is no such slingshot.

    run: run id; default: the first of those with the most slingshots
    event: which of its slingshots, from 1 on
    before: steps shown before it
    after: steps shown after it
    replay: `grokjax.replay`, to see every step; without it the stored records are shown
    Example: grokjax figure anatomy runs/quickstart --event 2 --before 100
    """
    run, slingshots = _slingshots(results, run)
    if not 1 <= event <= len(slingshots):
        count = f"{len(slingshots)} slingshot{'' if len(slingshots) == 1 else 's'}"
        raise ValueError(f"run {run} has {count}, so there is no number {event}")
    if before < 0 or after < 0:
        raise ValueError(f"before and after are numbers of steps, got {before} and {after}")
    step, jump = int(slingshots["step"].iloc[event - 1]), float(slingshots["norm_jump"].iloc[event - 1])
    layer = last_layer(results.parameters(run))
    stored = _stored(results, run, layer, step - before, step + after)
    curves, note = stored.assign(stored=True), "stored records"
    replayed = False
    if replay is not None:
        first, last = max(0, step - before), min(step + after, _last_step(results, run))
        try:
            moments = replay(results, run, first, last, probes=["margin"])
            curves, note = _replayed(moments, results, run, layer), f"replayed: {moments.verdict}"
            curves["stored"] = curves["step"].isin(stored["step"])
            replayed = True
        except SweepError as error:  # other hardware or versions, or what the run began from is gone
            other = "was trained on" in str(error)
            note = f"stored records; not replayed: {'trained on another machine' if other else error}"
    curves = curves.reset_index(drop=True)
    unit = loss_unit(results.planned().query("run_id == @run").get("loss.name", ()))
    return AnatomyData(run, layer, event, len(slingshots), step, jump, replayed, note, curves, unit)


def _slingshots(results: Results, run: str | None) -> tuple[str, pd.DataFrame]:
    """The run, and its slingshots by step."""
    events = results.events().query("kind == 'slingshot'")
    if run is None:
        if events.empty:
            raise ValueError(f"no slingshot was found in {results.path}, so there is none to take apart")
        run = str(events.groupby("run_id", sort=False).size().idxmax())
    (run,) = results.whole_run_ids(run)
    slingshots = events[events["run_id"] == run].sort_values("step")
    if slingshots.empty:
        raise ValueError(f"run {run} in {results.path} has no slingshot")
    return run, slingshots


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
    return curves[curves["step"].between(first, last)].drop(columns="run_id").rename(columns=columns)


def _replayed(moments: Replay, results: Results, run: str, layer: str) -> pd.DataFrame:
    """One row a replayed step."""
    columns = _columns(layer) | {name: name for name in ("margin/min", "margin/median")}
    hypers = results.planned().set_index("run_id").loc[run]
    rows = []
    for moment in moments:
        values = {column: moment.record.get(name, np.nan) for name, column in columns.items()}
        gain = _gain(moment, layer, hypers.get("optimizer.b2"), hypers.get("optimizer.eps"))
        rows.append({"step": moment.step} | values | {GAIN: gain})
    curves = pd.DataFrame(rows).drop(columns="train/loss_max")  # every step is there
    return curves.dropna(axis=1, how="all")


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


class Panel(NamedTuple):
    label: str
    inches: float
    lines: list[tuple[str, str, str, str]]  # column, color, label, dashes
    log: bool = False


LOSS = [
    ("train/loss_max", GREY, "largest between records", "-"),
    ("test/loss", GREEN, "test", "-"),
    ("train/loss", BLUE, "train", "-"),
]
MARGIN = [("margin/median", BLUE, "median", "-"), ("margin/min", BLUE, "least", "--")]
PANELS = {
    "loss": Panel("loss\n({unit})", 1.0, LOSS, log=True),
    "norm": Panel("L2 norm\nof {layer}", 0.65, [("norm", "black", "", "-")]),
    "update": Panel("L2 norm\nof update", 0.65, [("update_norm", "black", "", "-")], log=True),
    "gain": Panel("Adam's gain\n" + r"$1/(\sqrt{\hat{v}}+\epsilon)$", 0.75, [(GAIN, "black", "", "-")], log=True),
    "margin": Panel("margin\n(logits)", 0.95, MARGIN),
    "accuracy": Panel("accuracy\n(share)", 0.6, [("test/accuracy", GREEN, "", "-"), ("train/accuracy", BLUE, "", "-")]),
}


@paper()
def figure(data: AnatomyData) -> Figure:
    """Panels below each other over one axis of steps, a column of a paper wide."""
    panels = {name: panel for name, panel in PANELS.items() if panel.lines[-1][0] in data.curves}
    inches = [panel.inches for panel in panels.values()]
    picture = Figure(figsize=(picture_width(COLUMN), sum(inches) + 0.75), layout="constrained")
    axes = picture.subplot_mosaic([[name] for name in panels], sharex=True, height_ratios=inches)
    for name, panel in panels.items():
        _draw_panel(axes[name], data, panel)
    _finish_loss(axes["loss"], data)
    if np.isfinite(data.norm_jump) and "norm" in axes:
        style: dict[str, Any] = {"ha": "right", "va": "bottom", "fontsize": 6.5, "color": ORANGE}
        axes["norm"].text(0.98, 0.06, f"jump {100 * data.norm_jump:+.2g} %", transform=axes["norm"].transAxes, **style)
    if "margin" in axes:
        axes["margin"].axhline(ABSORBED, color=GREY, linewidth=0.9, linestyle=":", label="23 ln 2", zorder=0)
        _legend_above(axes["margin"])
    if "accuracy" in axes:
        axes["accuracy"].set(ylim=(-0.05, 1.05), yticks=[0, 0.5, 1])
    lowest = list(axes.values())[-1]
    lowest.set_xlim(data.curves["step"].min(), data.curves["step"].max())
    lowest.set_xlabel("step")
    picture.align_ylabels()
    which = f"slingshot {data.event} of {data.events} (line: step {data.step}), run {data.run_id[:8]}"
    picture.suptitle(f"{which}\n{textwrap.fill(data.note, LETTERS)}", fontsize=7, x=0.02, ha="left")
    return picture


def _draw_panel(axes: Axes, data: AnatomyData, panel: Panel) -> None:
    axes.axvline(data.step, color=ORANGE, linewidth=0.8, zorder=0)
    for column, color, label, dashes in panel.lines:
        if column in data.curves:
            known = data.curves[["step", column]].replace([np.inf, -np.inf], np.nan).dropna()
            axes.plot(known["step"], known[column], color=color, label=label, linestyle=dashes, linewidth=0.9)
    label = panel.label.replace("{layer}", data.last_layer).replace("\n({unit})", _unit(data))
    axes.set_ylabel(label)
    if panel.log:
        axes.set_yscale("log")


def _unit(data: AnatomyData) -> str:
    return f"\n({data.loss_unit})" if data.loss_unit else ""


def _finish_loss(axes: Axes, data: AnatomyData) -> None:
    if data.replayed:
        dots = data.curves[data.curves["stored"]]
        axes.plot(dots["step"], dots["train/loss"], ".", color="black", markersize=1.8, label="stored records")
    _legend_above(axes)


def _legend_above(axes: Axes) -> None:
    """Beside the data, which it would hide."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        handlelength=1.2,
        columnspacing=1.2,
        borderpad=0,
        borderaxespad=0.2,
    )
