"""Probes: which runs have them, how many columns they record, and what they cost. What each one measures is in
`grokjax/probes/`.

Costs were measured on a CPU, and are right to a factor of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from grokjax.spec.section import Family
from grokjax.spec.shapes import is_matrix, parameter_count, parameter_shapes

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

MOST_PARALLELOGRAMS = 64  # operands, of which all pairs of pairs are compared
MOST_ELEMENTS = 720  # of a group, whose projections are matrices of so many rows


class Probe(Family):
    """Facts of a probe. Costs: `steps` of training that one evaluation is worth, FLOPs a parameter (`flops`), and
    forward passes over all examples (`forwards`)."""

    written_as_name: ClassVar[bool] = True
    at_evaluation: ClassVar[bool] = False  # measured with the test set, at log.eval_every; else at every record
    needs_start: ClassVar[bool] = False  # reads the parameters at the run's own step 0
    columns: ClassVar[int] = 1
    columns_by_matrix: ClassVar[int] = 0  # more of them, for each matrix
    steps: ClassVar[float] = 0.0
    flops: ClassVar[float] = 0.0
    forwards: ClassVar[float] = 0.0
    copies: ClassVar[int] = 0  # of the parameters, that a lane holds for it
    passes: ClassVar[int] = 1  # what is kept for the backward pass is kept so many times

    def refusal(self, spec: RunSpec) -> str | None:
        """Why such a run has no such probe, if it has not."""
        return None

    def column_count(self, spec: RunSpec) -> int:
        """Columns that it adds to a record; at most so many where some tasks or models have fewer."""
        return self.columns + self.columns_by_matrix * sum(map(is_matrix, parameter_shapes(spec)))

    def evaluation_flops(self, spec: RunSpec, step: float, forward: float) -> float:
        """FLOPs of one evaluation. step: of a training step; forward: of a forward pass of one example."""
        parameters = parameter_count(parameter_shapes(spec))
        return self.steps * step + self.flops * parameters + self.forwards * spec.task.examples * forward


class Margin(Probe):
    name: Literal["margin"] = "margin"
    columns: ClassVar[int] = 3
    steps: ClassVar[float] = 0.05

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.task.d_target:
            return None
        return f"margin compares the logits of classes, and the answers of {spec.task.name} are vectors: leave it out"


class Radial(Probe):
    name: Literal["radial"] = "radial"
    columns: ClassVar[int] = 9
    columns_by_matrix: ClassVar[int] = 9
    flops: ClassVar[float] = 300.0


class Drift(Probe):
    name: Literal["drift"] = "drift"
    needs_start: ClassVar[bool] = True
    columns: ClassVar[int] = 0
    columns_by_matrix: ClassVar[int] = 2
    flops: ClassVar[float] = 50.0
    copies: ClassVar[int] = 1


class Softmax(Probe):
    name: Literal["softmax"] = "softmax"
    columns: ClassVar[int] = 11
    steps: ClassVar[float] = 1.4

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.model.has_parts:
            return f"softmax reads the last layer's features, which {spec.model.name} does not tell: leave it out"
        if spec.loss.of_softmax:
            return None
        return f"softmax is of cross_entropy, which {spec.loss.name} is not: leave it out"


class AdamProbe(Probe):
    name: Literal["adam"] = "adam"
    columns: ClassVar[int] = 1
    columns_by_matrix: ClassVar[int] = 6
    flops: ClassVar[float] = 2e4  # sorting, for the quantiles, is slow

    def refusal(self, spec: RunSpec) -> str | None:
        if spec.optimizer.groups:
            return "adam reads the second moments of one optimizer, and optimizer.groups has several: leave one out"
        if spec.optimizer.has_second_moment:
            return None
        return f"adam reads second moments, which {spec.optimizer.name} has not: leave it out"


class Balance(Probe):
    name: Literal["balance"] = "balance"
    columns: ClassVar[int] = 1
    columns_by_matrix: ClassVar[int] = 2
    flops: ClassVar[float] = 300.0


class Sharpness(Probe):
    name: Literal["sharpness"] = "sharpness"
    columns: ClassVar[int] = 2
    steps: ClassVar[float] = 28.0
    copies: ClassVar[int] = 6
    passes: ClassVar[int] = 3  # what is kept is differentiated again


class Progress(Probe):
    name: Literal["progress"] = "progress"
    at_evaluation: ClassVar[bool] = True
    columns: ClassVar[int] = 14
    columns_by_matrix: ClassVar[int] = 1
    forwards: ClassVar[float] = 7.0

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.model.has_parts:
            return f"progress reads neurons and embeddings, which {spec.model.name} does not tell: leave it out"
        if spec.task.follows_cycle:
            return None
        return f"progress measures modular arithmetic, which {spec.task.name} is not: leave it out"


class LogitScale(Probe):
    name: Literal["logit_scale"] = "logit_scale"
    columns: ClassVar[int] = 2
    steps: ClassVar[float] = 0.05


class Neurons(Probe):
    name: Literal["neurons"] = "neurons"
    flops: ClassVar[float] = 20.0

    def column_count(self, spec: RunSpec) -> int:
        return 4 * spec.model.depth

    def refusal(self, spec: RunSpec) -> str | None:
        if spec.model.has_parts and spec.model.has_neurons:
            return None
        return f"neurons reads hidden layers, which {spec.model.name} has not or does not tell: leave it out"


class Circularity(Probe):
    name: Literal["circularity"] = "circularity"
    at_evaluation: ClassVar[bool] = True
    flops: ClassVar[float] = 500.0

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.model.has_parts or not spec.task.n_ctx:
            return f"circularity reads what tokens are embedded as, which {spec.model.name} does not tell: leave it out"
        if spec.task.follows_cycle:
            return None
        return f"circularity measures modular arithmetic, which {spec.task.name} is not: leave it out"


class RQI(Probe):
    name: Literal["rqi"] = "rqi"
    at_evaluation: ClassVar[bool] = True
    columns: ClassVar[int] = 2
    flops: ClassVar[float] = 500.0

    def refusal(self, spec: RunSpec) -> str | None:
        if "W_E" not in parameter_shapes(spec):
            return f"rqi reads one table W_E, which this {spec.model.name} has not: leave it out"
        if len(spec.task.operands) != 2:
            return f"rqi is of sums of two operands, which {spec.task.name} is not: leave it out"
        if spec.task.operand_values > MOST_PARALLELOGRAMS:
            return f"rqi compares all pairs of pairs, of at most {MOST_PARALLELOGRAMS} operands: leave it out"
        return None


class CircuitsProbe(Probe):
    name: Literal["circuits"] = "circuits"
    at_evaluation: ClassVar[bool] = True
    flops: ClassVar[float] = 2000.0

    def column_count(self, spec: RunSpec) -> int:
        return 9 + spec.model.attention_heads

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.model.attention_heads:
            return f"circuits reads attention, which {spec.model.name} has not: leave it out"
        if spec.task.asking_token is None:
            return f"circuits needs one token that asks, which {spec.task.name} has not: leave it out"
        return None


class IrrepsProbe(Probe):
    name: Literal["irreps"] = "irreps"
    at_evaluation: ClassVar[bool] = True
    flops: ClassVar[float] = 2000.0

    def column_count(self, spec: RunSpec) -> int:
        return 2 * min(spec.task.operand_values, 100)

    def refusal(self, spec: RunSpec) -> str | None:
        if not spec.model.has_parts:
            return f"irreps reads the weights at both ends, which {spec.model.name} does not tell: leave it out"
        if not spec.task.group_name:
            return f"irreps measures tasks of groups, which {spec.task.name} is not: leave it out"
        if spec.task.operand_values > MOST_ELEMENTS:
            return f"irreps is of groups of at most {MOST_ELEMENTS} elements: leave it out"
        return None


PROBES: dict[str, type[Probe]] = {
    "margin": Margin,
    "radial": Radial,
    "drift": Drift,
    "softmax": Softmax,
    "adam": AdamProbe,
    "balance": Balance,
    "sharpness": Sharpness,
    "progress": Progress,
    "logit_scale": LogitScale,
    "neurons": Neurons,
    "circularity": Circularity,
    "rqi": RQI,
    "circuits": CircuitsProbe,
    "irreps": IrrepsProbe,
}
