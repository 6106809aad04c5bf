"""Which parameters are trained: all but those that `init.frozen` names, which stay as they start."""

from __future__ import annotations

from grokjax.models.params import Params
from grokjax.spec.run import RunSpec
from grokjax.spec.shapes import trained_shapes


def parted(spec: RunSpec, params: Params) -> tuple[Params, Params]:
    """(those that are trained, those that are frozen)"""
    trained = trained_shapes(spec)
    return (
        {name: value for name, value in params.items() if name in trained},
        {name: value for name, value in params.items() if name not in trained},
    )
