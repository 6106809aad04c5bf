"""What files of examples hold, as a task's table has it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from grokjax.spec.files import FileError, read_arrays, stamp_of

NAMES = {  # what arrays are called in files, ours first; "" is the only one of a file
    "inputs": ("inputs", "x_train", "X_train", "train_images", "x", "X", "images", "tokens", "data", ""),
    "targets": ("targets", "y_train", "Y_train", "train_labels", "y", "Y", "labels"),
    "test_inputs": ("test_inputs", "x_test", "X_test", "test_images"),
    "test_targets": ("test_targets", "y_test", "Y_test", "test_labels"),
    "weights": ("weights",),
}


class Contents(NamedTuple):
    """Vectors are float32, pixels 0 to 1, tokens and classes int32."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    tests: int  # of the rows, the last so many are tested on; 0: the rows are divided
    digest: str  # SHA-256 of each file

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of `Found`."""
        tokens, classes = self.inputs.dtype.kind == "i", self.targets.dtype.kind == "i"
        return {
            "digest": self.digest,
            "examples": len(self.inputs) - self.tests,
            "tests": self.tests,
            "n_ctx": self.inputs.shape[1] if tokens else 0,
            "d_input": 0 if tokens else self.inputs.shape[1],
            "d_vocab": int(self.inputs.max()) + 1 if tokens else 0,
            "classes": int(self.targets.max()) + 1 if classes else 0,
            "d_target": 0 if classes else self.targets.shape[1],
        }


def read_contents(
    file: str, targets: str | None, test_file: str | None, test_targets: str | None, most_tests: int | None
) -> Contents:
    """What the files of an `arrays` task hold; of tests that stand apart the first `most_tests`. Raises FileError."""
    paths = (file, targets, test_file, test_targets)
    return _read(*paths, most_tests, tuple(path and stamp_of(path) for path in paths))


@lru_cache(maxsize=4)
def _read(
    file: str,
    targets: str | None,
    test_file: str | None,
    test_targets: str | None,
    most_tests: int | None,
    stamps: object,
) -> Contents:
    arrays, digests = _of(file, "")
    for path, role in ((targets, "targets"), (test_file, "test_inputs"), (test_targets, "test_targets")):
        if path is not None:
            more, digest = _of(path, role)
            arrays |= more
            digests += digest
    for role in ("inputs", "targets"):
        if role not in arrays:
            raise FileError(f"{file} has no array `{role}`; a file of one array needs a second: targets")
    inputs, answers = _inputs(file, arrays["inputs"]), _targets(file, arrays["targets"])
    _check_alike(file, inputs, answers)
    tests = 0
    if "test_inputs" in arrays:
        if "test_targets" not in arrays:
            raise FileError(f"{test_file or file} has inputs to test on and no targets; name a file: test_targets")
        more, theirs = _inputs(file, arrays["test_inputs"]), _targets(file, arrays["test_targets"])
        _check_alike(test_file or file, more, theirs)
        if more.shape[1:] != inputs.shape[1:] or theirs.shape[1:] != answers.shape[1:]:
            raise FileError(f"{test_file or file}: what is to be tested on has other shapes than what is trained on")
        inputs, answers = np.concatenate([inputs, more[:most_tests]]), np.concatenate([answers, theirs[:most_tests]])
        tests = len(more[:most_tests])
    return Contents(inputs, answers, arrays.get("weights"), tests, digests)


def _of(path: str, role: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays by what they are. role: that of a file of one array; of a file with inputs and targets, those to test on
    where `role` says so."""
    arrays, digest = read_arrays(path)
    if role and len(arrays) == 1:
        return {role: next(iter(arrays.values()))}, digest
    found = {}
    for what, names in NAMES.items():
        name = next((name for name in names if name in arrays), None)
        if name is not None:
            found[what] = arrays[name]
    if role == "test_inputs":
        found = {f"test_{what}": found[what] for what in ("inputs", "targets") if what in found}
    return found, digest


def _check_alike(path: str, inputs: np.ndarray, targets: np.ndarray) -> None:
    if len(inputs) != len(targets):
        raise FileError(f"{path}: {len(inputs):,} inputs and {len(targets):,} targets")
    if not len(inputs):
        raise FileError(f"{path} holds no examples")


def _inputs(path: str, values: np.ndarray) -> np.ndarray:
    """Tokens [n, L], or vectors [n, d]."""
    if values.ndim < 2:
        raise FileError(f"{path}: inputs must be [n, ...], got shape {list(values.shape)}")
    flat = values.reshape(len(values), -1)
    if values.dtype == np.uint8:
        return flat.astype(np.float32) / np.float32(255)
    return _numbers(path, "inputs", flat)


def _targets(path: str, values: np.ndarray) -> np.ndarray:
    """Classes [n], or vectors [n, d]."""
    if values.ndim == 2 and values.dtype.kind in "iu":
        raise FileError(f"{path}: targets that are whole numbers are classes [n], got shape {list(values.shape)}")
    if values.ndim == 1 and values.dtype.kind == "f":
        values = values[:, None]
    if values.ndim > 2 or values.ndim == 0:
        raise FileError(f"{path}: targets must be [n] or [n, d], got shape {list(values.shape)}")
    return _numbers(path, "targets", values)


def _numbers(path: str, what: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise FileError(f"{path}: {what} has numbers that are not finite")
        return values.astype(np.float32)
    if values.dtype.kind not in "iub":
        raise FileError(f"{path}: {what} must be numbers, got {values.dtype}")
    if values.size and (values.min() < 0 or values.max() >= 2**31):
        raise FileError(f"{path}: {what} that are whole numbers are counted from 0, got {values.min()}")
    return values.astype(np.int32)
