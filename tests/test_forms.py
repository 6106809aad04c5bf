"""The forms for GPUs, run on a CPU: whole runs record what the CPU's form does, but for rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import grokjax
from grokjax.engine import loop
from grokjax.engine.padding import MULTIPLE
from grokjax.models.forms import is_for_gpu, traced_for

SWEEP = {
    "name": "forms",
    "log": {"every": 5, "eval_every": 20},
    "parameters": {"seed": {"min": 0, "max": 1}},
    "engine": {"lanes": 2},
}
RUN = {
    "log": {"probes": ["margin", "sharpness"]},
    "task": {"p": 7, "train_fraction": 0.6},
    "optimizer": {"name": "adamw", "lr": 0.01},
    "train": {"steps": 60},
    "numerics": {"params": "float64"},
}
TRANSFORMER = {"name": "transformer", "d_model": 8, "heads": 2, "d_mlp": 16}
BASES: dict[str, dict[str, Any]] = {
    "transformer": {"model": TRANSFORMER, "log": {"probes": ["margin", "softmax", "sharpness"]}},
    "two layers": {"model": TRANSFORMER | {"layers": 2, "layernorm": "post"}},
    "mlp": {"model": {"name": "mlp", "widths": [16]}},
    "squared error": {"model": {"name": "mlp", "widths": [16]}, "loss": {"name": "mse"}},
    "batches": {"model": TRANSFORMER, "train": {"steps": 60, "batch": 10}},
}


ROUNDING_ALONE = ["softmax/mean_grad_cosine"]  # the angle of two gradients that are 0 but for rounding


def trained(base: dict[str, Any], platform: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> grokjax.Results:
    seen = set()

    def traced(_: str) -> Any:
        seen.add(platform)
        return traced_for(platform)

    monkeypatch.setattr(loop, "traced_for", traced)
    results = grokjax.run(SWEEP | {"base": RUN | base}, out)
    assert seen == {platform}
    return results


@pytest.mark.parametrize("name", BASES)
def test_the_forms_for_gpus_record_what_the_cpu_s_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = BASES[name]
    on_cpu, elsewhere = (trained(base, platform, tmp_path / platform, monkeypatch) for platform in ("cpu", "gpu"))
    expected, found = on_cpu.curves(), elsewhere.curves()
    assert len(expected) > 20
    assert expected["train/loss"].iloc[0] > 1.2 * expected["train/loss"].iloc[-1]
    assert list(found.columns) == list(expected.columns)
    for column in expected.columns.drop(ROUNDING_ALONE, errors="ignore"):
        values = expected[column].to_numpy()
        if np.issubdtype(values.dtype, np.floating):  # recorded in float32
            np.testing.assert_allclose(found[column].to_numpy(), values, rtol=2e-4, atol=1e-6, err_msg=column)


def test_the_number_of_examples_above_asks_for_padding():
    assert int(7 * 7 * 0.6) % MULTIPLE


def test_a_form_is_chosen_by_platform():
    assert not is_for_gpu()
    for platform, is_gpu in {"gpu": True, "cuda": True, "rocm": True, "tpu": False, "cpu": False}.items():
        with traced_for(platform):
            assert is_for_gpu() == is_gpu
    assert not is_for_gpu()
