#!/usr/bin/env python3
"""What makes a run slingshot: the loss's precision, Adam's eps and b2, or the sum of the logit gradient over classes?
With --forks also: do runs that are kept from slingshotting generalize less?"""

from __future__ import annotations

import answers
import pandas as pd
import panels
from answers import Tables, share
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grokjax.analysis.cells import ordered_values
from grokjax.analysis.outcomes import cell_outcomes
from grokjax.figures.style import PALETTE, value_text
from grokjax.results.read import Results

LR, EPS, B2 = "optimizer.lr", "optimizer.eps", "optimizer.b2"
TREATMENTS = ("float32", "float32 centered", "exact", "float64")
FORKS = {"unchanged": "nothing changed", "exact": "exact loss", "centered": "centered gradient"}
FORK_COLUMNS = ["arm", "parent", "begun", "accuracy", "generalization_step", "steps", "slingshots", "first_slingshot"]
CSV = ("cell", "fork")
NOTE = "Bars: 95 % Wilson intervals over seeds. Right: a line a parent; its forks end with these test accuracies."


def data(results: Results, forks: Results | None = None) -> Tables:
    """cell: one row a learning rate, treatment, eps and b2: what `cell_outcomes` has, share of runs with slingshots and
    count (mean slingshots a run). fork, of the second stage: FORK_COLUMNS: begun and accuracy are of the test set, at
    the fork and at the end; events count from the fork. Raises ValueError where no run has ended, or the forks are not
    one a parent and arm."""
    runs = results.runs()
    centered = runs["loss.center_gradient"].eq(True).map({True: " centered", False: ""})
    runs = runs.assign(treatment=runs["loss.precision"] + centered)

    def measures(cell: pd.DataFrame) -> dict[str, float]:
        often = answers.share_columns("share", int((cell["slingshots"] > 0).sum()), len(cell))
        return often | answers.flat(count=answers.mean(cell["slingshots"]))

    tables = {"cell": cell_outcomes(runs, [LR, "treatment", EPS, B2], measures)}
    return tables | ({} if forks is None else {"fork": _forked(forks)})


def _forked(forks: Results) -> pd.DataFrame:
    runs = forks.runs()
    runs = runs[runs["status"] == "ended"]
    runs = runs.assign(parent=answers.forked_from(runs))
    begun = forks.curves("test/accuracy").sort_values("step").groupby("run_id")["test/accuracy"].first()
    first = forks.events().query("kind == 'slingshot'").groupby("run_id")["step"].min()
    frame = runs.assign(
        begun=runs["run_id"].map(begun),
        accuracy=runs["final/test/accuracy"].astype(float),
        generalization_step=runs["generalization_step"].astype(float),
        steps=runs["train.steps"],
        first_slingshot=runs["run_id"].map(first),
    )
    for (parent, arm), of_arm in frame.groupby(["parent", "arm"]):
        if len(of_arm) > 1:
            raise ValueError(f"{parent} has {len(of_arm)} forks in the arm {arm}: they are compared one an arm")
    return frame[FORK_COLUMNS].reset_index(drop=True)


def answer(tables: Tables) -> list[str]:
    """Who slingshots, how many times, and whether the forks that do end better."""
    cells = tables["cell"]
    often = answers.summary(
        cells, [LR, "treatment", EPS], slingshot=_often, values_of_b2=lambda part: part[B2].nunique()
    )
    lines = [answers.text_table("Runs that slingshot", often)]
    exact = cells[cells["treatment"].isin(["exact", "float64"])]
    if len(exact):
        lines.append(f"Slingshots survive a loss that loses nothing in {_often(exact)} of the runs.")
    float32 = cells[(cells["treatment"] == "float32") & (cells["slingshots"] > 0)]
    if len(float32):
        lines.append(
            answers.text_table("Slingshots a run with the float32 loss (mean)", float32, [LR, B2, EPS, "count"])
        )
    return lines if "fork" not in tables else [*lines, _forks_answer(tables["fork"])]


def _often(cells: pd.DataFrame) -> answers.Estimate:
    return share(cells["slingshots"].sum(), cells["runs"].sum())


def _forks_answer(forks: pd.DataFrame) -> str:
    if forks.empty:
        return "No fork has ended: they say nothing yet."
    of_parent = forks.pivot(index="parent", columns="arm", values="accuracy")

    def more(part: pd.DataFrame) -> answers.Estimate | str:
        arm = part["arm"].iloc[0]
        if arm == "unchanged" or "unchanged" not in of_parent:
            return ""
        return answers.mean(of_parent["unchanged"] - of_parent[arm], ".3f")

    rows = answers.summary(
        forks, ["arm"],
        parents=len,
        slingshot=lambda part: int((part["slingshots"] > 0).sum()),
        a_run=lambda part: f"{part['slingshots'].mean():.1f}",
        first=lambda part: part["first_slingshot"].median(),
        accuracy_at_the_fork=lambda part: f"{part['begun'].mean():.3f}",
        at_the_end=lambda part: answers.mean(part["accuracy"], ".3f"),
        generalize=lambda part: share(part["generalization_step"].notna().sum(), len(part)),
        less_than_unchanged=more,
    )  # fmt: skip
    return answers.text_table("Forks; test accuracies are means; the last is of the same parents", rows)


def figure(tables: Tables) -> Figure:
    """A panel a b2, of the learning rate with the most cells: share of runs with slingshots against eps; and the test
    accuracy that forks end with."""
    lr, forks = tables["cell"][LR].mode().iloc[0], tables.get("fork", pd.DataFrame())
    cells = tables["cell"][tables["cell"][LR] == lr]
    cells = cells.assign(order=cells["treatment"].map(TREATMENTS.index)).sort_values(["order", EPS])
    values = ordered_values(cells[B2])
    note = f"Learning rate {value_text(lr)}. {NOTE}"
    with panels.panels(len(values) + (len(forks) > 0), 1, note) as (picture, grid):
        for axes, b2 in zip(grid[0], values, strict=False):
            label = "share of runs with slingshots" if b2 == values[0] else " "
            x_label = f"eps, with b2 {value_text(b2)}"
            panels.draw_cells(axes, cells[cells[B2] == b2], EPS, "share", "treatment", label, x_label)
        entries = [axes.get_legend_handles_labels() for axes in grid[0, : len(values)]]
        most = max(entries, key=lambda both: len(both[1]))  # float64 is in one panel only
        picture.legend(*most, title="loss", loc="outside upper left", ncols=4, alignment="left")
        if len(forks):
            _draw_forks(grid[0, -1], forks)
    return picture


def _draw_forks(axes: Axes, forks: pd.DataFrame) -> None:
    """A line a parent: the test accuracy at the fork, and that its forks end with."""
    arms = [arm for arm in FORKS if arm in set(forks["arm"])]
    for _, part in forks.groupby("parent"):
        values = [part["begun"].iloc[0], *part.set_index("arm")["accuracy"].reindex(arms)]
        axes.plot(range(len(values)), values, "o-", color=PALETTE[0], markersize=2.5, linewidth=0.6, alpha=0.7)
    axes.set_xticks(range(len(arms) + 1), ["at the\nfork", *(FORKS[arm].replace(" ", "\n") for arm in arms)])
    axes.set_ylabel("test accuracy (end)")


if __name__ == "__main__":
    answers.run_question(__name__, forks="results of sweeps/questions/slingshot_cause_forks.yaml")
