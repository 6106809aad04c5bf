"""Plans as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grokjax.live import duration, size
from grokjax.plan import cost
from grokjax.plan.plan import Bucket, Plan, curves_bytes, estimated_seconds, snapshot_count
from grokjax.plan.remarks import remarks
from grokjax.spec.identity import program_values
from grokjax.spec.matmuls import ALGORITHMS
from grokjax.spec.nulls import null_of
from grokjax.spec.shapes import parameter_count, parameter_shapes
from grokjax.spec.walk import decisive, roles_of
from grokjax.spec.wording import count_text, span
from grokjax.sweep.keys import split_key
from grokjax.sweep.nodes import shown
from grokjax.sweep.run import Sweep

MOST_VALUES = 8  # of an axis that are shown
MOST_APART = 6  # values that tell a bucket apart
ABSENT = object()  # no value of any key


def plan_text(plan: Plan, run_seconds: dict[int, float] | None = None) -> str:
    """What `grokjax plan` prints. run_seconds: bucket -> measured seconds a run-step."""
    counted = {"run": plan.sweep.runs, "bucket": plan.buckets, "chunk": plan.chunks}
    lines = [
        f"sweep {plan.sweep.name}: {', '.join(count_text(len(of), what) for what, of in counted.items())}",
        f"device: {plan.device.text}, {size(plan.device.memory)} each",
        *axes_lines(plan.sweep),
    ]
    apart = bucket_differences(plan)
    for bucket in plan.buckets:
        lines += _bucket_lines(plan, bucket, apart[bucket.index])
        if run_seconds:
            each = run_seconds[bucket.index]
            seconds = each * sum(run.spec.train.steps for run in bucket.runs)
            lines.append(f"  measured {each * 1e3:.3g} ms a run-step: {duration(seconds)} for the bucket")
    curves = sum(curves_bytes(bucket) for bucket in plan.buckets)
    snapshots = sum(snapshot_count(bucket) * cost.snapshot_bytes(bucket.spec) for bucket in plan.buckets)
    lines.append(f"disk: {size(curves + snapshots)} in all: curves {size(curves)}, snapshots {size(snapshots)}")
    lines.append(_time_line(plan, run_seconds))
    lines += [f"note: {note}" for note in remarks(plan)]
    return "\n".join(lines)


def _time_line(plan: Plan, run_seconds: dict[int, float] | None) -> str:
    """In all, as measured, or else as the model has it that widths are chosen by."""
    if run_seconds:
        steps = {bucket.index: sum(run.spec.train.steps for run in bucket.runs) for bucket in plan.buckets}
        seconds = sum(run_seconds[index] * steps[index] for index in steps)
        return f"time: {seconds / 3600:.3g} h ({duration(seconds)}) in all, as measured, with compiling on top"
    seconds = sum(estimated_seconds(plan, bucket) for bucket in plan.buckets)
    of = "from a model of this kind of processor, not measured"
    if all(bucket.tuned for bucket in plan.buckets):
        of = "from what grokjax bench --tune measured"
    return f"time: about {duration(max(1.0, seconds))}, estimated {of}, with compiling on top; --measure measures"


def axes_lines(sweep: Sweep) -> list[str]:
    """Each arm with its axes, their values and how many there are."""
    lines = []
    for arm, keys in sweep.axes.items():
        runs = [run for run in sweep.runs if arm in run.arms]
        lines.append(f"arm {arm}: {count_text(len(runs), 'run')}{'' if keys else ', nothing is varied'}")
        lines += [f"  {key}: {values_text([value_at(run.spec, key) for run in runs], key)}" for key in keys]
    return lines


def value_at(spec: Any, key: str) -> Any:
    """The value of a dotted key; None where the run has no such key."""
    value = spec
    for word in split_key(key):
        value = value.get(word) if isinstance(value, dict) else getattr(value, word, None)
    return value


def values_text(values: Sequence[Any], key: str = "") -> str:
    """`0, 0.5, 1 (3)`: each value once, numbers by size, long lists without their middle; null of a key with what
    it means there."""
    distinct = list({_value_text(value): value for value in values}.values())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct):
        distinct = sorted(distinct)
    texts = [_value_text(value, key) for value in distinct]
    if len(texts) > MOST_VALUES:
        texts = [*texts[: MOST_VALUES // 2], "...", *texts[-MOST_VALUES // 2 :]]
    return f"{', '.join(texts)} ({len(distinct):,})"


def bucket_differences(plan: Plan) -> dict[int, list[str]]:
    """bucket -> what its program is compiled for and not all others are."""
    programs = {bucket.index: program_values(bucket.spec) for bucket in plan.buckets}
    keys = dict.fromkeys(key for values in programs.values() for key in values)
    telling = [key for key in keys if len({_value_text(values.get(key, ABSENT)) for values in programs.values()}) > 1]
    return {
        index: [f"{key} {_value_text(values[key], key)}" for key in telling if key in values]
        for index, values in programs.items()
    }


def _bucket_lines(plan: Plan, bucket: Bucket, apart: list[str]) -> list[str]:
    spec = bucket.spec
    chunks = sum(chunk.bucket is bucket for chunk in plan.chunks)
    tuned = " (tuned)" if bucket.tuned else ""
    records = sum(cost.record_count(run.spec) for run in bucket.runs)
    parameters = parameter_count(parameter_shapes(spec))
    steps = span([run.spec.train.steps for run in bucket.runs])
    lines = [
        f"bucket {bucket.index}: {count_text(len(bucket.runs), 'run')} of {steps} steps on "
        f"{count_text(bucket.width, 'lane')}{tuned}, in {count_text(chunks, 'chunk')}",
        *([f"  apart from others: {_few(apart)}"] if apart else []),
        f"  {section_text(bucket, 'task')}",
        f"  {section_text(bucket, 'model')}: {parameters:,} parameters",
        f"  {section_text(bucket, 'loss')}; {spec.optimizer.name}{_matmul_text(spec.numerics.matmul)}",
        f"  segments of {bucket.schedule.steps:,} steps; {cost.step_flops(spec) / 1e9:.3g} GFLOP a run-step",
        f"  memory {size(bucket.memory)} a device; {records:,} records of {cost.metric_count(spec)} metrics; "
        f"curves {size(curves_bytes(bucket))}; {snapshot_count(bucket):,} snapshots of "
        f"{size(cost.snapshot_bytes(spec))}",
    ]
    if spec.log.probes:
        shares = ", ".join(f"{name} {max(share, 0.001):.1%}" for name, share in cost.probe_shares(spec).items())
        lines.append(f"  probes, about, of the work of training: {shares}")
    return lines


def _matmul_text(matmul: str) -> str:
    """`; matmul bf16_x6 (bf16 passes a product: 6)`; nothing of what is usual."""
    algorithm = ALGORITHMS.get(matmul)
    passes = f" ({algorithm.unit} passes a product: {algorithm.passes})" if algorithm else ""
    return "" if matmul == "highest" else f"; matmul {matmul}{passes}"


def section_text(bucket: Bucket, section: str) -> str:
    """The family of a section and the values there that all runs of a bucket share: `modular (op add, p 113)`."""
    name, *others = _values(bucket.runs[0].spec, section).items()
    shared = dict(others)
    for run in bucket.runs[1:]:
        values = _values(run.spec, section)
        shared = {key: value for key, value in shared.items() if values[key] == value}
    # what is off says nothing, and a section within the section has no room in a line
    family = type(getattr(bucket.spec, section))
    later = {name for name, role in roles_of(family).items() if role.later}  # are there only where they say something
    is_off = {key for key, value in shared.items() if value in (None, "none", False)} - later
    shown = [f"{key} {_value_text(value)}" for key, value in shared.items() if key not in is_off]
    return f"{name[1]} ({', '.join(shown)})" if shown else name[1]


def _values(spec: Any, section: str) -> dict[str, Any]:
    """Without sections within it, and later fields that have their default."""
    family = getattr(spec, section)
    values, telling = family.model_dump(), {decision.name for decision, _ in decisive(family)}
    return {key: value for key, value in values.items() if key in telling and not isinstance(value, dict)}


def _value_text(value: Any, key: str = "") -> str:
    null = null_of(key) if value is None else None
    if null:
        return f"null ({null.text})"
    if isinstance(value, list):
        return "-".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return shown(value)
    return shown(value) if value is None or isinstance(value, bool) else str(value)


def _few(texts: list[str]) -> str:
    more = f", and {len(texts) - MOST_APART} more" if len(texts) > MOST_APART else ""
    return ", ".join(texts[:MOST_APART]) + more
