"""`did you mean`: what others call our keys comes first, and no hint leads to another meaning."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.spec.families import FAMILIES
from grokjax.spec.run import RunSpec
from grokjax.sweep import synonyms
from grokjax.sweep.axes import ENTRY_KEYS, WORDS
from grokjax.sweep.expand import expand
from grokjax.sweep.keys import TOP, run_keys, suggest
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.spelling import did_you_mean, nearest
from grokjax.sweep.synonyms import KEYS, meaning_of, value_of

KNOWN = run_keys(FAMILIES)


def mistakes(text):
    with pytest.raises(SweepError) as caught:
        expand(parse_sweep(text, "s.yaml", Path(".")))
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize("word", KEYS)
def test_what_a_synonym_leads_to_is_a_key(word):
    meaning = KEYS[word]
    assert all(key in KNOWN or key in RunSpec.model_fields or key == "name" for key in meaning.keys)
    assert meaning.keys or meaning.remark
    assert meaning.same or meaning.remark


def test_a_word_has_one_entry_and_does_not_lead_to_itself():
    calls = [node for node in ast.walk(ast.parse(Path(synonyms.__file__).read_text())) if isinstance(node, ast.Call)]
    calls = [
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("_words", "_other", "_none")
    ]
    written = [word for call in calls if isinstance(call.args[0], ast.Constant)
               for word in str(call.args[0].value).split()]  # fmt: skip
    assert [word for word, count in Counter(written).items() if count > 1] == []
    assert set(written) == set(KEYS)
    assert all(word == synonyms.plain_word(word) and word not in meaning.keys for word, meaning in KEYS.items())


def test_the_values_and_words_that_others_have_lead_to_ours():
    for key, table in synonyms.VALUES.items():
        section, _, name = key.partition(".")
        options = [str(field.annotation) for field in KNOWN[key]]
        families = FAMILIES[section] if name == "name" else {}
        assert all(value in families or any(f"'{value}'" in text for text in options) for value in table.values())
    assert set(synonyms.TOP_WORDS.values()) <= set(TOP)
    assert set(synonyms.ENTRIES.values()) <= set(ENTRY_KEYS)
    assert all(any(kind in hint for kind in WORDS) for hint in synonyms.DISTRIBUTIONS.values())


def test_no_synonym_hides_a_key_of_another_meaning():
    """A word that is also our own key's last part means that key."""
    for word, meaning in KEYS.items():
        own = [key for key in KNOWN if key.rpartition(".")[2] == word]
        assert not own or set(own) & set(meaning.keys) or word in ("kind", "alpha", "schedule", "path", "dir")


# in which section others write it, what they write, and what is meant
MEANT = {
    "model.n_head": "heads", "model.n_heads": "heads", "model.num_heads": "heads", "model.nhead": "heads",
    "model.n_layer": "layers", "model.num_layers": "layers", "model.n_embd": "d_model", "model.dim_model": "d_model",
    "model.hidden_size": "d_model", "model.d_ff": "d_mlp", "model.act_fn": "activation",
    "model.d_vocab": "task.p", "model.layer_norm": "layernorm", "optimizer.learning_rate": "lr",
    "optimizer.wd": "weight_decay", "optimizer.betas": "b1", "optimizer.beta2": "b2", "model.hidden_dim": "d_mlp",
    "optimizer.warmup": "warmup_steps",
    "optimizer.grad_clip": "clip_norm", "optimizer.epochs": "train.steps", "optimizer.Weight_Decay": "weight_decay",
    "train.num_epochs": "steps", "train.max_steps": "steps", "train.batch_size": "batch", "train.lr": "optimizer.lr",
    "task.frac_train": "train_fraction", "task.train_frac": "train_fraction", "task.operation": "op",
    "task.prime": "p", "task.modulus": "p", "task.test_fraction": "train_fraction", "task.split.data_seed": "seed",
    "init.init_scale": "scale", "init.alpha": "scale", "log.save_every": "snapshot_every", "optimizer.type": "name",
    "constraint.norm": "name", "numerics.dtype": "params",
}  # fmt: skip


@pytest.mark.parametrize(("word", "meant"), MEANT.items())
def test_a_synonym_leads_to_what_is_meant(word, meant):
    (message,) = mistakes(f"base: {{{word}: 1}}\n")
    assert f"(did you mean {meant}?" in message


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.betas", "the pair is two keys, optimizer.b1 and optimizer.b2"),
        ("train.epochs", "steps are updates of the parameters: an epoch is one with train.batch null"),
        ("task.train_pct", "it is a share between 0 and 1, no percentage"),
        ("model.temperature", "it is the inverse"),
        ("model.dropout", "model transformer has no dropout (no network here has dropout)"),
        ("model.n_ctx", "the length of a sequence follows from the task"),
    ],
)
def test_where_values_mean_something_else_it_is_said(word, said):
    (message,) = mistakes(f"base: {{{word}: 1}}\n")
    assert said in message


