"""All that the golden tests know of the inside of grokjax: where a name moves, only this file changes."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import platform
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from grokjax import figures
from grokjax.cli import app
from grokjax.launch import load
from grokjax.spec.families import FAMILIES
from grokjax.spec.identity import program_key
from grokjax.sweep.expand import expand, load_sweep
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.parents import Answer, Parent
from grokjax.sweep.settings import parse_overrides

PARENT_SEEDS = (3, 4)


def identities(path: Path) -> list[tuple[str, str]]:
    """(run id, program key) of every run of a sweep, in order; parents that it names are made up."""
    return [(run.run_id, program_key(run.spec)) for run in load_sweep(path, None, _parents_of(path)).runs]


def arms(path: Path) -> list[str]:
    """The arm of every run of a sweep, in order."""
    return [run.arms[0] for run in load_sweep(path, None, _parents_of(path)).runs]


def _parents_of(path: Path) -> Callable[..., Answer] | None:
    """Two stored runs with the sweep's own base, as if they had been trained and asked for."""
    base = parse_sweep(path.read_text(), str(path), path.parent).data.get("base", {})
    init = base.get("init", {})
    if "from_run" not in init:
        return None
    afresh = base | {"init": {key: value for key, value in init.items() if key != "from_run"}}
    return partial(_made_up, json.dumps({"base": afresh, "parameters": {"seed": {"values": list(PARENT_SEEDS)}}}))


def _made_up(text: str, wanted: Any) -> Answer:
    runs = expand(parse_sweep(text, "parents.yaml", Path("."))).runs
    return Answer(tuple(_parent(run.run_id, run.spec, wanted.results) for run in runs))


def _parent(run_id: str, spec: Any, results: str) -> Parent:
    step = 1000
    digest = hashlib.sha256(f"seed {spec.seed} at {step}".encode()).hexdigest()
    return Parent(results, run_id, step, spec, digest, 0, (f"{run_id}@{step}",))


def refusal(path: Path, settings: list[str] | None = None, parents: bool = False) -> list[str]:
    """The mistakes that a sweep file, or the settings given with it, is refused with; paths without their folder.

    parents: runs that it starts from are those of a sweep with nothing but `train.steps: 100`, else looked up on disk.
    """
    made_up = partial(_made_up, "base: {train: {steps: 100}}\nparameters: {seed: {values: [3, 4]}}\n")
    try:
        overrides = parse_overrides(settings) if settings else None
        load_sweep(path, None, made_up) if parents else load(path, overrides)
    except SweepError as error:
        lines = [str(mistake).removeprefix(f"{path}:") for mistake in error.mistakes]
        return [line.replace(f"{path.parent}/", "").replace(str(path.parent), "FOLDER") for line in lines]
    return []


def names_of_kinds() -> dict[str, list[str]]:
    """Kind -> the names of its families."""
    return {kind: list(families) for kind, families in FAMILIES.items()}


def make_figure(kind: str, results: Any, stem: Path, **options: Any) -> list[Path]:
    return figures.make(kind, results, stem, **options)


def question(name: str) -> Any:
    """The module of an open question: data, table, answer."""
    return importlib.import_module(name)  # scripts/questions stands in sys.path (conftest.py)


def question_table(module: Any, tables: Any) -> Any:
    """What a question's script writes as CSV."""
    return importlib.import_module("answers").csv_table(tables, module.CSV)


def command(*arguments: Any) -> tuple[int, str]:
    """Exit status and output of a grokjax command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@contextmanager
def often(segment_seconds: float = 3e-3):
    """A file for each segment, a checkpoint after each, and short segments: an interrupted run has some of each."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokjax.results.write.FLUSH_SECONDS", -1.0)
        patch.setattr("grokjax.results.write.CHECKPOINT_SECONDS", -1.0)
        patch.setattr("grokjax.results.checkpoints.Checkpoints.is_busy", lambda self: False)  # waits
        patch.setattr("grokjax.plan.plan.SHORT_SEGMENT_SECONDS", 1e-9)
        patch.setattr("grokjax.plan.plan.SEGMENT_SECONDS", segment_seconds)
        yield


def fingerprint() -> dict[str, str]:
    """What the bits of a run depend on beside its spec: equal ones give equal bits."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    versions = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "optax")}
    digest = hashlib.sha256(" ".join(sorted(features.split())).encode()).hexdigest()[:12]
    return {"machine": platform.machine(), "features": digest} | versions
