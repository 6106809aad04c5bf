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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grokjax
from grokjax.plan import plan
from grokjax.plan.plan import Device, make_plan
from grokjax.results.chunk_plan import chunk_plan
from grokjax.results.describe import write_manifest
from grokjax.results.manifest import read_manifest
from grokjax.sweep.expand import load_sweep

RUNS_A_CHUNK = 100
DEVICE = Device("cpu", "made up", 4, 2**34, "none")
SWEEP = """
name: scale
base:
  task: {{p: 7, train_fraction: 0.6}}
  model: {{name: mlp, widths: [16]}}
  train: {{steps: 60}}
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


STEPS: dict[str, Step] = {
    "expand": expand,
    "plan and store": plan_and_store,
    "open the plan": open_manifest,
    "a worker's chunk": one_chunk,
    "planned()": planned,
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
        text = SWEEP.format(lanes=RUNS_A_CHUNK, last_seed=runs // 100 - 1)
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
