"""The Python that `convert` prints for files of other kinds works as it stands, pasted line by line, and so do the
commands: whatever the file is called, and whatever people save."""

from __future__ import annotations

import code
import io
import pickle
import re
import shlex
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from test_foreign_files import OWN, Evil, convert, from_file, npz, zipped
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.models.transformer_lens import transformer_lens_name

PUBLISHED = {transformer_lens_name(name): value for name, value in OWN.items()}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is no dependency: what is printed for its files needs it")


class Pasted(code.InteractiveConsole):
    """Lines typed one after the other; whatever goes wrong is an error here."""

    def runcode(self, code):
        exec(code, self.locals)

    def showsyntaxerror(self, *_args, **_named):
        raise


def follow_the_advice(source, folder, monkeypatch):
    """The arrays that come out where a user does what `convert` says of a file."""
    advice = convert(source, folder / "out").output
    monkeypatch.chdir(folder)
    (then,) = re.findall(r"then: grokjax (.+)", advice)
    lines = advice[advice.index("path, tensors =") :]
    console = Pasted({})
    for line in [*lines.splitlines(), ""]:
        console.push(line)
    done = CliRunner().invoke(app, shlex.split(then))
    assert done.exit_code == 0, done.output
    return load_file(folder / "NEW.safetensors")


def assert_is_ours(arrays, rtol=0.0):
    assert set(arrays) == set(OWN)
    for name, value in OWN.items():
        np.testing.assert_allclose(arrays[name], value, rtol=rtol)


NAMES = ["weights", "my weights", "it's", 'say "hi"', "a\\nb", "-o", "$HOME", "naïve é", "a.b.c"]


@pytest.mark.parametrize("name", NAMES)
def test_the_python_for_an_npz_works_whatever_the_file_is_called(tmp_path, monkeypatch, name):
    source = tmp_path / f"{name}.npz"
    np.savez(source, **PUBLISHED)
    assert_is_ours(follow_the_advice(source, tmp_path, monkeypatch))


@pytest.mark.parametrize("name", NAMES)
def test_the_command_that_a_sweep_is_sent_to_works_whatever_the_file_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    save_file(PUBLISHED, f"{name}.safetensors")
    (command,) = re.findall(r"rename them: grokjax (.+)", from_file(Path(f"{name}.safetensors").absolute()))
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    assert_is_ours(load_file("NEW.safetensors"))


def test_objects_in_an_npz_are_refused_by_what_reads_them(tmp_path, monkeypatch):
    source = tmp_path / "weights.npz"
    source.write_bytes(npz({"embed.W_E": np.array([Evil()], dtype=object)}))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        follow_the_advice(source, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "content",
    [PUBLISHED, {"step": 3, "params": [PUBLISHED], "moments": {0: {"m": np.ones(9), "v": np.ones(9)}}}],
    ids=["a dict", "a dict within"],
)
def test_the_python_for_a_pickle_works(tmp_path, monkeypatch, content):
    source = tmp_path / "weights.pkl"
    source.write_bytes(pickle.dumps(content))
    assert "It runs any code in the file" in convert(source, tmp_path / "out").output
    assert_is_ours(follow_the_advice(source, tmp_path, monkeypatch))


# Of PyTorch: what people save


def parameters(torch):
    return {name: torch.from_numpy(value.copy()) for name, value in PUBLISHED.items()}


def a_module(torch, state):
    """A network whose state dict is `state`, of a class that is nowhere else."""
    top = torch.nn.Module()
    for name, value in state.items():
        *above, last = name.split(".")
        module = top
        for part in above:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_parameter(last, torch.nn.Parameter(value))
    return top


def moments(torch, state):
    """What Adam keeps: more numbers than the parameters have, and two tensors of each."""
    return {at: {"exp_avg": value, "exp_avg_sq": value, "step": torch.tensor(3.0)} for at, value in enumerate(state)}


def a_config():
    """An object of a class that whoever opens the file has not."""
    module = types.ModuleType("their_code")
    module.__dict__["Config"] = type("Config", (), {"__module__": "their_code"})
    made = module.Config()
    made.__dict__.update(lr=1e-3, d_model=8, other=[1, {"a": (2,)}])
    return module, made


