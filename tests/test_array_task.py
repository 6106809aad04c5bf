"""A task from files of the user's: what may be in them, and what is said of what may not."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import grokjax
from grokjax.spec.array_task import Arrays
from grokjax.spec.task import Split
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.tasks.all import choice, chosen_examples, table

RANDOM = np.random.Generator(np.random.PCG64(0))


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def test_pixels_of_idx_files_are_vectors_from_0_to_1_and_tests_may_stand_apart(tmp_path: Path):
    images, labels = RANDOM.integers(256, size=(12, 3, 2)), RANDOM.integers(4, size=12)
    labels[0] = 3
    write_idx(tmp_path / "images.gz", images)
    write_idx(tmp_path / "labels.gz", labels)
    files = {"file": str(tmp_path / "images.gz"), "targets": str(tmp_path / "labels.gz")}
    task = Arrays(**files, train_examples=5, split=Split(method="first", seed=0)).resolved()
    assert (task.d_input, task.n_ctx, task.classes, task.examples) == (6, 0, 4, 12)
    examples = table(task)
    train, test = chosen_examples(examples, choice(task, examples))
    np.testing.assert_allclose(train.inputs, images[:5].reshape(5, 6) / 255, rtol=1e-6)
    assert (np.asarray(test.targets) == labels[5:]).all()
    apart = Arrays(**files, test_file=files["file"], test_targets=files["targets"], test_examples=7).resolved()
    train, test = chosen_examples(table(apart), choice(apart.model_copy(update={"split": Split(seed=0)}), table(apart)))
    assert (len(train.targets), len(test.targets)) == (12, 7)
    np.testing.assert_array_equal(test.targets, labels[:7])


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_tokens_and_vectors_of_a_file_with_names(ending: str, tmp_path: Path):
    def write(name: str, **arrays: Any) -> str:
        path = tmp_path / f"{name}.{ending}"
        np.savez(path, **arrays) if ending == "npz" else save_file(arrays, path)
        return str(path)

    tokens = Arrays(file=write("tokens", inputs=RANDOM.integers(7, size=(9, 4)), targets=np.arange(9) % 3))
    assert (tokens.n_ctx, tokens.d_input, tokens.classes) == (4, 0, 3)
    vectors = Arrays(file=write("vectors", x_train=RANDOM.normal(size=(9, 4)), y_train=RANDOM.normal(size=(9, 2))))
    assert (vectors.n_ctx, vectors.d_input, vectors.d_target, vectors.classes) == (0, 4, 2, 0)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"inputs": np.zeros((3, 2))}, "has no array `targets`"),
        ({"inputs": np.zeros((3, 2)), "targets": np.zeros(4, int)}, "3 inputs and 4 targets"),
        ({"inputs": np.zeros(3), "targets": np.zeros(3, int)}, r"inputs must be \[n, ...\], got shape \[3\]"),
        ({"inputs": np.full((3, 2), np.nan), "targets": np.zeros(3, int)}, "numbers that are not finite"),
        ({"inputs": np.full((3, 2), -1), "targets": np.zeros(3, int)}, "counted from 0, got -1"),
        ({"inputs": np.array([["a"], ["b"]]), "targets": np.zeros(2, int)}, "must be numbers"),
        ({"inputs": np.zeros((3, 2)), "targets": np.zeros((3, 2), int)}, r"are classes \[n\]"),
        (None, "cannot be read: No such file"),
        (b"\x80\x04pickle", "holds no arrays that can be read"),
        (b"\0\0\x08\x01\0\0\0\x09abc", "its header says 9 numbers, and it has 3"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_words(arrays: Any, said: str, tmp_path: Path):
    if isinstance(arrays, bytes):
        (tmp_path / "data.npz").write_bytes(arrays)
    elif arrays is not None:
        np.savez(tmp_path / "data.npz", **arrays)
    text = "name: x\nbase:\n  task: {name: arrays, file: data.npz}\n  model: {name: mlp}\n"
    with pytest.raises(SweepError, match=said):
        expand(parse_sweep(text, str(tmp_path / "x.yaml"), tmp_path))


def test_results_open_without_the_file_which_counts_by_its_content(tmp_path: Path):
    file = tmp_path / "data.npz"
    np.savez(file, inputs=RANDOM.normal(size=(20, 3)), targets=np.arange(20) % 2)
    base = "{task: {name: arrays, file: data.npz, train_fraction: 0.5}, model: {name: mlp, widths: [4]}}"
    (tmp_path / "x.yaml").write_text(f"name: x\nbase: {base}\nparameters: {{seed: {{min: 0, max: 1}}}}\n")
    results = grokjax.run(tmp_path / "x.yaml", out=tmp_path / "out", set={"train.steps": 6, "log.every": 3})
    first = results.run_ids
    assert len(results.manifest.plan.buckets) == 1  # the split is no part of the program
    file.rename(tmp_path / "moved.npz")
    again = grokjax.open_results(tmp_path / "out")
    assert (again.runs()["task.found.d_input"] == 3).all()
    assert again.curves("test/accuracy")["test/accuracy"].notna().all()
    renamed = (tmp_path / "x.yaml").read_text().replace("data.npz", "moved.npz")
    set_ = {"train.steps": 6, "log.every": 3}
    assert [run.run_id for run in expand(parse_sweep(renamed, "y.yaml", tmp_path), set_).runs] == first
