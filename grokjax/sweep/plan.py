"""From runs to buckets, chunks and lanes: a pure function of the sweep and the device."""

from __future__ import annotations

from dataclasses import dataclass

from grokjax.sweep import cost
from grokjax.sweep.expand import Run, Sweep
from grokjax.sweep.identity import program_key
from grokjax.sweep.shapes import parameter_count, parameter_shapes
from grokjax.sweep.spec import RunSpec

# Lane-steps are wide enough at this many FLOPs; more lanes then only leave the cache (CPU) or fill memory.
FULL_STEP = {"cpu": 4e8}
MOST_LANES = {"cpu": 64}
# A step takes about OVERHEAD + FLOPs / RATE seconds; a segment should take SEGMENT_SECONDS.
OVERHEAD = {"cpu": 1e-4, "gpu": 5e-4, "tpu": 5e-4}
RATE = {"cpu": 5e10, "gpu": 1e13, "tpu": 1e13}
SEGMENT_SECONDS = 8.0  # a longer one answers Ctrl-C late, a shorter one makes many files
MEMORY_SHARE = 0.6
RECORD_BYTES = 2**28  # of one segment's stacked records


@dataclass(frozen=True)
class Device:
    """What a plan depends on besides the sweep."""

    platform: str  # cpu | gpu | tpu
    kind: str
    count: int
    memory: int  # bytes a device
    versions: str


@dataclass(frozen=True)
class Schedule:
    """Steps of one segment: `evals` evaluations, each followed by `records` records `every` steps apart."""

    every: int
    records: int
    evals: int

    @property
    def steps(self) -> int:
        return self.every * self.records * self.evals


