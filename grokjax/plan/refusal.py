"""What a device cannot train, in words, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokjax.sweep.load import Mistake, SweepError
from grokjax.sweep.run import Sweep

if TYPE_CHECKING:
    from grokjax.plan.plan import Device


def refuse_what_cannot_be(sweep: Sweep, device: Device) -> None:
    """Raises SweepError where a run asks for what such a device has not."""
    if device.platform == "cpu" and any(run.spec.engine.kernel == "fused" for run in sweep.runs):
        what = f"fused is for GPUs and TPUs, and here is {device.text}; use xla"
        raise SweepError([Mistake(sweep.file or sweep.name, 0, 0, "engine.kernel", what)])
