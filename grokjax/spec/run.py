"""One run, as data: every key of a sweep's `base`, with its role, type, range, default and unit.

The classes hold values and facts, and nothing that needs JAX. How YAML becomes them is in `grokjax/sweep/`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from grokjax.spec.constraints import Constraint, NoConstraint
from grokjax.spec.fields import (
    Allowed,
    ByMatrix,
    Count,
    Distribution,
    Int,
    LogSpaced,
    Natural,
    NonNegative,
    Positive,
    RunId,
    Seed,
    Share,
    Step,
)
from grokjax.spec.losses import CrossEntropy, Loss
from grokjax.spec.models import Model, Transformer
from grokjax.spec.optimizers import AdamW, Optimizer
from grokjax.spec.probes import Probe
from grokjax.spec.roles import HyperCount, Later, Null, Observed, ObservedProgram, Role, Start
from grokjax.spec.section import Section, family_field
from grokjax.spec.tasks import Modular, Task


class FromRun(Section):
    results: Start[str]
    """A results directory, relative to the YAML, or its address in a bucket."""
    run: Start[RunId | None] = None
    """The run there that is started from; either this or `select`."""
    select: Start[dict[str, Allowed] | None] = None
    """Column of its runs() -> the value it must have, or a list of them: a run for each that has; {} is all."""
    step: Start[Step] = "final"
    """Which snapshot: final, its step, or e.g. `before slingshot:1`, the newest before that event."""
    optimizer: Start[Literal["keep", "reset"]] = "keep"
    """keep: moments, warm-up and batches go on as they were at that step; reset: as at any start."""


class Init(Section):
    scheme: Annotated[Start[Literal["paper", "fan_in", "torch_linear"] | None], Null("the model's own")] = None
    """null is paper for a transformer and torch_linear for an mlp."""
    scale: Start[Positive] = 1.0
    """Multiplies every parameter at the start (Omnigrok's alpha)."""
    scale_by_matrix: Annotated[ByMatrix, Role("hyper", times="scale")] = {}
    """Factors on scale, by matrix: `W_O` is every layer's, `W_O.0` the first layer's."""
    distribution: Annotated[dict[str, Distribution], Role("hyper", is_number=False, later=True)] = {}
    """By matrix, in place of the scheme, `{W_in: {normal: 0.1}}`: normal s, N(0, s^2); uniform a, U(-a, a); he c and
    fan_in c, c times N(0, 2/fan_in) and N(0, 1/fan_in); constant c; line m, m U(-1, 1) + (1 - m) times rows evenly
    along a line, from -1 to 1 in the first column and U(-0.3, 0.3) in the others."""
    frozen: Later[list[str]] = []
    """Matrices that stay as they start, without gradient, optimizer state and decay, outside of a fixed norm."""
    from_file: Annotated[Start[str | None], Null("no file")] = None
    """A safetensors file of starting weights; scales apply to it too. Relative to the YAML."""
    from_run: Annotated[Start[FromRun | None], Null("no run")] = None
    """A snapshot of a stored run; scales apply to its parameters too. Seed and split are that run's unless given."""

    @property
    def is_stored(self) -> bool:
        """Whether a run starts from a file or from another run."""
        return self.from_file is not None or self.from_run is not None

    @property
    def takes_state(self) -> bool:
        """Whether a run takes over another's optimizer state."""
        return self.from_run is not None and self.from_run.optimizer == "keep"


class Train(Section):
    steps: HyperCount[Annotated[Int, Field(ge=1, lt=2**31)]] = 40_000
    """Updates of the parameters."""
    batch: Annotated[Count | None, Role(program_name="batch"), Null("full batch", most=True, number="batch_size")] = (
        None
    )
    """Examples a step, drawn without replacement within an epoch; null is the full batch."""


Dropped = Annotated[float, Field(ge=0, lt=1)]


class Noise(Section):
    """Drawn at every step, from the run's seed and the step."""

    labels: Annotated[Share | None, Role("hyper", dtype="float32"), Null("none")] = None
    """Probability that a label is replaced by one drawn from all classes."""
    weights: Annotated[NonNegative | None, Role("hyper"), Null("none")] = None
    """Standard deviation of what is added to every parameter where a step's gradient is taken."""
    dropout: Annotated[Dropped | None, Role("hyper", dtype="float32"), Null("none")] = None
    """Probability that a number of what an MLP passes on is set to 0, the others growing in turn: of a transformer what
    each layer's MLP writes to the stream, of an mlp each hidden layer. In training only."""
    update: Annotated[NonNegative | None, Role("hyper"), Null("none")] = None
    """Standard deviation of what is added to every number of the optimizer's direction, before the learning rate."""


class Stop(Section):
    after_generalization: Annotated[Natural | None, Role("hyper", dtype="int32", null=-1), Null("never", most=True)] = (
        None
    )
    """Further steps once test accuracy has held; null trains to the end."""


class Numerics(Section):
    params: Literal["float32", "float64"] = "float32"
    """Precision of parameters, activations and gradients; the loss has its own, `loss.precision`."""
    matmul: Literal["highest", "high", "default", "bf16_x9", "bf16_x6", "bf16_x3", "tf32_x3", "tf32"] = "highest"
    """JAX's matmul precision; anything but highest may use TF32 or bf16 passes on an accelerator. Or one of its dot
    algorithms, float32 products in so many passes of bfloat16 or TF32, where the device has it."""


class Log(Section):
    every: ObservedProgram[Count] = 10
    """Steps between records."""
    eval_every: Annotated[ObservedProgram[Count | None], Null("automatic")] = None
    """Steps between test evaluations, a multiple of `every`; null is the first multiple from 100 on."""
    dense_first: ObservedProgram[Natural] = 0
    """Every step below this one is recorded."""
    snapshot_every: Annotated[Observed[Count | None], Null("the end only", most=True)] = 10_000
    """Steps between snapshots (parameters and optimizer state); null keeps the end only. The end is always kept."""
    snapshot_steps: Annotated[Observed[LogSpaced | None], Null("no others")] = None
    """`log:100`: snapshots at 100 log-spaced steps too, from 1 to train.steps."""
    probes: ObservedProgram[list[Annotated[SerializeAsAny[Probe], *family_field("probe")]]] = []
    """Further metrics, by the names of their probes."""

    @property
    def evaluation_steps(self) -> int:
        """Steps between test evaluations, also where `eval_every` is null."""
        return self.eval_every or -(-100 // self.every) * self.every

    @property
    def needs_start(self) -> bool:
        """Whether a probe reads the parameters at the run's own step 0."""
        return any(probe.needs_start for probe in self.probes)


class Events(Section):
    fit: Observed[Share] = 0.99
    """Train accuracy that counts as fit."""
    generalization: Annotated[Share, Role("observed", dtype="float32")] = 0.99
    """Test accuracy that counts as generalized."""
    hold: Annotated[Count, Role("observed", dtype="int32")] = 1
    """Records for which the accuracy must hold."""
    slingshot_floor: Annotated[Observed[NonNegative | None], Null("the loss's own")] = None
    """Train loss that a slingshot reaches at least; null: 1e-5, with hinge a hundredth of its margin."""


class Engine(Section):
    lanes: Annotated[Literal["auto"] | Count, Role("observed", compiled=True, program_name="lanes")] = "auto"
    """Runs trained at once by one program."""
    kernel: Annotated[Literal["xla", "fused"], Role("observed", compiled=True, later=True)] = "xla"
    """What a training step's hidden layers are computed by. fused: kernels (GPUs and TPUs) that never write them to
    memory, of an mlp and of a transformer of one layer on three tokens. It has not been measured on hardware."""


class Uses(Section):
    """A user's file of families of their own."""

    file: Observed[str]
    digest: str
    """SHA-256 of its content."""


class RunSpec(Section):
    """One run, resolved: every key has its value."""

    seed: Annotated[Seed, Role("hyper", dtype="uint32")] = 0
    """Decides starting weights, split and batches: the same ones at every width, precision and optimizer."""
    task: Annotated[SerializeAsAny[Task], *family_field("task")] = Modular()
    model: Annotated[SerializeAsAny[Model], *family_field("model")] = Transformer()
    init: Init = Init()
    loss: Annotated[SerializeAsAny[Loss], *family_field("loss")] = CrossEntropy()
    optimizer: Annotated[SerializeAsAny[Optimizer], *family_field("optimizer")] = AdamW()
    constraint: Annotated[SerializeAsAny[Constraint], *family_field("constraint")] = NoConstraint()
    train: Train = Train()
    noise: Annotated[Noise, Role(later=True)] = Noise()
    stop: Stop = Stop()
    numerics: Numerics = Numerics()
    log: Log = Log()
    events: Events = Events()
    engine: Engine = Engine()
    uses: Annotated[Uses | None, Role(later=True)] = None

    @classmethod
    def of(cls, sections: dict[str, Any]) -> RunSpec:
        """A spec of right sections, all of them: as `model_construct` makes it, at a tenth of the time. `sections` is
        kept, and not to be changed."""
        spec = cls.__new__(cls)
        object.__setattr__(spec, "__dict__", sections)
        object.__setattr__(spec, "__pydantic_fields_set__", GIVEN)
        object.__setattr__(spec, "__pydantic_extra__", None)
        object.__setattr__(spec, "__pydantic_private__", None)
        return spec

    @property
    def batch_size(self) -> int:
        """Examples of a step. With `task.online`, and no batch yet, 1."""
        return self.train.batch or self.task.train_size or 1

    @property
    def draws_in_steps(self) -> bool:
        """Whether the seed decides more than how a run starts."""
        noisy = self.noise != Noise() or any(part.draws for part in self.optimizer.parts)
        return self.train.batch is not None or noisy


DEFAULTS = {name: field.default for name, field in RunSpec.model_fields.items()}  # frozen, so they can be shared
GIVEN = set(DEFAULTS)
