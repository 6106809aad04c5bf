"""What the kernels of `engine.kernel: fused` can do, and what is said of a run that they are not for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from grokjax.spec.section import Problem

if TYPE_CHECKING:
    from grokjax.spec.run import RunSpec

ACTIVATIONS = ("relu", "gelu", "tanh", "square", "identity")
WIDEST, MOST_NEURONS = 512, 2048  # a layer's weights must fit on the chip: what it reads and writes, and its neurons


def too_wide(reads: int, neurons: int, writes: int) -> str | None:
    """Why the weights around a hidden layer do not fit on the chip, if so."""
    if max(reads, writes) > WIDEST:
        return f"its kernels are for layers that read and write up to {WIDEST} numbers, not {max(reads, writes)}"
    if neurons > MOST_NEURONS:
        return f"its kernels are for layers of up to {MOST_NEURONS} neurons, not {neurons}"
    return None


def kernel_problems(spec: RunSpec) -> Iterator[Problem]:
    """What of a run the kernels that it asks for cannot do."""
    if spec.engine.kernel != "fused":
        return
    key = "engine.kernel"
    own = f"{spec.model.name} is your own, and has no such kernels" if type(spec.model).function else None
    if what := own or spec.model.not_fused(spec.task):
        yield Problem(key, f"fused: {what}; use xla", ("model.name",))
    elif spec.model.nonlinearity not in ACTIVATIONS:
        what = f"fused: no kernel has {spec.model.nonlinearity}, only {', '.join(ACTIVATIONS)}; use xla"
        yield Problem(key, what, ("model.activation",))
    if spec.numerics.params != "float32":
        yield Problem(key, f"fused: its kernels are float32, not {spec.numerics.params}; use xla", ("numerics.params",))
    elif spec.loss.dtype(spec.numerics.params) == "float64":
        what = "fused: its kernels are of 32 bits throughout, and the loss is float64; use xla"
        yield Problem(key, what, ("loss.precision",))
    if spec.numerics.matmul != "highest":
        what = f"fused: its kernels multiply as numerics.matmul highest does, not {spec.numerics.matmul}; use xla"
        yield Problem(key, what, ("numerics.matmul",))
    if spec.noise.dropout is not None:
        yield Problem(key, "fused: its kernels drop nothing; use xla, or no noise.dropout", ("noise.dropout",))
