"""Files of weights that are none of ours: what they are is told alike by `convert` and `init.from_file`, and nothing in
them is run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import reference
from safetensors.numpy import load_file, save, save_file
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.results.foreign import read_tensors
from grokjax.sweep.expand import expand
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.weights_file import file_shapes

OWN = {name: np.float32(value) for name, value in reference.transformer_weights(7, 8, 2, 3, 12, 2, False, 5).items()}


def convert(source, out):
    done = CliRunner().invoke(app, ["convert", str(source), "--out", str(out)])
    assert not done.exception or isinstance(done.exception, SystemExit), done.exception
    return done


def from_file(path):
    """What a sweep that starts from a file says of it."""
    file_shapes.cache_clear()
    with pytest.raises(SweepError) as caught:
        expand(parse_sweep(f"base: {{init: {{from_file: {json.dumps(str(path))}}}}}\n", "s.yaml", Path(".")))
    (mistake,) = caught.value.mistakes
    return str(mistake)


def test_safetensors_are_read_whatever_the_length_of_their_header(tmp_path):
    path, lengths = tmp_path / "weights.safetensors", set()
    for n in range(512):
        data = save({"W_E": OWN["W_E"]}, {"note": "x" * n})
        lengths.add(data[0])
        path.write_bytes(data)
        file_shapes.cache_clear()
        assert file_shapes(str(path)) == {"W_E": (8, 8)}
        tensors, _ = read_tensors(path)
        np.testing.assert_array_equal(tensors["W_E"], OWN["W_E"])
    assert 128 in lengths  # the first byte of a pickle


@pytest.mark.parametrize("n", range(0, 256, 8))
def test_damaged_safetensors_are_not_called_something_else(tmp_path, n):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save({"W_E": OWN["W_E"]}, {"note": "x" * n})[:-1])
    for said in (convert(path, tmp_path / "out").output, from_file(path)):
        assert "is not a safetensors file, or a damaged one" in said
        assert "pickle" not in said


def bfloat16(state):
    """A safetensors file of the upper halves of float32."""
    header, data = {}, b""
    for name, value in state.items():
        half = (np.ascontiguousarray(value).view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": [len(data), len(data) + len(half)]}
        data += half
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_bfloat16_is_converted_and_named_where_a_run_would_start_from_it(tmp_path):
    path, out = tmp_path / "half.safetensors", tmp_path / "whole.safetensors"
    path.write_bytes(bfloat16(OWN))
    assert "weights are F16, F32 or F64, but W_E is BF16" in from_file(path)
    assert "make them so: grokjax convert" in from_file(path)
    assert convert(path, out).exit_code == 0
    for name, value in load_file(out).items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value.view("<u4"), OWN[name].view("<u4") & 0xFFFF0000)


def test_numbers_that_are_no_weights_are_named_by_both(tmp_path):
    path = tmp_path / "whole.safetensors"
    save_file({"W_E": np.ones((8, 8), np.int32)}, path)
    assert "W_E is I32" in from_file(path)
    assert "W_E holds int32" in convert(path, tmp_path / "out").output


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def zipped(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def npz(arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # what torch.save began with before its version 1.6
DAMAGED = "is not a safetensors file, or a damaged one"
KINDS = {
    "a pickle": (pickle.dumps({"embed.W_E": Evil()}, protocol=2), "is a pickle, not a"),
    "a new pickle": (pickle.dumps({"embed.W_E": Evil()}, protocol=5), "is a pickle, not a"),
    "an old PyTorch file": (MAGIC + pickle.dumps(Evil(), protocol=2), "is a PyTorch file, not a"),
    "a PyTorch file": (zipped({"archive/data.pkl": pickle.dumps(Evil())}), "is a PyTorch file, not a"),
    "a PyTorch file from elsewhere": (zipped({"a/version": b"3", "a/data.pkl": b""}), "is a PyTorch file, not a"),
    "TorchScript": (zipped({"a/data.pkl": b"", "a/constants.pkl": b""}), "is a TorchScript file, not a"),
    "an npz of objects": (npz({"embed.W_E": np.array([Evil()], dtype=object)}), "is an npz file of NumPy's, not a"),
    "a zip archive": (zipped({"weights.txt": b"1"}), "is a zip archive, not a"),
    "half a zip archive": (zipped({"weights.npy": b"1"})[:-9], "is a damaged zip archive, not a"),
    "an npy": (b"\x93NUMPY\x01\x00", "is an array of NumPy's, not a"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, not a"),
    "nothing": (b"", DAMAGED),
    "text": (b"embed.W_E: 3\n" * 9, DAMAGED),
    "a length and no header": (b"\x08\0\0\0\0\0\0\0{}", DAMAGED),
}


@pytest.mark.parametrize(("data", "says"), KINDS.values(), ids=KINDS)
def test_what_a_file_is_is_told_alike_and_nothing_of_it_is_run(tmp_path, data, says):
    source, out = tmp_path / "weights.bin", tmp_path / "ours.safetensors"
    source.write_bytes(data)
    done = convert(source, out)
    assert done.exit_code == 2
    assert f"{source} {says}" in done.output
    assert f"{source} {says}" in from_file(source)
    assert not out.exists()