@dataclass(frozen=True)
class Bucket:
    """All runs of one program."""

    index: int
    spec: RunSpec  # of its first run; only its static part is read
    runs: tuple[Run, ...]
    width: int  # lanes
    schedule: Schedule
    dense: Schedule | None  # of the segments that a chunk begins with, with a record every step
    dense_segments: int
    memory: int  # bytes on each device

    @property
    def segments(self) -> int:
        """Segments of a chunk whose longest run trains to the end."""
        longest = max(run.spec.train.steps for run in self.runs)
        dense = self.dense_segments * self.dense.steps if self.dense else 0
        return self.dense_segments + max(0, -(-(longest - dense) // self.schedule.steps))


@dataclass(frozen=True)
class Chunk:
    """Runs of one bucket that are trained together; the unit of scheduling and retry."""

    index: int
    bucket: Bucket
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Plan:
    sweep: Sweep
    device: Device
    buckets: tuple[Bucket, ...]
    chunks: tuple[Chunk, ...]


def make_plan(sweep: Sweep, device: Device) -> Plan:
    """Group runs by program, choose each bucket's width and segment length, cut it into chunks."""
    grouped: dict[str, list[Run]] = {}
    for run in sweep.runs:
        grouped.setdefault(program_key(run.spec), []).append(run)
    buckets = tuple(_bucket(index, tuple(runs), device) for index, runs in enumerate(grouped.values()))
    chunks: list[Chunk] = []
    for bucket in buckets:
        # runs of like length share a chunk, so that few lanes wait for a long neighbour
        order = sorted(bucket.runs, key=lambda run: run.spec.train.steps)
        for start in range(0, len(order), bucket.width):
            chunks.append(Chunk(len(chunks), bucket, tuple(order[start : start + bucket.width])))
    return Plan(sweep, device, buckets, tuple(chunks))


def _bucket(index: int, runs: tuple[Run, ...], device: Device) -> Bucket:
    spec = runs[0].spec
    width = choose_width(spec, len(runs), device)
    schedule, dense, dense_segments = schedules(spec, max(run.spec.train.steps for run in runs), width, device)
    memory = cost.lane_bytes(spec) * width // device.count
    return Bucket(index, spec, runs, width, schedule, dense, dense_segments, memory)


def choose_width(spec: RunSpec, runs: int, device: Device) -> int:
    """Lanes of a chunk: a multiple of the device count, chunks of a bucket as equal as can be."""
    if isinstance(spec.engine.lanes, int):
        most = spec.engine.lanes
    else:
        fits = int(MEMORY_SHARE * device.memory / cost.lane_bytes(spec)) * device.count
        wide = int(FULL_STEP.get(device.platform, 1e15) / cost.step_flops(spec)) * device.count
        most = min(max(wide, 4 * device.count), MOST_LANES.get(device.platform, 4096) * device.count, max(fits, 1))
        chunks = -(-runs // most)
        most = -(-runs // chunks)
    return -(-most // device.count) * device.count


def schedules(spec: RunSpec, steps: int, width: int, device: Device) -> tuple[Schedule, Schedule | None, int]:
    """The segment that a bucket repeats; before it, where `log.dense_first` asks for every step, others and how many.

    Segments of a bucket are equal and fill the run: lanes that end within one only wait.
    """
    every = min(spec.log.every, steps)
    window = min(spec.log.evaluation_steps, -(-steps // every) * every)  # steps from one evaluation to the next
    dense_steps = -(-min(spec.log.dense_first, steps) // window) * window
    flops = (cost.step_flops(spec) + cost.evaluation_flops(spec) / window) * width / device.count
    most = SEGMENT_SECONDS / (OVERHEAD[device.platform] + flops / RATE[device.platform])
    dense = _schedule(1, window, dense_steps, most, width, spec) if dense_steps else None
    schedule = _schedule(every, window // every, max(1, steps - dense_steps), most, width, spec)
    return schedule, dense, -(-dense_steps // dense.steps) if dense else 0


def _schedule(every: int, records: int, steps: int, most: float, width: int, spec: RunSpec) -> Schedule:
    """Equal segments of at most about `most` steps that cover `steps`. Where already the `records` of one
    evaluation are more, a segment is a part of them, and only the evaluations that are due are recorded."""
    most = min(most, every * RECORD_BYTES / (4 * cost.metric_count(spec) * width))
    if records * every > most:
        part = max(
            part for part in range(1, records + 1) if records % part == 0 and (part * every <= most or part == 1)
        )
        return Schedule(every, part, 1)
    windows = -(-steps // (records * every))
    segments = -(-windows // int(most / (records * every)))
    return Schedule(every, records, -(-windows // segments))


def remarks(plan: Plan) -> list[str]:
    """What is slow about the sweep's shape, and what the sweep may not have meant."""
    notes = list(plan.sweep.warnings)
    small = [bucket for bucket in plan.buckets if len(bucket.runs) < 4]
    if len(plan.buckets) > 4 and len(small) > len(plan.buckets) // 2:
        notes.append(
            f"{len(plan.buckets)} programs, {len(small)} of them with under 4 runs: each compiles by itself and "
            "leaves the device mostly idle. Axes over shapes (p, d_model, train_fraction, ...) cost this; seeds do not"
        )
    for bucket in plan.buckets:
        steps = [run.spec.train.steps for run in bucket.runs]
        if max(steps) > 2 * min(steps):
            notes.append(
                f"bucket {bucket.index}: train.steps from {min(steps):,} to {max(steps):,}: "
                "lanes that end early wait for the longest of their chunk"
            )
        spec = bucket.spec
        share = cost.evaluation_flops(spec) / spec.log.evaluation_steps / cost.step_flops(spec)
        if share > 0.2:
            notes.append(f"bucket {bucket.index}: test evaluations add {share:.0%} to the work; raise log.eval_every")
        if bucket.memory > 0.9 * plan.device.memory:
            need, there = f"{bucket.memory / 1e9:.3g}", f"{plan.device.memory / 1e9:.3g}"
            notes.append(f"bucket {bucket.index}: needs about {need} GB of the device's {there} GB; lower engine.lanes")
        if spec.log.every < 5 and spec.train.steps > 10_000:
            notes.append(f"bucket {bucket.index}: a record every {spec.log.every} steps costs time and disk")
    return notes


def disk_bytes(bucket: Bucket) -> int:
    """Curves (compressed to about 0.8) and final parameters."""
    rows = sum(cost.record_count(run.spec) for run in bucket.runs)
    final = parameter_count(parameter_shapes(bucket.spec)) * cost.BYTES[bucket.spec.numerics.params]
    return int(rows * cost.metric_count(bucket.spec) * 4 * 0.8) + final * len(bucket.runs)
