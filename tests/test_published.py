"""Published weights: their names and layouts become grokjax's, and what they do not say is told."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import reference
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from grokjax.cli import app
from grokjax.results.export import export_network
from grokjax.results.network import StoredNetwork
from grokjax.results.published import renamed, unsaid, without_strangers
from grokjax.spec.models import Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.tasks import Modular
from grokjax.sweep.check import file_shapes
from grokjax.sweep.expand import expand
from grokjax.sweep.load import parse_sweep

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


def transformer_lens_4():
    """As `transformer_lens.utilities.tl_checkpoint_conversion` makes it: the weights of torch's linear layers."""
    state = {"embed.weight": OWN["W_E"], "pos_embed.weight": OWN["W_pos"], "unembed.weight": OWN["W_U"].T}
    state |= {"unembed.bias": np.zeros(8, np.float32)}
    for layer in range(2):
        attention, mlp = f"blocks.{layer}.attn", f"blocks.{layer}.mlp"
        for ours, theirs in (("W_Q", "q"), ("W_K", "k"), ("W_V", "v")):
            state[f"{attention}.{theirs}.weight"] = np.concatenate([head.T for head in OWN[f"{ours}.{layer}"]])
            state[f"{attention}.{theirs}.bias"] = np.zeros(6, np.float32)
        state[f"{attention}.o.weight"] = np.concatenate(list(OWN[f"W_O.{layer}"])).T
        state[f"{attention}.o.bias"] = np.zeros(8, np.float32)
        for part in ("in", "out"):
            state[f"{mlp}.{part}.weight"] = OWN[f"W_{part}.{layer}"].T
            state[f"{mlp}.{part}.bias"] = OWN[f"b_{part}.{layer}"]
    return {name: np.ascontiguousarray(value) for name, value in state.items()}


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


def without(name):
    return {key: value for key, value in transformer_lens().items() if key != name}


def normed(*kinds):
    """A state dict with the weights of layer norms, or a part of them."""
    names = ["ln_final", *(f"blocks.{layer}.{norm}" for layer in range(2) for norm in ("ln1", "ln2"))]
    return {f"{name}.{kind}": np.full(8, 1.0 if kind == "w" else 0.0, np.float32) for name in names for kind in kinds}


BAD = {
    "some biases of attention": (
        lambda: without("blocks.0.attn.b_Q") | {"blocks.1.attn.b_O": np.ones(8, np.float32)},
        "lacks b_Q.0",
    ),
    "a bias of some classes": (lambda: transformer_lens() | {"unembed.b_U": np.arange(8.0)}, "b_U is not 0"),
    "an unknown name": (lambda: transformer_lens() | {"blocks.0.attn.W_X": np.ones(3)}, "blocks.0.attn.W_X is no"),
    "no W_U": (lambda: without("unembed.W_U"), "lacks W_U"),
    "whole numbers": (lambda: transformer_lens() | {"embed.W_E": np.ones((8, 8), int)}, "int64"),
    "a vector": (lambda: transformer_lens() | {"embed.W_E": np.ones(8, np.float32)}, "W_E has 1 axes"),
    "a vector in Nanda's": (lambda: nanda() | {"blocks.0.attn.W_Q": np.ones(8, np.float32)}, "W_Q"),
    "heads that do not fit": (lambda: nanda() | {"blocks.0.attn.W_O": np.ones((8, 5), np.float32)}, "heads"),
    "two outputs missing": (lambda: transformer_lens() | {"unembed.W_U": np.ones((8, 6), np.float32)}, "`=` only"),
    "nothing": (dict, "lacks W_E"),
    "a layer without keys": (lambda: without("blocks.1.attn.W_K"), "lacks W_K.1"),
    "a layer that is not there": (
        lambda: transformer_lens() | {"blocks.3.mlp.b_in": np.ones(12, np.float32)},
        "lacks W_Q.2",
    ),
    "half an MLP": (lambda: without("blocks.0.mlp.b_out"), "lacks b_out.0"),
    "an RMS norm": (lambda: transformer_lens() | normed("w"), r"without ln1_b\.0, ln2_b\.0.*RMS"),
    "own names with axes of others": (lambda: OWN | {"W_O.0": np.ones((8, 6), np.float32)}, "W_O.0 has 2 axes"),
}


