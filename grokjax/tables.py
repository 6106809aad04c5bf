"""Plans as text for a terminal."""

from __future__ import annotations

from typing import Any

from grokjax.live import duration, size
from grokjax.plan import cost
from grokjax.plan.plan import Bucket, Plan, curves_bytes, remarks, snapshot_count
from grokjax.spec.shapes import parameter_count, parameter_shapes


def plan_text(plan: Plan, run_seconds: dict[int, float] | None = None) -> str:
    """What `grokjax plan` prints. run_seconds: bucket -> measured seconds a run-step."""
    runs = plan.sweep.runs
    lines = [
        f"sweep {plan.sweep.name}: {len(runs)} runs, {len(plan.buckets)} buckets, {len(plan.chunks)} chunks",
        f"device: {plan.device.text}, {size(plan.device.memory)} each",
    ]
    for arm, keys in plan.sweep.axes.items():
        count = sum(arm in run.arms for run in runs)
        lines.append(f"arm {arm}: {count} runs over {', '.join(keys) or 'nothing'}")
    total_seconds = 0.0
    for bucket in plan.buckets:
        lines += _bucket_lines(plan, bucket)
        if run_seconds:
            each = run_seconds[bucket.index]
            seconds = each * sum(run.spec.train.steps for run in bucket.runs)
            total_seconds += seconds
            lines.append(f"  measured {each * 1e3:.3g} ms a run-step: {duration(seconds)} for the bucket")
    curves = sum(curves_bytes(bucket) for bucket in plan.buckets)
    snapshots = sum(snapshot_count(bucket) * cost.snapshot_bytes(bucket.spec) for bucket in plan.buckets)
    lines.append(f"disk: {size(curves + snapshots)} in all: curves {size(curves)}, snapshots {size(snapshots)}")
    if run_seconds:
        hours = total_seconds / 3600
        lines.append(f"time: {hours:.3g} h ({duration(total_seconds)}) in all, as measured, with compiling on top")
    lines += [f"note: {note}" for note in remarks(plan)]
    return "\n".join(lines)


def _bucket_lines(plan: Plan, bucket: Bucket) -> list[str]:
    spec = bucket.spec
    chunks = sum(chunk.bucket is bucket for chunk in plan.chunks)
    tuned = " (tuned)" if bucket.tuned else ""
    steps = sorted({run.spec.train.steps for run in bucket.runs})
    steps_text = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    records = sum(cost.record_count(run.spec) for run in bucket.runs)
    parameters = parameter_count(parameter_shapes(spec))
    lines = [
        f"bucket {bucket.index}: {len(bucket.runs)} runs of {steps_text} steps on {bucket.width} lanes{tuned}, "
        f"in {chunks} chunk{'s' if chunks > 1 else ''}",
        f"  {section_text(bucket, 'task')}",
        f"  {section_text(bucket, 'model')}: {parameters:,} parameters",
        f"  {section_text(bucket, 'loss')}; {spec.optimizer.name}",
        f"  segments of {bucket.schedule.steps:,} steps; {cost.step_flops(spec) / 1e9:.3g} GFLOP a run-step",
        f"  memory {size(bucket.memory)} a device; {records:,} records of {cost.metric_count(spec)} metrics; "
        f"curves {size(curves_bytes(bucket))}; {snapshot_count(bucket):,} snapshots of "
        f"{size(cost.snapshot_bytes(spec))}",
    ]
    if spec.log.probes:
        shares = ", ".join(f"{name} {max(share, 0.001):.1%}" for name, share in cost.probe_shares(spec).items())
        lines.append(f"  probes, about, of the work of training: {shares}")
    return lines


def section_text(bucket: Bucket, section: str) -> str:
    """The family of a section and the values there that all runs of a bucket share: `modular (op add, p 113)`."""
    name, *others = _values(bucket.runs[0].spec, section).items()
    shared = dict(others)
    for run in bucket.runs[1:]:
        values = _values(run.spec, section)
        shared = {key: value for key, value in shared.items() if values[key] == value}
    # what is off says nothing, and a section within the section has no room in a line
    shown = [f"{key} {_value_text(value)}" for key, value in shared.items() if value not in (None, "none", False)]
    return f"{name[1]} ({', '.join(shown)})" if shown else name[1]


def _values(spec: Any, section: str) -> dict[str, Any]:
    values = getattr(spec, section).model_dump()
    return {key: value for key, value in values.items() if not isinstance(value, dict)}


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
