"""compile: what a sweep's programs would be on an accelerator that is not here."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from grokjax.cli.app import Arms, Settings, SweepFile, bad_value, load_sweep

if TYPE_CHECKING:
    from grokjax.plan.plan import Chunk, Plan

# of XLA, before JAX starts: there is no device to try kernels on, and none may depend on timing
FLAGS = {"xla_gpu_autotune_level": "0", "xla_gpu_deterministic_ops": "true"}


@bad_value()
def compile_(
    sweep: SweepFile,
    target: Annotated[str, typer.Option("--for", metavar="NAME", help="h100, a100, v5e or v6e.")],
    settings: Settings = None,
    arm: Arms = None,
    lanes: Annotated[int | None, typer.Option(min=1, help="Lanes of each bucket; default as planned.")] = None,
) -> None:
    """Compile a sweep's programs for an accelerator that is not here.

    Says how long that takes, memory beside the plan's estimate, kernels, bytes and FLOPs of a step, and the least time
    that these can take: computed from what was compiled, nothing is measured.
    """
    prepare()
    from grokjax.aot.build import compile_for
    from grokjax.aot.targets import TARGETS, compile_device
    from grokjax.compiled import compiled_text
    from grokjax.plan.plan import make_plan
    from grokjax.sweep.spelling import did_you_mean

    if target not in TARGETS:
        raise ValueError(f"--for is {', '.join(TARGETS)}, not {target!r}{did_you_mean(target, list(TARGETS))}")
    chosen = TARGETS[target]
    given = [*(settings or []), *([f"engine.lanes={lanes}"] if lanes else [])]
    plan = make_plan(load_sweep(sweep, given, arm), chosen.device("not here"))
    device = compile_device(chosen)
    typer.echo(f"for one {chosen.kind}, which is not here: all that follows is computed from what XLA compiled for it")
    for chunk in first_chunks(plan):
        typer.echo(compiled_text(compile_for(chosen, device, chunk)))


def prepare() -> None:
    """Settings that JAX reads when it starts: the host traces, whatever else is here."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    missing = [f"--{name}={value}" for name, value in FLAGS.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([*flags.split(), *missing])
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.CRITICAL)  # that there is no such device is known


def first_chunks(plan: Plan) -> list[Chunk]:
    """Of each bucket, by its number."""
    first: dict[int, Chunk] = {}
    for chunk in plan.chunks:
        first.setdefault(chunk.bucket.index, chunk)
    return [first[index] for index in sorted(first)]
