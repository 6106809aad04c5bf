"""One run, as data: every key of a sweep's `base`, with its type, range, default and unit.

The classes hold values and nothing else. What several keys must satisfy together is in `check.py`,
how YAML becomes these classes in `expand.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _whole(value: Any) -> Any:
    """Let 4e4 stand for 40000; anything else is left to the strict integer check."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _form(is_right: Callable[[Any], bool], what: str) -> BeforeValidator:
    """Refuses a value that is not of a form of its own with an error of kind `form`, which says what it must be."""

    def check(value: Any) -> Any:
        value = _whole(value)
        if not is_right(value):
            raise PydanticCustomError("form", "{what}", {"what": what})
        return value

    return BeforeValidator(check)


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


EVENT_KINDS = ("fit", "generalization", "loss_of_generalization", "slingshot", "divergence")
BEFORE = rf"before ({'|'.join(EVENT_KINDS)}):([1-9][0-9]{{0,8}})"


def _is_step(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return 1 <= value < 2**31
    return value == "final" or _matches(BEFORE)(value)


def _is_allowed(value: Any) -> bool:
    """What a column of runs may have to be: a plain value, or one of a list."""
    if isinstance(value, list):
        return bool(value) and not any(isinstance(item, list) or not _is_allowed(item) for item in value)
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


Int = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Int, Field(ge=0, lt=2**31)]
Count = Annotated[Int, Field(ge=1)]
Natural = Annotated[Int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
ByMatrix = dict[str, NonNegative]
RunId = Annotated[str, _form(_matches("[0-9a-f]{12}"), "12 hex digits, the run_id of a run of these results")]
Step = Annotated[
    int | str,
    _form(_is_step, f"final, a step from 1 on, or `before KIND:N` with KIND one of {', '.join(EVENT_KINDS)}"),
]
Allowed = Annotated[
    Any, _form(_is_allowed, "null, true or false, a finite number or text, or a list of such, which is not empty")
]
LogSpaced = Annotated[
    str, _form(_matches("log:([1-9][0-9]{0,3}|10000)"), "null or log:N with N a whole number from 1 to 10000")
]
Activation = Literal["relu", "gelu", "tanh", "square", "identity"]


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Split(Section):
    method: Literal["numpy", "python"] = "numpy"
    """numpy: `Generator(PCG64(seed))` permutes. python: `random.Random(seed).shuffle` of row-major pairs."""
    seed: Seed | None = None
    """null follows the run's seed."""


class Modular(Section):
    name: Literal["modular"] = "modular"
    op: Literal["add", "subtract", "multiply", "divide", "quadratic", "random"] = "add"
    """quadratic: x^2 + xy + y^2; divide: x / y over y != 0; random: one fixed random table a p."""
    p: Annotated[Int, Field(ge=2, le=4096)] = 113
    """Modulus. `divide` needs a prime."""
    train_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all pairs in the train set; int(fraction * pairs) of them."""
    split: Split = Split()


class Transformer(Section):
    name: Literal["transformer"] = "transformer"
    layers: Annotated[Int, Field(ge=1, le=256)] = 1
    d_model: Count = 128
    heads: Count = 4
    d_head: Count | None = None
    """null is d_model / heads."""
    d_mlp: Natural = 512
    """0 is attention-only."""
    activation: Activation = "relu"
    layernorm: Literal["none", "pre"] = "none"
    logit_scale: Positive = 1.0
    """Multiplies the logits (an inverse output temperature)."""


class MLP(Section):
    name: Literal["mlp"] = "mlp"
    widths: Annotated[list[Count], Field(min_length=1, max_length=256)] = [200, 200]
    """Hidden layers."""
    input: Literal["one_hot", "embedded"] = "one_hot"
    """Both operands side by side, as one-hot vectors or through one learned table W_E."""
    d_model: Count = 128
    """Width of W_E; read with `input: embedded` only."""
    activation: Activation = "relu"
    bias: bool = True
    logit_scale: Positive = 1.0
    """Multiplies the logits (an inverse output temperature)."""


class FromRun(Section):
    results: str
    """A results directory. Relative to the YAML."""
    run: RunId | None = None
    """The run there that is started from; either this or `select`."""
    select: dict[str, Allowed] | None = None
    """Column of its runs() -> the value it must have, or a list of them: a run for each that has; {} is all."""
    step: Step = "final"
    """Which snapshot: final, its step, or e.g. `before slingshot:1`, the newest before that event."""
    optimizer: Literal["keep", "reset"] = "keep"
    """keep: moments, warm-up and batches go on as they were at that step; reset: as at any start."""


class Init(Section):
    scheme: Literal["paper", "fan_in", "torch_linear"] | None = None
    """null is paper for a transformer and torch_linear for an mlp."""
    scale: Positive = 1.0
    """Multiplies every parameter at the start (Omnigrok's alpha)."""
    scale_by_matrix: ByMatrix = {}
    from_file: str | None = None
    """A safetensors file of starting weights; scales apply to it too. Relative to the YAML."""
    from_run: FromRun | None = None
    """A snapshot of a stored run; scales apply to its parameters too. Seed and split are that run's unless given."""


class CrossEntropy(Section):
    name: Literal["cross_entropy"] = "cross_entropy"
    precision: Literal["exact", "float32", "float64"] = "exact"
    """exact: float32 without cancellation; float32: `log_softmax`, which loses the tail; float64."""
    center_gradient: bool = False
    """Subtract from each example's gradient to the logits its mean over classes, which is 0 but for rounding."""


class MSE(Section):
    name: Literal["mse"] = "mse"
    """Squared distance to the one-hot label, mean over examples and classes."""


class _Steps(Section):
    lr: NonNegative = 1e-3
    warmup_steps: Natural = 0
    """Learning rate times min(step / warmup_steps, 1): with a warm-up, step 0 changes nothing."""
    clip_norm: Positive | None = None
    """Largest norm of the whole gradient; null does not clip."""
    lr_by_matrix: ByMatrix = {}
    """Factors on lr; 0 freezes the matrix (its weight decay too)."""
    weight_decay_by_matrix: ByMatrix = {}
    """Factors on weight_decay."""


class _Moments(_Steps):
    b1: Decay = 0.9
    b2: Decay = 0.98
    eps: NonNegative = 1e-8
    warmup_steps: Natural = 10


class AdamW(_Moments):
    name: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 1.0
    """Decoupled: W loses lr * weight_decay * W a step."""


class Adam(_Moments):
    name: Literal["adam"] = "adam"
    weight_decay: NonNegative = 0.0
    """Coupled: weight_decay * W is added to the gradient."""


class SGD(_Steps):
    name: Literal["sgd"] = "sgd"
    lr: NonNegative = 0.1
    momentum: Decay = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0
    decay: Literal["coupled", "decoupled"] = "coupled"


class NoConstraint(Section):
    name: Literal["none"] = "none"


class FixedNorm(Section):
    name: Literal["fixed_norm"] = "fixed_norm"
    scope: Literal["global", "matrix"] = "global"
    """global: one scalar over all parameters (Omnigrok); matrix: every W_ matrix by itself, vectors free."""
    radius: Positive | None = None
    """null is the norm at the start."""


class Train(Section):
    steps: Annotated[Int, Field(ge=1, lt=2**31)] = 40_000
    batch: Count | None = None
    """Examples a step, drawn without replacement within an epoch; null is the full batch."""


class Stop(Section):
    after_generalization: Natural | None = None
    """Further steps once test accuracy has held; null trains to the end."""


class Numerics(Section):
    params: Literal["float32", "float64"] = "float32"
    matmul: Literal["highest", "high", "default"] = "highest"
    """JAX's matmul precision; anything but highest may use TF32 or bf16 passes on an accelerator."""


class Log(Section):
    every: Count = 10
    """Steps between records."""
    eval_every: Count | None = None
    """Steps between test evaluations, a multiple of `every`; null is the first multiple from 100 on."""
    dense_first: Natural = 0
    """Every step below this one is recorded."""
    snapshot_every: Count | None = 10_000
    """Steps between snapshots (parameters and optimizer state); null keeps the end only. The end is always kept."""
    snapshot_steps: LogSpaced | None = None
    """`log:100`: snapshots at 100 log-spaced steps too, from 1 to train.steps."""
    probes: list[str] = []
    """Further metrics: margin, radial, drift, softmax, adam, balance, sharpness (at records), progress (at test
    evaluations)."""

    @property
    def evaluation_steps(self) -> int:
        """Steps between test evaluations, also where `eval_every` is null."""
        return self.eval_every or -(-100 // self.every) * self.every


class Events(Section):
    fit: Share = 0.99
    """Train accuracy that counts as fit."""
    generalization: Share = 0.99
    """Test accuracy that counts as generalized."""
    hold: Count = 1
    """Records for which the accuracy must hold."""


class Engine(Section):
    lanes: Literal["auto"] | Count = "auto"
    """Runs trained at once by one program."""


Model = Annotated[Transformer | MLP, Field(discriminator="name")]
Loss = Annotated[CrossEntropy | MSE, Field(discriminator="name")]
Optimizer = Annotated[AdamW | Adam | SGD, Field(discriminator="name")]
Constraint = Annotated[NoConstraint | FixedNorm, Field(discriminator="name")]


class RunSpec(Section):
    """One run, resolved: every key has its value."""

    seed: Seed = 0
    task: Modular = Modular()
    model: Model = Transformer()
    init: Init = Init()
    loss: Loss = CrossEntropy()
    optimizer: Optimizer = AdamW()
    constraint: Constraint = NoConstraint()
    train: Train = Train()
    stop: Stop = Stop()
    numerics: Numerics = Numerics()
    log: Log = Log()
    events: Events = Events()
    engine: Engine = Engine()


# Sections whose keys depend on their `name`; the first family is the default.
FAMILIES: dict[str, dict[str, type[Section]]] = {
    "task": {"modular": Modular},
    "model": {"transformer": Transformer, "mlp": MLP},
    "loss": {"cross_entropy": CrossEntropy, "mse": MSE},
    "optimizer": {"adamw": AdamW, "adam": Adam, "sgd": SGD},
    "constraint": {"none": NoConstraint, "fixed_norm": FixedNorm},
}
