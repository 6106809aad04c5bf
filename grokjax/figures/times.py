"""How long runs take to generalize along an axis, log-log, with a fitted power law; who never got there is censored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from grokjax.analysis.cells import ENDED, is_number, runs_of, varied_keys
from grokjax.analysis.censored import CensoredFit, fit_censored
from grokjax.figures.groups import MOST_GROUPS, check_key, chosen_arms, group_runs
from grokjax.figures.style import COLUMN, group_colors, paper, short_key, span_text, steps_text, value_text, value_ticks
from grokjax.results.read import Results

FIRST_CHOICE = "optimizer.weight_decay"
MEASURES = {"generalization_step": "step of generalization", "delay": "steps from fit to generalization"}
MOST_BANDS = 3  # groups whose bands and counts can be told apart
LINE_POINTS = 41
LINE = 0.15  # inches, of a legend's line


@dataclass(frozen=True)
class TimesGroup:
    """Runs of one color. label: the value of `by`; empty without it. fit is None where there is none: why."""

    label: str
    value: Any
    fit: CensoredFit | None
    why: str


@dataclass(frozen=True)
class TimesData:
    """points: one row a run that is drawn: group (place in groups), run_id, x, time, censored (then time is its last
    step, less its fit step for the delay). left_out: why -> how many runs are not drawn."""

    arm: str
    x: str
    by: str | None
    measure: str
    points: pd.DataFrame
    groups: tuple[TimesGroup, ...]
    left_out: dict[str, int]
    pooled: tuple[str, ...]  # axes whose values share a color, seeds too


def data(
    results: Results,
    x: str | None = None,
    by: str | None = None,
    arm: str | None = None,
    measure: str = "generalization_step",
) -> TimesData:
    """Times of the runs that ended, and per group log(time) = a + b log(x), fitted with censoring (see `fit_censored`).

    A run that ended without generalizing is censored at its last step. Left out and counted: runs that diverged
    before they generalized, runs whose x or time is not positive (it has no place on a log axis), runs that go on and,
    for the delay, runs that never fit. Raises ValueError for an unknown key, arm or measure, and without runs.
    """
    if measure not in MEASURES:
        raise ValueError(f"no measure {measure!r}; there are {', '.join(MEASURES)}")
    arm, x = _axis(results, arm, x)
    runs = runs_of(results.runs(), arm)
    times, left_out = _times(results, runs, x, measure)
    if times.empty:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise ValueError(f"nothing to draw: of arm {arm} in {results.path} there are {why}")
    members: list[tuple[str, Any, tuple[str, ...]]] = [("", None, tuple(runs["run_id"]))]
    if by is not None:
        grouping = group_runs(results, runs, arm, check_key(results, by))
        members = [(value_text(group.values[0]), group.values[0], group.run_ids) for group in grouping.groups]
    if len(members) > MOST_GROUPS:
        raise ValueError(f"{by} has {len(members)} values; at most {MOST_GROUPS} can be told apart")
    of = {run_id: place for place, (_, _, run_ids) in enumerate(members) for run_id in run_ids}
    points = times.assign(group=times["run_id"].map(of)).sort_values(["group", "x"], kind="stable", ignore_index=True)
    groups = [_group(label, value, points[points["group"] == place]) for place, (label, value, _) in enumerate(members)]
    pooled = [key for key in results.manifest.axes[arm] if key not in (x, by) and runs[key].map(str).nunique() > 1]
    return TimesData(arm, x, by, measure, points, tuple(groups), left_out, tuple(pooled))


def _axis(results: Results, arm: str | None, x: str | None) -> tuple[str, str]:
    """The arm and its axis: as asked for, else weight decay where some arm varies it, else a first axis of numbers."""
    arms, planned = chosen_arms(results, arm), results.planned()
    if x is not None:
        if not all(map(is_number, planned[check_key(results, x)])):
            raise ValueError(f"the values of {x} are not all numbers, so they have no place on a log axis")
        return next((name for name in arms if x in results.manifest.axes[name]), arms[0]), x
    axes = [(name, key) for name in arms for key in varied_keys(results, name)]
    numeric = [(name, key) for name, key in axes if all(map(is_number, runs_of(planned, name)[key]))]
    if not numeric:
        raise ValueError(f"arm {', '.join(arms)} varies no number but seeds: there is no axis to draw times against")
    return next((pair for pair in numeric if pair[1] == FIRST_CHOICE), numeric[0])


def _times(results: Results, runs: pd.DataFrame, x: str, measure: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """run_id, x, time, censored of the runs to draw; why the others are not, and how many."""
    last = runs["run_id"].map({run_id: end["step"] for run_id, end in results.ends.items()}).to_numpy(np.float64)
    zero, at_once = np.zeros(len(runs)), "generalized at once"
    if measure == "delay":
        zero, at_once = runs["fit_step"].to_numpy(np.float64), "generalized no later than they fit"
    generalization = runs["generalization_step"].to_numpy(np.float64)
    happened = ~np.isnan(generalization)
    at, time = runs[x].to_numpy(np.float64), np.where(happened, generalization, last) - zero
    ended = runs["status"].isin(ENDED).to_numpy()
    reasons = {
        "have not ended": ~ended,
        "diverged before they generalized": (runs["status"] == "diverged").to_numpy() & ~happened,
        "never fit": np.isnan(zero),
        f"at {short_key(x)} {'0' if np.all(at >= 0) else '≤ 0'}": at <= 0,
        at_once: time <= 0,
    }
    keep, left_out = np.ones(len(runs), bool), {}
    for reason, those in reasons.items():
        count = int((keep & those).sum())
        if count:
            left_out[reason] = count
        keep &= ~those
    frame = {"run_id": runs["run_id"].to_numpy()[keep], "x": at[keep], "time": time[keep], "censored": ~happened[keep]}
    return pd.DataFrame(frame), left_out


def _group(label: str, value: Any, points: pd.DataFrame) -> TimesGroup:
    try:
        fit = fit_censored(points["x"].to_numpy(), points["time"].to_numpy(), ~points["censored"].to_numpy(bool))
    except ValueError as error:
        return TimesGroup(label, value, None, str(error))
    return TimesGroup(label, value, fit, "")


def table(data: TimesData) -> pd.DataFrame:
    """Rows of three kinds. run: arm, value of `by`, run_id, x, time, censored. fit: intercept, slope, its interval low
    and high, sigma, events, runs censored, or in note why there is none. line: x, time (the median), low, high."""
    runs = data.points.assign(row="run")
    fits, lines = [], []
    for place, group in enumerate(data.groups):
        fit = group.fit
        if fit is None:
            fits.append({"row": "fit", "group": place, "note": group.why})
            continue
        row = {"row": "fit", "group": place, "intercept": fit.intercept, "slope": fit.slope, "low": fit.low}
        row |= {"high": fit.high, "sigma": fit.sigma, "events": fit.events, "runs_censored": fit.censored}
        fits.append(row)
        x, middle, low, high = _line(data, place, fit)
        lines.append(pd.DataFrame({"row": "line", "group": place, "x": x, "time": middle, "low": low, "high": high}))
    rows = pd.concat([runs, pd.DataFrame(fits), *lines], ignore_index=True)
    first: dict[str, Any] = {"arm": data.arm}
    if data.by is not None:
        first[data.by] = [data.groups[place].value for place in rows["group"]]
    rows = rows.drop(columns="group").rename(columns={"x": data.x, "time": data.measure})
    order = ["row", *first, *(name for name in rows if name != "row")]
    return rows.assign(**first)[order]


def _line(data: TimesData, place: int, fit: CensoredFit) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, median, low, high, from the least to the largest x of a group."""
    at = data.points.loc[data.points["group"] == place, "x"]
    x = np.geomspace(at.min(), at.max(), LINE_POINTS)
    return x, fit.median(x), *fit.band(x)


