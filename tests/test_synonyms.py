"""`did you mean`: what others call our keys comes first, and no hint leads to another meaning."""

import ast
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokjax.spec.families import FAMILIES
from grokjax.spec.pair_tasks import OPERATIONS
from grokjax.spec.run import RunSpec
from grokjax.sweep import key_words, synonyms
from grokjax.sweep.axes import ENTRY_KEYS, WORDS
from grokjax.sweep.expand import expand
from grokjax.sweep.key_words import KEYS
from grokjax.sweep.keys import TOP, run_keys, suggest
from grokjax.sweep.load import SweepError, parse_sweep
from grokjax.sweep.spelling import did_you_mean, nearest
from grokjax.sweep.synonyms import meaning_of, value_of

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
    calls = [node for node in ast.walk(ast.parse(Path(key_words.__file__).read_text())) if isinstance(node, ast.Call)]
    calls = [
        call
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("_words", "_other", "_here", "_none")
    ]
    written = [word for call in calls if isinstance(call.args[0], ast.Constant)
               for word in str(call.args[0].value).split()]  # fmt: skip
    assert [word for word, count in Counter(written).items() if count > 1] == []
    assert set(written) == set(KEYS)
    assert all(word == synonyms.plain_word(word) and word not in meaning.keys for word, meaning in KEYS.items())


def test_the_values_and_words_that_others_have_lead_to_ours():
    for key, table in synonyms.VALUES.items():
        section, _, name = key.partition(".")
        options = [str(field.annotation) for field in KNOWN[key]] + [str(tuple(OPERATIONS))]
        families = FAMILIES[section] if name == "name" else {}
        assert all(value in families or any(f"'{value}'" in text for text in options) for value in table.values())
    assert set(synonyms.TOP_WORDS.values()) <= set(TOP)
    assert set(synonyms.ENTRIES.values()) <= set(ENTRY_KEYS)
    assert all(any(kind in hint for kind in WORDS) for hint in synonyms.DISTRIBUTIONS.values())


def test_no_synonym_hides_a_key_of_another_meaning():
    """A word that is also our own key's last part means that key."""
    for word, meaning in KEYS.items():
        own = [key for key in KNOWN if key.rpartition(".")[2] == word]
        others = ("kind", "alpha", "eta", "decay_rate", "schedule", "path", "dir", "weights", "betas")
        assert not own or set(own) & set(meaning.keys) or word in others


# section in which others write them -> what is meant -> their words: of PyTorch, Hugging Face, TransformerLens,
# nanoGPT, Lightning, optax, W&B, and the code of Power et al., Nanda et al., Omnigrok, Grokfast
MEANT = {
    "model": {
        "heads": "n_head n_heads num_heads nhead num_attention_heads attn_heads",
        "layers": "n_layer n_layers num_layers num_hidden_layers depth num_blocks n_blocks",
        "d_model": "n_embd dim_model hidden_size embed_dim emb_dim embedding_size d_embedding dim",
        "d_mlp": "d_ff dim_feedforward intermediate_size ffn_dim ff_dim mlp_dim n_inner mlp_ratio hidden_dim width"
        " n_hidden num_neurons attn_only no_mlp",
        "d_head": "head_dim dim_head d_k d_v",
        "activation": "act_fn act_type hidden_act activation_function non_linearity nonlinearity",
        "layernorm": "layer_norm use_ln norm_first normalization_type layernorm_type",
        "logit_scale": "temperature softmax_temp output_scale",
        "name": "type arch model_type architecture model",
        "task.p": "d_vocab vocab_size n_vocab d_vocab_out num_classes",
        "init.scale": "init_scale initializer_range weight_scale",
        "init.scheme": "init_mode initialization",
    },
    "optimizer": {
        "lr": "learning_rate base_lr max_lr peak_lr init_lr initial_lr step_size eta",
        "weight_decay": "wd Weight_Decay weightdecay l2 l2_reg",
        "b1": "betas beta1 adam_beta1 beta_1",
        "b2": "beta2 adam_beta2 beta_2",
        "eps": "epsilon adam_epsilon adam_eps",
        "warmup_steps": "warmup warmup_iters num_warmup_steps warmup_ratio",
        "clip_norm": "grad_clip max_grad_norm gradient_clip_val clip_grad_norm clip_value",
        "schedule": "scheduler lr_scheduler lr_scheduler_type lr_decay min_lr eta_min end_lr T_max decay_steps"
        " lr_decay_iters decay_lr anneal_lr anneal_lr_steps",
        "filters": "grokfast lamb use_grokfast",
        "name": "optim opt optimizer_name type weight_decay_form decoupled",
        "train.steps": "epochs num_epochs max_iters",
        "init.scale": "alpha",
    },
    "train": {
        "steps": "num_epochs n_epochs max_epochs max_steps num_steps total_steps max_iters iterations budget"
        " optimization_steps num_train_epochs",
        "batch": "batch_size batchsize per_device_train_batch_size minibatch_size full_batch batch_style",
        "optimizer.lr": "lr learning_rate",
        "optimizer.weight_decay": "weight_decay wd",
        "stop.after_generalization": "early_stopping patience stopping_thresh",
        "log.snapshot_every": "save_every save_interval",
        "log.eval_every": "eval_interval eval_every",
        "seed": "seed random_seed",
        "loss.name": "criterion loss_fn",
    },
    "task": {
        "p": "prime modulus mod",
        "op": "operation math_operator fn_name fn operator binary_op",
        "train_fraction": "frac_train train_frac training_fraction train_data_pct data_fraction train_ratio"
        " train_points test_fraction test_size val_size",
        "task.split.seed": "data_seed split_seed",
        "train.batch": "batch_size",
    },
    "task.split": {"seed": "data_seed split_seed"},
    "init": {
        "scale": "init_scale initialization_scale alpha init_std std gain",
        "scheme": "init_type initialization init_method",
        "scale_by_matrix": "embed_scale last_layer_scale",
        "from_file": "checkpoint pretrained weights load_path path init_from",
    },
    "log": {
        "every": "log_every log_interval logging_steps log_every_n_steps print_every log_freq"
        " take_metrics_every_n_epochs",
        "eval_every": "eval_interval eval_steps test_every val_interval check_val_every_n_epoch",
        "snapshot_every": "save_every save_interval save_steps checkpoint_every save_models",
    },
    "loss": {"name": "loss_fn criterion type", "model.logit_scale": "temperature", "precision": "dtype"},
    "constraint": {"name": "norm fixed_norm weight_norm target_norm type"},
    "numerics": {"params": "dtype torch_dtype float64 x64", "matmul": "allow_tf32 tf32 matmul_precision"},
    "stop": {"after_generalization": "patience early_stopping stop_after_grok"},
    "events": {"generalization": "grok_threshold test_threshold", "fit": "fit_threshold"},
    "engine": {"lanes": "num_workers n_jobs max_parallel"},
}
MEANT_WORDS = [
    (f"{section}.{word}", meant)
    for section, means in MEANT.items()
    for meant, words in means.items()
    for word in words.split()
]


