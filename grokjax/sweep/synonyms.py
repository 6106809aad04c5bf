"""What others call our keys (`key_words.py`), values and distributions: the two places that know.

Words come before any likeness of spelling: `n_head` is no slip for `d_head`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from grokjax.sweep.key_words import KEYS, Meaning
from grokjax.sweep.spelling import did_you_mean

TOP_WORDS = {
    **dict.fromkeys(("params", "hyperparameters", "axes", "grid", "space", "search_space"), "parameters"),
    **dict.fromkeys(("config", "defaults", "default", "fixed"), "base"),
    **dict.fromkeys(("include", "inherits", "inherit", "import", "parent", "_base_"), "extends"),
    **dict.fromkeys(("title",), "name"),
    **dict.fromkeys(("conditions", "groups", "variants"), "arms"),
}

# key -> what others write -> our value
VALUES: dict[str, dict[str, str]] = {
    "task.name": {
        **dict.fromkeys(("modular_addition", "modular_arithmetic", "mod_arithmetic", "mod_add"), "modular"),
        **dict.fromkeys(("sparse_parity", "k_sparse_parity", "xor"), "parity"),
        **dict.fromkeys(("groups", "group_composition", "permutation", "permutations", "composition"), "group"),
        **dict.fromkeys(("digit_addition", "n_digit_addition", "multi_digit_addition"), "addition"),
        **dict.fromkeys(("induction", "repeated_subsequence", "repeated_tokens"), "repeats"),
        **dict.fromkeys(("mnist", "dataset", "data", "file", "npz", "custom"), "arrays"),
    },
    "task.op": {
        **dict.fromkeys(("+", "addition", "sum", "plus", "x+y", "a+b", "x_plus_y"), "add"),
        **dict.fromkeys(("-", "subtraction", "minus", "sub", "x-y", "a-b", "x_minus_y"), "subtract"),
        **dict.fromkeys(("*", "multiplication", "mul", "times", "product", "x*y", "a*b"), "multiply"),
        **dict.fromkeys(("/", "division", "div", "x/y", "a/b"), "divide"),
        **dict.fromkeys(("rand", "x2xyy2_random"), "random"),
        **dict.fromkeys(("x**2+x*y+y**2", "x^2+xy+y^2", "x**2+xy+y**2", "x2xyy2"), "quadratic"),
    },
    "loss.name": {
        **dict.fromkeys(("ce", "crossentropy", "xent", "nll", "softmax_cross_entropy"), "cross_entropy"),
        **dict.fromkeys(("mse_loss", "l2", "mean_squared_error", "squared"), "mse"),
    },
    "optimizer.name": {
        **dict.fromkeys(
            ("schedule_free", "schedulefree", "sf_adamw", "adamw_schedule_free", "adamwschedulefree"),
            "schedule_free_adamw",
        ),
        **dict.fromkeys(("sgdschedulefree", "sgd_schedule_free"), "schedule_free_sgd"),
        **dict.fromkeys(("dadaptadam", "dadapt_adam", "dadaptadamw", "dadaptation"), "dadapt_adamw"),
        **dict.fromkeys(("signsgd", "sign"), "sign_sgd"),
        **dict.fromkeys(("sophiag", "sophiah", "sophia_g", "sophia_h"), "sophia"),
        **dict.fromkeys(("ogd", "optimistic_gd", "optimistic_sgd"), "optimistic_gradient_descent"),
    },
    "optimizer.schedule.name": {
        **dict.fromkeys(("step", "steplr", "step_lr", "stepwise"), "steps"),
        **dict.fromkeys(("exp", "exponentiallr", "exponential_lr", "exponential_decay"), "exponential"),
        **dict.fromkeys(("cosineannealing", "cosineannealinglr", "cosine_annealing", "cosine_decay"), "cosine"),
        **dict.fromkeys(("linearlr", "linear_decay"), "linear"),
    },
    "model.name": {
        **dict.fromkeys(("gpt", "decoder", "attention", "attn", "transformer_decoder"), "transformer"),
        **dict.fromkeys(("fc", "fcn", "ffn", "feedforward", "dense"), "mlp"),
    },
    "model.activation": {
        "linear": "identity",
        "none": "identity",
        "quadratic": "square",
        "gelu_new": "gelu",
        "leakyrelu": "leaky_relu",
        "lrelu": "leaky_relu",
    },
    "model.layernorm": {
        "ln": "pre",
        "pre_ln": "pre",
        "prenorm": "pre",
        "lnpre": "pre",
        "post_ln": "post",
        "postnorm": "post",
    },
    "model.positions": {"sin": "sinusoidal", "sinusoid": "sinusoidal", "standard": "learned", "learnable": "learned"},
    "model.mask": {"bidirectional": "none", "full": "none"},
}

# words of an axis's entry, and distributions, in other packages
ENTRIES = {
    "mean": "mu", "loc": "mu", "std": "sigma", "stddev": "sigma", "scale": "sigma", "low": "min", "high": "max",
    "minimum": "min", "maximum": "max", "lower": "min", "upper": "max", "vals": "values", "choices": "values",
    "options": "values", "dist": "distribution", "type": "distribution", "probs": "probabilities",
    "weights": "probabilities", "p": "probabilities", "alpha": "a", "beta": "b", "step": "q", "quantum": "q",
}  # fmt: skip
VALUES_NOT_EXPONENTS = " (did you mean log_uniform_values? its min and max are values, those of log_uniform exponents)"
DISTRIBUTIONS = {
    **dict.fromkeys(("loguniform", "log", "logarithmic", "log_unif"), VALUES_NOT_EXPONENTS),
    **dict.fromkeys(("choice", "choices", "category", "grid", "list"), " (did you mean categorical?)"),
    **dict.fromkeys(("randint", "int", "integer", "uniform_int", "discrete_uniform"), " (did you mean int_uniform?)"),
    **dict.fromkeys(("gaussian", "norm", "randn"), " (did you mean normal?)"),
    "quniform": " (did you mean q_uniform?)",
    "qloguniform": " (did you mean q_log_uniform_values?)",
    "qnormal": " (did you mean q_normal?)",
    "lognormal": " (did you mean log_normal?)",
    "fixed": " (did you mean constant?)",
}
# names that mean something else than the one of ours that they look like
OTHERS = frozenset([
    "adabound", "sgdw", "adamp", "silu",
    "selu", "celu", "elu", "swish", "relu6", "tanhshrink", "float16", "bfloat16", "half", "double", "tf32", "postln",
    "post_ln", "rmsnorm", "batchnorm", "cosh",
])  # fmt: skip


def meaning_of(word: Any) -> Meaning | None:
    return KEYS.get(plain_word(word))


def plain_word(word: Any) -> str:
    """As it stands in the tables here: without case, `-` as `_`."""
    return re.sub(r"[-\s]+", "_", str(word)[:100].strip().lower())


def value_of(key: str, value: Any) -> str | None:
    """Our value for what others write."""
    word = re.sub(r"\s+", "", str(value)[:100].lower())
    word = re.sub(r"[_(%]*(mod_?p?|%p|mod_?\d+|%\d+)\)?$", "", word) if key == "task.op" else word
    table = VALUES.get(key, {})
    return table.get(word) or table.get(word.replace("-", "_"))


def value_hint(key: str, value: Any, options: Iterable[str]) -> str:
    """' (did you mean x?)' for the value of a key that has names as its values."""
    options = list(options)
    known = value_of(key, value)
    if known in options:
        return f" (did you mean {known}?)"
    return "" if plain_word(value) in OTHERS else did_you_mean(value, options)


def entry_hint(word: Any, options: Iterable[str]) -> str:
    """' (did you mean x?)' for a word of an axis's entry."""
    known = ENTRIES.get(plain_word(word))
    return f" (did you mean {known}?)" if known else did_you_mean(word, options)


def distribution_hint(word: Any, options: Iterable[str]) -> str:
    options = list(options)
    named = plain_word(word)
    if named in options:
        return f" (did you mean {named}?)"
    return DISTRIBUTIONS.get(named.removesuffix("_distribution")) or did_you_mean(word, options)
