"""How long runs take to generalize along an axis, log-log, with a fitted power law; who never got there is censored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from grokjax.analysis.cells import ENDED, is_number, runs_of
from grokjax.analysis.censored import CensoredFit, fit_censored
from grokjax.analysis.keys import short_key
from grokjax.figures.groups import check_colors, chosen_arms, group_runs, number_axis, pooled_axes
from grokjax.figures.null_place import NullPlace, null_place
from grokjax.figures.style import COLUMN, group_colors, paper, picture_width, span_text, steps_text, value_ticks
from grokjax.results.read import Results

FIRST_CHOICE = "optimizer.weight_decay"
MEASURES = {"generalization_step": "step of generalization", "delay": "steps from fit to generalization"}
MOST_BANDS = 3  # groups whose bands and counts can be told apart
LINE_POINTS = 41
LINE = 0.15  # inches, of a legend's line


@dataclass(frozen=True)
class TimesGroup:
    """Runs of one color. label: the value of `by`; empty without it. fit is None where there is none: why.

    line: what was fitted, from the least to the largest x: x, time (the median), low, high, and whether it is
    extrapolated: no run generalized there.
    """

    label: str
    value: Any
    fit: CensoredFit | None = None
    line: pd.DataFrame | None = None
    why: str = ""


@dataclass(frozen=True)
class TimesData:
    """points: one row a run that is drawn: group (its index), run_id, x (nan: null), time, censored (then time is its
    last step, less its fit step for the delay). left_out: why -> how many runs are not drawn."""

    arm: str
    x: str
    by: str | None
    measure: str
    points: pd.DataFrame
    groups: tuple[TimesGroup, ...]
    left_out: dict[str, int]
    pooled: tuple[str, ...]  # axes whose values share a color, seeds too
    null: NullPlace | None  # where runs of no number lie, which no fit is of

    @property
    def few(self) -> bool:
        """Whether bands and counts of the groups can be told apart."""
        return len(self.groups) <= MOST_BANDS


def data(
    results: Results,
    x: str | None = None,
    by: str | None = None,
    arm: str | None = None,
    measure: Literal["generalization_step", "delay"] = "generalization_step",
) -> TimesData:
    """Step of generalization along an axis, log-log, with a fitted power law.

    Per group log(time) = a + b log(x), fitted with censoring (see `fit_censored`). A run that ended without
    generalizing is censored at its last step. Left out and counted: runs that diverged before they generalized, runs
    whose x or time is not positive (a log axis has none), runs that go on and, for the delay, runs that never fit.
    Raises ValueError for an unknown measure, and without runs.

    x: key across; default: weight decay if it is varied, else the first axis of numbers
    by: key that is colored, each value with a fit; default: none
    arm: which arm; default: the first that varies x
    measure: the step itself, or the delay from fit on
    Example: grokjax figure times runs/time_to_generalize
    """
    if measure not in MEASURES:
        raise ValueError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
    arm, x = number_axis(results, chosen_arms(results, arm), x, FIRST_CHOICE)
    runs = runs_of(results.runs(), arm)
    times, left_out = _times(results, runs, x, measure)
    if times.empty:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise ValueError(f"nothing to draw: of arm {arm} in {results.path} there are {why}")
    group_of, values, labels = dict.fromkeys(runs["run_id"], 0), [None], [""]
    if by is not None:
        grouping = group_runs(results, runs, arm, by)
        by = grouping.keys[0]
        group_of, values = grouping.group_of, [group.told[0] for group in grouping.groups]
        labels = [group.texts[0] for group in grouping.groups]
    check_colors(by, len(values))
    points = times.assign(group=times["run_id"].map(group_of))
    points = points.sort_values(["group", "x"], kind="stable", ignore_index=True)
    groups = []
    for index, (value, label) in enumerate(zip(values, labels, strict=True)):
        groups.append(_fitted(label, value, points[points["group"] == index]))
    pooled, null = pooled_axes(results, runs, arm, x, by), null_place(results, runs, x, log=True)
    return TimesData(arm, x, by, measure, points, tuple(groups), left_out, pooled, null)


def _times(results: Results, runs: pd.DataFrame, x: str, measure: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """run_id, x, time, censored of the runs to draw; why the others are not, and how many."""
    last = runs["run_id"].map({run_id: end["step"] for run_id, end in results.ends.items()})
    censored = runs["generalization_step"].isna()
    start, at_once = pd.Series(0.0, runs.index), "generalized at once"
    if measure == "delay":
        start, at_once = runs["fit_step"], "generalized no later than they fit"
    times = pd.DataFrame(
        {
            "run_id": runs["run_id"],
            "x": runs[x].astype(float),
            "time": runs["generalization_step"].where(~censored, last).astype(float) - start,
            "censored": censored,
        }
    )
    reasons = {
        "have not ended": ~runs["status"].isin(ENDED),
        "diverged before they generalized": (runs["status"] == "diverged") & censored,
        "never fit": start.isna(),
        f"at {short_key(x)} {'0' if (times['x'] >= 0).all() else '≤ 0'}": times["x"] <= 0,
        at_once: times["time"] <= 0,
    }
    drawn, left_out = pd.Series(True, runs.index), {}
    for reason, applies in reasons.items():
        left_out[reason] = int((drawn & applies).sum())
        drawn &= ~applies
    return times[drawn], {reason: count for reason, count in left_out.items() if count}


def _fitted(label: str, value: Any, points: pd.DataFrame) -> TimesGroup:
    points = points[points["x"].notna()]
    x, censored = points["x"], points["censored"].astype(bool)
    try:
        fit = fit_censored(x, points["time"], ~censored)
    except ValueError as error:
        return TimesGroup(label, value, why=str(error))
    across = np.geomspace(x.min(), x.max(), LINE_POINTS)
    low, high = fit.band(across)
    seen = x[~censored]
    beyond = (across < seen.min() * 0.999) | (across > seen.max() * 1.001)
    columns = {"x": across, "time": fit.median(across), "low": low, "high": high, "extrapolated": beyond}
    return TimesGroup(label, value, fit, pd.DataFrame(columns))


def table(data: TimesData) -> pd.DataFrame:
    """Rows of three kinds. run: arm, value of `by`, run_id, x, time, censored. fit: intercept, slope, its interval low
    and high, sigma, events, runs censored, or in note why there is none. line: x, time (the median), low, high."""
    fits, lines = [], []
    for index, group in enumerate(data.groups):
        row: dict[str, Any] = {"row": "fit", "group": index}
        if group.fit is None or group.line is None:
            fits.append(row | {"note": group.why})
            continue
        names = ("intercept", "slope", "low", "high", "sigma", "events")
        fits.append(row | {name: getattr(group.fit, name) for name in names} | {"runs_censored": group.fit.censored})
        lines.append(group.line.drop(columns="extrapolated").assign(row="line", group=index))
    runs = data.points.assign(row="run")
    if data.null is not None:
        runs["x"] = runs["x"].astype(object).where(runs["x"].notna(), data.null.text)
    rows = pd.concat([runs, pd.DataFrame(fits), *lines], ignore_index=True)
    first: dict[str, Any] = {"arm": data.arm}
    if data.by is not None:
        first[data.by] = [data.groups[index].value for index in rows["group"]]
    rows = rows.drop(columns="group").rename(columns={"x": data.x, "time": data.measure})
    order = ["row", *first, *rows.columns.drop("row")]
    return rows.assign(**first)[order]


@paper()
def figure(data: TimesData) -> Figure:
    """One panel at column width, its legend below."""
    numeric = all(is_number(group.value) for group in data.groups)
    colors = group_colors(numeric, len(data.groups))
    handles = _handles(data, colors)
    picture = Figure(figsize=(picture_width(COLUMN), 2.25 + LINE * (len(handles) + 1)), layout="constrained")
    axes = picture.subplots()
    axes.set_xscale("log")
    axes.set_yscale("log")
    for group, color in zip(data.groups, colors, strict=True):
        if group.line is not None:
            _draw_line(axes, group.line, color, data.few)
    placed = data.points.fillna({"x": data.null.x}) if data.null else data.points
    width = _spread(np.unique(placed["x"])) / len(data.groups)
    for (index, x), points in placed.groupby(["group", "x"]):
        group = int(index)  # pyright: ignore[reportArgumentType]
        shift = width * (group - (len(data.groups) - 1) / 2)
        center = float(x) * 10**shift  # pyright: ignore[reportArgumentType]
        _draw_runs(axes, points, center, width, colors[group])
        if data.few:
            _count_censored(axes, points, center, 4 + 6.5 * group, colors[group])
    value_ticks(axes, data.points["x"].dropna(), data.null)
    _limits(axes, data)
    axes.set_xlabel(short_key(data.x))
    axes.set_ylabel(MEASURES[data.measure])
    picture.legend(handles=handles, loc="outside lower left", fontsize=6.5, labelspacing=0.3, borderpad=0.1)
    picture.suptitle(_title(data), fontsize=7)
    return picture


def _draw_line(axes: Axes, line: pd.DataFrame, color: Any, band: bool) -> None:
    """The fitted median, dotted where no run generalized."""
    if band:
        axes.fill_between(line["x"], line["low"], line["high"], color=color, alpha=0.18, linewidth=0)
    axes.plot(line["x"], line["time"], color=color, linestyle=":")
    axes.plot(line["x"], line["time"].mask(line["extrapolated"]), color=color)


def _draw_runs(axes: Axes, points: pd.DataFrame, center: float, width: float, color: Any) -> None:
    """Runs at equal x, beside each other so that each is seen."""
    offsets = np.arange(len(points)) - (len(points) - 1) / 2
    x = center * 10 ** (width * offsets / max(len(points), 6))
    time, censored = points["time"].to_numpy(), points["censored"].to_numpy(bool)
    style: dict[str, Any] = {"linestyle": "", "markersize": 3.2, "color": color, "markeredgewidth": 0.6}
    axes.plot(x[~censored], time[~censored], marker="o", alpha=0.75, **style)
    axes.plot(x[censored], time[censored], marker="^", markerfacecolor="white", **style)


def _count_censored(axes: Axes, points: pd.DataFrame, center: float, points_above: float, color: Any) -> None:
    """How many of the runs at one x are censored, above them."""
    times = points.loc[points["censored"], "time"]
    if times.empty:
        return
    text, outline = f"{len(times)}/{len(points)}", [withStroke(linewidth=1.5, foreground="white")]
    style: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 6, "color": color}
    axes.annotate(text, (center, times.max()), (0, points_above), path_effects=outline, **style)


def _spread(values: np.ndarray) -> float:
    """How wide, in decades, the runs of one x may lie: a good half of the least distance of two at most."""
    if len(values) < 2:
        return 0.3
    decades = np.log10(values)
    return 0.6 * min(float(np.diff(decades).min()), 0.12 * float(np.ptp(decades)) + 0.05)


def _limits(axes: Axes, data: TimesData) -> None:
    """Room for what was seen, the lines and the counts; wide bands are cut."""
    times = data.points["time"]
    lines = pd.concat([times, *(group.line["time"] for group in data.groups if group.line is not None)])
    # a line far beyond the last step is no more than an extrapolation
    seen = lines[lines.between(times.min() / 10, 10 * times.max())]
    low, high = seen.min() / 1.4, seen.max() * (2.0 if data.points["censored"].any() else 1.4)
    axes.set_ylim(low, high)
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _handles(data: TimesData, colors: list[Any]) -> list[Artist]:
    """What the marks are, then one line a group with its slope."""
    censored = int(data.points["censored"].sum())
    grey = colors[0] if len(colors) == 1 else "0.3"
    mark: dict[str, Any] = {"linestyle": "", "markersize": 3.6, "color": grey}
    handles: list[Artist] = [
        Line2D([], [], marker="o", label=f"generalized (runs: {len(data.points) - censored})", **mark)
    ]
    if censored:
        text = f"not by its last step, censored (runs: {censored}{'; k/n above' if data.few else ''})"
        handles.append(Line2D([], [], marker="^", markerfacecolor="white", label=text, **mark))
    for group, color in zip(data.groups, colors, strict=True):
        name = "log-normal fit, " if group.fit else ""
        if data.by:
            name = f"{short_key(data.by)} {group.label}: "
        dashes = "-" if group.fit else "none"
        handles.append(Line2D([], [], color=color, linestyle=dashes, label=name + _slope_text(group)))
    lines = [group.line for group in data.groups if group.line is not None]
    if lines and data.few:
        handles.append(Patch(color=grey, alpha=0.18, linewidth=0, label="95 % interval of the fitted median"))
    if any(line["extrapolated"].any() for line in lines):
        handles.append(Line2D([], [], color=grey, linestyle=":", label="extrapolated: no run generalized there"))
    return handles


def _slope_text(group: TimesGroup) -> str:
    if group.fit is None:
        return f"no fit: {group.why}"
    fit = group.fit
    return f"slope {fit.slope:.2f} [{fit.low:.2f}, {fit.high:.2f}] (95 %)".replace("-", "−")


def _title(data: TimesData) -> str:
    counts = data.points.groupby(["group", "x"], dropna=False).size()
    many = span_text(counts.min(), counts.max())
    what = "seed" if data.pooled == ("seed",) else "run"
    arm = "" if data.arm == "main" else f"arm {data.arm}: "
    text = f"{arm}{many} {what}{'' if many == '1' else 's'} a value"
    if what == "run" and data.pooled:
        text += f" (over {', '.join(map(short_key, data.pooled))})"
    lines = [text, *(f"left out: {count} {reason}" for reason, count in data.left_out.items())]
    if data.null:
        lines.append(f"{data.null.text}: beyond the gap, in no fit")
    return "\n".join(lines)