@pytest.mark.parametrize(("state", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_ours_is_refused(state, says):
    with pytest.raises(ValueError, match=says):
        renamed(state())


# What stands around a network, and what its weights do not say


def call(tmp_path, state, metadata=None, *options):
    source = tmp_path / "weights.safetensors"
    save_file({name: np.asarray(value) for name, value in state.items()}, source, metadata)
    return CliRunner().invoke(app, ["convert", str(source), "--out", str(tmp_path / "ours.safetensors"), *options])


def converted(tmp_path, state, metadata=None, *options):
    """(parameters, what is told) of a file with such tensors."""
    done = call(tmp_path, state, metadata, *options)
    assert done.exit_code == 0, done.output
    return load_file(tmp_path / "ours.safetensors"), done.output


def assert_is_ours(params):
    assert set(params) == set(OWN)
    assert all((params[name] == value).all() for name, value in OWN.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.module.", "a.net."])
def test_a_network_within_another_module_is_found(tmp_path, prefix):
    for state in (transformer_lens(), nanda(), OWN):
        params, said = converted(tmp_path, {prefix + name: value for name, value in state.items()})
        assert_is_ours(params)
        assert "left out" not in said


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_of_transformer_lens_4_are_known_with_the_number_of_heads(tmp_path, prefix):
    state = {prefix + name: value for name, value in transformer_lens_4().items()}
    assert_is_ours(converted(tmp_path, state, None, "--heads", "2")[0])
    assert_is_ours(converted(tmp_path, state, {"config": '{"n_heads": 2}'})[0])
    assert "of how many heads; add --heads N" in call(tmp_path, state).output
    assert "cannot be of 4 heads" in call(tmp_path, state, None, "--heads", "4").output
    assert "leave it out" in call(tmp_path, transformer_lens(), None, "--heads", "2").output
    assert "has names of TransformerLens" in file_shapes(str(tmp_path / "weights.safetensors"))


def test_what_counts_is_no_weight(tmp_path):
    state = {f"module.{name}": value for name, value in transformer_lens().items()}
    params, said = converted(tmp_path, state | {"n_averaged": np.int64(7)})
    assert_is_ours(params)
    assert "n_averaged is left out: it is a whole number, 7, and no weight" in said


def test_two_names_of_one_tensor_are_one(tmp_path):
    state = transformer_lens()
    params, said = converted(tmp_path, state | {"head.weight": state["unembed.W_U"].copy()})
    assert_is_ours(params)
    assert "head.weight is left out: it is the same tensor as unembed.W_U" in said


def test_a_name_that_only_the_metadata_have_is_known(tmp_path):
    """`safetensors.torch.save_model` writes one of two names, and says which other it stood under."""
    state = transformer_lens()
    state["head.weight"] = state.pop("unembed.W_U")
    params, _ = converted(tmp_path, state, {"unembed.W_U": "head.weight"})
    assert_is_ours(params)


def test_equal_constants_are_no_copies(tmp_path):
    """A scale of ones that grokjax does not know is not the one of ones that it knows."""
    state = transformer_lens() | normed("w", "b") | {"blocks.0.ln3.w": np.ones(8, np.float32)}
    with pytest.raises(ValueError, match=r"blocks\.0\.ln3\.w is no parameter"):
        renamed(without_strangers(state)[0])


CONFIG = {"act_fn": "gelu", "normalization_type": None}
TOLD = {
    "weights only": (transformer_lens, {}, ["do not say the activation", "no layer norm's weights"], []),
    "a config": (transformer_lens, CONFIG, ["d_mlp: 12, layernorm: none, activation: gelu}"], ["activation:? is"]),
    "an activation of theirs": (transformer_lens, CONFIG | {"act_fn": "silu"}, ["silu, which grokjax has not"], []),
    "a norm without weights": (transformer_lens, CONFIG | {"normalization_type": "LNPre"}, ["no layer norm's"], []),
    "layer norms": (lambda: transformer_lens() | normed("w", "b"), {}, ["layernorm: pre"], ["no layer norm's"]),
    "attention only": (lambda: attention_only(), {}, ["attention only (d_mlp: 0)"], ["activation"]),
    "no config at all": (transformer_lens, [1], ["do not say the activation"], []),
}


def attention_only():
    return {name: value for name, value in transformer_lens().items() if ".mlp." not in name}


@pytest.mark.parametrize(("state", "config", "says", "not_says"), TOLD.values(), ids=TOLD)
def test_what_the_weights_do_not_say_is_told(tmp_path, state, config, says, not_says):
    _, said = converted(tmp_path, state(), {"config": json.dumps(config)})
    assert "heads: 2, d_head: 3" in said
    assert "model.logit_scale" in said
    assert all(text in said for text in says)
    assert not any(re.search(text, said) for text in not_says)


def test_a_sweep_starts_from_the_keys_and_the_file_that_convert_tells(tmp_path):
    _, said = converted(tmp_path, transformer_lens())
    (model,) = re.findall(r"model: (\{.+\})", said)
    (run,) = expand(
        parse_sweep(
            f"base: {{task: {{p: 7}}, model: {model}, init: {{from_file: {tmp_path / 'ours.safetensors'}}}}}",
            "s.yaml",
            tmp_path,
        )
    ).runs
    assert parameter_shapes(run.spec) == parameter_shapes(SPEC)


def test_the_file_that_is_read_is_not_written(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(OWN, path)
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["convert", str(path), "--out", str(tmp_path / "." / path.name)])
    assert done.exit_code == 2
    assert "is the file that is read" in done.output
    assert path.read_bytes() == before


# There and back


@pytest.mark.parametrize(
    "model",
    [
        Transformer(layers=2, d_model=8, heads=2, d_head=3, d_mlp=12),
        Transformer(layers=1, d_model=8, heads=2, d_mlp=12, layernorm="pre", activation="gelu"),
        Transformer(layers=2, d_model=8, heads=4, d_mlp=0, layernorm="pre"),
        Transformer(layers=1, d_model=8, heads=2, d_mlp=0),
        Transformer(layers=2, d_model=8, heads=2, d_mlp=12, attention_bias=True, mask="none"),
    ],
    ids=["two layers", "layer norms", "attention with norms", "attention only", "biases of attention"],
)
def test_a_network_goes_to_transformer_lens_and_comes_back_the_same(tmp_path, model):
    spec = RunSpec(task=Modular(p=7), model=model)
    rng = np.random.default_rng(0)
    shapes = parameter_shapes(spec)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    there, back = tmp_path / "there.safetensors", tmp_path / "back.safetensors"
    export_network(StoredNetwork("0123456789ab", 0, spec, params), there)
    state = load_file(there)
    assert {"blocks.0.attn.W_Q", "blocks.0.attn.b_Q", "blocks.0.attn.b_O", "unembed.b_U"} <= set(state)
    biases = "b_U" if model.attention_bias else "b_[QKVOU]"
    assert not any(value.any() for name, value in state.items() if re.search(rf"\.{biases}$", name))
    done = CliRunner().invoke(app, ["convert", str(there), "--out", str(back)])
    assert done.exit_code == 0, done.output
    found = load_file(back)
    assert set(found) == set(params)
    assert all((found[name] == value).all() for name, value in params.items())
    (told,) = re.findall(r"model: (\{.+\})", done.output)
    assert f"layernorm: {model.layernorm}" in told
    assert ("attention_bias: true" in told) == model.attention_bias
    assert ("mask: none" in told) == (model.mask == "none")
    assert not model.d_mlp or f"activation: {model.activation}" in told


def test_what_weights_say_of_norms_and_biases_is_told_and_what_they_do_not_say_of_positions():
    spec = RunSpec(task=Modular(p=7), model=Transformer(d_model=8, layernorm="post", bias=False, positions="none"))
    params = {name: np.ones(shape, np.float32) for name, shape in parameter_shapes(spec).items()}
    model, *notes = unsaid(params, {})
    assert "layernorm: post, bias: false" in model
    assert "the weights do not say the positions: add positions: sinusoidal, or positions: none" in notes
