"""Tables derived from the curves: events, and one row a run. They can be rebuilt at any time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from grokjax.analysis.events import Event, Thresholds, find_events, outcome
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer

EVENT_COLUMNS = ["run_id", "kind", "step", "value", "norm_jump", "matrix"]
KINDS = ("fit", "generalization", "loss_of_generalization", "slingshot", "divergence")


def derive(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, events) of a results directory, as documented on `Results`."""
    runs = results.planned()
    found = find_all(results, runs)
    events = events_frame(found)
    ended = runs["status"].isin(["ended", "diverged"])
    rows = [_summary(found[run_id], done) for run_id, done in zip(runs["run_id"], ended, strict=True)]
    runs = pd.concat([runs, pd.DataFrame(rows)], axis=1)
    final = final_values(results)
    return runs.merge(final, on="run_id", how="left"), events


def find_all(results: Results, runs: pd.DataFrame) -> dict[str, list[Event]]:
    """run id -> its events."""
    ends, prior_steps = results.ends, results.prior_steps
    found = {}
    names = ["train/loss", "train/loss_max", "train/accuracy", "test/accuracy"]
    last = {run_id: last_layer(results.parameters(run_id)) for run_id in runs["run_id"]}
    norms = [f"norm/{name}" for name in dict.fromkeys(last.values())]
    table = results.curves_table([*names, *(name for name in norms if name in results.metrics())])
    ids = np.asarray(table["run_id"].to_pylist(), dtype=object)
    begin = {run_id: int(index) for run_id, index in zip(*np.unique(ids, return_index=True), strict=True)}
    count = dict(zip(*np.unique(ids, return_counts=True), strict=True))
    step = table["step"].to_numpy()
    columns = {name: table[name].combine_chunks() for name in table.column_names[2:]}
    valid = {name: column.is_valid().to_numpy(zero_copy_only=False) for name, column in columns.items()}
    values = {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    for row in runs.to_dict("records"):
        run_id = row["run_id"]
        at = slice(begin.get(run_id, 0), begin.get(run_id, 0) + int(count.get(run_id, 0)))
        curves = {name: (step[at][valid[name][at]], values[name][at][valid[name][at]]) for name in columns}
        thresholds = Thresholds(row["events.fit"], row["events.generalization"], int(row["events.hold"]))
        end = ends.get(run_id)
        divergence = (end["step"], end["matrix"]) if end and end["diverged"] else None
        found[run_id] = find_events(curves, thresholds, last[run_id], divergence, prior_steps.get(run_id, 0))
    return found


def events_frame(found: dict[str, list[Event]]) -> pd.DataFrame:
    rows = [
        (run_id, event.kind, event.step, event.value, event.norm_jump, event.matrix)
        for run_id, events in found.items()
        for event in events
    ]
    frame = pd.DataFrame(rows, columns=EVENT_COLUMNS)
    types = {"step": "int64", "value": "float64", "norm_jump": "float64"}
    return frame.astype({"run_id": "str", "kind": "str"} | types)


def _summary(events: list[Event], ended: bool) -> dict[str, object]:
    first = {event.kind: event.step for event in reversed(events)}
    fit, generalization = first.get("fit"), first.get("generalization")
    delay = generalization - fit if fit is not None and generalization is not None else np.nan
    lost = next((event for event in events if event.kind == "divergence"), None)
    return {
        "outcome": outcome(events) if ended else None,
        "fit_step": np.nan if fit is None else fit,
        "generalization_step": np.nan if generalization is None else generalization,
        "delay": delay,
        "slingshots": sum(event.kind == "slingshot" for event in events),
        "diverged_matrix": lost.matrix if lost else None,
    }


def final_values(results: Results) -> pd.DataFrame:
    """run_id and final/<metric>: the last recorded value; update norms have none at the end."""
    names = [name for name in results.metrics() if not name.startswith("update_norm/")]
    frame = results.curves(names)
    last = frame.drop(columns="step").groupby("run_id", sort=False).last().reset_index()
    return last.rename(columns={name: f"final/{name}" for name in names})
