"""Published weights: their names and layouts become grokjax's, and nothing is ever unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import reference
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.results.published import renamed
from grokjax.spec.models import Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.tasks import Modular
from grokjax.sweep.check import file_shapes

SPEC = RunSpec(task=Modular(p=7), model=Transformer(layers=2, d_model=8, heads=2, d_head=3, d_mlp=12))
OWN = {name: np.float32(value) for name, value in reference.transformer_weights(7, 8, 2, 3, 12, 2, False, 5).items()}
TOP = {"W_E": "embed.W_E", "W_pos": "pos_embed.W_pos", "W_U": "unembed.W_U"}


def published_name(name):
    kind, _, layer = name.partition(".")
    part = "attn" if kind in ("W_Q", "W_K", "W_V", "W_O") else "mlp"
    return TOP.get(name) or f"blocks.{layer}.{part}.{kind}"


def transformer_lens():
    state = {published_name(name): value for name, value in OWN.items()}
    for layer in range(2):
        state |= {f"blocks.{layer}.attn.b_{which}": np.zeros((2, 3), np.float32) for which in "QKV"}
        state |= {f"blocks.{layer}.attn.b_O": np.zeros(8, np.float32)}
        state |= {f"blocks.{layer}.attn.mask": np.tril(np.ones((3, 3), bool))}
        state |= {f"blocks.{layer}.attn.IGNORE": np.float32(-1e5)}
    return state | {"unembed.b_U": np.full(8, 0.5, np.float32)}


def nanda():
    """As in the code of Nanda et al. 2023: W_E[:, token], W_Q x, W_O on the heads side by side."""
    state = {}
    for name, value in OWN.items():
        kind = name.partition(".")[0]
        if kind == "W_O":
            value = np.concatenate(list(value)).T
        elif kind in ("W_Q", "W_K", "W_V", "W_E", "W_in", "W_out"):
            value = np.swapaxes(value, -1, -2)
        state[published_name(name)] = np.ascontiguousarray(value)
    return state | {"blocks.0.attn.mask": np.tril(np.ones((3, 3), np.float32))}


@pytest.mark.parametrize("state", [transformer_lens(), nanda()], ids=["transformer_lens", "nanda"])
def test_published_layouts_become_ours(state):
    found = renamed(state)
    assert set(found) == set(OWN)
    for name, value in OWN.items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("state", [transformer_lens(), nanda()], ids=["transformer_lens", "nanda"])
def test_the_command_writes_what_from_file_reads(tmp_path, state):
    source, out = tmp_path / "weights.safetensors", tmp_path / "ours.safetensors"
    save_file({name: np.asarray(value) for name, value in state.items()}, source)
    done = CliRunner().invoke(app, ["convert", str(source), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert file_shapes(str(out)) == parameter_shapes(SPEC)
    assert all((load_file(out)[name] == value).all() for name, value in OWN.items())


def test_an_unembedding_without_equals_gets_an_output_that_is_0():
    state = transformer_lens()
    state["unembed.W_U"] = state["unembed.W_U"][:, :7]
    del state["unembed.b_U"]
    found = renamed(state)
    assert found["W_U"].shape == (8, 8)
    assert not found["W_U"][:, 7].any()


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def zipped(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made.getvalue()


def objects():
    made = io.BytesIO()
    np.savez(made, **{"embed.W_E": np.array([Evil()], dtype=object)})
    return made.getvalue()


HOSTILE = {
    "a pickle": (pickle.dumps({"embed.W_E": Evil()}, protocol=2), "weights_only=True"),
    "a PyTorch file": (zipped({"archive/data.pkl": pickle.dumps(Evil())}), "weights_only=True"),
    "an npz of objects": (objects(), "zip archive"),
    "nothing": (b"", "is not safetensors"),
    "text": (b"embed.W_E: 3\n" * 9, "is not safetensors"),
    "a length and no header": (b"\x08\0\0\0\0\0\0\0{}", "is not safetensors"),
}


@pytest.mark.parametrize(("data", "says"), HOSTILE.values(), ids=HOSTILE)
def test_nothing_is_unpickled_and_nothing_written(tmp_path, data, says):
    source, out = tmp_path / "weights.bin", tmp_path / "ours.safetensors"
    source.write_bytes(data)
    done = CliRunner().invoke(app, ["convert", str(source), "--out", str(out)])
    assert done.exit_code == 2, done.output
    assert not done.exception or isinstance(done.exception, SystemExit)
    assert says in done.output
    assert not out.exists()


def without(name):
    return {key: value for key, value in transformer_lens().items() if key != name}


BAD = {
    "a bias": (lambda: transformer_lens() | {"blocks.1.attn.b_O": np.ones(8, np.float32)}, "b_O is not 0"),
    "a bias of some classes": (lambda: transformer_lens() | {"unembed.b_U": np.arange(8.0)}, "b_U is not 0"),
    "an unknown name": (lambda: transformer_lens() | {"blocks.0.attn.W_X": np.ones(3)}, "blocks.0.attn.W_X is no"),
    "no W_U": (lambda: without("unembed.W_U"), "lacks W_U"),
    "whole numbers": (lambda: transformer_lens() | {"embed.W_E": np.ones((8, 8), int)}, "int64"),
    "a vector": (lambda: transformer_lens() | {"embed.W_E": np.ones(8, np.float32)}, "W_E has 1 axes"),
    "a vector in Nanda's": (lambda: nanda() | {"blocks.0.attn.W_Q": np.ones(8, np.float32)}, "W_Q"),
    "heads that do not fit": (lambda: nanda() | {"blocks.0.attn.W_O": np.ones((8, 5), np.float32)}, "heads"),
    "two outputs missing": (lambda: transformer_lens() | {"unembed.W_U": np.ones((8, 6), np.float32)}, "`=` only"),
    "nothing": (dict, "lacks W_E"),
}


@pytest.mark.parametrize(("state", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_ours_is_refused(state, says):
    with pytest.raises(ValueError, match=says):
        renamed(state())
