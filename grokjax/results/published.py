"""Weights that others published, under grokjax's names: what `init.from_file` reads."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
from safetensors.numpy import save

from grokjax.models.transformer_lens import IN_LAYER, TOP
from grokjax.models.transformer_lens_4 import FIRST, as_before, is_of_version_4
from grokjax.results.files import write_view
from grokjax.results.foreign import read_tensors
from grokjax.spec.fields import Activation
from grokjax.spec.models import Transformer
from grokjax.spec.tasks import Modular

State = dict[str, np.ndarray]

SKIPPED = re.compile(r"blocks\.\d+\.attn\.(mask|IGNORE)")  # buffers, not weights
BIASES = re.compile(r"unembed\.b_U")  # grokjax has none of these
# and what a module that holds the network puts before it
EMBEDDING = re.compile(r"((?:.+?\.)??)(?:embed\.weight|(?:embed\.)?W_E)")
# the last of them are an MLP's
OURS = re.compile(r"W_E|W_pos|W_U|ln_final_[wb]|([Wb]_[QKVO]|W_in|W_out|b_in|b_out|ln[12]_[wb])\.\d+|[Wb]\.[\w.]+")
OF_ATTENTION = ("b_Q", "b_K", "b_V", "b_O")
MLP = ("W_in", "b_in", "W_out", "b_out")
AXES = {"W_E": 2, "W_pos": 2, "W_U": 2, "W_Q": 3, "W_K": 3, "W_V": 3, "W_O": 3, "W_in": 2, "W_out": 2,
        "b_Q": 2, "b_K": 2, "b_V": 2}  # fmt: skip
TRANSPOSED = {"W_E", "W_in", "W_out", "W_Q", "W_K", "W_V"}  # in the layout of Nanda et al., besides W_O


def convert_published(path: Path, out: Path, heads: int | None = None) -> tuple[State, list[str]]:
    """Write a published state dict as safetensors in grokjax's names. Returns it, and what is to be known of it.

    heads: of attention, where the weights do not say it. Raises ValueError.
    """
    tensors, metadata = read_tensors(path)
    if out.exists() and out.samefile(path):
        raise ValueError(f"{out} is the file that is read; name another to write")
    config = _config(metadata)
    state = with_heads(without_prefix(with_aliases(tensors, metadata)), heads, config.get("n_heads"))
    state, notes = without_strangers(state)
    params = renamed(state)
    notes += unsaid(params, config)
    write_view(out, lambda temporary: temporary.write_bytes(save(params)))
    return params, notes


def with_aliases(tensors: State, metadata: dict[str, str]) -> State:
    """With the names that `safetensors.torch.save_model` left out, because their tensors stand there under another."""
    aliases = {name: of for name, of in metadata.items() if name not in tensors and of in tensors}
    return tensors | {name: tensors[of] for name, of in aliases.items()}


def without_prefix(state: State) -> State:
    """Names without what stands before those of the network, as `module.` of `torch.nn.DataParallel`, `_orig_mod.` of
    `torch.compile`. Of several networks the first is meant."""
    prefixes = [found[1] for name in state if (found := EMBEDDING.fullmatch(name))]
    if not prefixes or "" in prefixes:
        return state
    plain = {name: name.removeprefix(prefixes[0]) for name in state}
    return {plain[name] if plain[name] not in state else name: value for name, value in state.items()}


def with_heads(state: State, heads: int | None, told: Any) -> State:
    """TransformerLens 4's names and layouts as they were before. heads: as the user says, told: as the file does."""
    if not is_of_version_4(state):
        if heads is not None:
            raise ValueError(f"--heads is for weights that do not say it, which have a {FIRST}; leave it out")
        return state
    count = told if heads is None else heads
    if not isinstance(count, int) or count < 1:
        raise ValueError(
            "these are names of TransformerLens 4, where weights do not say of how many heads; add --heads N"
        )
    return as_before(state, count)