def figure(data: TimesData) -> Figure:
    """One panel at column width, its legend below."""
    numeric = all(is_number(group.value) for group in data.groups)
    colors = group_colors(numeric, len(data.groups))
    handles, labels = _legend(data, colors)
    with paper():
        picture = Figure(figsize=(COLUMN, 2.25 + LINE * (len(labels) + 1)), layout="constrained")
        axes = picture.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for place, color in enumerate(colors):
            _draw_group(axes, data, place, color)
        value_ticks(axes, data.points["x"])
        _limits(axes, data)
        axes.set_xlabel(short_key(data.x))
        axes.set_ylabel(MEASURES[data.measure])
        picture.legend(handles, labels, loc="outside lower left", fontsize=6.5, labelspacing=0.3, borderpad=0.1)
        picture.suptitle(_words(data), fontsize=7)
    return picture


def _draw_group(axes: Axes, data: TimesData, place: int, color: Any) -> None:
    points, fit = data.points[data.points["group"] == place], data.groups[place].fit
    if points.empty:
        return
    if fit is not None:
        x, middle, low, high = _line(data, place, fit)
        inside = _inside(points, x)
        if len(data.groups) <= MOST_BANDS:
            axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        axes.plot(x, middle, color=color, linestyle=":")
        axes.plot(x[inside], middle[inside], color=color)
    width = _spread(np.unique(data.points["x"])) / len(data.groups)
    shift = width * (place - (len(data.groups) - 1) / 2)
    style: dict[str, Any] = {"linestyle": "", "markersize": 3.2, "color": color, "markeredgewidth": 0.6}
    for value, part in points.groupby("x"):
        center = float(value) * 10**shift  # pyright: ignore[reportArgumentType]
        at, time, never = _side_by_side(center, len(part), width), part["time"], part["censored"].to_numpy(bool)
        axes.plot(at[~never], time[~never], marker="o", alpha=0.75, **style)
        axes.plot(at[never], time[never], marker="^", markerfacecolor="white", **style)
        if never.any() and len(data.groups) <= MOST_BANDS:
            where = (center, time[never].max())
            text = f"{never.sum()}/{len(part)}"
            note = axes.annotate(text, where, (0, 4 + 6.5 * place), textcoords="offset points", ha="center", fontsize=6)
            note.set(color=color, path_effects=[withStroke(linewidth=1.5, foreground="white")])


