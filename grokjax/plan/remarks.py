"""What is said of a plan: what is slow about a sweep's shape, and what it may not have meant."""

from __future__ import annotations

from collections.abc import Iterator

from grokjax.plan import cost
from grokjax.plan.plan import MOST_MEMORY, Bucket, Device, Plan

PROBES_SHARE = 0.1  # of the work of training, from which the plan says what probes cost


def remarks(plan: Plan) -> list[str]:
    """What is slow about the sweep's shape, and what the sweep may not have meant."""
    notes = [*plan.sweep.warnings, *_lane_remarks(plan)]
    if any(bucket.spec.engine.kernel == "fused" for bucket in plan.buckets):
        notes.append("engine.kernel fused: how fast its kernels are has not been measured on any GPU or TPU")
    small = [bucket for bucket in plan.buckets if len(bucket.runs) < 4]
    if len(plan.buckets) > 4 and len(small) > len(plan.buckets) // 2:
        what = f"{len(plan.buckets)} programs, {len(small)} of them with under 4 runs: each compiles by itself"
        notes.append(
            f"{what}{_how_long(plan)} and leaves the device mostly idle. "
            "Axes over shapes (p, d_model, train_fraction, ...) cost this; seeds do not"
        )
    for bucket in plan.buckets:
        spec = bucket.spec
        share = cost.evaluation_flops(spec) / spec.log.evaluation_steps / cost.step_flops(spec)
        if share > 0.2 and spec.log.evaluation_steps < spec.train.steps:
            notes.append(f"bucket {bucket.index}: test evaluations add {share:.0%} to the work; raise log.eval_every")
        probes = cost.probe_shares(spec)
        if sum(probes.values()) > PROBES_SHARE:
            most = max(probes, key=lambda name: probes[name])
            key = "log.eval_every" if most == "progress" else "log.every"
            what = f"probes add about {sum(probes.values()):.0%} to the work, most of it {most} ({probes[most]:.0%})"
            notes.append(f"bucket {bucket.index}: {what}; raise {key}, or leave it out")
        if bucket.memory > MOST_MEMORY * plan.device.memory:
            need, there = f"{bucket.memory / 1e9:.3g}", f"{plan.device.memory / 1e9:.3g}"
            what = f"needs about {need} GB of the device's {there} GB; {_smaller(bucket, plan.device)}"
            notes.append(f"bucket {bucket.index}: {what}")
        if spec.log.every < 5 and spec.train.steps > 10_000:
            notes.append(f"bucket {bucket.index}: a record every {spec.log.every} steps costs time and disk")
    return notes


def _how_long(plan: Plan) -> str:
    """What compiling all programs takes, where that was measured: on CPUs."""
    if plan.device.platform != "cpu":
        return ""
    at_once = min(plan.device.count, cost.COMPILED_AT_ONCE)
    seconds = sum(cost.compile_seconds(bucket.spec) for bucket in plan.buckets) / at_once
    told = f"{seconds / 3600:.1f} h" if seconds > 3600 else f"{max(1, round(seconds / 60))} min"
    return f" (all of them in about {told})"


def _smaller(bucket: Bucket, device: Device) -> str:
    """What makes a bucket that is too large for the memory smaller."""
    if bucket.width > device.count:
        return f"engine.lanes below {bucket.width} needs less"
    return "it is one run a device, so the network must be smaller, or train.batch, or task.p"


def _lane_remarks(plan: Plan) -> list[str]:
    """Where the lanes are not those asked for, or far more than there are runs; what is alike is said once."""
    found: dict[str, list[int]] = {}
    for bucket in plan.buckets:
        for what in _about_lanes(bucket, plan.device):
            found.setdefault(what, []).append(bucket.index)
    return [f"bucket {', '.join(map(str, indexes))}: {what}" for what, indexes in found.items()]


def _about_lanes(bucket: Bucket, device: Device) -> Iterator[str]:
    asked, runs = bucket.spec.engine.lanes, len(bucket.runs)
    if not isinstance(asked, int):
        return
    if bucket.width > asked:
        yield f"engine.lanes {asked} is raised to {bucket.width}, a multiple of the {device.count} devices"
    if bucket.width < asked:
        yield f"engine.lanes {asked} is lowered to {bucket.width}, which the memory holds"
    if bucket.width >= 2 * max(runs, device.count):
        what = f"{bucket.width} lanes for {runs} run{'s' * (runs != 1)}"
        yield f"{what}: the others compute for nothing; lower engine.lanes"