def without_strangers(state: State) -> tuple[State, list[str]]:
    """Without tensors under unknown names that are no weights, and a note of each: those that stand there under a known
    name too, and single whole numbers, which count something. `renamed` refuses what is left."""
    known = {name: value for name, value in state.items() if _is_known(name)}
    kept, notes = dict(known), []
    for name, value in ((name, value) for name, value in state.items() if name not in known):
        same = next((other for other, of in known.items() if _is_copy(of, value)), None)
        if same is not None:
            notes.append(f"{name} is left out: it is the same tensor as {same}")
        elif value.size == 1 and value.dtype.kind in "iub":
            notes.append(f"{name} is left out: it is a whole number, {value.item()}, and no weight")
        else:
            kept[name] = value
    return kept, notes


def _is_known(name: str) -> bool:
    return bool(_grokjax_name(name) or BIASES.fullmatch(name) or SKIPPED.fullmatch(name) or OURS.fullmatch(name))


def _is_copy(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two tensors hold the same numbers, and not one number only, as zero biases do that mean two things."""
    if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
        return False
    return bool(one.size and np.any(one != one.flat[0]))


def renamed(state: State) -> State:
    """A state dict in TransformerLens's names and layouts, or in those of the code of Nanda et al. 2023, as grokjax has
    it; one in grokjax's own names stays as it is. Raises ValueError for what it cannot express.

    TransformerLens has grokjax's layouts. Nanda's, known by its W_O of two axes, has W_E [d_model, d_vocab],
    W_Q|W_K|W_V [heads, d_head, d_model], W_O [d_model, heads d_head], W_in [d_mlp, d_model], W_out [d_model, d_mlp].
    Biases that grokjax has not must be 0 (b_U: all equal). A W_U without an output for `=` gets one that is always 0.
    """
    if state and all(OURS.fullmatch(name) for name in state):
        params = {name: np.ascontiguousarray(_as_float(name, value)) for name, value in state.items()}
        _check_axes(params)
        return params
    params = _named(state)
    if params["W_O.0"].ndim == 2:
        params = {name: _from_nanda(name, value, params) for name, value in params.items()}
    _check_axes(params)
    lacking = len(params["W_E"]) - params["W_U"].shape[1]
    if lacking == 1:
        params["W_U"] = np.pad(params["W_U"], ((0, 0), (0, 1)))
    elif lacking:
        raise ValueError(f"W_E has {len(params['W_E'])} tokens and W_U {params['W_U'].shape[1]}: it may lack `=` only")
    return {name: np.ascontiguousarray(value) for name, value in params.items()}


def _check_axes(params: State) -> None:
    for name, value in params.items():
        kind = name.partition(".")[0]
        if kind not in ("W", "b") and value.ndim != AXES.get(kind, 1):
            raise ValueError(f"{name} has {value.ndim} axes, {list(value.shape)}")


def _named(state: State) -> State:
    """Under grokjax's names, in the layouts that they come in."""
    params: State = {}
    for name, value in state.items():
        ours = _grokjax_name(name)
        if ours is not None:
            params[ours] = _as_float(name, value)
        elif BIASES.fullmatch(name):
            _check_no_bias(name, value)
        elif not SKIPPED.fullmatch(name):
            raise ValueError(f"{name} is no parameter that grokjax knows; known are {', '.join([*TOP, *IN_LAYER])}")
    if not any(value.any() for name, value in params.items() if name.startswith(OF_ATTENTION)):
        params = {name: value for name, value in params.items() if not name.startswith(OF_ATTENTION)}
    if missing := _missing(params):
        raise ValueError(f"it lacks {', '.join(missing)} (in grokjax's names)")
    return params


def _missing(params: State) -> list[str]:
    """Names that a transformer needs which has some of these."""
    layers = [int(layer) for name in params if (layer := name.partition(".")[2])]
    has_mlp = any(name.startswith(MLP) for name in params)
    layernorm = "pre" if any(name.startswith("ln") for name in params) else "none"
    has_biases = any(name.startswith(OF_ATTENTION) for name in params)
    model = Transformer(
        layers=max(layers, default=0) + 1, d_mlp=int(has_mlp), layernorm=layernorm, attention_bias=has_biases
    )
    missing = [name for name in model.shapes(Modular()) if name not in params]
    if missing and all(re.match(r"ln.*_b", name) for name in missing):
        raise ValueError(f"it has a layer norm without {', '.join(missing)}, as an RMS norm is; grokjax has no such")
    return missing


def unsaid(params: State, config: dict[str, Any]) -> list[str]:
    """The keys of a sweep that such a transformer needs, and what the weights do not say of it.

    config: TransformerLens's, where the file has one (`grokjax export --to transformer_lens` writes it).
    """
    if "W_O.0" not in params:
        return []
    heads, d_head, d_model = params["W_O.0"].shape
    d_mlp = params["W_in.0"].shape[1] if "W_in.0" in params else 0
    layernorm = _layernorm_of(params)
    keys = {"layers": sum(name.startswith("W_O.") for name in params), "d_model": d_model, "heads": heads}
    keys |= {"d_head": d_head, "d_mlp": d_mlp, "layernorm": layernorm}
    keys |= {"bias": "false"} if d_mlp and "b_in.0" not in params else {}
    keys |= {"attention_bias": "true"} if "b_Q.0" in params else {}
    keys |= {"mask": "none"} if config.get("attention_dir") == "bidirectional" else {}
    activation = config.get("act_fn", "unsaid") if d_mlp else "none"
    keys |= {"activation": activation} if activation in get_args(Activation) else {}
    notes = [f"model: {{name: transformer, {', '.join(f'{key}: {value}' for key, value in keys.items())}}}"]
    if activation == "unsaid":
        notes.append("the weights do not say the activation: model.activation is relu unless you name another")
    elif d_mlp and activation not in get_args(Activation):
        notes.append(f"its activation is {activation}, which grokjax has not; it has {', '.join(get_args(Activation))}")
    if "W_pos" not in params:
        notes.append("the weights do not say the positions: add positions: sinusoidal, or positions: none")
    if not d_mlp:
        notes.append("it has no MLP's weights, so it is taken for attention only (d_mlp: 0)")
    if layernorm == "none" and config.get("normalization_type", "unsaid"):
        notes.append("it has no layer norm's weights: had the network one without parameters, its logits were others")
    notes.append("scores are divided by sqrt(d_head), and logits multiplied by model.logit_scale, 1 unless you say so")
    return notes


def _layernorm_of(params: State) -> str:
    """Where the norms are, as far as weights say it."""
    if "ln1_w.0" not in params:
        return "none"
    return "pre" if "ln_final_w" in params else "post"


def _config(metadata: dict[str, str]) -> dict[str, Any]:
    try:
        config = json.loads(metadata.get("config", "{}"))
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _grokjax_name(name: str) -> str | None:
    if name in TOP:
        return TOP[name]
    layer = re.fullmatch(r"blocks\.(0|[1-9]\d{0,2})\.(.+)", name)
    return f"{IN_LAYER[layer[2]]}.{layer[1]}" if layer and layer[2] in IN_LAYER else None


def _as_float(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind != "f":
        raise ValueError(f"{name} holds {value.dtype}, not floating-point numbers")
    return value.astype(np.float64 if value.dtype == np.float64 else np.float32)


def _check_no_bias(name: str, value: np.ndarray) -> None:
    shift = value.flat[0] if name == "unembed.b_U" and value.size else 0  # the same for every logit changes nothing
    if not np.all(value == shift):
        raise ValueError(f"{name} is not 0, and grokjax has no such bias")


def _from_nanda(name: str, value: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    """Nanda's layout in grokjax's."""
    kind, _, layer = name.partition(".")
    if kind == "W_O" and value.ndim == 2:
        heads = params.get(f"W_Q.{layer}", value).shape[:2]
        if math.prod(heads) != value.shape[1]:
            raise ValueError(f"{name} of shape {list(value.shape)} does not fit W_Q's heads {list(heads)}")
        return value.T.reshape(*heads, len(value))
    if kind not in TRANSPOSED:
        return value
    if value.ndim != AXES[kind]:
        raise ValueError(f"{name} has {value.ndim} axes, {list(value.shape)}")
    return value.swapaxes(-1, -2)
