"""Networks: their parameters' shapes, and what a step of each costs. What each one computes is in `grokjax/models/`."""

from __future__ import annotations

from grokjax.spec.mlp import MLP
from grokjax.spec.model import Model
from grokjax.spec.transformer import Transformer

__all__ = ["MLP", "MODELS", "Model", "Transformer"]

MODELS: dict[str, type[Model]] = {"transformer": Transformer, "mlp": MLP}
