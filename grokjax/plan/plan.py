"""From runs to buckets, chunks and lanes: a pure function of the sweep and the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from grokjax.plan import cost
from grokjax.plan.refusal import refuse_what_cannot_be
from grokjax.plan.snapshots import snapshot_steps
from grokjax.plan.tuning import Tuned
from grokjax.spec.identity import ProgramKeys, program_key, tuning_key
from grokjax.spec.run import RunSpec
from grokjax.sweep.run import Run, Sweep

# On a CPU core the lanes of a step should stay in its cache: this many FLOPs a step, measured, with few lanes at most.
# An accelerator takes all that its memory holds, up to where it is surely full.
FULL_STEP = {"cpu": 1e8}
MOST_LANES = {"cpu": 32, "gpu": 4096, "tpu": 4096}
# A step takes about OVERHEAD + FLOPs / RATE seconds on one device (a CPU device is one core).
OVERHEAD = {"cpu": 1e-4, "gpu": 5e-4, "tpu": 5e-4}
RATE = {"cpu": 5e10, "gpu": 1e13, "tpu": 1e13}
SEGMENT_SECONDS = 8.0  # at most: a longer one answers Ctrl-C late
SHORT_SEGMENT_SECONDS = 0.5  # at least, where lanes are recycled: a shorter one is mostly overhead, and a file
RECYCLING_SEGMENTS = 40  # of the longest run: a run that ends waits half a segment for the next
QUEUE = 8  # runs of a chunk a lane, at most
CHUNKS_A_WORKER = 8  # at least, where runs allow: so that none waits long for the last
# Of a device's memory, for lanes and for the runs that wait. What programs for GPUs were compiled to need was 0.56 to
# 0.72 of `cost.lane_bytes`, for TPUs less (grokjax/bench/README.md); of a CPU's no more is known than that it fits.
MEMORY_SHARE = {"cpu": 0.6, "gpu": 0.75, "tpu": 0.75}
QUEUE_SHARE = 0.2
OF_ESTIMATE = {"cpu": 1.0, "gpu": 0.75, "tpu": 0.75}
MOST_MEMORY = 0.9  # of a device's, from which a plan is said to be too large
WAITING_STATES = 3  # parameters that a waiting run holds where it goes on with an optimizer's state
RECORD_BYTES = 2**28  # of one segment's stacked records


@dataclass(frozen=True)
class Device:
    """What a plan depends on besides the sweep."""

    platform: str  # cpu | gpu | tpu
    kind: str
    count: int
    memory: int  # bytes a device
    versions: str

    @property
    def text(self) -> str:
        return f"{self.count} x {self.kind} ({self.platform}, {self.versions})"


@dataclass(frozen=True)
class Schedule:
    """One segment: `steps` steps with a record every `every`. A round is the steps from one test evaluation to the
    next; segments are whole rounds or whole parts of one, so all lanes are evaluated, and refilled, together."""

    every: int
    round: int
    steps: int
    dense: int  # a run's first steps that each have a record (log.dense_first), in whole rounds

    @property
    def rows(self) -> int:
        """Records of a segment."""
        return self.steps // self.every

    @property
    def evals(self) -> int:
        return max(1, self.steps // self.round)

    @property
    def dense_steps(self) -> int:
        """Steps of a segment with a record at each: as many as it has rows for, in whole rounds or parts of one."""
        if self.rows >= self.round:
            return self.rows // self.round * self.round
        return max(part for part in range(1, self.rows + 1) if self.round % part == 0)


@dataclass(frozen=True)
class Bucket:
    """All runs of one program."""

    index: int
    spec: RunSpec  # of its first run; only its static part is read
    runs: Sequence[Run]
    width: int  # lanes
    queue: int  # runs of a chunk at most; a multiple of the device count, as is the width
    schedule: Schedule
    memory: int  # bytes on each device
    tuned: bool  # whether the width was measured


@dataclass(frozen=True)
class Chunk:
    """A queue of runs of one bucket that is trained together; the unit of scheduling and retry."""

    index: int
    bucket: Bucket
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Plan:
    sweep: Sweep
    device: Device
    buckets: tuple[Bucket, ...]
    chunks: tuple[Chunk, ...]
    tuning: dict[str, Tuned]  # what was measured before, of the table's entries those that were used
    continues: dict[str, str]  # run id -> id of an earlier run of fewer steps, whose training it goes on with


def make_plan(
    sweep: Sweep,
    device: Device,
    tuning: Mapping[str, Tuned] | None = None,
    most_lanes: Mapping[str, int] | None = None,
    continues: Mapping[str, str] | None = None,
    workers: int = 0,
) -> Plan:
    """Group runs by program, choose each bucket's width and segment length, cut it into chunks.

    tuning: cost key -> what `grokjax bench --tune` measured on such a device; without, the built-in model decides.
    most_lanes: program key -> lanes, where the memory was found not to hold more. continues: as in the plan. workers:
    that chunks are cut for, if they are trained by several; which lane a run has is no part of its bits. Raises
    SweepError where the device cannot train a run.
    """
    refuse_what_cannot_be(sweep, device)
    grouped = _groups(sweep.runs)
    used = {
        key: (tuning or {})[key] for runs in grouped.values() if (key := tuning_key(runs[0].spec)) in (tuning or {})
    }
    buckets: list[Bucket] = []
    chunks: list[Chunk] = []
    for key, runs in grouped.items():
        go_on = any(run.run_id in (continues or {}) or run.spec.init.takes_state for run in runs)
        fewest = -(-workers * CHUNKS_A_WORKER * len(runs) // len(sweep.runs))
        bucket = _bucket(len(buckets), runs, device, used, (most_lanes or {}).get(key), go_on, fewest)
        buckets.append(bucket)
        for queue in _queues(bucket):
            chunks.append(Chunk(len(chunks), bucket, queue))
    return Plan(sweep, device, tuple(buckets), tuple(chunks), used, dict(continues or {}))


def append(old: Plan, new: Plan, sweep: Sweep) -> Plan:
    """The chunks of both plans: the old ones as they were, then new ones. Runs of a program that is there already join
    its bucket, and are trained by what is compiled for it."""
    buckets = list(old.buckets)
    queues = [(chunk.bucket.index, chunk.runs) for chunk in old.chunks]
    keys = [program_key(bucket.spec) for bucket in buckets]
    for bucket in new.buckets:
        key = program_key(bucket.spec)
        hosts = [at for at, host in enumerate(buckets) if keys[at] == key and _can_join(bucket, host, new.device)]
        if hosts:
            host = buckets[hosts[0]]
            buckets[host.index] = replace(host, runs=(*host.runs, *bucket.runs))
        else:
            host = replace(bucket, index=len(buckets))
            buckets.append(host)
            keys.append(key)
        queues += [(host.index, queue) for queue in _queues(replace(host, runs=bucket.runs))]
    chunks = tuple(Chunk(at, buckets[index], runs) for at, (index, runs) in enumerate(queues))
    return Plan(sweep, new.device, tuple(buckets), chunks, old.tuning | new.tuning, old.continues | new.continues)


def _can_join(bucket: Bucket, host: Bucket, device: Device) -> bool:
    """Whether runs can be trained by another bucket's program, at its width: it must record and evaluate when they
    need it, and states that wait for a lane, if these runs have any, must fit."""
    ours, theirs = bucket.schedule, host.schedule
    if (ours.every, ours.round, ours.dense) != (theirs.every, theirs.round, theirs.dense):
        return False
    waiting = cost.queue_bytes(host.spec) * WAITING_STATES
    needed = (lane_bytes(host.spec, device) * host.width + waiting * host.queue) // device.count
    return needed < MOST_MEMORY * device.memory


def in_training_order(plan: Plan) -> list[Chunk]:
    """Chunks of one bucket follow each other, so that each program is compiled once."""
    return sorted(plan.chunks, key=lambda chunk: (chunk.bucket.index, chunk.index))


def of_arms_asked_for(plan: Plan) -> Plan:
    """The plan with those chunks only that train runs of the arms asked for, or runs that these go on with."""
    only = set(plan.sweep.only)
    if not only:
        return plan
    needed = [run.run_id for run in plan.sweep.runs if only & set(run.arms)]
    wanted = set(needed)
    for run_id in needed:
        earlier = plan.continues.get(run_id)
        if earlier and earlier not in wanted:
            wanted.add(earlier)
            needed.append(earlier)
    return replace(
        plan, chunks=tuple(chunk for chunk in plan.chunks if any(run.run_id in wanted for run in chunk.runs))
    )


def _groups(runs: tuple[Run, ...]) -> dict[str, tuple[Run, ...]]:
    """program key -> runs of that program."""
    grouped: dict[str, list[Run]] = {}
    keys = ProgramKeys()
    for run in runs:
        grouped.setdefault(keys.of(run.spec), []).append(run)
    return {key: tuple(group) for key, group in grouped.items()}


def _bucket(
    index: int,
    runs: tuple[Run, ...],
    device: Device,
    tuning: Mapping[str, Tuned],
    most_lanes: int | None,
    go_on: bool,
    fewest_chunks: int,
) -> Bucket:
    spec = runs[0].spec
    tuned = tuning.get(tuning_key(spec))
    width = choose_width(spec, len(runs), device, tuned)
    if most_lanes:
        width = max(1, min(width, most_lanes) // device.count) * device.count
    schedule = choose_schedule(spec, runs, width, device, tuned)
    waiting = cost.queue_bytes(spec) * (WAITING_STATES if go_on else 1)
    queue = _queue_length(len(runs), width, device, waiting, fewest_chunks)
    memory = (lane_bytes(spec, device) * width + waiting * queue) // device.count
    return Bucket(index, spec, runs, width, queue, schedule, memory, tuned is not None and spec.engine.lanes == "auto")


def lane_bytes(spec: RunSpec, device: Device) -> int:
    """What a lane holds of a device's memory while it trains."""
    return int(OF_ESTIMATE[device.platform] * cost.lane_bytes(spec))


