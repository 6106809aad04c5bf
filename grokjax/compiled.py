"""What was read of programs that were compiled for an accelerator, as text. All of it is computed, nothing measured."""

from __future__ import annotations

from collections.abc import Iterator

from grokjax.aot.build import Compiled
from grokjax.live import duration, size
from grokjax.spec.wording import count_text


def compiled_text(compiled: Compiled) -> str:
    """Of one bucket."""
    return "\n".join(_lines(compiled))


def _lines(compiled: Compiled) -> Iterator[str]:
    bucket, memory, step, target = compiled.bucket, compiled.memory, compiled.run_step, compiled.target
    runs, lanes = count_text(len(bucket.runs), "run"), count_text(bucket.width, "lane")
    took = f"traced in {compiled.trace:.1f} s, compiled in {compiled.compile:.1f} s"
    yield f"bucket {bucket.index}: {runs}, {lanes}; {took}"
    yield (
        f"  memory: {size(memory.total)} ({size(memory.arguments)} of lanes and queue, {size(memory.temporary)} for a "
        f"step); the plan says {size(bucket.memory)}; {size(target.memory)} hold about {compiled.most_lanes:,} lanes"
    )
    yield (
        f"  a step: {step.kernels:.0f} kernels; a run-step: {step.bytes / 1e6:.1f} MB moved, "
        f"{step.flops / 1e9:.2f} GFLOP of matmuls"
    )
    by = "bandwidth" if step.bytes / target.bandwidth >= step.flops / compiled.peak else "matmuls"
    seconds = compiled.least_seconds * sum(run.spec.train.steps for run in bucket.runs)
    matmul = bucket.spec.numerics.matmul
    of = "float32" if matmul == "highest" else matmul
    peaks = f"{target.bandwidth / 1e12:.2f} TB/s, {compiled.peak / 1e12:.0f} TFLOP/s of {of}"
    yield (
        f"  a run-step takes at least {compiled.least_seconds * 1e6:.1f} us by its {by} ({peaks}); "
        f"all runs {duration(seconds)}"
    )
    yield from (f"  note: {what}" for what in _faults(compiled))


def _faults(compiled: Compiled) -> Iterator[str]:
    if compiled.callbacks:
        yield f"a step calls the host ({count_text(compiled.callbacks, 'time')})"
    if compiled.scatters:
        yield f"a step scatters ({count_text(compiled.scatters, 'time')}), which GPUs do with atomics or one by one"
    if compiled.loops:
        yield f"in a step {count_text(compiled.loops, 'loop')} asks the host whether it goes on"
    if compiled.memory.donated < compiled.lanes:
        yield f"of {size(compiled.lanes)} of lanes only {size(compiled.memory.donated)} are updated where they are"
    if compiled.memory.total > compiled.bucket.memory:
        yield "it takes more memory than the plan says"
