#!/usr/bin/env python3
"""How the work on a sweep grows with its runs, from 1,000 to a million: nothing is trained.

    python scripts/bench_scale.py 1000 10000 100000 1000000

Each step is measured in a process of its own: CPU seconds (user and system, of all threads), wall seconds, and the most
memory that the process ever held, its imports and what the step was prepared with included. The exponent is that of the
CPU seconds between the two largest numbers of runs: 1 is linear. Another step is another function in STEPS.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import grokjax
from grokjax.analysis.summary import EVENT_COLUMNS, NOTHING
from grokjax.plan import plan
from grokjax.plan.plan import Device, make_plan
from grokjax.results.chunk_plan import chunk_plan
from grokjax.results.chunks import WRITTEN
from grokjax.results.commits import Commit, create_commit
from grokjax.results.compact import sha256_of
from grokjax.results.describe import write_manifest
from grokjax.results.files import write_json, write_sealed
from grokjax.results.layout import compact_file, home_of
from grokjax.results.left_out import NAME as LEFT_OUT
from grokjax.results.manifest import read_manifest
from grokjax.results.read import Results
from grokjax.results.summaries import write_summary
from grokjax.results.verify import verify
from grokjax.results.write import parquet_options, seal_table
from grokjax.standing import outcome_text
from grokjax.sweep.expand import load_sweep

RUNS_A_CHUNK = 100
STEPS_OF_A_RUN = 60
METRICS = ("train/loss", "train/loss_max", "train/accuracy", "test/loss", "test/accuracy", "norm/total")
DEVICE = Device("cpu", "made up", 4, 2**34, "none")
SWEEP = """
name: scale
base:
  task: {{p: 7, train_fraction: 0.6}}
  model: {{name: mlp, widths: [16]}}
  train: {{steps: {steps}}}
log: {{every: 5, eval_every: 10, snapshot_every: 20}}
engine: {{lanes: {lanes}}}
parameters:
  optimizer.weight_decay: {{values: [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]}}
  optimizer.lr: {{values: [0.001, 0.002, 0.003, 0.004, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1]}}
  seed: {{min: 0, max: {last_seed}}}
"""
Step = Callable[[Path], Iterator[None]]  # prepares, yields once, and does what is measured


def expand(folder: Path) -> Iterator[None]:
    """The sweep file to its runs."""
    yield
    load_sweep(folder / "sweep.yaml")


def plan_and_store(folder: Path) -> Iterator[None]:
    """Its runs to chunks, and these to plan.json and its shards."""
    sweep = load_sweep(folder / "sweep.yaml")
    yield
    (folder / "out").mkdir(exist_ok=True)
    write_manifest(make_plan(sweep, DEVICE), folder / "out", [DEVICE], None)


def open_manifest(folder: Path) -> Iterator[None]:
    """The stored plan, read and checked."""
    yield
    read_manifest(folder / "out")


def one_chunk(folder: Path) -> Iterator[None]:
    """What a worker reads of it."""
    yield
    chunk_plan(folder / "out", len(json.loads((folder / "out" / "plan.json").read_text())["chunks"]) // 2)


def planned(folder: Path) -> Iterator[None]:
    """All runs with their values, as a data frame, and what they share."""
    results = grokjax.open_results(folder / "out")
    yield
    results.planned()
    results.constants()


def make_up_ends(folder: Path) -> Iterator[None]:
    """Records, commits and summaries of all chunks, as if they had been trained; snapshots are left out."""
    out = folder / "out"
    manifest = read_manifest(out)
    yield
    write_json(out / LEFT_OUT, {"format": 1, "snapshots": "none", "left_out": ["snapshots: none were made"]})
    for index, chunk in enumerate(manifest.chunks):
        home, attempt = home_of(out, index), f"{index:012x}"
        home.mkdir(parents=True)
        records, steps = compact_file(home, "curves", attempt), tuple([STEPS_OF_A_RUN] * len(chunk.run_ids))
        ended = Commit(index, attempt, DEVICE.text, 5, sum(steps), sum(steps), METRICS, chunk.run_ids, steps, {}, {})
        table = made_up_records(ended)
        write_sealed(records, partial(pq.write_table, table, **parquet_options(table.schema)))
        create_commit(home, replace(ended, files={records.name: sha256_of(records)}))
        write_summary(made_up, manifest, index, folder, compact_file(home, "summary", attempt))


def made_up_records(ended: Commit) -> pa.Table:
    """What a chunk would have recorded: a record every 5 steps, of all runs at once."""
    steps = np.repeat(np.arange(0, STEPS_OF_A_RUN + 1, 5), len(ended.run_ids))
    runs = np.tile(np.arange(len(ended.run_ids), dtype=np.int32), len(steps) // len(ended.run_ids))
    losses = pa.array((1 / (1 + steps)).astype(np.float32))
    columns = {"run_id": pa.DictionaryArray.from_arrays(runs, list(ended.run_ids)), "step": steps}
    columns |= {WRITTEN: np.full(len(steps), 1.8e9)} | dict.fromkeys(ended.metrics, losses)
    return seal_table(pa.table(columns), {key: value for key, value in ended.meta.items() if key != "metrics"})


def made_up(results: Results, run_ids: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `derive` finds, of nothing: every run fits, and every other generalizes."""
    runs, count = results.planned(), len(run_ids)
    found = pd.DataFrame({"run_id": run_ids} | {name: [value] * count for name, value in NOTHING.items()})
    found["last_step"], found["outcome"], found["fit_step"] = float(STEPS_OF_A_RUN), "generalized", 20.0
    found["generalization_step"] = np.where(np.arange(count) % 2, 40.0, np.nan)
    finals = {f"final/{name}": np.full(count, 0.5, np.float32) for name in METRICS}
    events = pd.DataFrame({name: [None] * count for name in EVENT_COLUMNS})
    events["run_id"], events["kind"], events["step"] = run_ids, "fit", 20
    numbers = dict.fromkeys(("value", "norm_jump", "floor"), "float64")
    return runs.merge(found.assign(**finals), on="run_id"), events.astype(numbers)