def _queue_length(runs: int, width: int, device: Device, waiting: int, fewest_chunks: int) -> int:
    """Runs of a chunk: chunks of a bucket as equal as can be. waiting: bytes of a run that waits. fewest_chunks: that
    are wanted, as far as each has a run a lane."""
    fits = int(QUEUE_SHARE * device.memory / waiting) * device.count
    most = max(width, min(QUEUE * width, fits))
    equal = -(-runs // max(-(-runs // most), fewest_chunks))
    return max(width, -(-equal // device.count) * device.count)


def _queues(bucket: Bucket) -> Iterator[tuple[Run, ...]]:
    """Runs of like length share a chunk, the longest first, so that no long run starts when the others are done."""
    order = sorted(bucket.runs, key=lambda run: -run.spec.train.steps)
    for start in range(0, len(order), bucket.queue):
        yield tuple(order[start : start + bucket.queue])


def choose_width(spec: RunSpec, runs: int, device: Device, tuned: Tuned | None = None) -> int:
    """Lanes of a chunk: a multiple of the device count, and runs of a bucket in as equal turns as can be."""
    if isinstance(spec.engine.lanes, int):
        most = spec.engine.lanes
    else:
        fits = int(MEMORY_SHARE[device.platform] * device.memory / lane_bytes(spec, device))
        full = int(FULL_STEP.get(device.platform, 1e15) / cost.step_flops(spec))
        wide = tuned.lanes if tuned else min(max(full, 1), MOST_LANES[device.platform])
        most = max(1, min(wide, fits)) * device.count
        turns = -(-runs // most)
        most = -(-runs // turns)
    return -(-most // device.count) * device.count


def choose_schedule(
    spec: RunSpec, runs: tuple[Run, ...], width: int, device: Device, tuned: Tuned | None = None
) -> Schedule:
    """Segments short enough for Ctrl-C and memory, and where lanes are recycled short against the runs."""
    longest = max(run.spec.train.steps for run in runs)
    every = min(spec.log.every, longest)
    turn = min(spec.log.evaluation_steps, -(-longest // every) * every)
    seconds = _step_seconds(spec, width, turn, device, tuned)
    whole = -(-longest // turn) * turn
    most = min(SEGMENT_SECONDS / seconds, every * RECORD_BYTES / (4 * cost.metric_count(spec) * width), whole)
    if len(runs) > width:
        most = min(most, max(longest / RECYCLING_SEGMENTS, SHORT_SEGMENT_SECONDS / seconds))
    records = turn // every
    dense = -(-min(spec.log.dense_first, longest) // turn) * turn
    if most >= turn:
        return Schedule(every, turn, int(most / turn) * turn, dense)
    part = max(part for part in range(1, records + 1) if records % part == 0 and (part * every <= most or part == 1))
    return Schedule(every, turn, part * every, dense)


def _step_seconds(spec: RunSpec, width: int, turn: int, device: Device, tuned: Tuned | None) -> float:
    """Of a step of all lanes, with its share of what is evaluated every `turn` steps."""
    if tuned:
        return tuned.seconds * width / device.count
    step = cost.step_flops(spec) * (1 + sum(cost.probe_shares(spec).values()))
    flops = (step + cost.evaluation_flops(spec) / turn) * width / device.count
    return OVERHEAD[device.platform] + flops / RATE[device.platform]


def estimated_seconds(plan: Plan, bucket: Bucket) -> float:
    """What training a bucket takes by the model that its width was chosen by, or by what was measured of it before;
    without compiling. Lanes are as full as the queue of each chunk allows."""
    tuned = plan.tuning.get(tuning_key(bucket.spec))
    seconds = _step_seconds(bucket.spec, bucket.width, bucket.schedule.round, plan.device, tuned)
    total = 0
    for chunk in plan.chunks:
        if chunk.bucket.index == bucket.index:
            steps = [run.spec.train.steps for run in chunk.runs]
            total += max(max(steps), -(-sum(steps) // bucket.width))
    return seconds * total


def curves_bytes(bucket: Bucket) -> int:
    """Records on disk, compressed to about 0.8."""
    rows = sum(cost.record_count(run.spec) for run in bucket.runs)
    return int(rows * cost.metric_count(bucket.spec) * 4 * 0.8)


def snapshot_count(bucket: Bucket) -> int:
    """Snapshots of all runs, with one at the end of each."""
    return sum(len(snapshot_steps(run.spec)) + 1 for run in bucket.runs)
