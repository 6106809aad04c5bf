"""What the numbers of a metric are counted in, for the axes that they lie along."""

from __future__ import annotations

from collections.abc import Iterable

from grokjax.spec.losses import LOSSES, Loss

SHARE, NORM, LOGITS = "share of examples", "L2 norm", "logits"
# The first that a metric's name starts with; a loss has the unit of its family.
UNITS = {
    "norm/": NORM,
    "grad_norm/": NORM,
    "update_norm/": NORM,
    "margin/": LOGITS,
    "softmax/margin": LOGITS,
    "softmax/logit_scale": LOGITS,
    "softmax/collapse": SHARE,
    "angular_step/": "radians",
    "radial_share/": "share",
    "adam/eps_share/": "share of entries",
    "adam/lr_": "learning rate",
    "drift/": "share of the start's norm",
    "init_cosine/": "cosine",
    "progress/gini": "Gini coefficient",
    "progress/neuron_share": "share of variance",
    "progress/logit_share": "share of variance",
}


def unit_of(metric: str, loss_unit: str = "") -> str:
    """The unit of a metric; empty where none is known."""
    if "loss" in metric:
        return loss_unit
    if metric.endswith("accuracy"):
        return SHARE
    return next((unit for start, unit in UNITS.items() if metric.startswith(start)), "")


def loss_unit(names: Iterable[str]) -> str:
    """The unit of losses of these families, where it is one."""
    units = {LOSSES.get(name, Loss).unit for name in names}
    return units.pop() if len(units) == 1 else ""