def test_of_several_keys_that_of_the_network_at_hand_is_meant():
    (message,) = mistakes("base: {model: {name: mlp, hidden_dim: 4}}\n")
    assert "(did you mean widths? widths is a list" in message


# words that look like ours and mean something else: a hint would change a study silently
TRICKY = [
    ("n_head", ["d_head"]), ("min_lr", ["lr"]), ("test_fraction", ["train_fraction"]), ("nadam", ["adam", "adamw"]),
    ("radam", ["adam"]), ("adamax", ["adam", "adamw"]), ("float16", ["float64", "float32"]), ("W_X", ["W_V", "W_E"]),
    ("dim_model", ["model"]), ("inv_log_uniform", ["int_uniform"]), ("test/loss", ["train/loss"]), ("coupled",
    ["decoupled"]), ("b3", ["b1", "b2"]), ("mean", ["min"]), ("max", ["min"]), ("tanh", ["than_h"]),
    ("q_normal", ["normal"]), ("log_normal", ["normal"]), ("d_mlp", ["d_model"]), ("weight_norm", ["weight_decay"]),
    ("final_lr", ["final"]), ("seed2", ["seed"]), ("heads", ["d_head"]), ("p_train", ["train"]),
]  # fmt: skip


@pytest.mark.parametrize(("word", "options"), TRICKY)
def test_a_word_of_another_meaning_is_no_slip(word, options):
    assert did_you_mean(word, options) == ""


SLIPS = {
    "weigth_decay": "weight_decay", "weightdecay": "weight_decay", "d_modle": "d_model", "d_mpl": "d_mlp",
    "stpes": "steps", "step": "steps", "Lr": "lr", "lrr": "lr", "log-every": "log_every", "evrey": "every",
    "generalisation": "generalization", "optimiser": "optimizer", "parmeters": "parameters", "keeep": "keep",
}  # fmt: skip


@pytest.mark.parametrize(("word", "option"), SLIPS.items())
def test_a_slip_of_the_hand_is_known(word, option):
    assert nearest(word, [option, "model", "data"]) == option


def test_of_two_like_words_the_nearer_is_meant():
    assert nearest("adama", ["adamw", "adam"]) in ("adam", "adamw")
    assert nearest("stepss", ["step", "steps"]) == "steps"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20), st.lists(st.text(max_size=12), max_size=4))
def test_any_words_are_compared(word, options):
    assert nearest(word, [*options, "a.b", "optimizer.weight_decay"]) in (
        None,
        *options,
        "a.b",
        "optimizer.weight_decay",
    )


def test_no_key_is_suggested_for_a_word_of_its_own_meaning():
    for word in ("nothing", "theta", "entropy", "x", "", "....", "réseau", "a" * 500):
        assert suggest(word) == ""


@pytest.mark.parametrize(
    ("key", "value", "ours"),
    [
        ("task.op", "addition", "add"), ("task.op", "x*y", "multiply"), ("task.op", "x+y_mod_97", "add"),
        ("task.op", "x/y (% p)", "divide"), ("task.op", "x**2+x*y+y**2_mod_97", "quadratic"), ("task.op", "sort", None),
        ("task.op", "-", "subtract"), ("task.name", "modular_addition", "modular"),
        ("loss.name", "CE", "cross_entropy"),
    ],
)  # fmt: skip
def test_values_of_others_have_ours(key, value, ours):
    assert value_of(key, value) == ours


@pytest.mark.parametrize(
    ("base", "hint"),
    [
        ("task: {op: addition}", "(did you mean add?)"),
        ("task: {name: modular_addition}", "(did you mean modular?)"),
        ("optimizer: {name: AdamW}", "(did you mean adamw?)"),
        ("optimizer: {name: nadam}", ""),
        ("model: {activation: silu}", ""),
        ("loss: {name: MSE}", "(did you mean mse?)"),
    ],
)
def test_a_wrong_value_is_told_with_ours_if_that_is_meant(base, hint):
    (message,) = mistakes(f"base: {{{base}}}\n")
    assert message.endswith(hint)
    assert hint or "did you mean" not in message


def test_a_word_of_the_top_level_is_known_there():
    assert "params: unknown key (did you mean parameters?)" in mistakes("params: {}\n")[0]
    assert "include: unknown key (did you mean extends?)" in mistakes("include: a.yaml\n")[0]
    assert meaning_of("no such word") is None
