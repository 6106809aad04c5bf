"""Tables derived from the curves: events, and one row a run. They can be rebuilt at any time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from grokjax.analysis.cells import ENDED
from grokjax.analysis.curve_batches import NO_CURVES, in_batches, read_curves
from grokjax.analysis.events import Event, Thresholds, above_chance, find_events, outcome
from grokjax.results.derived import Derivation
from grokjax.results.read import Results
from grokjax.spec.losses import SPIKE_FLOOR
from grokjax.spec.shapes import last_layer

EVENT_COLUMNS = ["run_id", "kind", "step", "value", "norm_jump", "matrix", "floor"]
KINDS = ("fit", "generalization", "loss_of_generalization", "slingshot", "divergence")


NOTHING = {  # of a run without records
    "last_step": np.nan,
    "outcome": None,
    "fit_step": np.nan,
    "generalization_step": np.nan,
    "delay": np.nan,
    "slingshots": 0,
    "diverged_matrix": None,
}


def derive(results: Results, run_ids: Sequence[str] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, events) of some runs of a results directory, as documented on `Results`. None: of all of them."""
    runs = results.planned()
    if run_ids is not None:
        runs = runs[runs["run_id"].isin(run_ids)].reset_index(drop=True)
    events_of = find_all(results, runs)
    events = events_frame(events_of)
    names = _final_names(results)
    final = final_values(results, list(runs["run_id"]), names)
    planned: list[Any] = runs.to_dict("records")
    rows = [_summary(results, run, events_of[run["run_id"]], final.get(run["run_id"], {}), names) for run in planned]
    found = pd.DataFrame(rows)
    finals = [name for name in map(str, found) if name.startswith("final/")]
    return pd.concat([runs, found.astype(dict.fromkeys(finals, "float32"))], axis=1), events


def find_all(results: Results, runs: pd.DataFrame) -> dict[str, list[Event]]:
    """run id -> its events."""
    ends, prior_steps = results.ends_of(list(runs["run_id"])), results.prior_steps
    events: dict[str, list[Event]] = {}
    known = results.metrics()
    names = ["train/loss", "train/loss_max", "train/accuracy", "train_set/accuracy", "test/accuracy"]
    last = {run_id: last_layer(results.parameters(run_id)) for run_id in runs["run_id"]}
    norms = [f"norm/{name}" for name in dict.fromkeys(last.values())]
    metrics = [name for name in [*names, *norms] if name in known]
    rows: dict[str, Any] = {row["run_id"]: row for row in runs.to_dict("records")}
    for batch in in_batches(results, list(rows), len(metrics)):
        curves_of = read_curves(results, batch, metrics)
        for run_id in batch:
            row, end = rows[run_id], ends.get(run_id)
            curves = curves_of.get(run_id, NO_CURVES)
            recorded = {name: curves.of(name) for name in metrics if name in curves.values}
            thresholds = _thresholds(row)
            divergence = (end["step"], end["matrix"]) if end and end["diverged"] else None
            events[run_id] = find_events(recorded, thresholds, last[run_id], divergence, prior_steps.get(run_id, 0))
    return {run_id: events[run_id] for run_id in rows}


def _thresholds(run: dict[str, Any]) -> Thresholds:
    """Those of a run, by its values; runs of earlier versions have no floor of their own, and are never online."""
    floor, online = run.get("events.slingshot_floor"), run.get("task.online")
    return Thresholds(
        run["events.fit"],
        run["events.generalization"],
        int(run["events.hold"]),
        SPIKE_FLOOR if floor is None or np.isnan(floor) else floor,
        bool(online) if isinstance(online, (bool, np.bool_)) else False,
    )


def events_frame(events_of: dict[str, list[Event]]) -> pd.DataFrame:
    """One row an event, as `Results.events` has them."""
    rows = [
        (run_id, event.kind, event.step, event.value, event.norm_jump, event.matrix, event.floor)
        for run_id, events in events_of.items()
        for event in events
    ]
    frame = pd.DataFrame(rows, columns=EVENT_COLUMNS)
    types = {"step": "int64", "value": "float64", "norm_jump": "float64", "floor": "float64"}
    return frame.astype({"run_id": "str", "kind": "str"} | types)


def _summary(
    results: Results, run: dict[str, Any], events: list[Event], final: dict[str, float], names: Sequence[str]
) -> dict[str, Any]:
    """What follows from a run's curves. final: its last values, by these names, and the step of its last record."""
    first = {event.kind: event.step for event in reversed(events)}
    fit, generalization = first.get("fit"), first.get("generalization")
    delay = generalization - fit if fit is not None and generalization is not None else np.nan
    lost = next((event for event in events if event.kind == "divergence"), None)
    ended = run["status"] in ENDED
    found = {
        "last_step": final.get("step", np.nan),
        "outcome": _outcome(results, run, events, final) if ended else None,
        "fit_step": np.nan if fit is None else fit,
        "generalization_step": np.nan if generalization is None else generalization,
        "delay": delay,
        "slingshots": sum(event.kind == "slingshot" for event in events),
        "diverged_matrix": lost.matrix if lost else None,
    }
    assert found.keys() == NOTHING.keys()
    return found | {f"final/{name}": final.get(name, np.float32(np.nan)) for name in names}


def _outcome(results: Results, run: dict[str, Any], events: list[Event], final: dict[str, float]) -> str:
    sizes = results.manifest.bucket_of(run["run_id"]).sizes
    partly_from = above_chance(sizes, run["events.generalization"]) if sizes else np.nan
    return outcome(events, float(final.get("test/accuracy", np.nan)), partly_from)


def final_values(
    results: Results, run_ids: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """run id -> metric -> its last recorded value; `step` is that of the run's last record.

    Updates have none at the end, so they are left out. names: of the metrics; None: of all others.
    """
    names = _final_names(results) if names is None else names
    final: dict[str, dict[str, float]] = {}
    for batch in in_batches(results, run_ids, len(names)):
        for run_id, curves in read_curves(results, batch, names).items():
            last = {name: curves.of(name)[1][-1] for name in curves.values}
            final[run_id] = {"step": float(curves.step[-1])} | last
    return final


def _final_names(results: Results) -> list[str]:
    return [name for name in results.metrics() if not name.startswith("update_norm/")]


DERIVATION = Derivation(derive, NOTHING)
