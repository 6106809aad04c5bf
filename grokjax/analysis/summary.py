"""Tables derived from the curves: events, and one row a run. They can be rebuilt at any time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from grokjax.analysis.cells import ENDED
from grokjax.analysis.curve_batches import NO_CURVES, in_batches, read_curves, read_frames
from grokjax.analysis.events import Event, Thresholds, find_events, outcome
from grokjax.results.read import Results
from grokjax.spec.shapes import last_layer

EVENT_COLUMNS = ["run_id", "kind", "step", "value", "norm_jump", "matrix"]
KINDS = ("fit", "generalization", "loss_of_generalization", "slingshot", "divergence")


def derive(results: Results) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, events) of a results directory, as documented on `Results`."""
    runs = results.planned()
    events_of = find_all(results, runs)
    events = events_frame(events_of)
    ended = runs["status"].isin(ENDED)
    rows = [_summary(events_of[run_id], done) for run_id, done in zip(runs["run_id"], ended, strict=True)]
    runs = pd.concat([runs, pd.DataFrame(rows)], axis=1)
    final = final_values(results)
    return runs.merge(final, on="run_id", how="left"), events


def find_all(results: Results, runs: pd.DataFrame) -> dict[str, list[Event]]:
    """run id -> its events."""
    ends, prior_steps = results.ends, results.prior_steps
    events: dict[str, list[Event]] = {}
    names = ["train/loss", "train/loss_max", "train/accuracy", "test/accuracy"]
    last = {run_id: last_layer(results.parameters(run_id)) for run_id in runs["run_id"]}
    norms = [f"norm/{name}" for name in dict.fromkeys(last.values())]
    metrics = [*names, *(name for name in norms if name in results.metrics())]
    rows = {row["run_id"]: row for row in runs.to_dict("records")}
    for batch in in_batches(results, list(rows), len(metrics)):
        curves_of = read_curves(results, batch, metrics)
        for run_id in batch:
            row, end = rows[run_id], ends.get(run_id)
            curves = curves_of.get(run_id, NO_CURVES)
            recorded = {name: curves.of(name) for name in metrics}
            thresholds = Thresholds(row["events.fit"], row["events.generalization"], int(row["events.hold"]))
            divergence = (end["step"], end["matrix"]) if end and end["diverged"] else None
            events[run_id] = find_events(recorded, thresholds, last[run_id], divergence, prior_steps.get(run_id, 0))
    return {run_id: events[run_id] for run_id in rows}


def events_frame(events_of: dict[str, list[Event]]) -> pd.DataFrame:
    """One row an event, as `Results.events` has them."""
    rows = [
        (run_id, event.kind, event.step, event.value, event.norm_jump, event.matrix)
        for run_id, events in events_of.items()
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
    frames = read_frames(results, names, results.run_ids)
    parts = [frame.drop(columns="step").groupby("run_id", sort=False).last().reset_index() for frame in frames]
    last = pd.concat(parts, ignore_index=True)
    return last.rename(columns={name: f"final/{name}" for name in names})