def first_derivation(folder: Path) -> Iterator[None]:
    """runs() of a directory that was just trained: the summaries of all chunks become two tables."""
    results = grokjax.open_results(folder / "out")
    yield
    results.runs()


def derived(folder: Path) -> Iterator[None]:
    """runs() after that, with the directory opened."""
    yield
    grokjax.open_results(folder / "out").runs()


def verify_a_part(folder: Path) -> Iterator[None]:
    """Every hundredth chunk, read whole."""
    yield
    report = verify(folder / "out", (7, 100))
    assert not (*report.damaged, *report.unknown), report


def status(folder: Path) -> Iterator[None]:
    """What `grokjax status` says."""
    yield
    outcome_text(grokjax.open_results(folder / "out"))


STEPS: dict[str, Step] = {
    "expand": expand,
    "plan and store": plan_and_store,
    "open the plan": open_manifest,
    "a worker's chunk": one_chunk,
    "planned()": planned,
    "make up the ends": make_up_ends,
    "runs(), first": first_derivation,
    "runs(), derived": derived,
    "status": status,
    "verify --part 7/100": verify_a_part,
}


class Cost(NamedTuple):
    """cpu, wall: seconds; memory: bytes."""

    cpu: float
    wall: float
    memory: float


def measured(step: Step, folder: Path) -> Cost:
    """Of this process, which should do nothing else."""
    plan.QUEUE = 1  # as many runs a chunk as lanes
    work = step(folder)
    next(work)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in work:
        pass
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu, wall, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0)


def in_a_child(name: str, folder: Path) -> Cost:
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Cost(*json.loads(said.splitlines()[-1]))


def costs_of(runs: int) -> dict[str, Cost]:
    """Step -> what it costs for a sweep of so many runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = SWEEP.format(steps=STEPS_OF_A_RUN, lanes=RUNS_A_CHUNK, last_seed=runs // 100 - 1)
        (folder / "sweep.yaml").write_text(text)
        return {step: in_a_child(step, folder) for step in STEPS}


def table(costs: dict[int, dict[str, Cost]]) -> Iterator[str]:
    """One line a step: CPU s, wall s, MB at each number of runs; the exponent."""
    yield f"{'CPU s / wall s / MB':18}" + "".join(f"{runs:>24,}" for runs in costs) + f"{'exponent':>10}"
    for step in STEPS:
        row = [costs[runs][step] for runs in costs]
        cells = "".join(f"{f'{cost.cpu:.2f} / {cost.wall:.2f} / {cost.memory / 1e6:.0f}':>24}" for cost in row)
        growth = f"{exponent(list(costs)[-2:], row[-2:]):.2f}" if len(row) > 1 else "-"
        yield f"{step:18}{cells}{growth:>10}"


def exponent(runs: list[int], costs: list[Cost]) -> float:
    return math.log(max(costs[1].cpu, 1e-3) / max(costs[0].cpu, 1e-3)) / math.log(runs[1] / runs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=int, help="rising multiples of 100; default 1000 10000 100000")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(measured(STEPS[given.step], given.folder)))
        return
    runs = given.runs or [1_000, 10_000, 100_000]
    if any(number % 100 or number < 100 for number in runs) or runs != sorted(set(runs)):
        parser.error("give rising multiples of 100")
    for line in table({number: costs_of(number) for number in runs}):
        print(line)


if __name__ == "__main__":
    main()
