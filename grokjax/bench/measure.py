"""How it is measured: in one process, after a warm-up, medians of interleaved repeats, beside a roofline."""

from __future__ import annotations

import math
import resource
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from grokjax.bench.cases import Case, planned
from grokjax.bench.contestants import Contestant, grokjax
from grokjax.engine.loop import Program, train_chunk
from grokjax.engine.measure import timed
from grokjax.plan import cost
from grokjax.plan.plan import Device, Plan
from grokjax.results.checkpoints import Checkpoints
from grokjax.results.segment import Segment
from grokjax.results.write import DirectoryWriter
from grokjax.spec.matmuls import jax_name

CALL_SECONDS = 0.5  # of one timed call, about
ROUND = 100  # steps: calls are whole rounds where they can be, so that each has its share of evaluations
AGREE = 1e-4  # relative, of losses in float32
MATMUL_SIZE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


@dataclass(frozen=True)
class Timing:
    """One contestant at one number of lanes."""

    case: str
    lanes: int
    contestant: str
    matmul: str
    ms_per_run_step: float
    run_steps_per_second: float
    useful_gflops: float
    roofline_share: float  # of a large matmul in the same precision, in the same process
    compile_seconds: float  # the first call's, with one step
    peak_bytes: int  # of the device, or of the process on a CPU, so far
    loss: float  # of lane 0 before its fourth step: all contestants train the same function


def measure(
    case: Case, lanes: int, device: Device, contestants: Mapping[str, Contestant], matmul: str, repeats: int
) -> list[Timing]:
    """All contestants at one number of lanes, their repeats interleaved.

    Raises ValueError where they do not train the same networks."""
    base = case.base | {"numerics": {"matmul": matmul}}
    plan = planned(base, lanes, device)
    useful = cost.useful_flops(plan.buckets[0].spec)
    advance, compiling, losses, steps = {}, {}, {}, {}
    for name, contestant in contestants.items():
        advance[name] = contestant(plan)
        compiling[name] = timed(lambda name=name: advance[name](1))
        advance[name](2)
        losses[name] = advance[name](1)  # before the fourth step
        if matmul == "highest" and not math.isclose(losses[name], next(iter(losses.values())), rel_tol=AGREE):
            raise ValueError(f"{case.name}: no comparison, their losses after 3 steps differ: {losses}")
        steps[name] = _steps_of_a_call(advance[name], plan.buckets[0].schedule.steps)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name in contestants:
            seconds[name].append(timed(lambda name=name: advance[name](steps[name])) / steps[name] / lanes)
    peak, limit = _peak_bytes(), roofline(device, matmul)
    rows = []
    for name in contestants:
        median = statistics.median(seconds[name])
        speed = useful / median
        rows.append(
            Timing(
                case.name, lanes, name, matmul, median * 1e3, 1 / median, speed / 1e9, speed / limit, compiling[name],
                peak, losses[name],
            )
        )  # fmt: skip
    return rows


def _steps_of_a_call(advance: Callable[[int], float], limit: int) -> int:
    """As many steps as take about `CALL_SECONDS`, in whole rounds if that is not much longer. The first step of a call
    has an evaluation, which may take as long as many steps, so that a few of them do not tell."""
    steps, took = 1, timed(lambda: advance(1))
    while took < CALL_SECONDS and steps < limit:
        steps = min(4 * steps, limit)
        took = timed(lambda steps=steps: advance(steps))
    target = CALL_SECONDS * steps / took
    if target > ROUND / 4:
        target = max(1, round(target / ROUND)) * ROUND
    return max(1, min(int(target), limit))


def roofline(device: Device, matmul: str = "highest") -> float:
    """FLOPs per second that a large float32 matmul reaches at best, on all local devices together."""
    n = MATMUL_SIZE[device.platform]
    with jax.default_matmul_precision(jax_name(matmul)):
        sides = [jax.device_put(jnp.full((n, n), 0.5), at) for at in jax.local_devices()]
        square = jax.jit(lambda a: a @ a)

        def all_at_once() -> None:
            jax.block_until_ready([square(a) for a in sides])

        seconds = min(timed(all_at_once) for _ in range(10))
    return len(sides) * 2 * n**3 / seconds


@dataclass
class _DiscardingWriter:
    """A writer that drops what it is handed."""

    run_steps: int = 0

    def is_due(self) -> bool:
        return False

    def checkpoint(self, segment: int, arrays: Any) -> None:
        pass

    def flush(self) -> None:
        pass

    def segment(self, segment: Segment) -> None:
        self.run_steps += segment.run_steps


def logging_cost(case: Case, lanes: int, device: Device, repeats: int) -> float:
    """Share of the time that all logging takes at the defaults: records, evaluations, fetching, and files on disk,
    against the same training with a record at the start and the end only."""
    plan = planned(case.base, lanes, device)
    step_seconds = lane_seconds(plan) * plan.buckets[0].width / device.count
    steps = max(1, round(6 * CALL_SECONDS / step_seconds / ROUND)) * ROUND
    plans = {
        "logged": planned(case.base, lanes, device, steps),
        "bare": planned(case.base, lanes, device, steps, {"every": steps, "eval_every": steps}),
    }
    programs = {name: Program(plan.buckets[0], device.count) for name, plan in plans.items()}
    seconds: dict[str, list[float]] = {name: [] for name in plans}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats + 1):
            for name, plan in plans.items():
                out = Path(folder) / f"{repeat}-{name}"
                out.mkdir()
                logs = DirectoryWriter(out, 0, Checkpoints(out, 0, stamp=""))
                writer = logs if name == "logged" else _DiscardingWriter()
                train = lambda name=name, plan=plan, writer=writer: train_chunk(  # noqa: E731
                    programs[name], plan.chunks[0], writer, lambda: False
                )
                took = timed(train)
                if repeat:  # the first one compiles
                    seconds[name].append(took)
    logged, bare = (statistics.median(seconds[name]) for name in ("logged", "bare"))
    return 1 - bare / logged


def lane_seconds(plan: Plan) -> float:
    """Seconds that a device takes for one step of one of its lanes."""
    advance = grokjax(plan)
    advance(1)
    once = timed(lambda: advance(10)) / 10
    steps = max(10, min(int(CALL_SECONDS / once), plan.buckets[0].schedule.steps))
    lanes = plan.buckets[0].width // plan.device.count
    return statistics.median(timed(lambda: advance(steps)) / steps for _ in range(3)) / lanes


def _peak_bytes() -> int:
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("peak_bytes_in_use", 0)) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
