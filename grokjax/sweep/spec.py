"""One run, as data: every key of a sweep's `base`, with its type, range, default and unit.

The classes hold values and nothing else. What several keys must satisfy together is in `check.py`,
how YAML becomes these classes in `expand.py`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _whole(value: Any) -> Any:
    """Let 4e4 stand for 40000; anything else is left to the strict integer check."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_whole)]
Seed = Annotated[Int, Field(ge=0, lt=2**31)]
Count = Annotated[Int, Field(ge=1)]
Natural = Annotated[Int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
ByMatrix = dict[str, NonNegative]
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


class Init(Section):
    scheme: Literal["paper", "fan_in", "torch_linear"] | None = None
    """null is paper for a transformer and torch_linear for an mlp."""
    scale: Positive = 1.0
    """Multiplies every parameter at the start (Omnigrok's alpha)."""
    scale_by_matrix: ByMatrix = {}
    from_file: str | None = None
    """A safetensors file of starting weights; scales apply to it too. Relative to the YAML."""
    from_run: None = None
    """Starting from a stored run is not available yet."""


class CrossEntropy(Section):
    name: Literal["cross_entropy"] = "cross_entropy"
    precision: Literal["exact", "float32", "float64"] = "exact"
    """exact: float32 without cancellation; float32: `log_softmax`, which loses the tail; float64."""


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
    """Steps between snapshots (only the final parameters are kept so far)."""
    probes: list[str] = []
    """Optional probes; none exist yet."""

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
