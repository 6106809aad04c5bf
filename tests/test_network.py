"""A stored network gives its logits and activations on any tokens, and goes to TransformerLens as it is."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import re
import warnings

import numpy as np
import pytest
import reference
from safetensors import safe_open
from safetensors.numpy import load_file
from test_recipes import Pasted

from grokjax.results.export import RECIPES, export_network, how_to_load
from grokjax.results.network import StoredNetwork
from grokjax.results.published import renamed
from grokjax.spec.drawn_tasks import Parity
from grokjax.spec.models import MLP, Transformer
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import parameter_shapes
from grokjax.spec.tasks import Modular
from grokjax.sweep.resolve import resolve

P = 7
TOKENS = np.array(list(itertools.product(range(P), range(P), [P])))
SIZES = {"d_model": 8, "heads": 2, "d_head": 3, "logit_scale": 2.5}
OPTIONS = {
    "no mask, sinusoids, no biases": {"d_mlp": 12, "mask": "none", "positions": "sinusoidal", "bias": False},
    "biases of attention": {"d_mlp": 12, "attention_bias": True},
    "no positions, all of the softmax": {"d_mlp": 12, "layernorm": "pre", "positions": "none", "attention_mix": 1.0},
}
MODELS = {
    "one layer": Transformer(layers=1, d_mlp=12, **SIZES),
    "layer norms": Transformer(layers=2, d_mlp=12, layernorm="pre", activation="gelu", **SIZES),
    "attention only": Transformer(layers=2, d_mlp=0, **SIZES),
    "attention and norms": Transformer(layers=1, d_mlp=0, layernorm="pre", **SIZES),
}


def stored(model, precision="float32"):
    spec = resolve(RunSpec(task=Modular(p=P), model=model), set())
    if isinstance(model, MLP):
        wide = model.d_model if model.input == "embedded" else None
        params = reference.mlp_weights(P, list(model.widths), wide, model.bias, 3)
    else:
        sizes = (model.d_model, model.heads, model.head_width, model.d_mlp, model.layers)
        params = reference.transformer_weights(P, *sizes, model.layernorm == "pre", 3)
    return StoredNetwork("0123456789ab", 40, spec, {name: value.astype(precision) for name, value in params.items()})


def drawn(model):
    """A stored network of any options."""
    spec = resolve(RunSpec(task=Modular(p=P), model=model), set())
    weights = reference.weights_of(parameter_shapes(spec), 3)
    params = {name: value.astype(np.float32) for name, value in weights.items()}
    return StoredNetwork("0123456789ab", 40, spec, params)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_logits_at_the_answer_are_the_reference_s(model):
    found = stored(model)
    logits = found.logits(TOKENS)
    assert logits.shape == (len(TOKENS), 3, P + 1)
    wanted, _ = reference.network(stored(model, "float64").params, TOKENS, model.activation)
    np.testing.assert_allclose(logits[:, -1], 2.5 * wanted, rtol=1e-4, atol=1e-4)


def test_a_position_does_not_see_what_comes_after_it():
    found = stored(MODELS["layer norms"])
    other = TOKENS.copy()
    other[:, 2] = 0
    np.testing.assert_array_equal(found.logits(TOKENS)[:, :2], found.logits(other)[:, :2])
    assert np.abs(found.logits(TOKENS)[:, 2] - found.logits(other)[:, 2]).min() > 0


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_activations_add_up_to_the_logits(model):
    found = stored(model)
    cache, params = found.cache(TOKENS), found.params
    assert cache["blocks.0.attn.hook_pattern"].shape == (len(TOKENS), 2, 3, 3)
    assert cache["blocks.0.attn.hook_z"].shape == (len(TOKENS), 3, 2, 3)
    stream = cache["hook_embed"] + cache["hook_pos_embed"]
    for layer in range(model.layers):
        np.testing.assert_allclose(cache[f"blocks.{layer}.hook_resid_pre"], stream, rtol=1e-5, atol=1e-5)
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
        np.testing.assert_allclose(pattern.sum(-1), 1, rtol=1e-5)
        assert not np.triu(pattern, 1).any()
        z = np.einsum("nhij,njhe->nihe", pattern, cache[f"blocks.{layer}.attn.hook_v"])
        np.testing.assert_allclose(cache[f"blocks.{layer}.attn.hook_z"], z, rtol=1e-4, atol=1e-5)
        attended = np.einsum("nihe,hed->nid", z, params[f"W_O.{layer}"])
        np.testing.assert_allclose(cache[f"blocks.{layer}.hook_attn_out"], attended, rtol=1e-4, atol=1e-5)
        stream = stream + cache[f"blocks.{layer}.hook_attn_out"]
        if model.d_mlp:
            stream = stream + cache[f"blocks.{layer}.hook_mlp_out"]
        np.testing.assert_allclose(cache[f"blocks.{layer}.hook_resid_post"], stream, rtol=1e-5, atol=1e-5)
    if model.layernorm == "pre":
        stream = cache["ln_final.hook_normalized"] * params["ln_final_w"] + params["ln_final_b"]
    np.testing.assert_allclose(found.logits(TOKENS), 2.5 * stream @ params["W_U"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("input_kind", ["one_hot", "embedded"])
def test_an_mlp_has_logits_and_hidden_layers(input_kind):
    found = stored(MLP(widths=[6, 5], input=input_kind, d_model=4, activation="relu"))
    cache = found.cache(TOKENS)
    hidden = {f"blocks.{layer}.mlp.hook_{which}" for layer in range(2) for which in ("pre", "post")}
    assert set(cache) == hidden | ({"hook_embed"} if input_kind == "embedded" else set())
    np.testing.assert_array_equal(cache["blocks.1.mlp.hook_post"], np.maximum(cache["blocks.1.mlp.hook_pre"], 0))
    logits = cache["blocks.1.mlp.hook_post"] @ found.params["W.2"] + found.params["b.2"]
    np.testing.assert_allclose(found.logits(TOKENS), logits, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="TransformerLens has transformers only"):
        found.to_transformer_lens()


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        (TOKENS[:, :2], "integers of shape [n, 3], each from 0 to 7; got int64 of shape [49, 2]"),
        (TOKENS[0], "got int64 of shape [3]"),
        (TOKENS.astype(float), "got float64"),
        (TOKENS + 1, "got 1 to 8"),
        (TOKENS - 1, "got -1 to 6"),
    ],
)
def test_other_tokens_are_refused(tokens, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        stored(MODELS["one layer"]).logits(tokens)


VECTORS = StoredNetwork(
    "0123456789ab",
    40,
    resolve(RunSpec(task=Parity(bits=5, k=2, examples=20), model=MLP(widths=[4])), set()),
    {"W.0": np.ones((5, 4), np.float32), "b.0": np.zeros(4, np.float32)}
    | {"W.1": np.ones((4, 2), np.float32), "b.1": np.zeros(2, np.float32)},
)


@pytest.mark.parametrize("inputs", [np.ones((3, 4)), np.ones(5), np.ones((3, 5), bool), np.array([["a"] * 5])])
def test_vectors_of_another_shape_are_refused(inputs):
    with pytest.raises(ValueError, match=re.escape("inputs are numbers of shape [n, 5]; got")):
        VECTORS.logits(inputs)


def test_vectors_have_logits():
    np.testing.assert_array_equal(VECTORS.logits(np.ones((3, 5))), np.full((3, 2), 20.0))


def test_circuits_are_what_each_head_asks_for_and_says():
    found = stored(MODELS["attention only"])
    params = found.params
    for layer in (0, 1):
        said = found.circuits(layer)
        for head in range(2):
            value = params["W_E"] @ params[f"W_V.{layer}"][head] @ params[f"W_O.{layer}"][head] @ params["W_U"]
            query, key = (params["W_E"] @ params[f"{name}.{layer}"][head] for name in ("W_Q", "W_K"))
            np.testing.assert_allclose(said["EVOU"][head], value, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(said["EQKE"][head], query @ key.T / np.sqrt(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "layer", "says"),
    [(stored(MODELS["one layer"]), 1, "its layers are 0 to 0"), (VECTORS, 0, "its network has no attention")],
)
def test_circuits_of_no_layer_are_refused(network, layer, says):
    with pytest.raises(ValueError, match=says):
        network.circuits(layer)


def test_no_tokens_have_no_logits():
    assert stored(MODELS["one layer"]).logits(np.zeros((0, 3), int)).shape == (0, 3, P + 1)


# What TransformerLens is given


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_state_dict_has_their_names_zero_biases_and_the_scale_of_the_logits(tmp_path, model):
    found, path = stored(model), tmp_path / "there.safetensors"
    export_network(found, path)
    state = load_file(path)
    for layer in range(model.layers):
        assert not any(state[f"blocks.{layer}.attn.b_{which}"].any() for which in "QKVO")
        assert state[f"blocks.{layer}.attn.b_Q"].shape == (2, 3)
        np.testing.assert_array_equal(state[f"blocks.{layer}.attn.mask"], np.tril(np.ones((3, 3), bool)))
        np.testing.assert_array_equal(state[f"blocks.{layer}.attn.W_Q"], found.params[f"W_Q.{layer}"])
    assert state["unembed.b_U"].shape == (P + 1,)
    assert not state["unembed.b_U"].any()
    np.testing.assert_array_equal(state["unembed.W_U"], found.params["W_U"] * np.float32(2.5))
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
    assert config["attn_only"] == (model.d_mlp == 0)
    assert config["normalization_type"] == ("LN" if model.layernorm == "pre" else None)


def test_an_activation_that_they_have_not_is_refused():
    for activation in ("square", "tanh"):
        with pytest.raises(ValueError, match=f"no activation {activation}; of grokjax's it has relu and gelu"):
            stored(Transformer(layers=1, d_mlp=12, activation=activation, **SIZES)).to_transformer_lens()
    stored(Transformer(layers=1, d_mlp=0, activation="tanh", **SIZES)).to_transformer_lens()  # has no neurons


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"layernorm": "post"}, "no layernorm post; of grokjax's it has none and pre"),
        ({"layernorm": "stream"}, "no layernorm stream"),
        ({"attention_mix": 0.5}, "no attention_mix 0.5: its attention is softmax alone"),
        ({"direct_path": False}, "no network whose unembedding leaves out the direct path"),
    ],
)
def test_a_network_that_they_have_not_is_refused(options, what):
    with pytest.raises(ValueError, match=re.escape(what)):
        drawn(Transformer(layers=1, d_mlp=12, **SIZES, **options)).to_transformer_lens()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_what_is_fixed_here_is_a_weight_there(tmp_path, options):
    """Read back as a network with positions and biases of its own, the exported one has the same logits."""
    found, path = drawn(Transformer(layers=2, **SIZES, **options)), tmp_path / "there.safetensors"
    export_network(found, path)
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
    state, is_causal, seen = load_file(path), options.get("mask") != "none", np.ones((3, 3), bool)
    assert config["attention_dir"] == ("causal" if is_causal else "bidirectional")
    np.testing.assert_array_equal(state["blocks.1.attn.mask"], np.tril(seen) if is_causal else seen)
    usual = {"positions": "learned", "bias": True, "attention_mix": None, "logit_scale": 1.0}
    plain = found.spec.model_copy(update={"model": found.spec.model.model_copy(update=usual)})
    again = StoredNetwork("0123456789ab", 40, plain, renamed(state))
    np.testing.assert_allclose(again.logits(TOKENS), found.logits(TOKENS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_python_that_export_prints_makes_the_same_network(tmp_path, model):
    reason = "TransformerLens is no dependency: what is printed for it needs it"
    pytest.importorskip("transformer_lens", reason=reason)
    torch = pytest.importorskip("torch", reason=reason)
    found, path = stored(model), tmp_path / "it's \\ here.safetensors"
    export_network(found, path)
    is_of_version_4 = importlib.metadata.version("transformer-lens").startswith("4.")
    (recipe,) = [code for name, code in RECIPES.items() if (name == "TransformerLens 4") == is_of_version_4]
    recipe = recipe.format(path=str(path))
    assert recipe.strip() in how_to_load(path)
    console = Pasted({})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in recipe.splitlines():
            console.push(line)
        logits = console.locals["model"](torch.tensor(TOKENS)).detach().numpy()
    wanted = found.logits(TOKENS)
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()
