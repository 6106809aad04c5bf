"""Synthetic results for tests of the report: as many runs as wanted, without training any."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from grokjax.plan.plan import Device
from grokjax.results.read import Results
from grokjax.spec.tasks import Sizes

SMALL = """
# Question: what does a report of a small sweep show,
# and what of one that explodes?
# Cost: nothing.
name: small
base:
  task: {p: 7, train_fraction: 0.6}
  model: {name: mlp, widths: [8]}
  train: {steps: 40}
log: {every: 10, eval_every: 20}
arms:
  calm: {parameters: {seed: {min: 0, max: 1}, optimizer.lr: {values: [1e-3, 3e-2]}}}
  exploding: {base: {optimizer: {name: sgd, lr: 1e30}}}
"""  # a sweep whose report is written, see conftest.py
HOSTILE = "</script><script>alert(1)</script>"
MATRICES = ["W_E", "W_pos", "W_Q.0", "W_K.0", "W_V.0", "W_O.0", "W_in.0", "W_out.0", "W_U"]
METRICS = [
    "train/loss", "train/loss_max", "train/accuracy", "test/loss", "test/accuracy",
    *(f"norm/{name}" for name in MATRICES), "norm/total",
]  # fmt: skip
DECAYS = [0.1, 0.3, 1.0, 3.0]
SCALES = [0.5, 1.0, 2.0]
TRAINED = 768  # examples of the train set


@dataclass
class SyntheticResults(Results):
    """What the report reads of `grokjax.results.read.Results`. Run i generalizes at a step that its values tell."""

    count: int
    steps: int = 20_000
    every: int = 50
    name: str = "synthetic"
    arms: tuple[str, ...] = ("main",)
    texts: tuple[str, ...] = ()  # values of an axis of texts, task.op
    batches: tuple[int | None, ...] = (None,)  # values of train.batch, an axis where there are several
    more: tuple[str, ...] = ()  # metrics besides
    absent: tuple[str, ...] = ()  # keys that the runs have not
    path: Path = Path("synthetic")
    table: pd.DataFrame = field(init=False)

    def __post_init__(self):
        rows = [self._run(index) for index in range(self.count)]
        self.table = pd.DataFrame(rows).astype({"fit_step": "float64", "generalization_step": "float64"})
        self.table["delay"] = self.table["generalization_step"] - self.table["fit_step"]

    def _run(self, index):
        cells = len(DECAYS) * len(SCALES)
        decay, scale = DECAYS[index % len(DECAYS)], SCALES[index // len(DECAYS) % len(SCALES)]
        seed, arm = index // cells, self.arms[index % len(self.arms)]
        batch = self.batches[index // cells % len(self.batches)]
        generalizes = decay > 0.1 or seed % 3 == 0
        step = min(self.steps, int(1500 * scale / decay) // 50 * 50 + 50 * (seed % 7)) if generalizes else None
        run = {
            "run_id": f"{index:012x}", "arm": arm, "arms": [arm], "seed": seed, "task.name": "modular",
            "task.op": self.texts[index % len(self.texts)] if self.texts else "add", "task.p": 31,
            "task.train_fraction": 0.8, "model.name": "transformer", "model.layers": 1, "model.d_model": 32,
            "model.heads": 4, "model.d_mlp": 128, "loss.name": "cross_entropy", "loss.precision": "exact",
            "optimizer.name": "adamw", "optimizer.lr": 1e-3, "optimizer.weight_decay": decay, "init.scale": scale,
            "constraint.name": "none", "train.steps": self.steps, "train.batch": batch,
            "batch_size": float(batch or TRAINED),
        }  # fmt: skip
        done = {
            "status": "ended", "outcome": "generalized" if generalizes else "memorized",
            "fit_step": 200 + 10 * (seed % 5), "generalization_step": step,
            "slingshots": 2 if index % 4 == 0 else 0, "diverged_matrix": None,
            "final/train/loss": 1e-7, "final/test/loss": 1e-5, "final/test/accuracy": float(generalizes),
            "final/norm/total": 20.0,
        }  # fmt: skip
        return run | done

    @property
    def run_ids(self):
        return list(self.table["run_id"])

    @property
    def manifest(self):
        keys = [key for key in self.table.columns if ("." in key or key == "seed") and "/" not in key]
        values = {"train.steps": self.steps, "log.every": self.every, "log.dense_first": 0}
        axes = ["optimizer.weight_decay", "init.scale", *(["task.op"] if self.texts else []), "seed"]
        axes += ["train.batch"] if len(self.batches) > 1 else []
        return SimpleNamespace(
            name=self.name,
            text=f"# Question: does {self.name} grok?\n# Cost: nothing.\nname: {self.name}\n",
            overrides={"task.op": self.name} if self.name == HOSTILE else {},
            axes=dict.fromkeys(self.arms, tuple(axes)),
            keys=tuple(keys),
            common={"events.fit": 0.99, "events.generalization": 0.99, "events.hold": 1},
            runs=[SimpleNamespace(run_id=run_id, values=values) for run_id in self.run_ids],
            every_run={
                run_id: SimpleNamespace(values=dict.fromkeys(set(keys) - set(self.absent)) | values)
                for run_id in self.run_ids
            },
            table=SimpleNamespace(row_of=self.run_ids.index),
            bucket_of=lambda run_id: SimpleNamespace(sizes=Sizes(31, TRAINED, 193)),
            chunks=(SimpleNamespace(bucket=0, run_ids=tuple(self.run_ids)),),
            machines=(Device("cpu", "core", 2, 2**30, "jax 0"),),
        )

    def planned(self):
        return self.table

    def runs(self):
        return self.table

    def metrics(self):
        return [*METRICS, *self.more] if self.every else []

    def parameters(self, run_id):
        return MATRICES

    def events(self):
        rows = []
        for run in self.table.to_dict("records"):
            rows.append((run["run_id"], "fit", int(run["fit_step"]), 0.995, np.nan, None))
            if run["generalization_step"] == run["generalization_step"]:
                rows.append((run["run_id"], "generalization", int(run["generalization_step"]), 0.995, np.nan, None))
            for place in range(int(run["slingshots"])):
                rows.append((run["run_id"], "slingshot", 4000 + 5000 * place, 0.5, 0.03, None))
        return pd.DataFrame(rows, columns=["run_id", "kind", "step", "value", "norm_jump", "matrix"])

    def curves(self, metrics, runs):
        by_id = self.table.set_index("run_id")
        return pd.concat([self._curve(run_id, by_id.loc[run_id], list(metrics)) for run_id in runs], ignore_index=True)

    def _curve(self, run_id, run, metrics):
        steps = np.arange(0, self.steps + 1, self.every)
        wiggle = 1 + 0.05 * np.sin(np.arange(len(steps)) + int(run_id, 16))
        at = run["generalization_step"]
        late = at if at == at else 1e9
        spike = np.where((run["slingshots"] > 0) & np.isin(steps, [4000, 9000]), 0.5, 0.0)
        values = {
            "train/loss": 3 * np.exp(-steps / 100) * wiggle + 1e-8,
            "train/loss_max": 3 * np.exp(-steps / 100) * wiggle + 1e-8 + spike,
            "train/accuracy": (1 + np.tanh((steps - run["fit_step"]) / 40)) / 2,
            "test/loss": 4 * wiggle / (1 + (steps / late) ** 4),
            "test/accuracy": (1 + np.tanh((steps - late) / 100)) / 2,
        } | {name: (5 + np.log10(1 + steps)) * wiggle for name in [*METRICS[5:], *self.more]}
        frame = pd.DataFrame({"run_id": run_id, "step": steps} | {name: values[name].astype("f4") for name in metrics})
        for name in ("test/loss", "test/accuracy"):
            if name in metrics:
                frame.loc[steps % (4 * self.every) != 0, name] = np.nan
        return frame


def hostile():
    """Results whose names could break out of a page."""
    arms = (HOSTILE, "<img src=x onerror=alert(2)>")
    return SyntheticResults(48, name=HOSTILE, arms=arms, texts=(HOSTILE, "$style <b>x</b>", "%{x}"))
