"""Every family by its kind and name."""

from __future__ import annotations

from typing import Any

from grokjax.spec.constraints import CONSTRAINTS
from grokjax.spec.filters import FILTERS
from grokjax.spec.losses import LOSSES
from grokjax.spec.models import MODELS
from grokjax.spec.optax_optimizers import OF_OPTAX
from grokjax.spec.optimizers import OPTIMIZERS
from grokjax.spec.probes import PROBES
from grokjax.spec.run import RunSpec
from grokjax.spec.schedules import SCHEDULES
from grokjax.spec.section import Families
from grokjax.spec.tasks import TASKS

FAMILIES: Families = {
    "task": TASKS,
    "model": MODELS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS | OF_OPTAX,
    "schedule": SCHEDULES,
    "filter": FILTERS,
    "constraint": CONSTRAINTS,
    "probe": PROBES,
}


def with_families(added: Families) -> Families:
    """All families, and a user's own."""
    return {kind: {**ours, **added.get(kind, {})} for kind, ours in FAMILIES.items()}


def validate(values: dict[str, Any], families: Families = FAMILIES) -> RunSpec:
    """The run of nested values. Raises pydantic's ValidationError."""
    return RunSpec.model_validate(values, context={"families": families})