def _inside(points: pd.DataFrame, x: np.ndarray) -> np.ndarray:
    """Which x lie among those at which some run generalized; beyond them the fit is an extrapolation."""
    events = points.loc[~points["censored"], "x"]
    return (x >= events.min() * 0.999) & (x <= events.max() * 1.001)


def _spread(values: np.ndarray) -> float:
    """How wide, in decades, the runs of one x may lie: a good half of the least distance of two at most."""
    if len(values) < 2:
        return 0.3
    decades = np.log10(values)
    return 0.6 * min(float(np.diff(decades).min()), 0.12 * float(np.ptp(decades)) + 0.05)


def _side_by_side(center: float, count: int, width: float) -> np.ndarray:
    """Runs at equal x, beside each other so that each is seen."""
    return center * 10 ** (width * (np.arange(count) - (count - 1) / 2) / max(count, 6))


def _limits(axes: Axes, data: TimesData) -> None:
    """Room for what was seen, the lines and the counts; wide bands are cut."""
    time = data.points["time"].to_numpy(np.float64)
    lines = [_line(data, place, group.fit)[1] for place, group in enumerate(data.groups) if group.fit]
    # a line far beyond the last step is no more than an extrapolation
    seen = np.concatenate([time, *(line[(line < 10 * time.max()) & (line > time.min() / 10)] for line in lines)])
    low, high = seen.min() / 1.4, seen.max() * (2.0 if data.points["censored"].any() else 1.4)
    axes.set_ylim(low, high)
    if high / low < 100:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(data: TimesData, colors: list[Any]) -> tuple[list[Any], list[str]]:
    """What the marks are, then one line a group with its slope."""
    never = int(data.points["censored"].sum())
    few = len(data.groups) <= MOST_BANDS
    plain: dict[str, Any] = {"linestyle": "", "markersize": 3.6, "color": colors[0] if len(colors) == 1 else "0.3"}
    handles: list[Any] = [Line2D([], [], marker="o", **plain)]
    labels = [f"generalized (runs: {len(data.points) - never})"]
    if never:
        handles.append(Line2D([], [], marker="^", markerfacecolor="white", **plain))
        labels.append(f"not by its last step, censored (runs: {never}{'; k/n above' if few else ''})")
    for group, color in zip(data.groups, colors, strict=True):
        handles.append(Line2D([], [], color=color))
        if data.by:
            labels.append(f"{short_key(data.by)} {group.label}: {_slope_text(group)}")
        else:
            labels.append(f"log-normal fit, {_slope_text(group)}" if group.fit else _slope_text(group))
    fits = [(place, group.fit) for place, group in enumerate(data.groups) if group.fit]
    if fits and few:
        handles.append(Patch(color=plain["color"], alpha=0.18, linewidth=0))
        labels.append("95 % interval of the fitted median")
    parts = [(data.points[data.points["group"] == place], _line(data, place, fit)[0]) for place, fit in fits]
    if any(not _inside(points, x).all() for points, x in parts):
        handles.append(Line2D([], [], color=plain["color"], linestyle=":"))
        labels.append("extrapolated: no run generalized there")
    return handles, labels


def _slope_text(group: TimesGroup) -> str:
    if group.fit is None:
        return f"no fit: {group.why}"
    fit = group.fit
    return f"slope {fit.slope:.2f} [{fit.low:.2f}, {fit.high:.2f}] (95 %)".replace("-", "−")


def _words(data: TimesData) -> str:
    counts = data.points.groupby(["group", "x"]).size()
    many = span_text(counts.min(), counts.max())
    what = "seed" if data.pooled == ("seed",) else "run"
    text = f"arm {data.arm}: {many} {what}{'' if many == '1' else 's'} a value"
    if what == "run" and data.pooled:
        text += f" (over {', '.join(map(short_key, data.pooled))})"
    lines = [text]
    lines += [f"left out: {count} {reason}" for reason, count in data.left_out.items()]
    return "\n".join(lines)


def draw(
    results: Results,
    x: str | None = None,
    by: str | None = None,
    arm: str | None = None,
    measure: Literal["generalization_step", "delay"] = "generalization_step",
) -> Figure:
    """Step of generalization along an axis, log-log, with a fitted power law.

    x: key across; default: weight decay if it is varied, else the first axis of numbers
    by: key that is colored, each value with a fit; default: none
    arm: which arm; default: the first that varies x
    measure: the step itself, or the delay from fit on
    Example: grokjax figure times runs/time_to_generalize
    """
    return figure(data(results, x, by, arm, measure))
