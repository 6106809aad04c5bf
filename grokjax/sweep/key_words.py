"""What others call our keys: those of W&B, PyTorch, Hugging Face, nanoGPT, TransformerLens and of grokking repositories
(Power et al., Nanda et al., Omnigrok, Grokfast)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """keys: where it stands with us, the likeliest first; none: nowhere. A key without a dot is one of any section.

    remark: what else is to be said, needed where the values mean something else. same: the values mean the same.
    anywhere: whether it means this in any section, and not only in that of the key.
    """

    keys: tuple[str, ...]
    remark: str = ""
    same: bool = True
    anywhere: bool = True


def _words(text: str, *keys: str, remark: str = "", same: bool = True) -> dict[str, Meaning]:
    return dict.fromkeys(text.split(), Meaning(keys, remark, same))


def _other(text: str, *keys: str, remark: str) -> dict[str, Meaning]:
    """Words whose values do not mean the same as ours."""
    return _words(text, *keys, remark=remark, same=False)


def _here(text: str, *keys: str, remark: str = "") -> dict[str, Meaning]:
    """Words of many meanings, which have this one in the section of the key."""
    return dict.fromkeys(text.split(), Meaning(keys, remark, same=not remark, anywhere=False))


def _none(text: str, remark: str) -> dict[str, Meaning]:
    return _words(text, remark=remark, same=False)


FULL_BATCH = "steps are updates of the parameters: an epoch is one with train.batch null, else examples / batch"
KEYS: dict[str, Meaning] = {
    # seeds
    **_words("seeds random_seed random_state rng_seed torch_seed global_seed manual_seed model_seed init_seed", "seed"),
    **_words("data_seed split_seed dataset_seed seed_data", "task.split.seed"),
    # the task
    **_words("label_noise noisy_labels corrupt_labels label_corruption", "noise.labels",
             remark="drawn anew at every step; rows that stay wrong are task.noisy"),
    **_words("weight_noise weight_noise_std", "noise.weights"),
    **_words("noise_factor update_noise", "noise.update"),
    **_words("noise_level n_noisy", "task.noisy"),
    **_words("drop_rate dropout_rate p_drop p_dropout dropout_prob mlp_dropout hidden_dropout_prob", "noise.dropout"),
    **_words("op operation oper operator math_operator binary_op binary_operation", "task.op"),
    **_other("fn fn_name func function task_type dataset dataset_name", "task.op", "task.name",
             remark="task.op names the operation: add, subtract, multiply, ..."),
    **_words("p prime modulus modulo mod mod_p modulo_p", "task.p"),
    **_other("d_vocab vocab_size n_vocab num_tokens n_tokens d_vocab_out num_classes n_classes output_dim", "task.p",
             remark="it follows from the task: p, and one for the equals sign"),
    **_words("frac_train train_frac fraction data_fraction frac train_ratio training_fraction training_frac"
             " train_split split_ratio frac_data train_data_fraction fraction_train train_portion",
             "task.train_fraction"),
    **_other("train_pct train_percent train_percentage train_data_pct data_pct percent_train", "task.train_fraction",
             remark="it is a share between 0 and 1, no percentage"),
    **_other("test_fraction test_frac val_fraction val_frac test_size test_split val_split test_ratio val_size",
             "task.train_fraction", remark="all pairs that are not trained on are the test set"),
    **_other("train_size n_train num_train train_points num_train_samples train_samples n_samples num_samples",
             "task.train_fraction", remark="it is a share of all pairs, no count"),
    # networks
    **_words("d_model dim_model model_dim n_embd n_embed embed_dim embedding_dim emb_dim d_embed d_emb"
             " embedding_size emb_size d_embedding d_embd"
             " hidden_size residual_dim dim", "model.d_model"),
    **_words("heads n_head n_heads num_heads nhead nheads num_attention_heads attention_heads attn_heads",
             "model.heads"),
    **_words("layers n_layer n_layers num_layers nlayers num_hidden_layers n_blocks num_blocks depth", "model.layers"),
    **_words("dim_head head_dim d_k d_v", "model.d_head"),
    **_words("d_ff d_ffn dim_feedforward ffn_dim intermediate_size mlp_dim d_inner n_inner mlp_hidden"
             " num_neurons n_neurons ff_dim dim_ff dim_mlp", "model.d_mlp"),
    **_other("hidden_dim d_hidden hidden hidden_sizes hidden_dims hidden_layers layer_sizes hidden_width width"
             " n_hidden num_hidden", "model.widths", "model.d_mlp",
             remark="widths is a list, the neurons of each hidden layer; a transformer's are model.d_mlp"),
    **_other("mlp_ratio ffn_mult expansion_factor", "model.d_mlp", remark="it is a number of neurons, no factor"),
    **_other("attn_only attention_only no_mlp use_mlp", "model.d_mlp", remark="0 is attention only"),
    **_other("input_type input_encoding", "model.input", remark="one_hot, embedded, summed or vector, of an mlp"),
    **_words("act act_fn act_type act_func activation_function activation_fn hidden_act nonlin nonlinearity"
             " non_linearity", "model.activation"),
    **_other("use_ln use_layernorm use_layer_norm ln layer_norm normalization normalization_type norm_type norm_first"
             " pre_norm layernorm_type layer_norm_type", "model.layernorm", remark="it is none, pre, post or stream"),
    **_words("use_bias biases", "model.bias"),
    **_words("qkv_bias attn_bias", "model.attention_bias"),
    **_words("attn_coeff attention_coeff", "model.attention_mix"),
    **_words("leaky_slope leak leaky_relu_slope", "model.negative_slope"),
    **_other("share_embeddings shared_embedding separate_embeddings tied_embedding", "model.tables",
             remark="of an mlp: shared, or each operand its own"),
    **_other("freeze frozen_params frozen_layers freeze_layers freeze_embedding freeze_embeddings requires_grad",
             "init.frozen", remark="a list of matrices: [W_E]"),
    **_other("temperature temp softmax_temp softmax_temperature", "model.logit_scale",
             remark="it is the inverse: logits are multiplied"),
    **_words("output_scale logit_multiplier inverse_temperature", "model.logit_scale"),
    **_other("model_type arch architecture network", "model.name", remark="it is transformer or mlp"),
    # the start
    **_words("init_scale initialization_scale weight_scale init_factor weight_multiplier init_alpha", "init.scale"),
    **_words("alpha", "init.scale",
             remark="Omnigrok's; Grokfast's stands in optimizer.filters, a scale of the output is model.logit_scale"),
    **_other("init_std initializer_range init_range sigma_init std gain", "init.scale", "init.distribution",
             remark="a factor on the scheme's own deviation; in init.distribution one is given: {W_in: {normal: 0.1}}"),
    **_other("embed_scale embedding_scale emb_scale last_layer_scale output_init", "init.scale_by_matrix",
             remark="a mapping of matrices to factors, {W_E: 0.5}"),
    **_other("initialization init_method init_type init_mode initializer", "init.scheme",
             remark="it is paper, fan_in or torch_linear"),
    **_other("checkpoint pretrained load_path resume resume_from_checkpoint weights init_from", "init.from_file",
             "init.from_run", remark="a safetensors file; a stored run is init.from_run"),
    **_here("run_id", "init.from_run.run"),
    **_here("directory dir results_dir", "init.from_run.results"),
    **_here("path", "init.from_run.results", "init.from_file", remark="a directory or a file"),
    # losses
    **_other("loss_fn loss_function loss_func loss_type criterion objective", "loss.name",
             remark="it is cross_entropy, mse, stablemax, hinge or logistic"),
    # optimizers
    **_words("lr learning_rate base_lr max_lr peak_lr lr_max initial_lr init_lr lr_init eta optimizer_lr adam_lr",
             "optimizer.lr"),
    **_words("weight_decay wd weightdecay weight_decay_rate decay_rate", "optimizer.weight_decay"),
    **_words("l2 l2_reg l2_coef l2_lambda l2_regularization reg_lambda", "optimizer.weight_decay",
             remark="coupled, as a term of the loss, in adam and sgd; decoupled in adamw"),
    **_other("step_size", "optimizer.lr", remark="the size of an update; a schedule spans the run and has no steps"),
    **_other("weight_decay_form weight_decay_kind decoupled decoupled_weight_decay", "optimizer.name",
             remark="adamw decays decoupled, adam coupled; sgd and others have optimizer.decay"),
    **_other("decay_to_init weight_decay_to_init decay_towards_init", "optimizer.decay_to",
             remark="decay_to: init pulls to the parameters at the start"),
    **_other("param_groups parameter_groups optimizers optimizer_groups optimizer_by_matrix", "optimizer.groups",
             remark="a mapping of matrices to optimizers, {W_E: {name: adamw}}"),
    **_words("beta1 beta_1 adam_beta1 adam_beta_1", "optimizer.b1"),
    **_words("beta2 beta_2 adam_beta2 adam_beta_2", "optimizer.b2"),
    **_other("betas adam_betas", "optimizer.b1", "optimizer.b2",
             remark="the pair is two keys, optimizer.b1 and optimizer.b2; `zip` moves them together"),
    **_words("epsilon adam_epsilon adam_eps", "optimizer.eps"),
    **_words("warmup warmup_iters num_warmup_steps n_warmup lr_warmup lr_warmup_steps", "optimizer.warmup_steps"),
    **_other("warmup_ratio warmup_epochs warmup_frac warmup_fraction", "optimizer.warmup_steps",
             remark="it is a number of steps"),
    **_words("grad_clip clip clip_grad clip_grad_norm max_grad_norm gradient_clip gradient_clip_val"
             " gradient_clipping grad_norm_clip", "optimizer.clip_norm"),
    **_other("clip_value clip_grad_value", "optimizer.clip_norm", remark="of the whole gradient, not of each number"),
    **_words("mom sgd_momentum", "optimizer.momentum"),
    **_other("optim opt optimizer_name optimizer_type", "optimizer.name",
             remark="it is adamw, adam, sgd or one of optax's"),
    **_other("scheduler lr_scheduler lr_schedule lr_scheduler_type lr_decay schedule", "optimizer.schedule",
             remark="a mapping with name: constant, cosine, linear, steps or exponential"),
    **_other("min_lr lr_min end_lr final_lr eta_min lr_end end_value", "optimizer.schedule",
             remark="its key `final` is the share of lr at the end: {name: cosine, final: 0.1}"),
    **_other("t_max decay_steps lr_decay_steps lr_decay_iters anneal_lr_steps anneal_lr decay_lr", "optimizer.schedule",
             remark="{name: cosine}, or linear, which span the run"),
    **_other("grokfast use_grokfast grokfast_alpha grokfast_lamb lamb grokfast_window", "optimizer.filters",
             remark="a list: [{name: grokfast_ema, alpha: 0.98, lamb: 2.0}], or grokfast_ma with a window"),
    **_other("orthograd use_orthograd", "optimizer.filters", remark="a list: [{name: orthograd}]"),
    **_other("fixed_norm target_norm norm_constraint", "constraint.radius", "constraint.name",
             remark="constraint: {name: fixed_norm, radius: ...} holds a norm"),
    **_here("norm w_norm weight_norm", "constraint.radius", "constraint.name",
            remark="constraint: {name: fixed_norm, radius: ...} holds a norm"),
    # how long
    **_words("num_steps n_steps max_steps total_steps train_steps training_steps num_train_steps iterations"
             " num_iterations n_iterations n_iters num_iters max_iters iters optimization_steps"
             " budget", "train.steps"),
    **_other("epochs epoch num_epochs n_epochs max_epochs nb_epochs num_train_epochs train_epochs", "train.steps",
             remark=FULL_BATCH),
    **_words("batch_size batchsize bs train_batch_size per_device_train_batch_size minibatch minibatch_size"
             " mini_batch_size", "train.batch", remark="null is the full batch"),
    **_other("full_batch batch_style", "train.batch", remark="null is the full batch, a number that of a minibatch"),
    **_other("early_stopping patience stopping_thresh stop_after stop_after_grok after_grok",
             "stop.after_generalization", remark="steps that a run is trained on after it has generalized"),
    # precision
    **_other("dtype data_type torch_dtype default_dtype float_precision", "numerics.params", "loss.precision",
             remark="it is float32 or float64; the loss has its own, loss.precision"),
    **_other("float64 x64 double use_float64", "numerics.params", remark="numerics: {params: float64}"),
    **_other("allow_tf32 tf32 matmul_precision float32_matmul_precision", "numerics.matmul",
             remark="highest, the default, is float32 throughout; tf32 is one too"),
    # what is recorded
    **_words("log_every log_interval log_freq log_steps logging_steps print_every log_every_n_steps", "log.every"),
    **_words("eval_interval eval_steps test_every val_every eval_freq evaluation_interval"
             " val_interval val_check_interval", "log.eval_every"),
    **_other("check_val_every_n_epoch eval_every_n_epochs", "log.eval_every", remark="it is a number of steps"),
    **_other("take_metrics_every_n_epochs log_every_n_epochs", "log.every", remark="it is a number of steps"),
    **_other("save_models save_weights save_checkpoints", "log.snapshot_every", remark="steps between two snapshots"),
    **_words("grok_threshold grokking_threshold generalization_threshold test_threshold", "events.generalization"),
    **_words("fit_threshold memorization_threshold", "events.fit"),
    **_words("save_every save_steps save_interval save_freq checkpoint_every checkpoint_interval ckpt_every"
             " snapshot_interval", "log.snapshot_every"),
    **_other("lanes num_workers n_jobs workers max_parallel num_parallel", "engine.lanes",
             remark="runs trained at once; auto, or a number"),
    **_words("type kind", "name"),
    # what is not there
    **_none("attn_dropout attn_pdrop resid_dropout resid_pdrop embd_pdrop weight_dropout attention_dropout"
            " attention_probs_dropout_prob", "only MLPs have dropout, noise.dropout"),
    **_none("n_ctx block_size seq_len max_len context_length n_positions max_seq_len max_context_len context_len"
            " max_position_embeddings", "the length of a sequence follows from the task"),
    **_none("input_dim in_features out_features", "what goes in and comes out follows from the task"),
    **_none("tie_word_embeddings tie_embeddings tied_embeddings weight_tying tie_weights",
            "the unembedding is a matrix of its own"),
    **_words("pos_emb pos_encoding positional_encoding positional_embedding_type pos_embed position_embedding_type"
             " use_pos_emb", "model.positions", same=False, remark="it is learned, sinusoidal or none"),
    **_none("rope rotary", "positions are learned, sinusoidal or none"),
    **_words("causal is_causal attention_dir", "model.mask", same=False, remark="it is causal or none"),
    **_none("num_kv_heads n_kv_heads", "every head has keys and values of its own"),
    **_none("use_attn_scale scale_attn attn_scale", "scores are divided by sqrt(d_head)"),
    **_none("layer_norm_eps layernorm_eps ln_eps", "the eps of a layer norm is 1e-5"),
    **_none("label_smoothing", "no loss here smooths labels"),
    **_none("gradient_accumulation_steps accumulate_grad_batches grad_accum", "a batch is computed at once"),
    **_none("fp16 bf16 amp mixed_precision", "numbers are float32 or float64, see numerics.params"),
    **_none("deterministic", "every run is deterministic"),
    **_none("compile torch_compile", "everything is compiled"),
    **_none("log_norms grad_norm log_grad_norm log_weight_norm", "all norms are recorded, also of gradients"),
    **_none("logdir log_dir output_dir out_dir save_dir", "`grokjax run --out` names the directory"),
    **_none("data_dir datadir data_path download_directory", "only the task arrays reads its examples, from its file"),
    **_none("device devices gpu gpus cuda num_gpus accelerator", "all devices that are there are used"),
    **_none("use_wandb wandb_project wandb_entity log_wandb wandb tags report_to wandb_run_name run_name",
            "`grokjax run --wandb` is how"),
}  # fmt: skip

# words for the keys of the top level