SAVED = {
    "a state dict": lambda torch, state: OrderedDict(state),
    "parameters": lambda torch, state: {name: torch.nn.Parameter(value) for name, value in state.items()},
    "a checkpoint": lambda torch, state: {"epoch": 3, "model": state, "optimizer": {"state": moments(torch, state)}},
    "a list of state dicts": lambda torch, state: {
        "losses": [0.1, 0.2],
        "state_dicts": [{name: value * 0 for name, value in state.items()}, state],
    },
    "a module": a_module,
    "a module beside its optimizer": lambda torch, state: {
        "optimizer": moments(torch, state),
        "model": a_module(torch, state),
    },
    "DataParallel, compiled": lambda torch, state: {f"module._orig_mod.{name}": v for name, v in state.items()},
    "averaged": lambda torch, state: (
        {"n_averaged": torch.tensor(7)} | {f"module.{name}": value for name, value in state.items()}
    ),
    "two names of one tensor": lambda torch, state: state | {"embed.weight": state["embed.W_E"]},
    "a tensor that is a part of another": lambda torch, state: (
        state | {"embed.W_E": torch.cat([state["embed.W_E"], state["embed.W_E"]])[:8]}
    ),
    "transposed in memory": lambda torch, state: {
        name: value.transpose(0, -1).contiguous().transpose(0, -1) for name, value in state.items()
    },
    "bfloat16": lambda torch, state: {name: value.bfloat16() for name, value in state.items()},
    "zero biases": lambda torch, state: (
        state | {"unembed.b_U": torch.zeros(8), "blocks.0.attn.b_O": torch.zeros(8)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_the_python_for_a_pytorch_file_works(torch, tmp_path, monkeypatch, make, zipped):
    saved = make(torch, parameters(torch))
    source = tmp_path / "it's \\ here.pt"
    torch.save(saved, source, _use_new_zipfile_serialization=zipped)
    arrays = follow_the_advice(source, tmp_path, monkeypatch)
    assert_is_ours(arrays, rtol=1 / 256 if make is SAVED["bfloat16"] else 0)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_a_config_of_a_class_that_is_not_there_is_no_obstacle(torch, tmp_path, monkeypatch, zipped):
    module, config = a_config()
    sys.modules["their_code"] = module
    content = {"config": config, "path": Path("a/b"), "tags": {"x"}, "run": {"model": {"net": parameters(torch)}}}
    torch.save(content, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    del sys.modules["their_code"]
    assert_is_ours(follow_the_advice(tmp_path / "run.pth", tmp_path, monkeypatch))


def test_tensors_that_were_on_a_gpu_are_read_where_there_is_none(torch, tmp_path, monkeypatch):
    made = io.BytesIO()
    torch.save(parameters(torch), made)
    with zipfile.ZipFile(made) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = [name for name in files if name.endswith("data.pkl")]
    files[pickled] = files[pickled].replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
    source = tmp_path / "gpu.pt"
    source.write_bytes(zipped(files))
    with pytest.raises(RuntimeError, match="cuda"):
        torch.load(source, weights_only=True)
    assert_is_ours(follow_the_advice(source, tmp_path, monkeypatch))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_the_python_for_a_pytorch_file_runs_no_code_of_it(torch, tmp_path, monkeypatch, zipped):
    torch.save({"a": Evil(), "model": parameters(torch)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    assert_is_ours(follow_the_advice(tmp_path / "a.pt", tmp_path, monkeypatch))


def test_a_pytorch_file_without_names_is_told(torch, tmp_path, monkeypatch):
    torch.save([torch.ones(3)], tmp_path / "a.pt")
    with pytest.raises(SystemExit, match="no dict of tensors in"):
        follow_the_advice(tmp_path / "a.pt", tmp_path, monkeypatch)


def test_the_python_for_torchscript_works(torch, tmp_path, monkeypatch):
    class Net(torch.nn.Module):
        def forward(self, x):
            return x

    net = a_module(torch, parameters(torch))
    net.__class__ = Net
    torch.jit.script(net).save(tmp_path / "a.pt")
    assert_is_ours(follow_the_advice(tmp_path / "a.pt", tmp_path, monkeypatch))