@pytest.mark.parametrize(("word", "meant"), MEANT_WORDS)
def test_a_synonym_leads_to_what_is_meant(word, meant):
    (message,) = mistakes(f"base: {{{word}: 1}}\n")
    assert f"(did you mean {meant}?" in message


# what has no place here, or a meaning that depends: no key is named, and what is so is told where that is known
NO_PLACE = {
    "optimizer": "amsgrad maximize foreach fused dampening eps_root gamma lr_gamma milestones lr_step last_epoch beta3"
    " nu centered rho l1_reg window_size mu_dtype ema_decay trust_ratio grad_accum",
    "model": "resid_pdrop attention_dropout attention_probs_dropout_prob n_ctx block_size seq_len"
    " max_position_embeddings tie_word_embeddings tie_weights rope"
    " n_kv_heads use_attn_scale layer_norm_eps rmsnorm rms_norm batch_norm gated_mlp residual"
    " in_features compile kdim",
    "task": "group path digits num_digits operand_length k n base shuffle data_dir root method",
    "train": "grad_accum fp16 bf16 amp deterministic compile label_smoothing time_limit method drop_last"
    " target_accuracy eval_batch_size",
    "log": "wandb project entity tags run_name logdir output_dir dir path metrics verbose grad_norm weight_norm"
    " log_norms hessian eval_iters",
    "init": "method kaiming xavier zero_init mup run step results",
    "loss": "label_smoothing weight ignore_index l1 focal",
    "constraint": "sphere max_norm projection method",
    "numerics": "fp16 bf16 deterministic compile device",
    "stop": "threshold target min_delta acc",
    "engine": "devices gpus count vmap",
}


@pytest.mark.parametrize("word", [f"{section}.{word}" for section, words in NO_PLACE.items() for word in words.split()])
def test_no_key_is_named_for_what_has_no_place(word):
    (message,) = mistakes(f"base: {{{word}: 1}}\n")
    assert "did you mean" not in message


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.step_size", "the size of an update; a schedule spans the run and has no steps"),
        ("optimizer.min_lr", "its key `final` is the share of lr at the end: {name: cosine, final: 0.1}"),
        ("optimizer.weight_decay_form", "adamw decays decoupled, adam coupled"),
        ("model.layer_norm_eps", "the eps of a layer norm is 1e-5"),
        ("model.rope", "positions are learned, sinusoidal or none"),
        ("model.attn_only", "0 is attention only"),
        ("log.output_dir", "`grokjax run --out` names the directory"),
        ("train.bf16", "numbers are float32 or float64"),
        ("optimizer.betas", "the pair is two keys, optimizer.b1 and optimizer.b2"),
        ("train.epochs", "steps are updates of the parameters: an epoch is one with train.batch null"),
        ("task.train_pct", "it is a share between 0 and 1, no percentage"),
        ("model.temperature", "it is the inverse"),
        ("model.attn_pdrop", "model transformer has no attn_pdrop (only MLPs have dropout, noise.dropout)"),
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
        ("task: {name: sparse_parity}", "(did you mean parity?)"),
        ("task: {name: mnist}", "(did you mean arrays?)"),
        ("task: {name: induction}", "(did you mean repeats?)"),
        ("optimizer: {name: AdamW}", "(did you mean adamw?)"),
        ("optimizer: {name: adamp}", ""),
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
