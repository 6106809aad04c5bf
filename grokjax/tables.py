"""Plans and results as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grokjax.live import duration, size
from grokjax.plan import cost
from grokjax.plan.plan import Bucket, Plan, curves_bytes, remarks, snapshot_count
from grokjax.spec.models import Transformer
from grokjax.spec.shapes import parameter_count, parameter_shapes

if TYPE_CHECKING:
    from grokjax.results.read import Results


def plan_text(plan: Plan, run_seconds: dict[int, float] | None = None) -> str:
    """What `grokjax plan` prints. run_seconds: bucket -> measured seconds a run-step."""
    runs = len(plan.sweep.runs)
    lines = [
        f"sweep {plan.sweep.name}: {runs} runs, {len(plan.buckets)} buckets, {len(plan.chunks)} chunks",
        f"device: {plan.device.text}, {size(plan.device.memory)} each",
    ]
    for arm, keys in plan.sweep.axes.items():
        count = sum(arm in run.arms for run in plan.sweep.runs)
        lines.append(f"arm {arm}: {count} runs over {', '.join(keys) or 'nothing'}")
    for bucket in plan.buckets:
        lines += _bucket_lines(plan, bucket)
        if run_seconds:
            total = sum(run.spec.train.steps for run in bucket.runs)
            per_run = run_seconds[bucket.index]
            hours = per_run * total / 3600
            lines.append(f"  measured {per_run * 1e3:.3g} ms a run-step: {hours:.3g} h for the bucket")
    curves = sum(curves_bytes(bucket) for bucket in plan.buckets)
    kept = sum(snapshot_count(bucket) * cost.snapshot_bytes(bucket.spec) for bucket in plan.buckets)
    lines.append(f"disk: {size(curves + kept)} in all: curves {size(curves)}, snapshots {size(kept)}")
    if run_seconds:
        every = sum(
            run_seconds[bucket.index] * sum(run.spec.train.steps for run in bucket.runs) for bucket in plan.buckets
        )
        lines.append(f"time: {every / 3600:.3g} h ({duration(every)}) in all, as measured, with compiling on top")
    return "\n".join(lines + [f"note: {note}" for note in remarks(plan)])


def _bucket_lines(plan: Plan, bucket: Bucket) -> list[str]:
    spec = bucket.spec
    model = spec.model
    chunks = sum(chunk.bucket is bucket for chunk in plan.chunks)
    steps = sorted({run.spec.train.steps for run in bucket.runs})
    shown = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    records = sum(cost.record_count(run.spec) for run in bucket.runs)
    if isinstance(model, Transformer):
        network = f"transformer {model.layers} x {model.d_model}, {model.heads} heads, mlp {model.d_mlp}"
    else:
        network = f"mlp {'-'.join(map(str, model.widths))} {model.input}"
    count = parameter_count(parameter_shapes(spec))
    precision = getattr(spec.loss, "precision", None)
    loss = f"{spec.loss.name} {precision}" if precision else spec.loss.name
    lines = [
        f"bucket {bucket.index}: {spec.task.op} mod {spec.task.p} ({spec.task.train_fraction:g} train), {network} "
        f"({count:,} parameters), {spec.optimizer.name}, {loss}",
        f"  {len(bucket.runs)} runs of {shown} steps on {bucket.width} lanes{' (tuned)' * bucket.tuned}, in {chunks} "
        f"chunk{'s' * (chunks > 1)}; segments of {bucket.schedule.steps:,} steps; "
        f"{cost.step_flops(spec) / 1e9:.3g} GFLOP a run-step",
        f"  memory {size(bucket.memory)} a device; {records:,} records of {cost.metric_count(spec)} metrics; "
        f"curves {size(curves_bytes(bucket))}; {snapshot_count(bucket):,} snapshots of "
        f"{size(cost.snapshot_bytes(spec))}",
    ]
    if spec.log.probes:
        shares = ", ".join(f"{name} {max(share, 0.001):.1%}" for name, share in cost.probe_shares(spec).items())
        lines.append(f"  probes, about, of the work of training: {shares}")
    return lines


def outcome_text(results: Results) -> str:
    """How many runs did what, an arm a line."""
    runs = results.runs()
    lines = [f"{results.manifest.name}: {len(runs)} runs"]
    run_steps, lane_steps = results.steps_taken()
    if lane_steps:
        lines[0] += f"; {run_steps:,} run-steps, lanes {run_steps / lane_steps:.0%} used"
    going = runs[runs["status"] == "running"]
    if len(going):
        reached = results.curves("train/loss", going["run_id"])["step"].max()
        lines[0] += f"; {len(going)} are training, at step {reached:,} of {going['train.steps'].max():,}"
    for arm, group in runs.groupby("arm", sort=False):
        status = ", ".join(f"{n} {name}" for name, n in group["status"].value_counts().items())
        done = ", ".join(f"{n} {name}" for name, n in group["outcome"].value_counts().items())
        spikes = int((group["slingshots"] > 0).sum())
        events = int(group["slingshots"].sum())
        what = f"arm {arm}: {status}" + (f"; {done}" if done else "")
        lines.append(f"{what}; {spikes} with slingshots ({events} in all)")
        times = group["generalization_step"].dropna()
        if len(times):
            lines.append(f"  generalized at step {times.median():,.0f} (median of {len(times)} runs that did)")
    return "\n".join(lines)
