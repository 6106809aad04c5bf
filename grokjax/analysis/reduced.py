"""The reduced loss: train and test loss at the train minimum on a sphere of fixed norm, as a function of the norm.

Liu, Michaud and Tegmark 2022 (arXiv 2210.01117): the train loss is L-shaped, the test loss U-shaped. A run with a fixed
norm comes to that minimum only in time: where its train loss still moves at the end, the run gives no reduced loss, but
what optimizer, learning rate and steps made of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from grokjax.results.read import Results
from grokjax.spec.constraints import CONSTRAINTS, Constraint

METRICS = ("train/loss", "train/accuracy", "test/loss", "test/accuracy")
PACE = 0.3  # decades of train loss in a decade of steps: so fast it halves in ten times as many steps
FEWEST = 3  # records that a slope is taken from
SMALLEST = float(np.finfo(np.float32).tiny)  # a loss of 0 counts as this


def reduced(results: Results, runs: Sequence[str] | None = None, pace: float = PACE) -> pd.DataFrame:
    """One row a run: run_id, step (its last), norm (of all parameters together), train/loss, train/accuracy, test/loss,
    test/accuracy there, slope (see `slope`) and settled: whether the train loss moves by no more than `pace` decades a
    decade of steps, down or (in a spike) up; where the slope is nan it has not settled.

    runs: ids; default every run that has ended. Runs that diverged are left out: they end nowhere on their sphere.
    Raises ValueError for an unknown run, runs without a fixed norm, a pace that is not positive, and where no run has
    ended.
    """
    if not pace > 0:
        raise ValueError(f"the pace must be positive, not {pace}")
    planned = results.planned().set_index("run_id")
    run_ids = results.whole_run_ids(runs)
    curves = results.curves([*METRICS, "norm/total"], run_ids)
    names = planned["constraint.name"]
    free = [run_id for run_id in run_ids if not CONSTRAINTS.get(str(names[run_id]), Constraint).holds_norm]
    if free:
        raise ValueError(
            f"the reduced loss is that of runs with constraint.name fixed_norm; {len(free)} of {len(run_ids)} in"
            f" {results.path} have none, the first is {free[0]}"
        )
    ended = [run_id for run_id in run_ids if planned.loc[run_id, "status"] == "ended"]
    if not ended:
        raise ValueError(f"no run in {results.path} has ended yet without diverging")
    of_run = dict(list(curves.groupby("run_id", sort=False)))
    return pd.DataFrame([_row(run_id, of_run[run_id], pace) for run_id in ended])


def _row(run_id: str, curves: pd.DataFrame, pace: float) -> dict[str, object]:
    train = curves.dropna(subset="train/loss")
    train_slope = slope(train["step"].to_numpy(), train["train/loss"].to_numpy(np.float64))
    last = curves.ffill().iloc[-1]
    values = {"norm": float(last["norm/total"])} | {name: float(last[name]) for name in METRICS}
    head = {"run_id": run_id, "step": int(last["step"])}
    return head | values | {"slope": train_slope, "settled": abs(train_slope) <= pace}


def slope(step: Int[np.ndarray, " n"], loss: Float[np.ndarray, " n"]) -> float:
    """Decades of loss a decade of steps over the last quarter of the steps, by least squares on both logarithms.

    Of the records after step 0; at least the last 3. A loss of 0 counts as the smallest normal float32. nan: fewer than
    3 records, or a loss among them that is not finite.
    """
    later = step > 0
    step, loss = step[later], loss[later]
    if len(step) < FEWEST:
        return np.nan
    first = min(int(np.searchsorted(step, 0.75 * step[-1])), len(step) - FEWEST)
    x, y = np.log10(step[first:].astype(np.float64)), np.log10(np.maximum(loss[first:], SMALLEST))
    x = x - x.mean()
    return float(x @ y / (x @ x)) if np.isfinite(y).all() else np.nan
